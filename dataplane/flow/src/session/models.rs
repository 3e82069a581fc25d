//! loom models: `RUSTFLAGS="--cfg loom" cargo test -p tombolo-flow --release --lib models`.
//!
//! Every interleaving (of at most two preemptions) of two workers on a tiny table.

use super::*;
use loom::sync::Arc;
use loom::thread;

const SEED: [u64; 2] = [1, 2];

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 100_000;
    builder.preemption_bound = Some(2);
    builder.check(check);
}

fn table() -> Arc<Vec<AtomicU64>> {
    table_of(1)
}

fn table_of(capacity: usize) -> Arc<Vec<AtomicU64>> {
    let words = Sessions::<Key4>::words(capacity);
    let part: Vec<_> = (0..words).map(|_| AtomicU64::new(0)).collect();
    Sessions::<Key4>::format(&part, capacity, SEED).expect("sized by words()");
    Arc::new(part)
}

fn flow(number: u32) -> NewSession<Key4> {
    let forward = Key4 {
        source: number,
        destination: 9,
        source_port: 1,
        destination_port: 2,
        protocol: 17,
        segment: 1,
    };
    let reverse = Key4 {
        destination: number + 100,
        segment: 2,
        ..forward.swapped()
    };
    NewSession {
        forward,
        reverse,
        next_hop: [number, number],
        epochs: [1, 1],
        mapping: NO_MAPPING,
        rule: 0,
        flags: 0,
        tcp_flags: 0,
        adopt: false,
    }
}

fn live(sessions: &Sessions<'_, Key4>) -> usize {
    (0..sessions.entries())
        .filter(|session| sessions.view(*session).is_some())
        .count()
}

#[test]
fn duplicate_insertions_converge() {
    model(|| {
        let part = table();
        let theirs = part.clone();
        let insert = |part: &[AtomicU64], worker: usize| {
            let sessions = Sessions::<Key4>::open(part).expect("formatted");
            let mut local = WorkerLocal::new(worker, 2, 1);
            sessions.insert(&mut local, &flow(1), 0)
        };
        let other = thread::spawn(move || insert(&theirs, 1));
        let ours = insert(&part, 0);
        let theirs = other.join().expect("worker 1");
        let new = [ours, theirs]
            .iter()
            .filter(|answer| matches!(answer, Ok(Inserted::New(_))))
            .count();
        assert_eq!(new, 1, "{ours:?} {theirs:?}");
        assert!(ours.is_ok() && theirs.is_ok(), "{ours:?} {theirs:?}");
        let sessions = Sessions::<Key4>::open(&part).expect("formatted");
        assert_eq!((live(&sessions), sessions.occupancy().0), (1, 2));
    });
}

#[test]
fn a_lookup_finds_a_whole_session_or_none() {
    model(|| {
        let part = table();
        let theirs = part.clone();
        let other = thread::spawn(move || {
            let sessions = Sessions::<Key4>::open(&theirs).expect("formatted");
            let mut local = WorkerLocal::new(1, 2, 1);
            assert!(sessions.insert(&mut local, &flow(1), 0).is_ok());
        });
        let sessions = Sessions::<Key4>::open(&part).expect("formatted");
        if let Some(hit) = sessions.lookup(&flow(1).reverse) {
            assert_eq!((hit.rewrite_to, hit.next_hop), (flow(1).forward.swapped(), 1));
        }
        other.join().expect("worker 1");
        assert!(sessions.lookup(&flow(1).reverse).is_some());
    });
}

/// Even when nobody waits for the reader: the life word alone keeps it from taking another session for its own.
#[test]
fn a_reader_never_takes_a_recycled_entry() {
    model(|| {
        let part = table();
        let sessions = Sessions::<Key4>::open(&part).expect("formatted");
        let mut local = WorkerLocal::new(0, 2, 1);
        let Ok(Inserted::New(first)) = sessions.insert(&mut local, &flow(1), 0) else {
            panic!("empty table")
        };
        let theirs = part.clone();
        let other = thread::spawn(move || {
            let sessions = Sessions::<Key4>::open(&theirs).expect("formatted");
            if let Some(hit) = sessions.lookup(&flow(1).forward) {
                assert_eq!((hit.rewrite_to, hit.next_hop), (flow(1).reverse.swapped(), 1));
            }
        });
        assert!(sessions.remove(&mut local, first.session, first.version).is_some());
        for _ in 0..2 {
            sessions.reclaim(&mut local, 8, &|_| None);
        }
        let again = sessions.insert(&mut local, &flow(2), 0);
        assert!(
            matches!(again, Ok(Inserted::New(hit)) if hit.session == first.session),
            "{again:?}"
        );
        other.join().expect("worker 1");
    });
}

/// Two workers insert one flow while a third session leaves the slots that both would have taken: each may place its own where the
/// other does not look first. Fails without the order between placing and looking.
#[test]
fn twins_in_different_slots_converge() {
    model(|| {
        let part = table_of(3);
        let sessions = Sessions::<Key4>::open(&part).expect("formatted");
        let buckets = |flow: &NewSession<Key4>| {
            [flow.forward, flow.reverse].map(|key| sessions.table().index.position(sessions.hash(&key.to_words())))
        };
        let neighbour = (2..1000).map(flow).find(|other| buckets(other) == buckets(&flow(1)));
        let mut local = WorkerLocal::new(0, 2, 1);
        let Ok(Inserted::New(third)) = sessions.insert(&mut local, &neighbour.expect("there are few buckets"), 0)
        else {
            panic!("empty table")
        };
        let theirs = part.clone();
        let other = thread::spawn(move || {
            let sessions = Sessions::<Key4>::open(&theirs).expect("formatted");
            sessions.insert(&mut WorkerLocal::new(1, 2, 1), &flow(1), 0)
        });
        assert!(sessions.remove(&mut local, third.session, third.version).is_some());
        let ours = sessions.insert(&mut local, &flow(1), 0);
        let theirs = other.join().expect("worker 1");
        assert!(ours.is_ok() && theirs.is_ok(), "{ours:?} {theirs:?}");
        assert_eq!((live(&sessions), sessions.occupancy().0), (1, 2));
    });
}

/// All steps of a session that begins in words.
fn begin(sessions: &Sessions<'_, Key4>, local: &mut WorkerLocal, new: &NewSession<Key4>) -> Result<Begun, InsertError> {
    let pair = |pair: [u32; 2]| u64::from(pair[0]) << 32 | u64::from(pair[1]);
    let beginning = Beginning {
        forward: new.forward.to_words(),
        reverse: new.reverse.to_words(),
        next_hops: pair(new.next_hop),
        epochs: pair(new.epochs),
        mapping: new.mapping,
        translated: true,
        ..Beginning::default()
    };
    let beginnings = sessions.beginnings();
    let mut reserved = beginnings.reserve(local).expect("a free entry");
    let reverse = beginnings.write(&mut reserved, &beginning, 0).expect("two directions");
    let hashes = [sessions.hash(&beginning.forward), reverse];
    beginnings.begin(local, reserved, &beginning.forward, hashes)
}

#[test]
fn duplicate_beginnings_converge() {
    model(|| {
        let part = table();
        let theirs = part.clone();
        let begin = |part: &[AtomicU64], worker: usize| {
            let sessions = Sessions::<Key4>::open(part).expect("formatted");
            begin(&sessions, &mut WorkerLocal::new(worker, 2, 1), &flow(1))
        };
        let other = thread::spawn(move || begin(&theirs, 1));
        let answers = [begin(&part, 0), other.join().expect("worker 1")];
        let new = answers
            .iter()
            .filter(|answer| matches!(answer, Ok(Begun::New(_))))
            .count();
        assert!(new == 1 && answers.iter().all(Result::is_ok), "{answers:?}");
        let sessions = Sessions::<Key4>::open(&part).expect("formatted");
        assert_eq!((live(&sessions), sessions.occupancy().0), (1, 2));
    });
}

/// As `twins_in_different_slots_converge`, where one of the twins begins in words.
#[test]
fn a_beginning_and_an_insertion_in_different_slots_converge() {
    model(|| {
        let part = table_of(3);
        let sessions = Sessions::<Key4>::open(&part).expect("formatted");
        let buckets = |flow: &NewSession<Key4>| {
            [flow.forward, flow.reverse].map(|key| sessions.table().index.position(sessions.hash(&key.to_words())))
        };
        let neighbour = (2..1000).map(flow).find(|other| buckets(other) == buckets(&flow(1)));
        let mut local = WorkerLocal::new(0, 2, 1);
        let Ok(Inserted::New(third)) = sessions.insert(&mut local, &neighbour.expect("there are few buckets"), 0)
        else {
            panic!("empty table")
        };
        let theirs = part.clone();
        let other = thread::spawn(move || {
            let sessions = Sessions::<Key4>::open(&theirs).expect("formatted");
            sessions.insert(&mut WorkerLocal::new(1, 2, 1), &flow(1), 0).is_ok()
        });
        assert!(sessions.remove(&mut local, third.session, third.version).is_some());
        let ours = begin(&sessions, &mut local, &flow(1));
        assert!(ours.is_ok() && other.join().expect("worker 1"), "{ours:?}");
        assert_eq!((live(&sessions), sessions.occupancy().0), (1, 2));
    });
}

//! Sessions that begin in words are those that are inserted.

use super::*;
use std::thread;

/// The same session in words.
pub(crate) fn in_words(new: &NewSession<Key4>) -> Beginning {
    let pair = |pair: [u32; 2]| u64::from(pair[0]) << 32 | u64::from(pair[1]);
    Beginning {
        forward: new.forward.to_words(),
        reverse: new.reverse.to_words(),
        next_hops: pair(new.next_hop),
        epochs: pair(new.epochs),
        mapping: new.mapping,
        rule: new.rule,
        flags: new.flags,
        translated: new.is_translated(),
    }
}

/// All steps for one session.
pub(crate) fn begin(
    sessions: &Sessions<'_, Key4>,
    local: &mut WorkerLocal,
    new: &NewSession<Key4>,
) -> Result<Begun, InsertError> {
    let (beginnings, new) = (sessions.beginnings(), in_words(new));
    let mut reserved = beginnings.reserve(local).ok_or(InsertError::TableFull)?;
    match beginnings.write(&mut reserved, &new, 100) {
        Some(reverse) => beginnings.begin(local, reserved, &new.forward, [sessions.hash(&new.forward), reverse]),
        None => {
            beginnings.give_back(local, reserved);
            Err(InsertError::KeysEqual)
        }
    }
}

#[test]
fn what_begins_is_what_would_be_inserted() {
    const FLOWS: u32 = 300;
    let parts = [0; 2].map(|_| words(Sessions::<Key4>::words(FLOWS as usize)));
    let [inserted, begun] = parts
        .each_ref()
        .map(|part| Sessions::<Key4>::format(part, FLOWS as usize, SEED).unwrap());
    let mut locals = [0; 2].map(|_| WorkerLocal::new(0, 1, 1));
    for flow in 0..FLOWS {
        let new = NewSession {
            mapping: flow,
            ..flow4(flow)
        };
        insert(&inserted, &mut locals[0], &new);
        assert!(matches!(begin(&begun, &mut locals[1], &new), Ok(Begun::New(_))));
        assert_eq!(begin(&begun, &mut locals[1], &new), Ok(Begun::Known));
    }
    let views = |sessions: &Sessions<'_, Key4>| -> Vec<_> {
        let views = (0..sessions.entries()).filter_map(|session| sessions.view(session));
        let mut views: Vec<_> = views.map(|view| SessionView { version: 0, ..view }).collect();
        views.sort_by_key(|view| view.mapping);
        views
    };
    assert_eq!((check(&begun), views(&begun)), (FLOWS as usize, views(&inserted)));
}

#[test]
fn what_may_not_begin_leaves_nothing() {
    let part = words(Sessions::<Key4>::words(16));
    let sessions = Sessions::<Key4>::format(&part, 16, SEED).unwrap();
    let mut local = WorkerLocal::new(0, 1, 1);
    insert(&sessions, &mut local, &flow4(1));
    let taken = NewSession {
        reverse: flow4(1).reverse,
        ..flow4(2)
    };
    let mirror = NewSession {
        reverse: flow4(3).forward,
        ..flow4(3)
    };
    for _ in 0..1_000 {
        assert_eq!(begin(&sessions, &mut local, &taken), Err(InsertError::TupleTaken));
        assert_eq!(begin(&sessions, &mut local, &mirror), Err(InsertError::KeysEqual));
        for _ in 0..2 {
            sessions.reclaim(&mut local, 64, &|_| None);
        }
    }
    assert_eq!((check(&sessions), sessions.occupancy().0), (1, 2));
    let more = (100..).take_while(|flow| begin(&sessions, &mut local, &flow4(*flow)).is_ok());
    assert_eq!(more.count() + 1, sessions.table().entry_count() as usize);
}

#[test]
fn one_worker_begins_what_another_inserts() {
    const FLOWS: u32 = 4_000;
    let part = words(Sessions::<Key4>::words(FLOWS as usize));
    Sessions::<Key4>::format(&part, FLOWS as usize, SEED).unwrap();
    let barrier = std::sync::Barrier::new(2);
    let run = |worker: usize| -> Vec<bool> {
        let sessions = Sessions::<Key4>::open(&part).unwrap();
        let mut local = WorkerLocal::new(worker, 2, 1);
        barrier.wait();
        let is_ours = |flow| match worker {
            0 => matches!(begin(&sessions, &mut local, &flow4(flow)), Ok(Begun::New(_))),
            _ => matches!(sessions.insert(&mut local, &flow4(flow), 100), Ok(Inserted::New(_))),
        };
        (0..FLOWS).map(is_ours).collect()
    };
    let (first, second) = thread::scope(|scope| {
        let other = scope.spawn(|| run(1));
        (run(0), other.join().expect("worker 1"))
    });
    let sessions = Sessions::<Key4>::open(&part).unwrap();
    assert_eq!(check(&sessions), FLOWS as usize);
    for (flow, (begun, inserted)) in first.into_iter().zip(second).enumerate() {
        assert!(begun ^ inserted, "flow {flow}: {begun} {inserted}");
    }
}

//! A stop at every step of an operation, then a scrub: the table is whole, and no entry is lost.

use super::*;
use crate::sync::crash::stop_at;

/// Enough sessions around it that overflow buckets are in use.
const OTHERS: u32 = 20;

fn crashed(operation: impl Fn(&Sessions<'_, Key4>, &mut WorkerLocal)) -> u32 {
    let mut steps = 0;
    loop {
        let part = words(Sessions::<Key4>::words(OTHERS as usize));
        let sessions = Sessions::<Key4>::format(&part, OTHERS as usize, SEED).unwrap();
        let mut local = WorkerLocal::new(0, 2, 1);
        for flow in 1..=OTHERS {
            insert(&sessions, &mut local, &flow4(flow));
        }
        let finished = stop_at(steps, || operation(&sessions, &mut local)).is_some();
        drop(local);
        verify(&part);
        if finished {
            return steps;
        }
        steps += 1;
    }
}

fn verify(part: &[AtomicU64]) {
    // Another process, another number of workers.
    let sessions = Sessions::<Key4>::open(part).unwrap();
    let (kept, _) = sessions.scrub();
    let live = check(&sessions);
    assert_eq!(live, kept as usize);
    for flow in 2..=OTHERS {
        assert!(
            sessions.lookup(&flow4(flow).forward).is_some(),
            "flow {flow} was none of the crash's business"
        );
    }
    assert_eq!(sessions.scrub().0, kept, "a scrub may be repeated");
    let mut local = WorkerLocal::new(0, 3, 1);
    let mut more = 1_000;
    while sessions.insert(&mut local, &flow4(more), 0).is_ok() {
        more += 1;
    }
    assert_eq!(
        check(&sessions),
        sessions.table().entry_count() as usize,
        "every entry is a session or free"
    );
}

#[test]
fn a_stopped_insertion_leaves_all_or_nothing() {
    let steps = crashed(|sessions, local| {
        insert(sessions, local, &flow4(0));
    });
    assert!(steps >= 6, "{steps}");
}

#[test]
fn a_stopped_beginning_leaves_all_or_nothing() {
    let steps = crashed(|sessions, local| {
        assert!(matches!(begin::begin(sessions, local, &flow4(0)), Ok(Begun::New(_))));
    });
    assert!(steps >= 4, "{steps}");
}

#[test]
fn a_stopped_re_decision_leaves_one_of_the_two() {
    let steps = crashed(|sessions, local| {
        let old = sessions.lookup(&flow4(1).forward).unwrap();
        let new = NewSession {
            epochs: [2, 1],
            ..flow4(1)
        };
        assert!(sessions.supersede(local, &old, &new, 0, |_| {}).is_ok());
    });
    assert!(steps >= 10, "{steps}");
}

#[test]
fn a_stopped_removal_and_a_stopped_refusal_leave_nothing() {
    let steps = crashed(|sessions, local| {
        let old = sessions.lookup(&flow4(1).forward).unwrap();
        assert!(sessions.remove(local, old.session, old.version).is_some());
    });
    assert!(steps >= 3, "{steps}");
    let steps = crashed(|sessions, local| {
        let taken = NewSession {
            reverse: flow4(2).reverse,
            ..flow4(0)
        };
        assert_eq!(sessions.insert(local, &taken, 0), Err(InsertError::TupleTaken));
    });
    assert!(steps >= 8, "{steps}");
}

#[test]
fn a_re_decision_that_died_between_its_two_steps_keeps_the_newer() {
    let part = words(Sessions::<Key4>::words(8));
    let old = flow4(0);
    let new = NewSession {
        epochs: [2, 1],
        next_hop: [99, 98],
        ..old
    };
    let mut seen_both = false;
    for at in 0..40 {
        let sessions = Sessions::<Key4>::format(&part, 8, SEED).unwrap();
        let mut local = WorkerLocal::new(0, 1, 1);
        let hit = insert(&sessions, &mut local, &old);
        if stop_at(at, || sessions.supersede(&mut local, &hit, &new, 0, |_| {})).is_some() {
            break;
        }
        let live = (0..sessions.entries())
            .filter(|session| sessions.view(*session).is_some())
            .count();
        assert!((1..=2).contains(&live), "no lookup misses in between");
        assert!(sessions.lookup(&old.forward).is_some());
        sessions.scrub();
        assert_eq!(check(&sessions), 1);
        if live == 2 {
            seen_both = true;
            assert_eq!(sessions.lookup(&old.forward).unwrap().next_hop, 99);
        }
    }
    assert!(seen_both);
}

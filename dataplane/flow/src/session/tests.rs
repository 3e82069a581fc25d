//! The session table against a model, against crashes, at its capacity, and under aimed keys.

mod begin;
mod crash;
mod model;
mod threads;

use super::*;
use crate::expiry::Timers;
use crate::tcp::{flag, protocol};

pub(crate) const SEED: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];

pub(crate) fn words(count: usize) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

/// An inside host's flow number `flow` and its translated reply.
pub(crate) fn flow4(flow: u32) -> NewSession<Key4> {
    let forward = Key4 {
        source: 0x0a00_0000 + (flow >> 12),
        destination: 0xc633_6401,
        source_port: 1_024 + (flow & 0xfff) as u16,
        destination_port: 443,
        protocol: protocol::UDP,
        segment: 1,
    };
    let reverse = Key4 {
        source: 0xc633_6401,
        destination: 0xcb00_7100 + (flow >> 14),
        source_port: 443,
        destination_port: 1_024 + (flow & 0x3fff) as u16,
        protocol: protocol::UDP,
        segment: 2,
    };
    NewSession {
        forward,
        reverse,
        next_hop: [7, 8],
        epochs: [1, 1],
        mapping: NO_MAPPING,
        rule: 3,
        flags: 0x5a,
        tcp_flags: 0,
        adopt: false,
    }
}

pub(crate) fn insert(sessions: &Sessions<'_, Key4>, local: &mut WorkerLocal, new: &NewSession<Key4>) -> Hit<Key4> {
    match sessions.insert(local, new, 100) {
        Ok(Inserted::New(hit)) => hit,
        other => panic!("{other:?}"),
    }
}

/// Every live session is found by both keys, and the index holds nothing else.
pub(crate) fn check<K: SessionKey>(sessions: &Sessions<'_, K>) -> usize {
    let mut live = 0;
    for session in 0..sessions.entries() {
        let Some(view) = sessions.view(session) else { continue };
        live += 1;
        for (key, direction) in [(view.forward, Direction::Forward), (view.reverse, Direction::Reverse)] {
            let hit = sessions.lookup(&key).expect("a live session is found by its key");
            assert_eq!((hit.session, hit.direction), (session, direction), "{key:?}");
        }
    }
    assert_eq!(sessions.occupancy().0, 2 * live, "index slots");
    live
}

#[test]
fn both_directions_carry_the_decision() {
    let part = words(Sessions::<Key4>::words(16));
    let sessions = Sessions::<Key4>::format(&part, 16, SEED).unwrap();
    let mut local = WorkerLocal::new(0, 1, 1);
    let new = NewSession {
        epochs: [5, 9],
        mapping: 77,
        ..flow4(0)
    };
    let inserted = insert(&sessions, &mut local, &new);
    let there = sessions.lookup(&new.forward).unwrap();
    assert_eq!(there, inserted);
    assert_eq!(there.rewrite_to, new.reverse.swapped());
    assert_eq!((there.rewrite_to.source, there.rewrite_to.segment), (0xcb00_7100, 2));
    assert_eq!(
        (
            there.next_hop,
            there.epochs,
            there.translated,
            there.flags,
            there.mapping
        ),
        (7, [5, 9], true, 0x5a, 77)
    );
    let back = sessions.lookup(&new.reverse).unwrap();
    assert_eq!(back.direction, Direction::Reverse);
    assert_eq!(back.rewrite_to, new.forward.swapped());
    assert_eq!((back.next_hop, back.epochs, back.translated), (8, [9, 5], true));
    assert_eq!(
        sessions.lookup(&Key4 {
            segment: 3,
            ..new.forward
        }),
        None
    );
    assert_eq!(
        sessions.lookup(&Key4 {
            protocol: protocol::TCP,
            ..new.forward
        }),
        None
    );
    assert_eq!(sessions.insert(&mut local, &new, 100), Ok(Inserted::Existing(inserted)));
    check(&sessions);
}

#[test]
fn ipv6_sessions_work_alike_and_untranslated_ones_say_so() {
    let part = words(Sessions::<Key6>::words(16));
    let sessions = Sessions::<Key6>::format(&part, 16, SEED).unwrap();
    let mut local = WorkerLocal::new(0, 1, 1);
    let forward = Key6 {
        source: [1; 16],
        destination: [2; 16],
        source_port: 5,
        destination_port: 6,
        protocol: 17,
        segment: 1,
    };
    let reverse = Key6 {
        segment: 4,
        ..forward.swapped()
    };
    let new = NewSession {
        forward,
        reverse,
        next_hop: [1, 2],
        epochs: [3, 4],
        mapping: NO_MAPPING,
        rule: NO_RULE,
        flags: 0,
        tcp_flags: 0,
        adopt: false,
    };
    assert!(matches!(sessions.insert(&mut local, &new, 0), Ok(Inserted::New(_))));
    let mut hits = [None; 3];
    sessions.lookup_batch(&[Some(reverse), None, Some(forward)], &mut hits);
    assert_eq!(hits[0].unwrap().rewrite_to, Key6 { segment: 1, ..reverse });
    assert_eq!(hits[2].unwrap().rewrite_to, Key6 { segment: 4, ..forward });
    assert!(hits[1].is_none() && !hits[0].unwrap().translated);
    check(&sessions);
}

#[test]
fn refusals_are_typed_and_leave_nothing() {
    let part = words(Sessions::<Key4>::words(16));
    let sessions = Sessions::<Key4>::format(&part, 16, SEED).unwrap();
    let mut local = WorkerLocal::new(0, 1, 1);
    insert(&sessions, &mut local, &flow4(0));
    let taken = NewSession {
        reverse: flow4(0).reverse,
        ..flow4(1)
    };
    assert_eq!(sessions.insert(&mut local, &taken, 0), Err(InsertError::TupleTaken));
    let equal = NewSession {
        reverse: flow4(2).forward,
        ..flow4(2)
    };
    assert_eq!(sessions.insert(&mut local, &equal, 0), Err(InsertError::KeysEqual));
    let mut tcp = flow4(3);
    tcp.forward.protocol = protocol::TCP;
    tcp.reverse.protocol = protocol::TCP;
    tcp.tcp_flags = flag::ACK;
    assert_eq!(sessions.insert(&mut local, &tcp, 0), Err(InsertError::NotSyn));
    assert!(matches!(
        sessions.insert(&mut local, &NewSession { adopt: true, ..tcp }, 0),
        Ok(Inserted::New(_))
    ));
    assert_eq!(check(&sessions), 2);
}

#[test]
fn a_newer_decision_replaces_an_older_one_and_never_the_reverse() {
    let part = words(Sessions::<Key4>::words(16));
    let sessions = Sessions::<Key4>::format(&part, 16, SEED).unwrap();
    let mut local = WorkerLocal::new(0, 1, 1);
    let old = NewSession {
        epochs: [u32::MAX, 4],
        mapping: 1,
        ..flow4(0)
    };
    let first = insert(&sessions, &mut local, &old);
    sessions.touch(&first, 100, 0, 1_000);
    let mut ended = Vec::new();
    let newer = NewSession {
        epochs: [0, 4],
        mapping: 2,
        next_hop: [70, 80],
        ..flow4(0)
    };
    let answer = sessions.supersede(&mut local, &first, &newer, 101, |gone| ended.push(gone.mapping));
    let Ok(Inserted::New(second)) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!((ended.as_slice(), second.next_hop), (&[1][..], 70));
    assert_eq!(
        sessions.view(second.session).unwrap().counters[0],
        Traffic {
            packets: 1,
            bytes: 1_000
        }
    );
    // A worker that still holds the old decision, or an even older generation, cannot bring it back.
    for stale in [
        old,
        NewSession {
            epochs: [0, 3],
            ..newer
        },
        newer,
    ] {
        let answer = sessions.supersede(&mut local, &second, &stale, 102, |_| panic!("replaced"));
        assert!(
            matches!(answer, Ok(Inserted::Existing(hit)) if hit.session == second.session),
            "{answer:?}"
        );
        let answer = sessions.supersede(&mut local, &first, &stale, 102, |_| panic!("replaced"));
        assert!(
            matches!(answer, Ok(Inserted::Existing(hit)) if hit.session == second.session),
            "{answer:?}"
        );
    }
    assert_eq!(check(&sessions), 1);
}

#[test]
fn counters_and_time_follow_packets() {
    let part = words(Sessions::<Key4>::words(16));
    let sessions = Sessions::<Key4>::format(&part, 16, SEED).unwrap();
    let mut local = WorkerLocal::new(0, 1, 1);
    let forward = insert(&sessions, &mut local, &flow4(0));
    let reverse = sessions.lookup(&flow4(0).reverse).unwrap();
    sessions.touch(&forward, 101, 0, 60);
    sessions.touch(&reverse, 150, 0, 1_500);
    sessions.touch(&reverse, 149, 0, 1_500);
    let view = sessions.view(forward.session).unwrap();
    assert_eq!(
        view.counters,
        [
            Traffic { packets: 1, bytes: 60 },
            Traffic {
                packets: 2,
                bytes: 3_000
            }
        ]
    );
    assert_eq!((view.last_seen, view.phase, view.rule), (150, Phase::Replied, 3));
    let timers = Timers::default();
    let mut ended = 0;
    sessions.expire(&mut local, 150 + 300, &timers, 64, |_| ended += 1);
    assert_eq!(ended, 0, "not before its time");
    sessions.expire(&mut local, 150 + 305, &timers, 64, |gone| {
        ended += 1;
        assert_eq!(gone.counters, view.counters);
    });
    assert_eq!(ended, 1);
    assert_eq!(check(&sessions), 0);
    sessions.touch(&reverse, 600, 0, 9);
    assert_eq!(
        sessions.lookup(&flow4(0).forward),
        None,
        "touching a session that ended revives nothing"
    );
}

#[test]
fn an_entry_is_used_again_only_after_every_worker_moved_on() {
    let part = words(Sessions::<Key4>::words(1));
    let sessions = Sessions::<Key4>::format(&part, 1, SEED).unwrap();
    let mut local = WorkerLocal::new(0, 2, 1);
    let mut flow = 0;
    let mut fill = |local: &mut WorkerLocal| {
        let before = flow;
        while sessions.insert(local, &flow4(flow), 0).is_ok() {
            flow += 1;
        }
        flow - before
    };
    let all = fill(&mut local);
    assert!(all >= 1);
    let victim = sessions.lookup(&flow4(0).forward).unwrap();
    assert!(sessions.remove(&mut local, victim.session, victim.version).is_some());
    assert!(sessions.remove(&mut local, victim.session, victim.version).is_none());
    let counters = [std::cell::Cell::new(Some(10u64)), std::cell::Cell::new(Some(20))];
    let reclaim = |local: &mut WorkerLocal| sessions.reclaim(local, 64, &|worker| counters[worker].get());
    reclaim(&mut local);
    counters[0].set(Some(15));
    reclaim(&mut local);
    assert_eq!(fill(&mut local), 0, "worker 1 has not moved");
    counters[1].set(Some(21));
    reclaim(&mut local);
    assert_eq!(fill(&mut local), 0, "worker 1 may be in the batch that was under way");
    counters[1].set(None);
    reclaim(&mut local);
    assert_eq!(fill(&mut local), 1, "worker 1 is parked");
}

#[test]
fn the_stated_capacity_is_reached_by_each_of_two_workers() {
    for capacity in [1usize, 5, 64, 1_000, 50_000] {
        let part = words(Sessions::<Key4>::words(capacity));
        let sessions = Sessions::<Key4>::format(&part, capacity, SEED).unwrap();
        let mut locals = [WorkerLocal::new(0, 2, 1), WorkerLocal::new(1, 2, 1)];
        for flow in 0..capacity as u32 {
            // One worker takes a little, the other all the rest.
            insert(&sessions, &mut locals[usize::from(flow >= 3)], &flow4(flow));
        }
        assert_eq!(check(&sessions), capacity);
        let mut more = capacity as u32;
        while let Ok(answer) = sessions.insert(&mut locals[1], &flow4(more), 0) {
            assert!(matches!(answer, Inserted::New(_)));
            more += 1;
        }
        assert_eq!(
            sessions.insert(&mut locals[1], &flow4(more), 0),
            Err(InsertError::TableFull)
        );
        assert_eq!(check(&sessions), more as usize);
        let (_, longest) = sessions.occupancy();
        assert!(longest <= 4, "{longest} buckets at capacity {capacity}");
    }
}

/// CRC32C, bit by bit: what an attacker may have expected the hash to be.
fn crc32c(key: &Key4) -> u32 {
    key.to_words()
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .fold(!0, |mut crc, byte| {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
            }
            crc
        })
}

/// Whether a key lands where the attacker wants it.
type Aim = Box<dyn Fn(&Key4) -> bool>;

#[test]
fn keys_made_to_collide_elsewhere_do_not_collide_here() {
    let capacity = 4_096;
    let part = words(Sessions::<Key4>::words(capacity));
    let theirs = crate::hash::HashKey::new([42, 43]);
    let aims: [(&str, Aim); 3] = [
        ("unkeyed CRC32C", Box::new(|key| crc32c(key) & 0x3ff == 0)),
        (
            "the same hash under another seed",
            Box::new(move |key| theirs.hash(&key.to_words()) >> 54 == 0),
        ),
        (
            "the same low bits under another seed",
            Box::new(move |key| theirs.hash(&key.to_words()) & 0x3ff == 0),
        ),
    ];
    for (name, aimed) in aims {
        let sessions = Sessions::<Key4>::format(&part, capacity, SEED).unwrap();
        let mut local = WorkerLocal::new(0, 1, 1);
        let mut made = 0;
        for guess in 0u32.. {
            let mut new = flow4(made);
            new.forward.source = guess;
            if !aimed(&new.forward) {
                continue;
            }
            insert(&sessions, &mut local, &new);
            made += 1;
            if made == capacity as u32 {
                break;
            }
        }
        let (taken, longest) = sessions.occupancy();
        assert_eq!(taken, 2 * capacity);
        assert!(longest <= 3, "{name}: a lookup visits up to {longest} buckets");
    }
}

#[test]
fn parts_that_cannot_be_used_are_refused() {
    let part = words(Sessions::<Key4>::words(16));
    assert!(matches!(Sessions::<Key4>::open(&part), Err(StateError::NotFormatted)));
    assert!(matches!(
        Sessions::<Key4>::format(&part, 17, SEED),
        Err(StateError::TooSmall { .. })
    ));
    assert!(matches!(
        Sessions::<Key4>::format(&part, 0, SEED),
        Err(StateError::Capacity(0))
    ));
    Sessions::<Key4>::format(&part, 16, SEED).unwrap();
    assert!(Sessions::<Key4>::open(&part).is_ok());
    assert!(matches!(Sessions::<Key6>::open(&part), Err(StateError::NotFormatted)));
    assert!(Sessions::<Key4>::open(&part[..part.len() - 1]).is_err());
    assert!(Sessions::<Key4>::open(&part[..3]).is_err());
}

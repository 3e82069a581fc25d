use super::*;
use std::sync::atomic::AtomicBool;
use std::thread;

fn slot() -> Vec<AtomicU64> {
    (0..WORDS).map(|_| AtomicU64::new(0)).collect()
}

#[test]
fn numbers_follow_each_other_up_to_the_limit() {
    let words = slot();
    let sequence = Sequence::new(&words).expect("a whole slot");
    sequence.start(1, 100);
    assert_eq!(sequence.remaining(true), 99);
    assert_eq!(sequence.reserve(64, true), 1..65);
    assert_eq!(sequence.reserve(64, true), 65..100);
    assert!(sequence.reserve(1, true).is_empty());
    sequence.raise_limit(90);
    assert!(sequence.reserve(1, true).is_empty(), "a limit is never lowered");
    sequence.raise_limit(102);
    assert_eq!(sequence.reserve(64, true), 100..102);
    assert_eq!(sequence.next(), 102);
    assert_eq!(sequence.remaining(true), 0);
}

#[test]
fn a_slot_that_was_never_started_gives_nothing() {
    let words = slot();
    let sequence = Sequence::new(&words).expect("a whole slot");
    assert!(sequence.reserve(1, true).is_empty());
    sequence.raise_limit(50);
    assert!(sequence.reserve(1, true).is_empty(), "0 is no number to send");
}

#[test]
fn without_esn_the_counter_stops_before_it_cycles() {
    let words = slot();
    let sequence = Sequence::new(&words).expect("a whole slot");
    sequence.start(END_WITHOUT_ESN - 3, u64::MAX);
    assert_eq!(sequence.remaining(false), 3);
    assert_eq!(sequence.reserve(64, false), END_WITHOUT_ESN - 3..END_WITHOUT_ESN);
    assert!(sequence.reserve(1, false).is_empty());
    assert_eq!(
        sequence.reserve(2, true),
        END_WITHOUT_ESN..END_WITHOUT_ESN + 2,
        "with ESN it goes on"
    );
}

#[test]
fn the_last_number_of_all_does_not_overflow() {
    let words = slot();
    let sequence = Sequence::new(&words).expect("a whole slot");
    sequence.start(u64::MAX - 2, u64::MAX);
    assert_eq!(sequence.reserve(64, true), u64::MAX - 2..u64::MAX);
    assert!(sequence.reserve(64, true).is_empty());
}

#[test]
fn slots_are_found_by_index_and_bounds_are_kept() {
    let part: Vec<AtomicU64> = (0..3 * WORDS as u64).map(AtomicU64::new).collect();
    assert_eq!(Sequence::at(&part, 2).map(|slot| slot.next()), Some(16));
    assert!(Sequence::at(&part, 3).is_none());
    assert!(Sequence::at(&part, usize::MAX).is_none());
    assert!(Sequence::new(&part[..WORDS - 1]).is_none());
}

#[test]
fn workers_that_reserve_at_once_share_no_number() {
    const WORKERS: usize = 4;
    const LIMIT: u64 = 200_001;
    let words = slot();
    Sequence::new(&words).expect("a whole slot").start(1, 1_000);
    let stop = AtomicBool::new(false);
    let mut taken: Vec<Range<u64>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (words, stop) = (&words, &stop);
                scope.spawn(move || {
                    let sequence = Sequence::new(words).expect("a whole slot");
                    let mut taken = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let batch = sequence.reserve(1 + worker as u64 * 7, true);
                        assert!(batch.end <= LIMIT);
                        if !batch.is_empty() {
                            taken.push(batch);
                        }
                    }
                    taken
                })
            })
            .collect();
        let sequence = Sequence::new(&words).expect("a whole slot");
        let mut limit = 1_000;
        while sequence.next() < LIMIT {
            if sequence.remaining(true) < 500 && limit < LIMIT {
                limit = LIMIT.min(limit + 1_000);
                sequence.raise_limit(limit);
            }
            thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("no panic"))
            .collect()
    });
    taken.sort_by_key(|range| range.start);
    let mut expected = 1;
    for range in taken {
        assert_eq!(range.start, expected, "a gap or an overlap");
        expected = range.end;
    }
    assert_eq!(expected, LIMIT);
}

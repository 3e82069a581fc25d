use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

fn zeroed(packets: u64) -> Vec<AtomicU64> {
    (0..words(packets)).map(|_| AtomicU64::new(0)).collect()
}

/// The definition, without any cleverness: every number ever accepted, and the highest.
struct Model {
    packets: u64,
    highest: u64,
    accepted: BTreeSet<u64>,
}

impl Model {
    fn new(packets: u64) -> Self {
        Model {
            packets,
            highest: 0,
            accepted: BTreeSet::new(),
        }
    }

    fn check(&self, sequence: u64) -> Check {
        if sequence.saturating_add(self.packets) <= self.highest {
            Check::TooOld
        } else if self.accepted.contains(&sequence) {
            Check::Seen
        } else {
            Check::Fresh
        }
    }

    fn accept(&mut self, sequence: u64) -> bool {
        let fresh = self.check(sequence) == Check::Fresh;
        if fresh {
            self.accepted.insert(sequence);
            self.highest = self.highest.max(sequence);
        }
        fresh
    }
}

/// Steps relative to the highest number so far: near, at the edges of the window, a lap of the ring away, far ahead.
fn steps(packets: u64) -> impl Strategy<Value = Vec<i64>> {
    let window = packets as i64;
    let step = prop_oneof![
        8 => -window - 20..window + 20,
        3 => -20i64..20,
        2 => Just(-window),
        2 => Just(1 - window),
        1 => (-20i64..20).prop_map(|near| near + 8192),
        1 => (-20i64..20).prop_map(|near| near - 8192),
        1 => (-20i64..20).prop_map(|near| near + (1 << 32)),
        1 => 0i64..1 << 40,
    ];
    prop::collection::vec(step, 1..400)
}

fn sized_steps() -> impl Strategy<Value = (u64, u64, Vec<i64>)> {
    let sizes = prop_oneof![
        Just(1),
        Just(2),
        Just(15),
        Just(16),
        Just(17),
        Just(64),
        Just(1000),
        Just(4096)
    ];
    let starts = prop_oneof![Just(0), Just(5000), Just((1u64 << 32) - 50), Just(1u64 << 47)];
    (sizes, starts).prop_flat_map(|(packets, start)| (Just(packets), Just(start), steps(packets)))
}

proptest! {
    #[test]
    fn a_window_agrees_with_a_set((packets, start, steps) in sized_steps()) {
        let words = zeroed(ESP_WINDOW_MAX);
        let window = Window::new(&words, packets).expect("it fits");
        let mut model = Model::new(packets);
        if start > 0 {
            prop_assert_eq!(window.accept(start), model.accept(start));
        }
        for step in steps {
            let sequence = model.highest.saturating_add_signed(step);
            prop_assert_eq!(window.check(sequence), model.check(sequence), "check {}", sequence);
            prop_assert_eq!(window.accept(sequence), model.accept(sequence), "accept {}", sequence);
            prop_assert_eq!(window.highest(), model.highest);
        }
    }

    /// A number inside the window, or less than 2³² minus the window ahead, is inferred from its low half.
    #[test]
    fn esn_infers_what_lies_in_reach(
        packets in 1u64..=4096,
        highest in prop_oneof![0u64..10_000, (1u64 << 32) - 5000..(1 << 32) + 5000, any::<u64>().prop_map(|wide| wide >> 2)],
        step in prop_oneof![-5000i64..5000, -5000i64..(1 << 32)],
    ) {
        let words = zeroed(ESP_WINDOW_MAX);
        let window = Window::new(&words, packets).expect("it fits");
        prop_assume!(highest == 0 || window.accept(highest));
        let sequence = highest.saturating_add_signed(step);
        let in_reach = highest < sequence + packets && sequence.saturating_sub(highest) <= (1 << 32) - packets;
        prop_assume!(in_reach);
        prop_assert_eq!(window.esn_high(sequence as u32), Some((sequence >> 32) as u32));
    }
}

#[test]
fn esn_follows_both_cases_of_the_appendix() {
    let words = zeroed(64);
    let window = Window::new(&words, 64).expect("it fits");
    // Before the first packet: a low half left of zero cannot have been sent.
    assert_eq!(window.esn_high(1), Some(0));
    assert_eq!(window.esn_high(u32::MAX), None);
    // Case A: the window lies in one subspace.
    assert!(window.accept(0x1_0000_0100));
    assert_eq!(window.esn_high(0x100), Some(1));
    assert_eq!(window.esn_high(0xc1), Some(1));
    assert_eq!(
        window.esn_high(0xc0),
        Some(2),
        "left of the window means the next subspace"
    );
    assert_eq!(window.esn_high(u32::MAX), Some(1));
    // Case B: it spans two.
    assert!(window.accept(0x2_0000_0005));
    assert_eq!(window.esn_high(4), Some(2));
    assert_eq!(window.esn_high(u32::MAX), Some(1));
    assert_eq!(window.esn_high(0x100), Some(2));
    // The last subspace of all has none after it.
    assert!(window.accept(u64::MAX - 5));
    assert_eq!(window.esn_high(1000), None);
}

#[test]
fn big_jumps_leave_nothing_behind_and_nothing_open() {
    let words = zeroed(ESP_WINDOW_MAX);
    let window = Window::new(&words, 4096).expect("it fits");
    let mut highest = 10_000;
    assert!(window.accept(highest));
    for jump in [
        1,
        15,
        16,
        4095,
        4096,
        4097,
        8191,
        8192,
        8193,
        65_536,
        1 << 20,
        1 << 32,
        1 << 45,
        1 << 60,
    ] {
        let before = highest;
        highest += jump;
        assert!(window.accept(highest));
        assert!(!window.accept(highest));
        assert!(!window.accept(before), "{before} after a jump of {jump}");
        assert!(!window.accept(highest - 4096), "one left of the window");
        let inside = highest - 4095;
        assert_eq!(
            window.accept(inside),
            inside != before,
            "the window's last after {jump}"
        );
    }
}

#[test]
fn sizes_and_slots_are_bounded() {
    let words = zeroed(ESP_WINDOW_MAX);
    assert_eq!(words.len(), WORDS_PER_WINDOW);
    assert!(Window::new(&words, 0).is_none());
    assert!(Window::new(&words, 8176).is_some());
    assert!(Window::new(&words, 8177).is_none());
    assert!(Window::new(&words[..8], 1).is_none());
    assert!(Window::new(&[], 1).is_none());
    assert!(Window::at(&words, 0, 4096).is_some());
    assert!(Window::at(&words, 1, 4096).is_none());
    assert!(Window::at(&words, usize::MAX, 4096).is_none());
}

#[test]
fn reset_forgets_everything() {
    let words = zeroed(64);
    let window = Window::new(&words, 64).expect("it fits");
    assert!(window.accept(1 << 33));
    window.reset();
    assert_eq!(window.highest(), 0);
    assert!(window.accept(1));
}

/// Several workers offer every number of a stretch, each in its own order within the window: each number has exactly one
/// winner, and afterwards none.
#[test]
fn workers_at_once_accept_every_number_once() {
    const WORKERS: u64 = 4;
    const NUMBERS: u64 = 400_000;
    const CHUNK: u64 = 1024;
    let words = zeroed(ESP_WINDOW_MAX);
    let step = Barrier::new(WORKERS as usize);
    let won: Vec<Vec<u64>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (words, step) = (&words, &step);
                scope.spawn(move || {
                    let window = Window::new(words, 4096).expect("it fits");
                    let mut won = Vec::new();
                    for chunk in 0..NUMBERS / CHUNK {
                        // In step, so that no worker falls left of the window of the others.
                        step.wait();
                        for at in 0..CHUNK {
                            // An odd factor visits every number of the chunk, in an order of this worker's own.
                            let sequence = 1 + chunk * CHUNK + (at * (2 * worker + 1) + worker * 300) % CHUNK;
                            if window.accept(sequence) {
                                won.push(sequence);
                            }
                        }
                    }
                    won
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("no panic"))
            .collect()
    });
    let mut all: Vec<u64> = won.into_iter().flatten().collect();
    all.sort_unstable();
    let expected: Vec<u64> = (1..=NUMBERS / CHUNK * CHUNK).collect();
    assert_eq!(all, expected);
}

/// The same with jumps over whole laps of the ring, where words change hands: nothing is accepted twice.
#[test]
fn workers_at_once_accept_nothing_twice_while_the_window_leaps() {
    const WORKERS: u64 = 4;
    let words = zeroed(64);
    let won: Vec<Vec<u64>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let words = &words;
                scope.spawn(move || {
                    let window = Window::new(words, 64).expect("it fits");
                    let mut random = 0x9e37_79b9_7f4a_7c15 ^ worker;
                    let mut won = Vec::new();
                    for round in 0..200_000u64 {
                        random ^= random << 13;
                        random ^= random >> 7;
                        random ^= random << 17;
                        // All workers climb alike and scatter over four laps of the 128-number ring.
                        let sequence = round * 3 + random % 512;
                        if window.accept(sequence) {
                            won.push(sequence);
                        }
                    }
                    won
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("no panic"))
            .collect()
    });
    let all: Vec<u64> = won.into_iter().flatten().collect();
    let distinct: BTreeSet<u64> = all.iter().copied().collect();
    assert!(all.len() > 1000);
    assert_eq!(all.len(), distinct.len(), "a number was accepted twice");
}

/// What is accepted together is what would have been accepted one by one.
#[test]
fn many_at_once_are_as_many_one_by_one() {
    let mut state = 7u64;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for window in [1, 16, 64, 4096] {
        let [together, single] = [(), ()].map(|()| (0..words(4096)).map(|_| AtomicU64::new(0)).collect::<Vec<_>>());
        let (together, single) = (
            Window::new(&together, window).expect("it fits"),
            Window::new(&single, window).expect("it fits"),
        );
        let mut next = 1;
        for _ in 0..2000 {
            let numbers: Vec<u64> = (0..random(65))
                .map(|_| {
                    next += random(3) + if random(200) == 0 { random(9000) } else { 0 };
                    (next + 40).saturating_sub(random(80)).max(1)
                })
                .collect();
            let expected = numbers.iter().enumerate();
            let expected = expected.fold(0, |all, (at, number)| all | u64::from(single.accept(*number)) << at);
            assert_eq!(together.accept_all(&numbers), expected, "window {window}: {numbers:?}");
            assert_eq!(together.highest(), single.highest());
        }
    }
}

//! Repetitions, their spread, a loop that tells a quiet run from a disturbed one, and whether the thread had its core.

use crate::clock::Cycles;
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;

/// Median, least and most of some repetitions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Median.
    pub value: f64,
    /// Least.
    pub min: f64,
    /// Most.
    pub max: f64,
}

impl Spread {
    /// Of at least one sample.
    pub fn of(mut samples: Vec<f64>) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        Some(Spread {
            value: *samples.get(samples.len() / 2)?,
            min: *samples.first()?,
            max: *samples.last()?,
        })
    }

    /// Of a figure that was taken once.
    pub fn once(value: f64) -> Self {
        Spread {
            value,
            min: value,
            max: value,
        }
    }

    /// By how many percent the most exceeds the least.
    pub fn percent(&self) -> f64 {
        (self.max / self.min - 1.0) * 100.0
    }
}

/// A reference loop that varies by more, in percent, means that somebody else had the core.
pub const QUIET_PERCENT: f64 = 5.0;

/// Steps of the reference loop: some 2 ms.
const REFERENCE_STEPS: u64 = 1 << 20;

/// Cycles per step of a loop that always does the same and touches no memory. It only varies when somebody else had the core, or
/// when the core's clock changed.
pub fn reference(cycles: &Cycles) -> f64 {
    let start = cycles.now();
    let mut word = black_box(1u64);
    for _ in 0..REFERENCE_STEPS {
        word = (word ^ (word >> 7)).wrapping_mul(0x2545_f491_4f6c_dd1d);
    }
    black_box(word);
    (cycles.now() - start) as f64 / REFERENCE_STEPS as f64
}

/// Steps of the loop that finds the core's clock: some microseconds, so short that a clock licence of what ran just before still holds.
const CORE_STEPS: u64 = 4096;
/// Cycles of the core for one of them: an exclusive or takes one, a multiplication of 64 bits three, and each waits for the one before.
/// So it is on every x86-64 core of Intel and AMD since 2011.
const CORE_STEP: u64 = 4;

/// Cycles of the core for one of the time-stamp counter, just now.
pub fn core_clock(cycles: &Cycles) -> f64 {
    let (mask, factor) = (
        black_box(0x9e37_79b9_7f4a_7c15_u64),
        black_box(0x2545_f491_4f6c_dd1d_u64),
    );
    let mut word = black_box(1u64);
    let start = cycles.now();
    for _ in 0..CORE_STEPS {
        word = (word ^ mask).wrapping_mul(factor);
    }
    black_box(word);
    (CORE_STEPS * CORE_STEP) as f64 / (cycles.now() - start).max(1) as f64
}

/// How long the calling thread has waited for a core so far. What was measured while it waited is not what the code costs.
pub struct Waiting(Option<File>);

impl Waiting {
    /// Of the calling thread, whichever asks later.
    pub fn of_this_thread() -> Self {
        Waiting(File::open("/proc/thread-self/schedstat").ok())
    }

    /// Nanoseconds; always 0 on a kernel that does not count them.
    pub fn nanoseconds(&self) -> u64 {
        let mut text = [0; 80];
        let length = self
            .0
            .as_ref()
            .and_then(|file| file.read_at(&mut text, 0).ok())
            .unwrap_or(0);
        let words = std::str::from_utf8(&text[..length]).unwrap_or_default();
        words
            .split_whitespace()
            .nth(1)
            .and_then(|word| word.parse().ok())
            .unwrap_or(0)
    }

    /// Runs `work` until it had its core all the time, at most `tries` times; its last result, and whether it had.
    pub fn undisturbed<R>(&self, tries: usize, mut work: impl FnMut() -> R) -> (R, bool) {
        let mut left = tries;
        loop {
            left -= 1;
            let before = self.nanoseconds();
            let result = work();
            let had_its_core = self.nanoseconds() == before;
            if had_its_core || left == 0 {
                return (result, had_its_core);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pin::pin;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    #[test]
    fn the_median_is_in_the_middle() {
        let spread = Spread::of(vec![5.0, 1.0, 3.0, 100.0, 2.0]).expect("samples");
        assert_eq!((spread.value, spread.min, spread.max), (3.0, 1.0, 100.0));
        assert_eq!(Spread::of(Vec::new()), None);
    }

    /// The reference loop's step is longer (five cycles where copies are free, at most six) and never as short as four.
    #[test]
    fn the_cores_clock_fits_the_reference_loop() {
        let cycles = Cycles::new();
        let clock = |_| core_clock(&cycles);
        let clock = Spread::of((0..101).map(clock).collect()).expect("samples");
        assert!((0.2..4.0).contains(&clock.value), "{clock:?}");
        let steps = (0..11).map(|_| reference(&cycles) * core_clock(&cycles));
        let step = Spread::of(steps.collect()).expect("samples").value;
        assert!((4.5..7.5).contains(&step), "{step} cycles of the core for a step");
    }

    /// Two threads that want one core: each waits for it.
    #[test]
    fn waiting_for_a_core_is_seen() {
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                pin(Some(0));
                while !ended.load(Ordering::Relaxed) {
                    core::hint::spin_loop();
                }
            });
            pin(Some(0));
            let waiting = Waiting::of_this_thread();
            let before = waiting.nanoseconds();
            let spin = || {
                let start = Instant::now();
                while start.elapsed() < Duration::from_millis(100) {}
            };
            let mut runs = 0;
            let ((), undisturbed) = waiting.undisturbed(3, || {
                runs += 1;
                spin();
            });
            ended.store(true, Ordering::Relaxed);
            assert!(waiting.nanoseconds() > before, "schedstat is there and counts");
            assert_eq!((runs, undisturbed), (3, false));
        });
    }
}

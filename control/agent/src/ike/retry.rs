//! When what failed is tried again: soon at first, then with growing pauses.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

/// Pauses after failures in a row.
#[derive(Debug, Default)]
pub struct Retry {
    /// When it is due, and the pause before that.
    next: Option<(Instant, Duration)>,
}

impl Retry {
    /// Whether it is time for a try.
    pub fn is_due(&self, now: Instant) -> bool {
        self.next.is_none_or(|(at, _)| at <= now)
    }

    /// It failed.
    pub fn failed(&mut self, now: Instant) {
        let pause = self.next.map_or(FIRST, |(_, pause)| (2 * pause).min(LONGEST));
        self.next = Some((now + pause, pause));
    }

    /// It succeeded, or something is new that may help: the next try is due at once.
    pub fn reset(&mut self) {
        self.next = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_one_tick_to_two_seconds() {
        let (mut retry, mut now) = (Retry::default(), Instant::now());
        assert!(retry.is_due(now));
        for milliseconds in [50, 100, 200, 400, 800, 1600, 2000, 2000] {
            retry.failed(now);
            let pause = Duration::from_millis(milliseconds);
            assert!(!retry.is_due(now + pause - Duration::from_millis(1)), "{milliseconds}");
            now += pause;
            assert!(retry.is_due(now), "{milliseconds}");
        }
        retry.failed(now);
        retry.reset();
        assert!(retry.is_due(now));
        retry.failed(now);
        assert!(retry.is_due(now + FIRST), "it begins anew");
    }
}

//! Token buckets: how much a stranger's packets can make the gateway send or hand to its kernel (RFC 1812 §4.3.2.8,
//! RFC 4443 §2.4 f).

use crate::time::Now;

/// ICMP errors per second and worker, and the burst above it.
const ERRORS_PER_SECOND: u64 = 1_000;
/// Unknown SPIs that control is told of per second and worker.
const UNKNOWN_SPIS_PER_SECOND: u64 = 10;
/// Packets for the kernel per second and worker.
const PUNTS_PER_SECOND: u64 = 20_000;

struct Bucket {
    per_second: u64,
    tokens: u64,
    filled_ms: u64,
}

impl Bucket {
    fn new(per_second: u64) -> Self {
        Bucket {
            per_second,
            tokens: per_second / 10,
            filled_ms: 0,
        }
    }

    /// Adds what time has earned; a bucket holds a tenth of a second's worth.
    fn fill(&mut self, now: Now) {
        let passed = now.milliseconds.saturating_sub(self.filled_ms);
        let earned = passed.saturating_mul(self.per_second) / 1000;
        if earned > 0 {
            self.tokens = (self.tokens.saturating_add(earned)).min(self.per_second / 10);
            self.filled_ms = now.milliseconds;
        }
    }

    #[inline]
    fn take(&mut self) -> bool {
        let some = self.tokens > 0;
        self.tokens -= u64::from(some);
        some
    }
}

/// The limits of one worker.
pub struct Limiter {
    errors: Bucket,
    punts: Bucket,
    unknown_spis: Bucket,
}

impl Limiter {
    /// Full buckets.
    pub fn new() -> Self {
        Limiter {
            errors: Bucket::new(ERRORS_PER_SECOND),
            punts: Bucket::new(PUNTS_PER_SECOND),
            unknown_spis: Bucket::new(UNKNOWN_SPIS_PER_SECOND),
        }
    }

    /// Once per batch.
    pub fn tick(&mut self, now: Now) {
        self.errors.fill(now);
        self.punts.fill(now);
        self.unknown_spis.fill(now);
    }

    /// Whether one more ICMP error may be sent.
    #[inline]
    pub fn error(&mut self) -> bool {
        self.errors.take()
    }

    /// Whether control may be told of one more unknown SPI.
    #[inline]
    pub fn unknown_spi(&mut self) -> bool {
        self.unknown_spis.take()
    }

    /// Whether one more packet may go to the kernel.
    #[inline]
    pub fn punt(&mut self) -> bool {
        self.punts.take()
    }
}

impl Default for Limiter {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_gets_the_burst_and_then_the_rate() {
        let mut limiter = Limiter::new();
        let taken = (0..10_000).filter(|_| limiter.error()).count();
        assert_eq!(taken, 100);
        limiter.tick(Now { milliseconds: 50 });
        assert_eq!((0..10_000).filter(|_| limiter.error()).count(), 50);
        limiter.tick(Now {
            milliseconds: 1_000_000,
        });
        assert_eq!((0..10_000).filter(|_| limiter.error()).count(), 100);
    }
}

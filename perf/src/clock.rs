//! The processor's time-stamp counter (TSC): what "cycles per packet" counts.

use quanta::Clock;
use std::time::{Duration, Instant};

/// How long the counter is compared with the system's clock.
const CALIBRATION: Duration = Duration::from_millis(100);

/// Reads the TSC.
pub struct Cycles {
    clock: Clock,
    per_second: f64,
}

impl Cycles {
    /// Learns how fast the counter runs; takes a tenth of a second.
    pub fn new() -> Self {
        let clock = Clock::new();
        let (start, first) = (Instant::now(), clock.raw());
        while start.elapsed() < CALIBRATION {
            core::hint::spin_loop();
        }
        let per_second = (clock.raw() - first) as f64 / start.elapsed().as_secs_f64();
        Cycles { clock, per_second }
    }

    /// The counter now.
    #[inline]
    pub fn now(&self) -> u64 {
        self.clock.raw()
    }

    /// Counts per second. A processor without a steady TSC counts nanoseconds instead: 10^9.
    pub fn per_second(&self) -> f64 {
        self.per_second
    }
}

impl Default for Cycles {
    fn default() -> Self {
        Self::new()
    }
}

//! Both clocks that IKE needs.

use rustix::time::{ClockId, clock_gettime};
use std::time::{SystemTime, UNIX_EPOCH};
use tombolo_ike::now::{Milliseconds, Now};

/// This moment. The monotonic clock is the one of the workers' counters.
pub fn now() -> Now {
    let now = clock_gettime(ClockId::Monotonic);
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now {
        monotonic: Milliseconds(u64::try_from(now.tv_sec * 1000 + now.tv_nsec / 1_000_000).unwrap_or(0)),
        unix: unix.as_secs(),
    }
}

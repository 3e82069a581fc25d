//! Time comes in with every call.

use serde::{Deserialize, Serialize};

/// Milliseconds of the system's monotonic clock: goes on over a restart of the process, not of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Milliseconds(pub u64);

impl Milliseconds {
    /// So much later.
    pub fn after(self, milliseconds: u64) -> Milliseconds {
        Milliseconds(self.0.saturating_add(milliseconds))
    }

    /// From `earlier` until now; 0 if that lies ahead.
    pub fn since(self, earlier: Milliseconds) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For timers.
    pub monotonic: Milliseconds,
    /// Seconds since 1970, for what certificates say.
    pub unix: u64,
}

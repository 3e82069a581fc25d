//! Time as a batch sees it: read once, by the loop, and handed in.

/// Time of the batch, read once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic milliseconds, comparable between processes of one machine.
    pub milliseconds: u64,
}

impl Now {
    /// Whole seconds, as sessions store them.
    #[inline]
    pub fn seconds(self) -> u32 {
        (self.milliseconds / 1000) as u32
    }
}

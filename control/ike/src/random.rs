//! Randomness comes in.

/// A source of random bytes: the operating system's in the daemon, a seed in simulations.
pub trait Random {
    /// Fills `bytes`.
    fn fill(&mut self, bytes: &mut [u8]);

    /// A number below `bound` (0 if that is 0), close enough to uniform for jitter.
    fn below(&mut self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_ne_bytes(bytes).checked_rem(bound).unwrap_or(0)
    }
}

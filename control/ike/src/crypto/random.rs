//! Our source of randomness as the crates of primitives want it.

use crate::random::Random;
use core::convert::Infallible;
use rand_core::{TryCryptoRng, TryRng};

/// Lends a source of randomness to a primitive.
pub(crate) struct Lent<'a>(pub(crate) &'a mut dyn Random);

impl TryRng for Lent<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Lent<'_> {}

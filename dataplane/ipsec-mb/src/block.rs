//! Sixteen bytes that are written in one piece.
//!
//! The library reads nonce and associated data with one wide load each. A load that spans two younger, narrower stores has to
//! wait until both have left the store buffer, and everything before them has: 60 cycles per packet on a Sapphire Rapids
//! server, more than AES-256-GCM of a 64-byte packet costs. One wide store is forwarded to the load at once.

#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::{__m128i, _mm_set_epi64x};

/// Sixteen bytes, written by one store.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Block(__m128i);

/// Sixteen bytes.
#[cfg(not(target_arch = "x86_64"))]
#[derive(Clone, Copy)]
#[repr(align(16))]
pub struct Block([u8; 16]);

impl Block {
    /// The bytes of `low` and then those of `high`, as they lie in memory.
    #[inline]
    pub fn new(low: u64, high: u64) -> Self {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: it needs SSE2, which every x86-64 has.
        let block = Block(unsafe { _mm_set_epi64x(high as i64, low as i64) });
        #[cfg(not(target_arch = "x86_64"))]
        let block = Block((u128::from(low.to_le()) | u128::from(high.to_le()) << 64).to_ne_bytes());
        block
    }

    /// Four bytes, eight bytes and four of no meaning: a salt and an IV make a nonce.
    #[inline]
    pub fn nonce(salt: [u8; 4], iv: [u8; 8]) -> Self {
        let (salt, iv) = (u32::from_le_bytes(salt), u64::from_le_bytes(iv));
        Block::new(u64::from(salt) | iv << 32, iv >> 32)
    }

    /// Its bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8; 16] {
        // SAFETY: a block is 16 initialized bytes without padding, aligned more strictly than bytes are.
        unsafe { &*core::ptr::from_ref(self).cast() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_the_order_they_went_in() {
        let low = u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7]);
        let high = u64::from_le_bytes([8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(Block::new(low, high).bytes(), &core::array::from_fn(|at| at as u8));
        let nonce = Block::nonce([1, 2, 3, 4], [5, 6, 7, 8, 9, 10, 11, 12]);
        assert_eq!(nonce.bytes()[..12], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    }
}

//! A key, and what it does to a packet.

use crate::tag::{Tag, Unauthentic, same, sealed_parts, wipe};

#[cfg(target_arch = "x86_64")]
use crate::{
    kernel::{self, Places},
    schedule::Expanded,
};

/// An expanded key of AES-128-GCM or AES-256-GCM. Overwritten on drop; never `Debug`, `Clone` or compared.
///
/// It is 576 bytes; keep it in place, since a move leaves a copy behind.
#[cfg(target_arch = "x86_64")]
pub struct GcmKey {
    expanded: Expanded,
}

/// No such key exists.
#[cfg(not(target_arch = "x86_64"))]
pub enum GcmKey {}

/// Associated data as the hash begins with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Associated {
    block: u128,
    bytes: u64,
}

impl Associated {
    /// At most sixteen bytes, the first ones of a big-endian number; the others of it are zero.
    #[inline]
    pub fn short(number: u128, bytes: usize) -> Self {
        debug_assert!(
            bytes <= 16 && (bytes == 16 || number << (8 * bytes) == 0),
            "the rest is zero"
        );
        Associated {
            block: number,
            bytes: bytes as u64,
        }
    }
}

/// Whether keys can be made on this processor.
#[cfg(target_arch = "x86_64")]
pub fn is_available() -> bool {
    std::is_x86_feature_detected!("avx512f")
        && std::is_x86_feature_detected!("avx512bw")
        && std::is_x86_feature_detected!("avx512vl")
        && std::is_x86_feature_detected!("avx2")
        && std::is_x86_feature_detected!("vaes")
        && std::is_x86_feature_detected!("vpclmulqdq")
        && std::is_x86_feature_detected!("aes")
}

/// Whether keys can be made on this processor.
#[cfg(not(target_arch = "x86_64"))]
pub fn is_available() -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
impl GcmKey {
    /// Expands a key of 16 or 32 bytes; `None` for other lengths, and on a processor without the instructions.
    pub fn new(key: &[u8]) -> Option<Self> {
        is_available().then_some(())?;
        Some(GcmKey {
            // SAFETY: the processor was just asked for the features.
            expanded: unsafe { Expanded::new(key) }?,
        })
    }

    /// Associated data of any length.
    pub fn associated(&self, bytes: &[u8]) -> Associated {
        let mut blocks = bytes.chunks(16).map(|chunk| {
            let mut block = [0; 16];
            block[..chunk.len()].copy_from_slice(chunk);
            u128::from_be_bytes(block)
        });
        let first = blocks.next().unwrap_or(0);
        Associated {
            // SAFETY: a key exists, so the processor has the features.
            block: blocks.fold(first, |hash, next| unsafe {
                kernel::absorb(&self.expanded, hash, next)
            }),
            bytes: bytes.len() as u64,
        }
    }

    /// Encrypts `source` into the start of `destination`; returns the tag, or `None` if it does not fit. `nonce`: 96 bits, then 32
    /// zeros, as a big-endian number.
    #[inline]
    pub fn seal(&self, nonce: u128, associated: Associated, source: &[u8], destination: &mut [u8]) -> Option<Tag> {
        let destination = destination.get_mut(..source.len())?;
        let places = Places {
            from: source.as_ptr(),
            to: destination.as_mut_ptr(),
            length: source.len(),
        };
        // SAFETY: both are as long as `source`, and being a shared and a unique borrow they do not overlap.
        Some(unsafe { self.crypt::<false>(nonce, associated, places) })
    }

    /// Encrypts `data` in place; returns the tag.
    #[inline]
    pub fn seal_in_place(&self, nonce: u128, associated: Associated, data: &mut [u8]) -> Tag {
        let to = data.as_mut_ptr();
        let length = data.len();
        // SAFETY: `to` begins `length` bytes that may be read and written.
        unsafe { self.crypt::<false>(nonce, associated, Places { from: to, to, length }) }
    }

    /// Decrypts `buffer[from..]`, ciphertext then tag, to the start of `buffer`; returns the plaintext's length. On failure what was
    /// decrypted is wiped.
    #[inline]
    pub fn open_shifting(
        &self,
        nonce: u128,
        associated: Associated,
        buffer: &mut [u8],
        from: usize,
    ) -> Result<usize, Unauthentic> {
        let (length, received) = sealed_parts(buffer, from)?;
        let to = buffer.as_mut_ptr();
        // SAFETY: `from` was just found to lie within the buffer.
        let source = unsafe { to.add(from) };
        let places = Places {
            from: source,
            to,
            length,
        };
        // SAFETY: `length` bytes from `source` on lie within the buffer, hence those from its start do; the destination is in front.
        let computed = unsafe { self.crypt::<true>(nonce, associated, places) };
        if same(computed, received) {
            return Ok(length);
        }
        wipe(&mut buffer[..length]);
        Err(Unauthentic)
    }

    /// # Safety
    /// `places` is as [`Places`] says.
    #[inline]
    unsafe fn crypt<const OPEN: bool>(&self, nonce: u128, associated: Associated, places: Places) -> Tag {
        let Associated { block, bytes } = associated;
        if self.expanded.aes_128 {
            // SAFETY: a key exists, so the processor has the features; the caller answers for the places.
            unsafe { kernel::crypt::<10, OPEN>(&self.expanded, nonce, block, bytes, places) }
        } else {
            // SAFETY: as above.
            unsafe { kernel::crypt::<14, OPEN>(&self.expanded, nonce, block, bytes, places) }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl GcmKey {
    /// Never a key.
    pub fn new(_key: &[u8]) -> Option<Self> {
        None
    }

    /// Not to be reached without a key.
    pub fn associated(&self, _bytes: &[u8]) -> Associated {
        match *self {}
    }

    /// Not to be reached without a key.
    pub fn seal(&self, _nonce: u128, _associated: Associated, _source: &[u8], _destination: &mut [u8]) -> Option<Tag> {
        match *self {}
    }

    /// Not to be reached without a key.
    pub fn seal_in_place(&self, _nonce: u128, _associated: Associated, _data: &mut [u8]) -> Tag {
        match *self {}
    }

    /// Not to be reached without a key.
    pub fn open_shifting(
        &self,
        _nonce: u128,
        _associated: Associated,
        _buffer: &mut [u8],
        _from: usize,
    ) -> Result<usize, Unauthentic> {
        match *self {}
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use core::mem::ManuallyDrop;

    #[test]
    fn a_dropped_key_leaves_nothing() {
        let Some(key) = GcmKey::new(&[7; 32]) else {
            return; // `tests/here.rs` says so
        };
        let mut key = ManuallyDrop::new(key);
        let bytes = |key: &GcmKey| -> Vec<u8> {
            let Expanded { rounds, powers, .. } = &key.expanded;
            [rounds.as_flattened(), powers.as_flattened()].concat()
        };
        assert!(bytes(&key).iter().filter(|byte| **byte != 0).count() > 450);
        // SAFETY: it is dropped once, here; its bytes stay readable, and nothing in it points anywhere.
        unsafe { ManuallyDrop::drop(&mut key) };
        assert!(bytes(&key).iter().all(|byte| *byte == 0));
    }
}

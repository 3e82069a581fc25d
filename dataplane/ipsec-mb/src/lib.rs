//! A thin binding to Intel's multi-buffer library for IPsec (`libIPSec_MB.so.1`): AES-GCM and ChaCha20-Poly1305.
//!
//! The library is looked for when the process starts ([`Library::load`]) and nothing depends on it being there. All `unsafe`
//! of the AEAD path lives here; `tombolo-tunnel` forbids it. What comes in is not trusted to be authentic; lengths are
//! checked here, since the library checks none.
//!
//! * [`library`]: finding it, and whether this version and this CPU are the tested kind;
//! * [`gcm`]: AES-GCM, one call per packet;
//! * [`chacha`]: ChaCha20-Poly1305, one job per packet;
//! * [`block`]: sixteen bytes that the library can read without waiting for them.

pub mod block;
pub mod chacha;
pub mod gcm;
pub mod library;
mod manager;

pub use block::Block;
pub use chacha::ChaChaKey;
pub use gcm::GcmKey;
pub use library::{Library, Unavailable};

/// Bytes of a tag.
pub const TAG_BYTES: usize = 16;

/// The tag does not fit; what was decrypted is wiped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unauthentic;

/// A tag as the library writes it.
type Tag = [u8; TAG_BYTES];

/// Length of the ciphertext in `buffer[from..]`, and the tag behind it.
#[inline]
fn sealed_parts(buffer: &[u8], from: usize) -> Result<(usize, Tag), Unauthentic> {
    let sealed = buffer.get(from..).ok_or(Unauthentic)?;
    let (ciphertext, tag) = sealed.split_last_chunk::<TAG_BYTES>().ok_or(Unauthentic)?;
    Ok((ciphertext.len(), *tag))
}

/// Whether two tags are the same, in a time that does not depend on where they differ.
#[inline]
fn same(computed: Tag, received: Tag) -> bool {
    let difference = u128::from_ne_bytes(computed) ^ u128::from_ne_bytes(received);
    // The halves are joined before the compiler may look at them, so that it cannot branch on one of them.
    core::hint::black_box((difference >> 64) as u64 | difference as u64) == 0
}

/// Overwrites what must not be read. Forged packets come as fast as a stranger likes, so in wide stores: `zeroize` writes
/// slices byte by byte.
#[cold]
fn wipe(plaintext: &mut [u8]) {
    plaintext.fill(0);
    // As if it were read, so that the compiler leaves the stores in.
    core::hint::black_box(plaintext);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_the_same_only_if_every_bit_is() {
        let tag: Tag = core::array::from_fn(|at| at as u8 * 17);
        assert!(same(tag, tag));
        for bit in 0..128 {
            let mut other = tag;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!same(tag, other), "bit {bit}");
        }
    }
}

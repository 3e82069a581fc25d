//! AES-GCM (NIST SP 800-38D) for processors with VAES, VPCLMULQDQ and AVX-512: 96-bit nonces, 16-byte tags.
//!
//! Made for packets: one function without branches on anything but lengths, no set-up per packet but the numbers, so that the
//! processor begins the next packet while the last one is still in its pipeline. Time depends on lengths alone, never on
//! key or data. `unsafe` is what reaches memory by pointers, since a packet may be decrypted onto its own beginning, and the step
//! into functions that need these instructions: a key exists only on a processor that has them.
//!
//! * [`GcmKey`]: a key, seal and open;
//! * `kernel`: the loops; `schedule`: round keys and powers of the hash key; `field`: GHASH;
//! * [`tag`]: what every AEAD does with tags. What comes in is not trusted to be authentic.

#[cfg(target_arch = "x86_64")]
mod field;
#[cfg(target_arch = "x86_64")]
mod kernel;
mod key;
#[cfg(target_arch = "x86_64")]
mod schedule;
pub mod tag;

pub use key::{Associated, GcmKey, is_available};
pub use tag::{TAG_BYTES, Tag, Unauthentic};

//! Tunnels: seal and open one packet. Pure: no I/O, clock, randomness or allocation, but for [`Provider::chosen`], which
//! looks once for a faster library.
//!
//! * [`esp`]: ESP in tunnel mode (RFC 4303) with AES-GCM (RFC 4106) and ChaCha20-Poly1305 (RFC 7634);
//! * [`outer`]: the IP and UDP headers around it (RFC 3948, RFC 6040);
//! * [`envelope`]: all in front of the ciphertext, for the many packets of one SA;
//! * [`replay`]: which sequence numbers were received, in words that several workers share;
//! * [`sequence`]: which sequence numbers may be sent, likewise;
//! * [`endpoint`]: where the peer was last seen, likewise;
//! * [`aead`]: the one seam to the cryptographic providers.
//!
//! Packets come from strangers until [`esp::open`] says otherwise. Keys, windows and sequence words come from the state
//! and tables that control filled.

#![forbid(unsafe_code)]

pub mod aead;
pub mod endpoint;
pub mod envelope;
pub mod esp;
#[doc(hidden)]
pub mod fuzz;
pub mod outer;
pub mod replay;
pub mod sequence;

pub use aead::{Cipher, Provider, SaKeys};

/// The words that workers share; loom's own when it explores every interleaving (`RUSTFLAGS="--cfg loom"`).
mod atomic {
    #[cfg(not(loom))]
    pub(crate) use core::sync::atomic::{AtomicU64, Ordering};
    #[cfg(loom)]
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
}

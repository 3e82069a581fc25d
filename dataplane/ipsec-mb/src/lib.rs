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

pub use tombolo_gcm::{TAG_BYTES, Unauthentic};

use tombolo_gcm::Tag;
use tombolo_gcm::tag::{same, sealed_parts, wipe};

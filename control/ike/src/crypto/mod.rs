//! What IKE computes with secrets: key exchanges, the key schedule, ciphers of messages, and the two hashes that need no SA.
//!
//! Primitives are those of `ring` and, where its own are closed (a Diffie-Hellman value that can be stored, MODP, AES-CBC, ML-KEM),
//! of well-kept crates; here they are put together the way the RFCs say. All that an IKE SA keeps can be serialized, is wiped when
//! dropped, and is never printed.

pub mod child_keys;
pub mod cipher;
pub mod cookie;
pub mod exchange;
pub mod ike_keys;
pub mod nat_detection;
mod prf;
mod random;

#[cfg(test)]
pub(crate) mod tests;

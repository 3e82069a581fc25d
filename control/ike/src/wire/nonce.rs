//! Nonces (RFC 7296 §3.9).

use serde::{Deserialize, Serialize};

/// Fewest bytes.
pub const NONCE_BYTES_MIN: usize = 16;
/// Most bytes.
pub const NONCE_BYTES_MAX: usize = 256;

/// A nonce of permitted length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nonce(Vec<u8>);

impl Nonce {
    /// None unless it has 16 to 256 bytes.
    pub fn new(bytes: Vec<u8>) -> Option<Nonce> {
        (NONCE_BYTES_MIN..=NONCE_BYTES_MAX)
            .contains(&bytes.len())
            .then_some(Nonce(bytes))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

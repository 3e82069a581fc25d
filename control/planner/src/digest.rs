//! SHA-256 in hex: names inputs and keys by their content.

use ring::digest::{Context, SHA256};

/// Collects bytes.
pub(crate) struct Digest(Context);

impl Digest {
    pub(crate) fn new(purpose: &str) -> Self {
        let mut digest = Digest(Context::new(&SHA256));
        digest.add(purpose.as_bytes());
        digest
    }

    /// Length first, so that no two lists of parts run together.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// The first 16 bytes.
    pub(crate) fn hex(self) -> String {
        self.0.finish().as_ref()[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

//! The file with the keys of one tunnel: a manual SA for each direction, as JSON.
//!
//! Secret: everything here is wiped when it is dropped, nothing here is `Debug`, and no error repeats what the file says.

use crate::value::Refused;
use core::fmt;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Bytes of the largest file that is read.
pub const SA_FILE_BYTES_MAX: usize = 4096;
/// SPIs below are reserved (RFC 4303 §2.1).
const SPI_FIRST: u32 = 256;

/// How an SA encrypts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// AES-128-GCM with a 16-byte ICV (RFC 4106).
    Aes128Gcm,
    /// AES-256-GCM with a 16-byte ICV (RFC 4106).
    Aes256Gcm,
    /// ChaCha20-Poly1305 (RFC 7634).
    ChaCha20Poly1305,
}

impl Cipher {
    /// All of them.
    pub const ALL: [Cipher; 3] = [Cipher::Aes128Gcm, Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305];

    /// Name in files and in output.
    pub fn name(self) -> &'static str {
        match self {
            Cipher::Aes128Gcm => "aes-128-gcm",
            Cipher::Aes256Gcm => "aes-256-gcm",
            Cipher::ChaCha20Poly1305 => "chacha20-poly1305",
        }
    }

    /// Bytes of the key, without the salt.
    pub fn key_length(self) -> usize {
        match self {
            Cipher::Aes128Gcm => 16,
            Cipher::Aes256Gcm | Cipher::ChaCha20Poly1305 => 32,
        }
    }

    /// By name.
    pub fn from_name(name: &str) -> Option<Cipher> {
        Cipher::ALL.into_iter().find(|cipher| cipher.name() == name)
    }
}

/// One direction of a pair: SPI, key and salt.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct SaKey {
    spi: u32,
    key: [u8; 32],
    key_length: usize,
    salt: [u8; 4],
}

impl SaKey {
    /// Security parameters index, at least 256.
    pub fn spi(&self) -> u32 {
        self.spi
    }

    /// As long as the cipher wants it.
    pub fn key(&self) -> &[u8] {
        &self.key[..self.key_length]
    }

    /// Salt (RFC 4106 §4).
    pub fn salt(&self) -> [u8; 4] {
        self.salt
    }
}

/// The keys of one tunnel.
#[derive(Clone, PartialEq, Eq)]
pub struct SaPair {
    /// Cipher of both directions.
    pub cipher: Cipher,
    /// Extended sequence numbers in both directions.
    pub esn: bool,
    /// What we seal with.
    pub outbound: SaKey,
    /// What the peer seals with.
    pub inbound: SaKey,
}

/// Why a key file is refused. Never repeats a byte of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaFileError {
    message: String,
}

impl fmt::Display for SaFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for SaFileError {}

impl From<&str> for SaFileError {
    fn from(message: &str) -> Self {
        SaFileError {
            message: message.to_owned(),
        }
    }
}

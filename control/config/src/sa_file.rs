//! The file with the keys of one tunnel: a manual SA for each direction, as JSON.
//!
//! Secret: everything here is wiped when it is dropped, nothing here is `Debug`, and no error repeats what the file says.

use core::fmt;
use serde::Deserialize;
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

/// The keys of one tunnel, as one end has them.
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

/// Reads a key file that was read as text.
///
/// # Errors
/// As [`SaPair::parse`].
pub fn parse(text: &str) -> Result<SaPair, SaFileError> {
    SaPair::parse(text.as_bytes())
}

impl SaPair {
    /// Reads a key file.
    ///
    /// # Errors
    /// If it is not exactly what [`to_json`](Self::to_json) writes, save for white space and the order of fields.
    pub fn parse(bytes: &[u8]) -> Result<SaPair, SaFileError> {
        if bytes.len() > SA_FILE_BYTES_MAX {
            return Err("a key file is at most 4096 bytes long".into());
        }
        // The parser's own message may quote the file: only its place is told.
        let raw: RawPair = serde_json::from_slice(bytes).map_err(|error| SaFileError {
            message: format!("not a key file (line {}, column {})", error.line(), error.column()),
        })?;
        let cipher = Cipher::from_name(&raw.cipher)
            .ok_or("the cipher is none of aes-128-gcm, aes-256-gcm and chacha20-poly1305")?;
        let outbound = SaKey::parse(&raw.outbound, cipher)?;
        let inbound = SaKey::parse(&raw.inbound, cipher)?;
        // Both directions count from 1, so one key and salt would repeat every nonce (RFC 4106 §3.1).
        if outbound.key == inbound.key {
            return Err("both directions have the same key".into());
        }
        Ok(SaPair {
            cipher,
            esn: raw.esn,
            outbound,
            inbound,
        })
    }

    /// As it stands in a file.
    pub fn to_json(&self) -> Zeroizing<Vec<u8>> {
        // Longer than any pair, so that no copy of a key is left behind by a reallocation.
        let mut out = Zeroizing::new(Vec::with_capacity(1024));
        out.extend_from_slice(b"{\"cipher\":\"");
        out.extend_from_slice(self.cipher.name().as_bytes());
        out.extend_from_slice(if self.esn {
            b"\",\"esn\":true"
        } else {
            b"\",\"esn\":false"
        });
        for (name, key) in [("outbound", &self.outbound), ("inbound", &self.inbound)] {
            out.extend_from_slice(format!(",\"{name}\":{{\"spi\":{},\"key\":\"", key.spi).as_bytes());
            write_hex(key.key(), &mut out);
            out.extend_from_slice(b"\",\"salt\":\"");
            write_hex(&key.salt, &mut out);
            out.extend_from_slice(b"\"}");
        }
        out.extend_from_slice(b"}\n");
        out
    }

    /// A fresh pair and its mirror for the other end. `fill` writes random bytes.
    ///
    /// # Errors
    /// What `fill` fails with.
    pub fn generate<E>(
        cipher: Cipher,
        esn: bool,
        mut fill: impl FnMut(&mut [u8]) -> Result<(), E>,
    ) -> Result<(SaPair, SaPair), E> {
        let outbound = SaKey::generate(cipher, &mut fill)?;
        let mut inbound = SaKey::generate(cipher, &mut fill)?;
        while inbound.spi == outbound.spi {
            inbound.spi = random_spi(&mut fill)?;
        }
        let mirror = SaPair {
            cipher,
            esn,
            outbound: inbound.clone(),
            inbound: outbound.clone(),
        };
        Ok((
            SaPair {
                cipher,
                esn,
                outbound,
                inbound,
            },
            mirror,
        ))
    }
}

impl SaKey {
    fn parse(raw: &RawKey, cipher: Cipher) -> Result<SaKey, SaFileError> {
        if raw.spi < SPI_FIRST {
            return Err("SPIs below 256 are reserved".into());
        }
        let mut sa = SaKey {
            spi: raw.spi,
            key: [0; 32],
            key_length: cipher.key_length(),
            salt: [0; 4],
        };
        read_hex(&raw.key.0, &mut sa.key[..cipher.key_length()]).ok_or("a key is not hex of the cipher's length")?;
        read_hex(&raw.salt.0, &mut sa.salt).ok_or("a salt is not 4 bytes of hex")?;
        if sa.key == [0; 32] {
            return Err("a key is all zero".into());
        }
        Ok(sa)
    }

    fn generate<E>(cipher: Cipher, fill: &mut impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<SaKey, E> {
        let mut sa = SaKey {
            spi: random_spi(fill)?,
            key: [0; 32],
            key_length: cipher.key_length(),
            salt: [0; 4],
        };
        fill(&mut sa.key[..cipher.key_length()])?;
        fill(&mut sa.salt)?;
        Ok(sa)
    }
}

fn random_spi<E>(fill: &mut impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<u32, E> {
    let mut bytes = [0; 4];
    fill(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes).saturating_add(SPI_FIRST))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPair {
    cipher: String,
    esn: bool,
    outbound: RawKey,
    inbound: RawKey,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKey {
    spi: u32,
    key: Hex,
    salt: Hex,
}

#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
struct Hex(String);

fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

fn read_hex(text: &str, out: &mut [u8]) -> Option<()> {
    let text = text.as_bytes();
    if text.len() != 2 * out.len() {
        return None;
    }
    for (pair, byte) in text.chunks_exact(2).zip(out) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(())
}

fn digit(character: u8) -> Option<u8> {
    (character as char).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests;

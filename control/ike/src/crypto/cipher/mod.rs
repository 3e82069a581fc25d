//! The cipher of one direction of an IKE SA: what is inside an Encrypted payload (RFC 7296 §3.14, RFC 5282).

mod aead;
mod cbc;

use crate::random::Random;
use crate::secret::Secret;
use crate::transform::{Encryption, IkeSuite};
use aead::Aead;
use cbc::Cbc;
use core::fmt;

/// Seals or opens the messages of one direction. Made of stored keys when it is needed, so it is not stored itself.
#[derive(Debug)]
pub struct Cipher(Kind);

#[derive(Debug)]
enum Kind {
    Aead(Aead),
    Cbc(Cbc),
}

/// The message was not sealed with this key, or was changed on its way. It says nothing more: who attacks learns no reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unauthentic;

/// The keys do not fit the suite: a stored state is damaged, or the suite names a cipher that Tombolo does not speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnfitKeys;

impl Cipher {
    /// Of one direction: SK_ei and SK_ai, or SK_er and SK_ar.
    pub fn new(suite: &IkeSuite, encryption: &Secret, integrity: &Secret) -> Result<Cipher, UnfitKeys> {
        let kind = match (suite.encryption, suite.integrity) {
            (Encryption::AesGcm16(_) | Encryption::ChaCha20Poly1305, None) if integrity.is_empty() => {
                Kind::Aead(Aead::new(suite.encryption, encryption)?)
            }
            (Encryption::AesCbc(bits), Some(with)) => Kind::Cbc(Cbc::new(bits, with, encryption, integrity)?),
            // An AEAD beside an integrity transform (RFC 5282 §8), or AES-CBC without one.
            (Encryption::AesGcm16(_) | Encryption::ChaCha20Poly1305 | Encryption::AesCbc(_), _) => {
                return Err(UnfitKeys);
            }
        };
        Ok(Cipher(kind))
    }

    /// Bytes of the payload's body, IV to ICV, for so many bytes of payloads inside. It has to be known before sealing, because the
    /// lengths in the IKE header and in the payload's header are authenticated.
    pub fn sealed_bytes(&self, plain_bytes: usize) -> usize {
        match &self.0 {
            Kind::Aead(_) => aead::sealed_bytes(plain_bytes),
            Kind::Cbc(cbc) => cbc.sealed_bytes(plain_bytes),
        }
    }

    /// Seals `plain`: the body of the payload, [`Cipher::sealed_bytes`] of them. `associated` is the message from the IKE header to
    /// the header of the Encrypted payload (with SKF, to the fragment numbers), lengths already right.
    ///
    /// An AEAD's IV is `counter`, which is moved on; it has to be stored with the key before the message leaves. AES-CBC takes a
    /// random one and leaves the counter alone.
    pub fn seal(&self, counter: &mut u64, random: &mut dyn Random, associated: &[u8], plain: &[u8]) -> Vec<u8> {
        match &self.0 {
            Kind::Aead(aead) => {
                let iv = *counter;
                // 2³² message ids of 2¹⁶ fragments each do not come near the end of it.
                *counter = counter.wrapping_add(1);
                aead.seal(iv, associated, plain)
            }
            Kind::Cbc(cbc) => cbc.seal(random, associated, plain),
        }
    }

    /// The payloads inside `body`, padding taken off. `associated` as in [`Cipher::seal`].
    pub fn open(&self, associated: &[u8], body: &[u8]) -> Result<Vec<u8>, Unauthentic> {
        match &self.0 {
            Kind::Aead(aead) => aead.open(associated, body),
            Kind::Cbc(cbc) => cbc.open(associated, body),
        }
    }
}

/// Takes off what stands behind the payloads: Pad Length in the last byte and so many bytes before it (RFC 7296 §3.14). Only called
/// for bytes that were authenticated.
fn without_padding(mut plain: Vec<u8>) -> Result<Vec<u8>, Unauthentic> {
    let padding = plain.pop().ok_or(Unauthentic)?;
    let bytes = plain.len().checked_sub(usize::from(padding)).ok_or(Unauthentic)?;
    plain.truncate(bytes);
    Ok(plain)
}

impl fmt::Display for Unauthentic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message that does not verify: changed on its way, forged, or sealed with other keys")
    }
}

impl core::error::Error for Unauthentic {}

impl fmt::Display for UnfitKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys that do not fit their cipher: the stored state of the IKE SA is damaged")
    }
}

impl core::error::Error for UnfitKeys {}

#[cfg(test)]
mod tests;

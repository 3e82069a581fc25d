//! AES-GCM with a 16-byte ICV and ChaCha20-Poly1305 (RFC 5282, RFC 7634).

use super::{Unauthentic, UnfitKeys, without_padding};
use crate::secret::Secret;
use crate::transform::Encryption;
use core::fmt;
use ring::aead;
use zeroize::Zeroize;

const SALT_BYTES: usize = 4;
const IV_BYTES: usize = 8;
const ICV_BYTES: usize = 16;

pub(super) struct Aead {
    key: aead::LessSafeKey,
    salt: [u8; SALT_BYTES],
}

/// IV, payloads, Pad Length (no padding: RFC 5282 §3 lets the sender choose), ICV.
pub(super) fn sealed_bytes(plain_bytes: usize) -> usize {
    IV_BYTES + plain_bytes + 1 + ICV_BYTES
}

impl Aead {
    pub(super) fn new(encryption: Encryption, key: &Secret) -> Result<Aead, UnfitKeys> {
        let algorithm = match encryption {
            Encryption::AesGcm16(128) => &aead::AES_128_GCM,
            Encryption::AesGcm16(256) => &aead::AES_256_GCM,
            Encryption::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
            Encryption::AesGcm16(_) | Encryption::AesCbc(_) => return Err(UnfitKeys),
        };
        // RFC 5282 §7.1: the salt follows the key.
        let (key, salt) = key.expose().split_last_chunk::<SALT_BYTES>().ok_or(UnfitKeys)?;
        let key = aead::UnboundKey::new(algorithm, key).map_err(|_| UnfitKeys)?;
        Ok(Aead {
            key: aead::LessSafeKey::new(key),
            salt: *salt,
        })
    }

    pub(super) fn seal(&self, iv: u64, associated: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut body = Vec::with_capacity(sealed_bytes(plain.len()));
        body.extend_from_slice(&iv.to_be_bytes());
        body.extend_from_slice(plain);
        body.push(0);
        self.encrypt(&iv.to_be_bytes(), associated, &mut body);
        body
    }

    pub(super) fn open(&self, associated: &[u8], body: &[u8]) -> Result<Vec<u8>, Unauthentic> {
        without_padding(self.decrypt(associated, body)?)
    }

    /// Encrypts what is behind the IV in place and appends the ICV.
    pub(super) fn encrypt(&self, iv: &[u8; IV_BYTES], associated: &[u8], body: &mut Vec<u8>) {
        let inside = body.get_mut(IV_BYTES..).unwrap_or_default();
        let sealed = self
            .key
            .seal_in_place_separate_tag(self.nonce(iv), aead::Aad::from(associated), inside);
        match sealed {
            Ok(tag) => body.extend_from_slice(tag.as_ref()),
            // Only beyond 64 GiB; nothing in the clear leaves even so.
            Err(ring::error::Unspecified) => body.zeroize(),
        }
    }

    /// What is inside, padding and all.
    pub(super) fn decrypt(&self, associated: &[u8], body: &[u8]) -> Result<Vec<u8>, Unauthentic> {
        let (iv, sealed) = body.split_first_chunk::<IV_BYTES>().ok_or(Unauthentic)?;
        let mut inside = sealed.to_vec();
        let opened = self
            .key
            .open_in_place(self.nonce(iv), aead::Aad::from(associated), &mut inside);
        let inside_bytes = opened.map_err(|_| Unauthentic)?.len();
        inside.truncate(inside_bytes);
        Ok(inside)
    }

    /// Salt, then IV (RFC 5282 §4).
    fn nonce(&self, iv: &[u8; IV_BYTES]) -> aead::Nonce {
        let [a, b, c, d] = self.salt;
        let [e, f, g, h, i, j, k, l] = *iv;
        aead::Nonce::assume_unique_for_key([a, b, c, d, e, f, g, h, i, j, k, l])
    }
}

impl Drop for Aead {
    fn drop(&mut self) {
        self.salt.zeroize();
    }
}

impl fmt::Debug for Aead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Aead({:?})", self.key.algorithm())
    }
}

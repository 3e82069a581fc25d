//! AES-CBC with HMAC-SHA2 behind it, for IKE messages only (RFC 3602, RFC 4868, RFC 7296 §3.14).

use super::{Unauthentic, UnfitKeys, without_padding};
use crate::random::Random;
use crate::secret::Secret;
use crate::transform::{Encryption, Integrity};
use aes::cipher::{Array, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit};
use aes::{Aes128, Aes256};
use core::fmt;
use ring::hmac;
use subtle::ConstantTimeEq;

const BLOCK_BYTES: usize = 16;

pub(super) struct Cbc {
    pub(super) aes: Aes,
    mac: hmac::Key,
    icv_bytes: usize,
}

pub(super) enum Aes {
    Bits128(Aes128),
    Bits256(Aes256),
}

impl Cbc {
    pub(super) fn new(bits: u16, with: Integrity, encryption: &Secret, integrity: &Secret) -> Result<Cbc, UnfitKeys> {
        let key = encryption.expose();
        let aes = match Encryption::AesCbc(bits) {
            Encryption::AesCbc(128) => Aes128::new_from_slice(key).map(Aes::Bits128),
            Encryption::AesCbc(256) => Aes256::new_from_slice(key).map(Aes::Bits256),
            Encryption::AesCbc(_) | Encryption::AesGcm16(_) | Encryption::ChaCha20Poly1305 => return Err(UnfitKeys),
        };
        if integrity.len() != with.key_bytes() {
            return Err(UnfitKeys);
        }
        let algorithm = match with {
            Integrity::HmacSha256 => hmac::HMAC_SHA256,
            Integrity::HmacSha384 => hmac::HMAC_SHA384,
            Integrity::HmacSha512 => hmac::HMAC_SHA512,
        };
        let mac = hmac::Key::new(algorithm, integrity.expose());
        Ok(Cbc {
            aes: aes.map_err(|_| UnfitKeys)?,
            mac,
            icv_bytes: with.icv_bytes(),
        })
    }

    /// IV, payloads with padding and Pad Length to whole blocks, ICV.
    pub(super) fn sealed_bytes(&self, plain_bytes: usize) -> usize {
        BLOCK_BYTES + (plain_bytes + 1).next_multiple_of(BLOCK_BYTES) + self.icv_bytes
    }

    pub(super) fn seal(&self, random: &mut dyn Random, associated: &[u8], plain: &[u8]) -> Vec<u8> {
        // RFC 7296 §3.14: the IV has to be unpredictable.
        let mut iv = [0; BLOCK_BYTES];
        random.fill(&mut iv);
        let mut body = Vec::with_capacity(self.sealed_bytes(plain.len()));
        body.extend_from_slice(&iv);
        body.extend_from_slice(plain);
        let padding = (BLOCK_BYTES - 1 - plain.len() % BLOCK_BYTES) as u8; // at most 15
        body.resize(body.len() + usize::from(padding), 0);
        body.push(padding);
        self.aes.encrypt(iv, body.get_mut(BLOCK_BYTES..).unwrap_or_default());
        let tag = self.tag(associated, &body);
        body.extend_from_slice(tag.as_ref().get(..self.icv_bytes).unwrap_or_default());
        body
    }

    pub(super) fn open(&self, associated: &[u8], body: &[u8]) -> Result<Vec<u8>, Unauthentic> {
        let sealed_bytes = body.len().checked_sub(self.icv_bytes).ok_or(Unauthentic)?;
        let (sealed, icv) = body.split_at_checked(sealed_bytes).ok_or(Unauthentic)?;
        // The ICV first, in constant time, before anything is decrypted: what padding says must not show in errors or time.
        let tag = self.tag(associated, sealed);
        if !bool::from(tag.as_ref().get(..self.icv_bytes).unwrap_or_default().ct_eq(icv)) {
            return Err(Unauthentic);
        }
        let (iv, blocks) = sealed.split_first_chunk::<BLOCK_BYTES>().ok_or(Unauthentic)?;
        let mut plain = blocks.to_vec();
        if !plain.len().is_multiple_of(BLOCK_BYTES) {
            return Err(Unauthentic);
        }
        self.aes.decrypt(*iv, &mut plain);
        without_padding(plain)
    }

    /// Over the message up to the ICV (RFC 7296 §3.14).
    fn tag(&self, associated: &[u8], sealed: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.mac);
        context.update(associated);
        context.update(sealed);
        context.sign()
    }
}

impl Aes {
    /// Whole blocks, in place.
    pub(super) fn encrypt(&self, iv: [u8; BLOCK_BYTES], bytes: &mut [u8]) {
        let (blocks, _) = Array::slice_as_chunks_mut(bytes);
        match self {
            Aes::Bits128(aes) => cbc::Encryptor::inner_iv_init(aes, &iv.into()).encrypt_blocks(blocks),
            Aes::Bits256(aes) => cbc::Encryptor::inner_iv_init(aes, &iv.into()).encrypt_blocks(blocks),
        }
    }

    /// Whole blocks, in place.
    pub(super) fn decrypt(&self, iv: [u8; BLOCK_BYTES], bytes: &mut [u8]) {
        let (blocks, _) = Array::slice_as_chunks_mut(bytes);
        match self {
            Aes::Bits128(aes) => cbc::Decryptor::inner_iv_init(aes, &iv.into()).decrypt_blocks(blocks),
            Aes::Bits256(aes) => cbc::Decryptor::inner_iv_init(aes, &iv.into()).decrypt_blocks(blocks),
        }
    }
}

impl fmt::Debug for Cbc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = match self.aes {
            Aes::Bits128(_) => 128,
            Aes::Bits256(_) => 256,
        };
        write!(f, "Cbc({bits} bits, {:?})", self.mac.algorithm())
    }
}

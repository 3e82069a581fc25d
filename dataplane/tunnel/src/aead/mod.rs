//! The one seam to the cryptographic [providers](Provider): a cipher, an expanded key, seal and open of one packet's bytes.
//!
//! Keys come from the tables (`SaRecord`). Ciphertext is untrusted until [`SaKeys::open_shifting`] returns it.

mod provider;

pub use provider::{ENVIRONMENT, Provider};

use core::hint::black_box;
use core::ops::RangeFrom;
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use tombolo_ipsec_mb::{Block, ChaChaKey, GcmKey, Library};
use zeroize::Zeroize;

/// Bytes of the ICV of every cipher here (RFC 4106 §6, RFC 7634 §2).
pub const ICV_BYTES: usize = 16;
/// Bytes of the salt in front of the IV (RFC 4106 §4, RFC 7634 §2).
pub const SALT_BYTES: usize = 4;
/// Bytes of the IV that a packet carries.
pub const IV_BYTES: usize = 8;

/// An AEAD that ESP may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

    /// From `SaRecord::cipher` (`tombolo_tables::layout::cipher`); `None` for an unknown number.
    pub fn from_record(number: u8) -> Option<Self> {
        match number {
            1 => Some(Cipher::Aes128Gcm),
            2 => Some(Cipher::Aes256Gcm),
            3 => Some(Cipher::ChaCha20Poly1305),
            _ => None,
        }
    }

    /// The number that [`from_record`](Self::from_record) reads.
    pub fn to_record(self) -> u8 {
        match self {
            Cipher::Aes128Gcm => 1,
            Cipher::Aes256Gcm => 2,
            Cipher::ChaCha20Poly1305 => 3,
        }
    }

    /// Bytes of a key, without the salt.
    pub fn key_bytes(self) -> usize {
        match self {
            Cipher::Aes128Gcm => 16,
            Cipher::Aes256Gcm | Cipher::ChaCha20Poly1305 => 32,
        }
    }

    fn algorithm(self) -> &'static Algorithm {
        match self {
            Cipher::Aes128Gcm => &AES_128_GCM,
            Cipher::Aes256Gcm => &AES_256_GCM,
            Cipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        }
    }
}

/// The ICV does not fit: key, nonce, associated data or ciphertext differ from what was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unauthentic;

/// An SA's expanded key and its salt. Overwritten on drop; never `Debug`, `Clone` or compared.
///
/// It is about 1,200 bytes; keep it in place (a `Box` or a preallocated slot), since a move leaves a copy behind.
pub struct SaKeys {
    engine: Engine,
    salt: [u8; SALT_BYTES],
    cipher: Cipher,
}

/// The expanded key, as its provider wants it. `ipsec-mb` wipes its own.
// In place, whatever the provider: a box would be one more line to fetch per packet, and an allocation on the hot path.
#[allow(clippy::large_enum_variant)]
enum Engine {
    Ring(LessSafeKey),
    Gcm(GcmKey),
    ChaCha(ChaChaKey),
}

impl SaKeys {
    /// Expands a key for the provider of this process. `None` when its length is not [`Cipher::key_bytes`].
    pub fn new(cipher: Cipher, key: &[u8], salt: [u8; SALT_BYTES]) -> Option<Self> {
        Self::with(Provider::chosen(), cipher, key, salt)
    }

    /// The same for a provider by name; `None` also when it is not available.
    pub fn with(provider: Provider, cipher: Cipher, key: &[u8], salt: [u8; SALT_BYTES]) -> Option<Self> {
        (key.len() == cipher.key_bytes()).then_some(())?;
        let engine = match (provider, cipher) {
            (Provider::Ring, _) => Engine::Ring(LessSafeKey::new(UnboundKey::new(cipher.algorithm(), key).ok()?)),
            (Provider::IpsecMb, Cipher::Aes128Gcm | Cipher::Aes256Gcm) => {
                Engine::Gcm(GcmKey::new(Library::load().ok()?, key)?)
            }
            (Provider::IpsecMb, Cipher::ChaCha20Poly1305) => {
                Engine::ChaCha(ChaChaKey::new(Library::load().ok()?, key)?)
            }
        };
        Some(SaKeys { engine, salt, cipher })
    }

    /// The cipher it is for.
    pub fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// Who encrypts with it.
    pub fn provider(&self) -> Provider {
        match &self.engine {
            Engine::Ring(_) => Provider::Ring,
            Engine::Gcm(_) | Engine::ChaCha(_) => Provider::IpsecMb,
        }
    }

    /// Encrypts `data` in place and returns its ICV.
    ///
    /// The caller owes a fresh `iv` per call (law: no key and nonce twice). `None` only beyond the cipher's limit of
    /// 2³⁶ bytes, which no packet reaches, and without memory for a thread's first use of the library.
    #[inline]
    pub fn seal_in_place(&self, iv: [u8; IV_BYTES], associated: &[u8], data: &mut [u8]) -> Option<[u8; ICV_BYTES]> {
        match &self.engine {
            Engine::Ring(key) => {
                let tag = key.seal_in_place_separate_tag(self.nonce(iv), Aad::from(associated), data);
                tag.ok()?.as_ref().try_into().ok()
            }
            Engine::Gcm(key) => Some(key.seal_in_place(&Block::nonce(self.salt, iv), associated, data)),
            Engine::ChaCha(key) => key.seal_in_place(&Block::nonce(self.salt, iv), associated, data),
        }
    }

    /// Encrypts `source` into the start of `destination`, its ICV behind it: one pass where the provider can, else a copy first. As
    /// [`seal_in_place`](Self::seal_in_place) otherwise; `None` also when it does not fit.
    #[inline(always)]
    pub fn seal(&self, iv: [u8; IV_BYTES], associated: &[u8], source: &[u8], destination: &mut [u8]) -> Option<()> {
        match &self.engine {
            Engine::Ring(_) => self.seal_copy(iv, associated, source, destination),
            Engine::Gcm(key) => key.seal(&Block::nonce(self.salt, iv), associated, source, destination),
            Engine::ChaCha(key) => key.seal(&Block::nonce(self.salt, iv), associated, source, destination),
        }
    }

    #[inline(never)]
    fn seal_copy(&self, iv: [u8; IV_BYTES], associated: &[u8], source: &[u8], destination: &mut [u8]) -> Option<()> {
        let (data, behind) = destination.split_at_mut_checked(source.len())?;
        let icv = behind.first_chunk_mut()?;
        data.copy_from_slice(source);
        *icv = self.seal_in_place(iv, associated, data)?;
        Some(())
    }

    /// Decrypts `buffer[sealed..]`, ciphertext then ICV, to the start of `buffer`; returns the plaintext's length.
    ///
    /// On failure what was decrypted is wiped: the caller must not read `buffer` again.
    #[inline(always)]
    pub fn open_shifting(
        &self,
        iv: [u8; IV_BYTES],
        associated: &[u8],
        buffer: &mut [u8],
        sealed: RangeFrom<usize>,
    ) -> Result<usize, Unauthentic> {
        match &self.engine {
            Engine::Gcm(key) => {
                let opened = key.open_shifting(&Block::nonce(self.salt, iv), associated, buffer, sealed.start);
                opened.map_err(|_| Unauthentic)
            }
            Engine::Ring(_) | Engine::ChaCha(_) => self.open_otherwise(iv, associated, buffer, sealed),
        }
    }

    #[inline(never)]
    fn open_otherwise(
        &self,
        iv: [u8; IV_BYTES],
        associated: &[u8],
        buffer: &mut [u8],
        sealed: RangeFrom<usize>,
    ) -> Result<usize, Unauthentic> {
        let from = sealed.start;
        match &self.engine {
            Engine::Ring(key) => {
                let plaintext = key.open_within(self.nonce(iv), Aad::from(associated), buffer, sealed);
                return plaintext.map(|plaintext| plaintext.len()).map_err(|_| Unauthentic);
            }
            Engine::Gcm(key) => key.open_shifting(&Block::nonce(self.salt, iv), associated, buffer, from),
            Engine::ChaCha(key) => key.open_shifting(&Block::nonce(self.salt, iv), associated, buffer, from),
        }
        .map_err(|_| Unauthentic)
    }

    /// Salt then IV (RFC 4106 §4).
    #[inline]
    fn nonce(&self, iv: [u8; IV_BYTES]) -> Nonce {
        let [s0, s1, s2, s3] = self.salt;
        let [i0, i1, i2, i3, i4, i5, i6, i7] = iv;
        Nonce::assume_unique_for_key([s0, s1, s2, s3, i0, i1, i2, i3, i4, i5, i6, i7])
    }
}

impl Drop for SaKeys {
    /// `ring` wipes no key. Expanding the zero key over it replaces every byte of the schedule, in safe code; `black_box`
    /// keeps the compiler from leaving the write out.
    fn drop(&mut self) {
        if let Engine::Ring(key) = &mut self.engine
            && let Ok(zero) = UnboundKey::new(self.cipher.algorithm(), &[0; 32][..self.cipher.key_bytes()])
        {
            *key = LessSafeKey::new(zero);
        }
        self.salt.zeroize();
        black_box(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_numbers_survive_the_trip() {
        for cipher in Cipher::ALL {
            assert_eq!(Cipher::from_record(cipher.to_record()), Some(cipher));
        }
        assert_eq!(Cipher::from_record(0), None);
        assert_eq!(Cipher::from_record(4), None);
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        for cipher in Cipher::ALL {
            for provider in Provider::available() {
                for length in 0..=64 {
                    let key = SaKeys::with(provider, cipher, &[7; 64][..length], [0; 4]);
                    assert_eq!(key.is_some(), length == cipher.key_bytes());
                    assert!(key.is_none_or(|key| key.provider() == provider));
                }
            }
        }
    }
}

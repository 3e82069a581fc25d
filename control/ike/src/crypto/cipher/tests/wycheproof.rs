//! Project Wycheproof's cases for AES-GCM, ChaCha20-Poly1305 and AES-CBC: all that have the sizes of IKE. What stands inside is
//! taken as it is there, because those cases know nothing of Pad Length.

use super::*;
use ::wycheproof::{TestResult, aead, cipher};

/// Cases that were opened, refused, and left out.
fn aead_cases(name: aead::TestName, encryption: impl Fn(usize) -> Encryption) -> [usize; 3] {
    let [mut opened, mut refused, mut left_out] = [0; 3];
    for group in aead::TestSet::load(name).unwrap().test_groups {
        for test in &group.tests {
            let Some((salt, iv)) = test.nonce.split_first_chunk::<4>() else {
                left_out += 1;
                continue;
            };
            let (Ok(iv), true) = (<&[u8; 8]>::try_from(iv), group.key_size != 192) else {
                left_out += 1; // a nonce that is not of 12 bytes, or AES-192: neither exists in IKE here
                continue;
            };
            let key = Secret::new([&test.key[..], salt].concat());
            let aead = Aead::new(encryption(group.key_size), &key).unwrap();
            match aead.decrypt(&test.aad, &[iv, &test.ct[..], &test.tag].concat()) {
                Ok(inside) => {
                    assert_eq!(
                        (test.result, inside),
                        (TestResult::Valid, test.pt.to_vec()),
                        "case {}",
                        test.tc_id
                    );
                    let mut body = [iv, &test.pt[..]].concat();
                    aead.encrypt(iv, &test.aad, &mut body);
                    assert_eq!(body, [iv, &test.ct[..], &test.tag].concat(), "case {}", test.tc_id);
                    opened += 1;
                }
                Err(Unauthentic) => {
                    assert_eq!(test.result, TestResult::Invalid, "case {}", test.tc_id);
                    refused += 1;
                }
            }
        }
    }
    [opened, refused, left_out]
}

#[test]
fn aes_gcm() {
    let counts = aead_cases(aead::TestName::AesGcm, |bits| Encryption::AesGcm16(bits as u16));
    assert_eq!(counts, [79, 54, 183]);
}

#[test]
fn chacha20_poly1305() {
    let counts = aead_cases(aead::TestName::ChaCha20Poly1305, |_| Encryption::ChaCha20Poly1305);
    assert_eq!(counts, [256, 60, 9]);
}

/// Their padding is that of PKCS #5, which is added here; cases about its faults say nothing of IKE's.
#[test]
fn aes_cbc() {
    let (mut alike, mut left_out) = (0, 0);
    for group in cipher::TestSet::load(cipher::TestName::AesCbcPkcs5)
        .unwrap()
        .test_groups
    {
        for test in &group.tests {
            if group.key_size == 192 || test.result != TestResult::Valid {
                left_out += 1;
                continue;
            }
            let with = Integrity::HmacSha256;
            let cbc = Cbc::new(
                group.key_size as u16,
                with,
                &Secret::from(&test.key[..]),
                &Secret::new(vec![0; 32]),
            )
            .unwrap();
            let padding = 16 - test.pt.len() % 16;
            let padded = [&test.pt[..], &vec![padding as u8; padding]].concat();
            let mut bytes = padded.clone();
            let iv = <[u8; 16]>::try_from(&test.nonce[..]).unwrap();
            cbc.aes.encrypt(iv, &mut bytes);
            assert_eq!(bytes, test.ct[..], "case {}", test.tc_id);
            cbc.aes.decrypt(iv, &mut bytes);
            assert_eq!(bytes, padded, "case {}", test.tc_id);
            alike += 1;
        }
    }
    assert_eq!((alike, left_out), (48, 168));
}

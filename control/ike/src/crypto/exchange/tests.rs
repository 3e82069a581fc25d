//! Both halves agree, stored halves too, and what is no public value is refused. Vectors are in the submodules.

mod modp;
mod rfc5903;
mod rfc7748;
mod wycheproof;

use super::*;
use crate::crypto::tests::{Given, Seeded};

/// The private value of a test vector, taken in the way that a stored one is.
fn stored(group: Group, value: &[u8]) -> PrivateValue {
    let group = serde_json::to_value(group).unwrap();
    serde_json::from_value(serde_json::json!({ "group": group, "value": value })).unwrap()
}

#[test]
fn both_sides_get_the_same_secret() {
    let mut random = Seeded::new(1);
    for group in Group::ALL {
        let (private, request) = PrivateValue::generate(group, &mut random);
        let (answer, shared) = respond(group, &request, &mut random).unwrap();
        assert_eq!(private.agree(&answer).unwrap(), shared, "{group:?}");
        let (request_bytes, answer_bytes, shared_bytes) = match group {
            Group::Modp2048 => (256, 256, 256),
            Group::Ecp256 => (64, 64, 32),
            Group::Ecp384 => (96, 96, 48),
            Group::Ecp521 => (132, 132, 66),
            Group::Curve25519 => (32, 32, 32),
            Group::MlKem768 => (1184, 1088, 32),
        };
        assert_eq!(
            (request.len(), answer.len(), shared.len()),
            (request_bytes, answer_bytes, shared_bytes),
            "{group:?}"
        );
        let (again, other) = respond(group, &request, &mut random).unwrap();
        assert!(
            again != answer && other != shared,
            "{group:?}: each exchange has a secret of its own"
        );
    }
}

#[test]
fn a_stored_private_value_agrees_on_the_same_secret() {
    let mut random = Seeded::new(2);
    for group in Group::ALL {
        let (private, request) = PrivateValue::generate(group, &mut random);
        let text = serde_json::to_string(&private).unwrap();
        let restored: PrivateValue = serde_json::from_str(&text).unwrap();
        let (answer, shared) = respond(group, &request, &mut random).unwrap();
        assert_eq!(restored.group(), group);
        assert_eq!(restored.agree(&answer).unwrap(), shared, "{group:?}");
    }
}

#[test]
fn a_public_value_of_another_length_is_refused() {
    let mut random = Seeded::new(3);
    for group in Group::ALL {
        let (private, request) = PrivateValue::generate(group, &mut random);
        let (answer, _) = respond(group, &request, &mut random).unwrap();
        for wrong in [
            Vec::new(),
            answer[1..].to_vec(),
            [&[0], answer.as_slice()].concat(),
            [&answer[..], &[0]].concat(),
        ] {
            let error = private.agree(&wrong).unwrap_err();
            assert_eq!(
                error,
                KeError::Length {
                    group,
                    expected: answer.len(),
                    got: wrong.len()
                }
            );
        }
        for wrong in [Vec::new(), request[1..].to_vec(), [&[4], request.as_slice()].concat()] {
            let error = respond(group, &wrong, &mut random).unwrap_err();
            assert_eq!(
                error,
                KeError::Length {
                    group,
                    expected: request.len(),
                    got: wrong.len()
                }
            );
        }
    }
}

#[test]
fn a_damaged_private_value_is_our_own_fault() {
    let mut random = Seeded::new(4);
    for group in Group::ALL {
        let (_, request) = PrivateValue::generate(group, &mut random);
        let (answer, _) = respond(group, &request, &mut random).unwrap();
        for wrong in [&[][..], &[1; 24], &[1; 31], &[1; 257]] {
            assert_eq!(stored(group, wrong).agree(&answer), Err(KeError::Own(group)));
        }
    }
    for (group, bytes) in [(Group::Ecp256, 32), (Group::Ecp384, 48), (Group::Ecp521, 66)] {
        let (_, public) = PrivateValue::generate(group, &mut random);
        for byte in [0, 0xff] {
            // No scalar from 1 to the order of the group.
            assert_eq!(
                stored(group, &vec![byte; bytes]).agree(&public),
                Err(KeError::Own(group))
            );
        }
    }
}

#[test]
fn a_point_that_is_not_on_the_curve_is_refused() {
    let mut random = Seeded::new(5);
    for group in [Group::Ecp256, Group::Ecp384, Group::Ecp521] {
        let (private, public) = PrivateValue::generate(group, &mut random);
        for at in [0, public.len() / 2 - 1, public.len() / 2, public.len() - 1] {
            let mut wrong = public.clone();
            wrong[at] ^= 1;
            assert_eq!(
                private.agree(&wrong),
                Err(KeError::NotOfTheGroup(group)),
                "{group:?}, byte {at}"
            );
        }
        for byte in [0, 0xff] {
            assert_eq!(
                private.agree(&vec![byte; public.len()]),
                Err(KeError::NotOfTheGroup(group))
            );
        }
    }
}

#[test]
fn an_encapsulation_key_with_a_coefficient_too_large_is_refused() {
    let mut random = Seeded::new(6);
    let (_, mut key) = PrivateValue::generate(Group::MlKem768, &mut random);
    // FIPS 203 §7.2: two coefficients of 12 bits in three bytes, each below 3329.
    key[..3].copy_from_slice(&[0x01, 0x0d, 0x00]);
    assert_eq!(
        respond(Group::MlKem768, &key, &mut random).unwrap_err(),
        KeError::NotOfTheGroup(Group::MlKem768)
    );
    key[..3].copy_from_slice(&[0x00, 0x0d, 0x00]);
    assert!(
        respond(Group::MlKem768, &key, &mut random).is_ok(),
        "3328 is the largest"
    );
}

#[test]
fn a_forged_ciphertext_gives_a_secret_that_the_forger_does_not_know() {
    let mut random = Seeded::new(7);
    let (private, request) = PrivateValue::generate(Group::MlKem768, &mut random);
    let (mut answer, shared) = respond(Group::MlKem768, &request, &mut random).unwrap();
    answer[0] ^= 1;
    let other = private.agree(&answer).unwrap();
    assert_ne!(other, shared);
    assert_eq!(private.agree(&answer).unwrap(), other, "always the same one");
}

#[test]
fn errors_say_whose_fault_it_is() {
    let length = KeError::Length {
        group: Group::Ecp256,
        expected: 64,
        got: 65,
    };
    assert_eq!(
        length.to_string(),
        "the peer's KE payload has 65 bytes where key exchange method 19 has 64: the peer is broken"
    );
    assert!(
        KeError::NotOfTheGroup(Group::Ecp256)
            .to_string()
            .starts_with("the peer's")
    );
    assert!(KeError::Weak(Group::Curve25519).to_string().starts_with("the peer's"));
    assert!(KeError::Own(Group::MlKem768).to_string().starts_with("our own"));
}

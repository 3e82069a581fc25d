//! No secret is printed.

use super::{Seeded, hex};
use crate::crypto::child_keys::child_keys;
use crate::crypto::cipher::Cipher;
use crate::crypto::cookie::CookieKeys;
use crate::crypto::exchange::PrivateValue;
use crate::crypto::ike_keys::{IkeKeys, Public};
use crate::secret::Secret;
use crate::transform::{Encryption, EspSuite, Group, IkeSuite, Integrity, Prf};
use core::fmt::Debug;

fn suite(encryption: Encryption) -> IkeSuite {
    let integrity = (!encryption.is_aead()).then_some(Integrity::HmacSha256);
    IkeSuite {
        encryption,
        integrity,
        prf: Prf::HmacSha256,
        group: Group::Curve25519,
        additional: Vec::new(),
    }
}

/// Neither in hexadecimal nor in decimal, neither a part of it.
fn says_nothing(what: &dyn Debug, secret: &[u8]) {
    for text in [format!("{what:?}"), format!("{what:#?}")] {
        let plain: String = text.chars().filter(|char| !char.is_whitespace()).collect();
        for part in secret.windows(3) {
            assert!(!plain.to_lowercase().contains(&hex(part)), "{text}");
            let decimal = part.iter().map(u8::to_string).collect::<Vec<_>>().join(",");
            assert!(!plain.contains(&decimal), "{text}");
        }
        assert!(text.len() < 400, "long enough to hold something: {text}");
    }
}

#[test]
fn nothing_that_bears_a_secret_prints_it() {
    let mut random = Seeded::new(3);
    for group in Group::ALL {
        let (private, _) = PrivateValue::generate(group, &mut random);
        let stored = serde_json::to_value(&private).unwrap();
        let bytes: Vec<u8> = serde_json::from_value(stored["value"].clone()).unwrap();
        assert!(bytes.len() >= 32);
        says_nothing(&private, &bytes);
    }
    let public = Public {
        nonce_i: b"nonce of i",
        nonce_r: b"nonce of r",
        spi_i: 1,
        spi_r: 2,
    };
    for encryption in [
        Encryption::AesGcm16(128),
        Encryption::ChaCha20Poly1305,
        Encryption::AesCbc(256),
    ] {
        let suite = suite(encryption);
        let keys = IkeKeys::derive(&suite, &Secret::new(vec![9; 32]), public);
        for key in [&keys.d, &keys.ai, &keys.ar, &keys.ei, &keys.er, &keys.pi, &keys.pr] {
            says_nothing(&keys, key.expose());
        }
        says_nothing(&Cipher::new(&suite, &keys.ei, &keys.ai).unwrap(), keys.ei.expose());
        says_nothing(&Cipher::new(&suite, &keys.ei, &keys.ai).unwrap(), keys.ai.expose());
        let esp = EspSuite {
            encryption: Encryption::AesGcm16(256),
            group: None,
            additional: Vec::new(),
            esn: true,
        };
        let child = child_keys(suite.prf, &keys.d, &[], b"i", b"r", &esp);
        says_nothing(&child, child.initiator.key.expose());
        says_nothing(&child, &child.responder.salt);
    }
    let keys = CookieKeys::new(&mut random);
    let stored = serde_json::to_value(&keys).unwrap();
    let bytes: Vec<u8> = serde_json::from_value(stored["current"].clone()).unwrap();
    says_nothing(&keys, &bytes);
}

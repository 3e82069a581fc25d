//! Signatures of AUTH against OpenSSL, both ways: RFC 7427, RFC 8420, RFC 4754 and method 1 of RFC 7296.

mod openssl;

use openssl::OpenSsl;
use tombolo_ike::auth::algorithm::{HASHES, Hash, Scheme};
use tombolo_ike::auth::error::AuthError;
use tombolo_ike::auth::private_key::{fits, sign};
use tombolo_ike::auth::public_key::{KeyError, PublicKey};
use tombolo_ike::secret::Secret;
use tombolo_ike::wire::{AuthBody, method};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

const OCTETS: &[u8] = b"message, nonce and identity of one side";

fn body(method: u8, data: &[u8]) -> AuthBody {
    AuthBody {
        method,
        data: data.to_vec(),
    }
}

/// What OpenSSL signed: a certificate, since it names its algorithm as AUTH does.
struct Signed {
    key: PublicKey,
    octets: Vec<u8>,
    algorithm: Vec<u8>,
    signature: Vec<u8>,
}

impl Signed {
    fn data(&self) -> Vec<u8> {
        [&[self.algorithm.len() as u8], &self.algorithm[..], &self.signature].concat()
    }

    fn verify(&self, data: &[u8]) -> Result<(), AuthError> {
        self.key.verify(&body(method::SIGNATURE, data), &self.octets)
    }
}

fn signed(openssl: &OpenSsl, key: &str, options: &str) -> Signed {
    let der = openssl.run(&format!(
        "req -x509 -new -key {key}.key -subj /CN=a -outform DER {options}"
    ));
    let certificate = Certificate::from_der(&der).expect("a certificate");
    let tbs = certificate.tbs_certificate();
    Signed {
        key: PublicKey::from_spki(&openssl.public(key)).expect("a key of a supported kind"),
        octets: tbs.to_der().expect("DER of what was DER"),
        algorithm: certificate.signature_algorithm().to_der().expect("DER"),
        signature: certificate.signature().as_bytes().expect("whole bytes").to_vec(),
    }
}

const PSS: &str = "-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest";

/// Every scheme that we verify: kind of key, OpenSSL's options, scheme.
const SCHEMES: [(&str, &str, Scheme); 13] = [
    ("RSA:2048", "-sha256", Scheme::RsaPkcs1(Hash::Sha256)),
    ("RSA:2048", "-sha384", Scheme::RsaPkcs1(Hash::Sha384)),
    ("RSA:3072", "-sha512", Scheme::RsaPkcs1(Hash::Sha512)),
    ("RSA:2048", "-sha256 pss", Scheme::RsaPss(Hash::Sha256)),
    ("RSA:2048", "-sha384 pss", Scheme::RsaPss(Hash::Sha384)),
    ("RSA:2048", "-sha512 pss", Scheme::RsaPss(Hash::Sha512)),
    ("RSA:2049", "-sha256 pss", Scheme::RsaPss(Hash::Sha256)),
    ("P-256", "-sha256", Scheme::Ecdsa(Hash::Sha256)),
    ("P-256", "-sha384", Scheme::Ecdsa(Hash::Sha384)),
    ("P-384", "-sha256", Scheme::Ecdsa(Hash::Sha256)),
    ("P-384", "-sha384", Scheme::Ecdsa(Hash::Sha384)),
    ("ED25519", "", Scheme::Ed25519),
    ("RSA:4096", "-sha512 pss", Scheme::RsaPss(Hash::Sha512)),
];

#[test]
fn signatures_of_openssl_verify() {
    let openssl = OpenSsl::new();
    for (number, (kind, options, scheme)) in SCHEMES.into_iter().enumerate() {
        let name = format!("key{number}");
        openssl.key(&name, kind);
        let signed = signed(&openssl, &name, &options.replace("pss", PSS));
        let data = signed.data();
        assert_eq!(Scheme::parse(&signed.algorithm), Ok(scheme), "{kind} {options}");
        assert_eq!(
            scheme.encode(),
            signed.algorithm,
            "{kind} {options}: other than OpenSSL writes it"
        );
        assert_eq!(signed.verify(&data), Ok(()), "{kind} {options}");
        refuses_what_was_changed(&signed, &data);
    }
}

fn refuses_what_was_changed(signed: &Signed, data: &[u8]) {
    for end in 0..data.len() {
        assert!(signed.verify(&data[..end]).is_err(), "cut to {end} bytes");
    }
    assert!(signed.verify(&[data, &[0]].concat()).is_err(), "a byte too much");
    for at in 0..data.len() {
        let mut other = data.to_vec();
        other[at] ^= 1;
        assert!(signed.verify(&other).is_err(), "byte {at} changed");
    }
    let mut octets = signed.octets.clone();
    octets.push(0);
    assert_eq!(
        signed.key.verify(&body(method::SIGNATURE, data), &octets),
        Err(AuthError::WrongSignature)
    );
}

/// The name of the algorithm is believed only as far as the key and the signature bear it out.
#[test]
fn swapped_algorithms_and_keys_are_refused() {
    let openssl = OpenSsl::new();
    for (name, kind) in [
        ("rsa", "RSA:2048"),
        ("other", "RSA:2048"),
        ("p256", "P-256"),
        ("ed", "ED25519"),
    ] {
        openssl.key(name, kind);
    }
    let rsa = signed(&openssl, "rsa", "-sha256");
    for scheme in [
        Scheme::RsaPkcs1(Hash::Sha384),
        Scheme::RsaPkcs1(Hash::Sha512),
        Scheme::RsaPss(Hash::Sha256),
    ] {
        let swapped = Signed {
            algorithm: scheme.encode(),
            ..clone(&rsa)
        };
        assert_eq!(
            swapped.verify(&swapped.data()),
            Err(AuthError::WrongSignature),
            "{scheme}"
        );
    }
    for (key, kind) in [("p256", "ECDSA P-256"), ("ed", "Ed25519")] {
        let other = PublicKey::from_spki(&openssl.public(key)).unwrap();
        let result = other.verify(&body(method::SIGNATURE, &rsa.data()), &rsa.octets);
        let signature = "RSASSA-PKCS1-v1_5 with SHA-256".to_owned();
        assert_eq!(
            result,
            Err(AuthError::OtherKind {
                signature,
                key: kind.to_owned()
            })
        );
        assert!(matches!(
            other.verify(&body(method::RSA, &rsa.signature), &rsa.octets),
            Err(AuthError::OtherKind { .. })
        ));
    }
    let other = PublicKey::from_spki(&openssl.public("other")).unwrap();
    assert_eq!(
        other.verify(&body(method::SIGNATURE, &rsa.data()), &rsa.octets),
        Err(AuthError::WrongSignature)
    );
    for method in [0, 2, 3, 11, 12, 13, 255] {
        assert_eq!(
            rsa.key.verify(&body(method, &rsa.data()), &rsa.octets),
            Err(AuthError::Method(method))
        );
    }
}

fn clone(signed: &Signed) -> Signed {
    Signed {
        key: signed.key.clone(),
        octets: signed.octets.clone(),
        algorithm: signed.algorithm.clone(),
        signature: signed.signature.clone(),
    }
}

/// RFC 7296 §3.8: method 1 with another hash than SHA-1; that one is told apart.
#[test]
fn method_1_verifies_but_not_with_sha1() {
    let openssl = OpenSsl::new();
    openssl.key("rsa", "RSA:2048");
    for hash in ["sha256", "sha384", "sha512"] {
        let signed = signed(&openssl, "rsa", &format!("-{hash}"));
        assert_eq!(
            signed.key.verify(&body(method::RSA, &signed.signature), &signed.octets),
            Ok(())
        );
        let wrong = signed.key.verify(&body(method::RSA, &signed.signature), b"other");
        assert_eq!(wrong, Err(AuthError::WrongSignature));
        let cut = signed
            .key
            .verify(&body(method::RSA, &signed.signature[1..]), &signed.octets);
        assert_eq!(cut, Err(AuthError::WrongSignature));
    }
    let old = signed(&openssl, "rsa", "-sha1");
    assert_eq!(
        old.key.verify(&body(method::RSA, &old.signature), &old.octets),
        Err(AuthError::Sha1)
    );
    assert_eq!(old.verify(&old.data()), Err(AuthError::Sha1));
}

/// RFC 4055 §3.1: what is left out means SHA-1, and other salts than the usual are named.
#[test]
fn other_parameters_of_pss_are_refused() {
    let openssl = OpenSsl::new();
    openssl.key("rsa", "RSA:2048");
    let refusal = |options: &str| {
        let signed = signed(&openssl, "rsa", &format!("-sigopt rsa_padding_mode:pss {options}"));
        signed.verify(&signed.data())
    };
    let parameters = |mask_hash, salt| {
        Err(AuthError::PssParameters {
            hash: Hash::Sha256,
            mask_hash,
            salt,
        })
    };
    assert_eq!(
        refusal("-sha256 -sigopt rsa_pss_saltlen:20"),
        parameters(Hash::Sha256, 20)
    );
    assert_eq!(
        refusal("-sha256 -sigopt rsa_pss_saltlen:0"),
        parameters(Hash::Sha256, 0)
    );
    assert_eq!(
        refusal("-sha256 -sigopt rsa_pss_saltlen:max"),
        parameters(Hash::Sha256, 222)
    );
    assert_eq!(
        refusal("-sha256 -sigopt rsa_pss_saltlen:32 -sigopt rsa_mgf1_md:sha512"),
        parameters(Hash::Sha512, 32)
    );
    assert_eq!(
        refusal("-sha256 -sigopt rsa_pss_saltlen:32 -sigopt rsa_mgf1_md:sha1"),
        Err(AuthError::Sha1)
    );
    assert_eq!(refusal("-sha1 -sigopt rsa_pss_saltlen:20"), Err(AuthError::Sha1));
    let old = refusal("-sha224 -sigopt rsa_pss_saltlen:28");
    assert!(matches!(old, Err(AuthError::UnsupportedAlgorithm(_))), "{old:?}");
}

#[test]
fn ecdsa_of_openssl_verifies_raw() {
    let openssl = OpenSsl::new();
    for (name, kind, options, method, bytes) in [
        ("p256", "P-256", "-sha256", method::ECDSA_256, 32),
        ("p384", "P-384", "-sha384", method::ECDSA_384, 48),
    ] {
        openssl.key(name, kind);
        let signed = signed(&openssl, name, options);
        let raw = raw_of(&signed.signature, bytes);
        assert_eq!(signed.key.verify(&body(method, &raw), &signed.octets), Ok(()));
        assert!(
            signed
                .key
                .verify(&body(method, &signed.signature), &signed.octets)
                .is_err(),
            "DER is none"
        );
        let swapped = [&raw[bytes..], &raw[..bytes]].concat();
        assert_eq!(
            signed.key.verify(&body(method, &swapped), &signed.octets),
            Err(AuthError::WrongSignature)
        );
        assert!(
            signed
                .key
                .verify(
                    &body(method::ECDSA_256 + method::ECDSA_384 - method, &raw),
                    &signed.octets
                )
                .is_err()
        );
        for end in 0..raw.len() {
            assert!(signed.key.verify(&body(method, &raw[..end]), &signed.octets).is_err());
        }
    }
}

/// `r | s` (RFC 4754 §7) from the SEQUENCE of two INTEGERs.
fn raw_of(der: &[u8], bytes: usize) -> Vec<u8> {
    use x509_cert::der::asn1::UintRef;
    let parts = <Vec<UintRef<'_>>>::from_der(der).expect("two numbers");
    let wide = |part: &UintRef<'_>| [vec![0; bytes - part.as_bytes().len()], part.as_bytes().to_vec()].concat();
    parts.iter().flat_map(wide).collect()
}

/// And back.
fn der_of(raw: &[u8]) -> Vec<u8> {
    use x509_cert::der::asn1::Uint;
    let (r, s) = raw.split_at(raw.len() / 2);
    vec![Uint::new(r).unwrap(), Uint::new(s).unwrap()]
        .to_der()
        .expect("two numbers")
}

/// What we sign is read by OpenSSL, with the algorithm that we named.
#[test]
fn our_signatures_verify_in_openssl() {
    let openssl = OpenSsl::new();
    openssl.write("octets", OCTETS);
    for (kind, peer, scheme) in [
        ("RSA:2048", &HASHES[..], Scheme::RsaPss(Hash::Sha256)),
        ("RSA:3072", &[4, 3], Scheme::RsaPss(Hash::Sha384)),
        ("RSA:4096", &[1, 4], Scheme::RsaPss(Hash::Sha512)),
        ("P-256", &[3, 2], Scheme::Ecdsa(Hash::Sha256)),
        ("P-384", &HASHES, Scheme::Ecdsa(Hash::Sha384)),
        ("ED25519", &[2, 5], Scheme::Ed25519),
    ] {
        let pkcs8 = Secret::new(openssl.key("own", kind));
        let proof = sign(&pkcs8, Some(peer), OCTETS).expect("a sound key");
        let public = PublicKey::from_spki(&openssl.public("own")).unwrap();
        assert_eq!(proof.method, method::SIGNATURE);
        assert_eq!(public.verify(&proof, OCTETS), Ok(()), "{kind}");
        assert_eq!(fits(&pkcs8, &public), Ok(true), "{kind}");

        let (algorithm, signature) = proof.data[1..].split_at(usize::from(proof.data[0]));
        assert_eq!(Scheme::parse(algorithm), Ok(scheme), "{kind}");
        openssl.write("signature", signature);
        let options = match scheme {
            Scheme::Ed25519 => "pkeyutl -verify -pubin -inkey own.pub -rawin -in octets -sigfile signature".to_owned(),
            Scheme::Ecdsa(hash) => format!("dgst -{} -verify own.pub -signature signature octets", digest(hash)),
            Scheme::RsaPss(hash) => {
                format!(
                    "dgst -{} -verify own.pub {PSS} -signature signature octets",
                    digest(hash)
                )
            }
            Scheme::RsaPkcs1(_) => panic!("never signed with"),
        };
        openssl.run(&options);
        openssl.write("octets", b"other");
        assert!(
            openssl
                .try_run(&options.split_whitespace().collect::<Vec<_>>())
                .is_err(),
            "OpenSSL takes anything"
        );
        openssl.write("octets", OCTETS);
    }
}

fn digest(hash: Hash) -> &'static str {
    match hash {
        Hash::Sha256 => "sha256",
        Hash::Sha384 => "sha384",
        Hash::Sha512 => "sha512",
    }
}

/// RFC 7427 §4: without SIGNATURE_HASH_ALGORITHMS only the old methods, of which those of ECDSA alone have a sound hash.
#[test]
fn peers_without_hash_algorithms() {
    let openssl = OpenSsl::new();
    openssl.write("octets", OCTETS);
    for (kind, method, hash) in [
        ("P-256", method::ECDSA_256, "sha256"),
        ("P-384", method::ECDSA_384, "sha384"),
    ] {
        let pkcs8 = Secret::new(openssl.key("own", kind));
        let proof = sign(&pkcs8, None, OCTETS).unwrap();
        assert_eq!(proof.method, method);
        let public = PublicKey::from_spki(&openssl.public("own")).unwrap();
        assert_eq!(public.verify(&proof, OCTETS), Ok(()));
        openssl.write("signature", &der_of(&proof.data));
        openssl.run(&format!("dgst -{hash} -verify own.pub -signature signature octets"));
    }
    for (kind, name) in [("RSA:2048", "RSA"), ("ED25519", "Ed25519")] {
        let pkcs8 = Secret::new(openssl.key("own", kind));
        assert_eq!(sign(&pkcs8, None, OCTETS), Err(AuthError::NoHashes(name)));
    }
}

#[test]
fn nothing_in_common_is_said() {
    let openssl = OpenSsl::new();
    let refusal = |kind: &str, peer: &[u16]| {
        let pkcs8 = Secret::new(openssl.key("own", kind));
        sign(&pkcs8, Some(peer), OCTETS).unwrap_err().to_string()
    };
    assert!(refusal("RSA:2048", &[1]).contains("accepts only SHA-1:"));
    assert!(
        refusal("P-256", &[3, 4]).contains("signs with ECDSA with SHA-256, but the peer accepts only SHA-384, SHA-512")
    );
    assert!(refusal("ED25519", &[2, 3, 4]).contains("signs with Ed25519"));
    assert!(refusal("ED25519", &[]).contains("accepts only none"));
}

#[test]
fn keys_that_are_not_fit() {
    let openssl = OpenSsl::new();
    let weak = Secret::new(openssl.key("weak", "RSA:1024"));
    assert!(matches!(
        sign(&weak, Some(&HASHES), OCTETS),
        Err(AuthError::PrivateKey(_))
    ));
    assert_eq!(PublicKey::from_spki(&openssl.public("weak")), Err(KeyError::Weak(1024)));
    for kind in ["P-521", "ED448"] {
        let other = Secret::new(openssl.key("other", kind));
        let refusal = sign(&other, Some(&HASHES), OCTETS).unwrap_err();
        assert!(refusal.to_string().contains("is not supported; use RSA"), "{refusal}");
        assert!(matches!(
            PublicKey::from_spki(&openssl.public("other")),
            Err(KeyError::Unsupported(_))
        ));
    }
    for bytes in [&b""[..], b"-----BEGIN PRIVATE KEY-----", &[0x30, 0]] {
        let refusal = sign(&bytes.into(), Some(&HASHES), OCTETS).unwrap_err();
        assert!(refusal.to_string().contains("not PKCS #8"), "{refusal}");
        assert_eq!(PublicKey::from_spki(bytes), Err(KeyError::Malformed));
    }
    let one = Secret::new(openssl.key("one", "P-256"));
    openssl.key("two", "P-256");
    openssl.key("three", "ED25519");
    for name in ["two", "three"] {
        assert_eq!(
            fits(&one, &PublicKey::from_spki(&openssl.public(name)).unwrap()),
            Ok(false)
        );
    }
    for end in 0..one.len() {
        assert!(sign(&one.expose()[..end].into(), Some(&HASHES), OCTETS).is_err());
    }
}

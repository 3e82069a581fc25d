//! Our private key: signs, and nothing else.

use super::algorithm::{Hash, Scheme, oid_text};
use super::error::AuthError;
use super::public_key::PublicKey;
use crate::secret::Secret;
use crate::wire::{AuthBody, method};
use ring::rand::SystemRandom;
use ring::rsa::KeyPair as RsaKeyPair;
use ring::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding};
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::oid::db::{rfc5912, rfc8410};
use x509_cert::der::{self, Header, Reader, SliceReader};
use x509_cert::spki::AlgorithmIdentifierRef;

/// Kind of a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// The AUTH of our side: signs `octets` (of [`super::octets::Octets::signed`]) with `key` (PKCS #8, DER), in a way that the peer takes.
/// `peer_hashes` is what its SIGNATURE_HASH_ALGORITHMS listed; none if it sent none (RFC 7427 §4).
///
/// `ring` draws the salt of RSASSA-PSS and the nonce of ECDSA from the operating system by itself; Ed25519 needs none.
pub fn sign(key: &Secret, peer_hashes: Option<&[u16]>, octets: &[u8]) -> Result<AuthBody, AuthError> {
    let pkcs8 = key.expose();
    let kind = kind(pkcs8)?;
    let Some(hashes) = peer_hashes else {
        return sign_without_name(kind, pkcs8, octets);
    };
    let scheme = choose(kind, hashes)?;
    let signature = match scheme {
        Scheme::RsaPss(hash) => sign_rsa(pkcs8, pss(hash), octets)?,
        Scheme::RsaPkcs1(hash) => sign_rsa(pkcs8, pkcs1(hash), octets)?,
        Scheme::Ecdsa(_) if kind == Kind::P256 => {
            sign_ecdsa(pkcs8, &signature::ECDSA_P256_SHA256_ASN1_SIGNING, octets)?
        }
        Scheme::Ecdsa(_) => sign_ecdsa(pkcs8, &signature::ECDSA_P384_SHA384_ASN1_SIGNING, octets)?,
        Scheme::Ed25519 => ed25519(pkcs8)?.sign(octets).as_ref().to_vec(),
    };
    let algorithm = scheme.encode();
    let data = [&[algorithm.len() as u8], &algorithm[..], &signature].concat();
    Ok(AuthBody {
        method: method::SIGNATURE,
        data,
    })
}

/// Whether a private key (PKCS #8, DER) is that of a public one.
pub fn fits(key: &Secret, public: &PublicKey) -> Result<bool, AuthError> {
    let pkcs8 = key.expose();
    let own = match kind(pkcs8)? {
        Kind::Rsa => rsa(pkcs8)?.public().as_ref().to_vec(),
        Kind::P256 => public_of(&ecdsa(pkcs8, &signature::ECDSA_P256_SHA256_ASN1_SIGNING)?),
        Kind::P384 => public_of(&ecdsa(pkcs8, &signature::ECDSA_P384_SHA384_ASN1_SIGNING)?),
        Kind::Ed25519 => ed25519(pkcs8)?.public_key().as_ref().to_vec(),
    };
    Ok(own == public.bytes())
}

fn public_of(pair: &EcdsaKeyPair) -> Vec<u8> {
    pair.public_key().as_ref().to_vec()
}

/// What the key signs with and the peer takes. RSA uses PSS (RFC 8247 §3.2); every hash of an elliptic curve is that of its size.
fn choose(kind: Kind, peer: &[u16]) -> Result<Scheme, AuthError> {
    let candidates: &[Scheme] = match kind {
        Kind::Rsa => &[
            Scheme::RsaPss(Hash::Sha256),
            Scheme::RsaPss(Hash::Sha384),
            Scheme::RsaPss(Hash::Sha512),
        ],
        Kind::P256 => &[Scheme::Ecdsa(Hash::Sha256)],
        Kind::P384 => &[Scheme::Ecdsa(Hash::Sha384)],
        Kind::Ed25519 => &[Scheme::Ed25519],
    };
    let common = candidates.iter().find(|scheme| peer.contains(&scheme.hash_id()));
    common.copied().ok_or_else(|| {
        let own: Vec<String> = candidates.iter().map(Scheme::to_string).collect();
        AuthError::OtherHashes {
            own: own.join(", "),
            peer: peer.to_vec(),
        }
    })
}

/// For a peer without RFC 7427: methods 9 and 10 (RFC 4754) name their hash; method 1 means SHA-1 to such a peer and is not used.
fn sign_without_name(kind: Kind, pkcs8: &[u8], octets: &[u8]) -> Result<AuthBody, AuthError> {
    let (method, by) = match kind {
        Kind::Rsa => return Err(AuthError::NoHashes("RSA")),
        Kind::Ed25519 => return Err(AuthError::NoHashes("Ed25519")),
        Kind::P256 => (method::ECDSA_256, &signature::ECDSA_P256_SHA256_FIXED_SIGNING),
        Kind::P384 => (method::ECDSA_384, &signature::ECDSA_P384_SHA384_FIXED_SIGNING),
    };
    Ok(AuthBody {
        method,
        data: sign_ecdsa(pkcs8, by, octets)?,
    })
}

fn pss(hash: Hash) -> &'static dyn RsaEncoding {
    match hash {
        Hash::Sha256 => &signature::RSA_PSS_SHA256,
        Hash::Sha384 => &signature::RSA_PSS_SHA384,
        Hash::Sha512 => &signature::RSA_PSS_SHA512,
    }
}

fn pkcs1(hash: Hash) -> &'static dyn RsaEncoding {
    match hash {
        Hash::Sha256 => &signature::RSA_PKCS1_SHA256,
        Hash::Sha384 => &signature::RSA_PKCS1_SHA384,
        Hash::Sha512 => &signature::RSA_PKCS1_SHA512,
    }
}

fn sign_rsa(pkcs8: &[u8], encoding: &'static dyn RsaEncoding, octets: &[u8]) -> Result<Vec<u8>, AuthError> {
    let pair = rsa(pkcs8)?;
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(encoding, &SystemRandom::new(), octets, &mut signature)
        .map_err(|_| AuthError::PrivateKey("signing failed".to_owned()))?;
    Ok(signature)
}

fn sign_ecdsa(pkcs8: &[u8], by: &'static EcdsaSigningAlgorithm, octets: &[u8]) -> Result<Vec<u8>, AuthError> {
    let signature = ecdsa(pkcs8, by)?
        .sign(&SystemRandom::new(), octets)
        .map_err(|_| AuthError::PrivateKey("signing failed".to_owned()))?;
    Ok(signature.as_ref().to_vec())
}

fn rsa(pkcs8: &[u8]) -> Result<RsaKeyPair, AuthError> {
    RsaKeyPair::from_pkcs8(pkcs8).map_err(|reason| rejected("RSA of 2048 to 4096 bits", &reason))
}

fn ecdsa(pkcs8: &[u8], by: &'static EcdsaSigningAlgorithm) -> Result<EcdsaKeyPair, AuthError> {
    EcdsaKeyPair::from_pkcs8(by, pkcs8, &SystemRandom::new()).map_err(|reason| rejected("ECDSA", &reason))
}

/// Files by OpenSSL lack the public key that version 2 of PKCS #8 holds; where it is there, it is checked.
fn ed25519(pkcs8: &[u8]) -> Result<Ed25519KeyPair, AuthError> {
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map_err(|reason| rejected("Ed25519", &reason))
}

fn rejected(kind: &str, reason: &ring::error::KeyRejected) -> AuthError {
    AuthError::PrivateKey(format!("not a sound key of kind {kind} ({reason})"))
}

/// Kind of a PKCS #8 key (RFC 5958 §2).
fn kind(pkcs8: &[u8]) -> Result<Kind, AuthError> {
    let (algorithm, curve) = algorithm(pkcs8).map_err(|_| {
        AuthError::PrivateKey("not PKCS #8; convert it with `openssl pkcs8 -topk8 -nocrypt`".to_owned())
    })?;
    match (algorithm, curve) {
        (rfc5912::RSA_ENCRYPTION, _) => Ok(Kind::Rsa),
        (rfc8410::ID_ED_25519, _) => Ok(Kind::Ed25519),
        (rfc5912::ID_EC_PUBLIC_KEY, Some(rfc5912::SECP_256_R_1)) => Ok(Kind::P256),
        (rfc5912::ID_EC_PUBLIC_KEY, Some(rfc5912::SECP_384_R_1)) => Ok(Kind::P384),
        (algorithm, curve) => Err(AuthError::PrivateKey(format!(
            "{} is not supported; use RSA of 2048 to 4096 bits, ECDSA P-256 or P-384, or Ed25519",
            oid_text(&curve.unwrap_or(algorithm))
        ))),
    }
}

fn algorithm(pkcs8: &[u8]) -> der::Result<(ObjectIdentifier, Option<ObjectIdentifier>)> {
    let mut reader = SliceReader::new(pkcs8)?;
    reader.decode::<Header>()?.tag().assert_eq(der::Tag::Sequence)?;
    reader.decode::<u8>()?;
    let algorithm: AlgorithmIdentifierRef<'_> = reader.decode()?;
    let curve = algorithm.parameters.and_then(|parameters| parameters.decode_as().ok());
    Ok((algorithm.oid, curve))
}

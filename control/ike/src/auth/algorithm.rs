//! Signature algorithms of AUTH: the AlgorithmIdentifier in front of a signature (RFC 7427 §3, appendix A).

use super::error::AuthError;
use crate::wire::notify::hash;
use core::fmt;
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier};
use x509_cert::der::oid::db::{DB, rfc5912, rfc8410};
use x509_cert::der::{self, Decode, Reader, TagMode, TagNumber};
use x509_cert::spki::AlgorithmIdentifierRef;

/// Hash algorithms that we announce in SIGNATURE_HASH_ALGORITHMS, best first ("IKEv2 Hash Algorithms" at IANA): SHA2-256, SHA2-384,
/// SHA2-512, and Identity, which stands for Ed25519 (RFC 8420 §2).
pub const HASHES: [u16; 4] = [hash::SHA2_256, hash::SHA2_384, hash::SHA2_512, hash::IDENTITY];

/// Hash function of a signature. SHA-1 is none of them: it is neither made nor accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hash {
    /// SHA2-256.
    Sha256,
    /// SHA2-384.
    Sha384,
    /// SHA2-512.
    Sha512,
}

/// How a signature is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// RSASSA-PKCS1-v1_5.
    RsaPkcs1(Hash),
    /// RSASSA-PSS, MGF1 with the same hash, salt as long as the hash.
    RsaPss(Hash),
    /// ECDSA; the curve is that of the key.
    Ecdsa(Hash),
    /// Ed25519 (RFC 8420).
    Ed25519,
}

impl Hash {
    /// Every hash, best first.
    pub const ALL: [Hash; 3] = [Hash::Sha256, Hash::Sha384, Hash::Sha512];

    /// Number in SIGNATURE_HASH_ALGORITHMS.
    pub fn id(self) -> u16 {
        match self {
            Hash::Sha256 => hash::SHA2_256,
            Hash::Sha384 => hash::SHA2_384,
            Hash::Sha512 => hash::SHA2_512,
        }
    }

    /// Bytes of its output.
    pub fn bytes(self) -> usize {
        match self {
            Hash::Sha256 => 32,
            Hash::Sha384 => 48,
            Hash::Sha512 => 64,
        }
    }

    fn of(algorithm: &AlgorithmIdentifierRef<'_>) -> Result<Hash, AuthError> {
        no_parameters(algorithm)?;
        match algorithm.oid {
            rfc5912::ID_SHA_256 => Ok(Hash::Sha256),
            rfc5912::ID_SHA_384 => Ok(Hash::Sha384),
            rfc5912::ID_SHA_512 => Ok(Hash::Sha512),
            rfc5912::ID_SHA_1 => Err(AuthError::Sha1),
            other => Err(unsupported(&format!("RSASSA-PSS with {}", oid_text(&other)))),
        }
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hash::Sha256 => "SHA-256",
            Hash::Sha384 => "SHA-384",
            Hash::Sha512 => "SHA-512",
        })
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scheme::RsaPkcs1(hash) => write!(f, "RSASSA-PKCS1-v1_5 with {hash}"),
            Scheme::RsaPss(hash) => write!(f, "RSASSA-PSS with {hash}"),
            Scheme::Ecdsa(hash) => write!(f, "ECDSA with {hash}"),
            Scheme::Ed25519 => f.write_str("Ed25519"),
        }
    }
}

impl Scheme {
    /// Number in SIGNATURE_HASH_ALGORITHMS that the verifying side must have announced.
    pub fn hash_id(self) -> u16 {
        match self {
            Scheme::RsaPkcs1(hash) | Scheme::RsaPss(hash) | Scheme::Ecdsa(hash) => hash.id(),
            Scheme::Ed25519 => hash::IDENTITY,
        }
    }

    /// Reads a DER AlgorithmIdentifier.
    pub fn parse(bytes: &[u8]) -> Result<Scheme, AuthError> {
        let algorithm = AlgorithmIdentifierRef::from_der(bytes).map_err(|_| MALFORMED)?;
        let scheme = match algorithm.oid {
            rfc5912::ID_RSASSA_PSS => return pss(algorithm.parameters),
            rfc5912::SHA_256_WITH_RSA_ENCRYPTION => Scheme::RsaPkcs1(Hash::Sha256),
            rfc5912::SHA_384_WITH_RSA_ENCRYPTION => Scheme::RsaPkcs1(Hash::Sha384),
            rfc5912::SHA_512_WITH_RSA_ENCRYPTION => Scheme::RsaPkcs1(Hash::Sha512),
            rfc5912::ECDSA_WITH_SHA_256 => Scheme::Ecdsa(Hash::Sha256),
            rfc5912::ECDSA_WITH_SHA_384 => Scheme::Ecdsa(Hash::Sha384),
            rfc5912::ECDSA_WITH_SHA_512 => Scheme::Ecdsa(Hash::Sha512),
            rfc8410::ID_ED_25519 => Scheme::Ed25519,
            rfc5912::SHA_1_WITH_RSA_ENCRYPTION | ECDSA_WITH_SHA_1 => return Err(AuthError::Sha1),
            other => return Err(unsupported(&oid_text(&other))),
        };
        no_parameters(&algorithm)?;
        Ok(scheme)
    }

    /// The DER AlgorithmIdentifier, as RFC 7427 appendix A lists them.
    pub fn encode(self) -> Vec<u8> {
        match self {
            Scheme::RsaPkcs1(hash) => sequence(&[&object(&rsa_pkcs1_oid(hash)), NULL]),
            Scheme::RsaPss(hash) => sequence(&[&object(&rfc5912::ID_RSASSA_PSS), &pss_parameters(hash)]),
            Scheme::Ecdsa(hash) => sequence(&[&object(&ecdsa_oid(hash))]),
            Scheme::Ed25519 => sequence(&[&object(&rfc8410::ID_ED_25519)]),
        }
    }
}

/// Missing in the database of OIDs (RFC 3279 §2.2.3).
const ECDSA_WITH_SHA_1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.1");
const MALFORMED: AuthError = AuthError::Malformed("no AlgorithmIdentifier in front of the signature");
const NULL: &[u8] = &[5, 0];

fn unsupported(algorithm: &str) -> AuthError {
    AuthError::UnsupportedAlgorithm(algorithm.to_owned())
}

/// "sha256WithRSAEncryption", or the numbers if it has no name.
pub(super) fn oid_text(oid: &ObjectIdentifier) -> String {
    DB.by_oid(oid).map_or_else(|| oid.to_string(), str::to_owned)
}

/// NULL or none: RFC 4055 §2.1 demands that both are read alike.
fn no_parameters(algorithm: &AlgorithmIdentifierRef<'_>) -> Result<(), AuthError> {
    match algorithm.parameters {
        None => Ok(()),
        Some(parameters) if parameters.is_null() => Ok(()),
        Some(_) => Err(AuthError::Malformed("parameters behind an algorithm that has none")),
    }
}

/// RSASSA-PSS-params (RFC 4055 §3.1). Every default of it means SHA-1 or a salt of 20 bytes, so that all must be there.
fn pss(parameters: Option<AnyRef<'_>>) -> Result<Scheme, AuthError> {
    let Some(parameters) = parameters else {
        return Err(AuthError::Sha1);
    };
    let (hash, mask, salt, trailer) = parameters.sequence(pss_fields).map_err(|_| MALFORMED)?;
    let (Some(hash), Some(mask)) = (hash, mask) else {
        return Err(AuthError::Sha1);
    };
    let hash = Hash::of(&hash)?;
    if mask.oid != rfc5912::ID_MGF_1 {
        return Err(unsupported(&format!("RSASSA-PSS with {}", oid_text(&mask.oid))));
    }
    let mask_hash = mask.parameters.ok_or(AuthError::Sha1)?;
    let mask_hash = mask_hash
        .decode_as::<AlgorithmIdentifierRef<'_>>()
        .map_err(|_| MALFORMED)?;
    let mask_hash = Hash::of(&mask_hash)?;
    let salt = salt.unwrap_or(20);
    if mask_hash != hash || usize::from(salt) != hash.bytes() || trailer.unwrap_or(1) != 1 {
        return Err(AuthError::PssParameters { hash, mask_hash, salt });
    }
    Ok(Scheme::RsaPss(hash))
}

type PssFields<'a> = (
    Option<AlgorithmIdentifierRef<'a>>,
    Option<AlgorithmIdentifierRef<'a>>,
    Option<u16>,
    Option<u16>,
);

fn pss_fields<'a>(reader: &mut impl Reader<'a>) -> der::Result<PssFields<'a>> {
    Ok((
        reader.context_specific(TagNumber(0), TagMode::Explicit)?,
        reader.context_specific(TagNumber(1), TagMode::Explicit)?,
        reader.context_specific(TagNumber(2), TagMode::Explicit)?,
        reader.context_specific(TagNumber(3), TagMode::Explicit)?,
    ))
}

fn rsa_pkcs1_oid(hash: Hash) -> ObjectIdentifier {
    match hash {
        Hash::Sha256 => rfc5912::SHA_256_WITH_RSA_ENCRYPTION,
        Hash::Sha384 => rfc5912::SHA_384_WITH_RSA_ENCRYPTION,
        Hash::Sha512 => rfc5912::SHA_512_WITH_RSA_ENCRYPTION,
    }
}

fn ecdsa_oid(hash: Hash) -> ObjectIdentifier {
    match hash {
        Hash::Sha256 => rfc5912::ECDSA_WITH_SHA_256,
        Hash::Sha384 => rfc5912::ECDSA_WITH_SHA_384,
        Hash::Sha512 => rfc5912::ECDSA_WITH_SHA_512,
    }
}

fn pss_parameters(hash: Hash) -> Vec<u8> {
    let oid = match hash {
        Hash::Sha256 => rfc5912::ID_SHA_256,
        Hash::Sha384 => rfc5912::ID_SHA_384,
        Hash::Sha512 => rfc5912::ID_SHA_512,
    };
    let hash_identifier = sequence(&[&object(&oid), NULL]);
    let mask = sequence(&[&object(&rfc5912::ID_MGF_1), &hash_identifier]);
    sequence(&[
        &tagged(0xa0, &[&hash_identifier]),
        &tagged(0xa1, &[&mask]),
        &tagged(0xa2, &[&[2, 1, hash.bytes() as u8]]),
    ])
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tagged(0x30, parts)
}

fn object(oid: &ObjectIdentifier) -> Vec<u8> {
    tagged(6, &[oid.as_bytes()])
}

/// Nothing here is 128 bytes long.
fn tagged(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let value = parts.concat();
    debug_assert!(value.len() < 128);
    [&[tag, value.len() as u8], &value[..]].concat()
}

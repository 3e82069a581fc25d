//! A peer's public key, and whether a signature is of it.

use super::algorithm::{Hash, Scheme, oid_text};
use super::error::AuthError;
use crate::wire::{AuthBody, method};
use core::fmt;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier, UintRef};
use x509_cert::der::oid::db::{rfc5912, rfc8410};
use x509_cert::der::{Decode, Reader, SliceReader};
use x509_cert::spki::SubjectPublicKeyInfoRef;

/// A key that can verify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// RSA.
    Rsa {
        /// DER of RSAPublicKey.
        key: Vec<u8>,
        /// Of the modulus.
        bits: usize,
    },
    /// ECDSA on P-256: an uncompressed point.
    P256(Vec<u8>),
    /// ECDSA on P-384: an uncompressed point.
    P384(Vec<u8>),
    /// Ed25519.
    Ed25519(Vec<u8>),
}

/// Why a public key is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// It is no key.
    Malformed,
    /// It is of a kind that is not supported.
    Unsupported(String),
    /// RSA of so few bits.
    Weak(usize),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::Malformed => f.write_str("a key that cannot be read"),
            KeyError::Unsupported(kind) => write!(
                f,
                "a key of a kind that is not supported ({kind}); use RSA of {RSA_BITS_MIN} to {RSA_BITS_MAX} bits, ECDSA P-256 or \
                 P-384, or Ed25519"
            ),
            KeyError::Weak(bits) => write!(f, "an RSA key of {bits} bits; at least {RSA_BITS_MIN} are needed"),
        }
    }
}

/// Below, RSA is too weak.
pub const RSA_BITS_MIN: usize = 2048;
/// Above, RSA takes too long.
pub const RSA_BITS_MAX: usize = 8192;

impl PublicKey {
    /// Reads the SubjectPublicKeyInfo of a certificate.
    pub fn from_spki(der: &[u8]) -> Result<PublicKey, KeyError> {
        let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| KeyError::Malformed)?;
        let key = info.subject_public_key.as_bytes().ok_or(KeyError::Malformed)?;
        match info.algorithm.oid {
            rfc5912::RSA_ENCRYPTION => rsa(key),
            rfc5912::ID_EC_PUBLIC_KEY => elliptic(info.algorithm.parameters, key),
            rfc8410::ID_ED_25519 if key.len() == signature::ED25519_PUBLIC_KEY_LEN => {
                Ok(PublicKey::Ed25519(key.to_vec()))
            }
            rfc8410::ID_ED_25519 => Err(KeyError::Malformed),
            other => Err(KeyError::Unsupported(oid_text(&other))),
        }
    }

    /// Checks the AUTH payload of a peer that has this key over `octets`, as of
    /// [`super::octets::Octets::signed`].
    pub fn verify(&self, auth: &AuthBody, octets: &[u8]) -> Result<(), AuthError> {
        let data = &auth.data;
        match (auth.method, self) {
            (method::SIGNATURE, _) => {
                let (scheme, signature) = split(data)?;
                self.check(self.verification(scheme)?, octets, signature)
            }
            (method::RSA, PublicKey::Rsa { .. }) => self.verify_rsa_without_name(octets, data),
            (method::ECDSA_256, PublicKey::P256(_)) => self.check(&signature::ECDSA_P256_SHA256_FIXED, octets, data),
            (method::ECDSA_384, PublicKey::P384(_)) => self.check(&signature::ECDSA_P384_SHA384_FIXED, octets, data),
            (method::RSA, _) => Err(self.other_kind("RSA")),
            (method::ECDSA_256, _) => Err(self.other_kind("ECDSA P-256")),
            (method::ECDSA_384, _) => Err(self.other_kind("ECDSA P-384")),
            (other, _) => Err(AuthError::Method(other)),
        }
    }

    fn verification(&self, scheme: Scheme) -> Result<&'static dyn VerificationAlgorithm, AuthError> {
        Ok(match (self, scheme) {
            (PublicKey::Rsa { .. }, Scheme::RsaPkcs1(hash)) => pkcs1(hash),
            (PublicKey::Rsa { .. }, Scheme::RsaPss(Hash::Sha256)) => &signature::RSA_PSS_2048_8192_SHA256,
            (PublicKey::Rsa { .. }, Scheme::RsaPss(Hash::Sha384)) => &signature::RSA_PSS_2048_8192_SHA384,
            (PublicKey::Rsa { .. }, Scheme::RsaPss(Hash::Sha512)) => &signature::RSA_PSS_2048_8192_SHA512,
            (PublicKey::P256(_), Scheme::Ecdsa(Hash::Sha256)) => &signature::ECDSA_P256_SHA256_ASN1,
            (PublicKey::P256(_), Scheme::Ecdsa(Hash::Sha384)) => &signature::ECDSA_P256_SHA384_ASN1,
            (PublicKey::P384(_), Scheme::Ecdsa(Hash::Sha256)) => &signature::ECDSA_P384_SHA256_ASN1,
            (PublicKey::P384(_), Scheme::Ecdsa(Hash::Sha384)) => &signature::ECDSA_P384_SHA384_ASN1,
            (PublicKey::Ed25519(_), Scheme::Ed25519) => &signature::ED25519,
            (_, Scheme::RsaPkcs1(_) | Scheme::RsaPss(_) | Scheme::Ecdsa(_) | Scheme::Ed25519) => {
                return Err(self.other_kind(&scheme.to_string()));
            }
        })
    }

    /// Method 1 does not say which hash it is; the signature does (RFC 7296 §3.8).
    fn verify_rsa_without_name(&self, octets: &[u8], signature: &[u8]) -> Result<(), AuthError> {
        if Hash::ALL
            .into_iter()
            .any(|hash| self.check(pkcs1(hash), octets, signature).is_ok())
        {
            return Ok(());
        }
        // Only to tell an old peer from a wrong one.
        let sha1 = &signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY;
        self.check(sha1, octets, signature).and(Err(AuthError::Sha1))
    }

    fn check(&self, by: &'static dyn VerificationAlgorithm, octets: &[u8], signature: &[u8]) -> Result<(), AuthError> {
        let key = UnparsedPublicKey::new(by, self.bytes());
        key.verify(octets, signature).map_err(|_| AuthError::WrongSignature)
    }

    /// As `ring` wants it.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            PublicKey::Rsa { key, .. } | PublicKey::P256(key) | PublicKey::P384(key) | PublicKey::Ed25519(key) => key,
        }
    }

    fn other_kind(&self, signature: &str) -> AuthError {
        AuthError::OtherKind {
            signature: signature.to_owned(),
            key: self.to_string(),
        }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublicKey::Rsa { bits, .. } => write!(f, "RSA of {bits} bits"),
            PublicKey::P256(_) => f.write_str("ECDSA P-256"),
            PublicKey::P384(_) => f.write_str("ECDSA P-384"),
            PublicKey::Ed25519(_) => f.write_str("Ed25519"),
        }
    }
}

fn pkcs1(hash: Hash) -> &'static dyn VerificationAlgorithm {
    match hash {
        Hash::Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Hash::Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Hash::Sha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
    }
}

/// RFC 7427 §3: length of the AlgorithmIdentifier, AlgorithmIdentifier, signature.
fn split(data: &[u8]) -> Result<(Scheme, &[u8]), AuthError> {
    let (&length, rest) = data.split_first().ok_or(AuthError::Malformed("it is empty"))?;
    let (algorithm, signature) = rest
        .split_at_checked(usize::from(length))
        .ok_or(AuthError::Malformed("its algorithm is longer than the payload"))?;
    Ok((Scheme::parse(algorithm)?, signature))
}

fn rsa(key: &[u8]) -> Result<PublicKey, KeyError> {
    let bits = rsa_bits(key).map_err(|_| KeyError::Malformed)?;
    match bits {
        RSA_BITS_MIN..=RSA_BITS_MAX => Ok(PublicKey::Rsa {
            key: key.to_vec(),
            bits,
        }),
        ..RSA_BITS_MIN => Err(KeyError::Weak(bits)),
        _ => Err(KeyError::Unsupported(format!("RSA of {bits} bits"))),
    }
}

/// Bits of the modulus of an RSAPublicKey (RFC 8017 appendix A.1.1).
fn rsa_bits(key: &[u8]) -> x509_cert::der::Result<usize> {
    let mut reader = SliceReader::new(key)?;
    let modulus = reader.sequence(|reader| {
        let modulus = UintRef::decode(reader)?;
        UintRef::decode(reader)?;
        Ok::<_, x509_cert::der::Error>(modulus)
    })?;
    reader.finish()?;
    let bytes = modulus.as_bytes();
    let spare = bytes.first().map_or(0, |byte| byte.leading_zeros() as usize);
    Ok(bytes.len() * 8 - spare)
}

fn elliptic(parameters: Option<AnyRef<'_>>, key: &[u8]) -> Result<PublicKey, KeyError> {
    let curve = parameters.ok_or(KeyError::Malformed)?;
    let Ok(curve) = curve.decode_as::<ObjectIdentifier>() else {
        return Err(KeyError::Unsupported("a curve without a name".to_owned()));
    };
    let (make, bytes): (fn(Vec<u8>) -> PublicKey, usize) = match curve {
        rfc5912::SECP_256_R_1 => (PublicKey::P256, 65),
        rfc5912::SECP_384_R_1 => (PublicKey::P384, 97),
        other => return Err(KeyError::Unsupported(format!("ECDSA {}", oid_text(&other)))),
    };
    match key {
        [4, ..] if key.len() == bytes => Ok(make(key.to_vec())),
        [2 | 3, ..] if key.len() == bytes / 2 + 1 => Err(KeyError::Unsupported("a compressed point".to_owned())),
        _ => Err(KeyError::Malformed),
    }
}

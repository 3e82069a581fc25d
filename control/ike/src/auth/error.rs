//! Why an authentication failed, in an operator's words: whose fault it is, and what to do.

use super::algorithm::Hash;
use super::certificate_error::CertificateError;
use core::fmt;

/// Why an authentication failed. Texts of the peer in it are escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// The peer's AUTH is no AUTH.
    Malformed(&'static str),
    /// The peer's authentication method.
    Method(u8),
    /// The peer's AUTH does not fit the pre-shared key.
    WrongPsk,
    /// The peer's signature algorithm.
    UnsupportedAlgorithm(String),
    /// The peer signs with SHA-1.
    Sha1,
    /// The peer's RSASSA-PSS is not of the usual kind.
    PssParameters {
        /// Hash.
        hash: Hash,
        /// Hash of MGF1.
        mask_hash: Hash,
        /// Bytes.
        salt: u16,
    },
    /// The peer's signature is of another kind than its key.
    OtherKind {
        /// Of the signature.
        signature: String,
        /// Of the key.
        key: String,
    },
    /// The peer's signature does not verify.
    WrongSignature,
    /// Our private key.
    PrivateKey(String),
    /// We have a private key without a certificate.
    NoCertificate,
    /// A certificate of the peer, or of ours.
    Certificate(CertificateError),
    /// Our private key is none of our certificate.
    OtherPrivateKey(String),
    /// The peer takes no signature that our key can make with a sound hash.
    NoHashes(&'static str),
    /// The peer takes other hashes than our key can sign with.
    OtherHashes {
        /// What our key signs with.
        own: String,
        /// The peer's SIGNATURE_HASH_ALGORITHMS.
        peer: Vec<u16>,
    },
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AuthError::Malformed(what) => write!(f, "the peer's AUTH payload is malformed: {what}"),
            AuthError::Method(method) => write!(
                f,
                "the peer authenticates by method {method} ({}), which does not prove what we ask for; configure both sides alike: \
                 pre-shared key or certificate",
                method_name(*method)
            ),
            AuthError::WrongPsk => f.write_str(
                "the peer's AUTH does not fit the pre-shared key: check that both sides have the same secret for these \
                 identities, without a line end in its file",
            ),
            AuthError::UnsupportedAlgorithm(name) => write!(
                f,
                "the peer signs with {name}, which is not supported; let it use RSA of 2048 bits or more, ECDSA P-256 or P-384, \
                 or Ed25519, with SHA-256, SHA-384 or SHA-512"
            ),
            AuthError::Sha1 => f.write_str(
                "the peer signs with SHA-1, which is not accepted; enable signature authentication (RFC 7427) with SHA-256 at \
                 the peer, or use ECDSA certificates",
            ),
            AuthError::PssParameters { hash, mask_hash, salt } => write!(
                f,
                "the peer signs with RSASSA-PSS of {hash}, MGF1 of {mask_hash} and a salt of {salt} bytes; only one hash for both \
                 and a salt as long as it are supported: change that at the peer"
            ),
            AuthError::OtherKind { signature, key } => write!(
                f,
                "the peer signs with {signature}, but the key in its certificate is {key}: it uses another key than its \
                 certificate's, or an algorithm that is not supported with it"
            ),
            AuthError::WrongSignature => f.write_str(
                "the peer's signature does not verify with the key in its certificate: the peer's private key is not that of its \
                 certificate, or somebody altered the messages",
            ),
            AuthError::PrivateKey(reason) => write!(f, "our private key cannot be used: {reason}"),
            AuthError::NoCertificate => f.write_str("our private key comes without a certificate: give the file of its chain"),
            AuthError::Certificate(error) => error.fmt(f),
            AuthError::OtherPrivateKey(subject) => write!(
                f,
                "our private key is not that of our certificate {subject}: the first certificate of the file must be our own"
            ),
            AuthError::NoHashes(key) => write!(
                f,
                "the peer does not announce hash algorithms (RFC 7427), so it takes no signature of our {key} key but with SHA-1: \
                 enable signature authentication at the peer, or use an ECDSA certificate or a pre-shared key here"
            ),
            AuthError::OtherHashes { own, peer } => write!(
                f,
                "our key signs with {own}, but the peer accepts only {}: allow it at the peer, or use another kind of key here",
                hashes(peer)
            ),
        }
    }
}

impl core::error::Error for AuthError {}

impl From<CertificateError> for AuthError {
    fn from(error: CertificateError) -> AuthError {
        AuthError::Certificate(error)
    }
}

/// Names by IANA's "IKEv2 Authentication Method".
fn method_name(method: u8) -> &'static str {
    match method {
        1 => "RSA signature",
        2 => "pre-shared key",
        3 => "DSS signature",
        9 => "ECDSA P-256",
        10 => "ECDSA P-384",
        11 => "ECDSA P-521",
        12 => "secure password",
        13 => "NULL authentication",
        14 => "digital signature",
        _ => "unknown",
    }
}

/// Names by IANA's "IKEv2 Hash Algorithms".
fn hashes(ids: &[u16]) -> String {
    let names: Vec<String> = ids
        .iter()
        .take(16)
        .map(|id| match id {
            1 => "SHA-1".to_owned(),
            2 => "SHA-256".to_owned(),
            3 => "SHA-384".to_owned(),
            4 => "SHA-512".to_owned(),
            5 => "Identity (Ed25519)".to_owned(),
            other => format!("hash {other}"),
        })
        .collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

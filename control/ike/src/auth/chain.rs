//! From a peer's certificate to a root of trust (RFC 5280 §6, RFC 4945 §5), and from there to its key.
//!
//! `rustls-webpki` builds and checks the path: signatures, dates, authorities, name constraints, revocation. What it leaves to its
//! callers is checked here: names, key usage, the root itself. The decision and what is refused by it:
//! `control/decisions/0010-certificates-of-ike-peers.md`.

use super::certificate::Certificate;
use super::certificate_error::{CertificateError, Holder};
use super::extended_key_usage::ForIke;
use super::names;
use super::path_error::explain;
use super::public_key::PublicKey;
use super::revocation::{self, Lists};
use crate::identity::Identity;
use core::time::Duration;
use ring::digest;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, RevocationOptions, VerifiedPath, anchor_from_trusted_cert};

/// Most certificates that a peer may send: bounds the search for a path.
pub const CHAIN_MAX: usize = 8;

/// What is believed.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'a> {
    /// DER of roots.
    pub roots: &'a [Vec<u8>],
    /// DER of revocation lists; empty = nothing is looked up.
    pub revocations: &'a [Vec<u8>],
}

/// How certificates and revocation lists may be signed.
static ALGORITHMS: [&dyn SignatureVerificationAlgorithm; 11] = [
    webpki::ring::ECDSA_P256_SHA256,
    webpki::ring::ECDSA_P256_SHA384,
    webpki::ring::ECDSA_P384_SHA256,
    webpki::ring::ECDSA_P384_SHA384,
    webpki::ring::ED25519,
    webpki::ring::RSA_PKCS1_2048_8192_SHA256,
    webpki::ring::RSA_PKCS1_2048_8192_SHA384,
    webpki::ring::RSA_PKCS1_2048_8192_SHA512,
    webpki::ring::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    webpki::ring::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    webpki::ring::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];

/// Checks the certificates that a peer sent: its own first (RFC 7296 §3.6), intermediate ones in any order, roots or not. `claimed`
/// is the identity of its ID payload, which the certificate must name; `spiffe` the SPIFFE ID that it must bear. Gives the key that
/// AUTH has to verify with.
pub fn verify_chain(
    chain: &[Vec<u8>],
    trust: Trust<'_>,
    claimed: &Identity,
    spiffe: Option<&str>,
    now_unix: u64,
) -> Result<PublicKey, CertificateError> {
    let (first, rest) = chain.split_first().ok_or(CertificateError::None)?;
    if chain.len() > CHAIN_MAX {
        return Err(CertificateError::TooMany(chain.len()));
    }
    let own = Certificate::parse(first, Holder::Peer)?;
    let key = own.public_key()?;
    own.check_signs()?;
    check_path(first, rest, trust, now_unix)?;
    names::check(&own, claimed, spiffe)?;
    Ok(key)
}

fn check_path(first: &[u8], rest: &[Vec<u8>], trust: Trust<'_>, now_unix: u64) -> Result<(), CertificateError> {
    let roots: Vec<CertificateDer<'_>> = trust.roots.iter().map(|der| CertificateDer::from(&der[..])).collect();
    let anchors = roots.iter().map(anchor).collect::<Result<Vec<_>, _>>()?;
    let lists = Lists::read(trust.revocations)?;
    let lists = lists.by_reference();
    let end = CertificateDer::from(first);
    let end = EndEntityCert::try_from(&end).map_err(|error| explain(error, first, rest, trust))?;
    let rest_der: Vec<CertificateDer<'_>> = rest.iter().map(|der| CertificateDer::from(&der[..])).collect();
    let time = UnixTime::since_unix_epoch(Duration::from_secs(now_unix));
    let verify = |revocation: Option<RevocationOptions<'_>>| {
        end.verify_for_usage(&ALGORITHMS, &anchors, &rest_der, time, ForIke, revocation, None)
            .map_err(|error| explain(error, first, rest, trust))
    };
    let path = verify(revocation::whole_chain(&lists))?;
    check_authorities(&path, trust.roots, now_unix)?;
    if let Some(revocation) = revocation::own_certificate(&lists) {
        verify(Some(revocation))?;
    }
    Ok(())
}

fn anchor<'a>(root: &'a CertificateDer<'_>) -> Result<TrustAnchor<'a>, CertificateError> {
    anchor_from_trusted_cert(root).map_err(|error| CertificateError::Malformed {
        holder: Holder::Root,
        reason: format!("{error:?}"),
    })
}

/// What path building does not look at: key usage of authorities, and everything of the root but its name and key.
fn check_authorities(path: &VerifiedPath<'_>, roots: &[Vec<u8>], now_unix: u64) -> Result<(), CertificateError> {
    let mut below = 0;
    for authority in path.intermediate_certificates() {
        Certificate::parse(&authority.der(), Holder::Intermediate)?.check_authority(below)?;
        below += 1;
    }
    // A root may be there twice, renewed with the same key: one that is sound is enough.
    let anchor = path.anchor();
    let mut result = Err(CertificateError::Refused(
        "their root of trust is not among ours".to_owned(),
    ));
    for root in roots {
        let root = Certificate::parse(root, Holder::Root)?;
        let is_it = content(&root.subject()) == Some(&anchor.subject)
            && content(&root.spki()) == Some(&anchor.subject_public_key_info);
        if is_it && result.is_err() {
            result = check_root(&root, below, now_unix);
        }
    }
    result
}

fn check_root(root: &Certificate, below: usize, now_unix: u64) -> Result<(), CertificateError> {
    root.check_dates(now_unix)?;
    root.public_key()?;
    root.check_authority(below)
}

/// What is inside of a SEQUENCE.
fn content(der: &[u8]) -> Option<&[u8]> {
    use x509_cert::der::{Decode, asn1::AnyRef};
    AnyRef::from_der(der).ok().map(AnyRef::value)
}

/// Checks roots and revocation lists as they come from files, before any peer does. Dates are not looked at.
pub fn check_trust(trust: Trust<'_>) -> Result<(), CertificateError> {
    for root in trust.roots {
        anchor(&CertificateDer::from(&root[..]))?;
        let root = Certificate::parse(root, Holder::Root)?;
        root.public_key()?;
        root.check_authority(0)?;
    }
    Lists::read(trust.revocations).map(|_| ())
}

/// The data of a CERTREQ payload for these roots: the SHA-1 of the key of each, one behind the other (RFC 7296 §3.7). It only names
/// them.
pub fn certificate_request(roots: &[Vec<u8>]) -> Vec<u8> {
    let roots = roots
        .iter()
        .filter_map(|root| Certificate::parse(root, Holder::Root).ok());
    let hash = |root: Certificate| digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &root.spki());
    roots.flat_map(|root| hash(root).as_ref().to_vec()).collect()
}

/// The certificate of a chain that ends first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Its subject.
    pub subject: String,
    /// Its first second, since 1970.
    pub since: u64,
    /// Its last second, since 1970.
    pub unix: u64,
}

/// When the first of these revocation lists (DER) has to be replaced, in seconds since 1970.
pub fn lists_end_at(lists: &[Vec<u8>]) -> Option<u64> {
    revocation::first_to_end(lists)
}

/// Which certificate of a chain, or of roots, ends first, to warn of it; none if none can be read.
pub fn ends_at(chain: &[Vec<u8>]) -> Option<Ends> {
    let certificates = chain.iter().filter_map(|der| Certificate::parse(der, Holder::Own).ok());
    let first = certificates.min_by_key(Certificate::ends)?;
    Some(Ends {
        subject: first.subject_text(),
        since: first.begins(),
        unix: first.ends(),
    })
}

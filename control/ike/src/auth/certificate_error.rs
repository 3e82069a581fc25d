//! Why certificates do not prove an identity, in an operator's words.

use super::public_key::KeyError;
use core::fmt;
use core::time::Duration;
use x509_cert::der::DateTime;

/// Whose certificate it is, as seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The peer's own: the first that it sent.
    Peer,
    /// An authority between the peer and a root.
    Intermediate,
    /// A root of trust in our configuration.
    Root,
    /// Our own chain.
    Own,
}

/// A certificate in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Whose it is.
    pub holder: Holder,
    /// Its subject.
    pub subject: String,
}

/// Why certificates do not prove an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateError {
    /// The peer sent none.
    None,
    /// The peer sent so many.
    TooMany(usize),
    /// It cannot be read.
    Malformed {
        /// Whose.
        holder: Holder,
        /// The reader's words.
        reason: String,
    },
    /// It is over.
    Expired {
        /// Which.
        certificate: Named,
        /// Seconds since 1970.
        ended: u64,
    },
    /// It is still to come.
    NotYetValid {
        /// Which.
        certificate: Named,
        /// Seconds since 1970.
        begins: u64,
        /// Our clock.
        now: u64,
    },
    /// No root of trust is its issuer.
    UnknownIssuer {
        /// The last of the chain.
        certificate: Named,
        /// Its issuer.
        issuer: String,
    },
    /// A signature in the chain does not verify.
    WrongSignature(Named),
    /// A certificate in the chain is signed in a way that is not accepted.
    SignedWith {
        /// Which.
        certificate: Named,
        /// The algorithm.
        algorithm: String,
    },
    /// Its key is not accepted.
    Key {
        /// Which.
        certificate: Named,
        /// Why.
        reason: KeyError,
    },
    /// It is revoked, or its authority is.
    Revoked(String),
    /// A revocation list of ours is over.
    ListExpired {
        /// Seconds since 1970.
        ended: u64,
    },
    /// No revocation list of ours is of the issuer of the peer's certificate.
    NoList {
        /// The peer's.
        certificate: Named,
        /// Who should have issued a list.
        issuer: String,
    },
    /// A revocation list of ours cannot be used.
    List {
        /// Counted from 1; none if that is not known.
        number: Option<usize>,
        /// Why.
        reason: &'static str,
    },
    /// It may not be used for this.
    KeyUsage {
        /// Which.
        certificate: Named,
        /// What it should have.
        needed: &'static str,
    },
    /// Its extended key usage is for something else.
    ExtendedKeyUsage,
    /// It issued certificates but is no authority.
    NoAuthority(Named),
    /// It is an authority's and was used as a peer's.
    UsedAsPeer(Named),
    /// More authorities than one of them allows.
    PathLength,
    /// Outside of an authority's name constraints.
    NameConstraints,
    /// An extension that must be understood is not.
    CriticalExtension,
    /// Anything else that the path building refuses.
    Refused(String),
    /// Other names than the identity.
    Names {
        /// The identity.
        identity: String,
        /// All that it names.
        names: Vec<String>,
    },
    /// Another SPIFFE ID, none, or several.
    Spiffe {
        /// The configured one.
        expected: String,
        /// The URI names of the certificate.
        found: Vec<String>,
    },
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holder = match self.holder {
            Holder::Peer => "the peer's certificate",
            Holder::Intermediate => "the intermediate certificate",
            Holder::Root => "our root of trust",
            Holder::Own => "our certificate",
        };
        write!(f, "{holder} ({})", self.subject)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Holder::Peer => "the peer's certificate",
            Holder::Intermediate => "an intermediate certificate of the peer",
            Holder::Root => "a root of trust in our configuration",
            Holder::Own => "a certificate of our own chain",
        })
    }
}

/// "2026-11-21T22:34:13Z".
pub fn date(unix: u64) -> String {
    DateTime::from_unix_duration(Duration::from_secs(unix))
        .map_or_else(|_| format!("second {unix}"), |date| date.to_string())
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertificateError::None => f.write_str(
                "the peer sent no certificate; let it send its own and the intermediate ones always, not only when it finds a root \
                 that we ask for",
            ),
            CertificateError::TooMany(count) => write!(
                f,
                "the peer sent {count} certificates, more than {}; let it send its own and the intermediate ones only",
                super::chain::CHAIN_MAX
            ),
            CertificateError::Malformed { holder, reason } => {
                write!(f, "{holder} cannot be read ({reason}): it has to be issued again, as X.509 version 3 in DER")
            }
            CertificateError::Expired { certificate, ended } => {
                write!(f, "{certificate} ended on {}: it has to be renewed", date(*ended))
            }
            CertificateError::NotYetValid { certificate, begins, now } => write!(
                f,
                "{certificate} begins on {}, and our clock says {}: check the clock here, or wait",
                date(*begins),
                date(*now)
            ),
            CertificateError::UnknownIssuer { certificate, issuer } => write!(
                f,
                "the chain leads to no root of trust: {certificate} was issued by {issuer}, which is neither among our roots nor \
                 sent by the peer. Add that root here if it is trusted, or let the peer send its intermediate certificates"
            ),
            CertificateError::WrongSignature(certificate) => write!(
                f,
                "the chain is broken at {certificate}: its signature is not by the key of the issuer that it names. Another \
                 authority of the same name, perhaps one that was made anew, issued it: exchange the root here or the chain there"
            ),
            CertificateError::SignedWith { certificate, algorithm } => write!(
                f,
                "{certificate} is signed with {algorithm}, which is not accepted; its issuer has to use RSA, ECDSA P-256 or P-384 \
                 with SHA-256, SHA-384 or SHA-512, or Ed25519"
            ),
            CertificateError::Key { certificate, reason } => write!(f, "{certificate} has {reason}"),
            CertificateError::Revoked(certificate) => write!(
                f,
                "{certificate} is revoked by our revocation list: the peer needs a new certificate, or the list is to be replaced \
                 if the authority took that back"
            ),
            CertificateError::ListExpired { ended } => write!(
                f,
                "our revocation list for the peer's authority was to be replaced by {}: fetch the current one",
                date(*ended)
            ),
            CertificateError::NoList { certificate, issuer } => write!(
                f,
                "no revocation list of ours is by {issuer}, which issued {certificate}: add that list, or configure none at all"
            ),
            CertificateError::List { number, reason } => {
                let number = number.map_or_else(String::new, |number| format!(" number {number}"));
                write!(f, "our revocation list{number} cannot be used: {reason}")
            }
            CertificateError::KeyUsage { certificate, needed } => write!(
                f,
                "the key usage of {certificate} does not allow {needed}: it has to be issued again with {needed}"
            ),
            CertificateError::ExtendedKeyUsage => f.write_str(
                "the extended key usage of the peer's certificate, or of an authority above it, is for something else: it has to be \
                 issued again without any, or with ipsecIKE, serverAuth or clientAuth",
            ),
            CertificateError::NoAuthority(certificate) => write!(
                f,
                "{certificate} is not one of an authority (no CA:TRUE), so nothing that it issued is accepted"
            ),
            CertificateError::UsedAsPeer(certificate) => write!(
                f,
                "{certificate} is that of an authority (CA:TRUE): a peer needs one of its own, issued by the authority with CA:FALSE"
            ),
            CertificateError::PathLength => {
                f.write_str("more intermediate authorities than one of them, or the root, allows (pathLenConstraint)")
            }
            CertificateError::NameConstraints => f.write_str(
                "the names of the peer's certificate are outside of the name constraints of an authority above it, or those are of \
                 a kind that is not supported (only domain names and addresses are)",
            ),
            CertificateError::CriticalExtension => f.write_str(
                "a certificate of the chain has a critical extension that is not known: it has to be issued again without it, or \
                 with it not critical",
            ),
            CertificateError::Refused(reason) => write!(f, "the peer's certificates are not accepted: {reason}"),
            CertificateError::Names { identity, names } => write!(
                f,
                "the certificate names {}, not {identity}: set the peer's identity to what its certificate names, or issue it for \
                 {identity}",
                list(names)
            ),
            CertificateError::Spiffe { expected, found } => write!(
                f,
                "the certificate must have exactly one URI name, {expected}; it has {}",
                list(found)
            ),
        }
    }
}

impl core::error::Error for CertificateError {}

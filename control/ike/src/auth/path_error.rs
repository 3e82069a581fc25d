//! The path building's refusals, as an operator needs them: with the certificate that is at fault.

use super::certificate::Certificate;
use super::certificate_error::{CertificateError, Holder, Named};
use super::chain::Trust;
use super::public_key::KeyError;
use rustls_pki_types::UnixTime;
use webpki::Error;

/// What the path building said of a chain of `first` and `rest`.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "webpki's errors are open-ended; what is not known is shown by its name"
)]
pub(super) fn explain(error: Error, first: &[u8], rest: &[Vec<u8>], trust: Trust<'_>) -> CertificateError {
    let chain = Chain::read(first, rest);
    match error {
        Error::CertExpired { not_after, .. } => chain.expired(seconds(not_after)),
        Error::CertNotValidYet { not_before, time } => chain.not_yet_valid(seconds(not_before), seconds(time)),
        Error::UnknownIssuer => chain.unknown_issuer(),
        Error::InvalidSignatureForPublicKey => chain.wrong_signature(trust),
        Error::CertRevoked => CertificateError::Revoked(chain.all()),
        Error::CrlExpired { next_update, .. } => CertificateError::ListExpired {
            ended: seconds(next_update),
        },
        Error::UnknownRevocationStatus => CertificateError::NoList {
            certificate: chain.peer(),
            issuer: chain.peer_issuer(),
        },
        Error::InvalidCrlSignatureForPublicKey => list("its signature is not by the authority that it names"),
        Error::IssuerNotCrlSigner => list("the key usage of its authority does not allow to sign lists (cRLSign)"),
        Error::UnsupportedCrlSignatureAlgorithmContext(_)
        | Error::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_) => {
            list("it is signed in a way that is not accepted")
        }
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => CertificateError::ExtendedKeyUsage,
        Error::EndEntityUsedAsCa => chain.no_authority(),
        Error::CaUsedAsEndEntity => CertificateError::UsedAsPeer(chain.peer()),
        Error::PathLenConstraintViolated | Error::MaximumPathDepthExceeded => CertificateError::PathLength,
        Error::NameConstraintViolation => CertificateError::NameConstraints,
        Error::UnsupportedCriticalExtension => CertificateError::CriticalExtension,
        Error::UnsupportedSignatureAlgorithmContext(_) | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            chain.signed_with(trust)
        }
        Error::UnsupportedCertVersion => CertificateError::Malformed {
            holder: Holder::Peer,
            reason: "not of version 3".to_owned(),
        },
        other => CertificateError::Refused(format!("{other:?}")),
    }
}

fn seconds(time: UnixTime) -> u64 {
    time.as_secs()
}

fn list(reason: &'static str) -> CertificateError {
    CertificateError::List { number: None, reason }
}

/// What could be read of what the peer sent, its own certificate first.
struct Chain(Vec<Certificate>);

impl Chain {
    fn read(first: &[u8], rest: &[Vec<u8>]) -> Chain {
        let own = Certificate::parse(first, Holder::Peer).ok();
        let others = rest
            .iter()
            .filter_map(|der| Certificate::parse(der, Holder::Intermediate).ok());
        Chain(own.into_iter().chain(others).collect())
    }

    fn peer(&self) -> Named {
        let subject = self.0.first().map_or_else(String::new, Certificate::subject_text);
        Named {
            holder: Holder::Peer,
            subject,
        }
    }

    fn peer_issuer(&self) -> String {
        self.0.first().map_or_else(String::new, Certificate::issuer_text)
    }

    /// From the peer's certificate upwards, by names.
    fn upwards(&self) -> Vec<&Certificate> {
        let mut path: Vec<&Certificate> = self.0.first().into_iter().collect();
        while let Some(last) = path.last() {
            let above = self
                .0
                .iter()
                .find(|next| next.subject() == last.issuer() && !path.iter().any(|seen| core::ptr::eq(*seen, *next)));
            match above {
                Some(above) => path.push(above),
                None => break,
            }
        }
        path
    }

    fn all(&self) -> String {
        let path = self.upwards();
        match &path[..] {
            [_, _, ..] => format!("{}, or an authority above it,", self.peer()),
            _ => self.peer().to_string(),
        }
    }

    fn expired(&self, ended: u64) -> CertificateError {
        let certificate = self
            .0
            .iter()
            .find(|one| one.ends() == ended)
            .map_or_else(|| self.peer(), Certificate::named);
        CertificateError::Expired { certificate, ended }
    }

    fn not_yet_valid(&self, begins: u64, now: u64) -> CertificateError {
        let certificate = self
            .0
            .iter()
            .find(|one| one.begins() == begins)
            .map_or_else(|| self.peer(), Certificate::named);
        CertificateError::NotYetValid {
            certificate,
            begins,
            now,
        }
    }

    fn unknown_issuer(&self) -> CertificateError {
        let path = self.upwards();
        let last = path.last();
        CertificateError::UnknownIssuer {
            certificate: last.map_or_else(|| self.peer(), |last| last.named()),
            issuer: last.map_or_else(String::new, |last| last.issuer_text()),
        }
    }

    fn no_authority(&self) -> CertificateError {
        let above = self
            .upwards()
            .into_iter()
            .skip(1)
            .find(|one| one.check_authority(0).is_err());
        CertificateError::NoAuthority(above.map_or_else(|| self.peer(), Certificate::named))
    }

    /// A key too short to be verified with looks like a wrong signature.
    fn wrong_signature(&self, trust: Trust<'_>) -> CertificateError {
        let roots = trust
            .roots
            .iter()
            .filter_map(|der| Certificate::parse(der, Holder::Root).ok());
        let weak = |certificate: &Certificate| match certificate.public_key() {
            Err(
                error @ CertificateError::Key {
                    reason: KeyError::Weak(_),
                    ..
                },
            ) => Some(error),
            _ => None,
        };
        let path = self.upwards();
        let weak = path
            .iter()
            .copied()
            .find_map(weak)
            .or_else(|| roots.filter(|root| self.is_above(root)).find_map(|root| weak(&root)));
        weak.unwrap_or_else(|| {
            CertificateError::WrongSignature(path.last().map_or_else(|| self.peer(), |last| last.named()))
        })
    }

    fn is_above(&self, root: &Certificate) -> bool {
        self.upwards().iter().any(|one| one.issuer() == root.subject())
    }

    /// The lowest that is signed in an unusual way, by its name; else the one whose issuer's key is not supported.
    fn signed_with(&self, trust: Trust<'_>) -> CertificateError {
        let path = self.upwards();
        let roots: Vec<Certificate> = trust
            .roots
            .iter()
            .filter_map(|der| Certificate::parse(der, Holder::Root).ok())
            .filter(|root| self.is_above(root))
            .collect();
        let issuers = path.iter().copied().skip(1).chain(&roots);
        if let Some(error) = issuers.into_iter().find_map(|issuer| issuer.public_key().err()) {
            return error;
        }
        let unusual = path
            .iter()
            .find(|one| !USUAL.contains(&one.is_signed_with().as_str()))
            .or(path.first());
        CertificateError::SignedWith {
            certificate: unusual.map_or_else(|| self.peer(), |one| one.named()),
            algorithm: unusual.map_or_else(String::new, |one| one.is_signed_with()),
        }
    }
}

const USUAL: [&str; 7] = [
    "sha256WithRSAEncryption",
    "sha384WithRSAEncryption",
    "sha512WithRSAEncryption",
    "id-RSASSA-PSS",
    "ecdsa-with-SHA256",
    "ecdsa-with-SHA384",
    "id-Ed25519",
];

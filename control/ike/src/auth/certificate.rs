//! One certificate, read for what path building does not look at: names, key usage, key, dates (RFC 4945 §5, RFC 5280).

use super::certificate_error::{CertificateError, Holder, Named};
use super::public_key::{KeyError, PublicKey};
use crate::identity::distinguished_name;
use x509_cert::Certificate as X509;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, SubjectAltName};

/// A certificate that was read.
pub struct Certificate {
    inner: X509,
    holder: Holder,
}

impl Certificate {
    /// Reads DER. `holder` only speaks in errors.
    pub fn parse(der: &[u8], holder: Holder) -> Result<Certificate, CertificateError> {
        match X509::from_der(der) {
            Ok(inner) => Ok(Certificate { inner, holder }),
            Err(reason) => Err(CertificateError::Malformed {
                holder,
                reason: reason.to_string(),
            }),
        }
    }

    /// Whose certificate, for an error.
    pub fn named(&self) -> Named {
        Named {
            holder: self.holder,
            subject: self.subject_text(),
        }
    }

    /// DER of the subject: what ID_DER_ASN1_DN has to be.
    pub fn subject(&self) -> Vec<u8> {
        self.inner.tbs_certificate().subject().to_der().unwrap_or_default()
    }

    pub(super) fn issuer(&self) -> Vec<u8> {
        self.inner.tbs_certificate().issuer().to_der().unwrap_or_default()
    }

    pub(super) fn subject_text(&self) -> String {
        text(&self.subject())
    }

    pub(super) fn issuer_text(&self) -> String {
        text(&self.issuer())
    }

    /// First second, since 1970.
    pub fn begins(&self) -> u64 {
        self.inner
            .tbs_certificate()
            .validity()
            .not_before
            .to_unix_duration()
            .as_secs()
    }

    /// Last second, since 1970.
    pub fn ends(&self) -> u64 {
        self.inner
            .tbs_certificate()
            .validity()
            .not_after
            .to_unix_duration()
            .as_secs()
    }

    pub(super) fn spki(&self) -> Vec<u8> {
        self.inner
            .tbs_certificate()
            .subject_public_key_info()
            .to_der()
            .unwrap_or_default()
    }

    /// Its key, if it is one that we would verify with.
    pub fn public_key(&self) -> Result<PublicKey, CertificateError> {
        PublicKey::from_spki(&self.spki()).map_err(|reason| self.key_error(reason))
    }

    fn key_error(&self, reason: KeyError) -> CertificateError {
        CertificateError::Key {
            certificate: self.named(),
            reason,
        }
    }

    /// Checks the dates.
    pub(super) fn check_dates(&self, now_unix: u64) -> Result<(), CertificateError> {
        let (begins, ends) = (self.begins(), self.ends());
        if now_unix < begins {
            return Err(CertificateError::NotYetValid {
                certificate: self.named(),
                begins,
                now: now_unix,
            });
        }
        if now_unix > ends {
            return Err(CertificateError::Expired {
                certificate: self.named(),
                ended: ends,
            });
        }
        Ok(())
    }

    /// RFC 4945 §5.1.3.2: who signs AUTH has digitalSignature or nonRepudiation, if it has a key usage at all.
    pub(super) fn check_signs(&self) -> Result<(), CertificateError> {
        match self.extension::<KeyUsage>()? {
            Some(usage) if !usage.digital_signature() && !usage.non_repudiation() => Err(CertificateError::KeyUsage {
                certificate: self.named(),
                needed: "digitalSignature",
            }),
            _ => Ok(()),
        }
    }

    /// RFC 5280 §4.2.1.3, §4.2.1.9: an authority of version 3 says that it is one, and may sign certificates. `below` counts the
    /// authorities between it and the peer.
    pub(super) fn check_authority(&self, below: usize) -> Result<(), CertificateError> {
        let constraints = self.extension::<BasicConstraints>()?;
        let version_3 = self.inner.tbs_certificate().version() == x509_cert::Version::V3;
        if version_3 && !constraints.as_ref().is_some_and(|constraints| constraints.ca) {
            return Err(CertificateError::NoAuthority(self.named()));
        }
        if constraints
            .and_then(|constraints| constraints.path_len_constraint)
            .is_some_and(|most| below > usize::from(most))
        {
            return Err(CertificateError::PathLength);
        }
        match self.extension::<KeyUsage>()? {
            Some(usage) if !usage.key_cert_sign() => Err(CertificateError::KeyUsage {
                certificate: self.named(),
                needed: "keyCertSign",
            }),
            _ => Ok(()),
        }
    }

    /// X.509-SVID §4.3: one that stands for a workload signs no certificates and no lists.
    pub(super) fn check_leaf_of_spiffe(&self) -> Result<(), CertificateError> {
        match self.extension::<KeyUsage>()? {
            Some(usage) if usage.key_cert_sign() || usage.crl_sign() => Err(CertificateError::UsedAsPeer(self.named())),
            _ => Ok(()),
        }
    }

    /// Its alternative names.
    pub(super) fn names(&self) -> Result<Vec<GeneralName>, CertificateError> {
        Ok(self
            .extension::<SubjectAltName>()?
            .map(|names| names.0)
            .unwrap_or_default())
    }

    pub(super) fn is_signed_with(&self) -> String {
        super::algorithm::oid_text(&self.inner.signature_algorithm().oid)
    }

    fn extension<'a, T>(&'a self) -> Result<Option<T>, CertificateError>
    where
        T: Decode<'a, Error = x509_cert::der::Error> + x509_cert::der::oid::AssociatedOid,
    {
        match self.inner.tbs_certificate().get_extension::<T>() {
            Ok(extension) => Ok(extension.map(|(_critical, value)| value)),
            Err(reason) => Err(CertificateError::Malformed {
                holder: self.holder,
                reason: reason.to_string(),
            }),
        }
    }
}

pub(super) fn text(der: &[u8]) -> String {
    match distinguished_name::to_text(der) {
        Some(text) if !text.is_empty() => text,
        _ => "without a subject".to_owned(),
    }
}

//! Revocation lists from files (RFC 5280 §5).

use super::certificate_error::CertificateError;
use core::cmp::Reverse;
use webpki::{
    BorrowedCertRevocationList, CertRevocationList, Error, ExpirationPolicy, RevocationCheckDepth, RevocationOptions,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::{self, Header, Reader, SliceReader};
use x509_cert::time::Time;

/// Lists that were read, newest first, so that of two by one authority the newer one counts.
pub(super) struct Lists<'a>(Vec<CertRevocationList<'a>>);

impl<'a> Lists<'a> {
    /// Reads DER.
    pub(super) fn read(ders: &'a [Vec<u8>]) -> Result<Lists<'a>, CertificateError> {
        let mut lists = Vec::new();
        for (index, der) in ders.iter().enumerate() {
            let refuse = |reason| CertificateError::List {
                number: Some(index + 1),
                reason,
            };
            let issued = issued(der)
                .map_err(|_| refuse(MALFORMED))?
                .ok_or_else(|| refuse(VERSION_1))?;
            let list = BorrowedCertRevocationList::from_der(der).map_err(|error| refuse(reason(&error)))?;
            lists.push((issued, CertRevocationList::from(list)));
        }
        lists.sort_by_key(|(issued, _)| Reverse(*issued));
        Ok(Lists(lists.into_iter().map(|(_, list)| list).collect()))
    }

    pub(super) fn by_reference(&self) -> Vec<&CertRevocationList<'a>> {
        self.0.iter().collect()
    }
}

/// How a chain is checked against lists: every certificate of it for which there is one, and never by one that is over.
pub(super) fn whole_chain<'a>(lists: &'a [&'a CertRevocationList<'a>]) -> Option<RevocationOptions<'a>> {
    let builder = RevocationOptionsBuilder::new(lists).ok()?;
    Some(
        builder
            .with_depth(RevocationCheckDepth::Chain)
            .with_status_policy(UnknownStatusPolicy::Allow)
            .with_expiration_policy(ExpirationPolicy::Enforce)
            .build(),
    )
}

/// The same of the peer's own certificate, for which there must be one.
pub(super) fn own_certificate<'a>(lists: &'a [&'a CertRevocationList<'a>]) -> Option<RevocationOptions<'a>> {
    let builder = RevocationOptionsBuilder::new(lists).ok()?;
    Some(
        builder
            .with_depth(RevocationCheckDepth::EndEntity)
            .with_status_policy(UnknownStatusPolicy::Deny)
            .with_expiration_policy(ExpirationPolicy::Enforce)
            .build(),
    )
}

const MALFORMED: &str = "it is malformed, or not in DER or PEM";
const VERSION_1: &str =
    "it is of version 1; issue it with a number (`crlnumber` in openssl.cnf) and it becomes version 2";

fn reason(error: &Error) -> &'static str {
    if *error == Error::UnsupportedDeltaCrl {
        "it holds only changes (a delta list); use the full one"
    } else if *error == Error::UnsupportedIndirectCrl {
        "it speaks for other authorities than the one that issued it (indirect), which is not supported"
    } else if *error == Error::UnsupportedCriticalExtension {
        "it has a critical extension that is not known"
    } else {
        MALFORMED
    }
}

/// Seconds since 1970 of thisUpdate; none in a list of version 1.
fn issued(list: &[u8]) -> der::Result<Option<u64>> {
    Ok(updates(list)?.map(|(issued, _)| issued))
}

/// When the first of these lists has to be replaced, in seconds since 1970.
pub(super) fn first_to_end(lists: &[Vec<u8>]) -> Option<u64> {
    let ends = lists.iter().filter_map(|list| updates(list).ok().flatten()?.1);
    ends.min()
}

/// thisUpdate and nextUpdate; none in a list of version 1. Only what stands in front of them is read: a list may be long.
fn updates(list: &[u8]) -> der::Result<Option<(u64, Option<u64>)>> {
    let mut reader = SliceReader::new(list)?;
    // CertificateList, TBSCertList.
    reader.decode::<Header>()?;
    reader.decode::<Header>()?;
    // Version, which version 1 leaves out; signature algorithm; issuer.
    if reader.decode::<AnyRef<'_>>()?.decode_as::<u8>().is_err() {
        return Ok(None);
    }
    reader.decode::<AnyRef<'_>>()?;
    reader.decode::<AnyRef<'_>>()?;
    let seconds = |time: Time| time.to_unix_duration().as_secs();
    let this = seconds(reader.decode::<Time>()?);
    let next = reader.decode::<Option<Time>>()?.map(seconds);
    Ok(Some((this, next)))
}

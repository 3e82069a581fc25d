//! Whether a certificate names an identity (RFC 4945 §3.1, §5.1.3.6).

use super::certificate::{Certificate, text};
use super::certificate_error::CertificateError;
use crate::identity::{Identity, distinguished_name};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use x509_cert::ext::pkix::name::GeneralName;

/// Names shown in a message, at most.
const SHOWN_MAX: usize = 16;

/// Checks that a certificate names `claimed`, the identity of the peer's ID payload, byte for byte, and `spiffe` if that is wanted:
///
/// | identity | name in the certificate |
/// |---|---|
/// | address | iPAddress |
/// | domain name | dNSName; one with `*` matches nothing |
/// | e-mail address | rfc822Name |
/// | distinguished name | subject, not empty unless a SPIFFE ID is wanted |
/// | key id | none but a SPIFFE ID: the URI, if there is exactly one |
///
/// The common name of the subject is never looked into.
pub(super) fn check(
    certificate: &Certificate,
    claimed: &Identity,
    spiffe: Option<&str>,
) -> Result<(), CertificateError> {
    let names = certificate.names()?;
    let uris: Vec<&str> = names.iter().filter_map(uri).collect();
    if let Some(expected) = spiffe {
        // X.509-SVID §2: exactly one URI.
        if uris != [expected] {
            let found = uris.iter().take(SHOWN_MAX).map(|uri| shown(uri)).collect();
            return Err(CertificateError::Spiffe {
                expected: expected.to_owned(),
                found,
            });
        }
        certificate.check_leaf_of_spiffe()?;
    }
    let subject = certificate.subject();
    let proven = match claimed {
        Identity::DistinguishedName(name) => {
            distinguished_name::same(name, &subject) && (spiffe.is_some() || !distinguished_name::is_empty(name))
        }
        Identity::KeyId(id) => matches!(uris[..], [uri] if uri.starts_with("spiffe://") && uri.as_bytes() == &id[..]),
        Identity::Name(_) | Identity::Email(_) | Identity::Address(_) => names.iter().any(|name| is(name, claimed)),
    };
    if proven {
        return Ok(());
    }
    let subject = format!("subject {}", text(&subject));
    let names = core::iter::once(subject)
        .chain(names.iter().map(name_text))
        .take(SHOWN_MAX)
        .collect();
    Err(CertificateError::Names {
        identity: claimed.to_string(),
        names,
    })
}

fn uri(name: &GeneralName) -> Option<&str> {
    match name {
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str()),
        GeneralName::OtherName(_)
        | GeneralName::Rfc822Name(_)
        | GeneralName::DnsName(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EdiPartyName(_)
        | GeneralName::IpAddress(_)
        | GeneralName::RegisteredId(_) => None,
    }
}

fn is(name: &GeneralName, identity: &Identity) -> bool {
    match (name, identity) {
        (GeneralName::DnsName(name), Identity::Name(wanted)) => name.as_str() == wanted && !wanted.contains('*'),
        (GeneralName::Rfc822Name(name), Identity::Email(wanted)) => name.as_str() == wanted,
        (GeneralName::IpAddress(bytes), Identity::Address(wanted)) => address(bytes.as_bytes()) == Some(*wanted),
        (
            GeneralName::DnsName(_)
            | GeneralName::Rfc822Name(_)
            | GeneralName::IpAddress(_)
            | GeneralName::OtherName(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EdiPartyName(_)
            | GeneralName::UniformResourceIdentifier(_)
            | GeneralName::RegisteredId(_),
            _,
        ) => false,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(octets).into());
    }
    <[u8; 16]>::try_from(bytes)
        .ok()
        .map(|octets| Ipv6Addr::from(octets).into())
}

fn name_text(name: &GeneralName) -> String {
    match name {
        GeneralName::DnsName(name) => shown(name.as_str()),
        GeneralName::Rfc822Name(name) => shown(name.as_str()),
        GeneralName::UniformResourceIdentifier(name) => shown(name.as_str()),
        GeneralName::IpAddress(bytes) => {
            address(bytes.as_bytes()).map_or_else(|| "a malformed address".to_owned(), |a| a.to_string())
        }
        GeneralName::DirectoryName(_)
        | GeneralName::OtherName(_)
        | GeneralName::EdiPartyName(_)
        | GeneralName::RegisteredId(_) => "a name of another kind".to_owned(),
    }
}

fn shown(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_default).collect()
}

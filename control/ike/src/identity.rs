//! Who a peer says it is (RFC 7296 §3.5).

pub mod distinguished_name;

use crate::wire::{IdBody, id_kind};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use serde::{Deserialize, Serialize};

/// An identity. Equal are two if kind and every byte are; [`Identity::matches`] is what decides who a peer is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Identity {
    /// ID_IPV4_ADDR or ID_IPV6_ADDR.
    Address(IpAddr),
    /// ID_FQDN.
    Name(String),
    /// ID_RFC822_ADDR.
    Email(String),
    /// ID_DER_ASN1_DN: the DER of the name.
    DistinguishedName(Vec<u8>),
    /// ID_KEY_ID.
    KeyId(Vec<u8>),
}

/// Longest identity but for distinguished names.
pub const BYTES_MAX: usize = 1024;

/// Why an identification payload of a peer is none that can be matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityError {
    /// A kind that is not supported.
    Kind(u8),
    /// Not in the form of its kind.
    Malformed(u8),
    /// More than [`BYTES_MAX`] or [`distinguished_name::BYTES_MAX`].
    TooLong,
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdentityError::Kind(kind) => write!(
                f,
                "the peer identifies itself by kind {kind}, which is not supported; set an address, a domain name, an e-mail \
                 address, a distinguished name or a key id as its identity"
            ),
            IdentityError::Malformed(kind) => write!(f, "the peer's identity is malformed (kind {kind})"),
            IdentityError::TooLong => f.write_str("the peer's identity is too long; set a shorter one"),
        }
    }
}

impl core::error::Error for IdentityError {}

impl Identity {
    /// The payload of it.
    pub fn to_body(&self) -> IdBody {
        match self {
            Identity::Address(IpAddr::V4(address)) => IdBody::new(id_kind::IPV4_ADDRESS, address.octets().to_vec()),
            Identity::Address(IpAddr::V6(address)) => IdBody::new(id_kind::IPV6_ADDRESS, address.octets().to_vec()),
            Identity::Name(text) => IdBody::new(id_kind::NAME, text.as_bytes().to_vec()),
            Identity::Email(text) => IdBody::new(id_kind::EMAIL, text.as_bytes().to_vec()),
            Identity::DistinguishedName(der) => IdBody::new(id_kind::DISTINGUISHED_NAME, der.clone()),
            Identity::KeyId(bytes) => IdBody::new(id_kind::KEY_ID, bytes.clone()),
        }
    }

    /// Reads a peer's payload.
    pub fn from_body(body: &IdBody) -> Result<Identity, IdentityError> {
        let data = &body.data[..];
        let malformed = IdentityError::Malformed(body.kind);
        let bytes_max = if body.kind == id_kind::DISTINGUISHED_NAME {
            distinguished_name::BYTES_MAX
        } else {
            BYTES_MAX
        };
        if data.len() > bytes_max {
            return Err(IdentityError::TooLong);
        }
        match body.kind {
            id_kind::IPV4_ADDRESS => address::<4, Ipv4Addr>(data).ok_or(malformed),
            id_kind::IPV6_ADDRESS => address::<16, Ipv6Addr>(data).ok_or(malformed),
            id_kind::NAME => text(data).map(Identity::Name).ok_or(malformed),
            id_kind::EMAIL => text(data).map(Identity::Email).ok_or(malformed),
            id_kind::DISTINGUISHED_NAME if distinguished_name::to_text(data).is_some() => {
                Ok(Identity::DistinguishedName(data.to_vec()))
            }
            id_kind::KEY_ID if !data.is_empty() => Ok(Identity::KeyId(data.to_vec())),
            id_kind::DISTINGUISHED_NAME | id_kind::KEY_ID => Err(malformed),
            other => Err(IdentityError::Kind(other)),
        }
    }

    /// Whether two stand for the same: kind and every byte, but for the kind of string in a distinguished name
    /// ([`distinguished_name::same`]).
    pub fn matches(&self, other: &Identity) -> bool {
        match (self, other) {
            (Identity::DistinguishedName(one), Identity::DistinguishedName(other)) => {
                distinguished_name::same(one, other)
            }
            (one, other) => one == other,
        }
    }
}

fn address<const BYTES: usize, A: From<[u8; BYTES]> + Into<IpAddr>>(data: &[u8]) -> Option<Identity> {
    let octets: [u8; BYTES] = data.try_into().ok()?;
    Some(Identity::Address(A::from(octets).into()))
}

/// RFC 7296 §3.5: ASCII without terminators.
fn text(data: &[u8]) -> Option<String> {
    let printable = !data.is_empty() && data.iter().all(|byte| (0x20..0x7f).contains(byte));
    if printable {
        String::from_utf8(data.to_vec()).ok()
    } else {
        None
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Address(address) => write!(f, "{address}"),
            Identity::Name(text) | Identity::Email(text) => write!(f, "{}", text.escape_default()),
            Identity::DistinguishedName(der) => match distinguished_name::to_text(der) {
                Some(text) => f.write_str(&text),
                None => write!(f, "DN {}", Hex(der)),
            },
            Identity::KeyId(bytes) => write!(f, "key id {}", Hex(bytes)),
        }
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Identity> {
        vec![
            Identity::Address("192.0.2.1".parse().unwrap()),
            Identity::Address("2001:db8::1".parse().unwrap()),
            Identity::Name("gw-a.example.org".to_owned()),
            Identity::Email("gw-a@example.org".to_owned()),
            Identity::DistinguishedName(distinguished_name::parse("O=Example, CN=gw-a").unwrap()),
            Identity::KeyId(b"\x00\xff".to_vec()),
        ]
    }

    /// RFC 7296 §3.5: the numbers of the kinds.
    #[test]
    fn payloads_and_back() {
        let kinds: Vec<u8> = all().iter().map(|identity| identity.to_body().kind).collect();
        assert_eq!(kinds, [1, 5, 2, 3, 9, 11]);
        for identity in all() {
            assert_eq!(Identity::from_body(&identity.to_body()), Ok(identity));
        }
    }

    #[test]
    fn what_is_no_identity() {
        for (kind, data, error) in [
            (1, &[192, 0, 2][..], IdentityError::Malformed(1)),
            (1, &[0; 16], IdentityError::Malformed(1)),
            (5, &[0; 4], IdentityError::Malformed(5)),
            (2, b"", IdentityError::Malformed(2)),
            (2, b"gw-a\0", IdentityError::Malformed(2)),
            (2, "gw-ä".as_bytes(), IdentityError::Malformed(2)),
            (3, b"a@b\r", IdentityError::Malformed(3)),
            (9, b"CN=gw-a", IdentityError::Malformed(9)),
            (11, b"", IdentityError::Malformed(11)),
            (0, b"x", IdentityError::Kind(0)),
            (10, b"x", IdentityError::Kind(10)),
            (11, &[0; 1025], IdentityError::TooLong),
            (9, &[0; 4097], IdentityError::TooLong),
        ] {
            assert_eq!(
                Identity::from_body(&IdBody::new(kind, data.to_vec())),
                Err(error),
                "{kind} {data:?}"
            );
        }
    }

    #[test]
    fn each_matches_itself_alone() {
        for one in all() {
            for other in all() {
                assert_eq!(one.matches(&other), one == other, "{one} {other}");
            }
        }
        let name = |text: &str| Identity::Name(text.to_owned());
        assert!(!name("gw-a.example.org").matches(&name("GW-A.example.org")));
        assert!(!name("gw-a@example.org").matches(&Identity::Email("gw-a@example.org".to_owned())));
        let printable = Identity::DistinguishedName(distinguished_name::parse("CN=#130467772d61").unwrap());
        let utf8 = Identity::DistinguishedName(distinguished_name::parse("CN=gw-a").unwrap());
        assert!(printable.matches(&utf8) && printable != utf8);
    }

    #[test]
    fn for_an_operator() {
        let texts: Vec<String> = all().iter().map(Identity::to_string).collect();
        assert_eq!(texts[4], "O=Example, CN=gw-a");
        assert_eq!(texts[5], "key id 00ff");
    }
}

//! Who a peer says it is (RFC 7296 §3.5).

use core::fmt;
use core::net::IpAddr;
use serde::{Deserialize, Serialize};

/// An identity. Two are the same only if kind and every byte are.
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

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Address(address) => write!(f, "{address}"),
            Identity::Name(text) | Identity::Email(text) => write!(f, "{}", text.escape_default()),
            Identity::DistinguishedName(bytes) => write!(f, "DN {}", Hex(bytes)),
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

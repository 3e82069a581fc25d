//! The words of the language: names, prefixes, ranges. Each is parsed from one scalar and cannot hold a wrong value.

mod address;
mod identity;
mod name;
mod port;

pub use address::{AddressRange, InterfaceAddress, Prefix};
pub(crate) use address::{parse_address, special, width};
pub(crate) use identity::IdentityWord;
pub use name::{DeviceName, Name, SecretName};
pub(crate) use port::number;
pub use port::{PortRange, Protocol};

/// Why a scalar is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Refused {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Refused {
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn with_hint(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Refused {
            message: message.into(),
            hint: Some(hint.into()),
        }
    }
}

/// At most 40 characters of what the operator wrote, for a message.
pub(crate) fn shorten(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    if clean.chars().count() <= 40 {
        clean
    } else {
        clean.chars().take(37).chain("...".chars()).collect()
    }
}

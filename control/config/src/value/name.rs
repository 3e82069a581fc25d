//! Names of things, devices and secrets.

use super::{Refused, shorten};
use core::fmt;

/// A name that an operator gives: 1 to 31 (ports: 15) characters of `a-z`, `0-9` and `-`, starting with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// A kernel device name: 1 to 15 bytes without `/`, `:` and white space.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceName(String);

/// The name of a file in the secrets directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName(String);

macro_rules! text {
    ($name:ident) => {
        impl $name {
            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text!(Name);
text!(DeviceName);
text!(SecretName);

/// Bytes of the longest name.
const NAME_LENGTH_MAX: usize = 31;
/// Bytes of the longest device name (IFNAMSIZ less its zero).
const DEVICE_NAME_LENGTH_MAX: usize = 15;
/// Bytes of the longest file name of a secret.
const SECRET_NAME_LENGTH_MAX: usize = 128;
/// Names that mean something else where a name may stand.
const RESERVED_NAMES: [&str; 1] = ["any"];

impl Name {
    pub(crate) fn parse(text: &str) -> Result<Self, Refused> {
        let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() || text.len() > NAME_LENGTH_MAX {
            return Err(Refused::new(format!("a name has 1 to {NAME_LENGTH_MAX} characters")));
        }
        if !text.chars().all(ok) || text.starts_with('-') {
            let hint = "use a-z, 0-9 and '-', starting with a letter or digit";
            return Err(Refused::with_hint(format!("'{}' is not a name", shorten(text)), hint));
        }
        if RESERVED_NAMES.contains(&text) {
            return Err(Refused::new(format!("'{text}' is a reserved word, not a name")));
        }
        Ok(Name(text.to_owned()))
    }
}

impl DeviceName {
    pub(crate) fn parse(text: &str) -> Result<Self, Refused> {
        let forbidden = |c: char| c.is_whitespace() || c.is_control() || c == '/' || c == ':';
        if text.is_empty()
            || text.len() > DEVICE_NAME_LENGTH_MAX
            || text.contains(forbidden)
            || text == "."
            || text == ".."
        {
            let message = format!("'{}' is not a device name", shorten(text));
            return Err(Refused::with_hint(
                message,
                "a device is named as in `ip link`, at most 15 characters",
            ));
        }
        if text == "lo" {
            return Err(Refused::new("the loopback device cannot be a port"));
        }
        Ok(DeviceName(text.to_owned()))
    }
}

impl SecretName {
    /// `file:NAME`.
    pub(crate) fn parse(text: &str) -> Result<Self, Refused> {
        let hint = "write `file:NAME` with the name of a file in the secrets directory; keys never stand in this file";
        let Some(name) = text.strip_prefix("file:") else {
            // The text is not repeated: it might be a key.
            return Err(Refused::with_hint("keys are given by reference", hint));
        };
        let ok = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
        if name.is_empty() || name.len() > SECRET_NAME_LENGTH_MAX || !name.chars().all(ok) || name.starts_with('.') {
            return Err(Refused::with_hint(
                "this is not the name of a file in the secrets directory",
                hint,
            ));
        }
        Ok(SecretName(name.to_owned()))
    }
}

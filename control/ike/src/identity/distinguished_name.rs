//! Distinguished names: text for operators, DER for the wire, and when two are the same.
//!
//! The text is written in the order of the certificate: `C=DE, O=Example, CN=gw-a`, as OpenSSL and strongSwan show it and not turned
//! round as in RFC 4514; its escapes are those of RFC 4514 §2.4.

use core::fmt;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::{Any, Ia5StringRef, ObjectIdentifier, PrintableStringRef, Utf8StringRef};
use x509_cert::der::{Decode, Encode, Tag, Tagged};
use x509_cert::name::{Name, RelativeDistinguishedName};

/// Longest name, in bytes of DER and of text.
pub const BYTES_MAX: usize = 4096;

/// Why a text is no distinguished name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameError {
    /// A part without `=`.
    NoEquals(String),
    /// An attribute that is neither known nor numbers.
    UnknownAttribute(String),
    /// A value that its attribute cannot have, or an escape that is none.
    Value(String),
    /// Nothing, or a part that is nothing.
    Empty,
    /// More than [`BYTES_MAX`].
    TooLong,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const EXAMPLE: &str = "write a distinguished name as in `C=DE, O=Example, CN=gw-a`";
        match self {
            NameError::NoEquals(part) => write!(f, "\"{}\" has no \"=\"; {EXAMPLE}", part.escape_debug()),
            NameError::UnknownAttribute(name) => write!(
                f,
                "attribute \"{}\" is not known; known are {}, or write its numbers (2.5.4.3)",
                name.escape_debug(),
                ATTRIBUTES.iter().map(|known| known.0).collect::<Vec<_>>().join(", ")
            ),
            NameError::Value(value) => write!(
                f,
                "\"{}\" is no value of its attribute; write `\\` before any of `,+\"\\<>;=#` in it",
                value.escape_debug()
            ),
            NameError::Empty => write!(f, "a part is empty; {EXAMPLE}"),
            NameError::TooLong => write!(f, "longer than {BYTES_MAX} bytes"),
        }
    }
}

impl core::error::Error for NameError {}

/// Text, type, and string of an attribute that is written with it (RFC 5280 appendix A.1, RFC 4519).
const ATTRIBUTES: &[(&str, ObjectIdentifier, Tag)] = &[
    ("CN", oid("2.5.4.3"), Tag::Utf8String),
    ("C", oid("2.5.4.6"), Tag::PrintableString),
    ("ST", oid("2.5.4.8"), Tag::Utf8String),
    ("L", oid("2.5.4.7"), Tag::Utf8String),
    ("O", oid("2.5.4.10"), Tag::Utf8String),
    ("OU", oid("2.5.4.11"), Tag::Utf8String),
    ("emailAddress", oid("1.2.840.113549.1.9.1"), Tag::Ia5String),
    ("E", oid("1.2.840.113549.1.9.1"), Tag::Ia5String),
    ("DC", oid("0.9.2342.19200300.100.1.25"), Tag::Ia5String),
    ("UID", oid("0.9.2342.19200300.100.1.1"), Tag::Utf8String),
    ("serialNumber", oid("2.5.4.5"), Tag::PrintableString),
    ("dnQualifier", oid("2.5.4.46"), Tag::PrintableString),
    ("SN", oid("2.5.4.4"), Tag::Utf8String),
    ("GN", oid("2.5.4.42"), Tag::Utf8String),
    ("title", oid("2.5.4.12"), Tag::Utf8String),
    ("street", oid("2.5.4.9"), Tag::Utf8String),
    ("postalCode", oid("2.5.4.17"), Tag::Utf8String),
    ("description", oid("2.5.4.13"), Tag::Utf8String),
    ("organizationIdentifier", oid("2.5.4.97"), Tag::Utf8String),
];

const fn oid(numbers: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(numbers)
}

/// Text to DER.
pub fn parse(text: &str) -> Result<Vec<u8>, NameError> {
    if text.len() > BYTES_MAX {
        return Err(NameError::TooLong);
    }
    let mut name: Vec<RelativeDistinguishedName> = Vec::new();
    for part in split(text, ',') {
        let attributes = split(part, '+').map(attribute).collect::<Result<Vec<_>, _>>()?;
        let relative =
            RelativeDistinguishedName::try_from(attributes).map_err(|_| NameError::Value(part.to_owned()))?;
        name.push(relative);
    }
    let der = name.to_der().map_err(|_| NameError::TooLong)?;
    if der.len() > BYTES_MAX {
        Err(NameError::TooLong)
    } else {
        Ok(der)
    }
}

/// At each `separator` that is not escaped.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut escaped = false;
    text.split(move |letter| {
        let ends = letter == separator && !escaped;
        escaped = letter == '\\' && !escaped;
        ends
    })
}

fn attribute(text: &str) -> Result<AttributeTypeAndValue, NameError> {
    let text = text.trim_start();
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| NameError::NoEquals(text.to_owned()))?;
    let name = name.trim();
    let known = ATTRIBUTES.iter().find(|known| known.0.eq_ignore_ascii_case(name));
    let oid = match known {
        Some(known) => known.1,
        None => ObjectIdentifier::new(name).map_err(|_| NameError::UnknownAttribute(name.to_owned()))?,
    };
    let value = value.trim_start();
    let refuse = || NameError::Value(value.to_owned());
    let value = match value.strip_prefix('#') {
        Some(hex) => Any::from_der(&from_hex(hex.trim_end()).ok_or_else(refuse)?).map_err(|_| refuse())?,
        None => {
            let tag = known.map_or(Tag::Utf8String, |known| known.2);
            string(tag, &unescape(value).ok_or_else(refuse)?).ok_or_else(refuse)?
        }
    };
    Ok(AttributeTypeAndValue { oid, value })
}

/// A value of a kind of string, if it may have these letters.
fn string(tag: Tag, bytes: &[u8]) -> Option<Any> {
    if bytes.is_empty() {
        return None;
    }
    let value = Any::new(tag, bytes).ok()?;
    plain(&value)?;
    Some(value)
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    // Length up to which a blank at the end is meant.
    let mut kept = 0;
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'\\' => {
                let first = rest.next()?;
                bytes.push(match (first as char).to_digit(16) {
                    Some(high) => (high as u8) << 4 | (rest.next()? as char).to_digit(16)? as u8,
                    None if b" \"#+,;<=>\\".contains(&first) => first,
                    None => return None,
                });
                kept = bytes.len();
            }
            b'"' | b'<' | b'>' | b';' => return None,
            b' ' | b'\t' => bytes.push(byte),
            _ => {
                bytes.push(byte);
                kept = bytes.len();
            }
        }
    }
    bytes.truncate(kept);
    Some(bytes)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |letter: u8| (letter as char).to_digit(16).map(|digit| digit as u8);
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}

/// DER to text; none if it is no name.
pub fn to_text(der: &[u8]) -> Option<String> {
    let name = Name::from_der(der).ok()?;
    let parts: Vec<String> = name
        .iter_rdn()
        .map(|relative| relative.iter().map(attribute_text).collect::<Vec<_>>().join("+"))
        .collect();
    Some(parts.join(", "))
}

fn attribute_text(attribute: &AttributeTypeAndValue) -> String {
    let known = ATTRIBUTES.iter().find(|known| known.1 == attribute.oid);
    // Only what `parse` reads as the same again is written as text.
    let text = plain(&attribute.value).filter(|text| !text.is_empty());
    let name = known.map_or_else(|| attribute.oid.to_string(), |known| known.0.to_owned());
    match text.filter(|text| string(known.map_or(Tag::Utf8String, |known| known.2), text.as_bytes()).is_some()) {
        Some(text) => format!("{name}={}", escape(text)),
        None => format!("{name}=#{}", super::Hex(&attribute.value.to_der().unwrap_or_default())),
    }
}

fn escape(text: &str) -> String {
    let last = text.len() - text.chars().next_back().map_or(0, char::len_utf8);
    let mut out = String::new();
    for (at, letter) in text.char_indices() {
        match letter {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' => out.extend(['\\', letter]),
            '#' | ' ' if at == 0 || at == last => out.extend(['\\', letter]),
            _ if letter.is_control() || !letter.is_ascii() && !letter.is_alphanumeric() => {
                let mut utf8 = [0; 4];
                letter
                    .encode_utf8(&mut utf8)
                    .bytes()
                    .for_each(|byte| out.push_str(&format!("\\{byte:02x}")));
            }
            _ => out.push(letter),
        }
    }
    out
}

/// Whether two names are the same: the same attributes in the same order with the same letters. Only the kind of string may differ,
/// because authorities differ in it (PrintableString, UTF8String, IA5String).
pub fn same(one: &[u8], other: &[u8]) -> bool {
    if one == other {
        return true;
    }
    match (canonical(one), canonical(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

/// Whether a name has no attribute: it stands for nobody.
pub fn is_empty(der: &[u8]) -> bool {
    Name::from_der(der).is_ok_and(|name| name.is_empty())
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Text(String),
    Other(Vec<u8>),
}

/// The order inside of a set depends on the kinds of strings, so it is made anew.
fn canonical(der: &[u8]) -> Option<Vec<Vec<(ObjectIdentifier, Value)>>> {
    let name = Name::from_der(der).ok()?;
    let relative = |relative: &RelativeDistinguishedName| {
        let mut attributes: Vec<_> = relative
            .iter()
            .map(|one| Some((one.oid, value(&one.value)?)))
            .collect::<Option<_>>()?;
        attributes.sort();
        Some(attributes)
    };
    name.iter_rdn().map(relative).collect()
}

fn value(any: &Any) -> Option<Value> {
    match plain(any) {
        Some(text) => Some(Value::Text(text.to_owned())),
        None => any.to_der().ok().map(Value::Other),
    }
}

/// The text of a string whose letters mean the same everywhere.
fn plain(value: &Any) -> Option<&str> {
    let (tag, bytes) = (value.tag(), value.value());
    if tag == Tag::Utf8String {
        Utf8StringRef::new(bytes).ok().map(|text| text.as_str())
    } else if tag == Tag::PrintableString {
        PrintableStringRef::new(bytes).ok().map(|text| text.as_str())
    } else if tag == Tag::Ia5String {
        Ia5StringRef::new(bytes).ok().map(|text| text.as_str())
    } else {
        None
    }
}

#[cfg(test)]
mod tests;

//! Identities of IKEv2 and where a peer is, as an operator writes them.

use super::{Refused, parse_address, shorten};
use crate::model::Remote;
use core::net::IpAddr;
use tombolo_ike::identity::{Identity, distinguished_name};

/// Bytes of the longest identity.
const IDENTITY_BYTES_MAX: usize = 255;
/// Bytes of the longest DNS name (RFC 1035 §2.3.4).
const DNS_BYTES_MAX: usize = 253;
const KINDS: &str = "write ip:ADDRESS, fqdn:NAME, email:USER@NAME, dn:C=…,O=…,CN=… or keyid:TEXT (keyid:0x… for bytes)";

/// `local-id` and `remote-id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IdentityWord {
    /// Whoever the certificate proves.
    Any,
    /// This one.
    Exactly(Identity),
}

impl IdentityWord {
    pub(crate) fn parse(text: &str) -> Result<Self, Refused> {
        if text.len() > IDENTITY_BYTES_MAX {
            return Err(Refused::new(format!(
                "an identity has at most {IDENTITY_BYTES_MAX} bytes"
            )));
        }
        if text == "any" {
            return Ok(IdentityWord::Any);
        }
        let (kind, rest) = match text.split_once(':') {
            Some((kind @ ("ip" | "fqdn" | "email" | "dn" | "keyid"), rest)) => (kind, rest),
            Some(_) | None => (inferred(text)?, text),
        };
        let identity = match kind {
            "ip" => Identity::Address(parse_address(rest)?),
            "fqdn" => Identity::Name(dns_name(rest)?),
            "email" => email(rest)?,
            "dn" => distinguished(rest)?,
            _ => Identity::KeyId(key_id(rest)?),
        };
        Ok(IdentityWord::Exactly(identity))
    }
}

/// The kind of an identity that does not say it.
fn inferred(text: &str) -> Result<&'static str, Refused> {
    if text.parse::<IpAddr>().is_ok() {
        Ok("ip")
    } else if text.contains('=') {
        Ok("dn")
    } else if text.contains('@') {
        Ok("email")
    } else if dns_name(text).is_ok() && text.contains('.') {
        Ok("fqdn")
    } else {
        Err(Refused::with_hint(
            format!("'{}' does not say what kind of identity it is", shorten(text)),
            KINDS,
        ))
    }
}

fn email(text: &str) -> Result<Identity, Refused> {
    let right = |(user, host): (&str, &str)| !user.is_empty() && dns_name(host).is_ok();
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
    if printable && text.split_once('@').is_some_and(right) {
        Ok(Identity::Email(text.to_owned()))
    } else {
        Err(Refused::with_hint(
            format!("'{}' is not an e-mail address", shorten(text)),
            KINDS,
        ))
    }
}

fn key_id(text: &str) -> Result<Vec<u8>, Refused> {
    let Some(hex) = text.strip_prefix("0x") else {
        if text.is_empty() {
            return Err(Refused::with_hint("an empty key id", KINDS));
        }
        return Ok(text.as_bytes().to_vec());
    };
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = hex.as_bytes().chunks(2).map(pair).collect();
    bytes
        .filter(|bytes| !bytes.is_empty())
        .ok_or_else(|| Refused::with_hint("not pairs of hex digits", KINDS))
}

fn distinguished(text: &str) -> Result<Identity, Refused> {
    distinguished_name::parse(text)
        .map(Identity::DistinguishedName)
        .map_err(|error| Refused::with_hint(error.to_string(), KINDS))
}

fn dns_name(text: &str) -> Result<String, Refused> {
    let label = |label: &str| {
        let ok = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(ok) && !label.starts_with('-') && !label.ends_with('-')
    };
    if text.len() <= DNS_BYTES_MAX && text.split('.').all(label) {
        Ok(text.to_owned())
    } else {
        Err(Refused::new(format!("'{}' is not a DNS name", shorten(text))))
    }
}

impl Remote {
    pub(crate) fn parse(text: &str) -> Result<Self, Refused> {
        if text == "any" {
            return Ok(Remote::Any);
        }
        let numeric = text.contains(':')
            || text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'/');
        if numeric {
            return parse_address(text).map(Remote::Address);
        }
        let hint = "an address, a DNS name, or 'any' for a peer that comes to us";
        dns_name(text)
            .map(Remote::Name)
            .map_err(|refused| Refused::with_hint(refused.message, hint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exactly(text: &str) -> Identity {
        match IdentityWord::parse(text) {
            Ok(IdentityWord::Exactly(identity)) => identity,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn kinds_are_said_or_inferred() {
        assert_eq!(exactly("192.0.2.1"), Identity::Address("192.0.2.1".parse().unwrap()));
        assert_eq!(
            exactly("2001:db8::1"),
            Identity::Address("2001:db8::1".parse().unwrap())
        );
        assert_eq!(exactly("ip:192.0.2.1"), exactly("192.0.2.1"));
        assert_eq!(exactly("gw.example.org"), Identity::Name("gw.example.org".into()));
        assert_eq!(exactly("fqdn:gw"), Identity::Name("gw".into()));
        assert_eq!(exactly("a@example.org"), Identity::Email("a@example.org".into()));
        assert_eq!(exactly("keyid:branch 7"), Identity::KeyId(b"branch 7".to_vec()));
        assert_eq!(exactly("keyid:0x0aff"), Identity::KeyId(vec![0x0a, 0xff]));
        assert_eq!(IdentityWord::parse("any").unwrap(), IdentityWord::Any);
    }

    #[test]
    fn the_rest_is_refused() {
        for text in [
            "gw",
            "keyid:",
            "keyid:0x0",
            "keyid:0xzz",
            "email:a",
            "email:@b",
            "fqdn:-a",
            "fqdn:",
            "ip:gw",
            "",
        ] {
            assert!(IdentityWord::parse(text).is_err(), "{text}");
        }
        assert!(IdentityWord::parse(&"a.".repeat(200)).is_err());
    }

    #[test]
    fn a_peer_is_at_an_address_a_name_or_anywhere() {
        assert_eq!(Remote::parse("any").unwrap(), Remote::Any);
        assert_eq!(Remote::parse("192.0.2.1").unwrap().address(), "192.0.2.1".parse().ok());
        assert_eq!(
            Remote::parse("vpn.example.org").unwrap(),
            Remote::Name("vpn.example.org".into())
        );
        for text in ["192.0.2", "192.0.2.1/24", "a b", "", "::ffff:1.2.3.4"] {
            assert!(Remote::parse(text).is_err(), "{text}");
        }
    }
}

//! How the words of the language are written, for the reader and for the JSON Schema.

use crate::reader::Scalar;
use crate::value::{
    AddressRange, DeviceName, IdentityWord, InterfaceAddress, Name, PortRange, Prefix, Protocol, Refused, SecretName,
    number, parse_address, shorten,
};
use crate::{model, suggest};
use core::net::IpAddr;
use schemars::{Schema, json_schema};

macro_rules! scalar {
    ($type:ty, $what:literal, $parse:expr, $schema:tt) => {
        impl Scalar for $type {
            const WHAT: &'static str = $what;

            fn parse_scalar(text: &str) -> Result<Self, Refused> {
                $parse(text)
            }

            fn scalar_schema() -> Schema {
                json_schema!($schema)
            }
        }
    };
}

scalar!(Name, "a name", Name::parse, { "type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,30}$" });
scalar!(DeviceName, "a device name", DeviceName::parse, { "type": "string", "minLength": 1, "maxLength": 15 });
scalar!(SecretName, "a reference to a key file", SecretName::parse, {
    "type": "string", "pattern": "^file:[A-Za-z0-9_-][A-Za-z0-9_.-]*$"
});
scalar!(InterfaceAddress, "an address with prefix length", InterfaceAddress::parse, {
    "type": "string", "examples": ["192.0.2.1/24", "2001:db8::1/64"]
});
scalar!(Prefix, "a prefix", Prefix::parse, { "type": "string", "examples": ["192.0.2.0/24", "2001:db8::/32"] });
scalar!(IpAddr, "an address", parse_address, { "type": "string", "examples": ["192.0.2.1", "2001:db8::1"] });
scalar!(AddressRange, "an address or a range of addresses", AddressRange::parse, {
    "type": "string", "examples": ["203.0.113.8", "203.0.113.8-203.0.113.15"]
});
scalar!(PortRange, "a port or a range of ports", PortRange::parse, {
    "type": ["integer", "string"], "minimum": 1, "maximum": 65535, "pattern": "^[0-9]+(-[0-9]+)?$"
});
scalar!(Protocol, "a protocol", Protocol::parse, {
    "anyOf": [
        { "enum": ["tcp", "udp", "icmp", "icmpv6", "esp", "gre", "sctp"] },
        { "type": "integer", "minimum": 1, "maximum": 254 }
    ]
});
scalar!(bool, "true or false", parse_bool, { "type": "boolean" });

fn parse_bool(text: &str) -> Result<bool, Refused> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(Refused::new(format!("'{}' is neither true nor false", shorten(other)))),
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounded<const MIN: u32, const MAX: u32>(pub(crate) u32);

impl<const MIN: u32, const MAX: u32> Bounded<MIN, MAX> {
    /// For bounds that fit 16 bits.
    pub(crate) fn u16(self) -> u16 {
        const { assert!(MAX <= u16::MAX as u32) };
        self.0 as u16
    }
}

impl<const MIN: u32, const MAX: u32> Scalar for Bounded<MIN, MAX> {
    const WHAT: &'static str = "a number";

    fn parse_scalar(text: &str) -> Result<Self, Refused> {
        match number(text) {
            Some(value) if (u64::from(MIN)..=u64::from(MAX)).contains(&value) => Ok(Bounded(value as u32)),
            Some(_) => Err(Refused::new(format!(
                "{} is out of bounds: {MIN} to {MAX}",
                shorten(text)
            ))),
            None => Err(Refused::new(format!(
                "'{}' is not a whole number from {MIN} to {MAX}",
                shorten(text)
            ))),
        }
    }

    fn scalar_schema() -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

/// An MTU in bytes, bounds included: the larger one is what a frame of memory holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PacketBytes<const MIN: u32, const MAX: u32>(Bounded<MIN, MAX>);

impl<const MIN: u32, const MAX: u32> PacketBytes<MIN, MAX> {
    pub(crate) fn u16(self) -> u16 {
        self.0.u16()
    }
}

impl<const MIN: u32, const MAX: u32> Scalar for PacketBytes<MIN, MAX> {
    const WHAT: &'static str = "a number";

    fn parse_scalar(text: &str) -> Result<Self, Refused> {
        let too_large = number(text).is_some_and(|value| value > u64::from(MAX));
        let parsed = Bounded::parse_scalar(text).map(PacketBytes);
        parsed.map_err(|refused| match too_large {
            true => Refused::with_hint(
                refused.message,
                format!(
                    "a packet has to fit into a frame of memory: set the MTU of this device, and of the hosts on its link, \
                     to at most {MAX}"
                ),
            ),
            false => refused,
        })
    }

    fn scalar_schema() -> Schema {
        Bounded::<MIN, MAX>::scalar_schema()
    }
}

macro_rules! words {
    ($type:ty, $what:literal, { $($word:literal => $value:expr),+ $(,)? }) => {
        impl Scalar for $type {
            const WHAT: &'static str = $what;

            fn parse_scalar(text: &str) -> Result<Self, Refused> {
                match text {
                    $($word => Ok($value),)+
                    other => Err(Refused {
                        message: format!("'{}' is not {}", shorten(other), $what),
                        hint: suggest::hint(other, [$($word),+]),
                    }),
                }
            }

            fn scalar_schema() -> Schema {
                json_schema!({ "enum": [$($word),+] })
            }
        }
    };
}

words!(model::Action, "an action", {
    "allow" => model::Action::Allow, "deny" => model::Action::Deny, "reject" => model::Action::Reject,
});
words!(model::DontFragment, "a treatment of DF", {
    "set" => model::DontFragment::Set, "copy" => model::DontFragment::Copy, "clear" => model::DontFragment::Clear,
});
words!(model::Dscp, "a treatment of DSCP", { "copy" => model::Dscp::Copy, "zero" => model::Dscp::Zero });

/// `type` of a tunnel.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TunnelType {
    Esp,
    Ipsec,
}
words!(TunnelType, "a type of tunnel", { "esp" => TunnelType::Esp, "ipsec" => TunnelType::Ipsec });

/// `type` of a tunnel with manual keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EspType;
words!(EspType, "a type of tunnel", { "esp" => EspType });

/// `type` of a tunnel keyed by IKEv2.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IpsecType;
words!(IpsecType, "a type of tunnel", { "ipsec" => IpsecType });

words!(model::ProfileName, "a profile", {
    "aws" => model::ProfileName::Aws, "aws-large" => model::ProfileName::AwsLarge,
    "azure-default" => model::ProfileName::AzureDefault, "azure-custom" => model::ProfileName::AzureCustom,
    "gcp" => model::ProfileName::Gcp, "cloudflare" => model::ProfileName::Cloudflare,
    "tombolo" => model::ProfileName::Tombolo, "custom" => model::ProfileName::Custom,
});

/// `start` of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartWord {
    Auto,
    Responder,
}
words!(StartWord, "a way to start", { "auto" => StartWord::Auto, "responder" => StartWord::Responder });

/// `nat-t` of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NatTraversal {
    Auto,
    Force,
    Start4500,
}
words!(NatTraversal, "a way through NAT", {
    "auto" => NatTraversal::Auto, "force" => NatTraversal::Force, "start-4500" => NatTraversal::Start4500,
});

/// `esn` of child SAs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum EsnWord {
    On,
    Off,
    Either,
}
words!(EsnWord, "a choice of ESN", { "on" => EsnWord::On, "off" => EsnWord::Off, "either" => EsnWord::Either });

/// `ike-version` of a tunnel. That 1 is refused, and why, is said where the profile is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IkeVersion {
    One,
    Two,
}
words!(IkeVersion, "a version of IKE", { "2" => IkeVersion::Two, "1" => IkeVersion::One });

/// Name of an algorithm; which ones are known is said where the profile is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AlgorithmWord(pub(crate) String);
scalar!(AlgorithmWord, "the name of an algorithm", parse_algorithm, {
    "type": ["string", "integer"], "examples": ["aes-256-gcm", "sha384", "ecp384", 20]
});

fn parse_algorithm(text: &str) -> Result<AlgorithmWord, Refused> {
    let ok = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if text.is_empty() || text.len() > 32 || !text.bytes().all(ok) {
        return Err(Refused::new(format!(
            "'{}' is not the name of an algorithm",
            shorten(text)
        )));
    }
    Ok(AlgorithmWord(
        crate::profile::canonical(&text.to_ascii_lowercase()).to_owned(),
    ))
}

/// Bytes or packets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByteCount(pub(crate) u64);
scalar!(ByteCount, "a number", parse_count, { "type": "integer", "minimum": 0 });

fn parse_count(text: &str) -> Result<ByteCount, Refused> {
    number(text)
        .map(ByteCount)
        .ok_or_else(|| Refused::new(format!("'{}' is not a whole number", shorten(text))))
}

/// Text that means something to the peer only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FreeText(pub(crate) String);
scalar!(FreeText, "a text", parse_text, { "type": "string", "minLength": 1, "maxLength": 255 });

fn parse_text(text: &str) -> Result<FreeText, Refused> {
    let ok = |byte: u8| byte.is_ascii_graphic();
    if text.is_empty() || text.len() > 255 || !text.bytes().all(ok) {
        return Err(Refused::new(
            "expected 1 to 255 printable ASCII characters without blanks",
        ));
    }
    Ok(FreeText(text.to_owned()))
}

scalar!(IdentityWord, "an identity", IdentityWord::parse, {
    "type": "string", "examples": ["ip:192.0.2.1", "fqdn:gw.example.org", "email:gw@example.org", "keyid:branch-7", "any"]
});
scalar!(model::Remote, "an address, a DNS name or 'any'", model::Remote::parse, {
    "type": "string", "examples": ["203.0.113.10", "2001:db8::1", "vpn.example.org", "any"]
});

/// `encapsulation` of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EncapsulationType {
    None,
    Udp,
}
words!(EncapsulationType, "an encapsulation", {
    "none" => EncapsulationType::None, "udp" => EncapsulationType::Udp,
});

/// `action` of a route.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RouteAction {
    Discard,
    Unreachable,
}
words!(RouteAction, "an action of a route", {
    "discard" => RouteAction::Discard, "unreachable" => RouteAction::Unreachable,
});

/// `from` and `to` of a policy rule.
#[derive(Clone, Debug)]
pub(crate) enum SegmentMatch {
    Any,
    Segment(Name),
}
scalar!(SegmentMatch, "a segment or 'any'", parse_segment_match, { "type": "string" });

fn parse_segment_match(text: &str) -> Result<SegmentMatch, Refused> {
    if text == "any" {
        Ok(SegmentMatch::Any)
    } else {
        Name::parse(text).map(SegmentMatch::Segment)
    }
}

/// `address` of a source NAT rule.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SourceAddressWord {
    Port,
    Keep,
    Range(AddressRange),
}
scalar!(SourceAddressWord, "'port', 'keep', an address or a range", parse_source_address, {
    "type": "string", "examples": ["port", "203.0.113.8", "203.0.113.8-203.0.113.15", "keep"]
});

fn parse_source_address(text: &str) -> Result<SourceAddressWord, Refused> {
    match text {
        "port" => Ok(SourceAddressWord::Port),
        "keep" => Ok(SourceAddressWord::Keep),
        other => AddressRange::parse(other)
            .map(SourceAddressWord::Range)
            .map_err(|refused| Refused {
                hint: refused.hint.or(Some(
                    "'port' is the address of the port where the packet leaves, 'keep' leaves the source alone"
                        .to_owned(),
                )),
                ..refused
            }),
    }
}

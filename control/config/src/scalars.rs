//! How the words of the language are written, for the reader and for the JSON Schema.

use crate::reader::Scalar;
use crate::value::{
    AddressRange, DeviceName, InterfaceAddress, Name, PortRange, Prefix, Protocol, Refused, SecretName, number,
    parse_address, shorten,
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
}
words!(TunnelType, "a type of tunnel", { "esp" => TunnelType::Esp });

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

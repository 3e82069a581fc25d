//! Prefixes and protocols as records hold them.

use tombolo_config::{PortRange, Prefix, Protocol};
use tombolo_tables::layout::{Address, wildcard};

/// Bits that an IPv4 prefix gains in mapped form.
const MAPPED: u8 = 96;

/// Address and length in mapped form; any address has length 0.
pub(crate) fn mapped(prefix: Option<Prefix>) -> (Address, u8) {
    match prefix {
        Some(prefix) => {
            let length = if prefix.is_v6() {
                prefix.length()
            } else {
                prefix.length() + MAPPED
            };
            (prefix.address().into(), length)
        }
        None => (Address::default(), 0),
    }
}

/// The family that a rule is confined to: true = IPv6.
pub(crate) fn family(prefixes: [Option<Prefix>; 2], protocol: Option<Protocol>) -> Option<bool> {
    let stated = prefixes.into_iter().flatten().map(Prefix::is_v6).next();
    stated.or(match protocol {
        Some(Protocol::ICMP) => Some(false),
        Some(Protocol::ICMPV6) => Some(true),
        Some(_) | None => None,
    })
}

pub(crate) fn protocol(protocol: Option<Protocol>) -> u8 {
    protocol.map_or(wildcard::PROTOCOL, Protocol::number)
}

pub(crate) fn bounds(range: PortRange) -> (u16, u16) {
    (range.first(), range.last())
}

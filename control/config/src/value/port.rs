//! Ports, protocols and plain numbers.

use super::{Refused, shorten};
use core::fmt;

/// An inclusive range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// Any port.
    pub const ANY: PortRange = PortRange {
        first: 0,
        last: u16::MAX,
    };

    pub(crate) const fn new(first: u16, last: u16) -> PortRange {
        PortRange { first, last }
    }

    /// First port.
    pub fn first(self) -> u16 {
        self.first
    }

    /// Last port, inclusive.
    pub fn last(self) -> u16 {
        self.last
    }

    /// Whether `port` is one of them.
    pub fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// Whether both have a port in common.
    pub fn overlaps(self, other: PortRange) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Refused> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range = PortRange {
            first: port(first.trim())?,
            last: port(last.trim())?,
        };
        if range.last < range.first {
            let hint = format!("did you mean {}-{}?", range.last, range.first);
            return Err(Refused::with_hint("the range ends before it starts", hint));
        }
        Ok(range)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

fn port(text: &str) -> Result<u16, Refused> {
    match number(text) {
        Some(value @ 1..=65_535) => Ok(value as u16),
        Some(_) | None => Err(Refused::with_hint(
            format!("'{}' is not a port", shorten(text)),
            "a port is a number from 1 to 65535, a range is FIRST-LAST",
        )),
    }
}

/// Decimal digits only, no sign, no leading zero.
pub(crate) fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits && (text == "0" || !text.starts_with('0')) {
        text.parse().ok()
    } else {
        None
    }
}

/// An IP protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(u8);

impl Protocol {
    /// TCP.
    pub const TCP: Protocol = Protocol(6);
    /// UDP.
    pub const UDP: Protocol = Protocol(17);
    /// ICMP for IPv4.
    pub const ICMP: Protocol = Protocol(1);
    /// ICMPv6.
    pub const ICMPV6: Protocol = Protocol(58);

    const NAMED: [(&'static str, u8); 7] = [
        ("tcp", 6),
        ("udp", 17),
        ("icmp", 1),
        ("icmpv6", 58),
        ("esp", 50),
        ("gre", 47),
        ("sctp", 132),
    ];

    /// As the IP header says it.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Whether its header has ports.
    pub fn has_ports(self) -> bool {
        self == Protocol::TCP || self == Protocol::UDP
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Refused> {
        if let Some((_, number)) = Protocol::NAMED.iter().find(|(name, _)| *name == text) {
            return Ok(Protocol(*number));
        }
        match number(text) {
            Some(value @ 1..=254) => Ok(Protocol(value as u8)),
            Some(_) | None => Err(Refused::with_hint(
                format!("'{}' is not a protocol", shorten(text)),
                "tcp, udp, icmp, icmpv6, esp, gre, sctp, or a number from 1 to 254",
            )),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Protocol::NAMED.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.write_str(name),
            None => self.0.fmt(f),
        }
    }
}

//! What policy and NAT are asked about: the first packet of a flow.

use crate::layout::{Address, SegmentIndex};
use core::net::{Ipv4Addr, Ipv6Addr};
use tombolo_wire::{Addresses, protocol};

/// The fields of a flow's first packet that rules look at. For policy: the original source and the translated destination.
#[derive(Clone, Copy, Debug)]
pub struct PolicyQuery {
    /// Ingress segment.
    pub from: SegmentIndex,
    /// Egress segment; ignored by destination NAT, which comes before the route.
    pub to: SegmentIndex,
    /// Source and destination.
    pub addresses: Addresses,
    /// IP protocol; of IPv6 the one behind the extension headers.
    pub protocol: u8,
    /// Source port; ignored for protocols without ports.
    pub source_port: u16,
    /// Destination port; of ICMP and ICMPv6 the type in the upper byte and the code in the lower; else ignored.
    pub destination_port: u16,
}

/// Protocols with ports that the gateway does not translate but policy may name (IANA).
const DCCP: u8 = 33;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;

/// Whether packets of that protocol have ports. A rule that limits ports matches no packet without them, unless it names
/// that protocol itself: then its ports are ignored.
pub(crate) const fn has_ports(number: u8) -> bool {
    matches!(number, protocol::TCP | protocol::UDP | DCCP | SCTP | UDP_LITE)
}

/// Whether packets of that protocol have a type and code, which stand in `destination_port`.
pub(crate) const fn has_type(number: u8) -> bool {
    matches!(number, protocol::ICMP | protocol::ICMPV6)
}

impl PolicyQuery {
    /// The source port, if the protocol has one.
    pub(super) fn source_port(&self) -> Option<u16> {
        has_ports(self.protocol).then_some(self.source_port)
    }

    /// The destination port, or type and code, if the protocol has such.
    pub(super) fn destination_port(&self) -> Option<u16> {
        (has_ports(self.protocol) || has_type(self.protocol)).then_some(self.destination_port)
    }

    /// 4 or 6, as rules name it.
    pub(super) fn family(&self) -> u8 {
        match self.addresses {
            Addresses::V4 { .. } => 4,
            Addresses::V6 { .. } => 6,
        }
    }

    /// Source and destination in the tables' form.
    pub(super) fn mapped(&self) -> (Address, Address) {
        match self.addresses {
            Addresses::V4 { source, destination } => {
                (Ipv4Addr::from(source).into(), Ipv4Addr::from(destination).into())
            }
            Addresses::V6 { source, destination } => {
                (Ipv6Addr::from(source).into(), Ipv6Addr::from(destination).into())
            }
        }
    }
}

//! The desired state of a gateway, validated: every reference is resolved to an id, every number is in its bounds, and no
//! two statements contradict each other. Only [`parse`](crate::parse) makes one; what builds on it does not check again.

mod ike;
mod tunnel;

pub use ike::{Ceiling, Credentials, IkeChild, IkePpk, IkeTunnel, InnerMtu, ProfileName, Remote};
pub use tunnel::{DontFragment, Dscp, ESP_UDP_PORT, Encapsulation, IKE_PORT, Keying, ManualKeys, Selector, Tunnel};

use crate::value::{AddressRange, DeviceName, InterfaceAddress, Name, PortRange, Prefix, Protocol};
use core::net::IpAddr;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(crate) u32);

        impl $name {
            /// As a subscript.
            pub fn usize(self) -> usize {
                self.0 as usize
            }
        }
    };
}

id!(/// Place of a segment in [`Gateway::segments`].
    SegmentId);
id!(/// Place of a port in [`Gateway::ports`].
    PortId);
id!(/// Place of a tunnel in [`Gateway::tunnels`].
    TunnelId);
id!(/// Place of a bundle in [`Gateway::bundles`].
    BundleId);

/// Everything an operator wants of one gateway. Lists are in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gateway {
    /// The gateway's name.
    pub name: Name,
    /// Worker threads; each serves one queue of every port.
    pub workers: u16,
    /// What state takes memory, and how much.
    pub limits: Limits,
    /// Routing domains.
    pub segments: Vec<Segment>,
    /// Devices that packets come from and go to.
    pub ports: Vec<Port>,
    /// Static routes.
    pub routes: Vec<Route>,
    /// Tunnels.
    pub tunnels: Vec<Tunnel>,
    /// Tunnels that are used as one.
    pub bundles: Vec<Bundle>,
    /// Source NAT, first match first.
    pub source_nat: Vec<SourceNat>,
    /// Destination NAT, first match first.
    pub destination_nat: Vec<DestinationNat>,
    /// Policy, first match first.
    pub policy: Vec<PolicyRule>,
    /// Accepted, but worth a second look.
    pub warnings: Vec<crate::Problem>,
}

impl Gateway {
    /// A segment of this gateway.
    pub fn segment(&self, id: SegmentId) -> &Segment {
        &self.segments[id.usize()]
    }

    /// A port of this gateway.
    pub fn port(&self, id: PortId) -> &Port {
        &self.ports[id.usize()]
    }

    /// The ids of all ports, in the order of [`ports`](Self::ports).
    pub fn port_ids(&self) -> impl Iterator<Item = PortId> + use<> {
        (0..self.ports.len() as u32).map(PortId)
    }

    /// A bundle of this gateway.
    pub fn bundle(&self, id: BundleId) -> &Bundle {
        &self.bundles[id.usize()]
    }

    /// A tunnel of this gateway.
    pub fn tunnel(&self, id: TunnelId) -> &Tunnel {
        &self.tunnels[id.usize()]
    }
}

/// How many entries the state region has room for. A change needs a restart of the dataplane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// IPv4 sessions.
    pub sessions: u32,
    /// IPv6 sessions.
    pub sessions6: u32,
    /// NAT mappings of IPv4; room for IPv6 follows from it.
    pub mappings: u32,
    /// Outside addresses of all NAT pools together.
    pub pool_addresses: u32,
    /// Tunnels.
    pub tunnels: u32,
    /// Security associations, including those that a rekey replaces.
    pub sas: u32,
    /// Hosts and gateways on the links.
    pub neighbours: u32,
    /// Most sessions that one inside host may hold through NAT, 0 = no limit.
    pub sessions_per_host: u32,
}

/// An isolated routing domain.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Segment {
    /// Its name.
    pub name: Name,
    /// Policy looks at each packet by itself; nothing is translated.
    pub stateless: bool,
    /// TCP MSS ceiling in bytes, none = from the path's MTU alone.
    pub mss_max: Option<u16>,
}

/// A device, or one VLAN on it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Port {
    /// Its name.
    pub name: Name,
    /// Kernel device.
    pub device: DeviceName,
    /// Segment of what arrives here.
    pub segment: SegmentId,
    /// 802.1Q tag, none = untagged.
    pub vlan: Option<u16>,
    /// Faces the underlay: tunnels may end here.
    pub underlay: bool,
    /// Attach the steering program in generic mode.
    pub generic: bool,
    /// The gateway's own addresses here.
    pub addresses: Vec<InterfaceAddress>,
    /// Ports and ICMP ids that NAT to the own addresses may use.
    pub nat_ports: Option<PortRange>,
    /// Largest IP packet in bytes; none = the device's.
    pub mtu: Option<u16>,
}

/// A static route.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Route {
    /// Segment whose packets it routes.
    pub segment: SegmentId,
    /// Destination.
    pub to: Prefix,
    /// Where it leads.
    pub target: RouteTarget,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteTarget {
    /// A router on the link of a port of the same segment.
    Via {
        /// The port.
        port: PortId,
        /// The router.
        address: IpAddr,
    },
    /// A tunnel of the same segment.
    Tunnel(TunnelId),
    /// A bundle of tunnels of the same segment.
    Bundle(BundleId),
    /// Another segment, where the destination is looked up again.
    Segment(SegmentId),
    /// Nowhere, in silence.
    Discard,
    /// Nowhere, and the sender is told.
    Unreachable,
}

/// Several tunnels to one peer, used together. All are keyed by IKEv2, and of one segment and profile.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bundle {
    /// Its name.
    pub name: Name,
    /// Segment of its tunnels.
    pub segment: SegmentId,
    /// 2 to 16, in the order of the file.
    pub tunnels: Vec<TunnelId>,
}

/// A source NAT rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceNat {
    /// Segment where the flow starts.
    pub from: SegmentId,
    /// Segment where it leaves.
    pub to: SegmentId,
    /// Only these sources.
    pub source: Option<Prefix>,
    /// Only these destinations.
    pub destination: Option<Prefix>,
    /// Only this protocol.
    pub protocol: Option<Protocol>,
    /// Only these destination ports.
    pub ports: PortRange,
    /// What the source becomes.
    pub address: SourceAddress,
}

/// What a source address becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceAddress {
    /// The own address of the port where the packet leaves, within that port's NAT range.
    Port,
    /// One of these addresses, with these ports.
    Range {
        /// Outside addresses.
        addresses: AddressRange,
        /// Outside ports.
        ports: PortRange,
    },
    /// It stays: an exception above a wider rule.
    Keep,
}

/// A destination NAT rule (port forward).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DestinationNat {
    /// Segment where the flow starts.
    pub from: SegmentId,
    /// Only these sources.
    pub source: Option<Prefix>,
    /// Destination to translate.
    pub to: IpAddr,
    /// Only this protocol.
    pub protocol: Option<Protocol>,
    /// Only these destination ports.
    pub ports: PortRange,
    /// New destination, same family.
    pub to_address: IpAddr,
    /// Segment in which the new destination is looked up.
    pub to_segment: SegmentId,
    /// First new destination port; none = unchanged.
    pub to_port: Option<u16>,
}

/// A policy rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyRule {
    /// Its name.
    pub name: Name,
    /// Segment where the flow starts; none = any.
    pub from: Option<SegmentId>,
    /// Segment where it leaves; none = any.
    pub to: Option<SegmentId>,
    /// Only these sources.
    pub source: Option<Prefix>,
    /// Only these destinations.
    pub destination: Option<Prefix>,
    /// Only this protocol.
    pub protocol: Option<Protocol>,
    /// Only these source ports.
    pub source_ports: PortRange,
    /// Only these destination ports (ICMP: type in the upper byte, code in the lower).
    pub ports: PortRange,
    /// What happens to the flow.
    pub action: Action,
}

/// What happens to a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Passes.
    Allow,
    /// Dropped in silence.
    Deny,
    /// Dropped, and the sender is told.
    Reject,
}

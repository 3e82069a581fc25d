//! The statements as they stand in the file: well formed each by itself, not yet checked against one another.

mod ipsec;

pub(crate) use ipsec::{RawBundle, RawChild, RawIpsecTunnel};

use crate::model::{Action, DontFragment, Dscp};
use crate::problem::{Place, Problems};
use crate::reader::{At, FromNode, Named, statement};
use crate::scalars::{
    Bounded, EncapsulationType, EspType, PacketBytes, RouteAction, SegmentMatch, SourceAddressWord, TunnelType,
};
use crate::value::{DeviceName, InterfaceAddress, Name, PortRange, Prefix, Protocol, SecretName};
use crate::yaml::{Node, Value};
use core::net::IpAddr;

/// Smallest MTU: what IPv6 asks of every link (RFC 8200 §5).
pub(crate) const MTU_MIN: u32 = 1280;
/// Largest MTU: native XDP on one-buffer frames ends at 3506 on veth, less room for a VLAN tag. 9000 needs
/// frames of several buffers.
pub(crate) const MTU_MAX: u32 = 3498;

/// MTU in bytes.
pub(crate) type Mtu = PacketBytes<MTU_MIN, MTU_MAX>;

statement! {
    /// A Tombolo gateway.
    RawGateway = "the gateway" {
        /// The gateway's name.
        gateway: required At<Name>,
        /// Worker threads; each serves one queue of every port. Default 1.
        workers: optional At<Bounded<1, 64>>,
        /// How many entries memory is reserved for.
        limits: optional RawLimits,
        /// Isolated routing domains, by name.
        segments: required Named<Name, RawSegment>,
        /// Devices that packets come from and go to, by name.
        ports: required Named<Name, RawPort>,
        /// Static routes, by segment.
        routes: optional Named<Name, Vec<RawRoute>>,
        /// Tunnels, by name.
        tunnels: optional Named<Name, RawTunnel>,
        /// Tunnels that are used as one, by name.
        bundles: optional Named<Name, RawBundle>,
        /// Address translation.
        nat: optional RawNat,
        /// Rules for flows between segments; the first that matches decides, and what none allows is denied.
        policy: optional Vec<RawPolicyRule>,
    }
}

statement! {
    /// How many entries memory is reserved for: so many always fit. What workers may hold back for a moment comes on top and is
    /// used as well: 12288 entries a table, in tables of fewer than 16384 entries three quarters of their size. A change needs a
    /// restart of the dataplane.
    RawLimits = "limits" {
        /// IPv4 sessions. Default 262144.
        sessions: optional At<Bounded<1024, 16_777_216>>,
        /// IPv6 sessions. Default 65536.
        sessions6: optional At<Bounded<1024, 16_777_216>>,
        /// NAT mappings of IPv4; inside hosts have room for a quarter as many on top, IPv6 a quarter of both. Default 131072.
        mappings: optional At<Bounded<1024, 16_777_216>>,
        /// Outside addresses of all NAT pools together, and of removed ones until their connections have ended; memory is
        /// reserved for 64 at least. Default 64.
        pool_addresses: optional At<Bounded<1, 4096>>,
        /// Tunnels. Default 64.
        tunnels: optional At<Bounded<1, 4096>>,
        /// Security associations, old ones during a rekey among them. Default: 8 for each tunnel, and 4 more for each of up to 64
        /// tunnels and each worker but the first, which has SAs of its own where the peer takes part in that (`per-worker`).
        sas: optional At<Bounded<16, 262_144>>,
        /// Hosts and gateways on the links. Default 4096.
        neighbours: optional At<Bounded<64, 65_536>>,
        /// Most sessions that one inside host may hold through NAT, 0 = no limit. Default 16384.
        sessions_per_host: optional At<Bounded<0, 16_777_216>>,
    }
}

statement! {
    /// An isolated routing domain.
    RawSegment = "a segment" {
        /// Policy looks at each packet by itself, and nothing is translated. Default false.
        stateless: optional At<bool>,
        /// TCP MSS ceiling in bytes. Default: from the path's MTU alone.
        mss_max: optional At<Bounded<536, 8940>>,
    }
}

statement! {
    /// A device, or one VLAN on it.
    RawPort = "a port" {
        /// Kernel device.
        device: required At<DeviceName>,
        /// Segment of what arrives here.
        segment: required At<Name>,
        /// 802.1Q tag. Default: untagged.
        vlan: optional At<Bounded<1, 4094>>,
        /// Tunnels may end here; clear packets for prefixes behind tunnels are refused. Default false.
        underlay: optional At<bool>,
        /// Attach the steering program in generic mode. Default false.
        generic: optional At<bool>,
        /// The gateway's own addresses, with prefix lengths.
        addresses: optional Vec<At<InterfaceAddress>>,
        /// Ports and ICMP ids that NAT to the own addresses may use, within 1024-32767 or 61000-65535.
        nat_ports: optional At<PortRange>,
        /// Largest IP packet in bytes. Default: the device's.
        mtu: optional At<Mtu>,
    }
}

statement! {
    /// A route: a destination, and one of `via`, `tunnel`, `bundle`, `segment` and `action`.
    RawRoute = "a route" {
        /// Destination.
        to: required At<Prefix>,
        /// A router on the link of one of the segment's ports.
        via: optional At<IpAddr>,
        /// The port of `via`; needed for a link-local router only.
        port: optional At<Name>,
        /// A tunnel of the segment.
        tunnel: optional At<Name>,
        /// A bundle of tunnels of the segment.
        bundle: optional At<Name>,
        /// Another segment, where the destination is looked up again.
        segment: optional At<Name>,
        /// Drop, in silence or with an ICMP error.
        action: optional At<RouteAction>,
    }
}

/// A tunnel: its type says which fields it has.
#[derive(Debug, schemars::JsonSchema)]
#[schemars(untagged)]
pub(crate) enum RawTunnel {
    Esp(Box<RawEspTunnel>),
    Ipsec(Box<RawIpsecTunnel>),
}

impl RawTunnel {
    pub(crate) fn local(&self) -> &At<IpAddr> {
        match self {
            RawTunnel::Esp(esp) => &esp.local,
            RawTunnel::Ipsec(ipsec) => &ipsec.local,
        }
    }

    pub(crate) fn remote_place(&self) -> Place {
        match self {
            RawTunnel::Esp(esp) => esp.remote.place,
            RawTunnel::Ipsec(ipsec) => ipsec.remote.place,
        }
    }
}

impl FromNode for RawTunnel {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let stated = match &node.value {
            Value::Map(entries) => entries.iter().find(|(key, _)| key.text == "type"),
            Value::Null | Value::Scalar(_) | Value::List(_) => None,
        };
        let kind = match stated {
            Some((_, word)) => At::<TunnelType>::read(word, problems)?.value,
            None => TunnelType::Esp,
        };
        match kind {
            TunnelType::Esp => RawEspTunnel::read(node, problems).map(|raw| RawTunnel::Esp(Box::new(raw))),
            TunnelType::Ipsec => RawIpsecTunnel::read(node, problems).map(|raw| RawTunnel::Ipsec(Box::new(raw))),
        }
    }
}

statement! {
    /// An ESP tunnel with manual keys.
    RawEspTunnel = "a tunnel" {
        /// Kind. Default esp.
        #[allow(dead_code, reason = "it chose this statement")]
        r#type: optional At<EspType>,
        /// Segment of what comes out.
        segment: required At<Name>,
        /// Outer source: an address of an underlay port.
        local: required At<IpAddr>,
        /// Outer destination.
        remote: required At<IpAddr>,
        /// `none` is ESP straight in IP, `udp` ESP in UDP. Default none.
        encapsulation: optional At<EncapsulationType>,
        /// UDP port at this end. Default 4500.
        local_port: optional At<Bounded<1, 65_535>>,
        /// UDP port at the peer's end. Default 4500.
        remote_port: optional At<Bounded<1, 65_535>>,
        /// File in the secrets directory, made by `tombolo sa generate`.
        keys: required At<SecretName>,
        /// What inner packets may be. Default: anything.
        selectors: optional Vec<RawSelector>,
        /// Largest inner packet in bytes. Default: computed.
        mtu: optional At<Mtu>,
        /// DF of the outer IPv4 header. Default set.
        df: optional At<DontFragment>,
        /// DSCP of the outer header. Default copy.
        dscp: optional At<Dscp>,
        /// Inbound replay window in packets, a multiple of 64; 0 = no check. Default 4096.
        replay_window: optional At<Bounded<0, 4096>>,
        /// The peer's replay window in packets. Default 4096.
        peer_window: optional At<Bounded<32, 65_535>>,
    }
}

statement! {
    /// A pair of prefixes that may talk through the tunnel.
    RawSelector = "a selector" {
        /// Our side.
        local: required At<Prefix>,
        /// The peer's side.
        remote: required At<Prefix>,
    }
}

statement! {
    /// Address translation.
    RawNat = "nat" {
        /// Rules for sources; the first that matches decides.
        source: optional Vec<RawSourceNat>,
        /// Rules for destinations; the first that matches decides.
        destination: optional Vec<RawDestinationNat>,
    }
}

statement! {
    /// A source NAT rule.
    RawSourceNat = "a source NAT rule" {
        /// Segment where the flow starts.
        from: required At<Name>,
        /// Segment where it leaves.
        to: required At<Name>,
        /// Only these sources.
        source: optional At<Prefix>,
        /// Only these destinations.
        destination: optional At<Prefix>,
        /// Only this protocol.
        protocol: optional At<Protocol>,
        /// Only these destination ports.
        port: optional At<PortRange>,
        /// What the source becomes: `port` (address of the port where it leaves), an address, a range, or `keep`.
        address: required At<SourceAddressWord>,
        /// Outside ports and ICMP ids of an address or range. Default 1024-65535.
        ports: optional At<PortRange>,
    }
}

statement! {
    /// A destination NAT rule (port forward).
    RawDestinationNat = "a destination NAT rule" {
        /// Segment where the flow starts.
        from: required At<Name>,
        /// Only these sources.
        source: optional At<Prefix>,
        /// Destination to translate.
        to: required At<IpAddr>,
        /// Only this protocol.
        protocol: optional At<Protocol>,
        /// Only these destination ports.
        port: optional At<PortRange>,
        /// New destination.
        to_address: required At<IpAddr>,
        /// Segment of the new destination. Default: the one whose port has it on its link.
        to_segment: optional At<Name>,
        /// First new destination port. Default: unchanged.
        to_port: optional At<Bounded<1, 65_535>>,
    }
}

statement! {
    /// A policy rule.
    RawPolicyRule = "a policy rule" {
        /// Its name.
        name: required At<Name>,
        /// Segment where the flow starts, or `any`. Default any.
        from: optional At<SegmentMatch>,
        /// Segment where it leaves, or `any`. Default any.
        to: optional At<SegmentMatch>,
        /// Only these sources.
        source: optional At<Prefix>,
        /// Only these destinations.
        destination: optional At<Prefix>,
        /// Only this protocol.
        protocol: optional At<Protocol>,
        /// Only these source ports.
        source_port: optional At<PortRange>,
        /// Only these destination ports.
        port: optional At<PortRange>,
        /// Only this type of ICMP message.
        icmp_type: optional At<Bounded<0, 255>>,
        /// `allow`, `deny` (in silence) or `reject` (the sender is told).
        action: required At<Action>,
    }
}

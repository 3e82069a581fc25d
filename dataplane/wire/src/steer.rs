//! The steering rule: which frames of a port the kernel gets, which the workers get, which end here.
//!
//! This is the Rust twin of `bpf/src/steer.bpf.c`; one table of packets and seeded mutations face both
//! (`bpf/tests/root_steer.rs`), so the two change together. `tombolo replay` uses the twin where no kernel runs.
//!
//! The rule in one sentence: the kernel gets only what speaks to the ingress port's own addresses (or to the link) in a
//! protocol that the kernel or `tombolod` answers; workers get everything else that could be traffic; the rest is dropped
//! and counted. Every byte of the frame is untrusted; the rule never fails, it only picks a [`Verdict`].
//!
//! What the kernel is to get of a VLAN port goes through a worker, which asks the same rule again ([`steer_known`]), takes the
//! tag off and hands it on ([`SteerPort::action`]).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

mod config;
mod quote;
mod verdict;

pub use config::{Service, SteerConfig, SteerPort, VLAN_NONE};
pub use verdict::{Action, Verdict};

pub(crate) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(crate) const ETHERTYPE_ARP: u16 = 0x0806;
pub(crate) const ETHERTYPE_VLAN: u16 = 0x8100;
pub(crate) const ETHERTYPE_SERVICE_VLAN: u16 = 0x88a8;
pub(crate) const ETHERTYPE_IPV6: u16 = 0x86dd;

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const IPV6_FRAGMENT: u8 = 44;
pub(crate) const ESP: u8 = 50;
pub(crate) const ICMPV6: u8 = 58;

pub(crate) const PORT_SSH: u16 = 22;
pub(crate) const PORT_BGP: u16 = 179;
pub(crate) const PORT_IKE: u16 = 500;
pub(crate) const PORT_IKE_NAT: u16 = 4500;

/// An IP packet as far as steering reads it.
struct Packet<'a> {
    source_family_v6: bool,
    destination: IpAddr,
    protocol: u8,
    hop_limit: u8,
    fragment: bool,
    /// From the L4 header to the end of the frame (not of the IP packet: padding is included).
    l4: &'a [u8],
}

/// Decides about `frame`, which arrived on the device `ifindex`.
pub fn steer(config: &SteerConfig, ifindex: u32, frame: &[u8]) -> Verdict {
    steer_port(config, ifindex, frame).1
}

/// As [`steer`], and the port whose counters the verdict belongs to (none for [`Verdict::DropTruncated`] and
/// [`Verdict::DropUnknownPort`]).
pub fn steer_port<'c>(config: &'c SteerConfig, ifindex: u32, frame: &[u8]) -> (Option<&'c SteerPort>, Verdict) {
    let Some((vlan, ethertype, l3)) = link(frame) else {
        return (None, Verdict::DropTruncated);
    };
    let Some(port) = config.port(ifindex, vlan) else {
        return (None, Verdict::DropUnknownPort);
    };
    (Some(port), at_port(config, port, frame, ethertype, l3))
}

/// As [`steer`], for a frame whose port is known: whether `frame` bears that port's tag is not looked at.
pub fn steer_known(config: &SteerConfig, port: &SteerPort, frame: &[u8]) -> Verdict {
    match link(frame) {
        Some((_, ethertype, l3)) => at_port(config, port, frame, ethertype, l3),
        None => Verdict::DropTruncated,
    }
}

/// `frame` is at least as long as its link header.
fn at_port(config: &SteerConfig, port: &SteerPort, frame: &[u8], ethertype: u16, l3: &[u8]) -> Verdict {
    let group = frame[0] & 1 == 1;
    if !group && frame[..6] != port.mac {
        return Verdict::DropWrongMac;
    }
    let parsed = match ethertype {
        ETHERTYPE_ARP => return Verdict::PassArp,
        ETHERTYPE_IPV4 => parse_v4(l3),
        ETHERTYPE_IPV6 => parse_v6(l3),
        _ => return Verdict::DropEthertype,
    };
    match parsed {
        None if group => Verdict::DropGroup,
        None => Verdict::WorkMalformed,
        Some(packet) if group || is_group(packet.destination) => to_group(&packet),
        Some(packet) if !is_own(port, packet.destination) => Verdict::WorkTransit,
        Some(packet) if packet.fragment => Verdict::WorkFragment,
        Some(packet) => to_own(config, port, &packet),
    }
}

/// VLAN id (0 = none, also for priority tags), ethertype, and the bytes behind the link header.
fn link(frame: &[u8]) -> Option<(u16, u16, &[u8])> {
    let ethertype = be16(frame, 12)?;
    if ethertype != ETHERTYPE_VLAN && ethertype != ETHERTYPE_SERVICE_VLAN {
        return Some((VLAN_NONE, ethertype, &frame[14..]));
    }
    let (tag, ethertype) = (be16(frame, 14)?, be16(frame, 16)?);
    Some((tag & 0x0fff, ethertype, &frame[18..]))
}

fn parse_v4(l3: &[u8]) -> Option<Packet<'_>> {
    let header: &[u8; 20] = l3.first_chunk()?;
    let header_length = usize::from(header[0] & 0x0f) * 4;
    let total_length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] >> 4 != 4 || header_length < 20 || total_length < header_length || total_length > l3.len() {
        return None;
    }
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
    let destination = Ipv4Addr::new(header[16], header[17], header[18], header[19]);
    Some(Packet {
        source_family_v6: false,
        destination: destination.into(),
        protocol: header[9],
        hop_limit: header[8],
        fragment,
        l4: &l3[header_length..],
    })
}

/// Extension headers are not walked: what hides behind one goes to the workers, which walk the chain.
fn parse_v6(l3: &[u8]) -> Option<Packet<'_>> {
    let header: &[u8; 40] = l3.first_chunk()?;
    let payload_length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if header[0] >> 4 != 6 || 40 + payload_length > l3.len() {
        return None;
    }
    let destination: [u8; 16] = *header[24..].first_chunk()?;
    Some(Packet {
        source_family_v6: true,
        destination: Ipv6Addr::from(destination).into(),
        protocol: header[6],
        hop_limit: header[7],
        fragment: header[6] == IPV6_FRAGMENT,
        l4: &l3[40..],
    })
}

fn is_group(destination: IpAddr) -> bool {
    match destination {
        IpAddr::V4(v4) => v4.is_multicast() || v4 == Ipv4Addr::BROADCAST,
        IpAddr::V6(v6) => v6.is_multicast(),
    }
}

/// A link-local IPv6 destination in a frame for our MAC can be nobody else's: routers do not forward it.
fn is_own(port: &SteerPort, destination: IpAddr) -> bool {
    match destination {
        IpAddr::V4(_) => port.own_addresses.contains(&destination),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || port.own_addresses.contains(&destination),
    }
}

/// Broadcast and multicast: only what the link itself needs.
fn to_group(packet: &Packet<'_>) -> Verdict {
    if packet.fragment {
        return Verdict::DropGroup;
    }
    match packet.protocol {
        UDP if packet.l4.len() >= 8 && is_dhcp(packet) => Verdict::PassDhcp,
        ICMPV6 if is_neighbour_discovery(packet) => Verdict::PassNeighbour,
        _ => Verdict::DropGroup,
    }
}

fn is_dhcp(packet: &Packet<'_>) -> bool {
    let port = be16(packet.l4, 2);
    match packet.source_family_v6 {
        false => matches!(port, Some(67 | 68)),
        true => matches!(port, Some(546 | 547)),
    }
}

/// RFC 4861 §6.1, §7.1, §8.1: hop limit 255 or it came through a router.
fn is_neighbour_discovery(packet: &Packet<'_>) -> bool {
    packet.source_family_v6 && packet.hop_limit == 255 && packet.l4.len() >= 8 && (133..=137).contains(&packet.l4[0])
}

fn to_own(config: &SteerConfig, port: &SteerPort, packet: &Packet<'_>) -> Verdict {
    match (packet.protocol, packet.source_family_v6) {
        (ESP, _) => Verdict::WorkEsp,
        (UDP, _) => own_udp(config, port, packet),
        (TCP, _) => own_tcp(config, port, packet),
        (ICMP, false) | (ICMPV6, true) => own_icmp(config, port, packet),
        _ => Verdict::WorkOwn,
    }
}

fn own_udp(config: &SteerConfig, port: &SteerPort, packet: &Packet<'_>) -> Verdict {
    let Some((header, payload)) = packet.l4.split_first_chunk::<8>() else {
        return Verdict::WorkMalformed;
    };
    let destination_port = u16::from_be_bytes([header[2], header[3]]);
    let payload_length = usize::from(u16::from_be_bytes([header[4], header[5]])).saturating_sub(8);
    if is_dhcp(packet) {
        return Verdict::PassDhcp;
    }
    if destination_port == PORT_IKE {
        return Verdict::PassIke;
    }
    if destination_port == PORT_IKE_NAT {
        return own_udp_4500(payload, payload_length);
    }
    if config.wireguard_ports.contains(&destination_port) {
        return match payload.first() {
            Some(1..=3) if payload_length >= 4 => Verdict::PassWireGuard,
            _ => Verdict::WorkWireGuard,
        };
    }
    by_port(config, port, UDP, destination_port)
}

/// RFC 3948 §2.2 and §2.3: four zero bytes mark IKE, one 0xFF is a keepalive, the rest is ESP.
fn own_udp_4500(payload: &[u8], payload_length: usize) -> Verdict {
    match payload {
        [0xff, ..] if payload_length == 1 => Verdict::DropKeepalive,
        [0, 0, 0, 0, ..] if payload_length >= 4 => Verdict::PassIke,
        _ => Verdict::WorkEspUdp,
    }
}

fn own_tcp(config: &SteerConfig, port: &SteerPort, packet: &Packet<'_>) -> Verdict {
    let Some(header) = packet.l4.first_chunk::<20>() else {
        return Verdict::WorkMalformed;
    };
    match u16::from_be_bytes([header[2], header[3]]) {
        PORT_SSH => Verdict::PassSsh,
        PORT_BGP => Verdict::PassBgp,
        destination_port => by_port(config, port, TCP, destination_port),
    }
}

fn by_port(config: &SteerConfig, port: &SteerPort, protocol: u8, destination_port: u16) -> Verdict {
    if config.services.contains(&Service {
        protocol,
        port: destination_port,
    }) {
        Verdict::PassService
    } else if port.is_nat_port(destination_port) {
        Verdict::WorkNat
    } else if (config.host_ports.0..=config.host_ports.1).contains(&destination_port) {
        Verdict::PassHostReply
    } else {
        Verdict::WorkOwn
    }
}

fn own_icmp(config: &SteerConfig, port: &SteerPort, packet: &Packet<'_>) -> Verdict {
    let Some((header, quoted)) = packet.l4.split_first_chunk::<8>() else {
        return Verdict::WorkMalformed;
    };
    let identifier = u16::from_be_bytes([header[4], header[5]]);
    match (header[0], packet.source_family_v6) {
        (8, false) | (128, true) => Verdict::PassEcho,
        (0, false) | (129, true) if port.is_nat_port(identifier) => Verdict::WorkNat,
        (0, false) | (129, true) => Verdict::PassHostReply,
        (3 | 11 | 12, false) | (1..=4, true) => quote::error(config, port, packet.source_family_v6, quoted),
        (133..=137, true) if is_neighbour_discovery(packet) => Verdict::PassNeighbour,
        _ => Verdict::WorkOwn,
    }
}

pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Must not panic, whatever the bytes are.
#[doc(hidden)]
pub fn fuzz_steer(data: &[u8]) {
    let config = config::example();
    for ifindex in [1, 2] {
        let _ = steer(&config, ifindex, data);
    }
}

#[cfg(test)]
mod tests;

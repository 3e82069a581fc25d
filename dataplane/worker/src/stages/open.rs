//! `open`: what came through a tunnel is checked, decrypted in place and goes on as the inner packet, in the tunnel's
//! segment. The outer packet is untrusted until its ICV was verified; the inner one until its headers were parsed and its
//! addresses compared with the SA's selectors (RFC 4301 §5.2).

use crate::address;
use crate::batch::{Batch, Entry, Packet};
use crate::gateway::Gateway;
use crate::keys::KeyCache;
use crate::stages::parse;
use tombolo_packet_io::PacketIo;
use tombolo_tables::fate::{DropReason, Fate, PuntReason};
use tombolo_tables::layout::{
    Address, PortRecord, SaRecord, SegmentIndex, SelectorRecord, TunnelIndex, encapsulation, port_flag, sa_flag,
};
use tombolo_tables::view::Tables;
use tombolo_tunnel::esp::{self, EspHeader, OpenError, UdpPayload, classify_udp};
use tombolo_tunnel::replay::{Check, Window};
use tombolo_wire::{Fragment, Headers, L4, ecn, edit, parse_ip, protocol};

const LINK_LENGTH: usize = 14;
const UDP_HEADER: usize = 8;
/// UDP port of encapsulated ESP (RFC 3948 §2.1).
const UDP_ESP_PORT: u16 = 4500;

/// Opens packets.
#[derive(Default)]
pub struct Open;

/// Where ESP begins in the frame, and its SPI.
struct Sealed {
    at: usize,
    spi: u32,
}

impl Open {
    /// Opens every travelling packet that ends a tunnel here.
    pub fn run<I: PacketIo>(&mut self, gateway: &mut Gateway<'_, I>, keys: &mut KeyCache, batch: &mut Batch) {
        for packet in batch.travelling() {
            let underlay = gateway
                .tables
                .port(packet.ingress)
                .is_some_and(|port: &PortRecord| port.flags & port_flag::UNDERLAY != 0);
            if !underlay || packet.entry != Entry::Received {
                continue;
            }
            let (_, local) = address::of(&packet.headers.addresses);
            match find(packet, |address| gateway.tables.is_own(packet.segment, address), local) {
                Ok(None) => {}
                Ok(Some(sealed)) => {
                    if let Err(reason) = open(gateway, keys, packet, &sealed, local) {
                        packet.drop(reason);
                    }
                }
                Err(fate) => packet.fate = Some(fate),
            }
        }
    }
}

/// Whether the packet is ESP, bare or in UDP, for one of our own addresses.
#[inline]
fn find(packet: &Packet, is_own: impl Fn(Address) -> bool, local: Address) -> Result<Option<Sealed>, Fate> {
    let headers = &packet.headers;
    let l4 = usize::from(headers.l4);
    match headers.l4_kind {
        L4::Esp { spi } if is_own(local) => match headers.fragment {
            Fragment::None => Ok(Some(Sealed { at: l4, spi })),
            Fragment::First | Fragment::Later => Err(Fate::Drop(DropReason::OuterFragment)),
        },
        L4::Udp if headers.destination_port == UDP_ESP_PORT && is_own(local) => {
            if headers.fragment != Fragment::None {
                return Err(Fate::Drop(DropReason::OuterFragment));
            }
            let payload = packet
                .bytes()
                .get(l4 + UDP_HEADER..usize::from(headers.end))
                .unwrap_or(&[]);
            match classify_udp(payload) {
                UdpPayload::Keepalive => Err(Fate::Drop(DropReason::KeepaliveConsumed)),
                UdpPayload::Ike => Err(Fate::Punt(PuntReason::Protocol)),
                UdpPayload::Malformed => Err(Fate::Drop(DropReason::EspTooShort)),
                UdpPayload::Esp => match EspHeader::parse(payload) {
                    Some(header) => Ok(Some(Sealed {
                        at: l4 + UDP_HEADER,
                        spi: header.spi,
                    })),
                    None => Err(Fate::Drop(DropReason::EspTooShort)),
                },
            }
        }
        L4::Unseen if matches!(headers.protocol, protocol::ESP | protocol::UDP) && is_own(local) => {
            Err(Fate::Drop(DropReason::OuterFragment))
        }
        L4::Tcp { .. }
        | L4::Udp
        | L4::Echo { .. }
        | L4::IcmpError
        | L4::IcmpOther
        | L4::Esp { .. }
        | L4::Other
        | L4::Unseen => Ok(None),
    }
}

fn open<I: PacketIo>(
    gateway: &mut Gateway<'_, I>,
    keys: &mut KeyCache,
    packet: &mut Packet,
    sealed: &Sealed,
    local: Address,
) -> Result<(), DropReason> {
    let tables = gateway.tables;
    let index = tables
        .find_inbound_sa(sealed.spi, local)
        .ok_or(DropReason::EspUnknownSpi)?;
    let sa = tables.sa(index).ok_or(DropReason::EspUnknownSpi)?;
    let tunnel = tables.tunnel(TunnelIndex(sa.tunnel)).ok_or(DropReason::EspUnknownSpi)?;
    let in_udp = sealed.at != usize::from(packet.headers.l4);
    if in_udp != (tunnel.encapsulation == encapsulation::ESP_UDP) {
        return Err(DropReason::EspUnknownSpi);
    }
    let expanded = keys.expanded(index, sa).ok_or(DropReason::EspUnknownSpi)?;
    let outer = packet.headers;
    let esp = sealed.at..usize::from(outer.end);
    let window = gateway.state.window(index, sa);
    let sequence = fresh_sequence(window, sa, packet.bytes(), sealed.at)?;
    let frame = packet.frame.as_mut().ok_or(DropReason::EspTooShort)?;
    let esn = sa.flags & sa_flag::ESN != 0;
    let opened = esp::open(
        expanded,
        frame.packet_mut(),
        esp,
        LINK_LENGTH,
        (sequence >> 32) as u32,
        esn,
    );
    if opened.as_ref().err().is_none_or(|error| error.authentic())
        && !window.is_none_or(|window| window.accept(sequence))
    {
        return Err(DropReason::EspReplay);
    }
    let opened = opened.map_err(reason)?;
    frame.set_len(opened.inner.end);
    let mut inner = parse_ip(frame.packet(), LINK_LENGTH).map_err(parse::reason)?;
    if inner.addresses.destination_is_multicast() || inner.addresses.is_link_local_v6() {
        return Err(DropReason::AddressInvalid);
    }
    let tos = ecn::decapsulate(inner.tos, outer.tos).ok_or(DropReason::EcnNotCapable)?;
    if tos != inner.tos {
        edit::write_tos(frame.packet_mut(), &inner, tos);
        inner.tos = tos;
    }
    check_selectors(tables, sa, &inner)?;
    packet.headers = inner;
    packet.segment = SegmentIndex(tunnel.segment);
    packet.tunnel = Some(TunnelIndex(sa.tunnel));
    gateway
        .state
        .count_sa(gateway.worker, index, packet.ip_length(), gateway.now);
    Ok(())
}

/// Reads the sequence number and refuses what the window has seen, before any decryption (RFC 4303 §3.4.3).
#[inline]
fn fresh_sequence(window: Option<Window<'_>>, sa: &SaRecord, bytes: &[u8], esp_at: usize) -> Result<u64, DropReason> {
    let header = bytes
        .get(esp_at..)
        .and_then(EspHeader::parse)
        .ok_or(DropReason::EspTooShort)?;
    let Some(window) = window else {
        return Ok(u64::from(header.sequence_low));
    };
    let high = if sa.flags & sa_flag::ESN == 0 {
        0
    } else {
        window.esn_high(header.sequence_low).ok_or(DropReason::EspReplay)?
    };
    let sequence = (u64::from(high) << 32) | u64::from(header.sequence_low);
    match window.check(sequence) {
        Check::Fresh => Ok(sequence),
        Check::Seen | Check::TooOld => Err(DropReason::EspReplay),
    }
}

fn check_selectors(tables: Tables<'_>, sa: &SaRecord, inner: &Headers) -> Result<(), DropReason> {
    let (source, destination) = address::of(&inner.addresses);
    let fits = |selector: &SelectorRecord| {
        (selector.remote_first..=selector.remote_last).contains(&source)
            && (selector.local_first..=selector.local_last).contains(&destination)
    };
    if tables.selectors(sa).iter().any(fits) {
        Ok(())
    } else {
        Err(DropReason::EspSelectors)
    }
}

fn reason(error: OpenError) -> DropReason {
    match error {
        OpenError::TooShort => DropReason::EspTooShort,
        OpenError::Auth => DropReason::EspAuth,
        OpenError::Padding | OpenError::NextHeader => DropReason::EspPadding,
        OpenError::Dummy => DropReason::EspDummy,
    }
}

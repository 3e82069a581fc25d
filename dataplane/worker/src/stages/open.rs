//! `open`: what came through a tunnel is checked, decrypted in place and goes on as the inner packet, in the tunnel's
//! segment. The outer packet is untrusted until its ICV was verified; the inner one until its headers were parsed and its
//! addresses compared with the SA's selectors (RFC 4301 §5.2).

use crate::address;
use crate::batch::{Batch, Entry, Packet};
use crate::gateway::Gateway;
use crate::keys::KeyCache;
use crate::stages::outbound::far_end;
use crate::stages::parse;
use tombolo_packet_io::{Frame, PacketIo};
use tombolo_tables::fate::{DropReason, Fate, PuntReason};
use tombolo_tables::layout::{
    Address, PortRecord, SaIndex, SaRecord, SegmentIndex, SelectorRecord, TunnelIndex, TunnelRecord, encapsulation,
    port_flag, sa_flag, tunnel_flag,
};
use tombolo_tables::region_prefetch::prefetch_to_write;
use tombolo_tables::view::Tables;
use tombolo_tunnel::SaKeys;
use tombolo_tunnel::endpoint::Seen;
use tombolo_tunnel::esp::{self, EspHeader, OpenError, UdpPayload, classify_udp};
use tombolo_tunnel::replay::{Check, Glance};
use tombolo_wire::{Fragment, Headers, L4, ecn, edit, parse_ip, protocol};

const LINK_LENGTH: usize = 14;
const UDP_HEADER: usize = 8;
/// The ECN bits of an outer TOS byte: without any, the inner one stays as it is (RFC 6040 figure 4).
const ECN: u8 = 0b11;
/// UDP port of encapsulated ESP (RFC 3948 §2.1).
pub(crate) const UDP_ESP_PORT: u16 = 4500;

/// Opens packets.
#[derive(Default)]
pub struct Open;

/// Where ESP begins in the frame, and its SPI.
pub(crate) struct Sealed {
    /// Offset in the frame.
    pub(crate) at: usize,
    /// SPI.
    pub(crate) spi: u32,
}

impl Open {
    /// Opens every travelling packet that ends a tunnel here.
    pub fn run<I: PacketIo>(&mut self, gateway: &mut Gateway<'_, I>, keys: &mut KeyCache, batch: &mut Batch) {
        for packet in batch.travelling() {
            let underlay = gateway
                .tables
                .port(packet.ingress)
                .is_some_and(|port: &PortRecord| port.flags & port_flag::UNDERLAY != 0);
            if !underlay || packet.entry != Entry::Received || packet.tunnel.is_some() {
                continue;
            }
            match find(gateway.tables, packet.segment, &packet.headers, packet.bytes()) {
                Ok(None) => {}
                Ok(Some(sealed)) => open_packet(gateway, keys, packet, &sealed),
                Err(fate) => packet.fate = Some(fate),
            }
        }
    }
}

/// Whether the packet is ESP, bare or in UDP, for one of our own addresses.
#[inline]
pub(crate) fn find(
    tables: &Tables<'_>,
    segment: SegmentIndex,
    headers: &Headers,
    bytes: &[u8],
) -> Result<Option<Sealed>, Fate> {
    let (_, local) = address::of(&headers.addresses);
    let is_own = |address| tables.is_own(segment, address);
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
            let payload = bytes.get(l4 + UDP_HEADER..usize::from(headers.end)).unwrap_or(&[]);
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

fn open_packet<I: PacketIo>(gateway: &mut Gateway<'_, I>, keys: &mut KeyCache, packet: &mut Packet, sealed: &Sealed) {
    let outer = packet.headers;
    let Some(frame) = packet.frame.as_mut() else { return };
    let opened = match OpenFrom::new(gateway, keys, &outer, sealed) {
        Ok(from) => from.open(gateway, frame, &outer, sealed.at).and_then(|()| {
            let inner = from.inner(gateway.tables, frame, outer.tos)?;
            from.count(gateway, 1, inner.ip_len());
            Ok((inner, from.segment(), from.tunnel_index()))
        }),
        Err(reason) => Err(reason),
    };
    match opened {
        Ok((inner, segment, tunnel)) => {
            packet.headers = inner;
            packet.segment = segment;
            packet.tunnel = Some(tunnel);
        }
        Err(reason) => {
            gateway.not_opened(&outer, sealed.spi, reason);
            packet.drop(reason);
        }
    }
}

/// An inbound SA, and all that it takes to open its packets.
pub(crate) struct OpenFrom<'a> {
    index: SaIndex,
    sa: &'a SaRecord,
    tunnel: &'a TunnelRecord,
    keys: &'a SaKeys,
    window: Option<Glance<'a>>,
    /// First and last IPv4 address of the peer's side and of ours, of the first selector that has any.
    selector4: [u32; 4],
}

/// No IPv4 address lies in it.
const NO_SELECTOR4: [u32; 4] = [1, 0, 1, 0];

impl<'a> OpenFrom<'a> {
    /// The SA of a packet with these outer headers.
    pub(crate) fn new<I: PacketIo>(
        gateway: &Gateway<'a, I>,
        keys: &'a mut KeyCache,
        outer: &Headers,
        sealed: &Sealed,
    ) -> Result<Self, DropReason> {
        let tables = gateway.tables;
        let (_, local) = address::of(&outer.addresses);
        let index = tables
            .find_inbound_sa(sealed.spi, local)
            .ok_or(DropReason::EspUnknownSpi)?;
        let sa = tables.sa(index).ok_or(DropReason::EspUnknownSpi)?;
        let tunnel = tables.tunnel(TunnelIndex(sa.tunnel)).ok_or(DropReason::EspUnknownSpi)?;
        let in_udp = sealed.at != usize::from(outer.l4);
        // RFC 7296 §2.23: who negotiated takes both at any time, whatever it sends itself.
        if sa.flags & sa_flag::NEGOTIATED == 0 && in_udp != (tunnel.encapsulation == encapsulation::ESP_UDP) {
            return Err(DropReason::EspUnknownSpi);
        }
        Ok(OpenFrom {
            index,
            sa,
            tunnel,
            keys: keys.expanded(index, sa).ok_or(DropReason::EspUnknownSpi)?,
            window: gateway.state.window(index, sa).map(|window| window.glance()),
            selector4: tables.selectors(sa).iter().find_map(selector4).unwrap_or(NO_SELECTOR4),
        })
    }

    /// The segment of what comes out.
    #[inline]
    pub(crate) fn segment(&self) -> SegmentIndex {
        SegmentIndex(self.tunnel.segment)
    }

    /// The tunnel.
    #[inline]
    pub(crate) fn tunnel_index(&self) -> TunnelIndex {
        TunnelIndex(self.sa.tunnel)
    }

    /// Whether the tunnel's packets go where the last authentic one came from.
    #[inline]
    pub(crate) fn follows(&self) -> bool {
        self.tunnel.flags & tunnel_flag::FOLLOWS != 0
    }

    /// Whether an authentic packet was sent after all that had come before this batch. A late one may have come by an old way.
    #[inline]
    pub(crate) fn is_ahead(&self, sequence: u64) -> bool {
        self.window.is_some_and(|glance| sequence > glance.highest())
    }

    /// An authentic packet came from there (RFC 7296 §2.23).
    pub(crate) fn follow<I: PacketIo>(&self, gateway: &Gateway<'_, I>, from: Address, port: u16) {
        let at = self.tunnel_index();
        if port != 0
            && far_end(gateway, at, self.tunnel) != (from, port)
            && let Some(endpoint) = gateway.state.endpoint(at)
        {
            endpoint.write(Some(Seen { address: from.0, port }));
        }
    }

    /// Opens the ESP packet at `at` of the frame: the inner packet, authentic and not seen before, then lies behind the link header.
    #[inline]
    pub(crate) fn open<I: PacketIo>(
        &self,
        gateway: &Gateway<'_, I>,
        frame: &mut Frame,
        outer: &Headers,
        at: usize,
    ) -> Result<(), DropReason> {
        let sequence = self.decrypt(frame, at, outer.end.into())?;
        if self.accept_all(gateway, &[sequence]) != 0 {
            if self.follows() && self.is_ahead(sequence) {
                self.follow(gateway, address::of(&outer.addresses).0, outer.source_port);
            }
            strip(frame)
        } else {
            Err(DropReason::EspReplay)
        }
    }

    /// Which of these numbers of authentic packets were not seen before: bit `i` for number `i` of at most 64. They are booked as the
    /// peer's sign of life, whatever is in them.
    #[inline]
    pub(crate) fn accept_all<I: PacketIo>(&self, gateway: &Gateway<'_, I>, sequences: &[u64]) -> u64 {
        let all = u64::MAX >> (64 - sequences.len().clamp(1, 64));
        let Some(glance) = self.window else {
            self.count_authentic(gateway, sequences, all);
            return all;
        };
        let fresh = glance.window().accept_all(sequences);
        if fresh != 0 {
            self.count_authentic(gateway, sequences, fresh);
            // Another worker's packets since the glance are not seen: with one queue for an SA there are none.
            let late = fresh & late(glance.highest(), sequences);
            if late != 0 {
                self.count_late(gateway, glance.highest(), sequences, late);
            }
        }
        fresh
    }

    #[inline(always)]
    fn count_authentic<I: PacketIo>(&self, gateway: &Gateway<'_, I>, sequences: &[u64], fresh: u64) {
        if let Some(first) = sequences.get(fresh.trailing_zeros() as usize) {
            let count = u64::from(fresh.count_ones());
            gateway
                .state
                .count_sa_authentic(gateway.worker, self.index, count, *first, gateway.now);
        }
    }

    #[cold]
    fn count_late<I: PacketIo>(&self, gateway: &Gateway<'_, I>, highest: u64, sequences: &[u64], late: u64) {
        let mut top = highest;
        for (number, sequence) in sequences.iter().enumerate() {
            if late >> number & 1 == 1 {
                gateway
                    .state
                    .count_sa_late(gateway.worker, self.index, top.saturating_sub(*sequence));
            }
            top = top.max(*sequence);
        }
    }

    /// Asks for what [`accept_all`](Self::accept_all) will write for this number: other workers write it, too.
    #[inline]
    pub(crate) fn ask_window(&self, sequence: u64) {
        for word in self.window.iter().flat_map(|glance| glance.words(sequence)) {
            prefetch_to_write(word);
        }
    }

    /// As [`open`](Self::open), but whether the packet was seen before is still to be asked, by the number that is returned, and then the
    /// trailer to be [stripped](strip).
    #[inline(always)]
    pub(crate) fn decrypt(&self, frame: &mut Frame, at: usize, end: usize) -> Result<u64, DropReason> {
        let esn = self.sa.flags & sa_flag::ESN != 0;
        let sequence = fresh_sequence(self.window, esn, frame.packet(), at)?;
        let decrypted = esp::decrypt(self.keys, frame.packet_mut(), at..end, LINK_LENGTH, sequence, esn);
        frame.set_len(LINK_LENGTH + decrypted.map_err(reason)?);
        Ok(sequence)
    }

    /// Checks the inner packet of an opened frame: headers, ECN of an outer packet with `tos`, selectors.
    pub(crate) fn inner(&self, tables: &Tables<'_>, frame: &mut Frame, tos: u8) -> Result<Headers, DropReason> {
        let mut inner = parse_ip(frame.packet(), LINK_LENGTH).map_err(parse::reason)?;
        if inner.addresses.destination_is_multicast() || inner.addresses.is_link_local_v6() {
            return Err(DropReason::AddressInvalid);
        }
        let tos = ecn::decapsulate(inner.tos, tos).ok_or(DropReason::EcnNotCapable)?;
        if tos != inner.tos {
            edit::write_tos(frame.packet_mut(), &inner, tos);
            inner.tos = tos;
        }
        check_selectors(tables, self.sa, &inner)?;
        Ok(inner)
    }

    /// Whether a plain IPv4 packet with these addresses and TOS passes all checks of [`OpenFrom::inner`] as it is. False is no
    /// verdict.
    #[inline(always)]
    pub(crate) fn passes(&self, addresses: u64, inner_tos: u8, tos: u8) -> bool {
        let (remote, local) = ((addresses >> 32) as u32, addresses as u32);
        let [remote_first, remote_last, local_first, local_last] = self.selector4;
        (remote_first <= remote)
            & (remote <= remote_last)
            & (local_first <= local)
            & (local <= local_last)
            & (tos & ECN == 0 || ecn::decapsulate(inner_tos, tos) == Some(inner_tos))
    }

    /// Books inner packets, `bytes` bytes together, on the SA.
    pub(crate) fn count<I: PacketIo>(&self, gateway: &Gateway<'_, I>, packets: usize, bytes: usize) {
        gateway
            .state
            .count_sa_packets(gateway.worker, self.index, packets, bytes, gateway.now);
    }
}

/// Which of these numbers follow a higher one, or lie below the highest that came before them all: a bit each.
#[inline(always)]
fn late(highest: u64, sequences: &[u64]) -> u64 {
    let (mut late, mut top) = (0, highest);
    for (number, sequence) in sequences.iter().enumerate() {
        late |= u64::from(*sequence < top) << number;
        top = top.max(*sequence);
    }
    late
}

fn selector4(selector: &SelectorRecord) -> Option<[u32; 4]> {
    let ends = [
        selector.remote_first,
        selector.remote_last,
        selector.local_first,
        selector.local_last,
    ];
    let all_v4 = ends.iter().all(|end| end.is_v4());
    all_v4.then(|| ends.map(|end| u32::from_be_bytes(end.v4_bytes())))
}

/// Leaves of a decrypted frame the inner packet: what is behind it was the peer's to add.
#[inline(always)]
pub(crate) fn strip(frame: &mut Frame) -> Result<(), DropReason> {
    let plaintext = frame.packet().get(LINK_LENGTH..).unwrap_or(&[]);
    let (inner, _) = esp::strip_trailer(plaintext).map_err(reason)?;
    frame.set_len(LINK_LENGTH + inner);
    Ok(())
}

/// Reads the sequence number and refuses what the window has seen, before any decryption (RFC 4303 §3.4.3).
#[inline(always)]
fn fresh_sequence(window: Option<Glance<'_>>, esn: bool, bytes: &[u8], esp_at: usize) -> Result<u64, DropReason> {
    let header = bytes
        .get(esp_at..)
        .and_then(EspHeader::parse)
        .ok_or(DropReason::EspTooShort)?;
    let Some(window) = window else {
        return Ok(u64::from(header.sequence_low));
    };
    let high = if esn {
        window.esn_high(header.sequence_low).ok_or(DropReason::EspReplay)?
    } else {
        0
    };
    let sequence = (u64::from(high) << 32) | u64::from(header.sequence_low);
    match window.check(sequence) {
        Check::Fresh => Ok(sequence),
        Check::Seen | Check::TooOld => Err(DropReason::EspReplay),
    }
}

fn check_selectors(tables: &Tables<'_>, sa: &SaRecord, inner: &Headers) -> Result<(), DropReason> {
    let (source, destination) = address::of(&inner.addresses);
    let fits = |selector: &SelectorRecord| {
        // Any IPv6 address is between :: and its last, an IPv4 one in its mapped form, too.
        selector.remote_first.is_v4() == source.is_v4()
            && (selector.remote_first..=selector.remote_last).contains(&source)
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

//! `parse`: finds and checks the headers. Everything in the frame is untrusted.

use crate::batch::{Batch, Entry, Exit, Packet, Translation};
use crate::gateway::Gateway;
use crate::stages::vlan;
use tombolo_packet_io::{Frame, FrameBatch, PacketIo, PortSlot};
use tombolo_tables::fate::{DropReason, Fate, PuntReason};
use tombolo_tables::layout::{PortIndex, PortRecord, SegmentIndex};
use tombolo_tables::region_prefetch::prefetch;
use tombolo_wire::{Headers, ParseError, ethertype, parse_ip, parse_link};

/// Length of an untagged Ethernet header.
const LINK_LENGTH: usize = 14;

/// Turns frames into packets.
#[derive(Default)]
pub struct Parse;

impl Parse {
    /// Parses every frame of `frames`, which came in on `slot`; what is no packet meets its fate here.
    pub fn run<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        slot: PortSlot,
        entry: Entry,
        frames: &mut FrameBatch,
        batch: &mut Batch,
    ) {
        // A frame comes cold: all of them on their way before the first is read.
        for frame in frames.iter() {
            if let Some(first) = frame.packet().first() {
                prefetch(first);
            }
        }
        for mut frame in frames.drain() {
            let bytes = frame.len();
            match read(gateway, slot, entry, &mut frame) {
                Ok((port, parsed)) => {
                    gateway.books.enter(port, entry, bytes);
                    let packet = parsed.packet(frame, port, entry);
                    if let Err(packet) = batch.push(packet) {
                        gateway.settle(packet, Fate::Drop(DropReason::NoFrame));
                    }
                }
                Err((port, fate)) => {
                    gateway.books.enter(port, entry, bytes);
                    // Nothing is punted here but what the steering rule means for a VLAN port's link.
                    let slot = gateway.ports.taps(port).map_or(slot, |vlan| vlan.link);
                    gateway.settle_frame(frame, port, slot, fate);
                }
            }
        }
    }
}

struct Parsed {
    headers: Headers,
    segment: SegmentIndex,
    station: [u8; 6],
    /// With the port's TAP.
    slot: PortSlot,
}

impl Parsed {
    #[inline]
    fn packet(self, frame: Frame, ingress: PortIndex, entry: Entry) -> Packet {
        Packet {
            frame: Some(frame),
            ingress,
            slot: self.slot,
            entry,
            segment: self.segment,
            tunnel: None,
            station: self.station,
            headers: self.headers,
            exit: Exit::Undecided,
            translation: Translation::None,
            mss: 0,
            fate: None,
        }
    }
}

#[inline]
fn read<I: PacketIo>(
    gateway: &Gateway<'_, I>,
    slot: PortSlot,
    entry: Entry,
    frame: &mut Frame,
) -> Result<(PortIndex, Parsed), (PortIndex, Fate)> {
    let untagged = gateway.ports.port(slot, 0).unwrap_or(PortIndex(0));
    let link = parse_link(frame.packet()).map_err(|error| (untagged, Fate::Drop(reason(error))))?;
    let vlan = link.vlan.map_or(0, |tag| tag & 0x0fff);
    let Some(port) = gateway.ports.port(slot, vlan) else {
        return Err((untagged, Fate::Drop(DropReason::NotIp)));
    };
    let Some(record) = gateway.tables.port(port) else {
        return Err((port, Fate::Drop(DropReason::PortDown)));
    };
    let mut slot = slot;
    if vlan != 0 && entry == Entry::Received {
        if vlan::is_for_kernel(gateway, port, frame.packet()) {
            untag(frame, usize::from(link.l3));
            return Err((port, Fate::Punt(PuntReason::Protocol)));
        }
        slot = gateway.ports.tap(port).unwrap_or(slot);
    }
    // The kernel writes whatever it likes as the destination on a TAP, which has no neighbours.
    if entry == Entry::Received && !for_us(record, &link.destination_mac) {
        return Err((port, Fate::Drop(DropReason::WrongMac)));
    }
    let v6 = match link.ethertype {
        ethertype::IPV4 => false,
        ethertype::IPV6 => true,
        _ => return Err((port, Fate::Drop(DropReason::NotIp))),
    };
    untag(frame, usize::from(link.l3));
    let headers = parse_ip(frame.packet(), LINK_LENGTH).map_err(|error| (port, Fate::Drop(reason(error))))?;
    if headers.addresses.is_v6() != v6 {
        return Err((port, Fate::Drop(DropReason::IpMalformed)));
    }
    if headers.addresses.destination_is_multicast() || headers.addresses.is_link_local_v6() {
        return Err((port, Fate::Drop(DropReason::AddressInvalid)));
    }
    let segment = SegmentIndex(record.segment);
    Ok((
        port,
        Parsed {
            headers,
            segment,
            station: link.source_mac,
            slot,
        },
    ))
}

/// Takes a VLAN tag out, so that every packet begins at the same place of its frame; `emit` puts the egress port's in.
#[inline]
fn untag(frame: &mut Frame, l3: usize) {
    if l3 != LINK_LENGTH {
        let length = frame.len();
        frame.packet_mut().copy_within(l3 - 2..length, LINK_LENGTH - 2);
        frame.set_len(length - (l3 - LINK_LENGTH));
    }
}

/// A port whose own MAC address is not known (a replayed capture) takes every unicast frame.
#[inline]
fn for_us(record: &PortRecord, destination: &[u8; 6]) -> bool {
    record.mac[..6] == destination[..] || (record.mac == [0; 8] && destination[0] & 1 == 0)
}

/// The drop that a parse error means.
pub(super) fn reason(error: ParseError) -> DropReason {
    match error {
        ParseError::LinkTruncated => DropReason::EthernetTruncated,
        ParseError::NotIp => DropReason::NotIp,
        ParseError::IpMalformed => DropReason::IpMalformed,
        ParseError::IpChecksum => DropReason::IpChecksum,
        ParseError::IpOptions => DropReason::IpOptions,
        ParseError::ExtensionHeaders => DropReason::ExtensionHeaders,
        ParseError::L4Malformed => DropReason::L4Malformed,
        ParseError::AddressInvalid => DropReason::AddressInvalid,
        ParseError::FragmentOverlap => DropReason::FragmentOverlap,
    }
}

//! ICMP errors that the gateway sends: written from the offending packet, sent back the way it came.

use crate::address;
use crate::batch::{Batch, Entry, Exit, Packet, Translation};
use crate::gateway::Gateway;
use std::net::IpAddr;
use tombolo_packet_io::{Frame, PacketIo};
use tombolo_tables::fate::{DropReason, Fate, PuntReason};
use tombolo_tables::layout::{Address, NextHop, PortIndex, SegmentIndex};
use tombolo_tables::view::Tables;
use tombolo_wire::edit::write_link;
use tombolo_wire::icmp::{IcmpErrorKind, build_error};
use tombolo_wire::{Addresses, ethertype, parse_ip};

/// Length of an untagged Ethernet header, behind which an error's IP packet begins.
const LINK_LENGTH: usize = 14;

/// An error to be sent: which packet of the batch offends, and why.
#[derive(Clone, Copy)]
struct Wanted {
    place: usize,
    kind: IcmpErrorKind,
}

/// Collects errors while the stages run; [`Errors::run`] writes them.
pub struct Errors {
    wanted: Vec<Wanted>,
}

impl Errors {
    /// Room for one error per packet of a batch.
    pub fn new() -> Self {
        Errors {
            wanted: Vec::with_capacity(crate::batch::PACKETS_MAX),
        }
    }

    /// Notes that the packet at `place`, which is about to be dropped, deserves an error.
    #[inline]
    pub fn want(&mut self, place: usize, kind: IcmpErrorKind) {
        if self.wanted.len() < self.wanted.capacity() {
            self.wanted.push(Wanted { place, kind });
        }
    }

    /// Writes the wanted errors and adds them to the batch. What the limiter, the frames or the rules about errors
    /// (never about an error, a later fragment, a multicast) refuse is left out.
    pub fn run<I: PacketIo>(&mut self, gateway: &mut Gateway<'_, I>, batch: &mut Batch) {
        for place in 0..self.wanted.len() {
            let wanted = self.wanted[place];
            if !gateway.limiter.error() {
                break;
            }
            let Some(frame) = gateway.io.allocate() else { break };
            match write(gateway.tables, batch.packet(wanted.place), wanted.kind, frame) {
                Ok(packet) => {
                    gateway.originate(packet.ingress, packet.bytes().len());
                    if let Err(packet) = batch.push(packet) {
                        gateway.settle(packet, Fate::Drop(DropReason::NoFrame));
                    }
                }
                Err(frame) => gateway.io.release(frame),
            }
        }
        self.wanted.clear();
    }
}

impl Default for Errors {
    fn default() -> Self {
        Self::new()
    }
}

fn write(tables: &Tables<'_>, offender: &Packet, kind: IcmpErrorKind, mut frame: Frame) -> Result<Packet, Frame> {
    let Some(from) = sender(tables, offender) else {
        return Err(frame);
    };
    let end = match build_error(
        kind,
        offender.bytes(),
        &offender.headers,
        from,
        frame.buffer_mut(),
        LINK_LENGTH,
    ) {
        Some(end) => end,
        None => return Err(frame),
    };
    frame.set_len(end);
    let Ok(headers) = parse_ip(frame.packet(), LINK_LENGTH) else {
        return Err(frame);
    };
    let to_kernel = offender.entry == Entry::Kernel;
    if to_kernel {
        write_tap_link(tables, offender, &mut frame);
    }
    let exit = match offender.tunnel {
        Some(tunnel) => Exit::Hop {
            next_hop: NextHop::Tunnel(tunnel),
            target: Address::default(),
        },
        None => Exit::Station {
            port: offender.ingress,
            mac: offender.station,
        },
    };
    Ok(Packet {
        frame: Some(frame),
        ingress: offender.ingress,
        slot: offender.slot,
        entry: Entry::Originated,
        segment: offender.segment,
        tunnel: None,
        station: [0; 6],
        headers,
        exit,
        translation: Translation::None,
        mss: 0,
        fate: to_kernel.then_some(Fate::Punt(PuntReason::Local)),
    })
}

/// An error for the gateway's own kernel goes back through the TAP that the packet came by.
fn write_tap_link(tables: &Tables<'_>, offender: &Packet, frame: &mut Frame) {
    let ethertype = if offender.headers.addresses.is_v6() {
        ethertype::IPV6
    } else {
        ethertype::IPV4
    };
    let mac = tables.port(offender.ingress).map_or([0; 8], |record| record.mac);
    let own = [mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]];
    write_link(frame.packet_mut(), own, offender.station, ethertype, None);
}

/// The address an error comes from. For the kernel it is that of the packet's destination: what comes by a TAP from one of
/// the kernel's own addresses is a martian to it.
fn sender(tables: &Tables<'_>, offender: &Packet) -> Option<IpAddr> {
    if offender.entry == Entry::Kernel {
        return Some(address::of(&offender.headers.addresses).1.into());
    }
    own_address(tables, offender)
}

/// The address an error comes from: the gateway's own in the packet's segment and family, that of its port if it has one.
fn own_address(tables: &Tables<'_>, packet: &Packet) -> Option<IpAddr> {
    let v4 = matches!(packet.headers.addresses, Addresses::V4 { .. });
    let mut found = None;
    for own in tables.own_addresses().iter().filter(|own| own.address.is_v4() == v4) {
        let port = PortIndex(own.port);
        if packet.tunnel.is_none() && port == packet.ingress {
            return Some(own.address.into());
        }
        if tables
            .port(port)
            .is_some_and(|record| SegmentIndex(record.segment) == packet.segment)
        {
            found.get_or_insert(own.address);
        }
    }
    found.map(IpAddr::from)
}

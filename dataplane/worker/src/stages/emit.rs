//! `emit`: finds the station that the frame goes to, writes the link header and queues the frame on its port.

use crate::batch::{Batch, Exit, Packet};
use crate::gateway::Gateway;
use crate::hold::{Held, Waiting};
use tombolo_packet_io::{Frame, PacketIo};
use tombolo_tables::events::Event;
use tombolo_tables::fate::{DropReason, Fate};
use tombolo_tables::layout::{Address, NeighbourIndex, NextHop, PortIndex, neighbour_state};
use tombolo_tables::view::Tables;
use tombolo_wire::edit::write_link;
use tombolo_wire::ethertype;

const LINK_LENGTH: usize = 14;
const TAG_LENGTH: usize = 4;

/// Whether packets that leave are copied: two compiled forms, so that capturing costs nothing while nobody captures.
const CAPTURED: bool = true;
const UNSEEN: bool = false;

/// Sends, and holds what cannot be sent yet.
#[derive(Default)]
pub struct Emit {
    waiting: Waiting,
    gave_up: bool,
}

/// What is known of the station to send to.
pub(crate) enum Station {
    /// Its MAC address.
    Known([u8; 6]),
    /// Not yet known.
    Unresolved,
    /// It does not answer.
    Failed,
}

impl Emit {
    /// Sends every packet that is still travelling, and settles all.
    pub fn run<I: PacketIo>(&mut self, gateway: &mut Gateway<'_, I>, batch: &mut Batch) {
        if gateway.capture.is_on() {
            gateway.capture.leaving(batch);
            self.run_as::<I, CAPTURED>(gateway, batch);
            gateway.capture.close();
        } else {
            self.run_as::<I, UNSEEN>(gateway, batch);
        }
    }

    fn run_as<I: PacketIo, const SEEN: bool>(&mut self, gateway: &mut Gateway<'_, I>, batch: &mut Batch) {
        for packet in batch.all() {
            match (packet.fate, packet.frame.take()) {
                (Some(fate), Some(frame)) => gateway.settle_frame(frame, packet.ingress, packet.slot, fate),
                (Some(_), None) => {}
                (None, Some(frame)) => self.send::<I, SEEN>(gateway, packet, frame),
                (None, None) => debug_assert!(false, "a travelling packet has its frame"),
            }
        }
        batch.clear();
    }

    fn send<I: PacketIo, const SEEN: bool>(&mut self, gateway: &mut Gateway<'_, I>, packet: &Packet, frame: Frame) {
        let (port, target, station) = match packet.exit {
            Exit::Station { port, mac } => (port, Address::default(), Station::Known(mac)),
            Exit::Hop { next_hop, target } => match find(gateway.tables, next_hop, target) {
                Some(found) => found,
                None => {
                    let fate = Fate::Drop(DropReason::PortDown);
                    return gateway.settle_frame(frame, packet.ingress, packet.slot, fate);
                }
            },
            Exit::Undecided => {
                return gateway.settle_frame(frame, packet.ingress, packet.slot, Fate::Drop(DropReason::NoRoute));
            }
        };
        let held = Held {
            frame,
            ingress: packet.ingress,
            slot: packet.slot,
            port,
            target,
            deadline_ms: 0,
        };
        match station {
            Station::Known(mac) => transmit::<I, SEEN>(gateway, held, mac),
            Station::Unresolved => self.hold::<I, SEEN>(gateway, held),
            Station::Failed => {
                self.gave_up = true;
                let fate = Fate::Drop(DropReason::NeighbourFailed);
                gateway.settle_frame(held.frame, held.ingress, held.slot, fate);
                gateway.tell(Event::ResolveNeighbour { port, address: target });
            }
        }
    }

    fn hold<I: PacketIo, const SEEN: bool>(&mut self, gateway: &mut Gateway<'_, I>, held: Held) {
        if SEEN {
            gateway.capture.ended(&held.frame, Fate::Hold);
        }
        let (ingress, port, address) = (held.ingress, held.port, held.target);
        match self.waiting.hold(held, gateway.now.milliseconds) {
            Ok(first) => {
                gateway.books.settle(ingress, Fate::Hold);
                if first {
                    gateway.tell(Event::ResolveNeighbour { port, address });
                }
            }
            Err(held) => {
                gateway.settle_frame(
                    held.frame,
                    held.ingress,
                    held.slot,
                    Fate::Drop(DropReason::HoldOverflow),
                );
            }
        }
    }

    /// Sends what waited and has its answer now; gives up what waited too long.
    pub fn release<I: PacketIo>(&mut self, gateway: &mut Gateway<'_, I>) {
        while !self.waiting.is_empty() {
            let tables = gateway.tables;
            let ready = |held: &Held| match station_on(tables, held.port, held.target) {
                Station::Known(mac) => Some(Some(mac)),
                Station::Failed => Some(None),
                Station::Unresolved => None,
            };
            let Some((held, answer)) = self.waiting.release(gateway.now.milliseconds, ready) else {
                break;
            };
            gateway.books.unhold(held.ingress);
            match answer.flatten() {
                Some(mac) => transmit::<I, CAPTURED>(gateway, held, mac),
                None => {
                    self.gave_up = true;
                    let fate = Fate::Drop(DropReason::NeighbourFailed);
                    gateway.settle_frame(held.frame, held.ingress, held.slot, fate);
                }
            }
        }
        gateway.capture.close();
    }

    /// Gives up everything that waits (the worker stops).
    pub fn abandon<I: PacketIo>(&mut self, gateway: &mut Gateway<'_, I>) {
        for held in self.waiting.drain() {
            gateway.books.unhold(held.ingress);
            gateway.settle_frame(
                held.frame,
                held.ingress,
                held.slot,
                Fate::Drop(DropReason::NeighbourFailed),
            );
        }
    }

    /// Whether a packet was dropped since the last call because its next hop does not answer.
    #[inline]
    pub fn gave_up(&mut self) -> bool {
        core::mem::take(&mut self.gave_up)
    }

    /// Whether frames wait, so that the loop wakes in time to give them up.
    pub fn holds(&self) -> bool {
        !self.waiting.is_empty()
    }
}

/// The port that a hop leaves through, the address to resolve there, and what is known of it.
#[inline]
pub(crate) fn find(tables: &Tables<'_>, next_hop: NextHop, target: Address) -> Option<(PortIndex, Address, Station)> {
    match next_hop {
        NextHop::Neighbour(index) => {
            let record = tables.neighbour(index)?;
            Some((PortIndex(record.port), record.address, station(tables, index)))
        }
        NextHop::OnLink(port) => Some((port, target, station_on(tables, port, target))),
        NextHop::Unreachable
        | NextHop::Discard
        | NextHop::Tunnel(_)
        | NextHop::Local(_)
        | NextHop::Segment(_)
        | NextHop::Bundle(_) => None,
    }
}

#[inline]
fn station_on(tables: &Tables<'_>, port: PortIndex, target: Address) -> Station {
    tables
        .find_neighbour(port, target)
        .map_or(Station::Unresolved, |index| station(tables, index))
}

#[inline]
fn station(tables: &Tables<'_>, index: NeighbourIndex) -> Station {
    match tables.neighbour(index) {
        Some(record) if record.state == neighbour_state::REACHABLE => Station::Known(record.mac),
        Some(record) if record.state == neighbour_state::FAILED => Station::Failed,
        Some(_) | None => Station::Unresolved,
    }
}

#[inline]
fn transmit<I: PacketIo, const SEEN: bool>(gateway: &mut Gateway<'_, I>, mut held: Held, destination: [u8; 6]) {
    let place = gateway.ports.place(held.port);
    let (Some(place), Some(record)) = (place, gateway.tables.port(held.port)) else {
        return gateway.settle_frame(held.frame, held.ingress, held.slot, Fate::Drop(DropReason::PortDown));
    };
    let mac = &record.mac;
    let source = [mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]];
    let ethertype = if held.frame.packet().get(14).is_some_and(|byte| byte >> 4 == 6) {
        ethertype::IPV6
    } else {
        ethertype::IPV4
    };
    let vlan = (place.vlan != 0).then_some(place.vlan);
    if vlan.is_some() && !make_room_for_tag(&mut held.frame) {
        return gateway.settle_frame(held.frame, held.ingress, held.slot, Fate::Drop(DropReason::TooBig));
    }
    write_link(held.frame.packet_mut(), destination, source, ethertype, vlan);
    let bytes = held.frame.len();
    if SEEN {
        gateway.capture.transmitted(held.port, &held.frame);
    }
    match gateway.io.transmit(place.slot, held.frame) {
        Ok(()) => {
            gateway.books.settle(held.ingress, Fate::Send);
            gateway.books.transmitted(held.port, bytes);
        }
        Err(frame) => {
            gateway.settle_frame(frame, held.ingress, held.slot, Fate::Drop(DropReason::TxFull));
        }
    }
}

/// Moves what is behind the link header back by the length of an 802.1Q tag; false when the frame has no room.
pub(super) fn make_room_for_tag(frame: &mut Frame) -> bool {
    let length = frame.len();
    if length < LINK_LENGTH || length + TAG_LENGTH > frame.capacity() {
        return false;
    }
    frame.set_len(length + TAG_LENGTH);
    frame
        .packet_mut()
        .copy_within(LINK_LENGTH..length, LINK_LENGTH + TAG_LENGTH);
    true
}

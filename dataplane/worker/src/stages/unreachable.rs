//! `unreachable`: drops what would go to a next hop that does not answer, and has the sender told (RFC 1812 §4.3.3.1, RFC 4443
//! §3.1 code 3). It is here because the packet is still as it came.
//!
//! Runs only for some time after `emit` met such a next hop: as long as all answer, no packet is looked at.

use crate::batch::{Batch, Exit};
use crate::gateway::Gateway;
use crate::stages::Errors;
use crate::stages::emit::{Station, find};
use crate::time::Now;
use tombolo_packet_io::PacketIo;
use tombolo_tables::events::Event;
use tombolo_tables::fate::DropReason;
use tombolo_wire::icmp::IcmpErrorKind;

/// How long after the last packet for a next hop that does not answer, in milliseconds.
const WATCH_MS: u64 = 10_000;

/// Whether next hops are looked at.
#[derive(Default)]
pub struct Unreachable {
    until_ms: u64,
}

impl Unreachable {
    /// A packet was dropped because its next hop does not answer.
    pub fn watch(&mut self, now: Now) {
        self.until_ms = now.milliseconds + WATCH_MS;
    }

    /// Drops and tells of what cannot be delivered.
    #[inline]
    pub fn run<I: PacketIo>(&mut self, gateway: &mut Gateway<'_, I>, batch: &mut Batch, errors: &mut Errors) {
        if gateway.now.milliseconds < self.until_ms {
            self.look(gateway, batch, errors);
        }
    }

    #[cold]
    fn look<I: PacketIo>(&mut self, gateway: &mut Gateway<'_, I>, batch: &mut Batch, errors: &mut Errors) {
        for place in 0..batch.len() {
            let packet = batch.packet(place);
            let Exit::Hop { next_hop, target } = packet.exit else {
                continue;
            };
            if packet.fate.is_some() {
                continue;
            }
            if let Some((port, address, Station::Failed)) = find(gateway.tables, next_hop, target) {
                errors.want(place, IcmpErrorKind::HostUnreachable);
                packet.drop(DropReason::NeighbourFailed);
                self.watch(gateway.now);
                gateway.tell(Event::ResolveNeighbour { port, address });
            }
        }
    }
}

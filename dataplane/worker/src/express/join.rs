//! A packet that finds that its flow began meanwhile: a few packets ago, or on another worker.

use super::begin::Unknown;
use super::ingress::Ingress;
use super::outgoing::{Leaving, Outgoing};
use crate::gateway::Gateway;
use crate::keys::KeyCache;
use tombolo_flow::Found;
use tombolo_packet_io::{FrameBatch, PacketIo};
use tombolo_tables::layout::SegmentIndex;
use tombolo_tables::view::Tables;
use tombolo_wire::plain::{self, Plain};
use tombolo_wire::protocol;

/// Sends it as its session says, if that counts.
#[cold]
pub(super) fn join<I: PacketIo>(
    gateway: &mut Gateway<'_, I>,
    keys: &mut KeyCache,
    outgoing: &mut Outgoing,
    ingress: &Ingress,
    frames: &mut FrameBatch,
    unknown: &Unknown,
) {
    let sessions = gateway.state.sessions4().lines();
    let candidate = sessions.candidate(unknown.hash);
    let found = sessions.found(&unknown.key, candidate);
    let found = found.or_else(|| sessions.searched(&unknown.key, unknown.hash, candidate));
    let epochs = |found: &Found| epoch(gateway.tables, unknown.key[1]) << 32 | epoch(gateway.tables, found.other[1]);
    let Some(found) = found.filter(|found| found.epochs == epochs(found)) else {
        return;
    };
    let leaving = Leaving {
        place: unknown.place.into(),
        hop: found.next_hop,
        destination: (found.other[0] >> 32) as u32,
        ip_length: unknown.ip_length,
        booked: false,
    };
    let write = |head: &mut _| follow(head, unknown, &found);
    if outgoing.send(gateway, keys, ingress, frames, leaving, write) {
        let now = gateway.now.seconds();
        sessions.book(&found.booking, now, 0, unknown.ip_length.into());
    }
}

/// Edits a packet as its session says.
fn follow(head: &mut [u8; plain::HEAD], packet: &Unknown, found: &Found) {
    if found.translated {
        let came = Plain {
            addresses: packet.key[0],
            ports: (packet.key[1] >> 32) as u32,
            ip_length: packet.ip_length,
            protocol: protocol::UDP,
            tcp_flags: 0,
        };
        let ports = ((found.other[1] >> 32) as u32).rotate_left(16);
        plain::translate(head, &came, found.other[0].rotate_left(32), ports);
    } else {
        plain::decrement_ttl(head);
    }
}

/// Epoch of the segment in the second word of a key.
#[inline(always)]
pub(super) fn epoch(tables: &Tables<'_>, word: u64) -> u64 {
    let segment = SegmentIndex((word >> 16) as u16);
    u64::from(tables.segment(segment).map_or(0, |record| record.epoch))
}

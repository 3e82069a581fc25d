//! A packet that finds that its flow began meanwhile: a few packets ago, or on another worker.

use super::begin::Unknown;
use super::outgoing::{Leaving, Outgoing};
use crate::gateway::Gateway;
use crate::keys::KeyCache;
use tombolo_flow::{Key, Key4};
use tombolo_packet_io::{FrameBatch, PacketIo};
use tombolo_tables::layout::SegmentIndex;
use tombolo_tables::view::Tables;
use tombolo_wire::plain::{self, Plain};
use tombolo_wire::protocol;

/// Sends it as its session says, if that counts.
#[cold]
#[inline(never)]
pub(super) fn join<I: PacketIo>(
    gateway: &mut Gateway<'_, I>,
    keys: &mut KeyCache,
    outgoing: &mut Outgoing,
    frames: &mut FrameBatch,
    unknown: &Unknown,
) {
    let sessions = gateway.state.sessions4();
    let Some(hit) = sessions.lookup(&Key4::from_words(&unknown.key)) else {
        return;
    };
    let other = hit.rewrite_to.swapped().to_words();
    let epochs = [epoch(gateway.tables, unknown.key[1]), epoch(gateway.tables, other[1])];
    if hit.epochs.map(u64::from) != epochs {
        return;
    }
    let leaving = Leaving {
        place: unknown.place.into(),
        hop: hit.next_hop,
        destination: (other[0] >> 32) as u32,
        ip_length: unknown.ip_length,
        booked: false,
    };
    let write = |head: &mut _| follow(head, unknown, &other, hit.translated);
    if outgoing.send(gateway, keys, frames, leaving, write) {
        sessions.touch(&hit, gateway.now.seconds(), 0, unknown.ip_length.into());
    }
}

/// Edits a packet as its session says, whose other direction has the key `other`.
fn follow(head: &mut [u8; plain::HEAD], packet: &Unknown, other: &[u64; 2], translated: bool) {
    if translated {
        let came = Plain {
            addresses: packet.key[0],
            ports: (packet.key[1] >> 32) as u32,
            ip_length: packet.ip_length,
            protocol: protocol::UDP,
            tcp_flags: 0,
        };
        let ports = ((other[1] >> 32) as u32).rotate_left(16);
        plain::translate(head, &came, other[0].rotate_left(32), ports);
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

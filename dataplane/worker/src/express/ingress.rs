//! What the lane knows of the port that a batch came in on, looked up once per generation.

use crate::ports::PortMap;
use tombolo_packet_io::PortSlot;
use tombolo_tables::layout::{PortIndex, SegmentIndex, port_flag, segment_flag, wildcard};
use tombolo_tables::view::Tables;
use tombolo_wire::plain;

/// Slots that the lane serves: a worker has at most so many ports.
const SLOTS: usize = 64;

/// A port whose untagged packets may ride.
#[derive(Clone, Copy)]
pub(super) struct Ingress {
    /// Index in the tables.
    pub(super) port: PortIndex,
    /// Its slot in the packet I/O.
    pub(super) slot: PortSlot,
    /// Its MAC address, as `plain::is_for` takes it.
    pub(super) station: u64,
    /// Segment of what arrives.
    pub(super) segment: u16,
    /// Decision epoch of that segment.
    pub(super) epoch: u32,
    /// It faces the underlay.
    pub(super) ends_tunnels: bool,
    /// Its segment keeps no sessions.
    pub(super) stateless: bool,
    /// The gateway's own addresses, which no packet may come from.
    pub(super) own: OwnAddresses,
}

/// A set of IPv4 addresses that may say yes where no is right, and is as small as a cache line.
#[derive(Clone, Copy, Default)]
pub(super) struct OwnAddresses([u64; OWN_WORDS]);

const OWN_WORDS: usize = 8;

impl OwnAddresses {
    fn add(&mut self, address: u32) {
        let (word, bit) = place(address);
        self.0[word] |= bit;
    }

    /// False for every address that is not the gateway's.
    #[inline(always)]
    pub(super) fn may_hold(&self, address: u32) -> bool {
        let (word, bit) = place(address);
        self.0[word] & bit != 0
    }
}

#[inline(always)]
fn place(address: u32) -> (usize, u64) {
    let hash = address.wrapping_mul(0x9e37_79b1);
    ((hash >> 23) as usize % OWN_WORDS, 1 << (hash >> 26))
}

/// All ports of the worker, by slot.
pub(super) struct Ingresses {
    of_slot: [Option<Ingress>; SLOTS],
}

impl Default for Ingresses {
    fn default() -> Self {
        Ingresses { of_slot: [None; SLOTS] }
    }
}

impl Ingresses {
    /// Reads them from a new generation.
    pub(super) fn renew(&mut self, tables: &Tables<'_>, ports: &PortMap) {
        for (slot, ingress) in self.of_slot.iter_mut().enumerate() {
            *ingress = read(tables, ports, PortSlot(slot as u8));
        }
    }

    /// None for a slot whose packets all go the general way.
    #[inline(always)]
    pub(super) fn of(&self, slot: PortSlot) -> Option<Ingress> {
        self.of_slot.get(slot.usize()).copied().flatten()
    }
}

/// A port without a MAC address takes every frame (a replayed capture): that is the general journey's to do; so is what a
/// segment without sessions has to ask beyond route and policy.
fn read(tables: &Tables<'_>, ports: &PortMap, slot: PortSlot) -> Option<Ingress> {
    let port = ports.port(slot, 0)?;
    let record = tables.port(port).filter(|record| record.mac != [0; 8])?;
    let segment = tables.segment(SegmentIndex(record.segment))?;
    let stateless = segment.flags & segment_flag::STATELESS != 0;
    let ends_tunnels = record.flags & port_flag::UNDERLAY != 0;
    if stateless && (ends_tunnels || may_translate(tables, record.segment)) {
        return None;
    }
    Some(Ingress {
        port,
        slot,
        station: plain::station(record.mac.first_chunk()?),
        segment: record.segment,
        epoch: segment.epoch,
        ends_tunnels,
        stateless,
        own: if stateless || ends_tunnels {
            own(tables)
        } else {
            OwnAddresses::default()
        },
    })
}

/// Whether a NAT rule speaks of what comes from the segment.
fn may_translate(tables: &Tables<'_>, segment: u16) -> bool {
    tables
        .nat_rules()
        .iter()
        .any(|rule| rule.from == segment || rule.from == wildcard::SEGMENT)
}

fn own(tables: &Tables<'_>) -> OwnAddresses {
    let mut all = OwnAddresses::default();
    for own in tables.own_addresses().iter().filter(|own| own.address.is_v4()) {
        all.add(u32::from_be_bytes(own.address.v4_bytes()));
    }
    all
}

//! Where packets leave: next hop to port, MAC addresses and MTU, remembered for one generation.
//!
//! A direct-mapped cache: a hop that is not there is looked up in the tables as `emit` would, and remembered. What is not simply a
//! reachable station behind an untagged port is not remembered and not found.

use crate::ports::PortMap;
use crate::stages::{Station, find};
use core::net::Ipv4Addr;
use tombolo_packet_io::PortSlot;
use tombolo_tables::layout::{NextHop, PortIndex, TunnelIndex};
use tombolo_tables::view::Tables;
use tombolo_wire::plain::Stations;

/// Exits remembered at a time: 32 KiB.
const EXITS: usize = 1024;
/// What no next hop and destination are.
const NO_KEY: u64 = u64::MAX;

/// A way out that is known whole.
#[derive(Clone, Copy)]
#[repr(align(32))]
pub(super) struct Exit {
    key: u64,
    /// What the link header says.
    pub(super) stations: Stations,
    /// Largest IP packet in bytes.
    pub(super) mtu: u16,
    /// Where it leaves.
    pub(super) gate: Gate,
}

/// The port that a frame leaves through, in a word: its index in the tables and its slot in the packet I/O.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Gate(u32);

impl Gate {
    /// No port.
    pub(super) const NONE: Gate = Gate(u32::MAX);

    #[inline(always)]
    pub(super) fn new(port: PortIndex, slot: PortSlot) -> Self {
        Gate(u32::from(slot.0) << 16 | u32::from(port.0))
    }

    /// 0 if it is the same.
    #[inline(always)]
    pub(super) fn differs(self, other: Gate) -> u32 {
        self.0 ^ other.0
    }

    #[inline(always)]
    pub(super) fn port(self) -> PortIndex {
        PortIndex(self.0 as u16)
    }

    #[inline(always)]
    pub(super) fn slot(self) -> PortSlot {
        PortSlot((self.0 >> 16) as u8)
    }
}

/// The cache.
pub(super) struct Exits {
    exits: Box<[Exit; EXITS]>,
}

const NOWHERE: Exit = Exit {
    key: NO_KEY,
    stations: Stations::NOBODY,
    mtu: 0,
    gate: Gate::NONE,
};
const _: () = assert!(size_of::<Exit>() == 32);

impl Exits {
    pub(super) fn new() -> Self {
        Exits {
            exits: Box::new([NOWHERE; EXITS]),
        }
    }

    /// A new generation: everything is to be looked up again.
    pub(super) fn forget(&mut self) {
        self.exits.fill(NOWHERE);
    }

    /// What the exit for `NextHop` bits and an IPv4 destination as it leaves is remembered by.
    #[inline(always)]
    pub(super) fn key(next_hop: u64, destination: u64) -> u64 {
        // Only on a link does the destination say which station it is.
        next_hop << 32 | if is_on_link(next_hop) { destination } else { 0 }
    }

    /// Where it may be remembered. Neighbours of one link lie side by side. It is folded without a multiplication: wide ones make a core
    /// run slower for a while, all that it does.
    #[inline(always)]
    pub(super) fn place(key: u64) -> u64 {
        let folded = key ^ key >> 32;
        (folded ^ folded >> 10 ^ folded >> 20) % EXITS as u64
    }

    /// All ones for `NextHop` bits of a tunnel.
    #[inline(always)]
    pub(super) fn seals(next_hop: u64) -> u64 {
        let tunnel = u64::from(NextHop::Tunnel(TunnelIndex(0)).to_bits());
        if next_hop ^ tunnel < 1 << 28 { u64::MAX } else { 0 }
    }

    /// The exit for `NextHop` bits and the IPv4 destination as it leaves.
    #[inline(always)]
    pub(super) fn find(
        &mut self,
        tables: &Tables<'_>,
        ports: &PortMap,
        next_hop: u32,
        destination: u32,
    ) -> Option<&Exit> {
        let key = Self::key(next_hop.into(), destination.into());
        self.at(tables, ports, key, Self::place(key))
    }

    /// The same, by its key and place.
    #[inline(always)]
    pub(super) fn at(&mut self, tables: &Tables<'_>, ports: &PortMap, key: u64, place: u64) -> Option<&Exit> {
        let place = place as usize % EXITS;
        if self.exits[place].key != key {
            self.exits[place] = look_up(tables, ports, (key >> 32) as u32, key as u32)?;
        }
        Some(&self.exits[place])
    }
}

#[cold]
fn look_up(tables: &Tables<'_>, ports: &PortMap, next_hop: u32, target: u32) -> Option<Exit> {
    debug_assert_eq!(
        is_on_link(next_hop.into()),
        matches!(NextHop::from_bits(next_hop), NextHop::OnLink(_))
    );
    let target_address = Ipv4Addr::from(target).into();
    let (port, _, station) = find(tables, NextHop::from_bits(next_hop), target_address)?;
    let Station::Known(destination) = station else {
        return None;
    };
    let served = ports.place(port).filter(|served| served.vlan == 0)?;
    let record = tables.port(port)?;
    Some(Exit {
        key: u64::from(next_hop) << 32 | u64::from(target),
        stations: Stations::new(destination, *record.mac.first_chunk()?),
        mtu: record.mtu,
        gate: Gate::new(port, served.slot),
    })
}

/// Whether `NextHop` bits are those of a link: read off the bits, since every packet asks.
#[inline(always)]
fn is_on_link(next_hop: u64) -> bool {
    u64::from(NextHop::OnLink(PortIndex(0)).to_bits()) ^ next_hop <= u64::from(u16::MAX)
}

//! Where packets leave: next hop to port, MAC addresses and MTU, remembered for one generation.
//!
//! A direct-mapped cache: a hop that is not there is looked up in the tables as `emit` would, and remembered. What is not simply a
//! reachable station behind an untagged port is not remembered and not found.

use crate::ports::PortMap;
use crate::stages::{Station, find};
use core::net::Ipv4Addr;
use tombolo_packet_io::PortSlot;
use tombolo_tables::layout::{NextHop, PortIndex};
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
    /// Port it leaves through.
    pub(super) port: PortIndex,
    /// Its slot.
    pub(super) slot: PortSlot,
}

/// The cache.
pub(super) struct Exits {
    exits: Box<[Exit; EXITS]>,
}

const NOWHERE: Exit = Exit {
    key: NO_KEY,
    stations: Stations::NOBODY,
    mtu: 0,
    port: PortIndex(0),
    slot: PortSlot(0),
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

    /// The exit for `NextHop` bits and the IPv4 destination as it leaves.
    #[inline(always)]
    pub(super) fn find(
        &mut self,
        tables: &Tables<'_>,
        ports: &PortMap,
        next_hop: u32,
        destination: u32,
    ) -> Option<&Exit> {
        // Only on a link does the destination say which station it is.
        let target = if is_on_link(next_hop) { destination } else { 0 };
        let key = u64::from(next_hop) << 32 | u64::from(target);
        let place = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % EXITS;
        if self.exits[place].key != key {
            self.exits[place] = look_up(tables, ports, next_hop, target)?;
        }
        Some(&self.exits[place])
    }
}

#[cold]
fn look_up(tables: &Tables<'_>, ports: &PortMap, next_hop: u32, target: u32) -> Option<Exit> {
    debug_assert_eq!(
        is_on_link(next_hop),
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
        port,
        slot: served.slot,
    })
}

/// Whether `NextHop` bits are those of a link: read off the bits, since every packet asks.
#[inline(always)]
fn is_on_link(next_hop: u32) -> bool {
    NextHop::OnLink(PortIndex(0)).to_bits() ^ next_hop <= u32::from(u16::MAX)
}

//! What the agent knows from the outside world: the second argument of a plan. Not trusted further than its types say: a
//! neighbour or link that the configuration does not name is ignored.

use crate::negotiated::Negotiated;
use core::net::{IpAddr, Ipv6Addr};
use std::collections::{BTreeMap, BTreeSet};
use tombolo_config::sa_file::SaPair;

/// Everything learned, keyed by the operator's names.
#[derive(Clone, Default)]
pub struct Learned {
    /// Links by kernel device.
    pub links: BTreeMap<String, Link>,
    /// TAPs that carry punts, by port name, where they are not called as `tombolo_tables::layout::tap_name` says.
    pub taps: BTreeMap<String, Tap>,
    /// Neighbours as the kernel knows them, by port name and address.
    pub neighbours: BTreeMap<(String, IpAddr), Neighbour>,
    /// Neighbours that workers asked for, by port name and address. The agent lets go of those out of use.
    pub requested: BTreeSet<(String, IpAddr)>,
    /// Manual keys by tunnel name; a tunnel without keys is down.
    pub sa_keys: BTreeMap<String, SaPair>,
    /// What IKEv2 negotiated, by tunnel name: the rules are in [`Negotiated`]'s module. Manual keys of the same tunnel are ignored.
    pub negotiated: BTreeMap<String, Negotiated>,
    /// Names of the ports to capture on.
    pub capture: BTreeSet<String>,
    /// Of [`crate::Indices::resting_pools`], those that no mapping names, seen when every worker used the generation that the
    /// indices stem from or a newer one. Their places may be given to others.
    pub drained_pools: BTreeSet<u32>,
}

impl Learned {
    /// Whether another one differs in neighbours at most. Manual keys and drained pools, which only a configuration brings, do not
    /// count.
    pub fn is_same_but_for_neighbours(&self, other: &Learned) -> bool {
        (
            &self.links,
            &self.taps,
            &self.requested,
            &self.capture,
            &self.negotiated,
        ) == (
            &other.links,
            &other.taps,
            &other.requested,
            &other.capture,
            &other.negotiated,
        )
    }
}

/// A kernel device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Interface index.
    pub ifindex: u32,
    /// MAC address.
    pub mac: [u8; 6],
    /// Largest IP packet in bytes.
    pub mtu: u32,
    /// Receive queues.
    pub queues: u16,
    /// Administratively up, with carrier.
    pub up: bool,
    /// Its IPv6 link-local address, once it may be used.
    pub link_local: Option<Ipv6Addr>,
}

/// A TAP of the dataplane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tap {
    /// Kernel device.
    pub device: String,
    /// Interface index.
    pub ifindex: u32,
}

/// What the kernel knows about a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// Its MAC address is known.
    Reachable([u8; 6]),
    /// It does not answer.
    Failed,
}

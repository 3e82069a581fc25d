//! The whole of what workers shall know, as control states it: records and routes before they are compiled.
//!
//! The planner makes it from a validated configuration and from what was learned (links, neighbours, SAs).

use crate::layout::{
    Address, BundleRecord, NatRuleRecord, NeighbourRecord, NextHop, OwnAddressRecord, PolicyRuleRecord, PoolRecord,
    PortRecord, SaRecord, SegmentIndex, SegmentRecord, SelectorRecord, TunnelRecord,
};
use core::fmt;

/// One route of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Segment whose packets it routes.
    pub segment: SegmentIndex,
    /// Destination prefix; the bits behind `length` are zero.
    pub prefix: Address,
    /// Prefix length in the route's own family: 0–32, or 0–128.
    pub length: u8,
    /// IPv6, else IPv4 (the `prefix` of an IPv4 route is in its mapped form).
    pub v6: bool,
    /// Where it leads.
    pub next_hop: NextHop,
}

/// One consistent world. The place of a record in its vector is its index, which other records name; the order of
/// `routes` means nothing. Holds keys (`sas`): whoever made it wipes it.
#[derive(Clone, Default)]
pub struct World {
    /// Ports by `PortIndex`.
    pub ports: Vec<PortRecord>,
    /// The gateway's own addresses; the first of a family on a port is the one it speaks with.
    pub own_addresses: Vec<OwnAddressRecord>,
    /// Segments by `SegmentIndex`; `root4` and `root6` are filled in by [`build`](Self::build).
    pub segments: Vec<SegmentRecord>,
    /// Routes of all segments, in any order.
    pub routes: Vec<Route>,
    /// Neighbours by `NeighbourIndex`, with free slots.
    pub neighbours: Vec<NeighbourRecord>,
    /// Policy in the operator's order.
    pub policy_rules: Vec<PolicyRuleRecord>,
    /// NAT rules in the operator's order.
    pub nat_rules: Vec<NatRuleRecord>,
    /// Pools by `PoolIndex`.
    pub pools: Vec<PoolRecord>,
    /// Tunnels by `TunnelIndex`, with free slots (not `ENABLED`).
    pub tunnels: Vec<TunnelRecord>,
    /// Bundles by `BundleIndex`.
    pub bundles: Vec<BundleRecord>,
    /// SAs by `SaIndex`, with free slots (SPI 0).
    pub sas: Vec<SaRecord>,
    /// Traffic selectors that SAs refer to.
    pub selectors: Vec<SelectorRecord>,
    /// Names for people (JSON); no worker reads it.
    pub names: String,
    /// Ports to capture on, a bit per `PortIndex`.
    pub capture: u64,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("ports", &self.ports)
            .field("own_addresses", &self.own_addresses)
            .field("segments", &self.segments)
            .field("routes", &self.routes)
            .field("neighbours", &self.neighbours)
            .field("policy_rules", &self.policy_rules)
            .field("nat_rules", &self.nat_rules)
            .field("pools", &self.pools)
            .field("tunnels", &self.tunnels)
            .field("bundles", &self.bundles)
            .field("sas", &format_args!("[{} with hidden keys]", self.sas.len()))
            .field("selectors", &self.selectors)
            .field("names", &self.names)
            .field("capture", &self.capture)
            .finish()
    }
}

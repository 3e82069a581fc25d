//! Records by index, and questions about the gateway itself.

use super::Tables;
use crate::layout::{
    Address, NatRuleRecord, NeighbourIndex, NeighbourRecord, OwnAddressRecord, PolicyRuleRecord, PoolIndex, PoolRecord,
    PortIndex, PortRecord, SegmentIndex, SegmentRecord, neighbour_state,
};

impl<'g> Tables<'g> {
    /// The port, or `None` if there is none of that index.
    #[inline]
    pub fn port(&self, port: PortIndex) -> Option<&'g PortRecord> {
        self.ports.get(port.usize())
    }

    /// All ports, by `PortIndex`.
    #[inline]
    pub fn ports(&self) -> &'g [PortRecord] {
        self.ports
    }

    /// The segment, or `None` if there is none of that index.
    #[inline]
    pub fn segment(&self, segment: SegmentIndex) -> Option<&'g SegmentRecord> {
        self.segments.get(segment.usize())
    }

    /// All segments, by `SegmentIndex`.
    #[inline]
    pub fn segments(&self) -> &'g [SegmentRecord] {
        self.segments
    }

    /// The gateway's own addresses.
    #[inline]
    pub fn own_addresses(&self) -> &'g [OwnAddressRecord] {
        self.own_addresses
    }

    /// The port of this segment that bears the address, if the gateway has it there. Takes time linear in own addresses.
    pub fn own_port(&self, segment: SegmentIndex, address: Address) -> Option<PortIndex> {
        let in_segment = |port: PortIndex| self.port(port).is_some_and(|record| record.segment == segment.0);
        let mut bearers = self
            .own_addresses
            .iter()
            .filter(|own| own.address == address)
            .map(|own| PortIndex(own.port));
        bearers.find(|&port| in_segment(port))
    }

    /// Whether the address is the gateway's own in this segment.
    pub fn is_own(&self, segment: SegmentIndex, address: Address) -> bool {
        self.own_port(segment, address).is_some()
    }

    /// The address that the gateway speaks with on a port: its first one of the family.
    pub fn port_address(&self, port: PortIndex, v6: bool) -> Option<Address> {
        let mut of_port = self.own_addresses.iter().filter(|own| own.port == port.0);
        of_port.find(|own| own.address.is_v4() != v6).map(|own| own.address)
    }

    /// The neighbour, or `None` if its slot is free or does not exist.
    #[inline]
    pub fn neighbour(&self, neighbour: NeighbourIndex) -> Option<&'g NeighbourRecord> {
        self.neighbours
            .get(neighbour.usize())
            .filter(|record| record.state != neighbour_state::FREE)
    }

    /// All neighbours by `NeighbourIndex`, with free slots.
    #[inline]
    pub fn neighbours(&self) -> &'g [NeighbourRecord] {
        self.neighbours
    }

    /// All policy rules, in the operator's order.
    #[inline]
    pub fn policy_rules(&self) -> &'g [PolicyRuleRecord] {
        self.policy_rules
    }

    /// All NAT rules, in the operator's order.
    #[inline]
    pub fn nat_rules(&self) -> &'g [NatRuleRecord] {
        self.nat_rules
    }

    /// The pool, or `None` if there is none of that index.
    #[inline]
    pub fn pool(&self, pool: PoolIndex) -> Option<&'g PoolRecord> {
        self.pools.get(pool.usize())
    }

    /// All pools, by `PoolIndex`.
    #[inline]
    pub fn pools(&self) -> &'g [PoolRecord] {
        self.pools
    }

    /// Ports to capture on, a bit per `PortIndex`.
    #[inline]
    pub fn capture(&self) -> u64 {
        self.capture
    }

    /// Names for people; empty if the bytes are no UTF-8.
    pub fn names(&self) -> &'g str {
        core::str::from_utf8(self.names).unwrap_or_default()
    }
}

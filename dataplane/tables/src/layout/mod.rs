//! Records of a generation: what control writes and workers read.
//!
//! Every record is plain bytes (`zerocopy`), native endian, without padding; addresses are 16 bytes in network order, an
//! IPv4 address as its IPv4-mapped IPv6 form (`::ffff:a.b.c.d`). A record never holds a pointer; it names others by index.

mod bundles;
mod ids;
mod next_hop;
mod records;
mod section;

pub use bundles::{BUNDLE_SHARES, BundleRecord};
pub use ids::{
    Address, BundleIndex, Epoch, NeighbourIndex, PoolIndex, PortIndex, SaIndex, SegmentIndex, TunnelIndex, tap_name,
    vlan_link_name,
};
pub use next_hop::NextHop;
pub use records::{
    NatRuleRecord, NeighbourRecord, OUTBOUND_MAX, OwnAddressRecord, PolicyRuleRecord, PoolRecord, PortRecord, SaRecord,
    SegmentRecord, SelectorRecord, TunnelRecord, cipher, encapsulation, nat_kind, neighbour_state, port_flag,
    rule_action, sa_flag, segment_flag, tunnel_flag, wildcard,
};
pub use section::{SECTION_COUNT, SectionId};

//! Where a destination leads, following one change of segment.

use super::bundle::{self, Ports};
use tombolo_tables::layout::{NextHop, PortIndex, SegmentIndex};
use tombolo_tables::view::Tables;
use tombolo_wire::Addresses;

/// A route's result: the segment it ends in and the hop there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Egress {
    /// Segment the packet leaves in.
    pub segment: SegmentIndex,
    /// Never `NextHop::Segment`, never `NextHop::Bundle`.
    pub next_hop: NextHop,
}

/// Looks the destination of `addresses` up in `segment`; a route into another segment is followed once. By `ports` a bundle chooses.
#[inline]
pub fn resolve(tables: &Tables<'_>, segment: SegmentIndex, addresses: &Addresses, ports: Ports) -> Egress {
    let (mut segment, mut next_hop) = (segment, lookup(tables, segment, addresses));
    if let NextHop::Segment(other) = next_hop {
        (segment, next_hop) = (other, lookup(tables, other, addresses));
        if let NextHop::Segment(_) = next_hop {
            next_hop = NextHop::Unreachable;
        }
    }
    if let NextHop::Bundle(bundle) = next_hop {
        next_hop = bundle::member(tables, bundle, addresses, ports);
    }
    Egress { segment, next_hop }
}

/// The port a hop leaves through; none for a tunnel or a hop that leads nowhere.
#[inline]
pub fn egress_port(tables: &Tables<'_>, next_hop: NextHop) -> Option<PortIndex> {
    match next_hop {
        NextHop::Neighbour(index) => tables.neighbour(index).map(|record| PortIndex(record.port)),
        NextHop::OnLink(port) | NextHop::Local(port) => Some(port),
        NextHop::Unreachable | NextHop::Discard | NextHop::Tunnel(_) | NextHop::Segment(_) | NextHop::Bundle(_) => None,
    }
}

#[inline]
fn lookup(tables: &Tables<'_>, segment: SegmentIndex, addresses: &Addresses) -> NextHop {
    match addresses {
        Addresses::V4 { destination, .. } => tables.route4(segment, *destination),
        Addresses::V6 { destination, .. } => tables.route6(segment, destination),
    }
}

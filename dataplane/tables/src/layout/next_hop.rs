//! Where a route leads: one `u32`, so that a lookup leaf and a session each hold it whole.

use super::{BundleIndex, NeighbourIndex, PortIndex, SegmentIndex, TunnelIndex};

/// The result of a route lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NextHop {
    /// No route, or a route that says so: the packet is dropped and its sender told.
    Unreachable,
    /// A discard route: dropped in silence (a protected prefix whose tunnel is gone).
    Discard,
    /// A gateway or host on a link, through its neighbour record.
    Neighbour(NeighbourIndex),
    /// The destination itself is on this port's link: find its neighbour by address.
    OnLink(PortIndex),
    /// Through a tunnel.
    Tunnel(TunnelIndex),
    /// An address of the gateway on this port: the kernel answers, through the port's TAP.
    Local(PortIndex),
    /// Look the destination up again in that segment (once).
    Segment(SegmentIndex),
    /// Through the tunnel of a bundle that carries the flow's share.
    Bundle(BundleIndex),
}

const KIND_SHIFT: u32 = 28;
const VALUE_MASK: u32 = (1 << KIND_SHIFT) - 1;

impl NextHop {
    /// Kind in the upper 4 bits, index in the lower 28. `Unreachable` is 0, so that zeroed memory leads nowhere.
    #[inline]
    pub fn to_bits(self) -> u32 {
        let (kind, value) = match self {
            NextHop::Unreachable => (0, 0),
            NextHop::Discard => (1, 0),
            NextHop::Neighbour(index) => (2, index.0),
            NextHop::OnLink(port) => (3, u32::from(port.0)),
            NextHop::Tunnel(index) => (4, index.0),
            NextHop::Local(port) => (5, u32::from(port.0)),
            NextHop::Segment(segment) => (6, u32::from(segment.0)),
            NextHop::Bundle(index) => (7, index.0),
        };
        (kind << KIND_SHIFT) | (value & VALUE_MASK)
    }

    /// The inverse of [`to_bits`](Self::to_bits); an unknown kind is `Unreachable`.
    #[inline]
    pub fn from_bits(bits: u32) -> Self {
        let value = bits & VALUE_MASK;
        match bits >> KIND_SHIFT {
            1 => NextHop::Discard,
            2 => NextHop::Neighbour(NeighbourIndex(value)),
            3 => NextHop::OnLink(PortIndex(value as u16)),
            4 => NextHop::Tunnel(TunnelIndex(value)),
            5 => NextHop::Local(PortIndex(value as u16)),
            6 => NextHop::Segment(SegmentIndex(value as u16)),
            7 => NextHop::Bundle(BundleIndex(value)),
            _ => NextHop::Unreachable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_the_trip_through_bits() {
        for hop in [
            NextHop::Unreachable,
            NextHop::Discard,
            NextHop::Neighbour(NeighbourIndex(0x0fff_ffff)),
            NextHop::OnLink(PortIndex(7)),
            NextHop::Tunnel(TunnelIndex(60_000)),
            NextHop::Bundle(BundleIndex(70_000)),
            NextHop::Local(PortIndex(65_535)),
            NextHop::Segment(SegmentIndex(3)),
        ] {
            assert_eq!(NextHop::from_bits(hop.to_bits()), hop);
        }
        assert_eq!(NextHop::from_bits(0), NextHop::Unreachable);
        assert_eq!(NextHop::from_bits(u32::MAX), NextHop::Unreachable);
    }
}

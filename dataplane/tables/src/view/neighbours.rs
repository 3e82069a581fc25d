//! The neighbour of an address on a port.

use super::Tables;
use crate::layout::{Address, NeighbourIndex, NeighbourRecord, PortIndex, neighbour_state};

impl Tables<'_> {
    /// The neighbour with that address on that port.
    pub fn find_neighbour(&self, port: PortIndex, address: Address) -> Option<NeighbourIndex> {
        let is_it = |record: &NeighbourRecord| {
            record.port == port.0 && record.address == address && record.state != neighbour_state::FREE
        };
        self.neighbours
            .iter()
            .position(is_it)
            .map(|at| NeighbourIndex(at as u32))
    }
}

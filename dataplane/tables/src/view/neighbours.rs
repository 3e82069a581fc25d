//! The neighbour of an address on a port.

use super::Tables;
use crate::build::hash_index::hash;
use crate::layout::{Address, NeighbourIndex, PortIndex};

impl Tables<'_> {
    /// The neighbour with that address on that port.
    #[inline]
    pub fn find_neighbour(&self, port: PortIndex, address: Address) -> Option<NeighbourIndex> {
        let is_it = |index| {
            let record = self.neighbour(NeighbourIndex(index));
            record.is_some_and(|record| record.port == port.0 && record.address == address)
        };
        self.neighbour_index
            .find(hash(u32::from(port.0), address), is_it)
            .map(NeighbourIndex)
    }
}

//! What passed through child SAs, as workers count it: each SA by itself, so that a fresh one is not charged with what the old one carried.

use super::Endpoint;
use crate::now::{Milliseconds, Now};
use crate::sa::IkeSa;

/// When the last authentic packet of a child SA came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// On the monotonic clock.
    pub at: Milliseconds,
    /// It was not seen before: the SA checks for replays. Without that check it proves no life, for anybody may send an old packet again.
    pub is_new: bool,
}

impl Endpoint {
    /// What workers sealed with a child SA, named by its tunnel and its outbound SPI, which is unique there only: packets and bytes since it
    /// exists.
    pub fn handle_sealed(&mut self, now: Now, connection: &str, outbound_spi: u32, packets: u64, bytes: u64) {
        let of_tunnel = self.sas_of(connection).filter_map(IkeSa::established);
        let children = of_tunnel.flat_map(|state| &state.children);
        let child = children.filter(|child| child.outbound.spi == outbound_spi).last();
        let spi = child.map(|child| child.inbound.spi);
        if let Some(spi) = spi {
            self.handle_traffic(now, spi, None, packets, bytes);
        }
    }

    /// What workers opened with a child SA, named by its inbound SPI: when its last authentic packet came, and packets and bytes since it
    /// exists.
    pub fn handle_traffic(&mut self, now: Now, spi: u32, last: Option<Heard>, packets: u64, bytes: u64) {
        let Some(id) = self.child_spis.owner(spi) else {
            return;
        };
        let Some(state) = self.sas.get_mut(&id).and_then(|sa| sa.established_mut()) else {
            return;
        };
        let before = state.senders();
        state.passed(now.monotonic, spi, last, packets, bytes);
        if state.senders() != before {
            self.children_changed = true;
            self.dirty.insert(id);
        }
        self.reschedule(id);
    }
}

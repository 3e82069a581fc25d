//! The lookups of a whole batch: each pass asks for the memory of the next one, so that a batch waits for memory
//! once a pass and not once a packet.

use super::{PolicyQuery, PolicyVerdict, Tables};
use crate::layout::SegmentIndex;

impl Tables<'_> {
    /// [`route4`](Self::route4) for each destination (host order): the bits of its next hop in `out`, as far as both slices
    /// reach.
    pub fn routes4_batch(&self, segment: SegmentIndex, destinations: &[u32], out: &mut [u32]) {
        for (&destination, out) in destinations.iter().zip(out) {
            *out = self.route4(segment, destination).to_bits();
        }
    }

    /// [`route6`](Self::route6) for each destination, likewise.
    pub fn routes6_batch(&self, segment: SegmentIndex, destinations: &[[u8; 16]], out: &mut [u32]) {
        for (destination, out) in destinations.iter().zip(out) {
            *out = self.route6(segment, destination).to_bits();
        }
    }

    /// [`policy`](Self::policy) for each query, as far as both slices reach.
    pub fn policy_batch(&self, queries: &[PolicyQuery], out: &mut [PolicyVerdict]) {
        for (query, out) in queries.iter().zip(out) {
            *out = self.policy(query);
        }
    }
}

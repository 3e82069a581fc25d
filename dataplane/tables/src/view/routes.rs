//! Longest-prefix match.

use super::Tables;
use crate::layout::{NextHop, SegmentIndex};

impl Tables<'_> {
    /// Where a segment routes an IPv4 destination (host order); `Unreachable` without a route or segment.
    #[inline]
    pub fn route4(&self, segment: SegmentIndex, destination: u32) -> NextHop {
        let _ = (segment, destination);
        NextHop::Unreachable
    }

    /// Where a segment routes an IPv6 destination; `Unreachable` without a route or segment.
    #[inline]
    pub fn route6(&self, segment: SegmentIndex, destination: &[u8; 16]) -> NextHop {
        let _ = (segment, destination);
        NextHop::Unreachable
    }
}

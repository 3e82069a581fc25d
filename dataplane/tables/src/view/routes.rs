//! Longest-prefix match; the format is in [`build::routes`](crate::build).

use super::{InvalidTables, Tables};
use crate::build::routes::{CELL_BITS, Cell, DIRECT, DIRECT_BITS, INDEX, NODE, RoutesHeader, STRIDE4, STRIDE6};
use crate::layout::{NextHop, SectionId, SegmentIndex};
use zerocopy::FromBytes;

impl Tables<'_> {
    /// Where a segment routes an IPv4 destination (host order); `Unreachable` without a route or segment.
    #[inline]
    pub fn route4(&self, segment: SegmentIndex, destination: u32) -> NextHop {
        self.stretch4(segment, destination).0
    }

    /// Where a segment routes an IPv6 destination; `Unreachable` without a route or segment.
    #[inline]
    pub fn route6(&self, segment: SegmentIndex, destination: &[u8; 16]) -> NextHop {
        self.stretch6(segment, u128::from_be_bytes(*destination)).0
    }

    /// The next hop, and how many leading bits of the destination decided: all destinations that share them go there.
    #[inline]
    pub(crate) fn stretch4(&self, segment: SegmentIndex, destination: u32) -> (NextHop, u32) {
        let root = self.segment(segment).map_or(NOWHERE, |record| record.root4);
        let slot = |depth: u32| (destination << depth) >> (u32::BITS - STRIDE4);
        self.routes4.find::<STRIDE4, 32>(root, destination >> 16, slot)
    }

    /// The same for IPv6, the destination as a number in host order.
    #[inline]
    pub(crate) fn stretch6(&self, segment: SegmentIndex, destination: u128) -> (NextHop, u32) {
        let root = self.segment(segment).map_or(NOWHERE, |record| record.root6);
        let slot = |depth: u32| ((destination << depth) >> (u128::BITS - STRIDE6)) as u32;
        self.routes6
            .find::<STRIDE6, 128>(root, (destination >> 112) as u32, slot)
    }
}

/// The tries of one family.
#[derive(Clone, Copy, Default)]
pub(super) struct Routes<'g> {
    direct: &'g [u32],
    cells: &'g [Cell],
    leaves: &'g [u32],
}

/// `NextHop::Unreachable` as bits.
const NOWHERE: u32 = 0;

impl<'g> Routes<'g> {
    /// A section that is empty holds no route.
    pub(super) fn from_section((section, bytes): (SectionId, &'g [u8]), stride: u32) -> Result<Self, InvalidTables> {
        if bytes.is_empty() {
            return Ok(Routes::default());
        }
        if bytes.as_ptr().addr() % align_of::<Cell>() != 0 {
            return Err(InvalidTables::Misaligned(section));
        }
        let parts = || {
            let (header, rest) = RoutesHeader::read_from_prefix(bytes).ok()?;
            let entries = (header.direct as usize) << DIRECT_BITS;
            let (direct, rest) = <[u32]>::ref_from_prefix_with_elems(rest, entries).ok()?;
            let (cells, rest) = <[Cell]>::ref_from_prefix_with_elems(rest, header.cells as usize).ok()?;
            let leaves = <[u32]>::ref_from_bytes_with_elems(rest, header.leaves as usize).ok()?;
            (header.stride == stride).then_some(Routes { direct, cells, leaves })
        };
        parts().ok_or(InvalidTables::Header(section))
    }

    /// The leaf for a destination and the bits that led there: `first` is its first 16 bits, `slot` gives the next `STRIDE`
    /// bits behind a depth. At most `BITS / STRIDE` + 1 steps.
    #[inline]
    fn find<const STRIDE: u32, const BITS: u32>(
        &self,
        root: u32,
        first: u32,
        slot: impl Fn(u32) -> u32,
    ) -> (NextHop, u32) {
        let (mut entry, mut depth) = (root, 0);
        if root & (NODE | DIRECT) == NODE | DIRECT {
            let table = ((root & INDEX) as usize) << DIRECT_BITS;
            entry = self.direct.get(table | first as usize).copied().unwrap_or(NOWHERE);
            depth = DIRECT_BITS;
        }
        while entry & NODE != 0 && depth < BITS {
            let slot = slot(depth);
            let at = (entry & INDEX) + (slot >> CELL_BITS);
            let Some(cell) = self.cells.get(at as usize) else { break };
            let bit = slot % (1 << CELL_BITS);
            let up_to_slot = u64::MAX >> (63 - bit);
            depth += STRIDE;
            if cell.children >> bit & 1 == 0 {
                let run = (cell.runs & up_to_slot).count_ones();
                let leaf = cell.first_leaf.wrapping_add(run).wrapping_sub(1);
                entry = self.leaves.get(leaf as usize).copied().unwrap_or(NOWHERE);
                break;
            }
            let rank = (cell.children & up_to_slot).count_ones() - 1;
            entry = NODE | cell.first_child.wrapping_add(rank << (STRIDE - CELL_BITS)) & INDEX;
        }
        // An entry that still names a node is no next hop: broken bytes lead nowhere.
        (NextHop::from_bits(entry), depth.min(BITS))
    }
}

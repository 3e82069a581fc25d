//! Longest-prefix match; the format is in [`build::routes`](crate::build).

use super::{InvalidTables, Tables};
use crate::build::routes::{Block, CELL_BITS, Cell, DIRECT, DIRECT_BITS, INDEX, NODE, RoutesHeader, STRIDE4, STRIDE6};
use crate::layout::{NextHop, SectionId, SegmentIndex};
use crate::region_prefetch::prefetch;
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

    /// [`route4`](Self::route4) for each destination (host order): the bits of its next hop in `out`, as far as both slices
    /// reach.
    pub fn routes4_batch(&self, segment: SegmentIndex, destinations: &[u32], out: &mut [u32]) {
        let root = self.segment(segment).map_or(NOWHERE, |record| record.root4);
        for (to, out) in destinations.chunks(BATCH).zip(out.chunks_mut(BATCH)) {
            let wanted = to.len().min(out.len());
            let slot = |at: usize, depth: u32| (to[at] << depth) >> (u32::BITS - STRIDE4);
            self.routes4
                .find_batch::<STRIDE4, 32>(root, |at| to[at] >> 16, slot, &mut out[..wanted]);
        }
    }

    /// [`route6`](Self::route6) for each destination, likewise.
    pub fn routes6_batch(&self, segment: SegmentIndex, destinations: &[[u8; 16]], out: &mut [u32]) {
        let root = self.segment(segment).map_or(NOWHERE, |record| record.root6);
        for (to, out) in destinations.chunks(BATCH).zip(out.chunks_mut(BATCH)) {
            let wanted = to.len().min(out.len());
            let number = |at: usize| u128::from_be_bytes(to[at]);
            let slot = |at: usize, depth: u32| ((number(at) << depth) >> (u128::BITS - STRIDE6)) as u32;
            let first = |at: usize| (number(at) >> 112) as u32;
            self.routes6
                .find_batch::<STRIDE6, 128>(root, first, slot, &mut out[..wanted]);
        }
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
    blocks: &'g [Block],
    cells: &'g [Cell],
    leaves: &'g [u32],
    hops: &'g [u32],
}

/// Most destinations that one pass serves: what they ask for stays in the first cache.
const BATCH: usize = 64;

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
            let (blocks, rest) = <[Block]>::ref_from_prefix_with_elems(rest, header.blocks as usize).ok()?;
            let (cells, rest) = <[Cell]>::ref_from_prefix_with_elems(rest, header.cells as usize).ok()?;
            let (leaves, rest) = <[u32]>::ref_from_prefix_with_elems(rest, header.leaves as usize).ok()?;
            let hops = <[u32]>::ref_from_bytes_with_elems(rest, header.hops as usize).ok()?;
            (header.stride == stride).then_some(Routes {
                direct,
                blocks,
                cells,
                leaves,
                hops,
            })
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
            if entry & (NODE | DIRECT) == NODE | DIRECT {
                entry = self.hop(entry, slot(depth));
                depth += STRIDE;
            }
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

    /// [`find`](Self::find) for up to [`BATCH`] destinations: the bits of their next hops in `entries`. `slot` gives the bits of
    /// destination *n* behind a depth, `first` its first 16 bits. Each pass takes one step for all of them and asks for the
    /// memory of the next; between passes an entry with bits 30 and 31 names a leaf.
    #[inline]
    fn find_batch<const STRIDE: u32, const BITS: u32>(
        &self,
        root: u32,
        first: impl Fn(usize) -> u32,
        slot: impl Fn(usize, u32) -> u32,
        entries: &mut [u32],
    ) {
        let (mut depth, mut more) = (0, true);
        if root & (NODE | DIRECT) == NODE | DIRECT {
            self.direct_pass(root, first, |at| slot(at, DIRECT_BITS), entries);
            more = self.pass::<STRIDE, true>(|at| slot(at, DIRECT_BITS), |at| slot(at, DIRECT_BITS + STRIDE), entries);
            depth = DIRECT_BITS + STRIDE;
        } else {
            entries.fill(root);
        }
        while more && depth < BITS {
            let next = (depth + STRIDE).min(BITS - 1);
            more = self.pass::<STRIDE, false>(|at| slot(at, depth), |at| slot(at, next), entries);
            depth += STRIDE;
        }
        for entry in entries.iter_mut().filter(|entry| **entry & NODE != 0) {
            // An entry that still names a node is no next hop: broken bytes lead nowhere.
            let leaf = if *entry & DIRECT != 0 {
                self.leaves.get((*entry & INDEX) as usize).copied()
            } else {
                None
            };
            *entry = leaf.filter(|leaf| leaf & NODE == 0).unwrap_or(NOWHERE);
        }
    }

    /// The entries of the direct table, with the memory behind them asked for.
    #[inline]
    fn direct_pass(&self, root: u32, first: impl Fn(usize) -> u32, slot: impl Fn(usize) -> u32, entries: &mut [u32]) {
        let table = ((root & INDEX) as usize) << DIRECT_BITS;
        let table = self.direct.get(table..table + (1 << DIRECT_BITS)).unwrap_or(&[]);
        for (at, entry) in entries.iter_mut().enumerate() {
            *entry = table.get(first(at) as usize).copied().unwrap_or(NOWHERE);
            if *entry & (NODE | DIRECT) == NODE | DIRECT {
                if let Some(block) = self.blocks.get((*entry & INDEX) as usize) {
                    prefetch(&block[slot(at) as usize % block.len()]);
                }
            } else if *entry & NODE != 0 {
                self.ask_for_cell(*entry, slot(at));
            }
        }
    }

    /// One step for every entry that is at a node or, behind a direct table, at a block. Whether one is at a node still.
    #[inline]
    fn pass<const STRIDE: u32, const BLOCKS: bool>(
        &self,
        slot: impl Fn(usize) -> u32,
        next: impl Fn(usize) -> u32,
        entries: &mut [u32],
    ) -> bool {
        let mut more = false;
        for (at, entry) in entries.iter_mut().enumerate() {
            *entry = match *entry & (NODE | DIRECT) {
                NODE => self.step::<STRIDE>(*entry, slot(at)),
                both if BLOCKS && both == NODE | DIRECT => self.hop(*entry, slot(at)),
                _ => continue,
            };
            if *entry & (NODE | DIRECT) == NODE {
                more = true;
                self.ask_for_cell(*entry, next(at));
            } else if *entry & NODE != 0
                && let Some(leaf) = self.leaves.get((*entry & INDEX) as usize)
            {
                prefetch(leaf);
            }
        }
        more
    }

    /// What a block says: a leaf or a node.
    #[inline]
    fn hop(&self, entry: u32, slot: u32) -> u32 {
        let Some(block) = self.blocks.get((entry & INDEX) as usize) else {
            return NOWHERE;
        };
        let place = block[slot as usize % block.len()];
        let hop = self.hops.get(usize::from(place)).copied().unwrap_or(NOWHERE);
        if hop & NODE != 0 { hop & !DIRECT } else { hop }
    }

    #[inline]
    fn ask_for_cell(&self, entry: u32, slot: u32) {
        if let Some(cell) = self.cells.get(((entry & INDEX) + (slot >> CELL_BITS)) as usize) {
            prefetch(cell);
        }
    }

    /// From a node to its child, or to the leaf's index with bit 30.
    #[inline]
    fn step<const STRIDE: u32>(&self, entry: u32, slot: u32) -> u32 {
        let Some(cell) = self.cells.get(((entry & INDEX) + (slot >> CELL_BITS)) as usize) else {
            return NOWHERE;
        };
        let bit = slot % (1 << CELL_BITS);
        let up_to_slot = u64::MAX >> (63 - bit);
        if cell.children >> bit & 1 == 0 {
            let run = (cell.runs & up_to_slot).count_ones();
            let leaf = cell.first_leaf.wrapping_add(run).wrapping_sub(1);
            return if leaf <= INDEX { NODE | DIRECT | leaf } else { NOWHERE };
        }
        let rank = (cell.children & up_to_slot).count_ones() - 1;
        NODE | cell.first_child.wrapping_add(rank << (STRIDE - CELL_BITS)) & INDEX
    }
}

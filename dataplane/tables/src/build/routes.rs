//! Routes compiled for longest-prefix match: one section per family, with the tries of all segments.
//!
//! # Format
//! `RoutesHeader`, then its direct tables, blocks, cells, leaves and hops, one behind the other. An *entry* is a `u32`: with bit 31 clear it
//! is a leaf, the bits of a [`NextHop`]; with bit 31 set, bits 0–29 are the index of a node's first cell. A segment's root is an
//! entry, where bit 30 beside bit 31 means: the index is that of a *direct table* of 65,536 entries, one for each value of the
//! first 16 bits. Small segments have none and start with a node.
//!
//! A node looks at the next `stride` bits of the destination: 8 for IPv4, in four cells of 64 slots, so that most of a full
//! table is found in one node behind the direct table; 6 for IPv6, in one cell, since its paths are long and bare. In a cell the
//! bit of a slot in `children` says that a node follows: the `first_child` one plus as many as bits are set below.
//! Otherwise the slot is a leaf; equal neighbours share one, `runs` marks where another begins (slots with children do not count).
//!
//! IPv4 segments with very many routes trade memory for steps: an entry of their direct table with bit 30 beside bit 31 names
//! a *block*: for each value of the next 8 bits the place (`u16`) of an entry among the hops. Blocks and hops are the whole
//! section's.

use super::routes_trie::Trie;
use super::sections::Section;
use super::{BuildError, Kind, Route, World};
use crate::layout::{NextHop, SegmentIndex};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The entry leads to a node (or direct table), not to a next hop.
pub(crate) const NODE: u32 = 1 << 31;
/// The root leads to a direct table.
pub(crate) const DIRECT: u32 = 1 << 30;
/// Bits of an entry that hold an index.
pub(crate) const INDEX: u32 = DIRECT - 1;
/// Bits that a direct table resolves.
pub(crate) const DIRECT_BITS: u32 = 16;
/// Slots of a cell as a power of two.
pub(crate) const CELL_BITS: u32 = 6;
/// `RoutesHeader::stride` of IPv4.
pub(crate) const STRIDE4: u32 = 8;
/// `RoutesHeader::stride` of IPv6.
pub(crate) const STRIDE6: u32 = 6;

/// A segment with more routes of a family than this has a direct table (256 KiB) for it.
pub(super) const DIRECT_ABOVE: usize = 1024;

/// An IPv4 segment with more routes than this has blocks (512 bytes per used /16) behind its direct table.
pub(super) const BLOCKS_ABOVE: usize = 8192;
/// One entry of the hops for each value of 8 bits.
pub(crate) type Block = [u16; 256];

/// What the section holds; 64 bytes, so that direct tables start on a cache line.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct RoutesHeader {
    /// Bits that a node resolves.
    pub(crate) stride: u32,
    /// Direct tables.
    pub(crate) direct: u32,
    /// Cells.
    pub(crate) cells: u32,
    /// Leaves.
    pub(crate) leaves: u32,
    /// Blocks.
    pub(crate) blocks: u32,
    /// Hops.
    pub(crate) hops: u32,
    /// Zero.
    pub(crate) reserved: [u32; 10],
}

/// 64 slots of a node.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Cell {
    /// Slots that a node follows.
    pub(crate) children: u64,
    /// Leaf slots whose value differs from that of the leaf slot before.
    pub(crate) runs: u64,
    /// First cell of the first child.
    pub(crate) first_child: u32,
    /// Leaf of the first run.
    pub(crate) first_leaf: u32,
}

/// A route ready to be compiled. Sorted by (bits, length), a prefix stands before everything inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    pub(super) segment: u16,
    /// Left-aligned, for both families.
    pub(super) bits: u128,
    pub(super) length: u8,
    pub(super) next_hop: u32,
}

impl Prefix {
    /// The order in which they are compiled.
    pub(super) fn key(&self) -> (u16, u128, u8) {
        (self.segment, self.bits, self.length)
    }
}

/// Compiles the routes of one family, with no room to grow.
///
/// # Errors
/// [`BuildError`] for a route of no segment, an impossible prefix, or two routes with the same prefix.
pub(super) fn compile(world: &World, v6: bool) -> Result<(Section, Vec<u32>), BuildError> {
    let prefixes = sorted_prefixes(&world.routes, v6, world.segments.len())?;
    let mut roots = vec![NextHop::Unreachable.to_bits(); world.segments.len()];
    let mut trie = Trie::new(v6);
    for of_segment in prefixes.chunk_by(|one, other| one.segment == other.segment) {
        let form = trie.form_for(of_segment.len());
        roots[usize::from(of_segment[0].segment)] = trie.add_segment(of_segment, form);
    }
    trie.check(world.routes.len())?;
    Ok((trie.section(|used| used), roots))
}

pub(super) fn sorted_prefixes(routes: &[Route], v6: bool, segments: usize) -> Result<Vec<Prefix>, BuildError> {
    let mut prefixes = Vec::with_capacity(routes.len());
    for (at, route) in routes.iter().enumerate() {
        if route.v6 == v6 {
            prefixes.push(prefix(at, route, segments)?);
        }
    }
    prefixes.sort_unstable_by_key(Prefix::key);
    match prefixes.windows(2).find(|pair| pair[0].key() == pair[1].key()) {
        Some(pair) => Err(duplicate(&pair[0], v6)),
        None => Ok(prefixes),
    }
}

/// The route as it is compiled.
pub(super) fn prefix(at: usize, route: &Route, segments: usize) -> Result<Prefix, BuildError> {
    let field = |field| BuildError::Field {
        by: Kind::Route,
        at,
        field,
    };
    if route.segment.usize() >= segments {
        let index = u32::from(route.segment.0);
        return Err(BuildError::Unknown {
            by: Kind::Route,
            at,
            kind: Kind::Segment,
            index,
        });
    }
    let longest = if route.v6 { 128 } else { 32 };
    if route.length > longest {
        return Err(field("length"));
    }
    if !route.v6 && !route.prefix.is_v4() {
        return Err(field("family"));
    }
    let address = u128::from_be_bytes(route.prefix.0);
    let bits = if route.v6 { address } else { address << 96 };
    if bits.checked_shl(u32::from(route.length)).unwrap_or(0) != 0 {
        return Err(field("prefix: bits behind its length are set"));
    }
    Ok(Prefix {
        segment: route.segment.0,
        bits,
        length: route.length,
        next_hop: route.next_hop.to_bits(),
    })
}

pub(super) fn duplicate(prefix: &Prefix, v6: bool) -> BuildError {
    let address = if v6 {
        core::net::Ipv6Addr::from(prefix.bits).into()
    } else {
        core::net::Ipv4Addr::from((prefix.bits >> 96) as u32).into()
    };
    BuildError::DuplicateRoute {
        segment: SegmentIndex(prefix.segment),
        prefix: address,
        length: prefix.length,
    }
}

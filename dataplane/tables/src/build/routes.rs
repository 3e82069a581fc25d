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

use super::sections::Section;
use super::{BuildError, Kind, Route, World};
use crate::layout::{NextHop, SegmentIndex};
use std::collections::{HashMap, VecDeque};
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
const DIRECT_ABOVE: usize = 1024;

/// An IPv4 segment with more routes than this has blocks (512 bytes per used /16) behind its direct table.
const BLOCKS_ABOVE: usize = 8192;
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
#[derive(Clone, Copy)]
struct Prefix {
    segment: u16,
    /// Left-aligned, for both families.
    bits: u128,
    length: u8,
    next_hop: u32,
}

/// A node that has its cells but not yet their content.
struct Pending {
    cell: usize,
    /// Its routes, all longer than `depth`: a range of the segment's.
    from: usize,
    until: usize,
    /// Bits resolved before this node.
    depth: u32,
    /// What the longest prefix of at most `depth` bits says.
    inherited: u32,
}

/// The slots of one node or direct table.
struct Slots {
    /// What each slot says if nothing longer matches.
    leaves: Vec<u32>,
    /// Slots with longer routes, ascending, and those routes.
    deeper: Vec<(usize, usize, usize)>,
}

/// Compiles the routes of one family.
///
/// # Errors
/// [`BuildError`] for a route of no segment, an impossible prefix, or two routes with the same prefix.
pub(super) fn compile(world: &World, v6: bool) -> Result<(Section, Vec<u32>), BuildError> {
    let prefixes = sorted_prefixes(world, v6)?;
    let mut roots = vec![NextHop::Unreachable.to_bits(); world.segments.len()];
    let mut trie = Trie::new(if v6 { STRIDE6 } else { STRIDE4 });
    for of_segment in prefixes.chunk_by(|one, other| one.segment == other.segment) {
        roots[usize::from(of_segment[0].segment)] = trie.add_segment(of_segment);
    }
    Ok((trie.into_section(world.routes.len())?, roots))
}

fn sorted_prefixes(world: &World, v6: bool) -> Result<Vec<Prefix>, BuildError> {
    let mut prefixes = Vec::with_capacity(world.routes.len());
    for (at, route) in world.routes.iter().enumerate() {
        if route.v6 == v6 {
            prefixes.push(prefix(at, route, world.segments.len())?);
        }
    }
    prefixes.sort_unstable_by_key(|prefix| (prefix.segment, prefix.bits, prefix.length));
    let same = |pair: &&[Prefix]| {
        let key = |prefix: &Prefix| (prefix.segment, prefix.bits, prefix.length);
        key(&pair[0]) == key(&pair[1])
    };
    match prefixes.windows(2).find(same) {
        Some(pair) => Err(duplicate(&pair[0], v6)),
        None => Ok(prefixes),
    }
}

fn prefix(at: usize, route: &Route, segments: usize) -> Result<Prefix, BuildError> {
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

fn duplicate(prefix: &Prefix, v6: bool) -> BuildError {
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

/// The section while it grows.
struct Trie {
    stride: u32,
    direct: Vec<u32>,
    cells: Vec<Cell>,
    leaves: Vec<u32>,
    blocks: Vec<Block>,
    hops: Hops,
}

impl Trie {
    fn new(stride: u32) -> Self {
        Trie {
            stride,
            direct: Vec::new(),
            cells: Vec::new(),
            leaves: Vec::new(),
            blocks: Vec::new(),
            hops: Hops::default(),
        }
    }

    /// Adds the routes of a segment, at least one and sorted; returns its root.
    fn add_segment(&mut self, prefixes: &[Prefix]) -> u32 {
        let unreachable = NextHop::Unreachable.to_bits();
        if let [
            Prefix {
                length: 0, next_hop, ..
            },
        ] = prefixes
        {
            return *next_hop;
        }
        let mut pending = VecDeque::new();
        let root = if self.stride == STRIDE4 && prefixes.len() > BLOCKS_ABOVE {
            self.add_blocks(prefixes, &mut pending)
        } else if prefixes.len() > DIRECT_ABOVE {
            self.add_direct(prefixes, &mut pending)
        } else {
            let cell = self.reserve_nodes(1);
            pending.push_back(Pending {
                cell,
                from: 0,
                until: prefixes.len(),
                depth: 0,
                inherited: unreachable,
            });
            NODE | cell as u32 & INDEX
        };
        while let Some(node) = pending.pop_front() {
            self.fill_node(&node, prefixes, &mut pending);
        }
        root
    }

    fn add_direct(&mut self, prefixes: &[Prefix], pending: &mut VecDeque<Pending>) -> u32 {
        let table = self.direct.len() >> DIRECT_BITS;
        let mut slots = paint(
            prefixes,
            0..prefixes.len(),
            0,
            DIRECT_BITS,
            NextHop::Unreachable.to_bits(),
        );
        for &(slot, from, until) in &slots.deeper {
            let cell = self.reserve_nodes(1);
            pending.push_back(Pending {
                cell,
                from,
                until,
                depth: DIRECT_BITS,
                inherited: slots.leaves[slot],
            });
            slots.leaves[slot] = NODE | cell as u32 & INDEX;
        }
        self.direct.append(&mut slots.leaves);
        NODE | DIRECT | table as u32
    }

    /// A direct table with blocks; where the hops are used up, with nodes.
    fn add_blocks(&mut self, prefixes: &[Prefix], pending: &mut VecDeque<Pending>) -> u32 {
        let table = self.direct.len() >> DIRECT_BITS;
        let unreachable = NextHop::Unreachable.to_bits();
        let mut slots = paint(prefixes, 0..prefixes.len(), 0, DIRECT_BITS, unreachable);
        for &(slot, from, until) in &slots.deeper {
            let inherited = slots.leaves[slot];
            slots.leaves[slot] = self.add_block(prefixes, from..until, inherited, pending);
        }
        self.direct.append(&mut slots.leaves);
        NODE | DIRECT | table as u32
    }

    /// The entry for a /16 whose routes, all longer, are `range`.
    fn add_block(
        &mut self,
        prefixes: &[Prefix],
        range: core::ops::Range<usize>,
        inherited: u32,
        pending: &mut VecDeque<Pending>,
    ) -> u32 {
        let mut slots = paint(prefixes, range.clone(), DIRECT_BITS, STRIDE4, inherited);
        let mut later = Vec::new();
        let mut cells = self.cells.len();
        for &(slot, from, until) in &slots.deeper {
            later.push(Pending {
                cell: cells,
                from,
                until,
                depth: DIRECT_BITS + STRIDE4,
                inherited: slots.leaves[slot],
            });
            slots.leaves[slot] = NODE | cells as u32 & INDEX;
            cells += self.cells_per_node();
        }
        match self.hops.block(&slots.leaves) {
            Some(block) => {
                self.reserve_nodes(later.len());
                pending.extend(later);
                self.blocks.push(block);
                NODE | DIRECT | (self.blocks.len() - 1) as u32
            }
            None => {
                let cell = self.reserve_nodes(1);
                pending.push_back(Pending {
                    cell,
                    from: range.start,
                    until: range.end,
                    depth: DIRECT_BITS,
                    inherited,
                });
                NODE | cell as u32 & INDEX
            }
        }
    }

    fn fill_node(&mut self, node: &Pending, prefixes: &[Prefix], pending: &mut VecDeque<Pending>) {
        let slots = paint(prefixes, node.from..node.until, node.depth, self.stride, node.inherited);
        let mut deeper = slots.deeper.as_slice();
        for (quarter, leaves) in slots.leaves.chunks(1 << CELL_BITS).enumerate() {
            let beyond = (quarter + 1) << CELL_BITS;
            let (here, rest) = deeper.split_at(deeper.partition_point(|&(slot, ..)| slot < beyond));
            deeper = rest;
            let first = self.reserve_nodes(here.len());
            let mut cell = Cell {
                first_child: first as u32,
                ..Cell::default()
            };
            for (rank, &(slot, from, until)) in here.iter().enumerate() {
                cell.children |= 1 << (slot % (1 << CELL_BITS));
                let (depth, inherited) = (node.depth + self.stride, slots.leaves[slot]);
                pending.push_back(Pending {
                    cell: first + rank * self.cells_per_node(),
                    from,
                    until,
                    depth,
                    inherited,
                });
            }
            self.add_leaves(&mut cell, leaves);
            self.cells[node.cell + quarter] = cell;
        }
    }

    fn add_leaves(&mut self, cell: &mut Cell, leaves: &[u32]) {
        cell.first_leaf = self.leaves.len() as u32;
        let mut previous = None;
        for (slot, &leaf) in leaves.iter().enumerate() {
            if cell.children >> slot & 1 == 0 && previous != Some(leaf) {
                cell.runs |= 1 << slot;
                self.leaves.push(leaf);
                previous = Some(leaf);
            }
        }
    }

    fn cells_per_node(&self) -> usize {
        1 << (self.stride - CELL_BITS)
    }

    fn reserve_nodes(&mut self, nodes: usize) -> usize {
        let first = self.cells.len();
        self.cells
            .resize(first + nodes * self.cells_per_node(), Cell::default());
        first
    }

    fn into_section(self, routes: usize) -> Result<Section, BuildError> {
        let most = INDEX as usize;
        if self.cells.len() > most || self.leaves.len() > most {
            return Err(BuildError::TooMany {
                kind: Kind::Route,
                count: routes,
                most,
            });
        }
        let header = RoutesHeader {
            stride: self.stride,
            direct: (self.direct.len() >> DIRECT_BITS) as u32,
            cells: self.cells.len() as u32,
            leaves: self.leaves.len() as u32,
            blocks: self.blocks.len() as u32,
            hops: self.hops.entries.len() as u32,
            reserved: [0; 10],
        };
        let parts = [
            header.as_bytes(),
            self.direct.as_bytes(),
            self.blocks.as_bytes(),
            self.cells.as_bytes(),
            self.leaves.as_bytes(),
            self.hops.entries.as_bytes(),
        ];
        Ok(Section::concatenate(&parts))
    }
}

/// The entries that blocks name.
#[derive(Default)]
struct Hops {
    entries: Vec<u32>,
    places: HashMap<u32, u16>,
}

impl Hops {
    /// The block of 256 entries; `None` if there is no place for all of them.
    fn block(&mut self, entries: &[u32]) -> Option<Block> {
        let mut block = [0; 256];
        let mut last = None;
        for (slot, &entry) in block.iter_mut().zip(entries) {
            let place = match last {
                Some((same, place)) if same == entry => place,
                _ => self.place(entry)?,
            };
            last = Some((entry, place));
            *slot = place;
        }
        Some(block)
    }

    fn place(&mut self, entry: u32) -> Option<u16> {
        if let Some(&known) = self.places.get(&entry) {
            return Some(known);
        }
        let place = u16::try_from(self.entries.len()).ok()?;
        self.entries.push(entry);
        self.places.insert(entry, place);
        Some(place)
    }
}

/// Spreads routes longer than `depth` over the slots of the next `stride` bits.
fn paint(prefixes: &[Prefix], range: core::ops::Range<usize>, depth: u32, stride: u32, inherited: u32) -> Slots {
    let mut slots = Slots {
        leaves: vec![inherited; 1 << stride],
        deeper: Vec::new(),
    };
    for at in range {
        let Prefix {
            bits, length, next_hop, ..
        } = prefixes[at];
        let slot = ((bits << depth) >> (128 - stride)) as usize;
        if u32::from(length) <= depth + stride {
            slots.leaves[slot..slot + (1 << (depth + stride - u32::from(length)))].fill(next_hop);
            continue;
        }
        match slots.deeper.last_mut() {
            Some((same, _, until)) if *same == slot => *until = at + 1,
            _ => slots.deeper.push((slot, at, at + 1)),
        }
    }
    slots
}

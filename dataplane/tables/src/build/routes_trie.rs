//! The tries of one family while they are compiled; the format is that of [`routes`](super::routes).

use super::routes::{
    BLOCKS_ABOVE, Block, CELL_BITS, Cell, DIRECT, DIRECT_ABOVE, DIRECT_BITS, INDEX, NODE, Prefix, RoutesHeader,
    STRIDE4, STRIDE6,
};
use super::routes_array::Array;
use super::sections::{Section, joined};
use super::{BuildError, Kind};
use crate::layout::NextHop;
use core::ops::Range;
use std::collections::{HashMap, VecDeque};
use zerocopy::{FromZeros, Immutable, IntoBytes};

/// A node that has its cells but not yet their content.
pub(super) struct Pending {
    pub(super) cell: usize,
    /// Its routes, all longer than `depth`: a range of the segment's.
    pub(super) range: Range<usize>,
    /// Bits resolved before this node.
    pub(super) depth: u32,
    /// What the longest prefix of at most `depth` bits says.
    pub(super) inherited: u32,
}

/// The slots of one node or direct table.
pub(super) struct Slots {
    /// What each slot says if nothing longer matches.
    pub(super) leaves: Vec<u32>,
    /// Slots with longer routes, ascending, and those routes.
    pub(super) deeper: Vec<(usize, Range<usize>)>,
}

/// How a segment's routes are looked up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    /// A node, or nothing.
    #[default]
    Nodes,
    /// Nodes behind a direct table.
    Direct,
    /// Blocks behind a direct table.
    Blocks,
}

/// The section as it is compiled.
pub(super) struct Trie {
    pub(super) stride: u32,
    pub(super) direct: Array<u32>,
    pub(super) cells: Array<Cell>,
    leaves: Array<u32>,
    pub(super) blocks: Array<Block>,
    pub(super) hops: Hops,
}

impl Trie {
    pub(super) fn new(v6: bool) -> Self {
        Trie {
            stride: if v6 { STRIDE6 } else { STRIDE4 },
            direct: Array::default(),
            cells: Array::default(),
            leaves: Array::default(),
            blocks: Array::default(),
            hops: Hops::default(),
        }
    }

    /// One of the same family without a route.
    pub(super) fn emptied(&self) -> Self {
        Trie::new(self.stride == STRIDE6)
    }

    /// What suits so many routes.
    pub(super) fn form_for(&self, routes: usize) -> Form {
        match routes {
            _ if routes > BLOCKS_ABOVE && self.stride == STRIDE4 => Form::Blocks,
            _ if routes > DIRECT_ABOVE => Form::Direct,
            _ => Form::Nodes,
        }
    }

    /// Adds the routes of a segment, sorted; returns its root.
    pub(super) fn add_segment(&mut self, prefixes: &[Prefix], form: Form) -> u32 {
        let unreachable = NextHop::Unreachable.to_bits();
        let mut pending = VecDeque::new();
        let root = match (prefixes, form) {
            ([], _) => unreachable,
            ([only], Form::Nodes) if only.length == 0 => only.next_hop,
            (_, Form::Nodes) => self.add_node(0..prefixes.len(), 0, unreachable, &mut pending),
            (_, Form::Direct | Form::Blocks) => {
                let mut slots = paint(prefixes, 0..prefixes.len(), 0, DIRECT_BITS, unreachable);
                for (slot, range) in slots.deeper {
                    let inherited = slots.leaves[slot];
                    slots.leaves[slot] = self.add_below(form, prefixes, range, inherited, &mut pending);
                }
                NODE | DIRECT | (self.direct.add(&slots.leaves) >> DIRECT_BITS) as u32
            }
        };
        self.fill(prefixes, &mut pending);
        root
    }

    /// The entry for a /16 whose routes, all longer, are `prefixes`.
    pub(super) fn add_slot(&mut self, form: Form, prefixes: &[Prefix], inherited: u32) -> u32 {
        let mut pending = VecDeque::new();
        let entry = self.add_below(form, prefixes, 0..prefixes.len(), inherited, &mut pending);
        self.fill(prefixes, &mut pending);
        entry
    }

    fn add_below(
        &mut self,
        form: Form,
        prefixes: &[Prefix],
        range: Range<usize>,
        inherited: u32,
        pending: &mut VecDeque<Pending>,
    ) -> u32 {
        if form == Form::Blocks {
            let mut slots = paint(prefixes, range.clone(), DIRECT_BITS, STRIDE4, inherited);
            let mut later = VecDeque::new();
            for (slot, range) in slots.deeper {
                let inherited = slots.leaves[slot];
                slots.leaves[slot] = self.add_node(range, DIRECT_BITS + STRIDE4, inherited, &mut later);
            }
            if let Some(block) = self.hops.block(&slots.leaves) {
                pending.append(&mut later);
                return NODE | DIRECT | self.blocks.add(&[block]) as u32;
            }
            // The hops are used up: nodes take longer and need none.
            for node in later {
                self.give_back_node(node.cell);
            }
        }
        self.add_node(range, DIRECT_BITS, inherited, pending)
    }

    /// A node to be filled later.
    pub(super) fn add_node(
        &mut self,
        range: Range<usize>,
        depth: u32,
        inherited: u32,
        pending: &mut VecDeque<Pending>,
    ) -> u32 {
        let cell = self.cells.take(self.cells_per_node());
        pending.push_back(Pending {
            cell,
            range,
            depth,
            inherited,
        });
        NODE | cell as u32 & INDEX
    }

    /// Gives back a node that was not filled.
    pub(super) fn give_back_node(&mut self, cell: usize) {
        self.hops.release(NODE | cell as u32 & INDEX);
        self.cells.give_back(cell, self.cells_per_node());
    }

    pub(super) fn fill(&mut self, prefixes: &[Prefix], pending: &mut VecDeque<Pending>) {
        while let Some(node) = pending.pop_front() {
            self.fill_node(&node, prefixes, pending);
        }
    }

    fn fill_node(&mut self, node: &Pending, prefixes: &[Prefix], pending: &mut VecDeque<Pending>) {
        let slots = paint(prefixes, node.range.clone(), node.depth, self.stride, node.inherited);
        let mut deeper = slots.deeper.as_slice();
        for (quarter, leaves) in slots.leaves.chunks(1 << CELL_BITS).enumerate() {
            let here = of_quarter(&mut deeper, quarter);
            let first = self.cells.take(here.len() * self.cells_per_node());
            let mut children = 0;
            for (rank, (slot, range)) in here.iter().enumerate() {
                children |= 1 << (slot % (1 << CELL_BITS));
                pending.push_back(Pending {
                    cell: first + rank * self.cells_per_node(),
                    range: range.clone(),
                    depth: node.depth + self.stride,
                    inherited: slots.leaves[*slot],
                });
            }
            self.set_cell(node.cell + quarter, children, first, leaves);
        }
    }

    /// Writes a cell; its leaves are new.
    pub(super) fn set_cell(&mut self, at: usize, children: u64, first_child: usize, leaves: &[u32]) {
        let (mut of_runs, mut count, mut runs) = ([0; 1 << CELL_BITS], 0, 0);
        for (slot, &leaf) in leaves.iter().enumerate() {
            if children >> slot & 1 == 0 && (count == 0 || of_runs[count - 1] != leaf) {
                runs |= 1 << slot;
                of_runs[count] = leaf;
                count += 1;
            }
        }
        let cell = Cell {
            children,
            runs,
            first_child: first_child as u32,
            first_leaf: self.leaves.add(&of_runs[..count]) as u32,
        };
        self.cells.set(at, &[cell]);
    }

    /// Gives back all that an entry leads to.
    pub(super) fn free(&mut self, entry: u32) {
        let index = (entry & INDEX) as usize;
        match entry & (NODE | DIRECT) {
            NODE => {
                self.free_content(index);
                self.give_back_node(index);
            }
            both if both == NODE | DIRECT => {
                for place in self.blocks.get(index) {
                    // A node is one slot's only; its hop is free after the first look.
                    let hop = self.hops.entries.get(usize::from(place));
                    if hop & NODE != 0 {
                        self.free(hop);
                    }
                }
                self.blocks.give_back(index, 1);
            }
            _ => {}
        }
    }

    /// The same for a segment's root, whose index is that of a direct table.
    pub(super) fn free_segment(&mut self, root: u32) {
        if root & (NODE | DIRECT) != NODE | DIRECT {
            return self.free(root);
        }
        let first = ((root & INDEX) as usize) << DIRECT_BITS;
        for slot in 0..1 << DIRECT_BITS {
            self.free(self.direct.get(first + slot));
        }
        self.direct.give_back(first, 1 << DIRECT_BITS);
    }

    /// Gives back children and leaves of a node, but not its cells.
    pub(super) fn free_content(&mut self, node: usize) {
        for at in node..node + self.cells_per_node() {
            let cell = self.cells.get(at);
            for rank in 0..cell.children.count_ones() as usize {
                self.free_content(cell.first_child as usize + rank * self.cells_per_node());
            }
            self.free_cell(&cell);
        }
    }

    /// Gives back what belongs to a cell alone: its leaves and its children's cells.
    pub(super) fn free_cell(&mut self, cell: &Cell) {
        let children = cell.children.count_ones() as usize;
        self.cells
            .give_back(cell.first_child as usize, children * self.cells_per_node());
        self.leaves
            .give_back(cell.first_leaf as usize, cell.runs.count_ones() as usize);
    }

    pub(super) fn cells_per_node(&self) -> usize {
        1 << (self.stride - CELL_BITS)
    }

    /// # Errors
    /// [`BuildError::TooMany`] if an entry cannot name what there is.
    pub(super) fn check(&self, routes: usize) -> Result<(), BuildError> {
        let most = INDEX as usize;
        if self.cells.items().len() > most || self.leaves.items().len() > most {
            return Err(BuildError::TooMany {
                kind: Kind::Route,
                count: routes,
                most,
            });
        }
        Ok(())
    }

    /// Whether it should rather be compiled anew.
    pub(super) fn is_scattered(&self) -> bool {
        self.cells.is_scattered() || self.leaves.is_scattered() || self.blocks.is_scattered()
    }

    /// The section; `room` says how many items so many get room for.
    pub(super) fn section(&mut self, room: impl Fn(usize) -> usize) -> Section {
        let room = |used: usize| if used == 0 { 0 } else { room(used) };
        self.direct.room = self.direct.items().len();
        self.blocks.room = room(self.blocks.items().len());
        self.cells.room = room(self.cells.items().len());
        self.leaves.room = room(self.leaves.items().len());
        self.hops.entries.room = room(self.hops.entries.items().len());
        let header = RoutesHeader {
            stride: self.stride,
            direct: (self.direct.room >> DIRECT_BITS) as u32,
            cells: self.cells.room as u32,
            leaves: self.leaves.room as u32,
            blocks: self.blocks.room as u32,
            hops: self.hops.entries.room as u32,
            reserved: [0; 10],
        };
        // From now on writes are remembered.
        let _ = (
            self.direct.take_writes(),
            self.blocks.take_writes(),
            self.cells.take_writes(),
        );
        let _ = (self.leaves.take_writes(), self.hops.entries.take_writes());
        Section::spaced(&[
            (header.as_bytes(), size_of::<RoutesHeader>()),
            (self.direct.items().as_bytes(), 4 * self.direct.room),
            (self.blocks.items().as_bytes(), size_of::<Block>() * self.blocks.room),
            (self.cells.items().as_bytes(), size_of::<Cell>() * self.cells.room),
            (self.leaves.items().as_bytes(), 4 * self.leaves.room),
            (self.hops.entries.items().as_bytes(), 4 * self.hops.entries.room),
        ])
    }

    /// Writes what changed since the section was made or last written; false, and nothing is written, if it has no room.
    pub(super) fn write_to(&mut self, section: &mut Section) -> bool {
        let hops = &mut self.hops.entries;
        let fits = [
            self.direct.fits(),
            self.blocks.fits(),
            self.cells.fits(),
            self.leaves.fits(),
            hops.fits(),
        ];
        if fits != [true; 5] {
            return false;
        }
        let at = size_of::<RoutesHeader>();
        let at = write_array(section, at, &mut self.direct);
        let at = write_array(section, at, &mut self.blocks);
        let at = write_array(section, at, &mut self.cells);
        let at = write_array(section, at, &mut self.leaves);
        write_array(section, at, hops);
        true
    }
}

/// Writes what changed in an array that begins at `at`; where it ends.
fn write_array<T>(section: &mut Section, at: usize, array: &mut Array<T>) -> usize
where
    T: Copy + FromZeros + IntoBytes + Immutable,
{
    for range in joined(array.take_writes()) {
        section.write(at + size_of::<T>() * range.start, array.items()[range].as_bytes());
    }
    at + size_of::<T>() * array.room
}

/// The entries that blocks name.
#[derive(Default)]
pub(super) struct Hops {
    pub(super) entries: Array<u32>,
    places: HashMap<u32, u16>,
}

impl Hops {
    /// The block of 256 entries; `None` if there is no place for all of them.
    pub(super) fn block(&mut self, entries: &[u32]) -> Option<Block> {
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
        if self.entries.items().len() > usize::from(u16::MAX) && !self.entries.has_free(1) {
            return None;
        }
        let place = self.entries.add(&[entry]) as u16;
        self.places.insert(entry, place);
        Some(place)
    }

    /// Forgets a node. Next hops stay: any block may name them.
    fn release(&mut self, entry: u32) {
        if let Some(place) = self.places.remove(&entry) {
            let place = usize::from(place);
            self.entries.set(place, &[NextHop::Unreachable.to_bits()]);
            self.entries.give_back(place, 1);
        }
    }
}

/// Those of the slots with longer routes that lie in a node's cell `quarter`; `deeper` begins with them.
pub(super) fn of_quarter<'d>(deeper: &mut &'d [(usize, Range<usize>)], quarter: usize) -> &'d [(usize, Range<usize>)] {
    let beyond = (quarter + 1) << CELL_BITS;
    let (here, rest) = deeper.split_at(deeper.partition_point(|(slot, _)| *slot < beyond));
    *deeper = rest;
    here
}

/// Spreads routes longer than `depth` over the slots of the next `stride` bits.
pub(super) fn paint(prefixes: &[Prefix], range: Range<usize>, depth: u32, stride: u32, inherited: u32) -> Slots {
    let mut slots = Slots {
        leaves: vec![inherited; 1 << stride],
        deeper: Vec::new(),
    };
    let slot_of = |prefix: &Prefix| ((prefix.bits << depth) >> (128 - stride)) as usize;
    let mut rest = range;
    while let Some(at) = rest.next() {
        let prefix = &prefixes[at];
        let (slot, length) = (slot_of(prefix), u32::from(prefix.length));
        if length <= depth + stride {
            slots.leaves[slot..slot + (1 << (depth + stride - length))].fill(prefix.next_hop);
            continue;
        }
        // Nothing that ends here follows on something longer in the same slot: the others of the slot can be passed by.
        let end = at + run_length(&prefixes[at..rest.end], |other| slot_of(other) == slot);
        slots.deeper.push((slot, at..end));
        rest.start = end;
    }
    slots
}

/// How many begin the list that are alike; as many steps as the number has digits, near each other where it is small.
fn run_length(prefixes: &[Prefix], alike: impl Fn(&Prefix) -> bool) -> usize {
    let mut reach = 1;
    while prefixes.get(reach).is_some_and(&alike) {
        reach *= 2;
    }
    let (from, until) = (reach / 2, reach.min(prefixes.len()));
    from + prefixes[from..until].partition_point(alike)
}

//! Tries that follow a changed route: only the node or block in which it ends is painted anew, with what it alone covers below.

use super::routes::{Cell, DIRECT, DIRECT_BITS, INDEX, NODE, Prefix, STRIDE4};
use super::routes_trie::{Form, Pending, Slots, Trie, of_quarter, paint};
use core::ops::Range;
use std::collections::VecDeque;

/// A prefix whose route came, went or leads elsewhere.
#[derive(Clone, Copy)]
pub(super) struct Edited {
    /// Left-aligned.
    pub(super) bits: u128,
    pub(super) length: u8,
}

/// How a slot of a node relates to what was edited.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Touch {
    /// Not covered by it.
    None,
    /// It lies within the slot.
    Within,
    /// It covers the slot.
    Covered,
}

impl Edited {
    /// For the slots of `stride` bits behind `depth` in the node that holds the edited prefix, which is longer than `depth`.
    fn touches(self, slot: usize, depth: u32, stride: u32) -> Touch {
        let first = ((self.bits << depth) >> (128 - stride)) as usize;
        let length = u32::from(self.length);
        let covered = 1 << (depth + stride).saturating_sub(length);
        match (first..first + covered).contains(&slot) {
            true if length > depth + stride => Touch::Within,
            true => Touch::Covered,
            false => Touch::None,
        }
    }
}

/// Routes of a /16, as they are now.
struct Under<'p> {
    prefixes: &'p [Prefix],
    edited: Edited,
}

impl Trie {
    /// The entry for a /16 whose longer routes are `prefixes` now, where `entry` was right before `edited`, one of them, changed.
    pub(super) fn amend_slot(
        &mut self,
        entry: u32,
        form: Form,
        prefixes: &[Prefix],
        inherited: u32,
        edited: Edited,
    ) -> u32 {
        if prefixes.is_empty() || entry & NODE == 0 {
            self.free(entry);
            return match prefixes {
                [] => inherited,
                _ => self.add_slot(form, prefixes, inherited),
            };
        }
        let under = Under { prefixes, edited };
        if entry & DIRECT == 0 {
            self.amend_node(
                (entry & INDEX) as usize,
                &under,
                0..prefixes.len(),
                DIRECT_BITS,
                inherited,
            );
            return entry;
        }
        if self.amend_block((entry & INDEX) as usize, &under, inherited) {
            return entry;
        }
        self.add_slot(form, prefixes, inherited)
    }

    /// False if the hops are used up: the block is gone then.
    fn amend_block(&mut self, block: usize, under: &Under<'_>, inherited: u32) -> bool {
        let (old, prefixes) = (self.blocks.get(block), under.prefixes);
        let mut slots = paint(prefixes, 0..prefixes.len(), DIRECT_BITS, STRIDE4, inherited);
        let depth = DIRECT_BITS + STRIDE4;
        let mut deeper = slots.deeper.iter().peekable();
        for (slot, place) in old.into_iter().enumerate() {
            let hop = self.hops.entries.get(usize::from(place));
            let range = deeper.next_if(|(at, _)| *at == slot).map(|(_, range)| range.clone());
            let touch = under.edited.touches(slot, DIRECT_BITS, STRIDE4);
            match range {
                Some(_) if hop & NODE != 0 && touch == Touch::None => slots.leaves[slot] = hop,
                Some(range) if hop & NODE != 0 && touch == Touch::Within => {
                    self.amend_node((hop & INDEX) as usize, under, range, depth, slots.leaves[slot]);
                    slots.leaves[slot] = hop;
                }
                Some(range) => {
                    self.free(hop);
                    slots.leaves[slot] = self.add_filled(prefixes, range, depth, slots.leaves[slot]);
                }
                None => self.free(hop),
            }
        }
        match self.hops.block(&slots.leaves) {
            Some(fresh) => {
                self.blocks.set(block, &[fresh]);
                true
            }
            None => {
                slots.leaves.iter().for_each(|entry| self.free(*entry));
                self.blocks.give_back(block, 1);
                false
            }
        }
    }

    fn add_filled(&mut self, prefixes: &[Prefix], range: Range<usize>, depth: u32, inherited: u32) -> u32 {
        let mut pending = VecDeque::new();
        let entry = self.add_node(range, depth, inherited, &mut pending);
        self.fill(prefixes, &mut pending);
        entry
    }

    fn amend_node(&mut self, node: usize, under: &Under<'_>, range: Range<usize>, depth: u32, inherited: u32) {
        let slots = paint(under.prefixes, range, depth, self.stride, inherited);
        let mut deeper = slots.deeper.as_slice();
        for quarter in 0..self.cells_per_node() {
            let here = of_quarter(&mut deeper, quarter);
            let mut wide = 64 * quarter..64 * (quarter + 1);
            if wide.any(|slot| under.edited.touches(slot, depth, self.stride) != Touch::None) {
                self.amend_cell(node + quarter, quarter, under, &slots, here, depth);
            }
        }
    }

    fn amend_cell(
        &mut self,
        at: usize,
        quarter: usize,
        under: &Under<'_>,
        slots: &Slots,
        deeper: &[(usize, Range<usize>)],
        depth: u32,
    ) {
        let (old, per_node) = (self.cells.get(at), self.cells_per_node());
        let (wide, below) = (64 * quarter..64 * (quarter + 1), depth + self.stride);
        let old_child = |slot: usize| {
            let bit = slot % 64;
            let rank = (old.children & ((1 << bit) - 1)).count_ones() as usize;
            (old.children >> bit & 1 == 1).then_some(old.first_child as usize + rank * per_node)
        };
        let mut children = 0;
        // Copies, since the new children may take the place of the old ones.
        let mut kept: Vec<(usize, Vec<Cell>)> = Vec::new();
        let mut fresh: Vec<(usize, Range<usize>)> = Vec::new();
        let mut within = None;
        for (rank, (slot, range)) in deeper.iter().enumerate() {
            children |= 1 << (slot % 64);
            let touch = under.edited.touches(*slot, depth, self.stride);
            match old_child(*slot) {
                Some(child) if touch != Touch::Covered => {
                    kept.push((rank, self.cells.items()[child..child + per_node].to_vec()));
                    if touch == Touch::Within {
                        within = Some((rank, range.clone(), slots.leaves[*slot]));
                    }
                }
                old => {
                    old.into_iter().for_each(|child| self.free_content(child));
                    fresh.push((rank, range.clone()));
                }
            }
        }
        for slot in wide.clone() {
            if let Some(child) = old_child(slot)
                && children >> (slot % 64) & 1 == 0
            {
                self.free_content(child);
            }
        }
        self.free_cell(&old);
        let first = self.cells.take(deeper.len() * per_node);
        for (rank, cells) in kept {
            self.cells.set(first + rank * per_node, &cells);
        }
        let mut pending = VecDeque::new();
        for (rank, range) in fresh {
            pending.push_back(Pending {
                cell: first + rank * per_node,
                range,
                depth: below,
                inherited: slots.leaves[deeper[rank].0],
            });
        }
        self.fill(under.prefixes, &mut pending);
        self.set_cell(at, children, first, &slots.leaves[wide]);
        if let Some((rank, range, inherited)) = within {
            self.amend_node(first + rank * per_node, under, range, below, inherited);
        }
    }
}

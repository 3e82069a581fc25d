//! From intervals to a direct table: the row of every value, found without a search.

use super::policy_format::BLOCK;
use std::collections::HashMap;

/// Entries of a block.
const BLOCK_SLOTS: usize = 256;

/// The table for a field of 32, 16 or 8 bits, then its blocks; equal blocks stand once. `None` if an entry cannot name a row or block.
pub(super) fn table(intervals: &[(u128, u32)], bits: u32) -> Option<Vec<u16>> {
    let mut blocks = Blocks::default();
    if bits == 8 {
        return entries(intervals, 0, 0, &mut blocks);
    }
    let mut table = Vec::new();
    let below = if bits == 32 { 16 } else { 8 };
    let mut at = 0;
    for part in 0..1u128 << (bits - below) {
        let (from, last) = (part << below, ((part + 1) << below) - 1);
        while intervals.get(at + 1).is_some_and(|(start, _)| *start <= from) {
            at += 1;
        }
        let one_row = intervals.get(at + 1).is_none_or(|(start, _)| *start > last);
        let known = if one_row {
            blocks.whole.get(&intervals[at].1).copied()
        } else {
            None
        };
        let place = match known {
            Some(place) => place,
            None => {
                let block = entries(intervals, from, below - 8, &mut blocks)?;
                blocks.place(block)?
            }
        };
        if one_row {
            blocks.whole.insert(intervals[at].1, place);
        }
        table.push(place);
    }
    table.append(&mut blocks.words);
    Some(table)
}

#[derive(Default)]
struct Blocks {
    words: Vec<u16>,
    places: HashMap<Vec<u16>, u16>,
    /// Blocks of a single row, by it.
    whole: HashMap<u32, u16>,
}

impl Blocks {
    fn place(&mut self, block: Vec<u16>) -> Option<u16> {
        if let Some(&known) = self.places.get(&block) {
            return Some(known);
        }
        let place = u16::try_from(self.words.len() / BLOCK_SLOTS).ok()?;
        self.words.extend_from_slice(&block);
        self.places.insert(block, place);
        Some(place)
    }
}

/// The entries of a block whose range begins at `first`, 2^`below` values for each.
fn entries(intervals: &[(u128, u32)], first: u128, below: u32, blocks: &mut Blocks) -> Option<Vec<u16>> {
    let mut table = Vec::with_capacity(BLOCK_SLOTS);
    let mut at = intervals.partition_point(|(start, _)| *start <= first).checked_sub(1)?;
    for part in 0..BLOCK_SLOTS as u128 {
        let (from, last) = (first + (part << below), first + ((part + 1) << below) - 1);
        while intervals.get(at + 1).is_some_and(|(start, _)| *start <= from) {
            at += 1;
        }
        let one_row = intervals.get(at + 1).is_none_or(|(start, _)| *start > last);
        let entry = if one_row {
            u16::try_from(intervals[at].1).ok()
        } else {
            let block = entries(intervals, from, below - 8, blocks)?;
            blocks.place(block)
        };
        let entry = entry.filter(|entry| below == 0 || entry & BLOCK == 0)?;
        table.push(if one_row { entry } else { entry | BLOCK });
    }
    Some(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn find(table: &[u16], bits: u32, value: u32) -> u32 {
        let slot = |shift: u32| (value >> shift) as usize % BLOCK_SLOTS;
        let entry = match bits {
            8 => table[value as usize],
            16 => table[BLOCK_SLOTS + usize::from(table[slot(8)]) * BLOCK_SLOTS + slot(0)],
            _ => {
                let blocks = &table[1 << 16..];
                let entry = blocks[usize::from(table[(value >> 16) as usize]) * BLOCK_SLOTS + slot(8)];
                match entry & BLOCK {
                    0 => entry,
                    _ => blocks[usize::from(entry & !BLOCK) * BLOCK_SLOTS + slot(0)],
                }
            }
        };
        u32::from(entry)
    }

    proptest! {
        #[test]
        fn every_edge_has_the_row_of_its_interval(mut starts in proptest::collection::vec(any::<u32>(), 0..200), shift in 0u32..3) {
            let bits = [32, 16, 8][shift as usize];
            starts.iter_mut().for_each(|start| *start >>= 32 - bits);
            starts.push(0);
            starts.sort_unstable();
            starts.dedup();
            let intervals: Vec<_> = starts.iter().enumerate().map(|(at, start)| (u128::from(*start), at as u32)).collect();
            let table = table(&intervals, bits).expect("few intervals");
            for (at, &start) in starts.iter().enumerate() {
                prop_assert_eq!(find(&table, bits, start), at as u32);
                if at > 0 {
                    prop_assert_eq!(find(&table, bits, start - 1), at as u32 - 1);
                }
            }
        }
    }
}

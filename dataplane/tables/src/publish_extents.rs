//! Which memory of the tables region is free: control's own bookkeeping, never shared, rebuilt from the generations in
//! use whenever control starts.

use crate::publish_root::EXTENT_ALIGN;
use std::collections::BTreeMap;

/// Free memory as disjoint, never touching runs: offset to length in bytes. All are multiples of [`EXTENT_ALIGN`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FreeMemory {
    runs: BTreeMap<usize, usize>,
}

/// Bytes that a section of `bytes` bytes occupies.
pub(crate) fn occupied(bytes: usize) -> usize {
    bytes.next_multiple_of(EXTENT_ALIGN)
}

impl FreeMemory {
    /// All of `from..to` is free.
    pub(crate) fn new(from: usize, to: usize) -> FreeMemory {
        let to = to - to % EXTENT_ALIGN;
        let mut free = FreeMemory::default();
        if from < to {
            free.runs.insert(from, to - from);
        }
        free
    }

    /// Takes the smallest run that fits `bytes` (rounded up); its offset.
    pub(crate) fn take(&mut self, bytes: usize) -> Option<usize> {
        let bytes = occupied(bytes);
        let (&offset, &run) = self
            .runs
            .iter()
            .filter(|(_, run)| **run >= bytes)
            .min_by_key(|(_, run)| **run)?;
        self.runs.remove(&offset);
        if run > bytes {
            self.runs.insert(offset + bytes, run - bytes);
        }
        Some(offset)
    }

    /// Takes exactly these bytes (rounded up), if they are all free.
    pub(crate) fn take_at(&mut self, offset: usize, bytes: usize) -> bool {
        let bytes = occupied(bytes);
        let Some((&start, &run)) = self.runs.range(..=offset).next_back() else {
            return false;
        };
        if offset + bytes > start + run {
            return false;
        }
        self.runs.remove(&start);
        if offset > start {
            self.runs.insert(start, offset - start);
        }
        if offset + bytes < start + run {
            self.runs.insert(offset + bytes, start + run - offset - bytes);
        }
        true
    }

    /// Gives back what [`take`](Self::take) or [`take_at`](Self::take_at) gave.
    pub(crate) fn give_back(&mut self, offset: usize, bytes: usize) {
        let (mut start, mut run) = (offset, occupied(bytes));
        if let Some(behind) = self.runs.remove(&(start + run)) {
            run += behind;
        }
        if let Some((&before, &length)) = self.runs.range(..start).next_back() {
            debug_assert!(before + length <= start, "memory given back twice");
            if before + length == start {
                self.runs.remove(&before);
                (start, run) = (before, length + run);
            }
        }
        self.runs.insert(start, run);
    }

    /// Free bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.runs.values().sum()
    }

    /// The longest run: the largest section that can be published.
    pub(crate) fn longest(&self) -> usize {
        self.runs.values().copied().max().unwrap_or(0)
    }

    /// The free runs as (offset, bytes).
    pub(crate) fn runs(&self) -> impl Iterator<Item = (usize, usize)> {
        self.runs.iter().map(|(offset, bytes)| (*offset, *bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn neighbours_grow_together_again() {
        let mut free = FreeMemory::new(64, 64 * 11);
        let whole = free.clone();
        let a = free.take(1).unwrap();
        let b = free.take(100).unwrap();
        let c = free.take(64).unwrap();
        assert_eq!((a, b, c, free.bytes()), (64, 128, 256, 64 * 6));
        free.give_back(a, 1);
        free.give_back(c, 64);
        assert_eq!(free.longest(), 64 * 7);
        free.give_back(b, 100);
        assert_eq!(free, whole);
    }

    #[test]
    fn exact_places_are_taken_once() {
        let mut free = FreeMemory::new(64, 640);
        assert!(free.take_at(128, 65));
        assert!(!free.take_at(192, 64));
        assert!(!free.take_at(64, 65));
        assert!(!free.take_at(576, 65));
        assert!(!free.take_at(0, 1));
        assert!(free.take_at(64, 64));
        assert_eq!(free.runs().collect::<Vec<_>>(), [(256, 384)]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_given_twice(steps in prop::collection::vec((any::<bool>(), 0usize..700), 1..200)) {
            let mut free = FreeMemory::new(64, 64 * 101);
            let mut held: Vec<(usize, usize)> = Vec::new();
            for (take, number) in steps {
                if take {
                    let bytes = number.max(1);
                    if let Some(offset) = free.take(bytes) {
                        for (other, length) in &held {
                            prop_assert!(offset + bytes <= *other || other + length <= offset);
                        }
                        held.push((offset, bytes));
                    }
                } else if !held.is_empty() {
                    let (offset, bytes) = held.swap_remove(number % held.len());
                    free.give_back(offset, bytes);
                }
                let used: usize = held.iter().map(|(_, bytes)| occupied(*bytes)).sum();
                prop_assert_eq!(free.bytes() + used, 6400);
            }
        }
    }
}

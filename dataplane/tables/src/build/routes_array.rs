//! One of the arrays of a section of routes while it is compiled: pieces are taken and given back, writes are remembered.

use core::ops::Range;
use std::collections::BTreeMap;
use zerocopy::FromZeros;

/// Items that pieces are cut from. A piece that was given back is taken again by who wants as many.
pub(super) struct Array<T> {
    items: Vec<T>,
    /// Pieces by length.
    free: BTreeMap<usize, Vec<usize>>,
    freed: usize,
    /// Items written since [`take_writes`](Self::take_writes); `None` before the first call: all were.
    writes: Option<Vec<Range<usize>>>,
    /// Items that the section has room for.
    pub(super) room: usize,
}

impl<T> Default for Array<T> {
    fn default() -> Self {
        Array {
            items: Vec::new(),
            free: BTreeMap::new(),
            freed: 0,
            writes: None,
            room: 0,
        }
    }
}

impl<T: Copy + FromZeros> Array<T> {
    pub(super) fn items(&self) -> &[T] {
        &self.items
    }

    pub(super) fn get(&self, at: usize) -> T {
        self.items[at]
    }

    /// So many items that nobody has; where they begin.
    pub(super) fn take(&mut self, count: usize) -> usize {
        if self.freed >= count
            && let Some(start) = self.free.get_mut(&count).and_then(Vec::pop)
        {
            self.freed -= count;
            return start;
        }
        let start = self.items.len();
        self.items.resize(start + count, T::new_zeroed());
        start
    }

    /// Whether [`take`](Self::take) needs no new items for so many.
    pub(super) fn has_free(&self, count: usize) -> bool {
        self.free.get(&count).is_some_and(|pieces| !pieces.is_empty())
    }

    /// Gives back what [`take`](Self::take) gave.
    pub(super) fn give_back(&mut self, start: usize, count: usize) {
        if count > 0 {
            self.free.entry(count).or_default().push(start);
            self.freed += count;
        }
    }

    pub(super) fn set(&mut self, at: usize, items: &[T]) {
        self.items[at..at + items.len()].copy_from_slice(items);
        if let Some(writes) = &mut self.writes {
            writes.push(at..at + items.len());
        }
    }

    /// A copy of `items` in a piece of its own.
    pub(super) fn add(&mut self, items: &[T]) -> usize {
        let start = self.take(items.len());
        self.set(start, items);
        start
    }

    /// Whether every item has its place in the section.
    pub(super) fn fits(&self) -> bool {
        self.items.len() <= self.room
    }

    /// Whether most of it lies free in pieces that nobody wants.
    pub(super) fn is_scattered(&self) -> bool {
        self.freed > 1024 && self.freed > self.items.len() / 2
    }

    /// What was written since the last call.
    pub(super) fn take_writes(&mut self) -> Vec<Range<usize>> {
        self.writes.replace(Vec::new()).unwrap_or_default()
    }
}

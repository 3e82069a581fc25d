//! Free words of a segment's room. Known to the process alone: rebuilt from the entries at its start.

use std::collections::BTreeMap;

/// Free extents, none beside another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Room {
    /// First word → words.
    free: BTreeMap<usize, usize>,
}

impl Room {
    /// All of it is free.
    pub(crate) fn new(words: usize) -> Room {
        Room {
            free: BTreeMap::from([(0, words)]),
        }
    }

    /// Takes the first extent that is long enough; `None` if there is none. Nothing needs no place.
    pub(crate) fn take(&mut self, words: usize) -> Option<usize> {
        if words == 0 {
            return Some(0);
        }
        let (&first, &length) = self.free.iter().find(|(_, length)| **length >= words)?;
        self.free.remove(&first);
        if length > words {
            self.free.insert(first + words, length - words);
        }
        Some(first)
    }

    /// Takes just these words; false, and nothing is taken, unless all of them are free.
    pub(crate) fn take_at(&mut self, first: usize, words: usize) -> bool {
        if words == 0 {
            return true;
        }
        let Some(end) = first.checked_add(words) else {
            return false;
        };
        let Some((&start, &length)) = self.free.range(..=first).next_back() else {
            return false;
        };
        if start + length < end {
            return false;
        }
        self.free.remove(&start);
        for (start, end) in [(start, first), (end, start + length)] {
            if start < end {
                self.free.insert(start, end - start);
            }
        }
        true
    }

    /// Gives words back that were taken.
    pub(crate) fn give(&mut self, first: usize, words: usize) {
        if words == 0 {
            return;
        }
        let (mut first, mut words) = (first, words);
        if let Some((&before, &length)) = self.free.range(..first).next_back()
            && before + length == first
        {
            self.free.remove(&before);
            (first, words) = (before, length + words);
        }
        if let Some(length) = self.free.remove(&(first + words)) {
            words += length;
        }
        self.free.insert(first, words);
    }

    /// Every free extent: first word and words.
    pub(crate) fn extents(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.free.iter().map(|(first, words)| (*first, *words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_given_back_and_joined() {
        let mut room = Room::new(10);
        assert_eq!([room.take(3), room.take(3), room.take(4)], [Some(0), Some(3), Some(6)]);
        assert_eq!((room.take(1), room.take(0), room.extents().count()), (None, Some(0), 0));
        room.give(0, 3);
        room.give(6, 4);
        room.give(3, 3);
        assert_eq!(room.extents().collect::<Vec<_>>(), [(0, 10)]);
    }

    #[test]
    fn only_free_words_are_taken_at_a_place() {
        let mut room = Room::new(10);
        assert!(room.take_at(4, 2) && room.take_at(0, 1) && room.take_at(9, 1) && room.take_at(2, 0));
        for (first, words) in [(4, 1), (3, 2), (5, 2), (8, 2), (10, 1), (usize::MAX, 2), (0, 10)] {
            assert!(!room.take_at(first, words), "{first} {words}");
        }
        assert_eq!(room.extents().collect::<Vec<_>>(), [(1, 3), (6, 3)]);
    }
}

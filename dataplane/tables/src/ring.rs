//! A bounded ring of fixed-size records in shared memory: one producer, one consumer, either of which may die and come
//! back. What finds no room is dropped and counted; nobody ever waits.
//!
//! Only atomics are touched, so that a consumer that meets nonsense (positions that contradict each other) can at worst
//! lose records: it starts again at the producer's position.

use crate::sync::Word;
use core::sync::atomic::Ordering;

/// Words before the records: the consumer's line, then the producer's.
pub const RING_HEADER_WORDS: usize = 16;
const WORD_HEAD: usize = 0;
const WORD_LOST: usize = 1;
const WORD_TAIL: usize = 8;
const WORD_DROPPED: usize = 9;

/// A ring over words that both sides map.
#[derive(Debug)]
pub struct Ring<'m, W> {
    words: &'m [W],
    record_words: usize,
    capacity: u64,
}

impl<W> Clone for Ring<'_, W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W> Copy for Ring<'_, W> {}

impl<'m, W: Word> Ring<'m, W> {
    /// A ring of as many records as fit into `words`; `None` if not even one does.
    pub fn new(words: &'m [W], record_words: usize) -> Option<Ring<'m, W>> {
        let capacity = words.len().checked_sub(RING_HEADER_WORDS)?.checked_div(record_words)?;
        (capacity > 0).then_some(Ring {
            words,
            record_words,
            capacity: capacity as u64,
        })
    }

    /// Producer: lets `fill` write a record and shows it to the consumer. False, and one more dropped, if the ring is full.
    #[inline]
    pub fn push(self, fill: impl FnOnce(&[W])) -> bool {
        let tail = self.words[WORD_TAIL].load(Ordering::Relaxed);
        let head = self.words[WORD_HEAD].load(Ordering::Acquire);
        if tail.wrapping_sub(head) >= self.capacity {
            self.miss();
            return false;
        }
        fill(self.record(tail));
        self.words[WORD_TAIL].store(tail.wrapping_add(1), Ordering::Release);
        true
    }

    /// Producer: counts one more dropped, of which there is nothing left to push.
    pub fn miss(self) {
        let dropped = self.words[WORD_DROPPED].load(Ordering::Relaxed);
        self.words[WORD_DROPPED].store(dropped.wrapping_add(1), Ordering::Relaxed);
    }

    /// Consumer: lets `read` look at the oldest record and takes it out. `None` if the ring is empty.
    pub fn pop<T>(self, read: impl FnOnce(&[W]) -> T) -> Option<T> {
        let head = self.words[WORD_HEAD].load(Ordering::Relaxed);
        let tail = self.words[WORD_TAIL].load(Ordering::Acquire);
        if head == tail {
            return None;
        }
        if tail.wrapping_sub(head) > self.capacity {
            let lost = self.words[WORD_LOST].load(Ordering::Relaxed);
            self.words[WORD_LOST].store(lost.wrapping_add(1), Ordering::Relaxed);
            self.words[WORD_HEAD].store(tail, Ordering::Release);
            return None;
        }
        let value = read(self.record(head));
        self.words[WORD_HEAD].store(head.wrapping_add(1), Ordering::Release);
        Some(value)
    }

    /// Records that found no room since the region was made.
    pub fn dropped(self) -> u64 {
        self.words[WORD_DROPPED].load(Ordering::Relaxed)
    }

    /// How often the consumer met positions that contradict each other.
    pub fn lost(self) -> u64 {
        self.words[WORD_LOST].load(Ordering::Relaxed)
    }

    /// How many records fit.
    pub fn capacity(self) -> u64 {
        self.capacity
    }

    fn record(self, position: u64) -> &'m [W] {
        let first = RING_HEADER_WORDS + (position % self.capacity) as usize * self.record_words;
        &self.words[first..first + self.record_words]
    }
}

/// One worker's share of a part that holds a ring for each of `workers` workers.
pub(crate) fn share<W>(part: &[W], workers: usize, worker: usize) -> Option<&[W]> {
    let words = part.len().checked_div(workers)?;
    if worker >= workers {
        return None;
    }
    part.get(worker * words..(worker + 1) * words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicU64;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn memory(records: usize) -> Vec<AtomicU64> {
        (0..RING_HEADER_WORDS + records * 2)
            .map(|_| AtomicU64::new(0))
            .collect()
    }

    fn push(ring: Ring<'_, AtomicU64>, value: u64) -> bool {
        ring.push(|record| {
            record[0].store(value, Ordering::Relaxed);
            record[1].store(!value, Ordering::Relaxed);
        })
    }

    fn pop(ring: Ring<'_, AtomicU64>) -> Option<u64> {
        ring.pop(|record| {
            let value = record[0].load(Ordering::Relaxed);
            assert_eq!(record[1].load(Ordering::Relaxed), !value);
            value
        })
    }

    #[test]
    fn too_little_memory_is_no_ring() {
        assert!(Ring::new(&memory(0), 2).is_none());
        assert!(Ring::new(&memory(1)[..3], 2).is_none());
        assert!(Ring::new(&memory(1), 0).is_none());
        assert_eq!(Ring::new(&memory(3), 2).unwrap().capacity(), 3);
    }

    #[test]
    fn a_side_that_comes_back_goes_on_where_it_was() {
        let memory = memory(4);
        assert!(push(Ring::new(&memory, 2).unwrap(), 1));
        assert!(push(Ring::new(&memory, 2).unwrap(), 2));
        assert_eq!(pop(Ring::new(&memory, 2).unwrap()), Some(1));
        assert_eq!(pop(Ring::new(&memory, 2).unwrap()), Some(2));
        assert_eq!(pop(Ring::new(&memory, 2).unwrap()), None);
    }

    #[test]
    fn impossible_positions_lose_records_and_nothing_else() {
        let memory = memory(4);
        let ring = Ring::new(&memory, 2).unwrap();
        memory[WORD_TAIL].store(u64::MAX - 3, Ordering::Relaxed);
        assert_eq!((pop(ring), ring.lost()), (None, 1));
        assert!(push(ring, 5));
        assert_eq!(pop(ring), Some(5));
        for value in 0..9 {
            assert!(push(ring, value), "positions wrap");
            assert_eq!(pop(ring), Some(value));
        }
    }

    proptest! {
        #[test]
        fn a_ring_is_a_bounded_queue(steps in prop::collection::vec(any::<bool>(), 1..300)) {
            let memory = memory(5);
            let ring = Ring::new(&memory, 2).unwrap();
            let mut queue = VecDeque::new();
            let mut dropped = 0;
            for (value, add) in steps.into_iter().enumerate() {
                if add {
                    let fits = queue.len() < 5;
                    prop_assert_eq!(push(ring, value as u64), fits);
                    if fits { queue.push_back(value as u64) } else { dropped += 1 }
                } else {
                    prop_assert_eq!(pop(ring), queue.pop_front());
                }
            }
            prop_assert_eq!(ring.dropped(), dropped);
        }
    }
}

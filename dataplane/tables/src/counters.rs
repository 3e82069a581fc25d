//! The books: a row of counters per worker and port. A worker is the only writer of its rows, so adding is a plain load and
//! store; readers sum over the workers.

use crate::fate::{COUNTERS_PER_PORT, Counter};
use crate::layout::PortIndex;
use crate::state::{State, StatePart};
use core::sync::atomic::{AtomicU64, Ordering};

/// Words of the counters part.
pub fn counter_words(workers: usize, ports: usize) -> usize {
    workers.saturating_mul(ports).saturating_mul(COUNTERS_PER_PORT)
}

/// All counters of a state region.
#[derive(Clone, Copy, Debug)]
pub struct Counters<'m> {
    words: &'m [AtomicU64],
    ports: usize,
}

/// The rows of one worker.
#[derive(Clone, Copy, Debug)]
pub struct WorkerCounters<'m> {
    words: &'m [AtomicU64],
}

/// One row: the counters of one port, written by one worker.
#[derive(Clone, Copy, Debug)]
pub struct PortCounters<'m> {
    words: &'m [AtomicU64; COUNTERS_PER_PORT],
}

impl<'m> Counters<'m> {
    /// The counters of `state`.
    pub fn new(state: &'m State) -> Counters<'m> {
        Counters {
            words: state.part(StatePart::Counters),
            ports: state.limits().ports as usize,
        }
    }

    /// The rows of one worker; without rows if there is no such worker.
    pub fn worker(self, worker: usize) -> WorkerCounters<'m> {
        let row = self.ports * COUNTERS_PER_PORT;
        let first = worker.saturating_mul(row);
        WorkerCounters {
            words: self.words.get(first..first.saturating_add(row)).unwrap_or(&[]),
        }
    }

    /// How many ports have rows.
    pub fn ports(self) -> usize {
        self.ports
    }

    /// One port's counters, summed over the workers. Not one instant: each counter is right, their balance only at rest.
    pub fn sum(self, port: PortIndex) -> [u64; COUNTERS_PER_PORT] {
        let mut total = [0u64; COUNTERS_PER_PORT];
        let row = (self.ports * COUNTERS_PER_PORT).max(1);
        for worker in 0..self.words.len() / row {
            if let Some(counters) = self.worker(worker).port(port) {
                for (sum, value) in total.iter_mut().zip(counters.values()) {
                    *sum = sum.wrapping_add(value);
                }
            }
        }
        total
    }
}

impl<'m> WorkerCounters<'m> {
    /// The row of one port; `None` beyond the ports that the region was sized for.
    #[inline]
    pub fn port(self, port: PortIndex) -> Option<PortCounters<'m>> {
        let first = port.usize() * COUNTERS_PER_PORT;
        let words = self.words.get(first..first + COUNTERS_PER_PORT)?;
        words.try_into().ok().map(|words| PortCounters { words })
    }
}

impl PortCounters<'_> {
    /// Adds to a counter, named by its word (`Counter as usize`, `Counter::dropped(reason)`). Only the owning worker may.
    #[inline]
    pub fn add(self, word: usize, count: u64) {
        debug_assert!(word < COUNTERS_PER_PORT, "no such counter");
        if let Some(counter) = self.words.get(word) {
            counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
        }
    }

    /// Sets a gauge. Only the owning worker may.
    #[inline]
    pub fn set(self, gauge: Counter, value: u64) {
        self.words[gauge as usize].store(value, Ordering::Relaxed);
    }

    /// One counter.
    pub fn value(self, word: usize) -> u64 {
        self.words
            .get(word)
            .map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// All counters of the row.
    pub fn values(self) -> [u64; COUNTERS_PER_PORT] {
        core::array::from_fn(|word| self.words[word].load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fate::DropReason;
    use crate::region::{HugePages, Region};
    use crate::state::{Limits, StateSpec};

    fn state(workers: u32, ports: u32) -> State {
        let spec = StateSpec::new(Limits {
            workers,
            ports,
            ..Limits::default()
        });
        State::create(Region::create("test", spec.bytes(), HugePages::Never).unwrap(), &spec).unwrap()
    }

    #[test]
    fn workers_add_apart_and_readers_see_the_sum() {
        let state = state(2, 3);
        let counters = Counters::new(&state);
        let word = Counter::dropped(DropReason::NoRoute);
        counters.worker(0).port(PortIndex(1)).unwrap().add(word, 3);
        counters.worker(1).port(PortIndex(1)).unwrap().add(word, 4);
        counters
            .worker(1)
            .port(PortIndex(2))
            .unwrap()
            .add(Counter::Received as usize, 9);
        counters.worker(1).port(PortIndex(2)).unwrap().set(Counter::Held, 5);
        assert_eq!(counters.sum(PortIndex(1))[word], 7);
        assert_eq!(counters.sum(PortIndex(2))[Counter::Received as usize], 9);
        assert_eq!(counters.sum(PortIndex(2))[Counter::Held as usize], 5);
        assert_eq!(counters.sum(PortIndex(0)), [0; COUNTERS_PER_PORT]);
        assert_eq!(counters.worker(0).port(PortIndex(1)).unwrap().value(word), 3);
    }

    #[test]
    fn what_was_not_sized_for_is_not_there() {
        let state = state(1, 2);
        let counters = Counters::new(&state);
        assert!(counters.worker(0).port(PortIndex(2)).is_none());
        assert!(counters.worker(1).port(PortIndex(0)).is_none());
        assert!(counters.worker(usize::MAX).port(PortIndex(0)).is_none());
        assert_eq!(counters.sum(PortIndex(u16::MAX)), [0; COUNTERS_PER_PORT]);
    }

    #[test]
    fn rows_of_two_workers_share_no_cache_line() {
        assert_eq!(COUNTERS_PER_PORT * 8 % 64, 0);
        let state = state(2, 1);
        assert_eq!(state.part(StatePart::Counters).as_ptr() as usize % 64, 0);
    }
}

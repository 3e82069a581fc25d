//! What passed through each SA: a row per worker and SA, written by that worker alone.
//!
//! Of an inbound SA two things are told apart: packets that were authentic and not seen before, which say that the peer lives and what
//! the network lost or put out of order, and those of them whose inner packet was in order, too.

use crate::layout::SaIndex;
use crate::state::{State, StatePart};
use core::sync::atomic::{AtomicU64, Ordering};

/// Words per worker and SA: two cache lines, the second for late packets alone.
pub const SA_COUNTER_WORDS: usize = 16;
/// Classes of lateness: 1, 2 to 3, 4 to 7, and so on; the last one has no end.
pub const LATE_CLASSES: usize = 8;
const PACKETS: usize = 0;
const BYTES: usize = 1;
const LAST: usize = 2;
const AUTHENTIC: usize = 3;
const FIRST: usize = 4;
const LATE: usize = 8;

const _: () = assert!(LATE + LATE_CLASSES <= SA_COUNTER_WORDS);

/// Words of the part.
pub fn words(workers: usize, sas: usize) -> usize {
    workers.saturating_mul(sas).saturating_mul(SA_COUNTER_WORDS)
}

/// Counters of one SA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaCounters {
    /// Inner packets sealed or opened.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the last one was sealed, or the last authentic one that was not seen before came in: monotonic milliseconds, 0 = never.
    pub last_ms: u64,
    /// Inbound: authentic packets that were not seen before, whatever was in them.
    pub authentic: u64,
    /// Inbound: lowest sequence number that a worker began with, 0 = none yet.
    pub first: u64,
    /// Inbound: those of `authentic` that a later number had overtaken, by how many numbers: see [`LATE_CLASSES`].
    pub late: [u64; LATE_CLASSES],
}

impl SaCounters {
    /// Estimates how many packets of an inbound SA did not arrive, by the highest number that did. What is under way counts as
    /// lost until it comes; numbers that the sender skipped count, too.
    pub fn lost(&self, highest: u64) -> u64 {
        if self.first == 0 {
            return 0;
        }
        let sent = (highest + 1).saturating_sub(self.first);
        sent.saturating_sub(self.authentic)
    }
}

/// Where the words of a worker and SA begin.
#[inline]
pub fn first(sas: usize, worker: usize, sa: SaIndex) -> usize {
    (worker * sas + sa.usize()) * SA_COUNTER_WORDS
}

#[inline]
fn row(part: &[AtomicU64], sas: usize, worker: usize, sa: SaIndex) -> Option<&[AtomicU64; SA_COUNTER_WORDS]> {
    part.get(first(sas, worker, sa)..)?.first_chunk()
}

/// No exchange is needed: nobody else writes the word.
#[inline]
fn add(word: &AtomicU64, more: u64) {
    word.store(word.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

/// Counts `count` inner packets of `bytes` bytes together. Only worker `worker` may.
#[inline]
pub fn count(part: &[AtomicU64], sas: usize, worker: usize, sa: SaIndex, count: usize, bytes: usize, now_ms: u64) {
    let Some(row) = row(part, sas, worker, sa) else { return };
    add(&row[PACKETS], count as u64);
    add(&row[BYTES], bytes as u64);
    touch(&row[LAST], now_ms);
}

#[inline]
fn touch(last: &AtomicU64, now_ms: u64) {
    if last.load(Ordering::Relaxed) != now_ms {
        last.store(now_ms, Ordering::Relaxed);
    }
}

/// Counts `count` authentic packets that were not seen before, the first of them with this sequence number. Only worker `worker` may.
#[inline]
pub fn count_authentic(
    part: &[AtomicU64],
    sas: usize,
    worker: usize,
    sa: SaIndex,
    count: u64,
    sequence: u64,
    now_ms: u64,
) {
    let Some(row) = row(part, sas, worker, sa) else { return };
    add(&row[AUTHENTIC], count);
    if row[FIRST].load(Ordering::Relaxed) == 0 {
        row[FIRST].store(sequence, Ordering::Relaxed);
    }
    touch(&row[LAST], now_ms);
}

/// Counts one of them that is `behind` numbers late, at least 1. Only worker `worker` may.
pub fn count_late(part: &[AtomicU64], sas: usize, worker: usize, sa: SaIndex, behind: u64) {
    let class = (behind.max(1).ilog2() as usize).min(LATE_CLASSES - 1);
    if let Some(row) = row(part, sas, worker, sa) {
        add(&row[LATE + class], 1);
    }
}

/// Sums an SA's counters over the workers.
pub fn sum(state: &State, sa: SaIndex) -> SaCounters {
    let (part, limits) = (state.part(StatePart::SaCounters), state.limits());
    let mut sum = SaCounters::default();
    for worker in 0..limits.workers as usize {
        let Some(row) = row(part, limits.sas as usize, worker, sa) else {
            continue;
        };
        let of = |word: usize| row[word].load(Ordering::Relaxed);
        sum.packets = sum.packets.wrapping_add(of(PACKETS));
        sum.bytes = sum.bytes.wrapping_add(of(BYTES));
        sum.last_ms = sum.last_ms.max(of(LAST));
        sum.authentic = sum.authentic.wrapping_add(of(AUTHENTIC));
        sum.first = match (sum.first, of(FIRST)) {
            (known, 0) => known,
            (0, first) => first,
            (known, first) => known.min(first),
        };
        for (class, late) in sum.late.iter_mut().enumerate() {
            *late = late.wrapping_add(of(LATE + class));
        }
    }
    sum
}

/// Forgets an SA's counters: its slot got another key. While no worker uses it.
pub fn reset(state: &State, sa: SaIndex) {
    let (part, limits) = (state.part(StatePart::SaCounters), state.limits());
    for worker in 0..limits.workers as usize {
        for word in row(part, limits.sas as usize, worker, sa).into_iter().flatten() {
            word.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_has_classes_of_powers_of_two() {
        let part: Vec<AtomicU64> = (0..words(2, 3)).map(|_| AtomicU64::new(0)).collect();
        let behind = [1, 2, 3, 4, 7, 8, 127, 128, 1 << 40, u64::MAX];
        for behind in behind {
            count_late(&part, 3, 1, SaIndex(2), behind);
        }
        let late = |worker, sa| row(&part, 3, worker, SaIndex(sa)).unwrap()[LATE..].iter();
        let of = |worker, sa| {
            late(worker, sa)
                .map(|word| word.load(Ordering::Relaxed))
                .collect::<Vec<_>>()
        };
        assert_eq!(of(1, 2), [1, 2, 2, 1, 0, 0, 1, 3]);
        assert_eq!(of(1, 1), [0; 8]);
        assert_eq!(of(0, 2), [0; 8]);
        count_late(&part, 3, 2, SaIndex(0), 1);
    }

    #[test]
    fn what_is_lost_is_what_lies_between_and_did_not_come() {
        let counters = |first, authentic| SaCounters {
            first,
            authentic,
            ..SaCounters::default()
        };
        assert_eq!(counters(0, 0).lost(0), 0);
        assert_eq!(counters(1, 10).lost(10), 0);
        assert_eq!(counters(1, 7).lost(10), 3);
        assert_eq!(counters(1_000, 2).lost(1_001), 0, "an SA that began before we did");
        assert_eq!(counters(5, 4).lost(6), 0, "older ones came after the first");
    }
}

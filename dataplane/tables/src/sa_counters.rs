//! What passed through each SA: a row per worker and SA, written by that worker alone.

use crate::layout::SaIndex;
use crate::state::{State, StatePart};
use core::sync::atomic::{AtomicU64, Ordering};

/// Words per worker and SA.
pub const SA_COUNTER_WORDS: usize = 4;

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
    /// When the last one was opened or sealed: monotonic milliseconds, 0 = never.
    pub last_ms: u64,
}

/// Where the words of a worker and SA begin.
#[inline]
pub fn first(sas: usize, worker: usize, sa: SaIndex) -> usize {
    (worker * sas + sa.usize()) * SA_COUNTER_WORDS
}

/// Counts `count` packets of `bytes` bytes together. Only worker `worker` may.
#[inline]
pub fn count(part: &[AtomicU64], sas: usize, worker: usize, sa: SaIndex, count: usize, bytes: usize, now_ms: u64) {
    let first = first(sas, worker, sa);
    let Some([packets, total, last, _]) = part.get(first..first + SA_COUNTER_WORDS) else {
        return;
    };
    packets.store(
        packets.load(Ordering::Relaxed).wrapping_add(count as u64),
        Ordering::Relaxed,
    );
    total.store(
        total.load(Ordering::Relaxed).wrapping_add(bytes as u64),
        Ordering::Relaxed,
    );
    if last.load(Ordering::Relaxed) != now_ms {
        last.store(now_ms, Ordering::Relaxed);
    }
}

/// Sums an SA's counters over the workers.
pub fn sum(state: &State, sa: SaIndex) -> SaCounters {
    let (part, limits) = (state.part(StatePart::SaCounters), state.limits());
    let mut sum = SaCounters::default();
    for worker in 0..limits.workers as usize {
        let first = (worker * limits.sas as usize + sa.usize()) * SA_COUNTER_WORDS;
        let Some([packets, bytes, last, _]) = part.get(first..first + SA_COUNTER_WORDS) else {
            continue;
        };
        sum.packets = sum.packets.wrapping_add(packets.load(Ordering::Relaxed));
        sum.bytes = sum.bytes.wrapping_add(bytes.load(Ordering::Relaxed));
        sum.last_ms = sum.last_ms.max(last.load(Ordering::Relaxed));
    }
    sum
}

/// Forgets an SA's counters: its slot got another key. While no worker uses it.
pub fn reset(state: &State, sa: SaIndex) {
    let (part, limits) = (state.part(StatePart::SaCounters), state.limits());
    for worker in 0..limits.workers as usize {
        let first = (worker * limits.sas as usize + sa.usize()) * SA_COUNTER_WORDS;
        for word in part.get(first..first + SA_COUNTER_WORDS).unwrap_or(&[]) {
            word.store(0, Ordering::Relaxed);
        }
    }
}

//! Outbound sequence numbers: reserved in shared memory before use, by any number of workers at once.
//!
//! A slot is [`WORDS`] words of the state region: `next`, then `limit`. Control leases numbers (it writes to a synced file
//! that all below `limit` may have been used, then raises `limit`); workers take from `next`. So no number, which is
//! also the nonce, is used twice over a crash of a worker, of either process or of the machine.

use crate::atomic::{AtomicU64, Ordering};
use core::ops::Range;

/// Words of one SA's slot: a cache line of its own.
pub const WORDS: usize = 8;
/// The name that the region's geometry uses.
pub const WORDS_PER_SEQUENCE: usize = WORDS;

/// First number that an SA without ESN may not use: the counter must not cycle (RFC 4303 §3.3.3).
pub const END_WITHOUT_ESN: u64 = 1 << 32;

/// One SA's slot.
#[derive(Clone, Copy)]
pub struct Sequence<'a> {
    next: &'a AtomicU64,
    limit: &'a AtomicU64,
}

impl<'a> Sequence<'a> {
    /// The slot that begins at `words[0]`; `None` if there are fewer than [`WORDS`].
    #[inline]
    pub fn new(words: &'a [AtomicU64]) -> Option<Self> {
        match words {
            [next, limit, _, _, _, _, _, _, ..] => Some(Sequence { next, limit }),
            _ => None,
        }
    }

    /// The slot of SA number `index` in the part of the region that holds all of them.
    #[inline]
    pub fn at(part: &'a [AtomicU64], index: usize) -> Option<Self> {
        Self::new(part.get(index.checked_mul(WORDS)?..)?)
    }

    /// Takes up to `count` numbers: all of the answer belong to the caller alone. It is shorter or empty when fewer are
    /// leased, or when an SA without `esn` comes to 2³². One atomic exchange, repeated only when another worker took some.
    #[inline]
    pub fn reserve(&self, count: u64, esn: bool) -> Range<u64> {
        reserve(self.next, self.limit, count, esn)
    }

    /// Numbers that can still be reserved: what control watches to lease ahead.
    pub fn remaining(&self, esn: bool) -> u64 {
        ceiling(self.limit.load(Ordering::Relaxed), esn).saturating_sub(self.next.load(Ordering::Relaxed))
    }

    /// The next number to be taken.
    pub fn next(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Control: lends all numbers below `limit`. Never lowers it. The lease must be on disk before.
    pub fn raise_limit(&self, limit: u64) {
        self.limit.fetch_max(limit, Ordering::Relaxed);
    }

    /// Control: a new key begins at `first` (1 for a fresh key, the old lease's end after a restart), with numbers below
    /// `limit` lent. Only while no worker can reserve from the slot.
    pub fn start(&self, first: u64, limit: u64) {
        // With limit 0 first, a late reader finds nothing to take at any step.
        self.limit.store(0, Ordering::SeqCst);
        self.next.store(first.max(1), Ordering::SeqCst);
        self.limit.store(limit, Ordering::SeqCst);
    }
}

/// Takes up to `count` numbers from `next`, staying below `limit` and, without `esn`, below 2³². See
/// [`Sequence::reserve`].
#[inline]
pub fn reserve(next: &AtomicU64, limit: &AtomicU64, count: u64, esn: bool) -> Range<u64> {
    // Relaxed is enough: the numbers publish nothing, and each exchange on the one word `next` is atomic. A stale `limit` is
    // only ever lower than the true one.
    let end = ceiling(limit.load(Ordering::Relaxed), esn);
    let mut first = next.load(Ordering::Relaxed);
    loop {
        let after = end.min(first.saturating_add(count));
        // A slot that was never started has `next` 0, which is not a number to send (RFC 4303 §3.3.3).
        if first == 0 || after <= first {
            return first..first;
        }
        match next.compare_exchange_weak(first, after, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return first..after,
            Err(current) => first = current,
        }
    }
}

#[inline]
fn ceiling(limit: u64, esn: bool) -> u64 {
    if esn { limit } else { limit.min(END_WITHOUT_ESN) }
}

#[cfg(all(test, not(loom)))]
mod tests;

//! How entries are reused: the free stack that all workers share, and what one worker holds back by itself.
//!
//! Free entries hang in chains of `batch` entries on one shared lock-free stack; each worker keeps a few by itself. A retired
//! entry goes to the *limbo* of its worker and is free again once every worker's batch counter moved. Only the shared memory
//! matters after a crash: a scrub rebuilds the stack from the live entries.

use super::{FRESH_WORD, Life, NONE, STACK_WORD, State, Table};
use crate::sync::{AtomicU64, Ordering, fence};

/// In the last word of an entry that hangs in a chain: no phase and no mapping looks like it.
const LINK_MARK: u64 = 0xff00_0000;

/// What one worker holds of one table, in its own memory.
pub(crate) struct TableLocal {
    free: Chain,
    fresh: core::ops::Range<u32>,
    filling: Chain,
    waiting: Chain,
    seen: Box<[Option<u64>]>,
    hand: u32,
    worker: u32,
}

impl TableLocal {
    pub(crate) fn new(worker: usize, workers: usize) -> Self {
        TableLocal {
            free: Chain::EMPTY,
            fresh: 0..0,
            filling: Chain::EMPTY,
            waiting: Chain::EMPTY,
            seen: vec![None; workers.max(1)].into_boxed_slice(),
            hand: 0,
            worker: worker as u32,
        }
    }

    /// The next entries for this worker's clock hand to look at: workers share `used` entries in stripes, each has its own.
    pub(crate) fn sweep(&mut self, used: u32) -> Option<u32> {
        const STRIPE: u32 = 64;
        if used == 0 {
            return None;
        }
        let workers = self.seen.len() as u32;
        let stripes = used.div_ceil(STRIPE);
        let mine = stripes.saturating_sub(self.worker).div_ceil(workers);
        if mine == 0 {
            return None;
        }
        let at = |hand: u32| ((hand / STRIPE) * workers + self.worker) * STRIPE + hand % STRIPE;
        if self.hand >= mine * STRIPE || at(self.hand) >= used {
            self.hand = 0;
        }
        let entry = at(self.hand);
        self.hand += 1;
        Some(entry).filter(|entry| *entry < used)
    }

    /// An entry that one of the next allocations will give, if they go on as before.
    #[inline]
    pub(crate) fn upcoming(&self) -> u32 {
        /// So far ahead of fresh entries, which are neighbours.
        const AHEAD: u32 = 4;
        if self.free.count > 0 {
            self.free.head
        } else {
            self.fresh.start.saturating_add(AHEAD)
        }
    }

    /// Entries retired and not yet free.
    pub(crate) fn limbo(&self) -> u32 {
        self.filling.count + self.waiting.count
    }
}

impl Table<'_> {
    /// An entry for the caller alone, in state `Free`.
    #[inline(always)]
    pub(crate) fn allocate(&self, local: &mut TableLocal) -> Option<u32> {
        if local.free.count > 0 {
            self.pop(&mut local.free)
        } else if let Some(entry) = local.fresh.next() {
            Some(entry)
        } else {
            self.allocate_far(local)
        }
    }

    /// From what all workers share.
    #[inline(never)]
    fn allocate_far(&self, local: &mut TableLocal) -> Option<u32> {
        if let Some(head) = self.pop_batch() {
            local.free = self.chain_from(head);
        } else {
            local.fresh = self.take_fresh();
        }
        self.pop(&mut local.free).or_else(|| local.fresh.next())
    }

    /// Back to the free entries at once: for one that no reader can have seen as live, or after its quiet time.
    pub(crate) fn free(&self, local: &mut TableLocal, entry: u32) {
        let word = &self.entry(entry)[0];
        word.store(Life(word.load(Ordering::Relaxed)).next_version().0, Ordering::Release);
        self.append(&mut local.free, entry);
        self.return_surplus(local);
    }

    /// An entry whose life the caller moved to `Retired` and that is out of the index: reused after the quiet time.
    pub(crate) fn retire(&self, local: &mut TableLocal, entry: u32) {
        self.append(&mut local.filling, entry);
    }

    /// Frees what every worker has let go of since it was retired, at most `budget` entries.
    ///
    /// `batch_counter(worker)` reads that worker's batch counter now; `None` is a worker that is parked or dead. Two moves are
    /// asked for: with one, a batch that began before the first reading could still be under way.
    pub(crate) fn reclaim(&self, local: &mut TableLocal, budget: usize, batch_counter: &impl Fn(usize) -> Option<u64>) {
        if local.waiting.count == 0 && local.filling.count > 0 {
            // The slots are out of the index before the counters are read.
            fence(Ordering::SeqCst);
            local.waiting = core::mem::replace(&mut local.filling, Chain::EMPTY);
            for (worker, seen) in local.seen.iter_mut().enumerate() {
                *seen = batch_counter(worker);
            }
            return;
        }
        for (worker, seen) in local.seen.iter_mut().enumerate() {
            if let Some(before) = *seen
                && batch_counter(worker).is_none_or(|now| now.wrapping_sub(before) >= 2)
            {
                *seen = None;
            }
        }
        if local.seen.iter().any(Option::is_some) {
            return;
        }
        fence(Ordering::SeqCst);
        for _ in 0..budget {
            let Some(entry) = self.pop(&mut local.waiting) else {
                break;
            };
            self.free(local, entry);
        }
    }

    /// Rebuilds the free stack after a crash: every entry that is not live becomes free. Nobody else may use the table.
    pub(crate) fn rebuild_free(&self) -> u32 {
        self.header[STACK_WORD].store(0, Ordering::Relaxed);
        let fresh = self.header[FRESH_WORD]
            .load(Ordering::Relaxed)
            .min(self.geometry.entries as u64);
        self.header[FRESH_WORD].store(fresh, Ordering::Relaxed);
        let (mut batch, mut freed) = (Chain::EMPTY, 0);
        for entry in 0..fresh as u32 {
            let word = &self.entry(entry)[0];
            let life = Life(word.load(Ordering::Relaxed));
            if life.state() == State::Live {
                continue;
            }
            word.store(life.next_version().0, Ordering::Relaxed);
            self.append(&mut batch, entry);
            freed += 1;
            if batch.count == self.geometry.batch {
                self.push_batch(batch.head);
                batch = Chain::EMPTY;
            }
        }
        if batch.count > 0 {
            self.push_batch(batch.head);
        }
        freed
    }

    /// Whether a last word is a link, of an entry that is retired or free.
    #[inline(always)]
    pub(crate) fn is_link(word: u64) -> bool {
        word & LINK_MARK == LINK_MARK
    }

    fn take_fresh(&self) -> core::ops::Range<u32> {
        let (fresh, total) = (&self.header[FRESH_WORD], self.geometry.entries as u64);
        let mut now = fresh.load(Ordering::Relaxed);
        while now < total {
            let next = (now + u64::from(self.geometry.batch)).min(total);
            match fresh.compare_exchange(now, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return now as u32..next as u32,
                Err(changed) => now = changed,
            }
        }
        0..0
    }

    fn return_surplus(&self, local: &mut TableLocal) {
        while local.free.count >= 2 * self.geometry.batch {
            let mut batch = Chain::EMPTY;
            for _ in 0..self.geometry.batch {
                if let Some(entry) = self.pop(&mut local.free) {
                    self.append(&mut batch, entry);
                }
            }
            self.push_batch(batch.head);
        }
    }

    fn push_batch(&self, head: u32) {
        let stack = &self.header[STACK_WORD];
        let mut now = stack.load(Ordering::Relaxed);
        loop {
            self.batch_link(head).store(now & 0xffff_ffff, Ordering::Relaxed);
            let next = (((now >> 32).wrapping_add(1)) << 32) | u64::from(head + 1);
            match stack.compare_exchange(now, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(changed) => now = changed,
            }
        }
    }

    fn pop_batch(&self) -> Option<u32> {
        let stack = &self.header[STACK_WORD];
        let mut now = stack.load(Ordering::Acquire);
        loop {
            let head = (now as u32).checked_sub(1)?;
            let below = self.batch_link(head).load(Ordering::Relaxed) & 0xffff_ffff;
            // The change count makes the exchange fail if the batch was taken and came back meanwhile.
            let next = (((now >> 32).wrapping_add(1)) << 32) | below;
            match stack.compare_exchange(now, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(head),
                Err(changed) => now = changed,
            }
        }
    }

    fn batch_link(&self, entry: u32) -> &AtomicU64 {
        &self.entry(entry)[self.geometry.shape.entry_words - 2]
    }

    fn chain_from(&self, head: u32) -> Chain {
        let (mut tail, mut count) = (head, 1);
        while self.link(tail) != NONE && count < self.geometry.batch {
            tail = self.link(tail);
            count += 1;
        }
        Chain { head, tail, count }
    }

    fn pop(&self, chain: &mut Chain) -> Option<u32> {
        if chain.count == 0 {
            return None;
        }
        let entry = chain.head;
        chain.head = self.link(entry);
        chain.count -= 1;
        Some(entry)
    }

    fn append(&self, chain: &mut Chain, entry: u32) {
        self.set_link(entry, NONE);
        if chain.count == 0 {
            *chain = Chain {
                head: entry,
                tail: entry,
                count: 1,
            };
        } else {
            self.set_link(chain.tail, entry);
            chain.tail = entry;
            chain.count += 1;
        }
    }

    fn link(&self, entry: u32) -> u32 {
        ((self.entry(entry)[self.geometry.shape.entry_words - 1].load(Ordering::Relaxed) >> 32) as u32).wrapping_sub(1)
    }

    fn set_link(&self, entry: u32, next: u32) {
        let word = (u64::from(next.wrapping_add(1)) << 32) | LINK_MARK;
        self.entry(entry)[self.geometry.shape.entry_words - 1].store(word, Ordering::Release);
    }
}

/// Entries linked through their last words.
#[derive(Clone, Copy)]
struct Chain {
    head: u32,
    tail: u32,
    count: u32,
}

impl Chain {
    const EMPTY: Chain = Chain {
        head: NONE,
        tail: NONE,
        count: 0,
    };
}

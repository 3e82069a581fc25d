//! What the session and the mapping table share: a header, an index, and entries with a life word and a free list.
//!
//! Layout of a part: header (24 words), index, entries. An entry's first word is its *life*: state, version, and 32 bits that
//! the table uses. Readers check the life before and after they copy an entry, so a half-written or recycled one is never
//! taken for another. Free entries hang in chains of `batch` entries on one shared lock-free stack; each worker keeps a few
//! by itself. A retired entry goes to the *limbo* of its worker and is free again once every worker's batch counter moved.
//! Only the shared memory matters after a crash: a scrub rebuilds stack and index from the live entries.

use crate::index::{self, Index};
use crate::sync::{AtomicU64, Ordering, fence};
use core::fmt;

const MAGIC: u64 = 0x746f_6d62_666c_6f31;
const HEADER_WORDS: usize = 24;
const MAGIC_WORD: usize = 0;
const CAPACITY_WORD: usize = 1;
const SEED_WORDS: usize = 2;
/// Entries from here on were never used.
const FRESH_WORD: usize = 8;
/// Stack of free batches: change count in the upper half, entry + 1 in the lower.
const STACK_WORD: usize = 16;
/// Entries that a worker may hold back in free list, limbo and in hand are paid for by spare ones, for so many batches.
const SPARE_BATCHES: usize = if cfg!(loom) { 2 } else { 192 };
/// No entry.
pub(crate) const NONE: u32 = u32::MAX;
/// In the last word of an entry that hangs in a chain: no phase and no mapping looks like it.
const LINK_MARK: u64 = 0xff00_0000;

/// A state part that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateError {
    /// The part has fewer words than its capacity needs.
    TooSmall {
        /// Words there are.
        words: usize,
        /// Words it takes.
        needed: usize,
    },
    /// The part was never formatted, or by another version.
    NotFormatted,
    /// More entries than an index can name, or none.
    Capacity(usize),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateError::TooSmall { words, needed } => write!(f, "state part has {words} words, {needed} are needed"),
            StateError::NotFormatted => write!(f, "state part is not formatted"),
            StateError::Capacity(capacity) => write!(f, "a table of {capacity} entries cannot be made"),
        }
    }
}

impl core::error::Error for StateError {}

/// What an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Free,
    /// Written and indexed, not yet agreed on.
    Ready,
    Live,
    Retired,
}

/// The first word of an entry: state (2 bits), version (14 bits), and 48 bits of the table's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Life(pub(crate) u64);

impl Life {
    pub(crate) const OWN_BITS: u32 = 48;
    const OWN_MASK: u64 = (1 << Self::OWN_BITS) - 1;

    #[inline(always)]
    pub(crate) fn state(self) -> State {
        match self.0 >> 62 {
            0 => State::Free,
            1 => State::Ready,
            2 => State::Live,
            _ => State::Retired,
        }
    }

    #[inline(always)]
    pub(crate) fn version(self) -> u32 {
        (self.0 >> Self::OWN_BITS) as u32 & 0x3fff
    }

    #[inline(always)]
    pub(crate) fn own(self) -> u64 {
        self.0 & Self::OWN_MASK
    }

    pub(crate) fn with_state(self, state: State) -> Life {
        let bits = match state {
            State::Free => 0u64,
            State::Ready => 1,
            State::Live => 2,
            State::Retired => 3,
        };
        Life((bits << 62) | (self.0 & !(3 << 62)))
    }

    pub(crate) fn with_own(self, own: u64) -> Life {
        Life((self.0 & !Self::OWN_MASK) | (own & Self::OWN_MASK))
    }

    /// The life of the entry's next use, still free.
    pub(crate) fn next_version(self) -> Life {
        let version = u64::from(self.version().wrapping_add(1) & 0x3fff);
        Life(version << Self::OWN_BITS)
    }
}

/// Sizes that follow from a capacity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub(crate) entries: usize,
    pub(crate) entry_words: usize,
    pub(crate) keys_per_entry: usize,
    batch: u32,
}

impl Geometry {
    pub(crate) const fn new(capacity: usize, entry_words: usize, keys_per_entry: usize) -> Geometry {
        let share = capacity / 256;
        let batch = if share < 1 {
            1
        } else if share > 64 {
            64
        } else {
            share
        };
        Geometry {
            entries: capacity + SPARE_BATCHES * batch,
            entry_words,
            keys_per_entry,
            batch: batch as u32,
        }
    }

    const fn index_words(&self) -> usize {
        index::words(self.entries * self.keys_per_entry)
    }

    pub(crate) const fn words(&self) -> usize {
        HEADER_WORDS + self.index_words() + self.entries * self.entry_words
    }
}

/// A view of one table.
#[derive(Clone, Copy)]
pub(crate) struct Table<'a> {
    header: &'a [AtomicU64],
    pub(crate) index: Index<'a>,
    entries: &'a [AtomicU64],
    geometry: Geometry,
}

impl<'a> Table<'a> {
    /// Makes an empty table; `part` must be zero or a table that nobody uses. What lies behind it is returned.
    pub(crate) fn format(
        part: &'a [AtomicU64],
        capacity: usize,
        entry_words: usize,
        keys_per_entry: usize,
        seed: [u64; 2],
    ) -> Result<(Self, &'a [AtomicU64]), StateError> {
        if capacity == 0 || capacity > (1 << 28) {
            return Err(StateError::Capacity(capacity));
        }
        let needed = Geometry::new(capacity, entry_words, keys_per_entry).words();
        let words = part.len();
        let part = part.get(..words).filter(|part| part.len() >= needed);
        let part = part.ok_or(StateError::TooSmall { words, needed })?;
        for word in part {
            if word.load(Ordering::Relaxed) != 0 {
                word.store(0, Ordering::Relaxed);
            }
        }
        part[CAPACITY_WORD].store(capacity as u64, Ordering::Relaxed);
        part[SEED_WORDS].store(seed[0], Ordering::Relaxed);
        part[SEED_WORDS + 1].store(seed[1], Ordering::Relaxed);
        part[MAGIC_WORD].store(MAGIC + entry_words as u64, Ordering::Release);
        Self::open(part, entry_words, keys_per_entry)
    }

    /// A table that was formatted before, perhaps by another process.
    pub(crate) fn open(
        part: &'a [AtomicU64],
        entry_words: usize,
        keys_per_entry: usize,
    ) -> Result<(Self, &'a [AtomicU64]), StateError> {
        let (header, rest) = part.split_at_checked(HEADER_WORDS).ok_or(StateError::TooSmall {
            words: part.len(),
            needed: HEADER_WORDS,
        })?;
        if header[MAGIC_WORD].load(Ordering::Acquire) != MAGIC + entry_words as u64 {
            return Err(StateError::NotFormatted);
        }
        let capacity = header[CAPACITY_WORD].load(Ordering::Relaxed) as usize;
        if capacity == 0 || capacity > (1 << 28) {
            return Err(StateError::Capacity(capacity));
        }
        let geometry = Geometry::new(capacity, entry_words, keys_per_entry);
        let too_small = StateError::TooSmall {
            words: part.len(),
            needed: geometry.words(),
        };
        let (index, rest) = rest.split_at_checked(geometry.index_words()).ok_or(too_small)?;
        let (entries, behind) = rest.split_at_checked(geometry.entries * entry_words).ok_or(too_small)?;
        let index = Index::new(index, geometry.entries * keys_per_entry).ok_or(too_small)?;
        Ok((
            Table {
                header,
                index,
                entries,
                geometry,
            },
            behind,
        ))
    }

    pub(crate) fn seed(&self) -> [u64; 2] {
        [
            self.header[SEED_WORDS].load(Ordering::Relaxed),
            self.header[SEED_WORDS + 1].load(Ordering::Relaxed),
        ]
    }

    /// All entries, spare ones included.
    pub(crate) fn entry_count(&self) -> u32 {
        self.geometry.entries as u32
    }

    /// The words of an entry; an index that only broken memory could hold lands on some entry.
    #[inline(always)]
    pub(crate) fn entry(&self, entry: u32) -> &'a [AtomicU64] {
        let words = self.geometry.entry_words;
        let first = (entry as usize).min(self.geometry.entries - 1) * words;
        &self.entries[first..first + words]
    }

    pub(crate) fn life(&self, entry: u32) -> Life {
        Life(self.entry(entry)[0].load(Ordering::Acquire))
    }

    /// Moves an entry from one life to another; `false` if it no longer was in the first.
    pub(crate) fn change(&self, entry: u32, from: Life, to: Life) -> bool {
        self.entry(entry)[0]
            .compare_exchange(from.0, to.0, Ordering::SeqCst, Ordering::Acquire)
            .is_ok()
    }

    fn link(&self, entry: u32) -> u32 {
        ((self.entry(entry)[self.geometry.entry_words - 1].load(Ordering::Relaxed) >> 32) as u32).wrapping_sub(1)
    }

    fn set_link(&self, entry: u32, next: u32) {
        let word = (u64::from(next.wrapping_add(1)) << 32) | LINK_MARK;
        self.entry(entry)[self.geometry.entry_words - 1].store(word, Ordering::Release);
    }

    fn batch_link(&self, entry: u32) -> &AtomicU64 {
        &self.entry(entry)[self.geometry.entry_words - 2]
    }

    /// Whether a last word is a link, of an entry that is retired or free.
    #[inline(always)]
    pub(crate) fn is_link(word: u64) -> bool {
        word & LINK_MARK == LINK_MARK
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

    /// An entry for the caller alone, in state `Free`.
    pub(crate) fn allocate(&self, local: &mut TableLocal) -> Option<u32> {
        if local.free.count == 0 && local.fresh.is_empty() {
            if let Some(head) = self.pop_batch() {
                local.free = self.chain_from(head);
            } else {
                local.fresh = self.take_fresh();
            }
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

    /// Entries that were ever used lie below this.
    pub(crate) fn used(&self) -> u32 {
        self.header[FRESH_WORD]
            .load(Ordering::Acquire)
            .min(self.geometry.entries as u64) as u32
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

    /// Entries retired and not yet free.
    pub(crate) fn limbo(&self) -> u32 {
        self.filling.count + self.waiting.count
    }
}

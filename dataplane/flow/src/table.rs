//! What the session and the mapping table share: a header, an index, and entries with a life word.
//!
//! Layout of a part: header (24 words), index, entries. An entry's first word is its *life*: state, version, and 32 bits that
//! the table uses. Readers check the life before and after they copy an entry, so a half-written or recycled one is never
//! taken for another. How entries come and go is in [`reuse`].

mod reuse;

pub(crate) use reuse::TableLocal;

use crate::index::{Fill, Index};
use crate::sync::{AtomicU64, Ordering};
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

    #[inline(always)]
    pub(crate) fn with_state(self, state: State) -> Life {
        let bits = match state {
            State::Free => 0u64,
            State::Ready => 1,
            State::Live => 2,
            State::Retired => 3,
        };
        Life((bits << 62) | (self.0 & !(3 << 62)))
    }

    #[inline(always)]
    pub(crate) fn with_own(self, own: u64) -> Life {
        Life((self.0 & !Self::OWN_MASK) | (own & Self::OWN_MASK))
    }

    /// The life of the entry's next use, still free.
    pub(crate) fn next_version(self) -> Life {
        let version = u64::from(self.version().wrapping_add(1) & 0x3fff);
        Life(version << Self::OWN_BITS)
    }
}

/// What the tables of one kind have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) entry_words: usize,
    pub(crate) keys_per_entry: usize,
    pub(crate) fill: Fill,
}

impl Shape {
    /// Tells tables of one shape from those of another, or of none.
    fn magic(self) -> u64 {
        MAGIC + self.entry_words as u64 + ((self.keys_per_entry as u64) << 8) + ((self.fill as u64) << 16)
    }
}

/// Sizes that follow from a shape and a capacity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub(crate) entries: usize,
    shape: Shape,
    batch: u32,
}

impl Geometry {
    pub(crate) const fn new(capacity: usize, shape: Shape) -> Geometry {
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
            shape,
            batch: batch as u32,
        }
    }

    const fn keys(&self) -> usize {
        self.entries * self.shape.keys_per_entry
    }

    const fn index_words(&self) -> usize {
        self.shape.fill.words(self.keys())
    }

    pub(crate) const fn words(&self) -> usize {
        HEADER_WORDS + self.index_words() + self.entries * self.shape.entry_words
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
        shape: Shape,
        seed: [u64; 2],
    ) -> Result<(Self, &'a [AtomicU64]), StateError> {
        if capacity == 0 || capacity > (1 << 28) {
            return Err(StateError::Capacity(capacity));
        }
        let needed = Geometry::new(capacity, shape).words();
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
        part[MAGIC_WORD].store(shape.magic(), Ordering::Release);
        Self::open(part, shape)
    }

    /// A table that was formatted before, perhaps by another process.
    pub(crate) fn open(part: &'a [AtomicU64], shape: Shape) -> Result<(Self, &'a [AtomicU64]), StateError> {
        let (header, rest) = part.split_at_checked(HEADER_WORDS).ok_or(StateError::TooSmall {
            words: part.len(),
            needed: HEADER_WORDS,
        })?;
        if header[MAGIC_WORD].load(Ordering::Acquire) != shape.magic() {
            return Err(StateError::NotFormatted);
        }
        let capacity = header[CAPACITY_WORD].load(Ordering::Relaxed) as usize;
        if capacity == 0 || capacity > (1 << 28) {
            return Err(StateError::Capacity(capacity));
        }
        let geometry = Geometry::new(capacity, shape);
        let too_small = StateError::TooSmall {
            words: part.len(),
            needed: geometry.words(),
        };
        let (index, rest) = rest.split_at_checked(geometry.index_words()).ok_or(too_small)?;
        let (entries, behind) = rest
            .split_at_checked(geometry.entries * shape.entry_words)
            .ok_or(too_small)?;
        let index = Index::new(index, shape.fill, geometry.keys()).ok_or(too_small)?;
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
        let words = self.geometry.shape.entry_words;
        let first = (entry as usize).min(self.geometry.entries - 1) * words;
        &self.entries[first..first + words]
    }

    /// The words of all entries.
    #[inline(always)]
    pub(crate) fn entries(&self) -> &'a [AtomicU64] {
        self.entries
    }

    /// The same for a caller that knows how many `words` an entry of this table has.
    #[inline(always)]
    pub(crate) fn entry_of(&self, entry: u32, words: usize) -> &'a [AtomicU64] {
        let first = (entry as usize).min(self.geometry.entries - 1) * words;
        &self.entries[first..first + words]
    }

    #[inline(always)]
    pub(crate) fn life(&self, entry: u32) -> Life {
        Life(self.entry(entry)[0].load(Ordering::Acquire))
    }

    /// Moves an entry from one life to another; `false` if it no longer was in the first.
    #[inline(always)]
    pub(crate) fn change(&self, entry: u32, from: Life, to: Life) -> bool {
        self.exchange(entry, from, to).is_ok()
    }

    /// [`change`](Self::change), which says what life the entry has instead.
    #[inline(always)]
    pub(crate) fn exchange(&self, entry: u32, from: Life, to: Life) -> Result<(), Life> {
        let exchanged = self.entry(entry)[0].compare_exchange(from.0, to.0, Ordering::SeqCst, Ordering::Acquire);
        exchanged.map(|_| ()).map_err(Life)
    }

    /// Entries that were ever used lie below this.
    pub(crate) fn used(&self) -> u32 {
        self.header[FRESH_WORD]
            .load(Ordering::Acquire)
            .min(self.geometry.entries as u64) as u32
    }
}

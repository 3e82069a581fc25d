//! The state region: what workers write and both processes read, as parts of atomic words.
//!
//! Page 0 says how it is laid out: magic, layout version and hash, the [`Limits`] it was sized by, and for each
//! [`StatePart`] where it lies. `tombolod` makes it; whoever maps it later ([`State::open`]) checks all of that first. What
//! the parts hold was written by another process: their readers check each value before they trust it.

mod error;
mod parts;
mod workers;

pub use error::StateError;
pub use parts::{Limits, StatePart};
pub use workers::{Quiescence, WORKER_WORDS, WorkerSlot, Workers};

use crate::identity::{LAYOUT_HASH, LAYOUT_VERSION};
use crate::region::Region;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use parts::LIMIT_WORDS;

const MAGIC: u64 = u64::from_be_bytes(*b"TmbState");
const HEADER_BYTES: usize = 4096;
const HEADER_WORDS: usize = HEADER_BYTES / 8;
const LINE_BYTES: usize = 64;
const WORD_MAGIC: usize = 0;
const WORD_VERSION: usize = 1;
const WORD_HASH: usize = 2;
const WORD_LENGTH: usize = 3;
const WORD_LIMITS: usize = 8;
const WORD_DIRECTORY: usize = 32;

const _: () = assert!(WORD_LIMITS + LIMIT_WORDS <= WORD_DIRECTORY);
const _: () = assert!(WORD_DIRECTORY + 2 * StatePart::ALL.len() <= HEADER_WORDS);

/// How many words each part is to have; a part not named has none. Workers are sized from the limits.
#[derive(Clone, Debug, Default)]
pub struct StateSpec {
    /// What the sizes follow from.
    pub limits: Limits,
    /// Words per part.
    pub parts: Vec<(StatePart, usize)>,
}

impl StateSpec {
    /// The parts whose size this crate knows (worker slots, counters, rings); add the others with [`with`](Self::with).
    pub fn new(limits: Limits) -> StateSpec {
        let parts = vec![
            (StatePart::Workers, limits.workers as usize * WORKER_WORDS),
            (
                StatePart::Counters,
                crate::counters::counter_words(limits.workers as usize, limits.ports as usize),
            ),
            (StatePart::Events, crate::events::event_words(limits.workers as usize)),
            (
                StatePart::CaptureRing,
                crate::capture::capture_words(limits.workers as usize),
            ),
        ];
        StateSpec { limits, parts }
    }

    /// Adds a part of `words` words, or changes its size.
    #[must_use]
    pub fn with(mut self, part: StatePart, words: usize) -> StateSpec {
        self.parts.retain(|(known, _)| *known != part);
        self.parts.push((part, words));
        self
    }

    /// Bytes that a region needs for these parts.
    pub fn bytes(&self) -> usize {
        self.parts
            .iter()
            .fold(HEADER_BYTES, |sum, (_, words)| sum.saturating_add(part_bytes(*words)))
    }
}

fn part_bytes(words: usize) -> usize {
    words
        .saturating_mul(8)
        .checked_next_multiple_of(LINE_BYTES)
        .unwrap_or(usize::MAX)
}

/// Where a part lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    offset: usize,
    words: usize,
}

/// The state region, laid out and checked.
#[derive(Debug)]
pub struct State {
    region: Region,
    limits: Limits,
    places: [Place; StatePart::ALL.len()],
    claimed: Box<[AtomicBool]>,
}

impl State {
    /// Lays out a fresh, zeroed region. Its header is complete before the magic is written.
    pub fn create(region: Region, spec: &StateSpec) -> Result<State, StateError> {
        if spec.bytes() > region.len() {
            return Err(StateError::RegionTooSmall {
                needs: spec.bytes(),
                has: region.len(),
            });
        }
        let mut places = [Place::default(); StatePart::ALL.len()];
        let mut offset = HEADER_BYTES;
        for (part, words) in &spec.parts {
            if places[*part as usize].words != 0 {
                return Err(StateError::PartTwice(*part));
            }
            places[*part as usize] = Place { offset, words: *words };
            offset += part_bytes(*words);
        }
        write_header(&region, spec.limits, &places)?;
        let state = State::checked(region, spec.limits, places)?;
        state.workers().reset();
        header(&state.region)?[WORD_MAGIC].store(MAGIC, Ordering::Release);
        Ok(state)
    }

    /// Checks a region that another process laid out.
    pub fn open(region: Region) -> Result<State, StateError> {
        let words = header(&region)?;
        if words[WORD_MAGIC].load(Ordering::Acquire) != MAGIC {
            return Err(StateError::NotAState);
        }
        let word = |at: usize| words[at].load(Ordering::Relaxed);
        let (version, hash) = (word(WORD_VERSION), word(WORD_HASH));
        if (version, hash) != (u64::from(LAYOUT_VERSION), LAYOUT_HASH) {
            return Err(StateError::OtherLayout { version, hash });
        }
        if word(WORD_LENGTH) != region.len() as u64 {
            return Err(StateError::Header("its length is not the region's"));
        }
        let limits = core::array::from_fn(|at| word(WORD_LIMITS + at));
        let limits = Limits::from_words(limits).ok_or(StateError::Header("a limit is out of range"))?;
        let mut places = [Place::default(); StatePart::ALL.len()];
        for (at, place) in places.iter_mut().enumerate() {
            let narrow = |value: u64| usize::try_from(value).map_err(|_| StateError::Header("a part is out of range"));
            place.offset = narrow(word(WORD_DIRECTORY + 2 * at))?;
            place.words = narrow(word(WORD_DIRECTORY + 2 * at + 1))?;
        }
        State::checked(region, limits, places)
    }

    /// The one place where a directory becomes trusted: inside the region, aligned, apart from each other, and with
    /// worker slots and counters of the size that the limits ask for.
    fn checked(region: Region, limits: Limits, places: [Place; StatePart::ALL.len()]) -> Result<State, StateError> {
        let mut taken: Vec<Place> = places.iter().copied().filter(|place| place.words > 0).collect();
        taken.sort_by_key(|place| place.offset);
        let mut free_from = HEADER_BYTES;
        for place in taken {
            if place.offset < free_from || !place.offset.is_multiple_of(LINE_BYTES) {
                return Err(StateError::Header("two parts overlap or a part is misaligned"));
            }
            free_from = place.offset.saturating_add(part_bytes(place.words));
            if free_from > region.len() {
                return Err(StateError::Header("a part reaches beyond the region"));
            }
        }
        let workers = limits.workers as usize;
        let counters = crate::counters::counter_words(workers, limits.ports as usize);
        if places[StatePart::Workers as usize].words != workers.saturating_mul(WORKER_WORDS) {
            return Err(StateError::Header("the worker slots do not fit the limits"));
        }
        if places[StatePart::Counters as usize].words != counters {
            return Err(StateError::Header("the counters do not fit the limits"));
        }
        let claimed = (0..workers).map(|_| AtomicBool::new(false)).collect();
        Ok(State {
            region,
            limits,
            places,
            claimed,
        })
    }

    /// The words of a part; empty if the region has no such part. The first word is at a multiple of 64 bytes.
    #[inline]
    pub fn part(&self, part: StatePart) -> &[AtomicU64] {
        let place = self.places[part as usize];
        self.region.atomics(place.offset, place.words).unwrap_or(&[])
    }

    /// What the region was sized for.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The worker slots.
    #[inline]
    pub fn workers(&self) -> Workers<'_> {
        Workers::new(self.part(StatePart::Workers))
    }

    /// The memory below, for its descriptor, length and page size.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Takes a worker's slot for one reader of this process; false if it is taken or there is none.
    pub(crate) fn claim(&self, worker: usize) -> bool {
        self.claimed
            .get(worker)
            .is_some_and(|taken| !taken.swap(true, Ordering::AcqRel))
    }

    /// Gives the slot back.
    pub(crate) fn unclaim(&self, worker: usize) {
        if let Some(taken) = self.claimed.get(worker) {
            taken.store(false, Ordering::Release);
        }
    }
}

fn header(region: &Region) -> Result<&[AtomicU64], StateError> {
    region.atomics(0, HEADER_WORDS).ok_or(StateError::RegionTooSmall {
        needs: HEADER_BYTES,
        has: region.len(),
    })
}

fn write_header(region: &Region, limits: Limits, places: &[Place; StatePart::ALL.len()]) -> Result<(), StateError> {
    if region.access() != crate::region::Access::ReadWrite {
        return Err(StateError::ReadOnly);
    }
    let words = header(region)?;
    words[WORD_MAGIC].store(0, Ordering::Release);
    words[WORD_VERSION].store(u64::from(LAYOUT_VERSION), Ordering::Relaxed);
    words[WORD_HASH].store(LAYOUT_HASH, Ordering::Relaxed);
    words[WORD_LENGTH].store(region.len() as u64, Ordering::Relaxed);
    for (at, limit) in limits.to_words().into_iter().enumerate() {
        words[WORD_LIMITS + at].store(limit, Ordering::Relaxed);
    }
    for (at, place) in places.iter().enumerate() {
        words[WORD_DIRECTORY + 2 * at].store(place.offset as u64, Ordering::Relaxed);
        words[WORD_DIRECTORY + 2 * at + 1].store(place.words as u64, Ordering::Relaxed);
    }
    Ok(())
}

#[cfg(test)]
mod tests;

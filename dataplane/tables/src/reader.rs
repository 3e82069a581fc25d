//! A worker's side of the tables: the current generation, looked up once per batch.
//!
//! What control wrote is not trusted with the worker's life: offsets and lengths are checked once per generation, and a
//! generation that is impossible is refused (the older one stays in use, and control can see it). A worker that has none
//! works with empty tables, in which no packet finds a route.

use crate::layout::SECTION_COUNT;
use crate::publish_protocol::{PARKED, announce, current, park, unpark};
use crate::publish_root::TablesRegion;
use crate::state::{State, WorkerSlot};
use crate::view::Tables;
use core::fmt;
use core::sync::atomic::Ordering;

/// Why a reader could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReaderError {
    /// The state region was sized for fewer workers, or another reader of this process has the slot.
    NoSlot(usize),
}

impl fmt::Display for ReaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReaderError::NoSlot(worker) => write!(f, "there is no free slot for worker {worker} in the state region"),
        }
    }
}

impl std::error::Error for ReaderError {}

/// Reads generations for one worker. Made parked; parks when dropped.
pub struct Reader<'m> {
    tables: &'m TablesRegion,
    state: &'m State,
    worker: usize,
    slot: WorkerSlot<'m>,
    parked: bool,
    /// What `cached` holds; 0 = empty tables.
    generation: u64,
    cached: Tables<'m>,
    /// The last generation that was impossible: not looked at again.
    refused: u64,
    /// What `begin_batch` last gave out.
    given: Option<u64>,
}

impl<'m> Reader<'m> {
    /// The reader of worker `worker` (its slot's number).
    pub fn new(tables: &'m TablesRegion, state: &'m State, worker: usize) -> Result<Reader<'m>, ReaderError> {
        let slot = state.workers().slot(worker).ok_or(ReaderError::NoSlot(worker))?;
        if !state.claim(worker) {
            return Err(ReaderError::NoSlot(worker));
        }
        park(slot.announced());
        let cached = empty();
        Ok(Reader {
            tables,
            state,
            worker,
            slot,
            parked: true,
            generation: 0,
            cached,
            refused: 0,
            given: None,
        })
    }

    /// Begins a batch: counts it, and gives the newest valid generation's tables, to be used until the next call. The flag says
    /// whether they are another generation's than in the batch before. Wakes the reader if it is parked.
    #[inline]
    pub fn begin_batch(&mut self) -> (Tables<'_>, bool) {
        if self.parked {
            self.unpark();
        }
        self.slot.begin_batch();
        let newest = current(self.tables.current_word());
        if newest != self.generation && newest != self.refused {
            self.change_to(newest);
        }
        let changed = self.given != Some(self.generation);
        self.given = Some(self.generation);
        (self.cached, changed)
    }

    /// The generation in use: 0 = none yet.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Looks at nothing until the next batch: before sleeping.
    pub fn park(&mut self) {
        self.cached = empty();
        self.generation = 0;
        self.parked = true;
        park(self.slot.announced());
    }

    /// Ends [`park`](Self::park); [`begin_batch`](Self::begin_batch) does it too.
    pub fn unpark(&mut self) {
        if self.parked {
            unpark(self.slot.announced());
            self.parked = false;
            self.refused = 0;
        }
    }

    /// Whether the reader is parked.
    pub fn is_parked(&self) -> bool {
        debug_assert_eq!(self.parked, self.slot.announced().load(Ordering::Relaxed) == PARKED);
        self.parked
    }

    /// This worker's slot, for its heartbeat.
    pub fn slot(&self) -> WorkerSlot<'m> {
        self.slot
    }

    /// Checks the sections of `newest` and announces it. While they are checked, the older announcement protects them.
    #[cold]
    fn change_to(&mut self, newest: u64) {
        match self.tables_of(newest) {
            Some(tables) => {
                self.cached = tables;
                self.generation = newest;
                announce(self.slot.announced(), newest);
            }
            None => {
                self.refused = newest;
                self.slot.refuse(newest);
            }
        }
    }

    fn tables_of(&self, generation: u64) -> Option<Tables<'m>> {
        let tables: &'m TablesRegion = self.tables;
        let directory = tables.directory(generation)?;
        let mut sections: [&'m [u8]; SECTION_COUNT] = [&[]; SECTION_COUNT];
        for (section, extent) in sections.iter_mut().zip(directory) {
            *section = tables.bytes(extent)?;
        }
        Tables::from_sections(sections).ok()
    }
}

/// Tables without a record.
fn empty() -> Tables<'static> {
    Tables::from_sections([&[]; SECTION_COUNT]).expect("empty sections are valid: a test of this crate holds it")
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.park();
        self.state.unclaim(self.worker);
    }
}

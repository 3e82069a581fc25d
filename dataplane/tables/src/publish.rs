//! Control's side of the tables: writes a generation into free memory, makes it current, and reuses memory once no
//! worker can look at it.
//!
//! What can go wrong changes nothing: a world that does not fit, or that the workers' own checks would refuse, is an error
//! before anything becomes visible. Control may die between any two stores: a new [`Publisher`] takes what is in use from the
//! directories of the generations that workers may still look at, and everything else is free, zeroed first, since what
//! a dead predecessor left there may be keys.

use crate::build::Sections;
use crate::layout::{SECTION_COUNT, SectionId};
use crate::publish_extents::{FreeMemory, occupied};
use crate::publish_protocol::{oldest_in_use, publish};
use crate::publish_root::{Directory, EXTENTS_FROM, Extent, SLOTS};
pub use crate::publish_root::{TablesError, TablesRegion};
use crate::region::Access;
use crate::state::State;
use crate::sync::Word;
use crate::view::{InvalidTables, Tables};
use core::fmt;
use core::ops::ControlFlow;
use core::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Why a generation was not published. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// The region has no room beside the generations in use.
    RegionFull {
        /// The section that found no room.
        section: SectionId,
        /// Its bytes.
        bytes: usize,
        /// The longest free run of bytes.
        longest_free: usize,
    },
    /// The workers would refuse these sections.
    Invalid(InvalidTables),
    /// Workers still look at generations so old that no directory slot is free.
    WorkersBehind {
        /// The oldest generation in use.
        oldest: u64,
    },
    /// A test's hook ended it here, as a kill would.
    Interrupted,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublishError::RegionFull {
                section,
                bytes,
                longest_free,
            } => write!(
                f,
                "no room in the tables region: section {section:?} needs {bytes} bytes, the longest free run has \
                 {longest_free}; nothing was changed"
            ),
            PublishError::Invalid(why) => write!(f, "the tables were built wrong: {why}; nothing was changed"),
            PublishError::WorkersBehind { oldest } => {
                write!(
                    f,
                    "a worker still uses generation {oldest}: it does not run; nothing was changed"
                )
            }
            PublishError::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for PublishError {}

/// The points between which control can die while it publishes; [`Publisher::publish_with`] stops at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Free memory was chosen, nothing written.
    Allocated,
    /// A changed section was written.
    SectionWritten,
    /// The directory slot was cleared.
    SlotCleared,
    /// The directory slot was filled.
    SlotFilled,
    /// The generation is current.
    Current,
    /// A directory slot out of use was cleared.
    Retired,
    /// A freed extent was zeroed.
    Zeroed,
}

/// How the tables region is used: shown in status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes for sections, used and free.
    pub total_bytes: usize,
    /// Free bytes.
    pub free_bytes: usize,
    /// The largest section that could be published now.
    pub longest_free_bytes: usize,
    /// Generations that hold memory: the current one and those that a worker may still look at.
    pub generations: usize,
}

/// A generation that holds memory.
#[derive(Clone, Copy, Debug)]
struct Live {
    generation: u64,
    directory: Directory,
}

/// Publishes generations. One per region: a lock of `tombolod` sees to it between processes.
#[derive(Debug)]
pub struct Publisher<'m> {
    tables: &'m TablesRegion,
    state: &'m State,
    free: FreeMemory,
    live: Vec<Live>,
}

type Hook<'h> = &'h mut dyn FnMut(Step) -> ControlFlow<()>;

impl<'m> Publisher<'m> {
    /// Starts to publish, after a start of control or for the first time: free memory is rebuilt from the generations
    /// in use, and zeroed.
    pub fn open(tables: &'m TablesRegion, state: &'m State) -> Result<Publisher<'m>, TablesError> {
        if tables.region().access() != Access::ReadWrite {
            return Err(TablesError::ReadOnly);
        }
        if !tables.claim_publisher() {
            return Err(TablesError::PublisherTaken);
        }
        let free = FreeMemory::new(EXTENTS_FROM, tables.region().len());
        let mut publisher = Publisher {
            tables,
            state,
            free,
            live: Vec::new(),
        };
        publisher.rebuild()?;
        Ok(publisher)
    }

    /// The current generation; 0 before the first.
    pub fn current(&self) -> u64 {
        self.tables.current_generation()
    }

    /// Writes the sections as the next generation and makes it current. Sections equal to the current generation's are
    /// shared with it. Does not wait for workers.
    pub fn publish(&mut self, sections: &Sections) -> Result<u64, PublishError> {
        self.publish_with(sections.all(), &mut |_| ControlFlow::Continue(()))
    }

    /// As [`publish`](Self::publish), with a hook that may stop it at any [`Step`], leaving everything as a kill would.
    /// For tests; after a stop only a new publisher may go on.
    #[doc(hidden)]
    pub fn publish_with(&mut self, sections: [&[u8]; SECTION_COUNT], hook: Hook<'_>) -> Result<u64, PublishError> {
        Tables::from_sections(sections).map_err(PublishError::Invalid)?;
        self.reclaim_with(hook)?;
        let generation = self.current() + 1;
        let slot = TablesRegion::slot_of(generation);
        if self
            .live
            .iter()
            .any(|live| TablesRegion::slot_of(live.generation) == slot)
        {
            return Err(PublishError::WorkersBehind {
                oldest: self.oldest_in_use(),
            });
        }
        let (directory, fresh) = self.place(sections)?;
        step(hook, Step::Allocated)?;
        for id in fresh {
            let written = self
                .tables
                .region()
                .write(directory[id as usize].offset, sections[id as usize]);
            assert!(written, "free memory lies inside the region");
            step(hook, Step::SectionWritten)?;
        }
        self.tables.clear_slot(slot);
        step(hook, Step::SlotCleared)?;
        self.tables.fill_slot(generation, &directory);
        step(hook, Step::SlotFilled)?;
        publish(self.tables.current_word(), generation);
        self.live.push(Live { generation, directory });
        step(hook, Step::Current)?;
        self.reclaim_with(hook)?;
        Ok(generation)
    }

    /// Whether no worker can look at anything older than `generation` any more.
    pub fn is_announced(&self, generation: u64) -> bool {
        self.oldest_in_use() >= generation
    }

    /// Waits until every running worker uses `generation` or a newer one, then frees what is out of use. False after
    /// `timeout`. Blocks the thread with short sleeps; [`is_announced`](Self::is_announced) is the way to poll.
    pub fn wait_announced(&mut self, generation: u64, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut pause = Duration::from_micros(20);
        while !self.is_announced(generation) {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(1));
        }
        self.reclaim();
        true
    }

    /// Frees the memory of generations that no worker can look at any more. Also part of every publication.
    pub fn reclaim(&mut self) {
        // The hook never stops, so there is no error.
        let _ = self.reclaim_with(&mut |_| ControlFlow::Continue(()));
    }

    /// Says that the dataplane's process is dead (its pidfd is readable): its workers look at nothing. Must not be said of a process
    /// that lives.
    pub fn dataplane_gone(&mut self) {
        self.state.workers().reset();
        self.reclaim();
    }

    /// The worker that refused a generation as invalid, if any did, with that generation.
    pub fn refusal(&self) -> Option<(usize, u64)> {
        let current = self.current();
        self.state
            .workers()
            .iter()
            .map(|slot| slot.refused())
            .enumerate()
            .find(|(_, refused)| *refused == current && current > 0)
    }

    /// How full the region is.
    pub fn usage(&self) -> Usage {
        Usage {
            total_bytes: FreeMemory::new(EXTENTS_FROM, self.tables.region().len()).bytes(),
            free_bytes: self.free.bytes(),
            longest_free_bytes: self.free.longest(),
            generations: self.live.len(),
        }
    }

    fn oldest_in_use(&self) -> u64 {
        oldest_in_use(self.state.workers().iter().map(|slot| slot.announced()))
    }

    /// Finds memory for every section that is not as in the current generation; says which those are. All or none.
    fn place(&mut self, sections: [&[u8]; SECTION_COUNT]) -> Result<(Directory, Vec<SectionId>), PublishError> {
        let current = self
            .live
            .last()
            .map_or([Extent::default(); SECTION_COUNT], |live| live.directory);
        let mut directory = current;
        let mut fresh: Vec<SectionId> = Vec::new();
        for id in SectionId::ALL {
            let bytes = sections[id as usize];
            if self.tables.bytes(current[id as usize]) == Some(bytes) {
                continue;
            }
            directory[id as usize] = Extent::default();
            if bytes.is_empty() {
                continue;
            }
            let Some(offset) = self.free.take(bytes.len()) else {
                let longest_free = self.free.longest();
                for id in fresh {
                    self.free
                        .give_back(directory[id as usize].offset, directory[id as usize].bytes);
                }
                return Err(PublishError::RegionFull {
                    section: id,
                    bytes: bytes.len(),
                    longest_free,
                });
            };
            directory[id as usize] = Extent {
                offset,
                bytes: bytes.len(),
            };
            fresh.push(id);
        }
        Ok((directory, fresh))
    }

    /// Retires the generations before the oldest in use. A slot is cleared before its extents are touched, so that a successor
    /// never takes them for live.
    fn reclaim_with(&mut self, hook: Hook<'_>) -> Result<(), PublishError> {
        let keep_from = self.oldest_in_use().min(self.current());
        while let Some(retired) = self.live.first().copied().filter(|live| live.generation < keep_from) {
            self.tables.clear_slot(TablesRegion::slot_of(retired.generation));
            self.live.remove(0);
            step(hook, Step::Retired)?;
            for extent in retired.directory.into_iter().filter(|extent| extent.bytes > 0) {
                if self.live.iter().any(|live| live.directory.contains(&extent)) {
                    continue;
                }
                let zeroed = self.tables.region().zero(extent.offset, occupied(extent.bytes));
                assert!(zeroed, "a live extent lies inside the region");
                self.free.give_back(extent.offset, extent.bytes);
                step(hook, Step::Zeroed)?;
            }
        }
        Ok(())
    }

    /// Takes over from a predecessor: which generations may be looked at, which memory is free.
    fn rebuild(&mut self) -> Result<(), TablesError> {
        let current = self.current();
        // Pairs with the fence of a worker that wakes: it sees `current`, or we see that it looks.
        AtomicU64::fence(Ordering::SeqCst);
        let keep_from = self.oldest_in_use().min(current);
        for slot in 0..SLOTS {
            let generation = self.tables.slot_generation(slot);
            if generation == 0 {
                continue;
            }
            if (keep_from..=current).contains(&generation) {
                let directory = self
                    .tables
                    .directory(generation)
                    .ok_or(TablesError::Directory(generation))?;
                self.live.push(Live { generation, directory });
            } else {
                self.tables.clear_slot(slot);
            }
        }
        self.live.sort_by_key(|live| live.generation);
        if current > 0 && self.live.last().is_none_or(|live| live.generation != current) {
            return Err(TablesError::Directory(current));
        }
        self.take_live_extents()?;
        for (offset, bytes) in self.free.runs() {
            let zeroed = self.tables.region().zero(offset, bytes);
            assert!(zeroed, "free memory lies inside the region");
        }
        Ok(())
    }

    fn take_live_extents(&mut self) -> Result<(), TablesError> {
        let mut taken: Vec<Extent> = Vec::new();
        for live in &self.live {
            for extent in live.directory.iter().filter(|extent| extent.bytes > 0) {
                if taken.contains(extent) {
                    continue;
                }
                if !self.free.take_at(extent.offset, extent.bytes) {
                    return Err(TablesError::Directory(live.generation));
                }
                taken.push(*extent);
            }
        }
        Ok(())
    }
}

impl Drop for Publisher<'_> {
    fn drop(&mut self) {
        self.tables.unclaim_publisher();
    }
}

fn step(hook: Hook<'_>, step: Step) -> Result<(), PublishError> {
    match hook(step) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(PublishError::Interrupted),
    }
}

#[cfg(test)]
mod tests;

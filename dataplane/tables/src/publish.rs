//! Control's side of the tables: writes a generation into free memory, makes it current, and reuses memory once no
//! worker can look at it.
//!
//! What can go wrong changes nothing: a world that does not fit, or that the workers' own checks would refuse, is an error
//! before anything becomes visible. Control may die between any two stores: a new [`Publisher`] takes what is in use from the
//! directories of the generations that workers may still look at, and everything else is free, zeroed first, since what
//! a dead predecessor left there may be keys.
//!
//! Of a section that goes on from what was published only the changes are written: into the *spare*, a second copy that no worker
//! can look at (`publish_copies`).

use crate::build::{Sections, Since, Version};
use crate::layout::{SECTION_COUNT, SectionId};
use crate::publish_copies::{Difference, Live, Place, Placed, Source, Way, difference_over};
pub use crate::publish_error::PublishError;
use crate::publish_extents::{FreeMemory, occupied};
use crate::publish_protocol::{oldest_in_use, publish};
use crate::publish_root::{EXTENTS_FROM, Extent, SLOTS};
pub use crate::publish_root::{TablesError, TablesRegion};
use crate::region::Access;
use crate::state::State;
use crate::sync::Word;
use crate::view::Tables;
use core::ops::ControlFlow;
use core::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The points between which control can die while it publishes; [`Publisher::publish_with`] stops at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Free memory was chosen, nothing written.
    Allocated,
    /// Changes were written into a spare, one run of bytes.
    ChangeWritten,
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
    /// A freed extent was made a copy of what the current generation has.
    CaughtUp,
}

/// How the tables region is used: shown in status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes for sections, used and free.
    pub total_bytes: usize,
    /// Free bytes.
    pub free_bytes: usize,
    /// The largest section that could be published now without giving up a spare.
    pub longest_free_bytes: usize,
    /// Generations that hold memory: the current one and those that a worker may still look at.
    pub generations: usize,
}

/// Publishes generations. One per region: a lock of `tombolod` sees to it between processes.
#[derive(Debug)]
pub struct Publisher<'m> {
    tables: &'m TablesRegion,
    state: &'m State,
    free: FreeMemory,
    live: Vec<Live>,
    /// What the current generation's sections were published from, where that is known.
    versions: [Option<Version>; SECTION_COUNT],
    /// Second copies of the current generation's sections.
    spares: [Option<Place>; SECTION_COUNT],
}

/// Sections with less room are copied whole in no time.
const SPARE_FROM: usize = 64 << 10;

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
            versions: [None; SECTION_COUNT],
            spares: [None; SECTION_COUNT],
        };
        publisher.rebuild()?;
        Ok(publisher)
    }

    /// The current generation; 0 before the first.
    pub fn current(&self) -> u64 {
        self.tables.current_generation()
    }

    /// Writes the sections as the next generation and makes it current. Sections equal to the current generation's are
    /// shared with it, and of those that it went on from only the changes are written. Does not wait for workers.
    pub fn publish(&mut self, sections: &Sections) -> Result<u64, PublishError> {
        self.publish_sections_with(sections, &mut |_| ControlFlow::Continue(()))
    }

    /// Whether these very sections, with nothing written since, are the current generation's.
    pub fn is_current(&self, sections: &Sections) -> bool {
        let same = |id: &SectionId| match self.versions[*id as usize] {
            Some(version) => sections.since(*id, version) == Since::Written(Vec::new()),
            None => false,
        };
        self.current() > 0 && SectionId::ALL.iter().all(same)
    }

    /// As [`publish`](Self::publish), with a hook that may stop it at any [`Step`], leaving everything as a kill would.
    /// For tests; after a stop only a new publisher may go on.
    #[doc(hidden)]
    pub fn publish_sections_with(&mut self, sections: &Sections, hook: Hook<'_>) -> Result<u64, PublishError> {
        let source = |id: SectionId| Source {
            bytes: sections.get(id),
            room: sections.room(id),
            version: Some(sections.version(id)),
            since: self.versions[id as usize].map_or(Since::Anything, |known| sections.since(id, known)),
        };
        let sources = SectionId::ALL.map(source);
        self.publish_sources(&sources, hook)
    }

    /// The same for bytes of which nothing is known.
    #[doc(hidden)]
    pub fn publish_with(&mut self, sections: [&[u8]; SECTION_COUNT], hook: Hook<'_>) -> Result<u64, PublishError> {
        let source = |bytes| Source {
            bytes,
            room: bytes,
            version: None,
            since: Since::Anything,
        };
        self.publish_sources(&sections.map(source), hook)
    }

    fn publish_sources(&mut self, sources: &[Source<'_>; SECTION_COUNT], hook: Hook<'_>) -> Result<u64, PublishError> {
        Tables::from_sections(sources.each_ref().map(|source| source.bytes)).map_err(PublishError::Invalid)?;
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
        let plan = self.place(sources)?;
        step(hook, Step::Allocated)?;
        let mut live = Live::found(generation, plan.directory);
        live.places = plan.places;
        for (at, (source, way)) in sources.iter().zip(plan.ways).enumerate() {
            self.write(source, plan.places[at].offset, &way, hook)?;
            live.differences[at] = way.difference(source);
            match (way, self.spares[at]) {
                (Way::Same, _) | (_, None) => {}
                (Way::Spare, Some(_)) => self.spares[at] = None,
                // It is a copy of what is no longer current.
                (Way::Whole, Some(stale)) => {
                    self.give_back(stale);
                    self.spares[at] = None;
                }
            }
        }
        self.tables.clear_slot(slot);
        step(hook, Step::SlotCleared)?;
        self.tables.fill_slot(generation, &live.directory);
        step(hook, Step::SlotFilled)?;
        publish(self.tables.current_word(), generation);
        self.live.push(live);
        self.versions = sources.each_ref().map(|source| source.version);
        step(hook, Step::Current)?;
        self.reclaim_with(hook)?;
        Ok(generation)
    }

    /// Writes what a section needs where it will lie.
    fn write(&self, source: &Source<'_>, offset: usize, way: &Way, hook: Hook<'_>) -> Result<(), PublishError> {
        let region = self.tables.region();
        let law = "memory that was taken lies inside the region";
        match (way, &source.since) {
            (Way::Same, _) => return Ok(()),
            (Way::Spare, Since::Written(ranges)) => {
                for range in ranges {
                    assert!(region.write(offset + range.start, &source.room[range.clone()]), "{law}");
                    step(hook, Step::ChangeWritten)?;
                }
            }
            (Way::Spare | Way::Whole, _) => assert!(region.write(offset, source.bytes), "{law}"),
        }
        step(hook, Step::SectionWritten)
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

    /// Makes second copies of large sections that have none, where there is room: so that the next change of them writes little.
    /// For idle moments; what it did is undone where memory gets short.
    pub fn make_spares(&mut self) {
        self.reclaim();
        let Some(current) = self.live.last().filter(|_| self.live.len() == 1) else {
            return;
        };
        for (at, place) in current.places.into_iter().enumerate() {
            if place.room < SPARE_FROM || self.spares[at].is_some() || self.versions[at].is_none() {
                continue;
            }
            let Some(offset) = self.free.take(place.room) else {
                continue;
            };
            let copied = self.tables.region().copy(place.offset, offset, place.room);
            assert!(copied, "memory that was taken lies inside the region");
            self.spares[at] = Some(Place {
                offset,
                room: place.room,
            });
        }
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
            free_bytes: self.free.bytes() + self.spares.iter().flatten().map(|spare| spare.room).sum::<usize>(),
            longest_free_bytes: self.free.longest(),
            generations: self.live.len(),
        }
    }

    fn oldest_in_use(&self) -> u64 {
        oldest_in_use(self.state.workers().iter().map(|slot| slot.announced()))
    }

    /// Finds memory for every section that is not as in the current generation. All or none.
    fn place(&mut self, sources: &[Source<'_>; SECTION_COUNT]) -> Result<Placed, PublishError> {
        let mut placed = self.place_beside_spares(sources);
        if placed.is_err() && self.drop_spares() {
            placed = self.place_beside_spares(sources);
        }
        placed
    }

    fn place_beside_spares(&mut self, sources: &[Source<'_>; SECTION_COUNT]) -> Result<Placed, PublishError> {
        let current = self.live.last();
        let mut placed = Placed {
            directory: current.map_or_else(Default::default, |live| live.directory),
            places: current.map_or_else(Default::default, |live| live.places),
            ways: [const { Way::Same }; SECTION_COUNT],
        };
        for id in SectionId::ALL {
            let (at, source) = (id as usize, &sources[id as usize]);
            if self.is_same(placed.directory[at], source) {
                continue;
            }
            let bytes = source.bytes.len();
            let place = match (self.spares[at], &source.since) {
                _ if bytes == 0 => Some((Place::default(), Way::Whole)),
                (Some(spare), Since::Written(_)) if source.room.len() <= spare.room => Some((spare, Way::Spare)),
                _ => self.take(source).map(|place| (place, Way::Whole)),
            };
            let Some((place, way)) = place else {
                let longest_free = self.free.longest();
                for (place, _) in placed
                    .places
                    .iter()
                    .zip(&placed.ways)
                    .filter(|(_, way)| matches!(way, Way::Whole))
                {
                    if place.room > 0 {
                        self.free.give_back(place.offset, place.room);
                    }
                }
                return Err(PublishError::RegionFull {
                    section: id,
                    bytes,
                    longest_free,
                });
            };
            let offset = place.offset;
            (placed.directory[at], placed.places[at]) = (Extent { offset, bytes }, place);
            placed.ways[at] = way;
        }
        Ok(placed)
    }

    /// Whether the current generation's section has these bytes.
    fn is_same(&self, current: Extent, source: &Source<'_>) -> bool {
        match &source.since {
            Since::Written(ranges) => ranges.is_empty() && current.bytes == source.bytes.len(),
            Since::Anything => self.tables.bytes(current) == Some(source.bytes),
        }
    }

    /// Memory for a section with room to grow, or without where there is too little.
    fn take(&mut self, source: &Source<'_>) -> Option<Place> {
        let room = [source.room.len(), source.bytes.len()].map(occupied);
        let place = |room| self.free.take(room).map(|offset| Place { offset, room });
        room.into_iter().find_map(place)
    }

    /// Gives up all spares; whether there were any.
    fn drop_spares(&mut self) -> bool {
        let spares: Vec<Place> = self.spares.iter_mut().filter_map(Option::take).collect();
        spares.iter().for_each(|place| self.give_back(*place));
        !spares.is_empty()
    }

    fn give_back(&mut self, place: Place) {
        let zeroed = self.tables.region().zero(place.offset, place.room);
        assert!(zeroed, "memory that was taken lies inside the region");
        self.free.give_back(place.offset, place.room);
    }

    /// Retires the generations before the oldest in use. A slot is cleared before its extents are touched, so that a successor
    /// never takes them for live.
    fn reclaim_with(&mut self, hook: Hook<'_>) -> Result<(), PublishError> {
        let keep_from = self.oldest_in_use().min(self.current());
        while self.live.first().is_some_and(|live| live.generation < keep_from) {
            let retired = self.live.remove(0);
            self.tables.clear_slot(TablesRegion::slot_of(retired.generation));
            step(hook, Step::Retired)?;
            for (at, place) in retired.places.into_iter().enumerate() {
                if place.room == 0 || self.live.iter().any(|live| live.has(place)) {
                    continue;
                }
                if self.catch_up(at, place) {
                    step(hook, Step::CaughtUp)?;
                } else {
                    self.give_back(place);
                    step(hook, Step::Zeroed)?;
                }
            }
        }
        Ok(())
    }

    /// Makes memory that the generation before all live ones left a copy of the current section, if it lacks only known bytes.
    fn catch_up(&mut self, section: usize, place: Place) -> bool {
        let Difference::In(ranges) = difference_over(self.live.iter(), section) else {
            return false;
        };
        let Some(current) = self.live.last().map(|live| live.places[section]) else {
            return false;
        };
        if self.spares[section].is_some() || current.room != place.room {
            return false;
        }
        for range in ranges {
            // What was written behind the bytes are zeros, for which there may have been no room.
            let (start, end) = (range.start.min(place.room), range.end.min(place.room));
            let (from, to) = (current.offset + start, place.offset + start);
            let copied = self.tables.region().copy(from, to, end - start);
            assert!(copied, "two places of one generation do not overlap");
        }
        self.spares[section] = Some(place);
        true
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
                self.live.push(Live::found(generation, directory));
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
mod spare_tests;
#[cfg(test)]
mod tests;

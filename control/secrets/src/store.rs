//! The store: changes come true in one step, whatever happens to the process that makes them.
//!
//! New bytes go to free room, their entries get the next sequence number, then the word `committed` is set to it: that is the step.
//! Only then are the old entries cleared and the old bytes zeroed. Between two changes there is at most one entry for a record.

use crate::entry::{self, At, Place};
use crate::error::{OpenError, StoreError};
use crate::geometry::{Geometry, MAGIC, WORD_COMMITTED, WORD_GEOMETRY, WORD_MAGIC, sealed, unsealed};
use crate::memory::Memory;
use crate::recover::{self, Recovered};
use crate::room::Room;
use core::fmt;
use std::collections::{BTreeMap, BTreeSet};
use zeroize::Zeroizing;

/// One change of a commit.
#[derive(Clone, Copy)]
pub enum Change<'a> {
    /// The record's bytes from now on.
    Put {
        /// Its number.
        id: u64,
        /// All of its bytes.
        bytes: &'a [u8],
    },
    /// No such record any more; if there is none, nothing happens.
    Remove {
        /// Its number.
        id: u64,
    },
}

impl Change<'_> {
    fn id(&self) -> u64 {
        match self {
            Change::Put { id, .. } | Change::Remove { id } => *id,
        }
    }
}

/// How full a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Records.
    pub records: usize,
    /// Their bytes.
    pub record_bytes: usize,
    /// Bytes of memory.
    pub store_bytes: usize,
}

/// A record's entry and bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) at: At,
    /// `None`: it says that the record was removed.
    pub(crate) place: Option<Place>,
}

/// What is free in a segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) entries: Vec<usize>,
    pub(crate) room: Room,
}

impl Segment {
    pub(crate) fn new(geometry: Geometry) -> Segment {
        Segment {
            entries: (0..geometry.entries()).rev().collect(),
            room: Room::new(geometry.room_words()),
        }
    }
}

/// Records by number. One process at a time may have one of a memory.
pub struct Store<M> {
    memory: M,
    geometry: Geometry,
    committed: u64,
    slots: BTreeMap<u64, Slot>,
    segments: Vec<Segment>,
}

impl<M: Memory> Store<M> {
    /// Opens what an earlier process left, or makes blank memory a store. Says what was found.
    pub fn open(memory: M) -> Result<(Store<M>, Recovered), OpenError> {
        Self::open_with(memory, Geometry::SHARED)
    }

    /// The same for memory that is divided otherwise.
    pub fn open_with(memory: M, geometry: Geometry) -> Result<(Store<M>, Recovered), OpenError> {
        memory.grow(geometry.words(1)).map_err(OpenError::Memory)?;
        match memory.load(WORD_MAGIC) {
            // Blank, or its first writer was killed before it had a record.
            0 => {
                memory.store(WORD_GEOMETRY, geometry.word());
                memory.store(WORD_COMMITTED, sealed(0));
                memory.store(WORD_MAGIC, MAGIC);
            }
            MAGIC => {}
            other => return Err(OpenError::NoStore(other)),
        }
        if memory.load(WORD_GEOMETRY) != geometry.word() {
            return Err(OpenError::OtherGeometry(memory.load(WORD_GEOMETRY)));
        }
        let known = unsealed(memory.load(WORD_COMMITTED));
        // If it is damaged nobody knows what came true: nothing did.
        let committed = known.unwrap_or(0);
        let (slots, segments, mut recovered) = recover::recover(&memory, geometry, committed);
        if known.is_none() {
            memory.store(WORD_COMMITTED, sealed(0));
            recovered.damaged += core::mem::take(&mut recovered.left_over);
        }
        let store = Store {
            memory,
            geometry,
            committed,
            slots,
            segments,
        };
        Ok((store, recovered))
    }

    /// Keeps a record: the old bytes under this number, if any, are zeroed.
    pub fn put(&mut self, id: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.commit(&[Change::Put { id, bytes }])
    }

    /// Removes a record and zeroes its bytes; false if there was none. Needs no room.
    pub fn remove(&mut self, id: u64) -> bool {
        let Some(slot) = self.slots.remove(&id) else {
            return false;
        };
        // Its sequence number is cleared first, and that is the one step.
        self.free(slot);
        true
    }

    /// All changes come true in one step, or none does.
    pub fn commit(&mut self, changes: &[Change<'_>]) -> Result<(), StoreError> {
        if let [Change::Remove { id }] = changes {
            self.remove(*id);
            return Ok(());
        }
        self.check(changes)?;
        let sequence = self.committed + 1;
        let mut written = Vec::with_capacity(changes.len());
        for change in changes {
            match self.write(change, sequence) {
                Ok(Some(slot)) => written.push((change.id(), slot)),
                Ok(None) => {}
                Err(error) => {
                    for (_, slot) in written {
                        self.free(slot);
                    }
                    return Err(error);
                }
            }
        }
        self.memory.store(WORD_COMMITTED, sealed(sequence));
        self.committed = sequence;
        self.settle(written);
        Ok(())
    }

    /// The bytes of a record.
    pub fn get(&self, id: u64) -> Option<Zeroizing<Vec<u8>>> {
        self.slots.get(&id).and_then(|slot| self.read(slot))
    }

    /// All records by number.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Zeroizing<Vec<u8>>)> + '_ {
        self.slots
            .iter()
            .filter_map(|(id, slot)| self.read(slot).map(|bytes| (*id, bytes)))
    }

    /// How full it is.
    pub fn usage(&self) -> Usage {
        let places = self.slots.values().filter_map(|slot| slot.place);
        Usage {
            records: self.slots.len(),
            record_bytes: places.map(|place| place.bytes).sum(),
            store_bytes: self.memory.words() * 8,
        }
    }

    #[cfg(test)]
    pub(crate) fn memory(&self) -> &M {
        &self.memory
    }

    fn read(&self, slot: &Slot) -> Option<Zeroizing<Vec<u8>>> {
        slot.place
            .map(|place| entry::read_bytes(&self.memory, self.geometry, slot.at.segment, place))
    }

    fn check(&self, changes: &[Change<'_>]) -> Result<(), StoreError> {
        let bytes_max = self.geometry.record_bytes_max();
        let mut seen = BTreeSet::new();
        for change in changes {
            if !seen.insert(change.id()) {
                return Err(StoreError::Twice(change.id()));
            }
            if let Change::Put { bytes, .. } = change
                && bytes.len() > bytes_max
            {
                return Err(StoreError::TooLong {
                    bytes: bytes.len(),
                    bytes_max,
                });
            }
        }
        Ok(())
    }

    /// Writes what a change wants, as changes that have not come true. `None`: there is nothing to remove.
    fn write(&mut self, change: &Change<'_>, sequence: u64) -> Result<Option<Slot>, StoreError> {
        let (id, bytes) = match *change {
            Change::Put { id, bytes } => (id, Some(bytes)),
            Change::Remove { id } if self.slots.contains_key(&id) => (id, None),
            Change::Remove { .. } => return Ok(None),
        };
        let (at, place) = self.take(bytes.map_or(0, <[u8]>::len))?;
        let record = bytes.map(|bytes| (place, bytes));
        if let Some((place, bytes)) = record {
            entry::write_bytes(&self.memory, self.geometry, at.segment, place, bytes);
        }
        entry::write(&self.memory, self.geometry, at, sequence, id, record);
        Ok(Some(Slot {
            at,
            place: record.map(|(place, _)| place),
        }))
    }

    /// An entry and room for so many bytes in one segment; a new segment if none has both.
    fn take(&mut self, bytes: usize) -> Result<(At, Place), StoreError> {
        let words = bytes.div_ceil(8);
        for (number, segment) in self.segments.iter_mut().enumerate() {
            if let Some(taken) = take_in(segment, number, words, bytes) {
                return Ok(taken);
            }
        }
        let number = self.segments.len();
        let full = |why| StoreError::Full {
            bytes,
            store_bytes: self.geometry.bytes(number),
            why,
        };
        let blank = tombolo_tables::region::RegionError::BadSize(bytes as u64);
        self.memory.grow(self.geometry.words(number + 1)).map_err(full)?;
        let mut segment = Segment::new(self.geometry);
        let taken = take_in(&mut segment, number, words, bytes).ok_or(full(blank))?;
        self.segments.push(segment);
        Ok(taken)
    }

    /// What the committed changes replaced goes: older entries first, so that nothing removed comes back.
    fn settle(&mut self, written: Vec<(u64, Slot)>) {
        let mut removals = Vec::new();
        for (id, slot) in written {
            let old = match slot.place {
                Some(_) => self.slots.insert(id, slot),
                None => {
                    removals.push(slot);
                    self.slots.remove(&id)
                }
            };
            if let Some(old) = old {
                self.free(old);
            }
        }
        for slot in removals {
            self.free(slot);
        }
    }

    /// Clears an entry, zeroes its bytes, and has both to give again.
    fn free(&mut self, slot: Slot) {
        entry::clear(&self.memory, self.geometry, slot.at);
        let segment = slot.at.segment;
        if let Some(place) = slot.place {
            entry::zero(&self.memory, self.geometry, segment, place.first, place.words());
        }
        if let Some(free) = self.segments.get_mut(segment) {
            free.entries.push(slot.at.entry);
            if let Some(place) = slot.place {
                free.room.give(place.first, place.words());
            }
        }
    }
}

/// What a store holds is not for eyes.
impl<M: Memory> fmt::Debug for Store<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({:?})", self.usage())
    }
}

fn take_in(segment: &mut Segment, number: usize, words: usize, bytes: usize) -> Option<(At, Place)> {
    let entry = segment.entries.last().copied()?;
    let first = segment.room.take(words)?;
    segment.entries.pop();
    let at = At { segment: number, entry };
    Some((at, Place { first, bytes }))
}

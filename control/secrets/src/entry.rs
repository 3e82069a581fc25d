//! An entry of a segment's directory: which record lies where, since which change.
//!
//! `sequence · number · place · checksum`. An entry without a sequence number is free; one whose sequence number is beyond the
//! committed one was written by changes that never came true.

use crate::geometry::Geometry;
use crate::memory::Memory;
use ring::digest;
use zeroize::Zeroizing;

/// The place of a record that is no more; its entry lives only until the older one is cleared.
const REMOVED: u64 = u64::MAX;

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) segment: usize,
    pub(crate) entry: usize,
}

/// Where the bytes of a record lie in its segment's room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) first: usize,
    pub(crate) bytes: usize,
}

impl Place {
    /// Words that it takes.
    pub(crate) fn words(self) -> usize {
        self.bytes.div_ceil(8)
    }

    fn word(self) -> u64 {
        (self.first as u64) << 32 | self.bytes as u64
    }

    /// A place within a room of so many words.
    fn from_word(word: u64, room_words: usize) -> Option<Place> {
        let place = Place {
            first: usize::try_from(word >> 32).ok()?,
            bytes: usize::try_from(word & 0xffff_ffff).ok()?,
        };
        (place.first.checked_add(place.words())? <= room_words).then_some(place)
    }
}

/// An entry as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) sequence: u64,
    pub(crate) id: u64,
    place: u64,
    checksum: u64,
}

/// What an entry says of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// It lies there, and its bytes are those that were written.
    Kept(Place),
    /// It was removed.
    Removed,
    /// No writer of ours wrote this.
    Damaged,
}

impl Entry {
    /// Reads an entry.
    pub(crate) fn read(memory: &impl Memory, geometry: Geometry, at: At) -> Entry {
        let first = geometry.entry(at.segment, at.entry);
        Entry {
            sequence: memory.load(first),
            id: memory.load(first + 1),
            place: memory.load(first + 2),
            checksum: memory.load(first + 3),
        }
    }

    /// Whether nothing is written in it.
    pub(crate) fn is_blank(&self) -> bool {
        (self.sequence, self.id, self.place, self.checksum) == (0, 0, 0, 0)
    }

    /// Checks place and bytes.
    pub(crate) fn said(&self, memory: &impl Memory, geometry: Geometry, at: At) -> Said {
        if self.place == REMOVED {
            return match checksum(self.sequence, self.id, REMOVED, &[]) == self.checksum {
                true => Said::Removed,
                false => Said::Damaged,
            };
        }
        let Some(place) = Place::from_word(self.place, geometry.room_words()) else {
            return Said::Damaged;
        };
        let bytes = read_bytes(memory, geometry, at.segment, place);
        match checksum(self.sequence, self.id, self.place, &bytes) == self.checksum {
            true => Said::Kept(place),
            false => Said::Damaged,
        }
    }
}

/// Writes an entry, its sequence number last; `None` = removed. The bytes are there already.
pub(crate) fn write(
    memory: &impl Memory,
    geometry: Geometry,
    at: At,
    sequence: u64,
    id: u64,
    record: Option<(Place, &[u8])>,
) {
    let (place, bytes) = record.map_or((REMOVED, &[][..]), |(place, bytes)| (place.word(), bytes));
    let first = geometry.entry(at.segment, at.entry);
    memory.store(first + 1, id);
    memory.store(first + 2, place);
    memory.store(first + 3, checksum(sequence, id, place, bytes));
    memory.store(first, sequence);
}

/// Clears an entry, its sequence number first.
pub(crate) fn clear(memory: &impl Memory, geometry: Geometry, at: At) {
    let first = geometry.entry(at.segment, at.entry);
    for word in first..first + crate::geometry::ENTRY_WORDS {
        memory.store(word, 0);
    }
}

/// The bytes at a place that lies in the room.
pub(crate) fn read_bytes(memory: &impl Memory, geometry: Geometry, segment: usize, place: Place) -> Zeroizing<Vec<u8>> {
    let first = geometry.room(segment) + place.first;
    // All of it at once: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(place.words() * 8));
    for word in first..first + place.words() {
        bytes.extend_from_slice(&memory.load(word).to_le_bytes());
    }
    bytes.truncate(place.bytes);
    bytes
}

/// Writes bytes to a free place.
pub(crate) fn write_bytes(memory: &impl Memory, geometry: Geometry, segment: usize, place: Place, bytes: &[u8]) {
    let first = geometry.room(segment) + place.first;
    for (index, chunk) in bytes.chunks(8).enumerate() {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        memory.store(first + index, u64::from_le_bytes(word));
    }
}

/// Zeroes the words of a room that are not zero.
pub(crate) fn zero(memory: &impl Memory, geometry: Geometry, segment: usize, first: usize, words: usize) {
    let first = geometry.room(segment) + first;
    for word in first..first + words {
        if memory.load(word) != 0 {
            memory.store(word, 0);
        }
    }
}

/// Against words that went wrong, not against an enemy: who can write here can read everything.
fn checksum(sequence: u64, id: u64, place: u64, bytes: &[u8]) -> u64 {
    let mut context = digest::Context::new(&digest::SHA256);
    for word in [sequence, id, place] {
        context.update(&word.to_le_bytes());
    }
    context.update(bytes);
    let digest = context.finish();
    let mut first = [0; 8];
    first.copy_from_slice(&digest.as_ref()[..8]);
    u64::from_le_bytes(first)
}

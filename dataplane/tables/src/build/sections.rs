//! The bytes of one generation, section by section, as control builds them before it publishes.
//!
//! They come from [`World::build`](super::World::build) or from a [`Compiler`](super::Compiler), which goes on writing to its own: a
//! section knows what was written to it lately, so that a publisher need not compare or copy the rest. The section of SAs holds keys: it is wiped when dropped and shown by no `Debug`.

use crate::layout::{SECTION_COUNT, SectionId};
use core::fmt;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::VecDeque;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
use zeroize::Zeroize;

/// One cache line: what gives a section its alignment.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Longest history of a section's writes; who is farther behind copies it whole.
const WRITES_MAX: usize = 1024;
/// Bytes that [`Section::replace`] compares at a time: the least that it writes.
const COMPARED: usize = 1024;

/// Names the bytes of a section as they were at one moment: as long as `lineage` is the same, `writes` tells what was written since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    lineage: u64,
    writes: u64,
}

/// What happened to a section since a [`Version`] of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// Only these bytes were written, in order and disjoint; none: nothing was.
    Written(Vec<Range<usize>>),
    /// It is another section, or too much was written to tell.
    Anything,
}

/// The bytes of one section, 64-byte aligned, with room behind them that is zero.
pub(super) struct Section {
    lines: Vec<Line>,
    bytes: usize,
    lineage: u64,
    /// The last of what was written, oldest first; the first of them is write number `forgotten`.
    writes: VecDeque<Range<usize>>,
    forgotten: u64,
}

/// A number that no other section of this process has or had.
fn new_lineage() -> u64 {
    static LINEAGES: AtomicU64 = AtomicU64::new(0);
    LINEAGES.fetch_add(1, Ordering::Relaxed)
}

impl Default for Section {
    fn default() -> Self {
        Section::zeroed(0, 0)
    }
}

impl Clone for Section {
    /// A section of its own: what is written to one of the two is not in the other.
    fn clone(&self) -> Self {
        Section {
            lines: self.lines.clone(),
            ..Section::zeroed(0, self.bytes)
        }
    }
}

impl Section {
    fn zeroed(room: usize, bytes: usize) -> Self {
        Section {
            lines: vec![Line([0; 64]); room.div_ceil(64)],
            bytes,
            lineage: new_lineage(),
            writes: VecDeque::new(),
            forgotten: 0,
        }
    }

    /// A copy of `bytes`.
    pub(super) fn new(bytes: &[u8]) -> Self {
        Section::concatenate(&[bytes])
    }

    /// The parts one behind the other. Each must be a multiple of what the next one needs as alignment.
    pub(super) fn concatenate(parts: &[&[u8]]) -> Self {
        Section::spaced(&parts.iter().map(|part| (*part, part.len())).collect::<Vec<_>>())
    }

    /// The same, but each part has so many bytes of room, zero where it does not fill them.
    pub(super) fn spaced(parts: &[(&[u8], usize)]) -> Self {
        let bytes = parts.iter().map(|(_, room)| *room).sum::<usize>();
        let mut section = Section::zeroed(bytes, bytes);
        let mut rest = section.lines.as_mut_slice().as_mut_bytes();
        for (part, room) in parts {
            let (head, tail) = rest.split_at_mut(*room);
            head[..part.len()].copy_from_slice(part);
            rest = tail;
        }
        section
    }

    /// The records of a section as they are.
    pub(super) fn records<T: IntoBytes + Immutable>(records: &[T]) -> Self {
        Section::new(records.as_bytes())
    }

    /// A copy of `bytes` with room to grow.
    pub(super) fn roomy(bytes: &[u8]) -> Self {
        let room = if bytes.is_empty() { 0 } else { with_slack(bytes.len()) };
        let mut section = Section::spaced(&[(bytes, room)]);
        section.bytes = bytes.len();
        section
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.room()[..self.bytes]
    }

    /// The bytes, and the zeros behind them that they can grow into.
    fn room(&self) -> &[u8] {
        self.lines.as_slice().as_bytes()
    }

    fn version(&self) -> Version {
        Version {
            lineage: self.lineage,
            writes: self.forgotten + self.writes.len() as u64,
        }
    }

    fn since(&self, known: Version) -> Since {
        if known.lineage != self.lineage || known.writes < self.forgotten {
            return Since::Anything;
        }
        let seen = (known.writes - self.forgotten) as usize;
        Since::Written(joined(self.writes.iter().skip(seen).cloned().collect()))
    }

    /// Writes inside the room; the bytes grow as far as that goes.
    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let range = at..at + bytes.len();
        self.lines.as_mut_slice().as_mut_bytes()[range.clone()].copy_from_slice(bytes);
        self.bytes = self.bytes.max(range.end);
        self.writes.push_back(range);
        if self.writes.len() > WRITES_MAX {
            self.writes.pop_front();
            self.forgotten += 1;
        }
    }

    /// Cuts the bytes down to so many; what was behind is zero.
    fn cut(&mut self, bytes: usize) {
        if bytes < self.bytes {
            let behind = vec![0; self.bytes - bytes];
            self.write(bytes, &behind);
            self.bytes = bytes;
        }
    }

    /// Makes the bytes these, and writes only where they differ. What has no room becomes another section, with room to grow.
    pub(super) fn replace(&mut self, bytes: &[u8]) {
        if bytes.len() > self.room().len() {
            self.wipe();
            *self = Section::roomy(bytes);
            return;
        }
        self.cut(bytes.len());
        for (at, fresh) in (0..).step_by(COMPARED).zip(bytes.chunks(COMPARED)) {
            if self.as_bytes().get(at..at + fresh.len()) != Some(fresh) {
                self.write(at, fresh);
            }
        }
    }

    /// Writes one record, and zeros up to it if it lies beyond the end.
    pub(super) fn put<T: IntoBytes + Immutable>(&mut self, index: usize, record: &T) {
        let at = index * size_of::<T>();
        let end = at + size_of::<T>();
        if end > self.room().len() {
            let mut longer = Section::zeroed(with_slack(end), end);
            longer.lines.as_mut_slice().as_mut_bytes()[..self.bytes].copy_from_slice(self.as_bytes());
            self.wipe();
            *self = longer;
        }
        if self.as_bytes().get(at..end) != Some(record.as_bytes()) {
            self.write(at, record.as_bytes());
        }
    }

    fn wipe(&mut self) {
        self.lines.as_mut_slice().as_mut_bytes().zeroize();
    }
}

/// So many things with room to grow by an eighth.
pub(super) fn with_slack(count: usize) -> usize {
    count + count / 8 + 64
}

/// Ranges in order, those that touch joined.
pub(crate) fn joined(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// All sections of a generation: 64-byte aligned, the same bytes for the same [`World`](super::World).
#[derive(Clone, Default)]
pub struct Sections {
    sections: [Section; SECTION_COUNT],
}

impl Sections {
    /// The bytes of a section; the slice starts at a multiple of 64 unless it is empty.
    pub fn get(&self, id: SectionId) -> &[u8] {
        self.sections[id as usize].as_bytes()
    }

    /// All sections in directory order: what [`Tables::from_sections`](crate::view::Tables::from_sections) takes.
    pub fn all(&self) -> [&[u8]; SECTION_COUNT] {
        SectionId::ALL.map(|id| self.get(id))
    }

    /// A section's bytes as they come; for tests of the view.
    pub(crate) fn set_bytes(&mut self, id: SectionId, bytes: &[u8]) {
        self.set(id, Section::new(bytes));
    }

    pub(super) fn set(&mut self, id: SectionId, section: Section) {
        if id == SectionId::Sas {
            self.sections[id as usize].wipe();
        }
        self.sections[id as usize] = section;
    }

    pub(super) fn section_mut(&mut self, id: SectionId) -> &mut Section {
        &mut self.sections[id as usize]
    }

    /// A section with the zeros behind it that it can grow into.
    pub(crate) fn room(&self, id: SectionId) -> &[u8] {
        self.sections[id as usize].room()
    }

    pub(crate) fn version(&self, id: SectionId) -> Version {
        self.sections[id as usize].version()
    }

    pub(crate) fn since(&self, id: SectionId, known: Version) -> Since {
        self.sections[id as usize].since(known)
    }
}

impl Drop for Sections {
    fn drop(&mut self) {
        self.sections[SectionId::Sas as usize].wipe();
    }
}

impl PartialEq for Sections {
    fn eq(&self, other: &Self) -> bool {
        self.all() == other.all()
    }
}

impl Eq for Sections {}

impl fmt::Debug for Sections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(SectionId::ALL.map(|id| (id, self.get(id).len())))
            .finish()
    }
}

//! The bytes of one generation, section by section, as control builds them before it publishes.
//!
//! They come from [`World::build`](super::World::build). The section of SAs holds keys: it is wiped when dropped and shown by no `Debug`.

use crate::layout::{SECTION_COUNT, SectionId};
use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
use zeroize::Zeroize;

/// One cache line: what gives a section its alignment.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// The bytes of one section, 64-byte aligned.
#[derive(Clone, Default)]
pub(super) struct Section {
    lines: Vec<Line>,
    bytes: usize,
}

impl Section {
    /// A copy of `bytes`.
    pub(super) fn new(bytes: &[u8]) -> Self {
        let mut section = Section {
            lines: vec![Line([0; 64]); bytes.len().div_ceil(64)],
            bytes: bytes.len(),
        };
        section.lines.as_mut_slice().as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
        section
    }

    /// The parts one behind the other. Each must be a multiple of what the next one needs as alignment.
    pub(super) fn concatenate(parts: &[&[u8]]) -> Self {
        let bytes = parts.iter().map(|part| part.len()).sum::<usize>();
        let mut section = Section {
            lines: vec![Line([0; 64]); bytes.div_ceil(64)],
            bytes,
        };
        let mut rest = section.lines.as_mut_slice().as_mut_bytes();
        for part in parts {
            let (head, tail) = rest.split_at_mut(part.len());
            head.copy_from_slice(part);
            rest = tail;
        }
        section
    }

    /// The records of a section as they are.
    pub(super) fn records<T: IntoBytes + Immutable>(records: &[T]) -> Self {
        Section::new(records.as_bytes())
    }

    fn as_bytes(&self) -> &[u8] {
        &self.lines.as_slice().as_bytes()[..self.bytes]
    }
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
        self.sections[id as usize] = section;
    }
}

impl Drop for Sections {
    fn drop(&mut self) {
        self.sections[SectionId::Sas as usize]
            .lines
            .as_mut_slice()
            .as_mut_bytes()
            .zeroize();
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

//! Where the sections of generations lie, and what may be written to memory that a generation left: control's own bookkeeping.
//!
//! A section that changes a little lies in the region twice. Workers read one copy; the other, the *spare*, is what the generation
//! before it left, brought up to date when no worker could look at it any more. The next generation writes its changes into the
//! spare and names that. No generation names a spare: to a successor of this process it is free memory.

use crate::build::{Since, Version, joined};
use crate::layout::SECTION_COUNT;
use crate::publish_extents::occupied;
use crate::publish_root::{Directory, Extent};
use core::ops::Range;

/// What a section's bytes are published from.
pub(crate) struct Source<'s> {
    /// The bytes.
    pub(crate) bytes: &'s [u8],
    /// The bytes and the zeros behind them that they may grow into.
    pub(crate) room: &'s [u8],
    /// What to ask for changes by; none if nobody knows.
    pub(crate) version: Option<Version>,
    /// What was written since the version that the current generation has.
    pub(crate) since: Since,
}

/// How a section of a generation differs from the one before.
#[derive(Clone, Debug)]
pub(crate) enum Difference {
    /// Only in these bytes; in none if it is the same memory.
    In(Vec<Range<usize>>),
    /// In nobody knows what.
    Unknown,
}

/// Memory of a section: the bytes that a directory names may grow to so many in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) offset: usize,
    pub(crate) room: usize,
}

/// A generation that holds memory.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) generation: u64,
    pub(crate) directory: Directory,
    pub(crate) places: [Place; SECTION_COUNT],
    /// From the generation before it.
    pub(crate) differences: [Difference; SECTION_COUNT],
}

impl Live {
    /// One of which only the directory is known.
    pub(crate) fn found(generation: u64, directory: Directory) -> Live {
        Live {
            generation,
            directory,
            places: directory.map(place_of),
            differences: [const { Difference::Unknown }; SECTION_COUNT],
        }
    }

    /// Whether a section of it lies there.
    pub(crate) fn has(&self, place: Place) -> bool {
        self.places.contains(&place)
    }
}

/// Where a generation that is about to be written will lie.
pub(crate) struct Placed {
    pub(crate) directory: Directory,
    pub(crate) places: [Place; SECTION_COUNT],
    pub(crate) ways: [Way; SECTION_COUNT],
}

/// How a section gets to its place.
pub(crate) enum Way {
    /// It is there.
    Same,
    /// The spare takes the changes.
    Spare,
    /// All of it is written.
    Whole,
}

impl Way {
    /// What it makes of the section, beside the generation before.
    pub(crate) fn difference(&self, source: &Source<'_>) -> Difference {
        match (self, &source.since) {
            (Way::Same, _) => Difference::In(Vec::new()),
            (Way::Spare | Way::Whole, Since::Written(ranges)) => Difference::In(ranges.clone()),
            (Way::Spare | Way::Whole, Since::Anything) => Difference::Unknown,
        }
    }
}

/// The memory of bytes that have no room to grow.
pub(crate) fn place_of(extent: Extent) -> Place {
    Place {
        offset: extent.offset,
        room: occupied(extent.bytes),
    }
}

/// In what bytes a section of the last of these generations differs from that of the one before the first.
pub(crate) fn difference_over<'l>(later: impl Iterator<Item = &'l Live>, section: usize) -> Difference {
    let mut ranges = Vec::new();
    for live in later {
        match &live.differences[section] {
            Difference::In(more) => ranges.extend(more.iter().cloned()),
            Difference::Unknown => return Difference::Unknown,
        }
    }
    Difference::In(joined(ranges))
}

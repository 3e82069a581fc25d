//! Where things lie: a head, then segments, each of which has a directory of entries and room for the bytes of records.
//!
//! ```text
//! head: magic · geometry · committed        segment: entry, entry, …, room        segment …
//! ```

/// Words of the head: a page, so that segments are page-aligned.
pub(crate) const HEAD_WORDS: usize = 512;
/// Words of an entry.
pub(crate) const ENTRY_WORDS: usize = 4;

pub(crate) const WORD_MAGIC: usize = 0;
pub(crate) const WORD_GEOMETRY: usize = 1;
/// The one word that makes changes true: the sequence number of the newest change, [sealed](sealed).
pub(crate) const WORD_COMMITTED: usize = 2;

pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"tbsecr01");

const SEGMENT_WORDS: usize = (1 << 20) / 8;
const ENTRIES: usize = 1024;

/// A sequence number with its own check in the low 16 bits, so that a word that nobody of ours wrote makes nothing true. 48 bits
/// last for 890 years of 10,000 changes a second.
pub(crate) const fn sealed(sequence: u64) -> u64 {
    (sequence << 16) | ((sequence ^ (sequence >> 16) ^ (sequence >> 32) ^ 0x5ec2) & 0xffff)
}

/// The sequence number of a sealed word; `None` if it is not one.
pub(crate) const fn unsealed(word: u64) -> Option<u64> {
    let sequence = word >> 16;
    if sealed(sequence) == word { Some(sequence) } else { None }
}

/// Longest record in bytes.
pub const RECORD_BYTES_MAX: usize = Geometry::SHARED.record_bytes_max();

/// Sizes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    segment_words: usize,
    entries: usize,
}

impl Geometry {
    /// The one that `tombolod` uses: segments of 1 MiB with 1024 entries.
    pub const SHARED: Geometry = Geometry {
        segment_words: SEGMENT_WORDS,
        entries: ENTRIES,
    };

    /// Another one, for tests. `None` unless the entries leave room in a segment and both are below 2^31.
    pub const fn new(segment_words: usize, entries: usize) -> Option<Geometry> {
        let small = segment_words < 1 << 31 && entries < 1 << 28;
        if !small || entries == 0 || entries * ENTRY_WORDS >= segment_words {
            return None;
        }
        Some(Geometry { segment_words, entries })
    }

    /// As a word of the head.
    pub(crate) const fn word(self) -> u64 {
        (self.segment_words as u64) << 32 | self.entries as u64
    }

    /// Entries of a segment.
    pub(crate) const fn entries(self) -> usize {
        self.entries
    }

    /// Words of a segment's room.
    pub(crate) const fn room_words(self) -> usize {
        self.segment_words - self.entries * ENTRY_WORDS
    }

    /// Longest record in bytes: it lies in one segment.
    pub const fn record_bytes_max(self) -> usize {
        self.room_words() * 8
    }

    /// Bytes of a memory with so many segments.
    pub const fn bytes(self, segments: usize) -> usize {
        self.words(segments) * 8
    }

    /// Words of a memory with so many segments.
    pub(crate) const fn words(self, segments: usize) -> usize {
        HEAD_WORDS + segments * self.segment_words
    }

    /// Whole segments in so many words.
    pub(crate) const fn segments(self, words: usize) -> usize {
        words.saturating_sub(HEAD_WORDS) / self.segment_words
    }

    /// First word of an entry.
    pub(crate) const fn entry(self, segment: usize, entry: usize) -> usize {
        self.words(segment) + entry * ENTRY_WORDS
    }

    /// First word of a segment's room.
    pub(crate) const fn room(self, segment: usize) -> usize {
        self.words(segment) + self.entries * ENTRY_WORDS
    }
}

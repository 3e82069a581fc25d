//! Segments whose packets ride without a session when they come out of a tunnel, a bit each.

use tombolo_tables::layout::{SegmentIndex, segment_flag, wildcard};
use tombolo_tables::view::Tables;

const WORDS: usize = (1 << 16) / 64;

/// Those of one generation.
pub(super) struct Sessionless {
    segments: Box<[u64; WORDS]>,
    any: bool,
}

impl Default for Sessionless {
    fn default() -> Self {
        Sessionless {
            segments: Box::new([0; WORDS]),
            any: false,
        }
    }
}

impl Sessionless {
    /// Reads them from a new generation: segments without sessions from which nothing is translated.
    pub(super) fn renew(&mut self, tables: &Tables<'_>) {
        if core::mem::take(&mut self.any) {
            self.segments.fill(0);
        }
        if tables.nat_rules().iter().any(|rule| rule.from == wildcard::SEGMENT) {
            return;
        }
        for (segment, record) in (0..=u16::MAX).zip(tables.segments()) {
            if record.flags & segment_flag::STATELESS != 0 {
                self.segments[usize::from(segment / 64)] |= 1 << (segment % 64);
                self.any = true;
            }
        }
        for rule in tables.nat_rules() {
            self.segments[usize::from(rule.from / 64)] &= !(1 << (rule.from % 64));
        }
    }

    /// Whether there are any.
    #[inline(always)]
    pub(super) fn any(&self) -> bool {
        self.any
    }

    #[inline(always)]
    pub(super) fn holds(&self, segment: SegmentIndex) -> bool {
        self.segments[usize::from(segment.0 / 64)] >> (segment.0 % 64) & 1 == 1
    }
}

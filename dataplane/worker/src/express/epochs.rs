//! Decision epochs by segment, in an array that any segment number fits: every packet asks for one.

use tombolo_tables::view::Tables;

const SEGMENTS: usize = 1 << 16;

/// The epochs of one generation.
pub(super) struct Epochs {
    of: Box<[u32; SEGMENTS]>,
    /// Segments of the generation; the others have epoch 0.
    segments: usize,
}

impl Default for Epochs {
    fn default() -> Self {
        Epochs {
            of: Box::new([0; SEGMENTS]),
            segments: 0,
        }
    }
}

impl Epochs {
    /// Reads them from a new generation.
    pub(super) fn renew(&mut self, tables: &Tables<'_>) {
        self.of[..self.segments].fill(0);
        let records = tables.segments();
        self.segments = records.len().min(SEGMENTS);
        for (epoch, record) in self.of.iter_mut().zip(records) {
            *epoch = record.epoch;
        }
    }

    /// That of a segment; 0 where there is none.
    #[inline(always)]
    pub(super) fn of(&self, segment: u16) -> u32 {
        self.of[usize::from(segment)]
    }
}

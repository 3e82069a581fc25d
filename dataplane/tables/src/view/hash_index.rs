//! Search in an index of open addressing; the format is in [`build::hash_index`](crate::build).

use super::InvalidTables;
use crate::build::hash_index::{FREE, HashHeader};
use crate::layout::SectionId;
use zerocopy::FromBytes;

/// From a key's hash to the record that has the key.
#[derive(Clone, Copy, Default)]
pub(super) struct HashIndex<'g> {
    /// Empty, or a power of two.
    slots: &'g [u32],
    longest: usize,
}

impl<'g> HashIndex<'g> {
    /// A section that is empty holds no entry.
    pub(super) fn from_section((section, bytes): (SectionId, &'g [u8])) -> Result<Self, InvalidTables> {
        if bytes.is_empty() {
            return Ok(HashIndex::default());
        }
        if bytes.as_ptr().addr() % align_of::<u32>() != 0 {
            return Err(InvalidTables::Misaligned(section));
        }
        let (header, rest) = HashHeader::read_from_prefix(bytes).map_err(|_| InvalidTables::Header(section))?;
        let slots = <[u32]>::ref_from_bytes_with_elems(rest, header.slots as usize);
        match slots {
            Ok(slots) if header.slots.is_power_of_two() && header.longest < header.slots => Ok(HashIndex {
                slots,
                longest: header.longest as usize,
            }),
            _ => Err(InvalidTables::Header(section)),
        }
    }

    /// The record at or behind the hash's place that `is_it` recognises, in at most `longest` + 1 steps.
    #[inline]
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let last = self.slots.len().checked_sub(1)?;
        let at = |step: usize| self.slots[(hash as usize).wrapping_add(step) & last];
        (0..=self.longest)
            .map(at)
            .take_while(|&index| index != FREE)
            .find(|&index| is_it(index))
    }
}

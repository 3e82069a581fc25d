//! Open addressing: from the hash of a key to the index of the record that has it. The key itself stands in the record only.
//!
//! # Format
//! Empty without entries. Else `HashHeader`, then its slots, a power of two and at least twice as many as entries: each the
//! index of a record or `FREE`. An entry stands at most `longest` slots behind the one that its hash names.

use super::known::Key;
use super::sections::Section;
use super::{BuildError, Kind};
use crate::layout::Address;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An unused slot.
pub(crate) const FREE: u32 = u32::MAX;

/// What the section holds; 64 bytes, so that slots start on a cache line.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct HashHeader {
    /// Slots.
    pub(crate) slots: u32,
    /// Steps that the farthest entry is away from its place.
    pub(crate) longest: u32,
    /// Slots in use; lookups do without.
    pub(crate) entries: u32,
    /// Zero.
    pub(crate) reserved: [u32; 13],
}

impl HashHeader {
    pub(super) fn new(slots: usize, longest: usize, entries: usize) -> HashHeader {
        HashHeader {
            slots: slots as u32,
            longest: longest as u32,
            entries: entries as u32,
            reserved: [0; 13],
        }
    }
}

/// Mixes a number and an address: every bit of them moves about half the bits of the result. Control chooses the keys, so
/// that no secret is needed.
#[inline]
pub(crate) fn hash(number: u32, address: Address) -> u64 {
    let address = u128::from_be_bytes(address.0);
    let mut mixed = u64::from(number);
    for word in [(address >> 64) as u64, address as u64] {
        mixed = (mixed ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^= mixed >> 32;
    }
    mixed.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 16
}

/// The section for records with their keys.
///
/// # Errors
/// [`BuildError::Duplicate`] if two have the same key.
pub(super) fn compile(entries: impl Iterator<Item = (Key, u32)>, kind: Kind) -> Result<Section, BuildError> {
    let entries: Vec<(Key, u32)> = entries.collect();
    if entries.is_empty() {
        return Ok(Section::default());
    }
    let slots_count = (entries.len() * 2).next_power_of_two();
    // Places among the entries first, so that a key of those passed by can be compared.
    let mut slots = vec![FREE; slots_count];
    let mut longest = 0;
    for (at, ((number, address), index)) in entries.iter().enumerate() {
        let first = hash(*number, *address) as usize;
        let mut step = 0;
        loop {
            let slot = &mut slots[first.wrapping_add(step) & (slots_count - 1)];
            if *slot == FREE {
                *slot = at as u32;
                break;
            }
            let (key, other) = entries[*slot as usize];
            if key == (*number, *address) {
                return Err(BuildError::Duplicate {
                    kind,
                    first: other as usize,
                    second: *index as usize,
                });
            }
            step += 1;
        }
        longest = longest.max(step);
    }
    for slot in slots.iter_mut().filter(|slot| **slot != FREE) {
        *slot = entries[*slot as usize].1;
    }
    let header = HashHeader::new(slots_count, longest, entries.len());
    Ok(Section::concatenate(&[header.as_bytes(), slots.as_bytes()]))
}

//! Open addressing: from the hash of a key to the index of the record that has it. The key itself stands in the record only.
//!
//! # Format
//! Empty without entries. Else `HashHeader`, then its slots, a power of two and at least twice as many as entries: each the
//! index of a record or `FREE`. An entry stands at most `longest` slots behind the one that its hash names.

use super::sections::Section;
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
    /// Zero.
    pub(crate) reserved: [u32; 14],
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

/// The section for (hash, record index) pairs of different keys, in the order given.
pub(super) fn compile(entries: &[(u64, u32)]) -> Section {
    if entries.is_empty() {
        return Section::default();
    }
    let slots_count = (entries.len() * 2).next_power_of_two();
    let mut slots = vec![FREE; slots_count];
    let mut longest = 0;
    for &(hash, index) in entries {
        let place = |step: usize| (hash as usize).wrapping_add(step) & (slots_count - 1);
        let step = (0..slots_count)
            .find(|&step| slots[place(step)] == FREE)
            .expect("half of the slots stay free");
        slots[place(step)] = index;
        longest = longest.max(step);
    }
    let header = HashHeader {
        slots: slots_count as u32,
        longest: longest as u32,
        reserved: [0; 14],
    };
    Section::concatenate(&[header.as_bytes(), slots.as_bytes()])
}

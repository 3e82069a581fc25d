//! Memory for the limit of a route lookup among very many: an entry of a direct table by the first 16 bits of an address, and the
//! place that the next 8 bits have in the block which it names. Sizes are those of [`tombolo_tables`]' IPv4 routes: 256 KiB, and 512
//! bytes for each block, one for each /16 that addresses are taken from.

use crate::random::Random;
use crate::rules::{UNICAST4, destination4};
use std::sync::atomic::{AtomicU64, Ordering};
use tombolo_sim::gateway::SMALL;
use tombolo_tables::region::{HugePages, Region};
use tombolo_tables::region_prefetch::prefetch;
use tombolo_tables::state::{State, StatePart, StateSpec};

/// Entries of the direct table, of 32 bits, two in a word.
const ENTRIES: usize = 1 << 16;
const ENTRIES_PER_WORD: usize = 2;
/// Those that have routes, each with a block of its own.
const FIRST: usize = (UNICAST4.0 >> 16) as usize;
const BLOCKS: usize = UNICAST4.1 >> 16;
/// Words of a block: 256 places of 16 bits.
const BLOCK: usize = 64;
const PLACES_PER_WORD: usize = 4;
/// Addresses, as many as the journeys of many routes have.
pub const ADDRESSES: usize = 1 << 18;
/// Where in the region of its own.
const PART: StatePart = StatePart::Sessions4;

/// The table and the addresses that are looked up.
pub struct Routes {
    state: State,
    addresses: Vec<u32>,
}

/// A view of the table.
#[derive(Clone, Copy)]
pub struct View<'a> {
    direct: &'a [AtomicU64],
    blocks: &'a [AtomicU64],
}

impl Routes {
    /// Blocks lie in no order.
    pub fn new() -> Self {
        let spec = StateSpec::new(SMALL).with(PART, ENTRIES / ENTRIES_PER_WORD + BLOCKS * BLOCK);
        let region =
            Region::create("perf-limit", spec.bytes(), HugePages::WhereReserved).expect("memory for the limit");
        let mut random = Random::new(7);
        let routes = Routes {
            state: State::create(region, &spec).expect("a fresh region"),
            addresses: (0..ADDRESSES).map(|_| destination4(&mut random)).collect(),
        };
        let view = routes.view();
        for (number, word) in view.direct.iter().enumerate() {
            let entry = |half: usize| scattered(ENTRIES_PER_WORD * number + half) as u64;
            word.store(entry(0) | entry(1) << 32, Ordering::Relaxed);
        }
        for (number, word) in view.blocks.iter().enumerate() {
            word.store(number as u64, Ordering::Relaxed);
        }
        routes
    }

    /// One of the addresses.
    pub fn address(&self, random: &mut Random) -> u32 {
        self.addresses[random.below(self.addresses.len())]
    }

    /// What is looked at.
    pub fn view(&self) -> View<'_> {
        let (direct, blocks) = self.state.part(PART).split_at(ENTRIES / ENTRIES_PER_WORD);
        View { direct, blocks }
    }
}

impl Default for Routes {
    fn default() -> Self {
        Self::new()
    }
}

impl View<'_> {
    /// Reads the direct entry and asks for the place in its block, which it returns.
    #[inline(always)]
    pub fn find(&self, address: u32) -> usize {
        let first = (address >> 16) as usize;
        let pair = self.direct[(first / ENTRIES_PER_WORD).min(self.direct.len() - 1)].load(Ordering::Relaxed);
        let block = (pair >> (32 * (first % ENTRIES_PER_WORD))) as u32 as usize;
        let next = (address >> 8 & 0xff) as usize;
        let place = (block * BLOCK + next / PLACES_PER_WORD).min(self.blocks.len() - 1);
        prefetch(&self.blocks[place]);
        place
    }

    /// What stands there.
    #[inline(always)]
    pub fn read(&self, place: usize) -> u64 {
        self.blocks[place.min(self.blocks.len() - 1)].load(Ordering::Relaxed)
    }
}

/// The block of an entry. A factor that has no divisor in common with their number hits each once.
fn scattered(entry: usize) -> usize {
    entry.wrapping_sub(FIRST).wrapping_mul(40_503) % BLOCKS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_the_word_of_its_next_bits() {
        let routes = Routes::new();
        let view = routes.view();
        for address in [0x2000_0000, 0x2001_ff00, 0x3456_7800, 0x6fff_ff00] {
            let place = view.find(address);
            assert_eq!(place % BLOCK, (address >> 8 & 0xff) as usize / PLACES_PER_WORD);
            assert_eq!(view.read(place), place as u64);
        }
        let block = |entry: usize| view.find((entry as u32) << 16) / BLOCK;
        let mut blocks: Vec<_> = (FIRST..FIRST + BLOCKS).map(block).collect();
        blocks.sort_unstable();
        blocks.dedup();
        assert_eq!(blocks.len(), BLOCKS);
    }
}

//! The words of a mapping entry.
//!
//! Life (own bits: references (24), seconds since the last one left (24)) · addresses · ports, segment, protocol · owner: host entry (32),
//! pool (12), row (20). The owner is the last word, so it is also the link of a free or retired entry.

use super::{Address, Inside, MappingView, Mappings};
use crate::sync::{Ordering, fence, step};
use crate::table::{Life, State};

const REFERENCE: u64 = 1 << 24;
const SINCE_MASK: u64 = REFERENCE - 1;
/// References that one mapping can count.
pub(super) const REFERENCES_MAX: u64 = (1 << 24) - 1;

#[inline(always)]
pub(super) fn references(life: Life) -> u64 {
    life.own() >> 24
}

/// Seconds from the moment the last reference left until `now`; both are kept modulo 2²⁴ (194 days).
pub(super) fn idle_seconds(life: Life, now: u32) -> u32 {
    let idle = (u64::from(now).wrapping_sub(life.own())) & SINCE_MASK;
    // A worker with a later clock let go of it: a small negative number.
    if idle > SINCE_MASK / 2 { 0 } else { idle as u32 }
}

#[inline(always)]
pub(super) fn with_references(life: Life, references: u64, now: u32) -> Life {
    life.with_own((references << 24) | (u64::from(now) & SINCE_MASK))
}

/// All of an entry but its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<A> {
    pub(super) inside: Inside<A>,
    pub(super) address: A,
    pub(super) port: u16,
    /// The entry of the inside host; `NONE` for a host entry.
    pub(super) host: u32,
    pub(super) row: u32,
}

impl<A: Address> Record<A> {
    #[inline(always)]
    fn to_words(self) -> [u64; 8] {
        let (inside, outside) = (self.inside.address.to_bits(), self.address.to_bits());
        let ports = (u64::from(self.inside.port) << 48) | (u64::from(self.inside.segment) << 32);
        let ports = ports | (u64::from(self.port) << 16) | u64::from(self.inside.protocol);
        let owner = (u64::from(self.host) << 32) | (u64::from(self.inside.pool) << 20) | u64::from(self.row);
        if A::ENTRY_WORDS == 4 {
            let addresses = ((inside as u64) << 32) | (outside as u64);
            [0, addresses, ports, owner, 0, 0, 0, 0]
        } else {
            let halves = [inside, outside].map(|address| [(address >> 64) as u64, address as u64]);
            [
                0,
                halves[0][0],
                halves[0][1],
                halves[1][0],
                halves[1][1],
                ports,
                0,
                owner,
            ]
        }
    }

    #[inline(always)]
    fn from_words(words: &[u64; 8]) -> Self {
        let whole = |high: u64, low: u64| (u128::from(high) << 64) | u128::from(low);
        let (inside, outside, ports, owner) = if A::ENTRY_WORDS == 4 {
            (
                u128::from(words[1] >> 32),
                u128::from(words[1] as u32),
                words[2],
                words[3],
            )
        } else {
            (whole(words[1], words[2]), whole(words[3], words[4]), words[5], words[7])
        };
        Record {
            inside: Inside {
                segment: (ports >> 32) as u16,
                protocol: ports as u8,
                address: A::from_bits(inside),
                port: (ports >> 48) as u16,
                pool: (owner >> 20) as u32 & 0xfff,
            },
            address: A::from_bits(outside),
            port: (ports >> 16) as u16,
            host: (owner >> 32) as u32,
            row: owner as u32 & 0xf_ffff,
        }
    }

    pub(super) fn is_host(&self) -> bool {
        self.inside.protocol == 0
    }
}

/// Whether these are the words of an entry with the inside key.
#[inline(always)]
fn is_of<A: Address>(inside: &Inside<A>, words: &[u64; 8]) -> bool {
    let wanted = Record {
        inside: *inside,
        address: A::default(),
        port: 0,
        host: 0,
        row: 0,
    };
    let wanted = wanted.to_words();
    let differ = |position: usize, mask: u64| (words[position] ^ wanted[position]) & mask;
    // Outside port, host and row are not the key's.
    const PORTS: u64 = 0xffff_ffff_0000_ffff;
    const OWNER: u64 = 0xfff0_0000;
    if A::ENTRY_WORDS == 4 {
        differ(1, u64::MAX << 32) | differ(2, PORTS) | differ(3, OWNER) == 0
    } else {
        differ(1, u64::MAX) | differ(2, u64::MAX) | differ(5, PORTS) | differ(7, OWNER) == 0
    }
}

impl<'a, A: Address> Mappings<'a, A> {
    /// A copy of an entry that stayed in the use in which it was found; its references may have moved.
    #[inline(always)]
    pub(super) fn copy(&self, mapping: u32, wanted: impl Fn(State) -> bool) -> Option<(Life, Record<A>)> {
        let (life, words) = self.copy_words(mapping, wanted)?;
        Some((life, Record::from_words(&words)))
    }

    /// The same, of an entry with this inside key only.
    #[inline(always)]
    pub(super) fn copy_of(&self, mapping: u32, inside: &Inside<A>) -> Option<(Life, Record<A>)> {
        let (life, words) = self.copy_words(mapping, |state| state == State::Live)?;
        is_of(inside, &words).then(|| (life, Record::from_words(&words)))
    }

    #[inline(always)]
    fn copy_words(&self, mapping: u32, wanted: impl Fn(State) -> bool) -> Option<(Life, [u64; 8])> {
        let entry = self.table.entry_of(mapping, A::ENTRY_WORDS);
        let life = Life(entry[0].load(Ordering::Acquire));
        if !wanted(life.state()) {
            return None;
        }
        let mut words = [0; 8];
        for position in 1..A::ENTRY_WORDS {
            words[position] = entry[position].load(Ordering::Relaxed);
        }
        fence(Ordering::Acquire);
        let after = Life(entry[0].load(Ordering::Relaxed));
        let same = after.state() == life.state() && after.version() == life.version();
        same.then_some((after, words))
    }

    /// Writes an entry that is the caller's alone, with one reference, and leaves it `Ready`.
    #[inline(always)]
    pub(super) fn fill(&self, mapping: u32, record: &Record<A>, now: u32) -> Life {
        let entry = self.table.entry_of(mapping, A::ENTRY_WORDS);
        let free = Life(entry[0].load(Ordering::Relaxed));
        fence(Ordering::Release);
        let words = record.to_words();
        for position in 1..A::ENTRY_WORDS {
            entry[position].store(words[position], Ordering::Relaxed);
        }
        step();
        let ready = with_references(free, 1, now).with_state(State::Ready);
        entry[0].store(ready.0, Ordering::Release);
        ready
    }

    /// A copy of a live mapping or host entry; `None` if the entry holds none.
    pub fn view(&self, mapping: u32) -> Option<MappingView<A>> {
        if mapping >= self.entries() {
            return None;
        }
        let (life, record) = self.copy(mapping, |state| state == State::Live)?;
        Some(MappingView {
            inside: record.inside,
            address: record.address,
            port: record.port,
            row: record.row,
            sessions: references(life) as u32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_words_of_an_entry_say_whose_it_is(
            address: u128, other: u128, port: u16, segment: u16, protocol: u8, pool in 0u32..4096, host: u32, row in 0u32..(1 << 20),
        ) {
            let inside = Inside { segment, protocol, address: address as u32, port, pool };
            let words = Record { inside, address: other as u32, port: port ^ 7, host, row }.to_words();
            prop_assert!(is_of(&inside, &words));
            let others = [
                Inside { segment: segment ^ 1, ..inside },
                Inside { protocol: protocol ^ 1, ..inside },
                Inside { address: inside.address ^ 1, ..inside },
                Inside { port: port ^ 1, ..inside },
                Inside { pool: pool ^ 1, ..inside },
            ];
            prop_assert!(others.iter().all(|other| !is_of(other, &words)));
            let inside = Inside { segment, protocol, address: address.to_be_bytes(), port, pool };
            let words = Record { inside, address: other.to_be_bytes(), port: port ^ 7, host, row }.to_words();
            prop_assert!(is_of(&inside, &words));
            let others = [
                Inside { segment: segment ^ 1, ..inside },
                Inside { address: (address ^ 1 << 70).to_be_bytes(), ..inside },
                Inside { address: (address ^ 1).to_be_bytes(), ..inside },
                Inside { pool: pool ^ 1, ..inside },
            ];
            prop_assert!(others.iter().all(|other| !is_of(other, &words)));
        }

        #[test]
        fn records_survive_the_trip_through_words(
            address: u128, outside: u128, port: u16, outside_port: u16, segment: u16, protocol: u8,
            pool in 0u32..4096, row in 0u32..(1 << 20), host: u32,
        ) {
            let four = Record {
                inside: Inside { segment, protocol, address: address as u32, port, pool },
                address: outside as u32, port: outside_port, host, row,
            };
            prop_assert_eq!(Record::from_words(&four.to_words()), four);
            let six = Record {
                inside: Inside { segment, protocol, address: address.to_be_bytes(), port, pool },
                address: outside.to_be_bytes(), port: outside_port, host, row,
            };
            prop_assert_eq!(Record::from_words(&six.to_words()), six);
        }
    }
}

//! Where a tunnel's peer was last seen: one record that workers and control write and read at once, without a lock.
//!
//! An address and a port have 144 bits: three words of 48 bits, each with the 16-bit number of the write that it is of.
//!
//! ```text
//! word = number of the write | 48 bits
//! ```
//! A writer takes the next number with an exchange of the first word, then brings the others to it unless a later write did. So what is
//! under one number is of one writer: who reads the same number three times has read a whole record, whatever the order in which
//! memory shows it. A writer that was killed half way leaves a record that nobody takes for one until the next write. (A writer that
//! stops for exactly a multiple of 65,536 writes between two words could mix two records; a record is wrong then until the next write.)

use crate::atomic::{AtomicU64, Ordering};

/// Words of a tunnel's record: a cache line of its own.
pub const WORDS: usize = 8;
const PARTS: usize = 3;
const BITS: u32 = 48;

/// Where the peer was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its address in network order, IPv4 in its mapped form.
    pub address: [u8; 16],
    /// Its UDP port, never 0.
    pub port: u16,
}

/// A tunnel's record.
#[derive(Clone, Copy)]
pub struct Endpoint<'a> {
    parts: &'a [AtomicU64; PARTS],
}

impl<'a> Endpoint<'a> {
    /// The record that begins at `words[0]`; `None` if there are fewer than [`WORDS`]. Zeroed memory is a record of nothing.
    #[inline]
    pub fn new(words: &'a [AtomicU64]) -> Option<Self> {
        let parts = words.get(..WORDS)?.first_chunk()?;
        Some(Endpoint { parts })
    }

    /// The record of tunnel number `index` in the part of the region that holds all of them.
    #[inline]
    pub fn at(part: &'a [AtomicU64], index: usize) -> Option<Self> {
        Self::new(part.get(index.checked_mul(WORDS)?..)?)
    }

    /// The last record; `None` if there is none, or it is being written.
    #[inline]
    pub fn read(&self) -> Option<Seen> {
        // Relaxed is enough: the numbers tell whether the words belong together.
        let words = self.parts.each_ref().map(|part| part.load(Ordering::Relaxed));
        if number(words[0]) != number(words[1]) || number(words[0]) != number(words[2]) {
            return None;
        }
        let [a, b, c] = words.map(|word| word & ((1 << BITS) - 1));
        let high = a << 16 | b >> 32;
        let low = (b & 0xffff_ffff) << 32 | c >> 16;
        let address = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
        let port = c as u16;
        (port != 0).then_some(Seen { address, port })
    }

    /// Replaces the record; none = the peer is where the tables say.
    pub fn write(&self, seen: Option<Seen>) {
        let (address, port) = seen.map_or((0, 0), |seen| (u128::from_be_bytes(seen.address), seen.port));
        let (high, low) = ((address >> 64) as u64, address as u64);
        let first = high >> 16;
        let others = [
            (high & 0xffff) << 32 | low >> 32,
            (low & 0xffff_ffff) << 16 | u64::from(port),
        ];
        let mine = self.claim(first);
        for (part, value) in self.parts[1..].iter().zip(others) {
            let mut current = part.load(Ordering::Relaxed);
            while is_older(number(current), mine) {
                match part.compare_exchange_weak(current, word(mine, value), Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => break,
                    Err(now) => current = now,
                }
            }
        }
    }

    /// Takes the next number, with the first word.
    fn claim(&self, value: u64) -> u16 {
        let mut current = self.parts[0].load(Ordering::Relaxed);
        loop {
            let mine = number(current).wrapping_add(1);
            match self.parts[0].compare_exchange_weak(current, word(mine, value), Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return mine,
                Err(now) => current = now,
            }
        }
    }
}

#[inline]
fn word(number: u16, value: u64) -> u64 {
    u64::from(number) << BITS | value
}

#[inline]
fn number(word: u64) -> u16 {
    (word >> BITS) as u16
}

/// Whether a write came before another one; numbers go round.
fn is_older(number: u16, than: u16) -> bool {
    (than.wrapping_sub(number) as i16) > 0
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn record() -> Vec<AtomicU64> {
        (0..WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    fn seen(byte: u8) -> Seen {
        Seen {
            address: core::array::from_fn(|at| byte ^ at as u8),
            port: u16::from(byte) << 8 | 1,
        }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_is_nothing() {
        let words = record();
        let endpoint = Endpoint::new(&words).unwrap();
        assert_eq!(endpoint.read(), None);
        // Beyond where the numbers go round.
        for round in 0..70_000u32 {
            let seen = seen(round as u8);
            endpoint.write(Some(seen));
            assert_eq!(endpoint.read(), Some(seen), "round {round}");
        }
        endpoint.write(None);
        assert_eq!(endpoint.read(), None);
        assert!(Endpoint::new(&words[1..]).is_none());
    }

    #[test]
    fn a_write_that_was_cut_off_is_no_record_and_the_next_one_is() {
        for done in 0..PARTS {
            let (words, cut) = (record(), record());
            let endpoint = Endpoint::new(&words).unwrap();
            endpoint.write(Some(seen(1)));
            Endpoint::new(&cut).unwrap().write(Some(seen(1)));
            Endpoint::new(&cut).unwrap().write(Some(seen(2)));
            for part in 0..done {
                words[part].store(cut[part].load(Ordering::Relaxed), Ordering::Relaxed);
            }
            let read = endpoint.read();
            assert_eq!(read, if done == 0 { Some(seen(1)) } else { None });
            endpoint.write(Some(seen(3)));
            assert_eq!(endpoint.read(), Some(seen(3)));
        }
    }
}

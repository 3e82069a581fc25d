//! Anti-replay windows in shared memory, checked and moved by several workers at once without a lock.
//!
//! A window is a run of words: `highest` on a cache line of its own, then a ring of words. A word holds the lap (how often
//! the ring had been passed when it was written, 48 bits) and one bit for each of 16 sequence numbers:
//!
//! ```text
//! sequence number = lap | word in ring | bit          word = lap << 16 | bits
//! ```
//! That makes a word its own clock: nothing is ever cleared ahead, so a jump of any size costs nothing, and whoever finds
//! an older lap replaces it, bits and all, in one exchange. A word only ever gains bits or moves to a later lap, so the
//! exchange that sets a bit can succeed once per number: *exactly one winner*, whatever `highest` shows meanwhile.
//! `highest` decides only how far back numbers are still welcome. Zeroed memory is a window that has seen nothing.

use crate::atomic::{AtomicU64, Ordering};

/// Packets in the largest ESP window.
pub const ESP_WINDOW_MAX: u64 = 4096;
/// Words of a window that serves up to [`ESP_WINDOW_MAX`] packets.
pub const WORDS_PER_WINDOW: usize = words(ESP_WINDOW_MAX);

/// Words before the ring: `highest` and the rest of its cache line.
const HEAD_WORDS: usize = 8;
const BITS_LOG2: u32 = 4;
const BITS: u64 = 1 << BITS_LOG2;
/// Below this, a word has room for every bit of the lap, whatever the ring's size.
const WHOLE_LAPS: u64 = 1 << (64 - BITS as u32 + BITS_LOG2);

/// Words that a window of `packets` needs. The ring spans a power of two that exceeds the window by at least one word,
/// since a window that begins inside a word touches one word more.
pub const fn words(packets: u64) -> usize {
    HEAD_WORDS + ((packets + BITS).next_power_of_two() / BITS) as usize
}

/// What a look before authentication says about a number (RFC 4303 §3.4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Not seen yet.
    Fresh,
    /// Received before.
    Seen,
    /// Left of the window.
    TooOld,
}

/// One SA's window over its words.
#[derive(Clone, Copy)]
pub struct Window<'a> {
    highest: &'a AtomicU64,
    ring: &'a [AtomicU64],
    ring_log2: u32,
    packets: u64,
}

impl<'a> Window<'a> {
    /// A window of `packets` (at least 1) over `words[..words(packets)]` or more, up to a power of two in the ring. The number of words
    /// must be the same each time; `packets` may change. `None` if the words are too few.
    #[inline]
    pub fn new(words: &'a [AtomicU64], packets: u64) -> Option<Self> {
        let (head, ring) = words.split_at_checked(HEAD_WORDS)?;
        let ring_log2 = ring.len().checked_ilog2()?;
        let ring = ring.get(..1 << ring_log2)?;
        let span = BITS << ring_log2;
        let fits = packets >= 1 && packets <= span - BITS;
        fits.then_some(Window {
            highest: head.first()?,
            ring,
            ring_log2,
            packets,
        })
    }

    /// The window of SA number `index` in the part of the region that holds all of them, each [`WORDS_PER_WINDOW`] long.
    #[inline]
    pub fn at(part: &'a [AtomicU64], index: usize, packets: u64) -> Option<Self> {
        let start = index.checked_mul(WORDS_PER_WINDOW)?;
        Self::new(part.get(start..start.checked_add(WORDS_PER_WINDOW)?)?, packets)
    }

    /// Looks without changing anything, before authentication. A hint: [`accept`](Self::accept) decides.
    #[inline]
    pub fn check(&self, sequence: u64) -> Check {
        self.glance().check(sequence)
    }

    /// The window as it is, for many looks: `highest` is read once.
    #[inline]
    pub fn glance(&self) -> Glance<'a> {
        Glance {
            window: *self,
            highest: self.highest(),
        }
    }

    /// Takes an authentic number into the window: true for exactly one caller per number, false if it was there or lies left
    /// of the window (the packet is then a replay).
    #[inline]
    pub fn accept(&self, sequence: u64) -> bool {
        let place = self.place(sequence);
        if self.left_of(sequence, self.highest.load(Ordering::Relaxed)) || self.set(&place, place.bit) == 0 {
            return false;
        }
        // Most packets of a reordered batch are not the highest: do not write the shared line for them.
        if sequence > self.highest.load(Ordering::Relaxed) {
            self.highest.fetch_max(sequence, Ordering::Relaxed);
        }
        true
    }

    /// The same for up to 64 numbers in their order: bit `i` of the answer says whether number `i` was taken. One exchange for the numbers
    /// that follow each other in a word, and one for the highest: shared lines are written a few times per batch.
    pub fn accept_all(&self, sequences: &[u64]) -> u64 {
        debug_assert!(sequences.len() <= 64);
        let mut accepted = 0;
        let mut top = self.highest.load(Ordering::Relaxed);
        let mut at = 0;
        while at < sequences.len() {
            let rest = &sequences[at..];
            let place = self.place(rest[0]);
            let in_order = in_order(rest);
            let (won, taken) = if in_order > 1 && !self.left_of(rest[0], top) {
                // What follows the first lies further right.
                top = top.max(rest[in_order - 1]);
                let bits = ((1 << in_order) - 1) * place.bit;
                (self.set(&place, bits) >> (rest[0] & (BITS - 1)), in_order)
            } else {
                self.accept_some(rest, &mut top)
            };
            accepted |= won << at;
            at += taken;
        }
        if top > self.highest.load(Ordering::Relaxed) {
            self.highest.fetch_max(top, Ordering::Relaxed);
        }
        accepted
    }

    /// Takes the first numbers that lie in one word, however they are ordered; which of them were taken, and how many it looked at.
    fn accept_some(&self, sequences: &[u64], top: &mut u64) -> (u64, usize) {
        let block = sequences[0] >> BITS_LOG2;
        let (mut bits, mut end) = (0, 0);
        // A number for the second time waits for the next exchange, which will find it set.
        while let Some(next) = sequences.get(end).filter(|next| **next >> BITS_LOG2 == block) {
            let bit = self.place(*next).bit;
            if bits & bit != 0 {
                break;
            }
            if !self.left_of(*next, *top) {
                bits |= bit;
                // It is taken now or was before: either way the window reaches it.
                *top = (*top).max(*next);
            }
            end += 1;
        }
        let won = if bits == 0 {
            0
        } else {
            self.set(&self.place(sequences[0]), bits)
        };
        let mut accepted = 0;
        for (number, sequence) in sequences[..end].iter().enumerate() {
            accepted |= u64::from(won & self.place(*sequence).bit != 0) << number;
        }
        (accepted, end)
    }

    /// The highest number accepted so far; 0 before the first.
    #[inline]
    pub fn highest(&self) -> u64 {
        self.highest.load(Ordering::Relaxed)
    }

    /// See [`Glance::esn_high`].
    #[inline]
    pub fn esn_high(&self, low: u32) -> Option<u32> {
        self.glance().esn_high(low)
    }

    /// Forgets everything: for a new key in the same slot, while no worker can use it.
    pub fn reset(&self) {
        for word in self.ring {
            word.store(0, Ordering::SeqCst);
        }
        self.highest.store(0, Ordering::SeqCst);
    }

    #[inline]
    fn left_of(&self, sequence: u64, highest: u64) -> bool {
        highest
            .checked_sub(sequence)
            .is_some_and(|behind| behind >= self.packets)
    }

    /// Sets bits of a word; those of them that were not set before, none if the word already serves a later lap.
    #[inline]
    fn set(&self, place: &Place, bits: u64) -> u64 {
        let word = &self.ring[place.word];
        // Relaxed is enough: the verdict depends on the order of changes of this one word, which is total.
        let mut current = word.load(Ordering::Relaxed);
        loop {
            let lap = current >> BITS;
            let (fresh, won) = if lap < place.lap {
                (place.lap << BITS | bits, bits)
            } else if lap == place.lap && bits & !current != 0 {
                (current | bits, bits & !current)
            } else {
                return 0;
            };
            // Lock-free: another try means that another worker moved the word on, at most 16 times per lap.
            match word.compare_exchange_weak(current, fresh, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return won,
                Err(now) => current = now,
            }
        }
    }

    #[inline]
    fn place(&self, sequence: u64) -> Place {
        let block = sequence >> BITS_LOG2;
        Place {
            word: block as usize & (self.ring.len() - 1),
            // 48 of at most 60 − ring_log2 bits: enough for 2⁴⁸ laps, beyond any SA's life (2⁶¹ packets for ESP).
            lap: (block >> self.ring_log2) & (u64::MAX >> BITS),
            bit: 1 << (sequence & (BITS - 1)),
        }
    }
}

/// A window as it was a moment ago. All that it says are hints.
#[derive(Clone, Copy)]
pub struct Glance<'a> {
    window: Window<'a>,
    highest: u64,
}

impl<'a> Glance<'a> {
    /// The window itself.
    #[inline]
    pub fn window(&self) -> Window<'a> {
        self.window
    }

    /// The highest number accepted by then.
    #[inline]
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// The words that are written when this number is accepted, on a cache line each.
    #[inline]
    pub fn words(&self, sequence: u64) -> [&'a AtomicU64; 2] {
        [self.window.highest, &self.window.ring[self.window.place(sequence).word]]
    }

    /// See [`Window::check`]. What lies right of the window needs no look at its words.
    #[inline]
    pub fn check(&self, sequence: u64) -> Check {
        if sequence > self.highest && sequence < WHOLE_LAPS {
            return Check::Fresh;
        }
        if self.window.left_of(sequence, self.highest) {
            return Check::TooOld;
        }
        let place = self.window.place(sequence);
        let word = self.window.ring[place.word].load(Ordering::Relaxed);
        let lap = word >> BITS;
        if lap > place.lap {
            Check::TooOld
        } else if lap == place.lap && word & place.bit != 0 {
            Check::Seen
        } else {
            Check::Fresh
        }
    }

    /// The high half of the number whose low half a packet carries, with ESN (RFC 4303 appendix A2.2). `None` if the number
    /// would lie before the SA's first or beyond its last: left of the window.
    #[inline]
    pub fn esn_high(&self, low: u32) -> Option<u32> {
        let (top_high, top_low) = ((self.highest >> 32) as u32, self.highest as u32);
        let window = self.window.packets as u32;
        let bottom_low = top_low.wrapping_sub(window - 1);
        if top_low >= window - 1 {
            // Case A: the window lies within one subspace.
            if low >= bottom_low {
                Some(top_high)
            } else {
                top_high.checked_add(1)
            }
        } else if low >= bottom_low {
            // Case B: it spans two, and the number lies in the older.
            top_high.checked_sub(1)
        } else {
            Some(top_high)
        }
    }
}

/// How many numbers, of those that lie in the first one's word, each follow the one before it.
#[inline(always)]
fn in_order(sequences: &[u64]) -> usize {
    let Some(first) = sequences.first() else { return 0 };
    let room = (BITS - (first & (BITS - 1))) as usize;
    let mut count = 1;
    while count < room && sequences.get(count) == Some(&(first + count as u64)) {
        count += 1;
    }
    count
}

struct Place {
    word: usize,
    lap: u64,
    bit: u64,
}

#[cfg(all(test, not(loom)))]
mod tests;

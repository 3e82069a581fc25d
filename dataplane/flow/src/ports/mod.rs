//! Outside ports of pool addresses, in blocks of 64: one word each.
//!
//! Every pool address has a *row*; a row has three classes (TCP, UDP, ICMP), a class has 1,024 bitmap words and as many owner words. A
//! worker takes ports from blocks that it owns, so workers do not meet in one word; only when no block is left does it take a port
//! from a block of another. What makes a port one mapping's is the bit alone: owners only keep workers apart.

#[cfg(all(test, not(loom)))]
mod tests;

use crate::sync::{AtomicU64, Ordering};
use crate::tcp::protocol;
use core::fmt;

const BLOCK_PORTS: usize = 64;
const BLOCKS: usize = if cfg!(loom) { 2 } else { 65_536 / BLOCK_PORTS };
const CLASSES: usize = 3;
const CLASS_WORDS: usize = 2 * BLOCKS;
const ROW_WORDS: usize = CLASSES * CLASS_WORDS;
/// Entries of a worker's memory of where it last found a port: 64 KiB. What is searched for without one comes from a block of its own.
const HINTS: usize = if cfg!(loom) { 4 } else { 4096 };

/// Why there is no port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortsError {
    /// All ports of the range are taken.
    Exhausted,
    /// Neither TCP nor UDP nor ICMP.
    Untranslatable,
    /// The row is not in the port state.
    RowInvalid,
}

impl fmt::Display for PortsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PortsError::Exhausted => "all ports of the address are taken",
            PortsError::Untranslatable => "the protocol has no ports",
            PortsError::RowInvalid => "the pool address has no port state",
        })
    }
}

impl core::error::Error for PortsError {}

/// Ports that may be handed out, inclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortRange {
    /// First.
    pub first: u16,
    /// Last.
    pub last: u16,
}

impl PortRange {
    /// Blocks that hold a port of the range.
    fn blocks(self) -> core::ops::RangeInclusive<usize> {
        usize::from(self.first) / BLOCK_PORTS..=(usize::from(self.last) / BLOCK_PORTS).min(BLOCKS - 1)
    }

    /// The range's ports in a block, as bits.
    #[inline(always)]
    fn bits(self, block: usize) -> u64 {
        let (whole_from, whole_to) = (block * BLOCK_PORTS, block * BLOCK_PORTS + BLOCK_PORTS - 1);
        if usize::from(self.first) <= whole_from && whole_to <= usize::from(self.last) {
            return u64::MAX;
        }
        self.some_bits(block)
    }

    #[inline(never)]
    fn some_bits(self, block: usize) -> u64 {
        let start = (block * BLOCK_PORTS) as i64;
        let (first, last) = (i64::from(self.first) - start, i64::from(self.last) - start);
        if last < 0 || first >= BLOCK_PORTS as i64 || first > last {
            return 0;
        }
        let from = u64::MAX << first.max(0);
        let to = u64::MAX >> (BLOCK_PORTS as i64 - 1 - last.min(BLOCK_PORTS as i64 - 1));
        from & to
    }
}

/// Where a worker last found a port.
#[derive(Clone, Copy, Default)]
struct Hint {
    /// Row and class + 1, so that 0 is nobody's.
    place: u32,
    block: u16,
    /// Whether `range` had no port left in the second `since`.
    exhausted: bool,
    since: u32,
    range: PortRange,
}
const _: () = assert!(size_of::<Hint>() == 16);

/// What one worker keeps about ports.
pub(crate) struct PortLocal {
    worker: u64,
    random: u64,
    hints: Box<[Hint; HINTS]>,
}

impl PortLocal {
    pub(crate) fn new(worker: usize, seed: u64) -> Self {
        let random = seed.wrapping_add(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(worker as u64 + 1)) | 1;
        PortLocal {
            worker: worker as u64 + 1,
            random,
            hints: Box::new([Hint::default(); HINTS]),
        }
    }

    /// Xorshift: spreads ports (RFC 6056), protects nothing.
    #[inline(always)]
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    #[inline(always)]
    fn slot(place: u32) -> usize {
        place.wrapping_mul(0x9e37_79b1) as usize % HINTS
    }

    fn hint(&mut self, place: u32) -> &mut Hint {
        let hint = &mut self.hints[Self::slot(place)];
        if hint.place != place {
            *hint = Hint {
                place,
                block: u16::MAX,
                ..Hint::default()
            };
        }
        hint
    }
}

/// A handle on the port state.
#[derive(Clone, Copy)]
pub struct Ports<'a> {
    words: &'a [AtomicU64],
}

/// One class of one row.
#[derive(Clone, Copy)]
struct Class<'a> {
    bitmaps: &'a [AtomicU64],
    owners: &'a [AtomicU64],
}

impl<'a> Ports<'a> {
    /// Words for so many pool addresses, over all pools: 48 KiB each.
    pub const fn words(addresses: usize) -> usize {
        addresses * ROW_WORDS
    }

    /// Zeroed words are ports that are all free; whole rows count.
    pub fn open(words: &'a [AtomicU64]) -> Self {
        Ports { words }
    }

    /// Pool addresses that there is room for.
    pub fn rows(&self) -> u32 {
        (self.words.len() / ROW_WORDS) as u32
    }

    #[inline(always)]
    fn class(&self, row: u32, protocol_number: u8) -> Result<(Class<'a>, usize), PortsError> {
        let class = class_of(protocol_number).ok_or(PortsError::Untranslatable)?;
        let first = (row as usize)
            .saturating_mul(ROW_WORDS)
            .saturating_add(class * CLASS_WORDS);
        let words = self
            .words
            .get(first..first.saturating_add(CLASS_WORDS))
            .ok_or(PortsError::RowInvalid)?;
        let (bitmaps, owners) = words.split_at(BLOCKS);
        Ok((Class { bitmaps, owners }, class))
    }

    /// Takes a free port of the range. `now` in seconds: after an answer of `Exhausted` the same worker searches again in the next second.
    #[inline(always)]
    pub(crate) fn allocate(
        &self,
        local: &mut PortLocal,
        row: u32,
        protocol_number: u8,
        range: PortRange,
        now: u32,
    ) -> Result<u16, PortsError> {
        let (class, number) = self.class(row, protocol_number)?;
        match self.take_hinted(local, row, number, range) {
            Some(port) => Ok(port),
            None => Self::allocate_far(local, class, place(row, number), range, now),
        }
    }

    /// A port of the block in which this worker last found one, if that is known and has one.
    #[inline(always)]
    pub(crate) fn take_hinted(&self, local: &mut PortLocal, row: u32, class: usize, range: PortRange) -> Option<u16> {
        let place = place(row, class);
        let hint = local.hints[PortLocal::slot(place)];
        let block = usize::from(hint.block);
        let bitmap = (row as usize * CLASSES + class) * CLASS_WORDS + block;
        if (hint.place != place) | hint.exhausted | (block >= BLOCKS) {
            return None;
        }
        let (bitmap, owner) = (self.words.get(bitmap)?, self.words.get(bitmap + BLOCKS)?);
        if owner.load(Ordering::Relaxed) != local.worker {
            return None;
        }
        take(bitmap, block, range, local.random())
    }

    /// From any block.
    #[inline(never)]
    fn allocate_far(
        local: &mut PortLocal,
        class: Class<'_>,
        place: u32,
        range: PortRange,
        now: u32,
    ) -> Result<u16, PortsError> {
        let (random, worker) = (local.random(), local.worker);
        let hint = local.hint(place);
        if hint.exhausted && (hint.since, hint.range) == (now, range) {
            return Err(PortsError::Exhausted);
        }
        match class.search(worker, range, random) {
            Some((block, port)) => {
                (hint.block, hint.exhausted) = (block as u16, false);
                Ok(port)
            }
            None => {
                (hint.exhausted, hint.since, hint.range) = (true, now, range);
                Err(PortsError::Exhausted)
            }
        }
    }

    /// Gives a port back; the last of a block frees the block for any worker.
    pub(crate) fn release(&self, row: u32, protocol_number: u8, port: u16) {
        let Ok((class, _)) = self.class(row, protocol_number) else {
            return;
        };
        let (block, bit) = (
            usize::from(port) / BLOCK_PORTS,
            1u64 << (usize::from(port) % BLOCK_PORTS),
        );
        let Some(bitmap) = class.bitmaps.get(block) else { return };
        if bitmap.fetch_and(!bit, Ordering::AcqRel) == bit {
            class.owners[block].store(0, Ordering::Relaxed);
        }
    }

    /// Takes one certain port; `false` if it is taken or does not exist.
    pub(crate) fn claim(&self, row: u32, protocol_number: u8, port: u16) -> bool {
        let Ok((class, _)) = self.class(row, protocol_number) else {
            return false;
        };
        let bit = 1u64 << (usize::from(port) % BLOCK_PORTS);
        let bitmap = class.bitmaps.get(usize::from(port) / BLOCK_PORTS);
        bitmap.is_some_and(|bitmap| bitmap.fetch_or(bit, Ordering::AcqRel) & bit == 0)
    }

    /// Frees every port and block; nobody else may use the state.
    pub(crate) fn clear(&self) {
        for word in self.words {
            if word.load(Ordering::Relaxed) != 0 {
                word.store(0, Ordering::Relaxed);
            }
        }
    }

    /// Ports taken of one protocol on one row, for status and tests.
    pub fn taken(&self, row: u32, protocol_number: u8) -> u32 {
        let Ok((class, _)) = self.class(row, protocol_number) else {
            return 0;
        };
        class
            .bitmaps
            .iter()
            .map(|bitmap| bitmap.load(Ordering::Relaxed).count_ones())
            .sum()
    }
}

/// Which class the ports of a protocol are.
#[inline(always)]
pub(crate) fn class_of(protocol_number: u8) -> Option<usize> {
    match protocol_number {
        protocol::TCP => Some(0),
        protocol::UDP => Some(1),
        protocol::ICMP | protocol::ICMPV6 => Some(2),
        _ => None,
    }
}

/// What a hint says where it is for: 0 is nowhere.
#[inline(always)]
fn place(row: u32, class: usize) -> u32 {
    row * CLASSES as u32 + class as u32 + 1
}

/// A free port of a block, from a random place on.
#[inline(always)]
fn take(bitmap: &AtomicU64, block: usize, range: PortRange, random: u64) -> Option<u16> {
    let turn = (random % BLOCK_PORTS as u64) as u32;
    loop {
        let free = !bitmap.load(Ordering::Relaxed) & range.bits(block);
        if free == 0 {
            return None;
        }
        let bit = (free.rotate_right(turn).trailing_zeros() + turn) % BLOCK_PORTS as u32;
        if bitmap.fetch_or(1 << bit, Ordering::AcqRel) & (1 << bit) == 0 {
            return Some((block * BLOCK_PORTS) as u16 + bit as u16);
        }
    }
}

impl Class<'_> {
    /// A port from a block that is our own or has no owner, whichever comes first, else from anybody's.
    fn search(&self, worker: u64, range: PortRange, random: u64) -> Option<(usize, u16)> {
        if range.first > range.last {
            return None;
        }
        let blocks = range.blocks();
        let count = blocks.end().checked_sub(*blocks.start())? + 1;
        let start = (random >> 8) as usize % count;
        let middle = blocks.start() + start;
        let turned = || (middle..=*blocks.end()).chain(*blocks.start()..middle);
        let from = |block: usize| take(&self.bitmaps[block], block, range, random).map(|port| (block, port));
        let mut ours = turned().filter(|block| self.is_or_becomes_owner(*block, worker));
        ours.find_map(from).or_else(|| turned().find_map(from))
    }

    fn is_or_becomes_owner(&self, block: usize, worker: u64) -> bool {
        let owner = &self.owners[block];
        match owner.load(Ordering::Relaxed) {
            0 => owner
                .compare_exchange(0, worker, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok(),
            known => known == worker,
        }
    }
}

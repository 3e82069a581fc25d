//! Finds an entry by the hash of its key: one-cache-line buckets of eight words.
//!
//! A *primary* bucket has seven slots and a head; an *overflow* bucket has eight slots. A slot is 0 or one word: a tag of the
//! hash, the direction whose key it stands for, and the entry's index. Entries that find their primary bucket full go to
//! the overflow buckets, from a place that the hash picks, onwards; the primary's head counts them (upper half) and says how many
//! overflow buckets a lookup must visit (lower half), so a bucket that never overflowed costs one line. A slot never moves.

#[cfg(all(test, not(loom)))]
mod tests;

use crate::sync::{AtomicU64, Ordering, step, touch};
use crate::tcp::Direction;
use core::ops::ControlFlow;

pub(crate) const BUCKET_WORDS: usize = 8;
const HEAD: usize = 7;
const ONE_OVERFLOWED: u64 = 1 << 32;
const REACH_MASK: u64 = u32::MAX as u64;

/// Primary slots for each key of a full table: memory against lines that a lookup reads. Keys that come and go leave free
/// primary slots behind while others wait in overflow buckets, so these must hold what Erlang's loss formula says is turned away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fill {
    /// Two slots a key, for what every packet looks up: 4% of the keys overflow, a lookup reads 1.2 lines.
    Half = 0,
    /// One slot a key, for what new flows look up: 25% overflow into buckets that are then 58% full, a lookup reads 2.3 lines.
    Full = 1,
}

impl Fill {
    /// Words that index `slots` keys.
    pub(crate) const fn words(self, slots: usize) -> usize {
        (self.primary_buckets(slots) + self.overflow_buckets(slots)) * BUCKET_WORDS
    }

    const fn primary_buckets(self, slots: usize) -> usize {
        let buckets = match self {
            Fill::Half => (slots * 2).div_ceil(HEAD),
            Fill::Full => slots.div_ceil(HEAD),
        };
        if buckets == 0 { 1 } else { buckets }
    }

    /// A small table could by bad luck have all its keys in one bucket: its overflow holds them all. A large one cannot.
    const fn overflow_buckets(self, slots: usize) -> usize {
        let all = slots.div_ceil(BUCKET_WORDS);
        let share = match self {
            Fill::Half => self.primary_buckets(slots) / 16,
            Fill::Full => self.primary_buckets(slots) * 3 / 8,
        };
        let floor = if all < 512 { all } else { 512 };
        if share > floor { share } else { floor }
    }
}

/// The word of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Slot(pub(crate) u64);

impl Slot {
    const TAG_SHIFT: u32 = 33;
    /// Set where the slot stands for the key of the reverse direction.
    pub(crate) const REVERSE: u64 = 1 << 32;
    /// Marks a slot as taken, whatever its tag and entry.
    const TAKEN: u64 = 1 << 63;

    #[inline(always)]
    pub(crate) fn new(hash: u64, reverse: bool, entry: u32) -> Self {
        Slot(Self::tag(hash) | (u64::from(reverse) << 32) | u64::from(entry))
    }

    /// What every slot of a key with this hash has above the direction bit.
    #[inline(always)]
    pub(crate) fn tag(hash: u64) -> u64 {
        Self::TAKEN | (hash << Self::TAG_SHIFT)
    }

    #[inline(always)]
    pub(crate) fn has_tag(self, tag: u64) -> bool {
        (self.0 ^ tag) >> Self::TAG_SHIFT == 0
    }

    #[inline(always)]
    pub(crate) fn entry(self) -> u32 {
        self.0 as u32
    }

    #[inline(always)]
    pub(crate) fn is_reverse(self) -> bool {
        self.0 & Self::REVERSE != 0
    }

    #[inline(always)]
    pub(crate) fn direction(self) -> Direction {
        if self.is_reverse() {
            Direction::Reverse
        } else {
            Direction::Forward
        }
    }
}

/// No bucket has room.
#[derive(Debug)]
pub(crate) struct IndexFull;

/// The words of a bucket.
pub(crate) type Bucket = [AtomicU64; BUCKET_WORDS];

/// A view of the buckets.
#[derive(Clone, Copy)]
pub(crate) struct Index<'a> {
    primary: &'a [Bucket],
    overflow: &'a [Bucket],
    overflow_buckets: u64,
}

impl<'a> Index<'a> {
    /// Over exactly `fill.words(slots)` words; `None` if there are fewer.
    pub(crate) fn new(part: &'a [AtomicU64], fill: Fill, slots: usize) -> Option<Self> {
        let (primary_buckets, overflow_buckets) = (fill.primary_buckets(slots), fill.overflow_buckets(slots));
        let (primary, rest) = part.split_at_checked(primary_buckets * BUCKET_WORDS)?;
        let overflow = rest.get(..overflow_buckets * BUCKET_WORDS)?;
        Some(Index {
            primary: primary.as_chunks().0,
            overflow: overflow.as_chunks().0,
            overflow_buckets: overflow_buckets as u64,
        })
    }

    /// Number of the primary bucket of a hash.
    #[inline(always)]
    pub(crate) fn position(&self, hash: u64) -> usize {
        Self::number(hash, self.primary.len())
    }

    /// Which of so many primary buckets is the hash's.
    #[inline(always)]
    pub(crate) fn number(hash: u64, primary_buckets: usize) -> usize {
        (((hash >> 32) * primary_buckets as u64) >> 32) as usize
    }

    /// All primary buckets.
    #[inline(always)]
    pub(crate) fn buckets(&self) -> &'a [Bucket] {
        self.primary
    }

    /// The primary bucket at a [`position`](Self::position).
    #[inline(always)]
    pub(crate) fn bucket(&self, position: usize) -> &'a Bucket {
        &self.primary[position]
    }

    /// Whether entries of this primary bucket lie in overflow buckets.
    #[inline(always)]
    pub(crate) fn overflowed(bucket: &Bucket) -> bool {
        bucket[HEAD].load(Ordering::Acquire) != 0
    }

    /// The first slot of a primary bucket that has the tag; 0 if none has.
    #[inline(always)]
    pub(crate) fn first_match(bucket: &Bucket, tag: u64) -> u64 {
        let found = matches(bucket, tag) & PRIMARY;
        if found == 0 {
            return 0;
        }
        let slot = bucket[found.trailing_zeros() as usize & (BUCKET_WORDS - 1)].load(Ordering::Acquire);
        if Slot(slot).has_tag(tag) { slot } else { 0 }
    }

    /// Where a hash's slots are.
    #[inline(always)]
    pub(crate) fn spot(&self, hash: u64) -> Spot<'a> {
        let bucket = self.bucket(self.position(hash));
        Spot { bucket, hash }
    }

    fn overflow_bucket(&self, hash: u64, distance: u64) -> &'a Bucket {
        let start = ((hash & 0xffff_ffff) * self.overflow_buckets) >> 32;
        &self.overflow[((start + distance) % self.overflow_buckets) as usize]
    }

    /// Asks for the primary bucket of a hash.
    #[inline(always)]
    pub(crate) fn ask(&self, hash: u64) {
        touch(&self.bucket(self.position(hash))[0]);
    }

    /// Visits every slot with the hash's tag, until `visit` breaks.
    #[inline(always)]
    pub(crate) fn visit<B>(&self, hash: u64, mut visit: impl FnMut(Slot) -> ControlFlow<B>) -> Option<B> {
        let tag = Slot::tag(hash);
        let bucket = self.bucket(self.position(hash));
        if let Some(found) = visit_bucket(bucket, PRIMARY, tag, &mut visit) {
            return Some(found);
        }
        let head = bucket[HEAD].load(Ordering::SeqCst);
        if head == 0 {
            return None;
        }
        for distance in 0..(head & REACH_MASK).min(self.overflow_buckets) {
            if let Some(found) = visit_bucket(self.overflow_bucket(hash, distance), ALL, tag, &mut visit) {
                return Some(found);
            }
        }
        None
    }

    /// Puts a slot into the first free place.
    #[inline(always)]
    pub(crate) fn place(&self, hash: u64, slot: Slot) -> Result<(), IndexFull> {
        let spot = self.spot(hash);
        self.place_at(spot, free(spot.bucket), slot)
    }

    /// Puts a slot into the first of the places that a [`survey`](Spot::survey) saw `free`, or into any that is.
    #[inline(always)]
    pub(crate) fn place_at(&self, spot: Spot<'_>, free: u32, slot: Slot) -> Result<(), IndexFull> {
        let free = free & PRIMARY;
        if free != 0 && occupy(&spot.bucket[free.trailing_zeros() as usize & (BUCKET_WORDS - 1)], slot) {
            return Ok(());
        }
        self.place_far(spot.hash, slot)
    }

    /// The whole way: every free place.
    #[inline(never)]
    fn place_far(&self, hash: u64, slot: Slot) -> Result<(), IndexFull> {
        let bucket = self.bucket(self.position(hash));
        if put(&bucket[..HEAD], slot) {
            return Ok(());
        }
        let head = &bucket[HEAD];
        head.fetch_add(ONE_OVERFLOWED, Ordering::SeqCst);
        step();
        for distance in 0..self.overflow_buckets {
            raise_reach(head, distance + 1);
            step();
            if put(self.overflow_bucket(hash, distance), slot) {
                return Ok(());
            }
        }
        leave_overflow(head);
        Err(IndexFull)
    }

    /// Takes a slot out; `false` if it was not there.
    pub(crate) fn remove(&self, hash: u64, slot: Slot) -> bool {
        let bucket = self.bucket(self.position(hash));
        if take(&bucket[..HEAD], slot) {
            return true;
        }
        let head = &bucket[HEAD];
        let reach = (head.load(Ordering::Acquire) & REACH_MASK).min(self.overflow_buckets);
        for distance in 0..reach {
            if take(self.overflow_bucket(hash, distance), slot) {
                step();
                leave_overflow(head);
                return true;
            }
        }
        false
    }

    /// Empties every bucket; for a table that nobody else uses.
    pub(crate) fn clear(&self) {
        for word in self.primary.iter().chain(self.overflow).flatten() {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// Slots taken, and the longest way of a lookup in buckets. For tests and status.
    pub(crate) fn occupancy(&self) -> (usize, usize) {
        let (mut taken, mut longest) = (0, 1);
        for bucket in self.primary {
            taken += bucket[..HEAD]
                .iter()
                .filter(|slot| slot.load(Ordering::Relaxed) != 0)
                .count();
            longest = longest.max(1 + (bucket[HEAD].load(Ordering::Relaxed) & REACH_MASK) as usize);
        }
        taken += self
            .overflow
            .iter()
            .flatten()
            .filter(|slot| slot.load(Ordering::Relaxed) != 0)
            .count();
        (taken, longest)
    }
}

/// The primary bucket of a hash, for whoever looks at it more than once.
#[derive(Clone, Copy)]
pub(crate) struct Spot<'a> {
    bucket: &'a Bucket,
    hash: u64,
}

impl Spot<'_> {
    /// What there is before one's own slot is placed: a bit for each slot with the tag, and one for each free place. If the bucket
    /// [overflowed](Self::overflowed), other slots may have the tag, too.
    #[inline(always)]
    pub(crate) fn survey(self) -> (u32, u32) {
        let tag = Slot::tag(self.hash);
        #[cfg(not(loom))]
        let (same, free) = tombolo_tables::region_scan::tagged_and_zero::<{ Slot::TAG_SHIFT as i32 }>(self.bucket, tag);
        #[cfg(loom)]
        let (same, free) = (matches(self.bucket, tag), free(self.bucket));
        (same & PRIMARY, free & PRIMARY)
    }

    /// The first slot with the tag; 0 if none has.
    #[inline(always)]
    pub(crate) fn first_match(self) -> u64 {
        Index::first_match(self.bucket, Slot::tag(self.hash))
    }

    /// A bit for each free place.
    #[inline(always)]
    pub(crate) fn free(self) -> u32 {
        free(self.bucket) & PRIMARY
    }

    /// Whether slots of this bucket lie in overflow buckets.
    #[inline(always)]
    pub(crate) fn overflowed(self) -> bool {
        self.bucket[HEAD].load(Ordering::SeqCst) != 0
    }

    /// Whether whoever placed a slot here is alone with its tag: false if the bucket cannot know.
    #[inline(always)]
    pub(crate) fn is_alone(self) -> bool {
        let found = matches(self.bucket, Slot::tag(self.hash)) & PRIMARY;
        found.is_power_of_two() && !self.overflowed()
    }
}

/// The slots of a primary bucket, a bit each, and those of an overflow bucket.
const PRIMARY: u32 = (1 << HEAD) - 1;
const ALL: u32 = (1 << BUCKET_WORDS) - 1;

/// A bit for each word of a bucket that is a slot with the tag. Each word is loaded in the one order of all that is sequentially
/// consistent, so that a slot that was placed before is seen.
#[inline(always)]
fn matches(bucket: &Bucket, tag: u64) -> u32 {
    scan::<{ Slot::TAG_SHIFT as i32 }>(bucket, tag)
}

/// A bit for each word of a bucket that is 0.
#[inline(always)]
fn free(bucket: &Bucket) -> u32 {
    scan::<0>(bucket, 0)
}

#[inline(always)]
fn scan<const SHIFT: i32>(bucket: &Bucket, wanted: u64) -> u32 {
    #[cfg(not(loom))]
    {
        tombolo_tables::region_scan::tagged::<SHIFT>(bucket, wanted)
    }
    #[cfg(loom)]
    {
        let same = |word: &AtomicU64| u32::from((word.load(Ordering::SeqCst) ^ wanted) >> SHIFT == 0);
        (bucket.iter().enumerate()).fold(0, |found, (place, word)| found | same(word) << place)
    }
}

#[inline(always)]
fn visit_bucket<B>(bucket: &Bucket, among: u32, tag: u64, visit: &mut impl FnMut(Slot) -> ControlFlow<B>) -> Option<B> {
    let mut left = matches(bucket, tag) & among;
    while left != 0 {
        let slot = Slot(bucket[left.trailing_zeros() as usize & (BUCKET_WORDS - 1)].load(Ordering::SeqCst));
        left &= left - 1;
        if slot.has_tag(tag)
            && let ControlFlow::Break(found) = visit(slot)
        {
            return Some(found);
        }
    }
    None
}

fn put(slots: &[AtomicU64], slot: Slot) -> bool {
    slots.iter().any(|place| occupy(place, slot))
}

#[inline(always)]
fn occupy(place: &AtomicU64, slot: Slot) -> bool {
    place.load(Ordering::Relaxed) == 0
        && place
            .compare_exchange(0, slot.0, Ordering::SeqCst, Ordering::Relaxed)
            .is_ok()
}

fn take(slots: &[AtomicU64], slot: Slot) -> bool {
    slots.iter().any(|place| {
        place.load(Ordering::Relaxed) == slot.0
            && place
                .compare_exchange(slot.0, 0, Ordering::SeqCst, Ordering::Relaxed)
                .is_ok()
    })
}

fn raise_reach(head: &AtomicU64, reach: u64) {
    let mut now = head.load(Ordering::Relaxed);
    while now & REACH_MASK < reach {
        match head.compare_exchange(now, (now & !REACH_MASK) | reach, Ordering::SeqCst, Ordering::Relaxed) {
            Ok(_) => return,
            Err(changed) => now = changed,
        }
    }
}

/// The last entry to leave takes the reach with it.
fn leave_overflow(head: &AtomicU64) {
    let mut now = head.load(Ordering::Relaxed);
    loop {
        let left = now.saturating_sub(ONE_OVERFLOWED);
        let next = if left < ONE_OVERFLOWED { 0 } else { left };
        match head.compare_exchange(now, next, Ordering::SeqCst, Ordering::Relaxed) {
            Ok(_) => return,
            Err(changed) => now = changed,
        }
    }
}

//! The IPv4 sessions as the express lane sees them: arrays of whole cache lines, looked up by sixteens.
//!
//! ```text
//! aim (all at once) → ask ··· candidate ··· fetch → judge (all at once) → book
//! ```
//! What a step asks memory for arrives while other sixteens take theirs (the dots). Whatever is arithmetic alone goes side by side, by
//! columns of words, which the compiler turns into vector instructions; words of one lane move one by one. Where this does not know
//! a key, the whole way ([`Sessions::lookup`]) does.

use super::entry::TRANSLATED;
use super::touch::add_traffic;
use super::{COUNTER_WORDS, Sessions};
use crate::expiry::LAST_SEEN_GRAIN;
use crate::hash::HashKey;
use crate::index::{BUCKET_WORDS, Index, Slot};
use crate::key::{Key, Key4};
use crate::sync::{AtomicU64, Ordering, fence, touch};
use crate::table::{Life, State, Table};
use crate::tcp::{Phase, flag};

/// Words of an IPv4 key.
type Words = [u64; 2];
const WORDS: usize = <Key4 as Key>::ENTRY_WORDS;
const NEXT_HOPS: usize = WORDS - 3;
const EPOCHS: usize = WORDS - 2;
const ACTIVITY: usize = WORDS - 1;
const _: () = assert!(NEXT_HOPS == 1 + 2 * <Key4 as Key>::KEY_WORDS && <Key4 as Key>::KEY_WORDS == 2);

/// Keys that are looked up side by side.
pub const ABREAST: usize = 16;
/// A word of each.
type Column = [u64; ABREAST];
const EMPTY: Column = [0; ABREAST];

/// The table, for as long as a batch takes.
#[derive(Clone, Copy)]
pub struct Lines<'t, 'a> {
    table: &'t Sessions<'a, Key4>,
    hash_key: HashKey,
    buckets: &'a [[AtomicU64; BUCKET_WORDS]],
    entries: &'a [[AtomicU64; WORDS]],
    counters: [&'a [[AtomicU64; COUNTER_WORDS]]; 2],
}

/// Sixteen keys that are looked up, a lane each.
#[repr(align(64))]
pub struct Lookups {
    /// Key words, as `Key::to_words` gives them: addresses; ports, segment, protocol.
    pub keys: [Column; 2],
    hashes: Column,
    /// Slots in the index; 0 is none.
    slots: Column,
}

/// What the table says of sixteen keys. What is said of a lane without a session has no meaning.
#[repr(align(64))]
pub struct Answers {
    /// The entry's first word before its other words were read, and what of it changed meanwhile.
    life: Column,
    changed: Column,
    own: [Column; 2],
    /// Key words of the other direction, flag byte still in: the packet leaves with its source and destination exchanged.
    pub other: [Column; 2],
    next_hops: Column,
    epochs: Column,
    activity: Column,
    /// All ones where the key has a live session.
    pub known: Column,
    /// `NextHop` bits for the key's direction.
    pub next_hop: Column,
    /// Decision epochs in the packet's order of travel, the first one in the upper half.
    pub travel_epochs: Column,
    /// As given in `NewSession::flags`.
    pub flags: Column,
    /// All ones where the key is that of the reverse direction.
    pub reverse: Column,
    /// All ones where anything but the segment changes on the way.
    pub translated: Column,
    /// All ones where one more packet leaves last-seen time and phase as they are.
    settled: Column,
}

impl Default for Lookups {
    fn default() -> Self {
        Lookups {
            keys: [EMPTY; 2],
            hashes: EMPTY,
            slots: EMPTY,
        }
    }
}

impl Default for Answers {
    fn default() -> Self {
        Answers {
            life: EMPTY,
            changed: EMPTY,
            own: [EMPTY; 2],
            other: [EMPTY; 2],
            next_hops: EMPTY,
            epochs: EMPTY,
            activity: EMPTY,
            known: EMPTY,
            next_hop: EMPTY,
            travel_epochs: EMPTY,
            flags: EMPTY,
            reverse: EMPTY,
            translated: EMPTY,
            settled: EMPTY,
        }
    }
}

impl<'a> Sessions<'a, Key4> {
    /// The table as lines.
    #[inline]
    pub fn lines(&self) -> Lines<'_, 'a> {
        Lines {
            table: self,
            hash_key: self.hash_key,
            buckets: self.table.index.buckets(),
            entries: self.table.entries().as_chunks().0,
            counters: self.counters.map(|counters| counters.as_chunks().0),
        }
    }
}

impl Lines<'_, '_> {
    /// First pass of a lane: the hash of its key. Its bucket is on its way.
    #[inline(always)]
    pub fn aim(&self, lookups: &mut Lookups, lane: usize) {
        let hash = self.hash_key.hash(&lookups.key(lane));
        lookups.hashes[lane % ABREAST] = hash;
        if let Some(bucket) = self.bucket(hash) {
            touch(&bucket[0]);
        }
    }

    /// Second pass of a lane: the first slot that may be the key's. Its entry and counters are on their way.
    #[inline(always)]
    pub fn candidate(&self, lookups: &mut Lookups, lane: usize) {
        let hash = lookups.hashes[lane % ABREAST];
        let slot = match self.bucket(hash) {
            Some(bucket) => Slot(Index::first_match(bucket, Slot::tag(hash))),
            None => Slot(0),
        };
        lookups.slots[lane % ABREAST] = slot.0;
        if slot.0 != 0
            && let Some(entry) = self.entries.get(slot.entry() as usize)
            && let Some(counter) = self.counter(slot)
        {
            touch(&entry[0]);
            touch(&counter[0]);
        }
    }

    /// Third pass of a lane: copies the words of its session. False if there is none, whichever way one looks.
    #[inline(always)]
    pub fn fetch(&self, lookups: &mut Lookups, answers: &mut Answers, lane: usize) -> bool {
        let lane = lane % ABREAST;
        let mut slot = Slot(lookups.slots[lane]);
        if slot.0 == 0 {
            let overflowed = self.bucket(lookups.hashes[lane]).is_some_and(Index::overflowed);
            slot = if overflowed {
                self.search_far(lookups, lane)
            } else {
                slot
            };
            lookups.slots[lane] = slot.0;
            if slot.0 == 0 {
                answers.life[lane] = 0;
                return false;
            }
        }
        let Some(entry) = self.entries.get(slot.entry() as usize) else {
            answers.life[lane] = 0;
            return false;
        };
        let word = |position: usize| entry[position].load(Ordering::Relaxed);
        let (own, other) = if slot.is_reverse() { (3, 1) } else { (1, 3) };
        let life = entry[0].load(Ordering::Acquire);
        answers.life[lane] = life;
        answers.own[0][lane] = word(own);
        answers.own[1][lane] = word(own + 1);
        answers.other[0][lane] = word(other);
        answers.other[1][lane] = word(other + 1);
        answers.next_hops[lane] = word(NEXT_HOPS);
        answers.epochs[lane] = word(EPOCHS);
        answers.activity[lane] = word(ACTIVITY);
        fence(Ordering::Acquire);
        answers.changed[lane] = entry[0].load(Ordering::Relaxed) ^ life;
        true
    }

    /// The whole way: every slot with the tag, overflow buckets included.
    #[cold]
    fn search_far(&self, lookups: &Lookups, lane: usize) -> Slot {
        let (key, hash) = (lookups.key(lane), lookups.hash(lane));
        match self.table.find(&key, hash, |state| state == State::Live) {
            Some((session, reverse, _)) => Slot::new(hash, reverse, session),
            None => Slot(0),
        }
    }

    /// Books a packet of `bytes` bytes on its session and keeps the session alive. `now` in seconds; `tcp_flags` 0 if not TCP.
    #[inline(always)]
    pub fn book(&self, lookups: &Lookups, answers: &Answers, lane: usize, now: u32, tcp_flags: u8, bytes: u32) {
        let lane = lane % ABREAST;
        let slot = Slot(lookups.slots[lane]);
        if let Some(counter) = self.counter(slot) {
            add_traffic(counter, bytes);
        }
        if answers.settled[lane] == 0 {
            let version = Life(answers.life[lane]).version();
            self.table
                .refresh(slot.entry(), version, slot.direction(), now, tcp_flags);
        }
    }

    #[inline(always)]
    fn counter(&self, slot: Slot) -> Option<&[AtomicU64; COUNTER_WORDS]> {
        self.counters[usize::from(slot.is_reverse())].get(slot.entry() as usize)
    }

    #[inline(always)]
    fn bucket(&self, hash: u64) -> Option<&[AtomicU64; BUCKET_WORDS]> {
        self.buckets.get(Index::number(hash, self.buckets.len()))
    }
}

impl Lookups {
    /// The key of a lane.
    #[inline(always)]
    pub fn key(&self, lane: usize) -> Words {
        [self.keys[0][lane % ABREAST], self.keys[1][lane % ABREAST]]
    }

    /// Its hash.
    #[inline(always)]
    pub fn hash(&self, lane: usize) -> u64 {
        self.hashes[lane % ABREAST]
    }
}

impl Answers {
    /// This lane has no session: nobody looked.
    #[inline(always)]
    pub fn leave_out(&mut self, lane: usize) {
        self.life[lane % ABREAST] = 0;
    }

    /// Segment that a lane's session leads into.
    #[inline(always)]
    pub fn egress(&self, lane: usize) -> u16 {
        (self.other[1][lane % ABREAST] >> 16) as u16
    }

    /// Last pass, of all lanes: which sessions are live and the keys', and what they say. `now` in seconds, `tcp_flags` 0 if not TCP.
    #[inline(always)]
    pub fn judge(&mut self, lookups: &Lookups, now: u32, tcp_flags: &Column) {
        for (lane, tcp_flags) in tcp_flags.iter().enumerate() {
            let (life, activity) = (self.life[lane], self.activity[lane]);
            let reverse = all_if(lookups.slots[lane] & Slot::REVERSE != 0);
            let [first, second] = [lookups.keys[0][lane], lookups.keys[1][lane]];
            let same = (self.own[0][lane] ^ first) | (self.own[1][lane] ^ second) & !0xff;
            let live = all_if(life >> 62 == State::Live as u64) & !all_if(Table::is_link(activity));
            self.known[lane] = all_if(same | self.changed[lane] == 0) & live;
            self.reverse[lane] = reverse;
            let (hops, epochs) = (self.next_hops[lane], self.epochs[lane]);
            self.next_hop[lane] = choose(reverse, hops & 0xffff_ffff, hops >> 32);
            self.travel_epochs[lane] = choose(reverse, epochs.rotate_left(32), epochs);
            // Flags and the mark of translation are in the last byte of the forward and of the reverse key.
            let (own, other) = (self.own[1][lane], self.other[1][lane]);
            self.flags[lane] = choose(reverse, other, own) & 0xff;
            self.translated[lane] = (choose(reverse, own, other) & TRANSLATED).wrapping_neg();
            let phase = activity >> 24 & 0xff;
            let closing = u64::from(flag::FIN | flag::SYN | flag::RST);
            let quiet = all_if(tcp_flags & closing == 0);
            let steady = all_if(phase == Phase::Replied as u64)
                | all_if(phase == Phase::Unreplied as u64) & !reverse
                | all_if(phase == Phase::Established as u64) & quiet;
            let idle = u64::from(now).wrapping_sub(activity >> 32) & 0xffff_ffff;
            self.settled[lane] = steady & all_if(idle < u64::from(LAST_SEEN_GRAIN));
        }
    }
}

#[inline(always)]
fn all_if(condition: bool) -> u64 {
    if condition { u64::MAX } else { 0 }
}

#[inline(always)]
fn choose(mask: u64, yes: u64, no: u64) -> u64 {
    yes & mask | no & !mask
}

//! The IPv4 sessions as the express lane sees them: arrays of whole cache lines, found without a multiplication and checked once.
//!
//! A lookup goes in its three passes, for a caller that keeps a batch under way: between two passes of a packet others take theirs,
//! and meanwhile the lines arrive. The answer is smaller than a [`Hit`](super::Hit): keys stay words. Where a pass says that it
//! does not know, the whole way ([`Sessions::lookup`]) does.

use super::entry::{Activity, same_key};
use super::touch::add_traffic;
use super::{COUNTER_WORDS, Candidate, Sessions};
use crate::expiry::LAST_SEEN_GRAIN;
use crate::hash::HashKey;
use crate::index::{BUCKET_WORDS, Index, Slot};
use crate::key::{Key, Key4};
use crate::sync::{AtomicU64, Ordering, fence, touch};
use crate::table::{Life, State, Table};
use crate::tcp::{Direction, Phase, flag};

/// Words of an IPv4 key.
type Words = [u64; 2];
const WORDS: usize = <Key4 as Key>::ENTRY_WORDS;
const NEXT_HOPS: usize = WORDS - 3;
const EPOCHS: usize = WORDS - 2;
const ACTIVITY: usize = WORDS - 1;
const _: () = assert!(NEXT_HOPS == 1 + 2 * <Key4 as Key>::KEY_WORDS && <Key4 as Key>::KEY_WORDS == 2);

/// The table, for as long as a batch takes.
#[derive(Clone, Copy)]
pub struct Lines<'t, 'a> {
    table: &'t Sessions<'a, Key4>,
    hash_key: HashKey,
    buckets: &'a [[AtomicU64; BUCKET_WORDS]],
    entries: &'a [[AtomicU64; WORDS]],
    counters: [&'a [[AtomicU64; COUNTER_WORDS]]; 2],
}

/// What a live session says of a packet of its own.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// For [`Lines::book`].
    pub booking: Booking,
    /// Key words of the other direction, flag byte still in: the packet leaves with its source and destination exchanged.
    pub other: Words,
    /// `NextHop` bits for this direction.
    pub next_hop: u32,
    /// Decision epochs in the packet's order of travel, the first one in the upper half.
    pub epochs: u64,
    /// As given in `NewSession::flags`.
    pub flags: u8,
    /// Whether anything but the segment changes on the way.
    pub translated: bool,
}

/// Which session a packet is to be booked on, and how it stood.
#[derive(Clone, Copy, Debug, Default)]
pub struct Booking {
    slot: u64,
    life: u64,
    activity: u64,
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
    /// First pass: the hash of a key. Its bucket is on its way.
    #[inline(always)]
    pub fn aim(&self, key: &Words) -> u64 {
        let hash = self.hash_key.hash(key);
        if let Some(bucket) = self.bucket(hash) {
            touch(&bucket[0]);
        }
        hash
    }

    /// Second pass: the first slot that may be the key's. Its entry and counters are on their way.
    #[inline(always)]
    pub fn candidate(&self, hash: u64) -> Candidate {
        let found = self
            .bucket(hash)
            .map_or(0, |bucket| Index::first_match(bucket, Slot::tag(hash)));
        let slot = Slot(found);
        if found != 0
            && let Some(entry) = self.entries.get(slot.entry() as usize)
        {
            touch(&entry[0]);
            touch(&self.counters[usize::from(slot.is_reverse())][slot.entry() as usize][0]);
        }
        Candidate(found)
    }

    /// Third pass: the session, if the candidate is live and the key's. None does not mean that there is no session.
    #[inline(always)]
    pub fn found(&self, key: &Words, candidate: Candidate) -> Option<Found> {
        let slot = candidate.slot()?;
        let entry = self.entries.get(slot.entry() as usize)?;
        let reverse = usize::from(slot.is_reverse());
        let word = |position: usize| entry[position].load(Ordering::Relaxed);
        let life = Life(entry[0].load(Ordering::Acquire));
        let own = [word(1 + 2 * reverse), word(2 + 2 * reverse)];
        let other = [word(3 - 2 * reverse), word(4 - 2 * reverse)];
        let (flags, translated) = (word(2) as u8, word(4) & 1 != 0);
        let (next_hops, epochs, activity) = (word(NEXT_HOPS), word(EPOCHS), word(ACTIVITY));
        fence(Ordering::Acquire);
        let whole = entry[0].load(Ordering::Relaxed) == life.0;
        let live = (life.state() == State::Live) & !Table::is_link(activity);
        if !(whole & live & same_key::<Key4>(&own, key)) {
            return None;
        }
        let turn = if reverse == 0 { 32 } else { 0 };
        Some(Found {
            booking: Booking {
                slot: slot.0,
                life: life.0,
                activity,
            },
            other,
            next_hop: (next_hops >> turn) as u32,
            epochs: epochs.rotate_left(32 - turn),
            flags,
            translated,
        })
    }

    /// The whole way, for what [`found`](Self::found) did not know: every slot with the tag, overflow buckets included.
    #[inline]
    pub fn searched(&self, key: &Words, hash: u64, candidate: Candidate) -> Option<Found> {
        let overflowed = self.bucket(hash).is_some_and(Index::overflowed);
        if candidate.slot().is_none() && !overflowed {
            return None;
        }
        self.search_far(key, hash)
    }

    #[cold]
    fn search_far(&self, key: &Words, hash: u64) -> Option<Found> {
        let (session, reverse, entry) = self.table.find(key, hash, |state| state == State::Live)?;
        let hit = entry.hit(session, reverse);
        Some(Found {
            booking: Booking {
                slot: Slot::new(hash, reverse, session).0,
                life: entry.life.0,
                activity: entry.activity.0,
            },
            other: entry.keys[usize::from(!reverse)],
            next_hop: hit.next_hop,
            epochs: u64::from(hit.epochs[0]) << 32 | u64::from(hit.epochs[1]),
            flags: hit.flags,
            translated: hit.translated,
        })
    }

    /// Books a packet of `bytes` bytes on its session and keeps the session alive. `now` in seconds; `tcp_flags` 0 if not TCP.
    #[inline(always)]
    pub fn book(&self, booking: &Booking, now: u32, tcp_flags: u8, bytes: u32) {
        let slot = Slot(booking.slot);
        let session = slot.entry();
        if let Some(counter) = self.counters[usize::from(slot.is_reverse())].get(session as usize) {
            add_traffic(counter, bytes);
        }
        let idle = now.wrapping_sub(Activity(booking.activity).last_seen());
        if !((idle < LAST_SEEN_GRAIN) & booking.is_settled(tcp_flags)) {
            let version = Life(booking.life).version();
            self.table.refresh(session, version, slot.direction(), now, tcp_flags);
        }
    }

    #[inline(always)]
    fn bucket(&self, hash: u64) -> Option<&[AtomicU64; BUCKET_WORDS]> {
        self.buckets.get(Index::number(hash, self.buckets.len()))
    }
}

impl Booking {
    /// Way of the packet.
    #[inline(always)]
    pub fn direction(&self) -> Direction {
        Slot(self.slot).direction()
    }

    /// Whether one more packet leaves the session's phase as it is, for the usual phases; no means that it must be looked at.
    #[inline(always)]
    fn is_settled(&self, tcp_flags: u8) -> bool {
        let quiet = tcp_flags & (flag::FIN | flag::SYN | flag::RST) == 0;
        match Activity(self.activity).phase() {
            Phase::Replied => true,
            Phase::Unreplied => !Slot(self.slot).is_reverse(),
            Phase::Established => quiet,
            Phase::SynSent
            | Phase::SynReceived
            | Phase::FinForward
            | Phase::FinReverse
            | Phase::FinBoth
            | Phase::Reset => false,
        }
    }
}

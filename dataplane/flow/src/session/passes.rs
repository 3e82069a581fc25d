//! A lookup in its three passes, for a caller that keeps a whole batch under way: between two passes it does the same pass for the
//! other packets, and meanwhile the cache lines arrive.
//!
//! The answer is smaller than a [`Hit`](super::Hit): keys stay words. Where a pass says that it does not know, the whole way
//! ([`Sessions::lookup`]) does.

use super::entry::{Activity, same_key};
use super::{SessionKey, Sessions};
use crate::expiry::LAST_SEEN_GRAIN;
use crate::index::{Index, Slot};
use crate::sync::{Ordering, fence, touch};
use crate::table::{Life, State, Table};
use crate::tcp::Direction;

/// Where a key may be, if anywhere: made by [`Sessions::candidate`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Candidate(u64);

impl Candidate {
    #[inline(always)]
    pub(super) fn slot(self) -> Option<Slot> {
        (self.0 != 0).then_some(Slot(self.0))
    }
}

/// What a live session says of a packet of its own.
#[derive(Clone, Copy, Debug)]
pub struct Found<W> {
    /// Entry of the session.
    pub session: u32,
    /// Way of the packet.
    pub direction: Direction,
    /// Key words of the other direction, flag byte still in: the packet leaves with its source and destination exchanged.
    pub other: W,
    /// `NextHop` bits for this direction.
    pub next_hop: u32,
    /// Decision epochs in the packet's order of travel, the first one in the upper half.
    pub epochs: u64,
    /// As given in `NewSession::flags`.
    pub flags: u8,
    /// Whether anything but the segment changes on the way.
    pub translated: bool,
    version: u32,
    activity: Activity,
}

impl<'a, K: SessionKey> Sessions<'a, K> {
    /// First pass: the hash of a key. Its bucket is on its way.
    #[inline(always)]
    pub fn aim(&self, key: &K::Words) -> u64 {
        let hash = self.hash(key);
        self.table.index.ask(hash);
        hash
    }

    /// Second pass: the first slot that may be the key's. Its entry and counters are on their way.
    #[inline(always)]
    pub fn candidate(&self, hash: u64) -> Candidate {
        let bucket = self.table.index.bucket(self.table.index.position(hash));
        let slot = Slot(Index::first_match(bucket, Slot::tag(hash)));
        if slot.0 == 0 {
            return Candidate(0);
        }
        let entry = self.table.entry(slot.entry());
        touch(&entry[0]);
        if K::ENTRY_WORDS > 8 {
            touch(&entry[K::ENTRY_WORDS - 1]);
        }
        touch(&self.counter(slot.direction(), slot.entry())[0]);
        Candidate(slot.0)
    }

    /// Third pass: the session, if the candidate is live and the key's. None does not mean that there is no session.
    #[inline(always)]
    pub fn found(&self, key: &K::Words, candidate: Candidate) -> Option<Found<K::Words>> {
        let slot = candidate.slot()?;
        let reverse = slot.is_reverse();
        let entry = self.table.entry(slot.entry());
        let life = Life(entry[0].load(Ordering::Acquire));
        let own_at = 1 + usize::from(reverse) * K::KEY_WORDS;
        let other_at = 1 + usize::from(!reverse) * K::KEY_WORDS;
        let (mut own, mut other) = (K::Words::default(), K::Words::default());
        for position in 0..K::KEY_WORDS {
            own.as_mut()[position] = entry[own_at + position].load(Ordering::Relaxed);
            other.as_mut()[position] = entry[other_at + position].load(Ordering::Relaxed);
        }
        let next_hops = entry[1 + 2 * K::KEY_WORDS].load(Ordering::Relaxed);
        let epochs = entry[2 + 2 * K::KEY_WORDS].load(Ordering::Relaxed);
        let activity = entry[K::ENTRY_WORDS - 1].load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let whole = entry[0].load(Ordering::Relaxed) == life.0;
        let live = (life.state() == State::Live) & !Table::is_link(activity);
        if !(whole & live & same_key::<K>(&own, key)) {
            return None;
        }
        let (own_flags, other_flags) = (
            own.as_ref()[K::KEY_WORDS - 1] as u8,
            other.as_ref()[K::KEY_WORDS - 1] as u8,
        );
        let (forward_flags, reverse_flags) = if reverse {
            (other_flags, own_flags)
        } else {
            (own_flags, other_flags)
        };
        Some(Found {
            session: slot.entry(),
            direction: slot.direction(),
            other,
            next_hop: (next_hops >> if reverse { 0 } else { 32 }) as u32,
            epochs: epochs.rotate_left(if reverse { 32 } else { 0 }),
            flags: forward_flags,
            translated: reverse_flags & 1 != 0,
            version: life.version(),
            activity: Activity(activity),
        })
    }

    /// The whole way, for what [`found`](Self::found) did not know: every slot with the tag, overflow buckets included.
    #[inline]
    pub fn searched(&self, key: &K::Words, hash: u64, candidate: Candidate) -> Option<Found<K::Words>> {
        let bucket = self.table.index.bucket(self.table.index.position(hash));
        if candidate.slot().is_none() && !Index::overflowed(bucket) {
            return None;
        }
        self.search_far(key, hash)
    }

    #[cold]
    fn search_far(&self, key: &K::Words, hash: u64) -> Option<Found<K::Words>> {
        let (session, reverse, entry) = self.find(key, hash, |state| state == State::Live)?;
        let hit = entry.hit(session, reverse);
        Some(Found {
            session,
            direction: hit.direction,
            other: entry.keys[usize::from(!reverse)],
            next_hop: hit.next_hop,
            epochs: u64::from(hit.epochs[0]) << 32 | u64::from(hit.epochs[1]),
            flags: hit.flags,
            translated: hit.translated,
            version: hit.version,
            activity: entry.activity,
        })
    }

    /// Books a packet of `bytes` bytes on its session and keeps the session alive. `now` in seconds; `tcp_flags` 0 if not TCP.
    #[inline(always)]
    pub fn book(&self, found: &Found<K::Words>, now: u32, tcp_flags: u8, bytes: u32) {
        self.add_traffic(found.direction, found.session, bytes);
        let phase = found.activity.phase();
        let idle = now.wrapping_sub(found.activity.last_seen());
        if idle >= LAST_SEEN_GRAIN || phase.after(found.direction, tcp_flags) != phase {
            self.refresh(found.session, found.version, found.direction, now, tcp_flags);
        }
    }
}

//! IPv4 sessions that begin in words: insertion for a caller that has many under way, and knows that nothing is unusual about their flows.
//!
//! The steps are those of [`insert`](super::insert), taken apart: an entry is reserved and its lines arrive, it is written, and at last
//! its slots are placed and it becomes live. Only what meets another session goes on there.

use super::entry::{Activity, Draft, flagged, same_key};
use super::insert::{Offer, Offered};
use super::touch::add_traffic;
use super::{COUNTER_WORDS, InsertError, Sessions};
use crate::index::{Index, Slot};
use crate::key::{Key, Key4};
use crate::local::WorkerLocal;
use crate::sync::{AtomicU64, Ordering, fence, placed_before_looking, step, touch};
use crate::table::{Life, NONE, State};
use crate::tcp::Phase;

/// Words of an IPv4 key.
type Words = [u64; 2];
const WORDS: usize = <Key4 as Key>::ENTRY_WORDS;

/// A [`NewSession`](super::NewSession) in words, of a protocol without connections.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beginning {
    /// Key of the first packet, flag byte zero.
    pub forward: Words,
    /// Key of its reply, flag byte zero.
    pub reverse: Words,
    /// `NextHop` bits, forward in the upper half.
    pub next_hops: u64,
    /// Decision epochs, forward in the upper half.
    pub epochs: u64,
    /// As in `NewSession`.
    pub mapping: u32,
    /// As in `NewSession`.
    pub rule: u32,
    /// As in `NewSession`.
    pub flags: u8,
    /// Whether anything but the segment changes on the way.
    pub translated: bool,
}

/// An entry that nobody else knows: to be written, and begun or given back.
#[derive(Clone, Copy, Debug)]
#[must_use = "an entry that is neither begun nor given back is lost"]
pub struct Reserved {
    entry: u32,
    /// Its life once it is written.
    ready: u64,
}

impl Default for Reserved {
    /// No entry.
    fn default() -> Self {
        Reserved { entry: NONE, ready: 0 }
    }
}

/// What became of a beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// A session of its own.
    New(BegunSession),
    /// There is one, or may be. The mapping reference is still the caller's to release.
    Known,
}

/// The entry of a session that was made just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BegunSession(u32);

/// The table, for as long as a batch takes.
#[derive(Clone, Copy)]
pub struct Beginnings<'t, 'a> {
    sessions: &'t Sessions<'a, Key4>,
    index: Index<'a>,
    entries: &'a [[AtomicU64; WORDS]],
    counters: [&'a [[AtomicU64; COUNTER_WORDS]]; 2],
}

impl<'a> Sessions<'a, Key4> {
    /// The table for sessions that begin.
    #[inline]
    pub fn beginnings(&self) -> Beginnings<'_, 'a> {
        Beginnings {
            sessions: self,
            index: self.table.index,
            entries: self.table.entries().as_chunks().0,
            counters: self.counters.map(|counters| counters.as_chunks().0),
        }
    }
}

impl Beginnings<'_, '_> {
    /// First step: an entry, if one is free, whose lines are on their way.
    #[inline(always)]
    pub fn reserve(&self, local: &mut WorkerLocal) -> Option<Reserved> {
        let entry = self.sessions.table.allocate(&mut local.sessions4)?;
        if let Some(words) = self.entries.get(entry as usize) {
            touch(&words[0]);
        }
        for counters in self.counters {
            if let Some(counter) = counters.get(entry as usize) {
                touch(&counter[0]);
            }
        }
        Some(Reserved { entry, ready: 0 })
    }

    /// An entry that is not needed.
    #[cold]
    pub fn give_back(&self, local: &mut WorkerLocal, reserved: Reserved) {
        if reserved.entry != NONE {
            self.sessions.table.free(&mut local.sessions4, reserved.entry);
        }
    }

    /// Second step: writes the session. `now` in seconds. The answer is the hash of its reverse key; none if replies could not be told
    /// from first packets.
    #[inline(always)]
    pub fn write(&self, reserved: &mut Reserved, new: &Beginning, now: u32) -> Option<u64> {
        if same_key::<Key4>(&new.forward, &new.reverse) {
            return None;
        }
        if let Some(entry) = self.entries.get(reserved.entry as usize) {
            let free = Life(entry[0].load(Ordering::Relaxed));
            // Whoever sees one of the words below also sees that the entry's last life is over.
            fence(Ordering::Release);
            let [forward, reverse] = flagged::<Key4>(new.forward, new.reverse, new.flags, new.translated);
            let activity = Activity::new(now, Phase::Unreplied, new.rule).0;
            let words = [
                forward[0],
                forward[1],
                reverse[0],
                reverse[1],
                new.next_hops,
                new.epochs,
                activity,
            ];
            for (place, word) in entry[1..].iter().zip(words) {
                place.store(word, Ordering::Relaxed);
            }
            for counters in self.counters {
                if let Some(counter) = counters.get(reserved.entry as usize) {
                    counter[0].store(0, Ordering::Relaxed);
                    counter[1].store(0, Ordering::Relaxed);
                }
            }
            step();
            let ready = free.with_own(new.mapping.into()).with_state(State::Ready);
            entry[0].store(ready.0, Ordering::Release);
            reserved.ready = ready.0;
        }
        Some(self.sessions.hash(&new.reverse))
    }

    /// Asks for a bucket that the last step will read.
    #[inline(always)]
    pub fn ask(&self, hash: u64) {
        self.index.ask(hash);
    }

    /// Last step: [`insert`](Sessions::insert) of what was written under the hashes of `forward` and its reverse key. The entry is the
    /// session's, or given back.
    ///
    /// # Errors
    /// See [`InsertError`]; nothing was inserted.
    #[inline(always)]
    pub fn begin(
        &self,
        local: &mut WorkerLocal,
        reserved: Reserved,
        forward: &Words,
        hashes: [u64; 2],
    ) -> Result<Begun, InsertError> {
        let (session, ready) = (reserved.entry, Life(reserved.ready));
        let [there, back] = hashes.map(|hash| self.index.spot(hash));
        let (same, free) = there.survey();
        if (same != 0 || there.overflowed()) && self.is_known(forward, hashes[0]) {
            self.give_back(local, reserved);
            return Ok(Begun::Known);
        }
        step();
        let placed = self
            .index
            .place_at(there, free, Slot::new(hashes[0], false, session))
            .is_ok();
        step();
        let placed = placed
            && self
                .index
                .place_at(back, back.free(), Slot::new(hashes[1], true, session))
                .is_ok();
        step();
        placed_before_looking();
        if placed
            && there.is_alone()
            && back.is_alone()
            && let Some(entry) = self.entries.get(session as usize)
        {
            let live = ready.with_state(State::Live);
            let exchanged = entry[0].compare_exchange(ready.0, live.0, Ordering::SeqCst, Ordering::Acquire);
            if exchanged.is_ok() {
                return Ok(Begun::New(BegunSession(session)));
            }
        }
        self.settle(local, reserved, hashes, placed)
    }

    #[inline(never)]
    fn is_known(&self, key: &Words, hash: u64) -> bool {
        self.sessions.search(key, hash).is_some()
    }

    /// The rest of [`begin`](Self::begin) where it is not alone.
    #[cold]
    fn settle(
        &self,
        local: &mut WorkerLocal,
        reserved: Reserved,
        hashes: [u64; 2],
        placed: bool,
    ) -> Result<Begun, InsertError> {
        let (session, ready) = (reserved.entry, Life(reserved.ready));
        let draft = self.drafted(session);
        let offer = Offer {
            session,
            ready,
            draft: &draft,
            hashes,
            replaces: false,
        };
        let settled = self
            .sessions
            .settle(&mut local.sessions4, &offer, placed, &mut |_| {})?;
        match settled {
            Some(Offered::New { session, .. }) => Ok(Begun::New(BegunSession(session))),
            Some(Offered::Existing(_)) | None => Ok(Begun::Known),
        }
    }

    /// What an entry that is ours alone was written with.
    fn drafted(&self, session: u32) -> Draft<Key4> {
        let entry = self.sessions.table.entry(session);
        let word = |position: usize| entry[position].load(Ordering::Relaxed);
        Draft {
            keys: [[word(1), word(2)], [word(3), word(4)]],
            next_hops: word(5),
            epochs: word(6),
            mapping: Life(word(0)).own() as u32,
            activity: Activity(word(7)),
        }
    }

    /// Books the packet of `bytes` bytes that began it.
    #[inline(always)]
    pub fn book_first(&self, session: BegunSession, bytes: u32) {
        if let Some(counter) = self.counters[0].get(session.0 as usize) {
            add_traffic(counter, bytes);
        }
    }
}

//! Lookups: wait-free, one by one or a batch in passes.
//!
//! A batch goes in [passes](super::passes), so that the cache misses of its packets overlap.

use super::entry::Copied;
use super::{Candidate, Hit, SessionKey, SessionView, Sessions};
use crate::index::Index;
use crate::table::State;
use core::ops::ControlFlow;

/// Most keys of one batch lookup; longer slices are looked up in parts.
pub const BATCH: usize = 64;

impl<'a, K: SessionKey> Sessions<'a, K> {
    /// The session that has this key in either direction.
    pub fn lookup(&self, key: &K) -> Option<Hit<K>> {
        let words = key.to_words();
        self.search(&words, self.hash(&words))
    }

    /// Looks up every key that is `Some`; `hits` gets as many answers as there are keys (or as it has places).
    pub fn lookup_batch(&self, keys: &[Option<K>], hits: &mut [Option<Hit<K>>]) {
        for (keys, hits) in keys.chunks(BATCH).zip(hits.chunks_mut(BATCH)) {
            self.lookup_part(keys, hits);
        }
    }

    fn lookup_part(&self, keys: &[Option<K>], hits: &mut [Option<Hit<K>>]) {
        let mut hashes = [0u64; BATCH];
        for (hash, key) in hashes.iter_mut().zip(keys) {
            if let Some(key) = key {
                *hash = self.aim(&key.to_words());
            }
        }
        let mut candidates = [Candidate::default(); BATCH];
        for ((candidate, hash), key) in candidates.iter_mut().zip(&hashes).zip(keys) {
            if key.is_some() {
                *candidate = self.candidate(*hash);
            }
        }
        for (((hit, key), hash), candidate) in hits.iter_mut().zip(keys).zip(&hashes).zip(&candidates) {
            *hit = match key {
                Some(key) => self.verify(&key.to_words(), *hash, *candidate),
                None => None,
            };
        }
    }

    #[inline(always)]
    pub(super) fn verify(&self, key: &K::Words, hash: u64, candidate: Candidate) -> Option<Hit<K>> {
        let Some(candidate) = candidate.slot() else {
            let bucket = self.table.index.bucket(self.table.index.position(hash));
            return if Index::overflowed(bucket) {
                self.search(key, hash)
            } else {
                None
            };
        };
        match self.copy(candidate.entry(), |state| state == State::Live) {
            Some(entry) if entry.has_key(candidate.is_reverse(), key) => {
                Some(entry.hit(candidate.entry(), candidate.is_reverse()))
            }
            _ => self.search(key, hash),
        }
    }

    /// The whole way: every slot with the tag, overflow buckets included.
    #[cold]
    #[inline(never)]
    pub(super) fn search(&self, key: &K::Words, hash: u64) -> Option<Hit<K>> {
        // A session may be superseded, slot by slot, while we look: a second look finds the new one.
        (0..2).find_map(|_| {
            self.find(key, hash, |state| state == State::Live)
                .map(|(session, reverse, entry)| entry.hit(session, reverse))
        })
    }

    /// The first entry of the chain that has the key in the slot's direction and a wanted state.
    pub(super) fn find(
        &self,
        key: &K::Words,
        hash: u64,
        wanted: impl Fn(State) -> bool + Copy,
    ) -> Option<(u32, bool, Copied<K>)> {
        self.table
            .index
            .visit(hash, |slot| match self.copy(slot.entry(), wanted) {
                Some(entry) if entry.has_key(slot.is_reverse(), key) => {
                    ControlFlow::Break((slot.entry(), slot.is_reverse(), entry))
                }
                _ => ControlFlow::Continue(()),
            })
    }

    /// A copy of a live session; `None` if the entry holds none.
    pub fn view(&self, session: u32) -> Option<SessionView<K>> {
        if session >= self.entries() {
            return None;
        }
        let entry = self.copy(session, |state| state == State::Live)?;
        Some(SessionView {
            version: entry.life.version(),
            forward: entry.forward(),
            reverse: entry.reverse(),
            next_hop: entry.next_hops(),
            epochs: entry.epochs(),
            mapping: entry.mapping(),
            rule: entry.activity.rule(),
            flags: entry.flags(),
            phase: entry.activity.phase(),
            last_seen: entry.activity.last_seen(),
            counters: self.traffic(session),
        })
    }
}

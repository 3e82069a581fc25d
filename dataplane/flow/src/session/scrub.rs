//! After a crash, before workers run: keeps whole sessions, frees everything else, rebuilds index and free list.

use super::entry::Copied;
use super::{Ended, SessionKey, Sessions};
use crate::index::Slot;
use crate::table::State;

impl<'a, K: SessionKey> Sessions<'a, K> {
    /// Rebuilds the table from its live sessions; how many it kept and how many entries it freed. Safe to repeat after another crash.
    pub(crate) fn scrub(&self) -> (u32, u32) {
        self.table.index.clear();
        for session in 0..self.table.used() {
            let entry = self.copy(session, |state| state == State::Live);
            match entry {
                Some(entry) if self.reinstate(session, &entry) => {}
                _ => self.drop_entry(session),
            }
        }
        let freed = self.table.rebuild_free();
        // Counted last: a newer decision may have thrown out an older one that was reinstated before it.
        (self.live().count() as u32, freed)
    }

    /// Ends a session while nobody else uses the table: only its life and its slots change; `scrub` frees it.
    pub(crate) fn forget(&self, session: u32) {
        if let Some(entry) = self.copy(session, |state| state == State::Live) {
            self.take_out(session, &entry);
            self.drop_entry(session);
        }
    }

    /// Frees what [`forget`](Self::forget) left.
    pub(crate) fn rebuild_free(&self) {
        self.table.rebuild_free();
    }

    fn reinstate(&self, session: u32, entry: &Copied<K>) -> bool {
        let keys = [entry.forward().to_words(), entry.reverse().to_words()];
        if entry.forward() == entry.reverse() {
            return false;
        }
        for key in &keys {
            // A crash between a re-decision's step to `Live` and the retirement of the old session leaves both.
            while let Some((other, _, found)) = self.find(key, self.hash(key), |state| state == State::Live) {
                if other == session || !newer(entry, &found) {
                    return other == session;
                }
                self.take_out(other, &found);
                self.drop_entry(other);
            }
        }
        for (key, reverse) in keys.iter().zip([false, true]) {
            let hash = self.hash(key);
            if self.table.index.place(hash, Slot::new(hash, reverse, session)).is_err() {
                self.take_out(session, entry);
                return false;
            }
        }
        true
    }

    fn take_out(&self, session: u32, entry: &Copied<K>) {
        for (key, reverse) in [entry.forward().to_words(), entry.reverse().to_words()]
            .iter()
            .zip([false, true])
        {
            let hash = self.hash(key);
            self.table.index.remove(hash, Slot::new(hash, reverse, session));
        }
    }

    fn drop_entry(&self, session: u32) {
        let life = self.table.life(session);
        self.table.change(session, life, life.with_state(State::Retired));
    }

    /// Every live session, for the second half of a scrub.
    pub(crate) fn live(&self) -> impl Iterator<Item = Ended<K>> {
        let sessions = *self;
        (0..sessions.table.used()).filter_map(move |session| {
            let entry = sessions.copy(session, |state| state == State::Live)?;
            Some(Ended {
                session,
                forward: entry.forward(),
                reverse: entry.reverse(),
                mapping: entry.mapping(),
                counters: Default::default(),
                phase: entry.activity.phase(),
            })
        })
    }
}

fn newer<K: SessionKey>(entry: &Copied<K>, other: &Copied<K>) -> bool {
    let ahead = |number: usize| entry.epochs()[number].wrapping_sub(other.epochs()[number]) as i32;
    ahead(0) >= 0 && ahead(1) >= 0
}

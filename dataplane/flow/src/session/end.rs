//! How sessions leave: removed by request, replaced, or idle for too long.

use super::{Ended, SessionKey, Sessions};
use crate::expiry::{LAST_SEEN_GRAIN, Timers};
use crate::index::Slot;
use crate::local::WorkerLocal;
use crate::sync::step;
use crate::table::{Life, State, TableLocal};

impl<'a, K: SessionKey> Sessions<'a, K> {
    /// Removes a session if that use of the entry is still alive. The caller releases its mapping.
    pub fn remove(&self, local: &mut WorkerLocal, session: u32, version: u32) -> Option<Ended<K>> {
        let life = self.table.life(session);
        if life.state() != State::Live || life.version() != version {
            return None;
        }
        self.end(K::local(local).0, session, life)
    }

    /// Looks at `budget` entries of this worker's share and ends those idle for longer than their timer. `now` in seconds.
    pub fn expire(
        &self,
        local: &mut WorkerLocal,
        now: u32,
        timers: &Timers,
        budget: usize,
        mut ended: impl FnMut(Ended<K>),
    ) {
        let local = K::local(local).0;
        let used = self.table.used();
        for _ in 0..budget.min(used as usize) {
            let Some(session) = local.sweep(used) else { continue };
            if let Some(gone) = self
                .expired(session, now, timers)
                .and_then(|life| self.end(local, session, life))
            {
                ended(gone);
            }
        }
    }

    fn expired(&self, session: u32, now: u32, timers: &Timers) -> Option<Life> {
        if self.table.life(session).state() != State::Live {
            return None;
        }
        let entry = self.copy(session, |state| state == State::Live)?;
        let idle = now.wrapping_sub(entry.activity.last_seen());
        let idle_max = entry
            .activity
            .phase()
            .idle_seconds_max(entry.forward().protocol(), timers);
        // A worker with a later clock may have written the last-seen time: the difference is then a small negative number.
        (idle >= idle_max.saturating_add(LAST_SEEN_GRAIN) && idle < u32::MAX / 2).then_some(entry.life)
    }

    /// Takes a live session out of the table; `None` if somebody else did.
    pub(super) fn end(&self, local: &mut TableLocal, session: u32, life: Life) -> Option<Ended<K>> {
        let entry = self
            .copy(session, |state| state == State::Live)
            .filter(|entry| entry.life == life)?;
        if !self.table.change(session, life, life.with_state(State::Retired)) {
            return None;
        }
        step();
        let keys = [entry.forward().to_words(), entry.reverse().to_words()];
        for (key, reverse) in keys.iter().zip([false, true]) {
            let hash = self.hash(key);
            self.table.index.remove(hash, Slot::new(hash, reverse, session));
            step();
        }
        let counters = self.traffic(session);
        self.table.retire(local, session);
        Some(Ended {
            session,
            forward: entry.forward(),
            reverse: entry.reverse(),
            mapping: entry.mapping(),
            counters,
            phase: entry.activity.phase(),
        })
    }
}

//! What a packet changes in its session: counters, and, when they differ, last-seen time and phase.

use super::entry::Activity;
use super::{COUNTER_WORDS, Hit, SessionKey, Sessions};
use crate::expiry::LAST_SEEN_GRAIN;
use crate::sync::{AtomicU64, Ordering};
use crate::table::{Life, State, Table};
use crate::tcp::Direction;

impl<'a, K: SessionKey> Sessions<'a, K> {
    /// Books a packet of `bytes` on the session of a hit of this batch. `now` in seconds; `tcp_flags` 0 if it is not TCP.
    #[inline]
    pub fn touch(&self, hit: &Hit<K>, now: u32, tcp_flags: u8, bytes: u32) {
        if let Some(counter) = self.counter(hit.direction, hit.session).first_chunk() {
            add_traffic(counter, bytes);
        }
        self.refresh(hit.session, hit.version, hit.direction, now, tcp_flags);
    }

    /// Writes down, where they changed, when the session was last seen and how far it is.
    pub(super) fn refresh(&self, session: u32, version: u32, direction: Direction, now: u32, tcp_flags: u8) {
        let word = &self.table.entry(session)[K::ENTRY_WORDS - 1];
        let mut before = word.load(Ordering::Acquire);
        loop {
            if Table::is_link(before) {
                return;
            }
            let activity = Activity(before);
            let phase = activity.phase().after(direction, tcp_flags);
            let idle = now.wrapping_sub(activity.last_seen());
            if phase == activity.phase() && idle < LAST_SEEN_GRAIN {
                return;
            }
            // Workers read the clock at different moments: time does not go back.
            let last_seen = if idle > u32::MAX / 2 { activity.last_seen() } else { now };
            let after = Activity::new(last_seen, phase, activity.rule());
            if after.0 == before || !self.is_still(session, version) {
                return;
            }
            match word.compare_exchange_weak(before, after.0, Ordering::Relaxed, Ordering::Acquire) {
                Ok(_) => return,
                Err(changed) => before = changed,
            }
        }
    }

    #[inline]
    fn is_still(&self, session: u32, version: u32) -> bool {
        let life = Life(self.table.entry(session)[0].load(Ordering::Relaxed));
        life.state() == State::Live && life.version() == version
    }
}

/// Counts a packet of `bytes` bytes.
#[inline(always)]
pub(super) fn add_traffic(counter: &[AtomicU64; COUNTER_WORDS], bytes: u32) {
    add(&counter[0], 1);
    add(&counter[1], u64::from(bytes));
}

/// One worker serves a direction, so a plain addition is enough; two would at worst lose a count.
#[inline(always)]
fn add(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

//! Letting go: references leave with sessions, mappings after a linger, ports with mappings.

use super::entry::{idle_seconds, references, with_references};
use super::{Address, Mappings};
use crate::index::Slot;
use crate::local::WorkerLocal;
use crate::ports::Ports;
use crate::sync::step;
use crate::table::{Life, State};

/// A host entry outlives its mappings by so many seconds, so that a mapping that is taken up again finds its host.
const HOST_LINGER_EXTRA: u32 = 5;

impl<'a, A: Address> Mappings<'a, A> {
    /// Gives back one session's reference on a mapping and on its host. `now` in seconds.
    pub fn release(&self, mapping: u32, now: u32) {
        if mapping >= self.entries() {
            return;
        }
        let host = self
            .copy(mapping, |state| state == State::Live)
            .map(|(_, record)| record.host);
        self.release_one(mapping, now);
        step();
        if let Some(host) = host {
            self.release_one(host, now);
        }
    }

    pub(super) fn release_one(&self, mapping: u32, now: u32) {
        loop {
            let life = self.table.life(mapping);
            let held = references(life);
            if life.state() != State::Live || held == 0 {
                return;
            }
            if self.table.change(mapping, life, with_references(life, held - 1, now)) {
                return;
            }
        }
    }

    /// Looks at `budget` entries of this worker's share and ends those that have had no session for `linger` seconds.
    pub fn expire(&self, ports: &Ports<'a>, local: &mut WorkerLocal, now: u32, linger: u32, budget: usize) {
        let used = self.table.used();
        for _ in 0..budget.min(used as usize) {
            let Some(mapping) = A::local(local).0.sweep(used) else {
                continue;
            };
            let life = self.table.life(mapping);
            if life.state() == State::Live && references(life) == 0 {
                self.end_idle(ports, local, mapping, life, now, linger);
            }
        }
    }

    fn end_idle(&self, ports: &Ports<'a>, local: &mut WorkerLocal, mapping: u32, life: Life, now: u32, linger: u32) {
        let Some((_, record)) = self.copy(mapping, |state| state == State::Live) else {
            return;
        };
        let linger = if record.is_host() {
            linger.saturating_add(HOST_LINGER_EXTRA)
        } else {
            linger
        };
        if idle_seconds(life, now) < linger || !self.table.change(mapping, life, life.with_state(State::Retired)) {
            return;
        }
        step();
        self.hide_outside(mapping, &record);
        let hash = self.hash(&record.inside);
        self.table.index.remove(hash, Slot::new(hash, false, mapping));
        step();
        if !record.is_host() {
            ports.release(record.row, record.inside.protocol, record.port);
        }
        step();
        self.table.retire(A::local(local).0, mapping);
    }
}

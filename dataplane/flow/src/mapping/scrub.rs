//! After a crash, before workers run: keeps whole mappings, rebuilds index, free list, port bitmaps and references.

use super::entry::{Record, references, with_references};
use super::{Address, Inside, Mappings};
use crate::index::Slot;
use crate::ports::Ports;
use crate::table::{Life, NONE, State};
use core::ops::ControlFlow;

impl<'a, A: Address> Mappings<'a, A> {
    /// Rebuilds the table from its live entries, without references; their ports are taken again in `ports`, which are all free.
    /// Answers how many entries it kept and how many it freed. Safe to repeat after another crash.
    pub(crate) fn scrub(&self, ports: &Ports<'a>, now: u32) -> (u32, u32) {
        self.table.index.clear();
        // Hosts first: a mapping without its host goes.
        let mut kept = 0;
        for hosts in [true, false] {
            for mapping in 0..self.table.used() {
                match self.copy(mapping, |state| state == State::Live) {
                    Some((_, record)) if record.is_host() != hosts => {}
                    Some((life, record)) if self.reinstate(ports, mapping, &record) => {
                        self.table.change(mapping, life, with_references(life, 0, now));
                        kept += 1;
                    }
                    _ => self.drop_entry(mapping),
                }
            }
        }
        (kept, self.table.rebuild_free())
    }

    fn reinstate(&self, ports: &Ports<'a>, mapping: u32, record: &Record<A>) -> bool {
        let hash = self.hash(&record.inside);
        let twin = self.table.index.visit(hash, |slot| {
            match self.copy(slot.entry(), |state| state == State::Live) {
                Some((_, other)) if other.inside == record.inside => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        });
        if twin.is_some() || !(record.is_host() || self.has_host(record)) {
            return false;
        }
        let port_taken = record.is_host() || ports.claim(record.row, record.inside.protocol, record.port);
        let kept = port_taken && self.table.index.place(hash, Slot::new(hash, false, mapping)).is_ok();
        if kept {
            self.show_outside(mapping, record);
        }
        kept
    }

    fn has_host(&self, record: &Record<A>) -> bool {
        let host = (record.host != NONE && record.host < self.table.used())
            .then(|| self.copy(record.host, |state| state == State::Live))
            .flatten();
        let key = Inside {
            protocol: 0,
            port: 0,
            ..record.inside
        };
        // Its address may be another: that of a pool that has other addresses now.
        host.is_some_and(|(_, host)| host.inside == key)
    }

    fn drop_entry(&self, mapping: u32) {
        let life = self.table.life(mapping);
        self.table.change(mapping, life, life.with_state(State::Retired));
    }

    /// Counts a session that survived; `false` if its mapping is not there, or is another endpoint's.
    pub(crate) fn readopt(&self, mapping: u32, inside: (A, u16), outside: (A, u16), protocol: u8, now: u32) -> bool {
        if mapping >= self.table.used() {
            return false;
        }
        let Some((life, record)) = self.copy(mapping, |state| state == State::Live) else {
            return false;
        };
        let fits = (record.inside.address, record.inside.port) == inside
            && (record.address, record.port) == outside
            && record.inside.protocol == protocol;
        if fits {
            self.add_reference(mapping, life, now);
            self.add_reference(record.host, self.table.life(record.host), now);
        }
        fits
    }

    fn add_reference(&self, mapping: u32, life: Life, now: u32) {
        self.table
            .change(mapping, life, with_references(life, references(life) + 1, now));
    }
}

//! One attempt after the other to find or make a mapping, until it holds a reference: what `bind` does beyond asking for memory.

use super::bind::{Aimed, Bound, NoReference};
use super::entry::{REFERENCES_MAX, Record};
use super::{Address, BindError, Binding, Inside, Mappings, PoolView};
use crate::index::Slot;
use crate::ports::{PortLocal, PortRange, Ports};
use crate::sync::{placed_before_looking, step, touch};
use crate::table::{Life, NONE, State, TableLocal};
use core::ops::ControlFlow;

/// How often a loser looks whether the winner is live: under a millisecond.
const SPINS_MAX: usize = 4096;
/// How often a bind begins anew because a mapping it found had just ended.
const ATTEMPTS_MAX: usize = 8;

/// What a bind works on.
pub(super) struct Binder<'b, 'a, A> {
    pub(super) mappings: &'b Mappings<'a, A>,
    pub(super) ports: &'b Ports<'a>,
    pub(super) local: &'b mut TableLocal,
    pub(super) port_local: &'b mut PortLocal,
    pub(super) pool: &'b PoolView<A>,
    pub(super) now: u32,
}

/// How an entry got into the table.
enum Added<A> {
    New(u32),
    /// Somebody else's; ours is withdrawn.
    Existing(u32, Life, Record<A>),
}

impl<A: Address> Binder<'_, '_, A> {
    #[cold]
    pub(super) fn attempt_again(&mut self, aimed: &Aimed<A>) -> Result<Bound<A>, BindError> {
        for _ in 1..ATTEMPTS_MAX {
            if let Some(done) = self.attempt(aimed)? {
                return Ok(done);
            }
        }
        Err(BindError::PoolExhausted)
    }

    /// `None` if what it found ended before it had a reference: begin anew.
    pub(super) fn attempt(&mut self, aimed: &Aimed<A>) -> Result<Option<Bound<A>>, BindError> {
        let inside = &aimed.inside;
        if let Some((mapping, life, record)) = self.mappings.find_inside(inside, aimed.hash) {
            if !self.is_of_pool(&record) {
                return Err(BindError::PoolInvalid);
            }
            let joined = self.join(mapping, life, &record)?;
            return Ok(joined.map(|binding| Bound { binding, hidden: None }));
        }
        if let Some((host, life, record)) = self.mappings.find_inside(&aimed.host(), aimed.host_hash) {
            return match self.hold_host(host, life)? {
                false => Ok(None),
                true => self.map_for_host(aimed, host, &record, None),
            };
        }
        self.attempt_host(aimed)
    }

    /// The same for a host that has no mapping yet.
    #[inline(never)]
    fn attempt_host(&mut self, aimed: &Aimed<A>) -> Result<Option<Bound<A>>, BindError> {
        let inside = &aimed.inside;
        let (offset, port) = self.first_port(inside, aimed.host_hash)?;
        let record = self.record(&aimed.host(), offset, 0, NONE);
        match self.add(&record, aimed.host_hash) {
            Err(error) => {
                self.give_back(inside.protocol, record.row, port);
                Err(error)
            }
            Ok(Added::New(host)) => self.map_for_host(aimed, host, &record, Some(port)),
            Ok(Added::Existing(..)) => {
                self.give_back(inside.protocol, record.row, port);
                Ok(None)
            }
        }
    }

    /// Takes part in a mapping that is there.
    #[inline(never)]
    fn join(&mut self, mapping: u32, life: Life, record: &Record<A>) -> Result<Option<Binding<A>>, BindError> {
        match self.mappings.take_reference(mapping, life, REFERENCES_MAX, self.now) {
            Err(NoReference::Gone) => return Ok(None),
            Err(NoReference::TooMany) => return Err(BindError::TableFull),
            Ok(()) => {}
        }
        step();
        let host_life = self.mappings.table.life(record.host);
        match self.hold_host(record.host, host_life) {
            Ok(true) => Ok(Some(Binding {
                mapping,
                address: record.address,
                port: record.port,
            })),
            refused => {
                self.mappings.release_one(mapping, self.now);
                refused.map(|_| None)
            }
        }
    }

    /// Counts one more session of the host; `false` if its entry ended.
    #[inline(always)]
    fn hold_host(&self, host: u32, life: Life) -> Result<bool, BindError> {
        let quota = u64::from(self.pool.sessions_per_host_max);
        let max = if quota == 0 {
            REFERENCES_MAX
        } else {
            quota.min(REFERENCES_MAX)
        };
        match self.mappings.take_reference(host, life, max, self.now) {
            Ok(()) => Ok(true),
            Err(NoReference::Gone) => Ok(false),
            Err(NoReference::TooMany) => Err(BindError::HostQuota),
        }
    }

    /// A new mapping on the host's outside address. The host's reference is held, and given back on failure.
    #[inline(always)]
    fn map_for_host(
        &mut self,
        aimed: &Aimed<A>,
        host: u32,
        host_record: &Record<A>,
        port: Option<u16>,
    ) -> Result<Option<Bound<A>>, BindError> {
        step();
        let done = self.map(aimed, host, host_record, port);
        if !matches!(done, Ok(Some(_))) {
            self.mappings.release_one(host, self.now);
        }
        done
    }

    #[inline(always)]
    fn map(
        &mut self,
        aimed: &Aimed<A>,
        host: u32,
        host_record: &Record<A>,
        port: Option<u16>,
    ) -> Result<Option<Bound<A>>, BindError> {
        let inside = &aimed.inside;
        let record = match port {
            Some(port) => Record {
                inside: *inside,
                port,
                host,
                ..*host_record
            },
            None => self.next_port(inside, host, host_record)?,
        };
        let port = record.port;
        step();
        let outside = self.mappings.shown_hash(&record);
        let bound = |mapping, record: &Record<A>, hidden| Bound {
            binding: Binding {
                mapping,
                address: record.address,
                port: record.port,
            },
            hidden,
        };
        match self.add(&record, aimed.hash) {
            Ok(Added::New(mapping)) => Ok(Some(bound(mapping, &record, Some(outside)))),
            Ok(Added::Existing(mapping, life, theirs)) => {
                self.give_back(inside.protocol, record.row, port);
                match self.mappings.take_reference(mapping, life, REFERENCES_MAX, self.now) {
                    Ok(()) => Ok(Some(bound(mapping, &theirs, None))),
                    Err(NoReference::Gone) => Ok(None),
                    Err(NoReference::TooMany) => Err(BindError::TableFull),
                }
            }
            Err(error) => {
                self.give_back(inside.protocol, record.row, port);
                Err(error)
            }
        }
    }

    fn range(&self) -> PortRange {
        PortRange {
            first: self.pool.port_first,
            last: self.pool.port_last,
        }
    }

    /// A port for a host that has no outside address yet: on the address its hash picks, or the next that has one.
    fn first_port(&mut self, inside: &Inside<A>, host_hash: u64) -> Result<(u32, u16), BindError> {
        let count = self.pool.count;
        let preferred = ((host_hash >> 32) * u64::from(count)) >> 32;
        for turn in 0..count {
            let offset = (preferred as u32 + turn) % count;
            let row = self.pool.row + offset;
            match self
                .ports
                .allocate(self.port_local, row, inside.protocol, self.range(), self.now)
            {
                Ok(port) => return Ok((offset, port)),
                Err(crate::ports::PortsError::Exhausted) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(BindError::PoolExhausted)
    }

    /// A port on the host's outside address, or, if that is not the pool's any more, on one that is.
    #[inline(always)]
    fn next_port(&mut self, inside: &Inside<A>, host: u32, host_record: &Record<A>) -> Result<Record<A>, BindError> {
        if !self.is_of_pool(host_record) {
            let (offset, port) = self.first_port(inside, self.mappings.hash(&host_record.inside))?;
            return Ok(self.record(inside, offset, port, host));
        }
        let (row, range) = (host_record.row, self.range());
        let port = self
            .ports
            .allocate(self.port_local, row, inside.protocol, range, self.now)?;
        Ok(Record {
            inside: *inside,
            port,
            host,
            ..*host_record
        })
    }

    #[inline(always)]
    fn is_of_pool(&self, record: &Record<A>) -> bool {
        self.pool.row_of(record.address) == Some(record.row)
    }

    fn record(&self, inside: &Inside<A>, offset: u32, port: u16, host: u32) -> Record<A> {
        Record {
            inside: *inside,
            address: self.pool.first.plus(offset),
            port,
            host,
            row: self.pool.row + offset,
        }
    }

    fn give_back(&self, protocol: u8, row: u32, port: u16) {
        self.ports.release(row, protocol, port);
    }

    /// Puts an entry with one reference into the table; the rules are those of a session's insertion.
    #[inline(always)]
    fn add(&mut self, record: &Record<A>, hash: u64) -> Result<Added<A>, BindError> {
        let table = &self.mappings.table;
        loop {
            let entry = table.allocate(self.local).ok_or(BindError::TableFull)?;
            touch(&table.entry(self.local.upcoming())[0]);
            step();
            let ready = self.mappings.fill(entry, record, self.now);
            step();
            let slot = Slot::new(hash, false, entry);
            let placed = table.index.place(hash, slot).is_ok();
            placed_before_looking();
            step();
            if placed
                && (table.index.spot(hash).is_alone() || !self.mappings.is_beaten(entry, hash, &record.inside))
                && table.change(entry, ready, ready.with_state(State::Live))
            {
                step();
                return Ok(Added::New(entry));
            }
            self.withdraw(entry, ready, hash, slot);
            if !placed {
                return Err(BindError::TableFull);
            }
            self.await_winner(&record.inside, hash);
            if let Some((other, life, theirs)) = self.mappings.find_inside(&record.inside, hash) {
                return Ok(Added::Existing(other, life, theirs));
            }
        }
    }

    #[cold]
    fn withdraw(&mut self, entry: u32, ready: Life, hash: u64, slot: Slot) {
        let table = &self.mappings.table;
        table.change(entry, ready, ready.with_state(State::Retired));
        step();
        table.index.remove(hash, slot);
        table.retire(self.local, entry);
    }

    /// The winner is a few steps away from being live, unless its worker does not run: then each new attempt would cost an entry.
    #[cold]
    fn await_winner(&self, inside: &Inside<A>, hash: u64) {
        let mappings = self.mappings;
        let is_ready = |slot: Slot| match mappings.copy(slot.entry(), |state| state == State::Ready) {
            Some((_, record)) if record.inside == *inside => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        for _ in 0..SPINS_MAX {
            if mappings.table.index.visit(hash, is_ready).is_none() {
                return;
            }
            core::hint::spin_loop();
        }
    }
}

impl<A: Address> Mappings<'_, A> {
    /// Whether another entry under the key wins: a live one, or a ready one of lower number. Others are stopped.
    #[inline(never)]
    pub(super) fn is_beaten(&self, ours: u32, hash: u64, inside: &Inside<A>) -> bool {
        let beaten = self.table.index.visit(hash, |slot| {
            if slot.entry() != ours && self.beats(slot.entry(), ours, inside) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        beaten.is_some()
    }

    fn beats(&self, other: u32, ours: u32, inside: &Inside<A>) -> bool {
        let present = |state| state == State::Live || state == State::Ready;
        loop {
            let life = self.table.life(other);
            if !present(life.state()) {
                return false;
            }
            let Some((life, record)) = self.copy(other, present) else {
                continue;
            };
            if record.inside != *inside {
                return false;
            }
            if life.state() == State::Live || other < ours {
                return true;
            }
            if self.table.change(other, life, life.with_state(State::Retired)) {
                return false;
            }
        }
    }
}

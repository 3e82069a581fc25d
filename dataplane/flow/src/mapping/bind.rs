//! Binding: finds or makes the mapping of an inside endpoint, and takes a reference on it for one session.

use super::entry::{REFERENCES_MAX, Record, references, with_references};
use super::{Address, BindError, Binding, Inside, Mappings, POOL_ADDRESSES_MAX, POOLS_MAX, PoolView};
use crate::index::{Index, Slot};
use crate::local::WorkerLocal;
use crate::ports::{PortLocal, PortRange, Ports};
use crate::sync::{placed_before_looking, step, touch};
use crate::table::{Life, NONE, State, TableLocal};
use core::ops::ControlFlow;

/// How often a loser looks whether the winner is live: under a millisecond.
const SPINS_MAX: usize = 4096;
/// How often a bind begins anew because a mapping it found had just ended.
const ATTEMPTS_MAX: usize = 8;

/// An inside endpoint whose mapping is asked for: made by [`Mappings::aim`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Aimed<A> {
    inside: Inside<A>,
    hash: u64,
    host_hash: u64,
}

impl<A: Address> Aimed<A> {
    /// The key of the inside host.
    #[inline(always)]
    fn host(&self) -> Inside<A> {
        Inside {
            protocol: 0,
            port: 0,
            ..self.inside
        }
    }
}

/// A binding that is not yet known by its outside endpoint: [`Mappings::show`] makes it so.
#[derive(Clone, Copy, Debug)]
#[must_use = "a binding holds a reference, and is found from outside only once it is shown"]
pub struct Bound<A> {
    /// The reference.
    pub binding: Binding<A>,
    /// Of the outside endpoint of a mapping made just now.
    hidden: Option<u64>,
}

/// What a bind works on.
struct Binder<'b, 'a, A> {
    mappings: &'b Mappings<'a, A>,
    ports: &'b Ports<'a>,
    local: &'b mut TableLocal,
    port_local: &'b mut PortLocal,
    pool: &'b PoolView<A>,
    now: u32,
}

/// Why a reference was not taken.
enum NoReference {
    /// The entry is in another use.
    Gone,
    /// It has as many as it may.
    TooMany,
}

/// How an entry got into the table.
enum Added<A> {
    New(u32),
    /// Somebody else's; ours is withdrawn.
    Existing(u32, Life, Record<A>),
}

impl<'a, A: Address> Mappings<'a, A> {
    /// Takes one session's reference on the mapping of `inside`, which it makes if there is none. `now` in seconds.
    ///
    /// # Errors
    /// See [`BindError`]; nothing is held then.
    pub fn bind(
        &self,
        ports: &Ports<'a>,
        local: &mut WorkerLocal,
        inside: &Inside<A>,
        pool: &PoolView<A>,
        now: u32,
    ) -> Result<Binding<A>, BindError> {
        let bound = self.bind_aimed(ports, local, &self.aim(inside), pool, now)?;
        Ok(self.show(&bound))
    }

    /// First of the steps that a bind is made of, for a caller that has several under way: between two of them it takes the same step
    /// for the others, and meanwhile the memory arrives that the next one reads.
    #[inline(always)]
    pub fn aim(&self, inside: &Inside<A>) -> Aimed<A> {
        let mut aimed = Aimed {
            inside: *inside,
            hash: self.hash(inside),
            host_hash: 0,
        };
        aimed.host_hash = self.hash(&aimed.host());
        aimed
    }

    /// Asks for the memory that the next step reads. It does nothing else, so that the requests of a batch follow one another at once:
    /// each may have to wait for the address to be translated, and only requests that are close together wait together.
    #[inline(always)]
    pub fn ask(&self, aimed: &Aimed<A>) {
        self.table.index.ask(aimed.hash);
        self.table.index.ask(aimed.host_hash);
    }

    /// Second step: asks for the entries that there may be.
    #[inline]
    pub fn approach(&self, aimed: &Aimed<A>) {
        for hash in [aimed.hash, aimed.host_hash] {
            let bucket = self.table.index.bucket(self.table.index.position(hash));
            let slot = Slot(Index::first_match(bucket, Slot::tag(hash)));
            if slot.0 != 0 {
                touch(&self.table.entry(slot.entry())[0]);
            }
        }
    }

    /// Third step: [`bind`](Self::bind), but for what [`show`](Self::show) does.
    ///
    /// # Errors
    /// See [`BindError`]; nothing is held then.
    #[inline(always)]
    pub fn bind_aimed(
        &self,
        ports: &Ports<'a>,
        local: &mut WorkerLocal,
        aimed: &Aimed<A>,
        pool: &PoolView<A>,
        now: u32,
    ) -> Result<Bound<A>, BindError> {
        let inside = &aimed.inside;
        let rows_end = u64::from(pool.row) + u64::from(pool.count);
        if pool.count == 0 || inside.pool >= POOLS_MAX || rows_end > u64::from(POOL_ADDRESSES_MAX) {
            return Err(BindError::PoolInvalid);
        }
        if inside.protocol == 0 {
            return Err(BindError::Untranslatable);
        }
        let parts = A::local(local);
        let mut binder = Binder {
            mappings: self,
            ports,
            local: parts.0,
            port_local: parts.1,
            pool,
            now,
        };
        match binder.attempt(aimed)? {
            Some(done) => Ok(done),
            None => binder.attempt_again(aimed),
        }
    }

    /// Asks for the memory that [`show`](Self::show) writes.
    #[inline(always)]
    pub fn ask_shown(&self, bound: &Bound<A>) {
        if let Some(hash) = bound.hidden {
            self.table.index.ask(hash);
        }
    }

    /// Last step, while the reference is held, so that the mapping does not end meanwhile.
    #[inline]
    pub fn show(&self, bound: &Bound<A>) -> Binding<A> {
        if let Some(hash) = bound.hidden {
            self.show_at(hash, bound.binding.mapping);
        }
        bound.binding
    }

    /// One more reference on a mapping for the new decision of a session that it already has; the quota is not asked again.
    /// `None` if the mapping ended.
    pub fn rebind(&self, mapping: u32, now: u32) -> Option<Binding<A>> {
        if mapping >= self.table.used() {
            return None;
        }
        let (life, record) = self.copy(mapping, |state| state == State::Live)?;
        self.take_reference(mapping, life, REFERENCES_MAX, now).ok()?;
        step();
        if self
            .take_reference(record.host, self.table.life(record.host), REFERENCES_MAX, now)
            .is_err()
        {
            self.release_one(mapping, now);
            return None;
        }
        Some(Binding {
            mapping,
            address: record.address,
            port: record.port,
        })
    }

    /// The live entry of an inside key; host entries have protocol and port 0.
    #[inline]
    pub(super) fn find_inside(&self, inside: &Inside<A>, hash: u64) -> Option<(u32, Life, Record<A>)> {
        self.table
            .index
            .visit(hash, |slot| match self.copy_of(slot.entry(), inside) {
                Some((life, record)) => ControlFlow::Break((slot.entry(), life, record)),
                None => ControlFlow::Continue(()),
            })
    }

    /// Takes a reference, unless the entry ended since `seen` or has `max` already.
    #[inline(always)]
    fn take_reference(&self, mapping: u32, seen: Life, max: u64, now: u32) -> Result<(), NoReference> {
        let mut life = seen;
        loop {
            if life.state() != State::Live || life.version() != seen.version() {
                return Err(NoReference::Gone);
            }
            let held = references(life);
            let changed = if held < max {
                self.table.exchange(mapping, life, with_references(life, held + 1, now))
            } else {
                // Perhaps one left since it was seen.
                Err(self.table.life(mapping))
            };
            match changed {
                Ok(()) => return Ok(()),
                Err(same) if same == life => return Err(NoReference::TooMany),
                Err(other) => life = other,
            }
        }
    }
}

impl<A: Address> Binder<'_, '_, A> {
    #[cold]
    fn attempt_again(&mut self, aimed: &Aimed<A>) -> Result<Bound<A>, BindError> {
        for _ in 1..ATTEMPTS_MAX {
            if let Some(done) = self.attempt(aimed)? {
                return Ok(done);
            }
        }
        Err(BindError::PoolExhausted)
    }

    /// `None` if what it found ended before it had a reference: begin anew.
    #[inline(always)]
    fn attempt(&mut self, aimed: &Aimed<A>) -> Result<Option<Bound<A>>, BindError> {
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
                && !self.is_beaten(entry, hash, &record.inside)
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

    /// Whether another entry under the key wins: a live one, or a ready one of lower number. Others are stopped.
    #[inline(always)]
    fn is_beaten(&self, ours: u32, hash: u64, inside: &Inside<A>) -> bool {
        !self.mappings.table.index.is_alone(hash) && self.is_beaten_by_any(ours, hash, inside)
    }

    #[inline(never)]
    fn is_beaten_by_any(&self, ours: u32, hash: u64, inside: &Inside<A>) -> bool {
        let mappings = self.mappings;
        let beaten = mappings.table.index.visit(hash, |slot| {
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
            let life = self.mappings.table.life(other);
            if !present(life.state()) {
                return false;
            }
            let Some((life, record)) = self.mappings.copy(other, present) else {
                continue;
            };
            if record.inside != *inside {
                return false;
            }
            if life.state() == State::Live || other < ours {
                return true;
            }
            if self.mappings.table.change(other, life, life.with_state(State::Retired)) {
                return false;
            }
        }
    }
}

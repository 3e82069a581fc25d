//! Binding: finds or makes the mapping of an inside endpoint, and takes a reference on it for one session.

use super::binder::Binder;
use super::entry::{REFERENCES_MAX, Record, references, with_references};
use super::{Address, BindError, Binding, Inside, Mappings, POOL_ADDRESSES_MAX, POOLS_MAX, PoolView};
use crate::index::{Index, Slot};
use crate::local::WorkerLocal;
use crate::ports::Ports;
use crate::sync::{step, touch};
use crate::table::{Life, State};
use core::ops::ControlFlow;

/// An inside endpoint whose mapping is asked for: made by [`Mappings::aim`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Aimed<A> {
    pub(super) inside: Inside<A>,
    pub(super) hash: u64,
    pub(super) host_hash: u64,
}

impl<A: Address> Aimed<A> {
    /// The key of the inside host.
    #[inline(always)]
    pub(super) fn host(&self) -> Inside<A> {
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
    pub(super) hidden: Option<u64>,
}

/// Why a reference was not taken.
pub(super) enum NoReference {
    /// The entry is in another use.
    Gone,
    /// It has as many as it may.
    TooMany,
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
    pub(super) fn take_reference(&self, mapping: u32, seen: Life, max: u64, now: u32) -> Result<(), NoReference> {
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

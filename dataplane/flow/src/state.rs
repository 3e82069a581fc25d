//! All of the flow state of a gateway: what the parts are, how large, and what is done to all of them together.

use crate::expiry::Timers;
use crate::key::{Key, Key4, Key6};
use crate::local::WorkerLocal;
use crate::mapping::{Address, Mappings};
use crate::ports::Ports;
use crate::session::{Ended, NO_MAPPING, SessionKey, Sessions};
use crate::sync::AtomicU64;
use crate::table::StateError;

/// The parts of the state region that hold flows.
#[derive(Clone, Copy)]
pub struct FlowParts<'a> {
    /// IPv4 sessions.
    pub sessions4: &'a [AtomicU64],
    /// IPv6 sessions.
    pub sessions6: &'a [AtomicU64],
    /// IPv4 mappings and hosts.
    pub mappings4: &'a [AtomicU64],
    /// IPv6 mappings and hosts.
    pub mappings6: &'a [AtomicU64],
    /// Ports of pool addresses.
    pub ports: &'a [AtomicU64],
}

/// What must fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowLimits {
    /// IPv4 sessions.
    pub sessions4: usize,
    /// IPv6 sessions.
    pub sessions6: usize,
    /// IPv4 mappings and inside hosts together.
    pub mappings4: usize,
    /// IPv6 mappings and inside hosts together.
    pub mappings6: usize,
    /// Addresses of all pools of both families together.
    pub pool_addresses: usize,
}

/// Words of each part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowWords {
    /// See `FlowParts`.
    pub sessions4: usize,
    /// See `FlowParts`.
    pub sessions6: usize,
    /// See `FlowParts`.
    pub mappings4: usize,
    /// See `FlowParts`.
    pub mappings6: usize,
    /// See `FlowParts`.
    pub ports: usize,
}

impl FlowLimits {
    /// How large each part must be.
    pub const fn words(&self) -> FlowWords {
        FlowWords {
            sessions4: Sessions::<Key4>::words(self.sessions4),
            sessions6: Sessions::<Key6>::words(self.sessions6),
            mappings4: Mappings::<u32>::words(self.mappings4),
            mappings6: Mappings::<[u8; 16]>::words(self.mappings6),
            ports: Ports::words(self.pool_addresses),
        }
    }
}

/// What a scrub found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubReport {
    /// Sessions kept, both families.
    pub sessions: u32,
    /// Mappings and hosts kept, both families.
    pub mappings: u32,
    /// Sessions dropped because their mapping was not whole.
    pub orphans: u32,
}

/// Handles on all parts.
#[derive(Clone, Copy)]
pub struct FlowState<'a> {
    /// IPv4 sessions.
    pub sessions4: Sessions<'a, Key4>,
    /// IPv6 sessions.
    pub sessions6: Sessions<'a, Key6>,
    /// IPv4 mappings.
    pub mappings4: Mappings<'a, u32>,
    /// IPv6 mappings.
    pub mappings6: Mappings<'a, [u8; 16]>,
    /// Ports.
    pub ports: Ports<'a>,
}

impl<'a> FlowState<'a> {
    /// Makes all parts empty. `seed` is random and secret.
    ///
    /// # Errors
    /// A part is too small for its limit, or a limit is 0 or above 2²⁸.
    pub fn format(parts: FlowParts<'a>, limits: &FlowLimits, seed: [u64; 2]) -> Result<Self, StateError> {
        let needed = Ports::words(limits.pool_addresses);
        if parts.ports.len() < needed {
            return Err(StateError::TooSmall {
                words: parts.ports.len(),
                needed,
            });
        }
        // Each table its own key, so that a hash seen in one says nothing about another.
        let seed_of = |number: u64| {
            [
                seed[0] ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93),
                seed[1].wrapping_add(number),
            ]
        };
        let ports = Ports::open(parts.ports);
        ports.clear();
        Ok(FlowState {
            sessions4: Sessions::format(parts.sessions4, limits.sessions4, seed_of(1))?,
            sessions6: Sessions::format(parts.sessions6, limits.sessions6, seed_of(2))?,
            mappings4: Mappings::format(parts.mappings4, limits.mappings4, seed_of(3))?,
            mappings6: Mappings::format(parts.mappings6, limits.mappings6, seed_of(4))?,
            ports,
        })
    }

    /// Takes parts that were formatted before.
    ///
    /// # Errors
    /// A part was not formatted, or its size does not fit its capacity.
    pub fn open(parts: FlowParts<'a>) -> Result<Self, StateError> {
        Ok(FlowState {
            sessions4: Sessions::open(parts.sessions4)?,
            sessions6: Sessions::open(parts.sessions6)?,
            mappings4: Mappings::open(parts.mappings4)?,
            mappings6: Mappings::open(parts.mappings6)?,
            ports: Ports::open(parts.ports),
        })
    }

    /// After a crash, before any worker runs, for any number of workers: removes what is half made and rebuilds indices, free lists,
    /// ports and references from what is whole. Safe to repeat if it is itself interrupted. `now` in seconds.
    pub fn scrub(&self, now: u32) -> ScrubReport {
        self.ports.clear();
        let mut report = ScrubReport::default();
        report.mappings += self.mappings4.scrub(&self.ports, now).0;
        report.mappings += self.mappings6.scrub(&self.ports, now).0;
        scrub_sessions(&self.sessions4, &self.mappings4, now, &mut report);
        scrub_sessions(&self.sessions6, &self.mappings6, now, &mut report);
        report
    }

    /// Between batches: ends idle sessions and mappings, about `budget` entries of each table, and frees what no worker sees any more.
    ///
    /// `batch_counter(worker)` reads that worker's batch counter now; `None` is a worker that is parked or dead. A worker executes a full
    /// fence after it moves its counter and before it looks anything up, and when it wakes from being parked.
    pub fn maintain(
        &self,
        local: &mut WorkerLocal,
        now: u32,
        timers: &Timers,
        budget: usize,
        batch_counter: impl Fn(usize) -> Option<u64>,
    ) {
        self.maintain_reporting(local, now, timers, budget, batch_counter, |_| {}, |_| {});
    }

    /// [`maintain`](Self::maintain), telling of the sessions that ended.
    #[allow(clippy::too_many_arguments)]
    pub fn maintain_reporting(
        &self,
        local: &mut WorkerLocal,
        now: u32,
        timers: &Timers,
        budget: usize,
        batch_counter: impl Fn(usize) -> Option<u64>,
        mut ended4: impl FnMut(&Ended<Key4>),
        mut ended6: impl FnMut(&Ended<Key6>),
    ) {
        self.sessions4.expire(local, now, timers, budget, |ended| {
            self.mappings4.release_ended(&ended, now);
            ended4(&ended);
        });
        self.sessions6.expire(local, now, timers, budget, |ended| {
            self.mappings6.release_ended(&ended, now);
            ended6(&ended);
        });
        self.mappings4
            .expire(&self.ports, local, now, timers.mapping_linger, budget);
        self.mappings6
            .expire(&self.ports, local, now, timers.mapping_linger, budget);
        self.reclaim(local, budget, &batch_counter);
    }

    fn reclaim(&self, local: &mut WorkerLocal, budget: usize, batch_counter: &impl Fn(usize) -> Option<u64>) {
        // Entries retire no faster than the budget per call: twice as much always catches up.
        let budget = budget.saturating_mul(2).max(64);
        self.sessions4.reclaim(local, budget, batch_counter);
        self.sessions6.reclaim(local, budget, batch_counter);
        self.mappings4.reclaim(local, budget, batch_counter);
        self.mappings6.reclaim(local, budget, batch_counter);
    }
}

impl<'a, K: SessionKey> Sessions<'a, K> {
    /// Frees what every worker has let go of, at most `budget` entries; see [`FlowState::maintain`].
    pub fn reclaim(&self, local: &mut WorkerLocal, budget: usize, batch_counter: &impl Fn(usize) -> Option<u64>) {
        self.table().reclaim(K::local(local).0, budget, batch_counter);
    }
}

impl<'a, A: Address> Mappings<'a, A> {
    /// Frees what every worker has let go of, at most `budget` entries; see [`FlowState::maintain`].
    pub fn reclaim(&self, local: &mut WorkerLocal, budget: usize, batch_counter: &impl Fn(usize) -> Option<u64>) {
        self.table().reclaim(A::local(local).0, budget, batch_counter);
    }

    /// Releases the mapping of a session that ended, if it had one. `now` in seconds.
    pub fn release_ended<K: Key<Address = A>>(&self, ended: &Ended<K>, now: u32) {
        if ended.mapping != NO_MAPPING {
            self.release(ended.mapping, now);
        }
    }
}

fn scrub_sessions<K: SessionKey>(
    sessions: &Sessions<'_, K>,
    mappings: &Mappings<'_, K::Address>,
    now: u32,
    report: &mut ScrubReport,
) {
    let (mut kept, _) = sessions.scrub();
    for session in sessions.live() {
        if session.mapping == NO_MAPPING {
            continue;
        }
        let (inside, outside) = (session.forward.source(), session.reverse.destination());
        if !mappings.readopt(session.mapping, inside, outside, session.forward.protocol(), now) {
            sessions.forget(session.session);
            report.orphans += 1;
            kept -= 1;
        }
    }
    sessions.rebuild_free();
    report.sessions += kept;
}

#[cfg(all(test, not(loom)))]
mod tests;

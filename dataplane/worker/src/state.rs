//! The state region as workers use it: sessions, mappings, sequence numbers, replay windows, tunnels' MTUs, counters.
//!
//! Everything here is shared by all workers and survives them; what one worker keeps for itself is handed in.

use crate::books::Books;
use crate::handover::Inbox;
use crate::time::Now;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use rustix::rand::{GetRandomFlags, getrandom};
use std::fmt;
use std::os::fd::OwnedFd;
use tombolo_flow::geometry::{SaWords, flow_limits, parts_of, state_spec};
use tombolo_flow::{FlowState, Key4, Key6, Sessions, StateError, Timers, WorkerLocal};
use tombolo_tables::counters::{Counters, WorkerCounters};
use tombolo_tables::layout::{SaIndex, SaRecord, TunnelIndex, sa_flag};
use tombolo_tables::region_prefetch::{prefetch_near, prefetch_to_write};
use tombolo_tables::sa_counters;
use tombolo_tables::state::{Limits, State, StatePart};
use tombolo_tunnel::endpoint::Endpoint;
use tombolo_tunnel::replay::Window;
use tombolo_tunnel::sequence::{self, Sequence};

/// Why a state region cannot be used.
#[derive(Debug)]
pub enum SharedStateError {
    /// The tables of flows could not be laid out or opened.
    Flows(StateError),
    /// The kernel gave no random bytes for the hash keys.
    Random(rustix::io::Errno),
}

impl fmt::Display for SharedStateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SharedStateError::Flows(error) => write!(f, "state region: {error}"),
            SharedStateError::Random(error) => write!(f, "no random bytes from the kernel: {error}"),
        }
    }
}

impl std::error::Error for SharedStateError {}

/// Entries of each table that one housekeeping looks at.
const EXPIRY_BUDGET: usize = 4096;

/// Views of the parts that workers use, made once.
pub struct SharedState<'s> {
    state: &'s State,
    limits: Limits,
    workers: usize,
    flows: FlowState<'s>,
    timers: Timers,
    sequences: &'s [AtomicU64],
    windows: &'s [AtomicU64],
    tunnel_mtu: &'s [AtomicU64],
    endpoints: &'s [AtomicU64],
    sa_counters: &'s [AtomicU64],
    control: Option<OwnedFd>,
    inboxes: Vec<Inbox>,
}

impl<'s> SharedState<'s> {
    /// Opens the tables of `state`; those that are still blank are laid out. `workers` share them; `control` is nudged when
    /// there are events.
    pub fn new(state: &'s State, workers: usize, control: Option<OwnedFd>) -> Result<Self, SharedStateError> {
        let limits = state.limits();
        Ok(SharedState {
            flows: flows(state, &limits)?,
            timers: Timers::default(),
            sequences: state.part(StatePart::Sequences),
            windows: state.part(StatePart::Replay),
            tunnel_mtu: state.part(StatePart::TunnelMtu),
            endpoints: state.part(StatePart::Endpoints),
            sa_counters: state.part(StatePart::SaCounters),
            state,
            limits,
            workers,
            control,
            inboxes: (0..workers).map(|_| Inbox::new(None)).collect(),
        })
    }

    /// Gives the inbox of each worker what wakes it.
    #[must_use]
    pub fn with_wakes(mut self, wakes: Vec<OwnedFd>) -> Self {
        self.inboxes = wakes.into_iter().map(|wake| Inbox::new(Some(wake))).collect();
        self
    }

    /// Where others put packets that only this worker may seal.
    #[inline]
    pub fn inbox(&self, worker: usize) -> Option<&Inbox> {
        self.inboxes.get(worker)
    }

    /// How many security associations there is room for.
    pub fn sas(&self) -> usize {
        self.limits.sas as usize
    }

    /// How many ports there is room for.
    pub fn ports(&self) -> usize {
        self.limits.ports as usize
    }

    /// How many workers share the state.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// The region below.
    pub fn region(&self) -> &'s State {
        self.state
    }

    /// Control's eventfd.
    pub fn control(&self) -> Option<&OwnedFd> {
        self.control.as_ref()
    }

    /// Sessions of IPv4 flows.
    #[inline]
    pub fn sessions4(&self) -> &Sessions<'s, Key4> {
        &self.flows.sessions4
    }

    /// Sessions of IPv6 flows.
    #[inline]
    pub fn sessions6(&self) -> &Sessions<'s, Key6> {
        &self.flows.sessions6
    }

    /// All tables of flows.
    #[inline]
    pub fn flows(&self) -> &FlowState<'s> {
        &self.flows
    }

    /// After a crash of the dataplane, before workers run: removes what is half made.
    pub fn scrub(&self, now: Now) {
        self.flows.scrub(now.seconds());
    }

    /// What worker `worker` keeps for itself.
    pub fn local(&self, worker: usize) -> WorkerLocal {
        let seed = seed().map_or(worker as u64, |[seed, _]| seed);
        WorkerLocal::new(worker, self.workers, seed)
    }

    /// Ends idle sessions and mappings, a part of the tables per call, and frees what no worker sees any more.
    pub fn maintain(&self, local: &mut WorkerLocal, now: Now) {
        let workers = self.state.workers();
        let batch_counter = |worker| {
            workers
                .slot(worker)
                .filter(|slot| !slot.is_parked())
                .map(|slot| slot.batch_count())
        };
        self.flows
            .maintain(local, now.seconds(), &self.timers, EXPIRY_BUDGET, batch_counter);
    }

    /// Takes up to `count` sequence numbers of an outbound SA; fewer, or none, when the lease or the counter is used up.
    #[inline]
    pub fn reserve_sequences(&self, sa: SaIndex, count: usize, esn: bool) -> Range<u64> {
        Sequence::at(self.sequences, sa.usize()).map_or(0..0, |sequence| sequence.reserve(count as u64, esn))
    }

    /// Asks for the lines that sealing with an SA writes: sequence number and counters.
    #[inline]
    pub fn ask_outbound_sa(&self, worker: usize, sa: SaIndex) {
        if let Some(word) = self.sequences.get(sa.usize() * sequence::WORDS) {
            prefetch_to_write(word);
        }
        if let Some(word) = self.sa_counters.get(sa_counters::first(self.sas(), worker, sa)) {
            prefetch_near(word);
        }
    }

    /// Numbers that are still leased to an SA.
    pub fn sequences_left(&self, sa: SaIndex, esn: bool) -> u64 {
        Sequence::at(self.sequences, sa.usize()).map_or(0, |sequence| sequence.remaining(esn))
    }

    /// The replay window of an inbound SA; none if its replay protection is off.
    #[inline]
    pub fn window(&self, index: SaIndex, sa: &SaRecord) -> Option<Window<'s>> {
        if sa.flags & sa_flag::NO_REPLAY_CHECK != 0 {
            return None;
        }
        Window::at(self.windows, index.usize(), sa.replay_window.into())
    }

    /// Where a tunnel's peer was last seen.
    #[inline]
    pub fn endpoint(&self, tunnel: TunnelIndex) -> Option<Endpoint<'s>> {
        Endpoint::at(self.endpoints, tunnel.usize())
    }

    /// What a router of the underlay said about a tunnel's path: the largest inner packet in bytes, 0 = nothing.
    #[inline]
    pub fn tunnel_mtu(&self, tunnel: TunnelIndex) -> u16 {
        self.tunnel_mtu
            .get(tunnel.usize())
            .map_or(0, |word| word.load(Ordering::Relaxed) as u16)
    }

    /// Lowers a tunnel's MTU; true if it was higher before.
    pub fn lower_tunnel_mtu(&self, tunnel: TunnelIndex, mtu: u16) -> bool {
        let Some(word) = self.tunnel_mtu.get(tunnel.usize()) else {
            return false;
        };
        let known = word.load(Ordering::Relaxed);
        let lower = known == 0 || u64::from(mtu) < known;
        if lower {
            word.store(mtu.into(), Ordering::Relaxed);
        }
        lower
    }

    /// Books inner packets, `bytes` bytes together, on their SA.
    #[inline]
    pub fn count_sa_packets(&self, worker: usize, sa: SaIndex, packets: usize, bytes: usize, now: Now) {
        sa_counters::count(
            self.sa_counters,
            self.sas(),
            worker,
            sa,
            packets,
            bytes,
            now.milliseconds,
        );
    }

    /// Books authentic packets of an inbound SA that were not seen before; the first of them has this sequence number.
    #[inline]
    pub fn count_sa_authentic(&self, worker: usize, sa: SaIndex, packets: u64, sequence: u64, now: Now) {
        sa_counters::count_authentic(
            self.sa_counters,
            self.sas(),
            worker,
            sa,
            packets,
            sequence,
            now.milliseconds,
        );
    }

    /// Books one of them that is `behind` numbers late.
    pub fn count_sa_late(&self, worker: usize, sa: SaIndex, behind: u64) {
        sa_counters::count_late(self.sa_counters, self.sas(), worker, sa, behind);
    }

    /// Adds a batch's books to a worker's counters.
    pub fn close_books(&self, worker: usize, books: &mut Books) {
        books.close(self.counters(worker));
    }

    fn counters(&self, worker: usize) -> WorkerCounters<'s> {
        Counters::new(self.state).worker(worker)
    }
}

/// Opens the tables of flows, or lays them out when their parts are blank.
fn flows<'s>(state: &'s State, limits: &Limits) -> Result<FlowState<'s>, SharedStateError> {
    let parts = parts_of(state);
    let opened = if is_blank(parts.sessions4) {
        FlowState::format(parts, &flow_limits(limits), seed()?)
    } else {
        FlowState::open(parts)
    };
    opened.map_err(SharedStateError::Flows)
}

/// Whether nobody laid the part out yet: a fresh region is zero.
fn is_blank(words: &[AtomicU64]) -> bool {
    words.iter().take(8).all(|word| word.load(Ordering::Acquire) == 0)
}

fn seed() -> Result<[u64; 2], SharedStateError> {
    let mut bytes = [0u8; 16];
    getrandom(&mut bytes, GetRandomFlags::empty()).map_err(SharedStateError::Random)?;
    let whole = u128::from_ne_bytes(bytes);
    Ok([(whole >> 64) as u64, whole as u64])
}

/// Everything that a gateway of these limits keeps in its state region.
pub fn spec(limits: Limits) -> tombolo_tables::state::StateSpec {
    let sa = SaWords {
        sequence: tombolo_tunnel::sequence::WORDS_PER_SEQUENCE,
        window: tombolo_tunnel::replay::WORDS_PER_WINDOW,
    };
    state_spec(limits, sa)
}

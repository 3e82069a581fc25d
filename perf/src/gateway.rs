//! One gateway under measurement: one worker over ports in memory, with tables and state of its own.

use crate::clock::Cycles;
use std::time::Instant;
use tombolo_packet_io::memory::Memory;
use tombolo_packet_io::{BATCH, PortSlot};
use tombolo_tables::build::World;
use tombolo_tables::counters::Counters;
use tombolo_tables::fate::{Counter, DropReason};
use tombolo_tables::layout::PortIndex;
use tombolo_tables::region::{HugePages, Region};
use tombolo_tables::state::{Limits, State, StatePart};
use tombolo_tables::view::Tables;
use tombolo_tunnel::sequence::Sequence;
use tombolo_worker::ports::PortMap;
use tombolo_worker::state::{SharedState, spec};
use tombolo_worker::time::Now;
use tombolo_worker::worker::Worker;

/// Frames that may wait in a port at a time; each is offered in memory of its own, so that none is warm when its turn comes.
pub const ROUND: usize = 8192;
/// Frames of the gateway: a round, and what a batch needs on the way.
const FRAMES: usize = ROUND + 4 * BATCH;

/// The worker and all it needs. Tables and state live as long as the process: a run makes a few dozen gateways at most.
pub struct Gateway {
    worker: Worker<Memory>,
    state: &'static SharedState<'static>,
    tables: Tables<'static>,
    changed: bool,
    born: Instant,
    waiting: usize,
}

impl Gateway {
    /// A gateway in `world` with room for what `limits` says; ports in the order of the world.
    pub fn new(world: &World, limits: Limits) -> Self {
        let spec = spec(limits);
        let region =
            Region::create("perf-state", spec.bytes(), HugePages::WhereReserved).expect("memory for the state");
        let state: &'static State = Box::leak(Box::new(State::create(region, &spec).expect("a fresh region")));
        let shared = SharedState::new(state, 1, None).expect("a fresh region opens");
        let shared: &'static SharedState<'static> = Box::leak(Box::new(shared));
        for sa in 0..world.sas.len() {
            if let Some(sequence) = Sequence::at(state.part(StatePart::Sequences), sa) {
                sequence.start(1, 1 << 40);
            }
        }
        let sections = Box::leak(Box::new(world.build().expect("the scenario's world builds")));
        let ports = world.ports.len();
        Gateway {
            worker: Worker::new(Memory::new(ports, FRAMES), 0, PortMap::in_order(ports), shared),
            state: shared,
            tables: Tables::from_sections(sections.all()).expect("built sections are valid"),
            changed: true,
            born: Instant::now(),
            waiting: 0,
        }
    }

    /// A frame arrives at `port` and waits there.
    pub fn offer(&mut self, port: u16, frame: &[u8]) {
        let room = self.worker.io().inject(PortSlot(port as u8), frame);
        assert!(room, "at most {ROUND} frames wait");
        self.waiting += 1;
    }

    /// The worker takes rounds until every waiting frame met its fate. Returns the cycles that took, from the first receive to the
    /// last flush. Time goes on between calls, not within one.
    pub fn run(&mut self, cycles: &Cycles) -> u64 {
        let now = Now {
            milliseconds: 1_000_000 + self.born.elapsed().as_millis() as u64,
        };
        let mut changed = core::mem::take(&mut self.changed);
        let turns = core::mem::take(&mut self.waiting).div_ceil(BATCH);
        let start = cycles.now();
        for _ in 0..turns {
            let _ = self.worker.turn(self.tables, changed, self.state, now);
            changed = false;
        }
        cycles.now() - start
    }

    /// Forgets what left through `port`; returns how many frames.
    pub fn discard_sent(&mut self, port: u16) -> usize {
        self.worker.io().discard_sent(PortSlot(port as u8))
    }

    /// The oldest frame that left through `port`.
    pub fn take_sent(&mut self, port: u16) -> Option<Vec<u8>> {
        self.worker.io().take_sent(PortSlot(port as u8))
    }

    /// Drops so far by reason, those that happened.
    pub fn drops(&self) -> Vec<(DropReason, u64)> {
        let counters = Counters::new(self.state.region());
        let rows: Vec<_> = (0..counters.ports())
            .map(|port| counters.sum(PortIndex(port as u16)))
            .collect();
        let count = |reason: DropReason| rows.iter().map(|row| row[Counter::dropped(reason)]).sum::<u64>();
        let all = DropReason::ALL.iter().map(|reason| (*reason, count(*reason)));
        all.filter(|(_, count)| *count > 0).collect()
    }

    /// Whether the state lies on huge pages.
    pub fn page_size(&self) -> usize {
        self.state.region().region().page_size()
    }
}

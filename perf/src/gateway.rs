//! One gateway under measurement: the worker that ships, over ports in memory, with tables and state of its own.
//!
//! Tables are published and read as they are between the two processes, so that control may change them meanwhile.

use crate::clock::Cycles;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tombolo_packet_io::memory::Memory;
use tombolo_packet_io::{BATCH, FRAME_CAPACITY, FRAME_SIZE, JUMBO_FRAME_SIZE, PortSlot};
use tombolo_tables::build::{Sections, World};
use tombolo_tables::counters::Counters;
use tombolo_tables::fate::{Counter, DropReason};
use tombolo_tables::layout::PortIndex;
use tombolo_tables::publish::{PublishError, Publisher, TablesRegion};
use tombolo_tables::reader::Reader;
use tombolo_tables::region::{HugePages, Region};
use tombolo_tables::state::{Limits, State, StatePart};
use tombolo_tunnel::sequence::Sequence;
use tombolo_worker::ports::PortMap;
use tombolo_worker::state::{SharedState, spec};
use tombolo_worker::time::Now;
use tombolo_worker::worker::Worker;

/// Frames that may wait in a port at a time; each is offered in memory of its own, so that none is warm when its turn comes.
pub const ROUND: usize = 8192;
/// Frames of a worker: a round, and what a batch needs on the way.
pub(crate) const FRAMES: usize = ROUND + 4 * BATCH;
/// Bytes of the tables region beside the sections.
const TABLES_SPARE: usize = 4 << 20;

/// When time began: the same for all workers, also for one that takes the place of another.
static BORN: OnceLock<Instant> = OnceLock::new();

/// Whether time stands still.
static STOPPED: AtomicBool = AtomicBool::new(false);

/// Time stands still for every gateway of this process. Nothing expires and no session grows older, so that each run takes the same
/// instructions, however slow the machine is.
pub fn stop_time() {
    STOPPED.store(true, Ordering::Relaxed);
}

/// What the workers of one gateway share. It lives as long as the process.
pub struct Shared {
    state: &'static SharedState<'static>,
    tables: &'static TablesRegion,
    publisher: Publisher<'static>,
    ports: usize,
    frame_size: usize,
}

/// Bytes of frames that hold packets of an MTU, link header included.
pub fn frame_size(mtu: u16) -> usize {
    const LINK_HEADER: usize = 14;
    if LINK_HEADER + usize::from(mtu) <= FRAME_CAPACITY {
        FRAME_SIZE
    } else {
        JUMBO_FRAME_SIZE
    }
}

impl Shared {
    /// The state and tables of a gateway in `world` with room for what `limits` says, and for `generations` tables as large.
    pub fn new(world: &World, limits: Limits, workers: usize, generations: usize) -> Self {
        let spec = spec(limits);
        let region =
            Region::create("perf-state", spec.bytes(), HugePages::WhereReserved).expect("memory for the state");
        let state: &'static State = Box::leak(Box::new(State::create(region, &spec).expect("a fresh region")));
        let shared = SharedState::new(state, workers, None).expect("a fresh region opens");
        let sections = world.build().expect("the scenario's world builds");
        let bytes = generations * section_bytes(&sections) + TABLES_SPARE;
        let region = Region::create("perf-tables", bytes, HugePages::WhereReserved).expect("memory for the tables");
        let tables: &'static TablesRegion = Box::leak(Box::new(TablesRegion::create(region).expect("a fresh region")));
        let mut shared = Shared {
            state: Box::leak(Box::new(shared)),
            tables,
            publisher: Publisher::open(tables, state).expect("the only publisher"),
            ports: world.ports.len(),
            frame_size: frame_size(world.ports.iter().map(|port| port.mtu).max().unwrap_or(0)),
        };
        for sa in 0..world.sas.len() {
            shared.lend(sa);
        }
        shared.publish(&sections).expect("room for a generation");
        shared
    }

    /// Control's part: an SA may seal from number 1 on.
    pub fn lend(&self, sa: usize) {
        if let Some(sequence) = Sequence::at(self.state.region().part(StatePart::Sequences), sa) {
            sequence.start(1, 1 << 40);
        }
    }

    /// Makes a generation current.
    pub fn publish(&mut self, sections: &Sections) -> Result<u64, PublishError> {
        self.publisher.publish(sections)
    }

    /// Control's work in an idle moment.
    pub fn rest(&mut self) {
        self.publisher.make_spares();
    }

    /// Whether every running worker uses this generation.
    pub fn is_announced(&self, generation: u64) -> bool {
        self.publisher.is_announced(generation)
    }

    /// Worker `index`, to be made on the thread where it runs.
    pub fn worker(&self, index: usize) -> Gateway {
        let (state, ports) = (self.state, self.ports);
        let memory = Memory::with_frame_size(ports, FRAMES, self.frame_size);
        Gateway {
            worker: Worker::new(memory, index, PortMap::in_order(ports), state),
            reader: Reader::new(self.tables, state.region(), index).expect("a slot for each worker"),
            state,
            born: *BORN.get_or_init(Instant::now),
            waiting: 0,
        }
    }

    /// Bytes of the state region, and of one of its pages.
    pub fn state_bytes(&self) -> (usize, usize) {
        let region = self.state.region().region();
        (region.len(), region.page_size())
    }
}

/// Bytes of one generation.
pub fn section_bytes(sections: &Sections) -> usize {
    sections.all().iter().map(|section| section.len()).sum()
}

/// A worker and its ports.
pub struct Gateway {
    worker: Worker<Memory>,
    reader: Reader<'static>,
    state: &'static SharedState<'static>,
    born: Instant,
    waiting: usize,
}

impl Gateway {
    /// A gateway in `world` with one worker and room for what `limits` says; ports in the order of the world.
    pub fn new(world: &World, limits: Limits) -> Self {
        Shared::new(world, limits, 1, 1).worker(0)
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
        let start = cycles.now();
        self.run_watched(&mut || ());
        cycles.now() - start
    }

    /// The same; `after` is called after every turn of at most a batch from each port. A function of its own, which valgrind finds.
    #[inline(never)]
    pub fn run_watched(&mut self, after: &mut impl FnMut()) {
        self.turns(after);
    }

    /// The same for a gateway that only helps to measure another: valgrind does not count it.
    #[inline(never)]
    pub fn run_beside(&mut self) {
        self.turns(&mut || ());
    }

    #[inline(always)]
    fn turns(&mut self, after: &mut impl FnMut()) {
        let now = Now {
            milliseconds: self.milliseconds(),
        };
        while self.waiting > 0 {
            let (tables, changed) = self.reader.begin_batch();
            let turn = self.worker.turn(tables, changed, self.state, now);
            assert!(turn.frames > 0, "{} frames wait and none is taken", self.waiting);
            self.waiting = self.waiting.saturating_sub(turn.frames);
            after();
        }
    }

    fn milliseconds(&self) -> u64 {
        let age = if STOPPED.load(Ordering::Relaxed) {
            0
        } else {
            self.born.elapsed().as_millis() as u64
        };
        1_000_000 + age
    }

    /// Looks at no tables until the next run, so that control need not wait for this worker.
    pub fn park(&mut self) {
        self.reader.park();
    }

    /// Forgets what left through `port`; returns how many frames.
    pub fn discard_sent(&mut self, port: u16) -> usize {
        self.worker.io().discard_sent(PortSlot(port as u8))
    }

    /// The oldest frame that left through `port`.
    pub fn take_sent(&mut self, port: u16) -> Option<Vec<u8>> {
        self.worker.io().take_sent(PortSlot(port as u8))
    }

    /// Drops so far by reason, those that happened; of all workers.
    pub fn drops(&self) -> Vec<(DropReason, u64)> {
        let counters = Counters::new(self.state.region());
        let rows: Vec<_> = (0..counters.ports())
            .map(|port| counters.sum(PortIndex(port as u16)))
            .collect();
        let count = |reason: DropReason| rows.iter().map(|row| row[Counter::dropped(reason)]).sum::<u64>();
        let all = DropReason::ALL.iter().map(|reason| (*reason, count(*reason)));
        all.filter(|(_, count)| *count > 0).collect()
    }

    /// Bytes of a page of the state.
    pub fn page_size(&self) -> usize {
        self.state.region().region().page_size()
    }
}

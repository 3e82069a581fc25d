//! A gateway without processes: the very worker that ships, over ports in memory, on tables and state of its own.

use std::collections::BTreeMap;
use tombolo_packet_io::memory::Memory;
use tombolo_packet_io::{PacketIo, PortSlot};
use tombolo_tables::build::{Sections, World};
use tombolo_tables::counters::Counters;
use tombolo_tables::fate::{Counter, DropReason};
use tombolo_tables::layout::PortIndex;
use tombolo_tables::region::{HugePages, Region};
use tombolo_tables::state::{Limits, State, StatePart};
use tombolo_tables::view::Tables;
use tombolo_tunnel::sequence::Sequence;
use tombolo_worker::ports::{PortMap, ServedPort, VlanTaps};
use tombolo_worker::state::{SharedState, spec};
use tombolo_worker::time::Now;
use tombolo_worker::worker::Worker;

/// Limits of a small gateway.
pub const SMALL: Limits = Limits {
    workers: 2,
    ports: 8,
    sessions4: 4096,
    sessions6: 1024,
    mappings: 4096,
    pool_addresses: 4,
    hosts: 1024,
    tunnels: 16,
    sas: 32,
};

/// Frames of each worker.
const FRAMES: usize = 2048;

/// A gateway with one worker, or more that take turns.
pub struct SimGateway {
    state: &'static SharedState<'static>,
    sections: Sections,
    changed: bool,
    workers: Vec<Worker<Memory>>,
    now: Now,
}

impl SimGateway {
    /// A gateway in `world`, with `workers` workers. Its state lives as long as the process. Ports, as its methods count them,
    /// are devices in the order of the world; behind them are the two TAPs of each VLAN port.
    pub fn new(world: &World, limits: Limits, workers: usize) -> Self {
        let spec = spec(Limits {
            workers: workers as u32 + 1,
            ..limits
        });
        let region = Region::create("sim-state", spec.bytes(), HugePages::Never).expect("memory for a state region");
        let state: &'static State = Box::leak(Box::new(
            State::create(region, &spec).expect("a fresh region is laid out"),
        ));
        let shared = SharedState::new(state, workers, None).expect("a fresh region opens");
        let state: &'static SharedState<'static> = Box::leak(Box::new(shared));
        lend_sequences(state.region(), world);
        let (served, devices) = served(world);
        let taps = VlanTaps::behind(devices, &served);
        let slots = devices + 2 * taps.len();
        let map = PortMap::new(served).with_taps(taps);
        let worker = |index| Worker::new(Memory::new(slots, FRAMES), index, map.clone(), state);
        SimGateway {
            state,
            sections: world.build().expect("the world of a test builds"),
            changed: true,
            workers: (0..workers).map(worker).collect(),
            now: Now {
                milliseconds: 1_000_000,
            },
        }
    }

    /// Puts another world in force.
    pub fn publish(&mut self, world: &World) {
        self.sections = world.build().expect("the world of a test builds");
        self.changed = true;
    }

    /// The state of all workers.
    pub fn state(&self) -> &'static SharedState<'static> {
        self.state
    }

    /// Lets time pass.
    pub fn sleep(&mut self, milliseconds: u64) {
        self.now.milliseconds += milliseconds;
    }

    /// A frame arrives at `port`, in the queue of `worker`.
    pub fn arrive(&mut self, worker: usize, port: u8, frame: &[u8]) {
        assert!(
            self.workers[worker].io().inject(PortSlot(port), frame),
            "no free frame to inject into"
        );
    }

    /// The kernel sends a frame through the TAP of `port`.
    pub fn from_kernel(&mut self, port: u8, frame: &[u8]) {
        assert!(
            self.workers[0].io().inject_from_kernel(PortSlot(port), frame),
            "no free frame to inject into"
        );
    }

    /// Every worker takes rounds until nothing comes any more.
    pub fn run(&mut self) {
        self.run_watched(&mut |turn| turn());
    }

    /// The same with every round of a worker inside a call of `watch`.
    pub fn run_watched(&mut self, watch: &mut dyn FnMut(&mut dyn FnMut() -> usize) -> usize) {
        let tables = Tables::from_sections(self.sections.all()).expect("built sections are valid");
        let changed = core::mem::take(&mut self.changed);
        let (state, now) = (self.state, self.now);
        for worker in &mut self.workers {
            let mut news = changed;
            let mut turn = || worker.turn(tables, core::mem::take(&mut news), state, now).frames;
            while watch(&mut turn) > 0 {}
        }
    }

    /// Every transmit ring takes no more than `frames` between two flushes.
    pub fn narrow_transmit_rings(&mut self, frames: usize) {
        for worker in &mut self.workers {
            worker.io().set_transmit_ring(frames);
        }
    }

    /// What left through `port`, of all workers, in order.
    pub fn sent(&mut self, port: u8) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        for worker in &mut self.workers {
            sent.extend(std::iter::from_fn(|| worker.io().take_sent(PortSlot(port))));
        }
        sent
    }

    /// What was punted through the TAP of `port`.
    pub fn punted(&mut self, port: u8) -> Vec<Vec<u8>> {
        let mut punted = Vec::new();
        for worker in &mut self.workers {
            punted.extend(std::iter::from_fn(|| worker.io().take_punt(PortSlot(port))));
        }
        punted
    }

    /// One frame in, what leaves through `out` back.
    pub fn pass(&mut self, port: u8, frame: &[u8], out: u8) -> Vec<Vec<u8>> {
        self.arrive(0, port, frame);
        self.run();
        self.sent(out)
    }

    /// A counter of a port, summed over the workers.
    pub fn counter(&self, port: u16, counter: Counter) -> u64 {
        Counters::new(self.state.region()).sum(PortIndex(port))[counter as usize]
    }

    /// Drops of all ports by reason, those that happened.
    pub fn drops(&self) -> BTreeMap<DropReason, u64> {
        let counters = Counters::new(self.state.region());
        let mut drops = BTreeMap::new();
        for port in 0..counters.ports() {
            let row = counters.sum(PortIndex(port as u16));
            for reason in DropReason::ALL {
                let count = row[Counter::dropped(*reason)];
                if count > 0 {
                    *drops.entry(*reason).or_default() += count;
                }
            }
        }
        drops
    }

    /// Asserts that the books balance on every port and that every worker's frames are all accounted for.
    pub fn assert_books(&mut self) {
        let counters = Counters::new(self.state.region());
        for port in 0..counters.ports() {
            let row = counters.sum(PortIndex(port as u16));
            let of = |counter: Counter| row[counter as usize];
            let dropped = DropReason::ALL
                .iter()
                .map(|reason| row[Counter::dropped(*reason)])
                .sum::<u64>();
            let came = of(Counter::Received) + of(Counter::Originated) + of(Counter::TakenOver);
            let went = of(Counter::Sent) + dropped + of(Counter::Punted) + of(Counter::HandedOver) + of(Counter::Held);
            assert_eq!(
                came,
                went,
                "books of port {port}: came in ≠ went out; drops {:?}",
                self.drops()
            );
        }
        for worker in &mut self.workers {
            let census = worker.io().census();
            assert!(census.balanced(), "frames are lost: {census:?}");
        }
    }
}

impl Drop for SimGateway {
    fn drop(&mut self) {
        // Frames that wait for a next hop belong to somebody even now.
        let Ok(tables) = Tables::from_sections(self.sections.all()) else {
            return;
        };
        for worker in &mut self.workers {
            worker.stop(tables, self.state, self.now);
        }
    }
}

/// Control's part: every SA may seal from number 1 on.
fn lend_sequences(state: &State, world: &World) {
    for sa in 0..world.sas.len() {
        if let Some(sequence) = Sequence::at(state.part(StatePart::Sequences), sa) {
            sequence.start(1, 1 << 40);
        }
    }
}

/// Ports by their devices, and how many devices there are.
fn served(world: &World) -> (Vec<ServedPort>, usize) {
    let mut devices: Vec<u32> = Vec::new();
    let mut served = Vec::new();
    for (index, port) in (0..).zip(&world.ports) {
        let known = devices.iter().position(|device| *device == port.ifindex);
        let slot = known.unwrap_or(devices.len());
        if known.is_none() {
            devices.push(port.ifindex);
        }
        served.push(ServedPort {
            port: PortIndex(index),
            slot: PortSlot(slot as u8),
            vlan: port.vlan,
        });
    }
    (served, devices.len())
}

//! One worker: receives from its ports in turn, sends each batch on its journey, keeps time, sleeps when nothing comes.

use crate::batch::Entry;
use crate::books::Books;
use crate::capture::Capture;
use crate::events::Events;
use crate::gateway::Gateway;
use crate::journey::Journey;
use crate::limits::Limiter;
use crate::ports::PortMap;
use crate::state::SharedState;
use crate::steering;
use crate::time::Now;
use tombolo_flow::WorkerLocal;
use tombolo_packet_io::{FrameBatch, PacketIo, PortSlot};
use tombolo_tables::events::Event;
use tombolo_tables::layout::{SaIndex, sa_flag, wildcard};
use tombolo_tables::view::Tables;

/// How often, in milliseconds, the worker expires sessions and gives up held packets.
pub const HOUSEKEEPING_MS: u64 = 100;

/// Sequence numbers left at which control is asked for more: some seconds at full speed.
const LEASE_LOW: u64 = 1 << 22;

/// A worker without its thread: [`Worker::turn`] does one round over all ports.
pub struct Worker<I: PacketIo> {
    io: I,
    index: usize,
    ports: PortMap,
    steering: steering::Rule,
    journey: Journey,
    books: Books,
    limiter: Limiter,
    flow: WorkerLocal,
    events: Events<'static>,
    capture: Capture,
    frames: FrameBatch,
    housekeeping_at_ms: u64,
}

/// What one round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// Frames taken from ports, from the kernel and from other workers.
    pub frames: usize,
}

impl<I: PacketIo> Worker<I> {
    /// Worker `index` of a gateway, serving `ports` through `io`.
    pub fn new(io: I, index: usize, ports: PortMap, state: &SharedState<'static>) -> Self {
        Worker {
            io,
            index,
            steering: steering::Rule::new(ports.all()),
            ports,
            journey: Journey::new(state.sas()),
            books: Books::new(state.ports()),
            limiter: Limiter::new(),
            flow: state.local(index),
            events: Events::new(state.region(), index),
            capture: Capture::new(state.region(), index),
            frames: FrameBatch::new(),
            housekeeping_at_ms: 0,
        }
    }

    /// The packet I/O, for its census, its wait, or a test's traffic.
    pub fn io(&mut self) -> &mut I {
        &mut self.io
    }

    /// Ends the worker, after [`Worker::stop`]: what is left is the packet I/O.
    pub fn into_io(self) -> I {
        self.io
    }

    /// Whether packets wait for a next hop.
    pub fn holds(&self) -> bool {
        self.journey.holds()
    }

    /// Receives at most one batch from each port and sends it on its journey. `changed` says that `tables` is a generation
    /// this worker has not seen before.
    pub fn turn(&mut self, tables: Tables<'_>, changed: bool, state: &SharedState<'_>, now: Now) -> Turn {
        if changed {
            self.journey.renew(&tables, &self.ports);
            self.steering.renew(&tables);
        }
        self.limiter.tick(now);
        let mut turn = Turn::default();
        let housekeeping = now.milliseconds >= self.housekeeping_at_ms;
        for slot in (0..self.io.ports()).map(|slot| PortSlot(slot as u8)) {
            turn.frames += self.io.receive(slot, &mut self.frames);
            self.run(&tables, state, now, slot, Entry::Received);
            turn.frames += self.io.receive_from_kernel(slot, &mut self.frames);
            self.run(&tables, state, now, slot, Entry::Kernel);
        }
        if state.inbox(self.index).is_some_and(|inbox| !inbox.is_empty()) {
            let (journey, mut gateway) = self.parts(&tables, state, now);
            turn.frames += journey.run_handed(&mut gateway);
        }
        if (changed || housekeeping) && self.journey.holds() {
            let (journey, mut gateway) = self.parts(&tables, state, now);
            journey.release_held(&mut gateway);
        }
        if housekeeping {
            self.housekeeping_at_ms = now.milliseconds + HOUSEKEEPING_MS;
            state.maintain(&mut self.flow, now);
            self.watch_leases(&tables, state);
        }
        self.io.flush();
        state.close_books(self.index, &mut self.books);
        self.events.nudge(state.control());
        turn
    }

    /// Asks control for more sequence numbers before an SA runs out of them. One worker does it for all.
    fn watch_leases(&mut self, tables: &Tables<'_>, state: &SharedState<'_>) {
        if self.index != 0 {
            return;
        }
        for tunnel in tables
            .tunnels()
            .iter()
            .filter(|tunnel| tunnel.outbound != wildcard::NONE)
        {
            let sa = SaIndex(tunnel.outbound);
            let esn = tables.sa(sa).is_some_and(|record| record.flags & sa_flag::ESN != 0);
            if state.sequences_left(sa, esn) < LEASE_LOW {
                self.events.push(Event::SequenceLow { sa });
            }
        }
    }

    fn run(&mut self, tables: &Tables<'_>, state: &SharedState<'_>, now: Now, slot: PortSlot, entry: Entry) {
        if self.frames.is_empty() {
            return;
        }
        let (journey, frames, mut gateway) = self.all_parts(tables, state, now);
        journey.run(&mut gateway, slot, entry, frames);
    }

    fn parts<'a>(
        &'a mut self,
        tables: &'a Tables<'a>,
        state: &'a SharedState<'a>,
        now: Now,
    ) -> (&'a mut Journey, Gateway<'a, I>) {
        let (journey, _, gateway) = self.all_parts(tables, state, now);
        (journey, gateway)
    }

    #[inline(always)]
    fn all_parts<'a>(
        &'a mut self,
        tables: &'a Tables<'a>,
        state: &'a SharedState<'a>,
        now: Now,
    ) -> (&'a mut Journey, &'a mut FrameBatch, Gateway<'a, I>) {
        self.capture.begin(tables, now);
        let gateway = Gateway {
            tables,
            state,
            io: &mut self.io,
            ports: &self.ports,
            steering: self.steering.config(),
            books: &mut self.books,
            limiter: &mut self.limiter,
            flow: &mut self.flow,
            events: &mut self.events,
            capture: &mut self.capture,
            now,
            worker: self.index,
        };
        (&mut self.journey, &mut self.frames, gateway)
    }

    /// Gives up what waits, so that every frame is back where it belongs before the worker ends.
    pub fn stop(&mut self, tables: Tables<'_>, state: &SharedState<'_>, now: Now) {
        let (journey, mut gateway) = self.parts(&tables, state, now);
        journey.abandon_held(&mut gateway);
        self.io.flush();
        state.close_books(self.index, &mut self.books);
    }
}

//! A replay: what would a gateway in this world do with a capture? The steering rule and one worker on the calling thread, the
//! capture's clock, no kernel, no root.
//!
//! The rule comes first, as in the kernel: a worker gets only what the rule would redirect to it. Nobody answers what the
//! kernel would get.
//!
//! The packets come from a file that anybody may have written. Next hops are answered at once with made-up MAC addresses
//! (`02:00:00`, the port's index, a number), so that packets leave instead of being held. What leaves through a tunnel is
//! sealed with random keys: sequence numbers begin at 1 here, and with the real key a nonce would come twice (RFC 4106 §3.1).

use crate::ports::{PortMap, ServedPort};
use crate::state::{SharedState, SharedStateError, spec};
use crate::steering::{self, HOST_PORTS};
use crate::time::Now;
use crate::worker::{HOUSEKEEPING_MS, Worker};
use rustix::rand::{GetRandomFlags, getrandom};
use std::fmt;
use std::io::{Read, Write};
use std::time::Duration;
use tombolo_packet_io::PortSlot;
use tombolo_packet_io::pcap::{FilePort, OutputFormat, Pcap, PcapError, PcapSummary};
use tombolo_tables::build::{BuildError, Sections, World};
use tombolo_tables::capture::{CaptureHeader, CaptureReader, CaptureStage, Captured, Direction};
use tombolo_tables::counters::Counters;
use tombolo_tables::events::{Event, EventReader};
use tombolo_tables::fate::{COUNTERS_PER_PORT, Fate};
use tombolo_tables::layout::{Address, NeighbourRecord, PortIndex, PortRecord, neighbour_state, sa_flag};
use tombolo_tables::region::{HugePages, Region, RegionError};
use tombolo_tables::state::{Limits, State, StateError, StatePart};
use tombolo_tables::view::{InvalidTables, Tables};
use tombolo_tunnel::sequence::Sequence;
use tombolo_wire::steer::{Action, SteerConfig, Verdict, steer};

/// Slots of the state region: the worker, and the one that belongs to a dataplane's main thread.
const SLOTS: u32 = 2;
/// Where the worker's clock begins, in milliseconds.
const START_MS: u64 = 1_000_000;
/// Idle rounds at most between two packets, so that sessions expire as they would have.
const IDLE_ROUNDS_MAX: u64 = 256;
/// Sequence numbers lent to an outbound SA.
const SEQUENCES: u64 = 1 << 40;

/// Why there was no replay, or not to its end.
#[derive(Debug)]
pub enum ReplayError {
    /// The world contradicts itself.
    World(BuildError),
    /// Its tables do not open.
    Tables(InvalidTables),
    /// There is no memory for the state region.
    Region(RegionError),
    /// The state region cannot be laid out.
    State(StateError),
    /// Its tables of flows cannot be laid out.
    Flows(SharedStateError),
    /// The kernel gave no random bytes for keys.
    Random(rustix::io::Errno),
    /// A file cannot be read or written, or is no capture.
    Capture(PcapError),
    /// The world has no such port, or no device for it.
    Port(PortIndex),
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplayError::World(error) => write!(f, "tables: {error}"),
            ReplayError::Tables(error) => write!(f, "tables: {error}"),
            ReplayError::Region(error) => write!(f, "state region: {error}"),
            ReplayError::State(error) => write!(f, "state region: {error}"),
            ReplayError::Flows(error) => write!(f, "{error}"),
            ReplayError::Random(error) => write!(f, "no random bytes from the kernel: {error}"),
            ReplayError::Capture(error) => write!(f, "{error}"),
            ReplayError::Port(port) => write!(f, "port {} cannot be served", port.0),
        }
    }
}

impl std::error::Error for ReplayError {}

/// Where a packet's journey ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// At the steering rule: the kernel gets it, or it is dropped before any worker sees it.
    Steered(Verdict),
    /// At the worker; a packet that was sent after its next hop was answered is sent.
    Worked(Fate),
}

/// What became of one packet.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Its time in the capture, since 1970.
    pub time: Duration,
    /// Its end.
    pub outcome: Outcome,
    /// All copies that were made on its journey, in order: the first is the packet as it arrived.
    pub seen: &'a [Captured],
}

/// What became of all packets.
#[derive(Clone, Debug)]
pub struct Report {
    /// Packets by file and port slot.
    pub packets: PcapSummary,
    /// The books of every port that the world has, in its order.
    pub ports: Vec<(PortIndex, [u64; COUNTERS_PER_PORT])>,
}

/// The file that takes what the gateway sends.
pub struct Output<W> {
    /// Where it is written.
    pub file: W,
    /// Its kind.
    pub format: OutputFormat,
}

/// Replays `input` on `port` of a gateway in `world`; what it sends, on whichever port, goes to `output`. `each` is told of
/// every packet. Changes the neighbours and outbound keys of `world`, which stays the caller's to wipe. Takes the place of a
/// process's dataplane: its state lives as long as the process.
///
/// # Errors
/// If the world cannot be built or served, or a file is damaged; what came before the damage was told.
pub fn run(
    world: &mut World,
    limits: Limits,
    port: PortIndex,
    input: impl Read,
    output: Output<impl Write + Send + 'static>,
    mut each: impl FnMut(Step<'_>),
) -> Result<Report, ReplayError> {
    let mut replay = Replay::new(world, limits, port, input, output)?;
    while let Some(time) = replay.worker.io().next_time() {
        replay.pass_time(time)?;
        if let Some((verdict, arrived)) = replay.steer() {
            each(Step {
                time,
                outcome: Outcome::Steered(verdict),
                seen: &[arrived],
            });
            continue;
        }
        replay.worker.io().admit(1);
        let seen = replay.step()?;
        if let Some(arrived) = seen.first().filter(|first| first.header.direction == Direction::In) {
            let fate = match arrived.header.fate {
                Some(Fate::Hold) if !replay.worker.holds() => Fate::Send,
                Some(fate) => fate,
                None => continue,
            };
            each(Step {
                time,
                outcome: Outcome::Worked(fate),
                seen: &seen,
            });
        }
    }
    replay.finish()
}

struct Replay<'w> {
    world: &'w mut World,
    steering: SteerConfig,
    port: PortIndex,
    sections: Sections,
    changed: bool,
    state: &'static SharedState<'static>,
    worker: Worker<Pcap>,
    captured: Option<CaptureReader<'static>>,
    events: Option<EventReader<'static>>,
    began: Option<Duration>,
    now: Now,
}

impl<'w> Replay<'w> {
    fn new(
        world: &'w mut World,
        limits: Limits,
        port: PortIndex,
        input: impl Read,
        output: Output<impl Write + Send + 'static>,
    ) -> Result<Self, ReplayError> {
        for place in 0..world.neighbours.len() {
            answer(world, place);
        }
        seal_with_other_keys(world).map_err(ReplayError::Random)?;
        world.capture = every_port(world);
        let sections = world.build().map_err(ReplayError::World)?;
        let served = served(world);
        let place = served.iter().position(|served| served.port == port);
        let place = place.ok_or(ReplayError::Port(port))?;
        let tables = Tables::from_sections(sections.all()).map_err(ReplayError::Tables)?;
        let steering = steering::config(tables, &served, HOST_PORTS);
        let ports = served.iter().map(|served| file_port(world, served)).collect();
        let mut io = Pcap::open(input, output.file, output.format, ports, place).map_err(ReplayError::Capture)?;
        io.admit(0);
        let spec = spec(Limits {
            workers: SLOTS,
            ..limits
        });
        let region = Region::create("tombolo-replay", spec.bytes(), HugePages::Never).map_err(ReplayError::Region)?;
        let region: &'static State = Box::leak(Box::new(State::create(region, &spec).map_err(ReplayError::State)?));
        lend_sequences(region);
        let state = SharedState::new(region, 1, None).map_err(ReplayError::Flows)?;
        let state: &'static SharedState<'static> = Box::leak(Box::new(state));
        Ok(Replay {
            worker: Worker::new(io, 0, PortMap::new(served), state),
            captured: CaptureReader::new(region, 0),
            events: EventReader::new(region, 0),
            world,
            steering,
            port,
            sections,
            changed: true,
            state,
            began: None,
            now: Now { milliseconds: START_MS },
        })
    }

    /// Sets the clock to `time`; on the way there the worker keeps house as it would have. Time never runs backwards.
    fn pass_time(&mut self, time: Duration) -> Result<(), ReplayError> {
        let began = *self.began.get_or_insert(time);
        let passed = u64::try_from(time.saturating_sub(began).as_millis()).unwrap_or(u64::MAX);
        let (from, to) = (self.now.milliseconds, START_MS.saturating_add(passed));
        let gap = to.saturating_sub(from);
        let rounds = (gap / HOUSEKEEPING_MS).min(IDLE_ROUNDS_MAX);
        for round in 1..=rounds {
            self.now.milliseconds = from + gap / rounds * round;
            self.turn()?;
        }
        self.now.milliseconds = from.max(to);
        Ok(())
    }

    /// Takes the next packet away from the worker if the steering rule does. Returns why, and the packet.
    fn steer(&mut self) -> Option<(Verdict, Captured)> {
        let ports = &self.world.ports;
        let (steering, port) = (&mut self.steering, self.port);
        let ifindex = ports[port.usize()].ifindex;
        let steered = |bytes: &[u8]| {
            take_every_mac(steering, ports, bytes);
            let verdict = steer(steering, ifindex, bytes);
            (verdict.action() != Action::Work).then(|| (verdict, arrived(port, bytes)))
        };
        let steered = self.worker.io().look_at_next(steered).flatten();
        if steered.is_some() {
            self.worker.io().pass_over();
        }
        steered
    }

    /// One packet's journey, with every next hop answered. Returns what was seen of it.
    fn step(&mut self) -> Result<Vec<Captured>, ReplayError> {
        loop {
            self.turn()?;
            if !self.resolve()? {
                break;
            }
        }
        let seen = self.captured.iter_mut();
        Ok(seen.flat_map(|reader| std::iter::from_fn(|| reader.pop())).collect())
    }

    fn turn(&mut self) -> Result<(), ReplayError> {
        let tables = Tables::from_sections(self.sections.all()).map_err(ReplayError::Tables)?;
        let changed = std::mem::take(&mut self.changed);
        self.worker.turn(tables, changed, self.state, self.now);
        Ok(())
    }

    /// Answers the neighbours that the worker asked for; whether there were any.
    fn resolve(&mut self) -> Result<bool, ReplayError> {
        let Some(events) = &mut self.events else {
            return Ok(false);
        };
        let mut asked = false;
        while let Some(event) = events.pop() {
            if let Event::ResolveNeighbour { port, address } = event {
                asked |= learn(self.world, port, address);
            }
        }
        if asked {
            self.sections = self.world.build().map_err(ReplayError::World)?;
            self.changed = true;
        }
        Ok(asked)
    }

    fn finish(mut self) -> Result<Report, ReplayError> {
        let tables = Tables::from_sections(self.sections.all()).map_err(ReplayError::Tables)?;
        self.worker.stop(tables, self.state, self.now);
        let counters = Counters::new(self.state.region());
        let books = |(index, _): (u16, &PortRecord)| (PortIndex(index), counters.sum(PortIndex(index)));
        let named = (0..).zip(&self.world.ports).filter(|(_, port)| port.name[0] != 0);
        Ok(Report {
            ports: named.map(books).collect(),
            packets: self.worker.into_io().finish().map_err(ReplayError::Capture)?,
        })
    }
}

/// A port whose own MAC address is not known takes every unicast frame, as it does in `parse`.
fn take_every_mac(steering: &mut SteerConfig, ports: &[PortRecord], frame: &[u8]) {
    let Some(destination) = frame.first_chunk() else { return };
    for port in &mut steering.ports {
        if ports[usize::from(port.index)].mac == [0; 8] {
            port.mac = *destination;
        }
    }
}

/// A packet that no worker sees, in the form of one that was captured.
fn arrived(port: PortIndex, bytes: &[u8]) -> Captured {
    let header = CaptureHeader {
        time_ns: 0,
        port,
        direction: Direction::In,
        stage: CaptureStage::Wire,
        fate: None,
        length: bytes.len() as u32,
    };
    Captured {
        header,
        bytes: bytes.to_vec(),
    }
}

fn file_port(world: &World, served: &ServedPort) -> FilePort {
    let name = &world.ports[served.port.usize()].name;
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    FilePort {
        name: String::from_utf8_lossy(&name[..end]).into_owned(),
        slot: served.slot,
        vlan: served.vlan,
    }
}

/// Ports by their devices.
fn served(world: &World) -> Vec<ServedPort> {
    let mut devices = Vec::new();
    let mut served = Vec::new();
    for (index, port) in (0..).zip(&world.ports).filter(|(_, port)| port.ifindex != 0) {
        let slot = devices.iter().position(|device| *device == port.ifindex);
        let slot = slot.unwrap_or_else(|| {
            devices.push(port.ifindex);
            devices.len() - 1
        });
        served.push(ServedPort {
            port: PortIndex(index),
            slot: PortSlot(slot as u8),
            vlan: port.vlan,
        });
    }
    served
}

fn every_port(world: &World) -> u64 {
    let named = world
        .ports
        .iter()
        .take(64)
        .enumerate()
        .filter(|(_, port)| port.name[0] != 0);
    named.map(|(index, _)| 1u64 << index).sum()
}

/// Makes up the MAC address of the neighbour at `place`.
fn answer(world: &mut World, place: usize) {
    let neighbour = &mut world.neighbours[place];
    if neighbour.state != neighbour_state::FREE {
        let number = (place as u16).to_be_bytes();
        neighbour.mac = [2, 0, 0, neighbour.port as u8, number[0], number[1]];
        neighbour.state = neighbour_state::REACHABLE;
    }
}

/// Adds a host that the worker asked for. False if it is known: asking again would change nothing.
fn learn(world: &mut World, port: PortIndex, address: Address) -> bool {
    let known = |record: &NeighbourRecord| {
        record.state != neighbour_state::FREE && (record.port, record.address) == (port.0, address)
    };
    if world.neighbours.iter().any(known) {
        return false;
    }
    world.neighbours.push(NeighbourRecord {
        address,
        mac: [0; 6],
        port: port.0,
        state: neighbour_state::UNRESOLVED,
        reserved: [0; 7],
    });
    answer(world, world.neighbours.len() - 1);
    true
}

fn seal_with_other_keys(world: &mut World) -> rustix::io::Result<()> {
    for sa in world.sas.iter_mut().filter(|sa| sa.flags & sa_flag::INBOUND == 0) {
        getrandom(&mut sa.key, GetRandomFlags::empty())?;
        getrandom(&mut sa.salt, GetRandomFlags::empty())?;
    }
    Ok(())
}

fn lend_sequences(state: &State) {
    for sa in 0..state.limits().sas as usize {
        if let Some(sequence) = Sequence::at(state.part(StatePart::Sequences), sa) {
            sequence.start(1, SEQUENCES);
        }
    }
}

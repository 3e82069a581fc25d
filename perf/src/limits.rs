//! The limit of a journey in memory: a bare loop that does what no forwarder can leave out, on memory of the same kind and size.
//!
//! Frames come from a queue and go into one; the first line of each is read and written (MAC addresses, time to live, checksum).
//! For very many routes, the two lines of a [lookup](crate::limit_routes). For sessions, a bucket, the entry that it names and the counters of the entry, at random as the packets are; for new flows four
//! buckets written at random, two entries and counters one behind the other. Lines are asked for as far ahead as the express lane
//! does. Nothing is checked, compared or decided.

use crate::clock::Cycles;
use crate::flows::{Flow, Frames};
use crate::gateway::ROUND;
use crate::journeys::{self, TRIES};
use crate::limit_routes::{self, Routes};
use crate::measure::{Spread, Waiting};
use crate::random::Random;
use std::sync::atomic::{AtomicU64, Ordering};
use tombolo_packet_io::memory::Memory;
use tombolo_packet_io::{BATCH, FRAME_HEAD, FrameBatch, PacketIo, PortSlot};
use tombolo_sim::gateway::SMALL;
use tombolo_tables::region::{HugePages, Region};
use tombolo_tables::region_prefetch::prefetch;
use tombolo_tables::state::{StatePart, StateSpec};
use tombolo_wire::plain::Stations;

/// As far as the express lane asks ahead for frames, and as many packets as it keeps between two steps of one.
const AHEAD: usize = 16;
const LAG: usize = 16;

/// Rounds of one repetition, at most: it varies little.
const ROUNDS_MAX: usize = 4;

const IN: PortSlot = PortSlot(0);
const OUT: PortSlot = PortSlot(1);
/// Words of a cache line, which are those of a bucket and of an entry, and those of the counters of one direction.
const LINE: usize = 8;
const COUNTERS: usize = 2;
/// Where in the region of its own.
const PART: StatePart = StatePart::Sessions4;
/// Buckets that a new flow is written to: its mapping's two and its session's two.
const INDEXES: usize = 4;

/// Routes of which all that a lookup reads stays in the second-level cache: no blocks behind the direct table.
const FEW_ROUTES: usize = 8192;

/// What the packets' state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// None.
    None,
    /// Very many routes.
    Routes,
    /// So many sessions that are there.
    Sessions(u32),
    /// Every packet makes a session and a mapping, in tables for so many.
    New(u32),
}

impl State {
    /// What so many IPv4 routes of one segment ask for: a few stay near.
    pub fn of_routes(routes: usize) -> Self {
        if routes > FEW_ROUTES {
            State::Routes
        } else {
            State::None
        }
    }
}

/// The loop and what it works on.
pub struct Limit {
    io: Memory,
    batch: FrameBatch,
    riders: [Rider; BATCH],
    stations: Stations,
    memories: Option<Memories>,
    routes: Option<Routes>,
    state: State,
    next: u32,
    frames: Frames,
    random: Random,
}

/// A packet between two steps.
#[derive(Clone, Copy, Default)]
struct Rider {
    hash: u64,
    entry: usize,
    bytes: u64,
}

/// Memory for buckets, entries and counters of sessions, as large as the gateway's.
struct Memories {
    state: tombolo_tables::state::State,
    buckets: usize,
    entries: usize,
}

/// A view of it.
struct Table<'a> {
    buckets: &'a [AtomicU64],
    entries: &'a [AtomicU64],
    counters: &'a [AtomicU64],
}

/// Cycles per packet of the loop: the median of some repetitions, each of some rounds.
pub fn cycles_per_packet(
    state: State,
    length: usize,
    (repetitions, rounds): (usize, usize),
    cycles: &Cycles,
) -> Option<f64> {
    let rounds = rounds.min(ROUNDS_MAX);
    let waiting = Waiting::of_this_thread();
    let mut limit = Limit::new(state, length);
    let mut samples = Vec::new();
    for _ in 0..repetitions {
        // One that finds the caches as others left them.
        limit.round(cycles);
        let costs = (0..rounds).map(|_| waiting.undisturbed(TRIES, || limit.round(cycles)).0);
        samples.push(costs.sum::<f64>() / rounds as f64);
    }
    Spread::of(samples).map(|spread| spread.value)
}

impl Limit {
    /// For packets of `length` bytes.
    pub fn new(state: State, length: usize) -> Self {
        let memories = match state {
            State::None | State::Routes => None,
            State::Sessions(flows) => Some(Memories::new(flows, 1)),
            State::New(flows) => Some(Memories::new(flows, 2)),
        };
        Limit {
            io: Memory::new(2, ROUND + 4 * BATCH),
            batch: FrameBatch::new(),
            riders: [Rider::default(); BATCH],
            stations: Stations::new([2; 6], [4; 6]),
            memories,
            routes: (state == State::Routes).then(Routes::new),
            state,
            next: 0,
            frames: journeys::frames(length),
            random: Random::new(5),
        }
    }

    /// One round, like a journey's: frames are offered, the loop is timed. Cycles per packet.
    pub fn round(&mut self, cycles: &Cycles) -> f64 {
        for _ in 0..ROUND {
            let flow = self.flow();
            let room = self.io.inject(IN, self.frames.of(&flow));
            assert!(room, "a round has its frames");
        }
        let start = cycles.now();
        self.run();
        let spent = cycles.now() - start;
        assert_eq!(self.io.discard_sent(OUT), ROUND, "all of them leave");
        spent as f64 / ROUND as f64
    }

    fn flow(&mut self) -> Flow {
        let number = match self.state {
            State::None => self.random.bits() as u32,
            State::Routes => (self.routes.as_ref()).map_or(0, |routes| routes.address(&mut self.random)),
            State::Sessions(flows) => self.random.below(flows as usize) as u32,
            State::New(_) => {
                self.next += 1;
                self.next
            }
        };
        Flow {
            source: number,
            destination: 1,
            source_port: 2,
            destination_port: 3,
        }
    }

    #[inline(never)]
    fn run(&mut self) {
        loop {
            let count = self.io.receive(IN, &mut self.batch);
            if count == 0 {
                return;
            }
            let (io, batch) = (&mut self.io, &mut self.batch);
            let table = self.memories.as_ref().map(Memories::table);
            if let Some(routes) = &self.routes {
                routed(io, batch, &self.stations, &mut self.riders, routes.view());
                io.flush();
                continue;
            }
            match (table, self.state) {
                (Some(table), State::New(_)) => new_flows(io, batch, &self.stations, &mut self.riders, &table),
                (Some(table), _) => sessions(io, batch, &self.stations, &mut self.riders, &table),
                (None, _) => frames(io, batch, &self.stations),
            }
            io.flush();
        }
    }
}

/// Frames alone.
fn frames(io: &mut Memory, batch: &mut FrameBatch, stations: &Stations) {
    (0..AHEAD).for_each(|place| ask(batch, place));
    for place in 0..batch.len() {
        ask(batch, place + AHEAD);
        edit(batch, place, stations);
    }
    io.transmit_batch(OUT, batch);
}

/// Frames, and for each the two lines of its address: the first names the second, which is read when all of the batch were asked for,
/// as the worker does it.
fn routed(
    io: &mut Memory,
    batch: &mut FrameBatch,
    stations: &Stations,
    riders: &mut [Rider; BATCH],
    routes: limit_routes::View<'_>,
) {
    let (count, mut said) = (batch.len(), 0);
    (0..AHEAD).for_each(|place| ask(batch, place));
    for (place, rider) in riders[..count].iter_mut().enumerate() {
        ask(batch, place + AHEAD);
        rider.entry = routes.find(read(batch, place).entry as u32);
    }
    for (place, rider) in riders[..count].iter().enumerate() {
        said ^= routes.read(rider.entry);
        edit(batch, place, stations);
    }
    // What was read decides nothing, but must have come.
    std::hint::black_box(said);
    io.transmit_batch(OUT, batch);
}

/// Frames, and a session each: read, its bucket, its entry and counters, each step some packets after the one before.
fn sessions(
    io: &mut Memory,
    batch: &mut FrameBatch,
    stations: &Stations,
    riders: &mut [Rider; BATCH],
    table: &Table<'_>,
) {
    let count = batch.len();
    (0..AHEAD).for_each(|place| ask(batch, place));
    for step in 0..count + 2 * LAG {
        if step < count {
            ask(batch, step + AHEAD);
            riders[step] = read(batch, step);
            prefetch(&table.bucket(riders[step].hash)[0]);
        }
        if let Some(rider) = step.checked_sub(LAG).and_then(|place| riders[..count].get_mut(place)) {
            rider.entry = table.named(rider.hash);
            prefetch(&table.entry(rider.entry)[0]);
            prefetch(&table.counters(rider.entry)[0]);
        }
        if let Some(place) = step.checked_sub(2 * LAG).filter(|place| *place < count) {
            let rider = riders[place];
            // What it says decides nothing, but must have come.
            let said = table.entry(rider.entry)[0].load(Ordering::Acquire);
            table.count(rider.entry, rider.bytes | said);
            edit(batch, place, stations);
        }
    }
    io.transmit_batch(OUT, batch);
}

/// Frames, and a session and mapping made for each: its four buckets asked for, then everything is written.
fn new_flows(
    io: &mut Memory,
    batch: &mut FrameBatch,
    stations: &Stations,
    riders: &mut [Rider; BATCH],
    table: &Table<'_>,
) {
    let count = batch.len();
    (0..AHEAD).for_each(|place| ask(batch, place));
    for step in 0..count + LAG {
        if step < count {
            ask(batch, step + AHEAD);
            riders[step] = read(batch, step);
            buckets_of(riders[step].hash).for_each(|hash| prefetch(&table.bucket(hash)[0]));
        }
        if let Some(place) = step.checked_sub(LAG).filter(|place| *place < count) {
            let rider = riders[place];
            for hash in buckets_of(rider.hash) {
                table.bucket(hash)[slot(hash)].store(hash, Ordering::Relaxed);
            }
            // The session's entry and the mapping's: the next ones.
            for entry in [2 * rider.entry, 2 * rider.entry + 1] {
                for word in table.entry(entry) {
                    word.store(rider.hash, Ordering::Relaxed);
                }
            }
            table.count(rider.entry, rider.bytes);
            edit(batch, place, stations);
        }
    }
    io.transmit_batch(OUT, batch);
}

fn buckets_of(hash: u64) -> impl Iterator<Item = u64> {
    (0..INDEXES as u64).map(move |index| spread(hash ^ (index << 32)))
}

#[inline(always)]
fn ask(batch: &FrameBatch, place: usize) {
    if let Some(frame) = batch.get(place) {
        prefetch(frame.head());
    }
}

/// What tells flows apart: the source address.
#[inline(always)]
fn read(batch: &FrameBatch, place: usize) -> Rider {
    let Some(frame) = batch.get(place) else {
        return Rider::default();
    };
    let head: &[u8; FRAME_HEAD] = frame.head();
    let number = u32::from_be_bytes([head[26], head[27], head[28], head[29]]);
    Rider {
        hash: spread(number.into()),
        entry: number as usize,
        bytes: frame.len() as u64,
    }
}

/// What every frame gets.
#[inline(always)]
fn edit(batch: &mut FrameBatch, place: usize, stations: &Stations) {
    let Some(frame) = batch.get_mut(place) else { return };
    let head = frame.head_mut();
    stations.write(head);
    // One less to live, and the checksum follows (RFC 1141).
    head[22] = head[22].wrapping_sub(1);
    let (checksum, carry) = u16::from_be_bytes([head[24], head[25]]).overflowing_add(0x0100);
    head[24..26].copy_from_slice(&checksum.wrapping_add(carry.into()).to_be_bytes());
}

#[inline(always)]
fn spread(word: u64) -> u64 {
    let product = u128::from(word ^ 0x9e37_79b9_7f4a_7c15) * u128::from(0xbf58_476d_1ce4_e5b9_u64 ^ word << 40);
    (product >> 64) as u64 ^ product as u64
}

impl Memories {
    /// For so many flows and an eighth more, `each` entries for one; every flow's bucket names an entry of its own.
    fn new(flows: u32, each: usize) -> Self {
        let entries = each * (flows as usize + flows as usize / 8);
        // Two keys for each entry, two slots for each key, seven slots in a bucket.
        let buckets = (4 * entries).div_ceil(7);
        let spec = StateSpec::new(SMALL).with(PART, (buckets + entries) * LINE + entries * COUNTERS);
        let region =
            Region::create("perf-limit", spec.bytes(), HugePages::WhereReserved).expect("memory for the limit");
        let memories = Memories {
            state: tombolo_tables::state::State::create(region, &spec).expect("a fresh region"),
            buckets,
            entries,
        };
        let table = memories.table();
        for flow in 0..flows {
            let hash = spread(flow.into());
            table.bucket(hash)[slot(hash)].store(flow.into(), Ordering::Relaxed);
        }
        memories
    }

    fn table(&self) -> Table<'_> {
        let (buckets, rest) = self.state.part(PART).split_at(self.buckets * LINE);
        let (entries, counters) = rest.split_at(self.entries * LINE);
        Table {
            buckets,
            entries,
            counters,
        }
    }
}

impl<'a> Table<'a> {
    #[inline(always)]
    fn bucket(&self, hash: u64) -> &'a [AtomicU64] {
        let bucket = (u128::from(hash) * (self.buckets.len() / LINE) as u128) >> 64;
        line(self.buckets, bucket as usize)
    }

    /// The entry that a flow's bucket names.
    #[inline(always)]
    fn named(&self, hash: u64) -> usize {
        self.bucket(hash)[slot(hash)].load(Ordering::Relaxed) as usize
    }

    #[inline(always)]
    fn entry(&self, entry: usize) -> &'a [AtomicU64] {
        line(self.entries, entry)
    }

    #[inline(always)]
    fn counters(&self, entry: usize) -> &'a [AtomicU64] {
        let first = (entry * COUNTERS).min(self.counters.len() - COUNTERS);
        &self.counters[first..first + COUNTERS]
    }

    #[inline(always)]
    fn count(&self, entry: usize, bytes: u64) {
        for (counter, more) in self.counters(entry).iter().zip([1, bytes]) {
            counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
        }
    }
}

#[inline(always)]
fn line(words: &[AtomicU64], number: usize) -> &[AtomicU64] {
    let first = (number * LINE).min(words.len() - LINE);
    &words[first..first + LINE]
}

#[inline(always)]
fn slot(hash: u64) -> usize {
    (hash % LINE as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_leaves_with_other_addresses_and_one_less_to_live() {
        let mut limit = Limit::new(State::None, 64);
        let flow = Flow::of_clients(7, [10, 1, 0, 2].into(), 250, [192, 0, 2, 1].into(), 53);
        let came = limit.frames.of(&flow).to_vec();
        assert!(limit.io.inject(IN, &came));
        limit.run();
        let left = limit.io.take_sent(OUT).expect("it leaves");
        let (_, headers) = tombolo_wire::parse_frame(&left).expect("its header's checksum is right");
        assert_eq!((left.len(), left[22]), (came.len(), came[22] - 1));
        assert_eq!(left[..12], [[2; 6], [4; 6]].concat());
        assert_eq!(headers.ip_len(), 64);
    }

    #[test]
    fn the_loop_reads_and_writes_what_it_says() {
        let cycles = Cycles::new();
        for state in [
            State::None,
            State::Routes,
            State::Sessions(1000),
            State::New(2 * ROUND as u32),
        ] {
            let mut limit = Limit::new(state, 64);
            for _ in 0..2 {
                assert!(limit.round(&cycles) > 0.0, "{state:?}");
            }
            let Some(table) = limit.memories.as_ref().map(Memories::table) else {
                continue;
            };
            let sum = |words: &[AtomicU64]| words.iter().map(|word| word.load(Ordering::Relaxed)).sum::<u64>();
            let packets: u64 = table
                .counters
                .chunks(COUNTERS)
                .map(|counters| sum(&counters[..1]))
                .sum();
            assert_eq!(packets, 2 * ROUND as u64, "{state:?}");
            let entries = |used: fn(u64) -> bool| {
                let counted = table.counters.chunks(COUNTERS);
                counted
                    .filter(|counters| used(counters[0].load(Ordering::Relaxed)))
                    .count()
            };
            match state {
                // Each of its own, but for the few that share a slot.
                State::Sessions(flows) => assert!(entries(|packets| packets > 0) > flows as usize * 8 / 10),
                State::New(_) => assert_eq!(entries(|packets| packets == 1), 2 * ROUND),
                State::None | State::Routes => {}
            }
        }
    }
}

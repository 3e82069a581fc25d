//! A compiler that follows changes answers every question as a full build does, and what it publishes is what workers read.

mod common;

use common::{address, full_world, neighbour, segment, tables, world};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use tombolo_tables::build::{BuildError, Change, Compiler, Route, Sections, World};
use tombolo_tables::dump;
use tombolo_tables::layout::*;
use tombolo_tables::publish::{Publisher, TablesRegion};
use tombolo_tables::reader::Reader;
use tombolo_tables::region::{HugePages, Region};
use tombolo_tables::state::{Limits, State, StateSpec};
use zerocopy::{FromZeros, IntoBytes};

/// A xorshift sequence: the same edits in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        ((self.next() >> 11) % end.max(1) as u64) as usize
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
}

/// What there shall be, and what follows it.
struct Model {
    world: World,
    routes: BTreeMap<(u16, bool, u128, u8), NextHop>,
    random: Random,
    segments: u16,
}

const TUNNELS: usize = 6;

impl Model {
    /// Segment 0 has `many` IPv4 and IPv6 routes, the others few.
    fn new(seed: u64, many: usize) -> Model {
        let mut world = world(3);
        world.neighbours = (1..=4).map(|host| neighbour(&format!("10.0.0.{host}"), 0)).collect();
        world.tunnels = vec![TunnelRecord::new_zeroed(); TUNNELS];
        let mut model = Model {
            world,
            routes: BTreeMap::new(),
            random: Random(seed),
            segments: 3,
        };
        for tunnel in 0..TUNNELS {
            model.world.tunnels[tunnel] = model.tunnel(true);
        }
        for _ in 0..many {
            let (v6, bits, length) = model.prefix(0);
            let hop = model.hop();
            model.routes.insert((0, v6, bits, length), hop);
        }
        for _ in 0..20 {
            model.random_route();
        }
        model.world.routes = model.routes();
        model
    }

    fn tunnel(&mut self, enabled: bool) -> TunnelRecord {
        TunnelRecord {
            local: address(["192.0.2.1", "192.0.2.2"][self.random.below(2)]),
            remote: address("198.51.100.1"),
            outbound: wildcard::NONE,
            flags: if enabled { tunnel_flag::ENABLED } else { 0 },
            encapsulation: encapsulation::ESP,
            ..TunnelRecord::new_zeroed()
        }
    }

    fn hop(&mut self) -> NextHop {
        match self.random.below(6) {
            0 => NextHop::Discard,
            1 => NextHop::Neighbour(NeighbourIndex(self.random.below(self.world.neighbours.len()) as u32)),
            2 => NextHop::Tunnel(TunnelIndex(self.random.below(TUNNELS) as u32)),
            3 => NextHop::Unreachable,
            4 if !self.world.bundles.is_empty() => NextHop::Bundle(BundleIndex(0)),
            _ => NextHop::Segment(SegmentIndex(self.random.below(3) as u16)),
        }
    }

    /// Prefixes of all lengths; many near others, so that they nest and share nodes.
    fn prefix(&mut self, segment: u16) -> (bool, u128, u8) {
        let v6 = self.random.chance(3);
        let wide = u128::from(self.random.next()) << 64 | u128::from(self.random.next());
        let mut bits = if v6 {
            wide >> 8 | 0xfd << 120
        } else {
            wide & 0x3fff_ffff << 96
        };
        let near = self.routes.range((segment, v6, bits, 0)..).next();
        if let Some((&(_, _, other, length), _)) = near.filter(|(key, _)| key.0 == segment && key.1 == v6)
            && !self.random.chance(4)
        {
            // As the other one, but for some bits around its end.
            bits =
                other ^ u128::from(self.random.next() & 0x1ff) << (128 - u32::from(length)).saturating_sub(4).min(118);
        }
        let length = match (v6, self.random.below(12)) {
            (_, 0) => self.random.below(17) as u8,
            (false, 1..=7) => 17 + self.random.below(8) as u8,
            (false, _) => 25 + self.random.below(8) as u8,
            (true, 1..=8) => 17 + self.random.below(48) as u8,
            (true, _) => 65 + self.random.below(64) as u8,
        };
        let bits = bits & u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
        (v6, if v6 { bits } else { bits & u128::from(u32::MAX) << 96 }, length)
    }

    /// A route that comes or goes; as a change.
    fn random_route(&mut self) -> Change {
        let segment = self.random.below(usize::from(self.segments)) as u16;
        let (v6, bits, length) = self.prefix(segment);
        let mut key = (segment, v6, bits, length);
        // Often one that is there.
        let there = self
            .routes
            .range(key..)
            .next()
            .map(|(key, _)| *key)
            .filter(|near| near.0 == segment);
        if let Some(there) = there.filter(|_| self.random.chance(2)) {
            key = there;
            if self.random.chance(2) {
                let hop = self.routes.remove(&key).unwrap();
                return Change::NoRoute(to_route(key, hop));
            }
        }
        let hop = self.hop();
        self.routes.insert(key, hop);
        Change::Route(to_route(key, hop))
    }

    /// A neighbour, an SA or a tunnel becomes another.
    fn random_record(&mut self) -> Change {
        match self.random.below(4) {
            0 => {
                let at = self.random.below(self.world.neighbours.len() + 1);
                let taken: Vec<Address> = self.world.neighbours.iter().map(|record| record.address).collect();
                let host = address(&format!("10.0.{}.{}", self.random.below(2), self.random.below(250)));
                let mut record = neighbour("10.0.0.1", 0);
                record.address = if taken.contains(&host) {
                    address(&format!("10.1.{}.{at}", at >> 8))
                } else {
                    host
                };
                record.mac[5] = self.random.below(256) as u8;
                self.world
                    .neighbours
                    .resize(self.world.neighbours.len().max(at + 1), record);
                self.world.neighbours[at] = record;
                Change::Neighbour(NeighbourIndex(at as u32), record)
            }
            1 => {
                let (at, enabled) = (self.random.below(TUNNELS), !self.random.chance(3));
                let record = self.tunnel(enabled);
                self.world.tunnels[at] = record;
                Change::Tunnel(TunnelIndex(at as u32), record)
            }
            _ => {
                let at = self.random.below(self.world.sas.len().min(200) + 3);
                let mut record = SaRecord::new_zeroed();
                if !self.random.chance(3) {
                    record.key = [self.random.below(256) as u8; 32];
                    (record.spi, record.tunnel) =
                        (300 + at as u32 * 7 + 2000 * self.random.below(2) as u32, at as u32 % 6);
                    (record.cipher, record.flags, record.replay_window) = (cipher::AES_256_GCM, sa_flag::INBOUND, 64);
                }
                let length = self.world.sas.len().max(at + 1);
                self.world.sas.resize(length, SaRecord::new_zeroed());
                self.world.sas[at] = record;
                Change::Sa(SaIndex(at as u32), record)
            }
        }
    }

    fn routes(&self) -> Vec<Route> {
        self.routes.iter().map(|(key, hop)| to_route(*key, *hop)).collect()
    }

    /// Segments come and go; those that go take their routes with them. No change says this: a whole world does.
    fn random_segments(&mut self) {
        self.segments = 3 + self.random.below(4) as u16;
        let segments = self.segments;
        self.routes.retain(|key, _| key.0 < segments);
        self.world.segments = (0..segments).map(|at| segment(&format!("segment-{at}"))).collect();
    }

    fn step(&mut self, compiler: &mut Compiler) -> usize {
        let edits = if self.random.chance(20) {
            60
        } else {
            1 + self.random.below(8)
        };
        let changes: Vec<Change> = (0..edits)
            .map(|_| {
                if self.random.chance(5) {
                    self.random_record()
                } else {
                    self.random_route()
                }
            })
            .collect();
        let whole = self.random.chance(4);
        if whole && self.random.chance(3) {
            self.random_segments();
        }
        if whole {
            self.world.names = format!("{:x}", self.random.next()).repeat(self.random.below(200));
            self.world.routes = self.routes();
            compiler.build(&self.world).unwrap();
        } else {
            compiler.change(&changes).unwrap();
        }
        edits
    }
}

fn to_route((segment, v6, bits, length): (u16, bool, u128, u8), next_hop: NextHop) -> Route {
    Route {
        segment: SegmentIndex(segment),
        prefix: if v6 {
            Ipv6Addr::from(bits).into()
        } else {
            Ipv4Addr::from((bits >> 96) as u32).into()
        },
        length,
        v6,
        next_hop,
    }
}

/// Asks both everything: all destinations, all records, all keys that ever were.
fn same(compiled: &Sections, world: &World) {
    let built = world.build().unwrap();
    let (one, other) = (tables(compiled), tables(&built));
    let (text, expected) = (dump::tables(&one), dump::tables(&other));
    if text != expected {
        let mut lines = text.lines().zip(expected.lines());
        let (line, expected) = lines
            .find(|(line, expected)| line != expected)
            .unwrap_or(("", "another length"));
        panic!("compiled: {line}\nexpected: {expected}");
    }
    assert_eq!(one.sas().as_bytes(), other.sas().as_bytes());
    assert_eq!(one.names(), other.names());
    for spi in 300..300 + 4000 {
        for local in ["192.0.2.1", "192.0.2.2"].map(address) {
            assert_eq!(
                one.find_inbound_sa(spi, local),
                other.find_inbound_sa(spi, local),
                "SPI {spi}"
            );
        }
    }
    for host in (0..=255).flat_map(|host| {
        [
            format!("10.0.0.{host}"),
            format!("10.0.1.{host}"),
            format!("10.1.0.{host}"),
        ]
    }) {
        let port = PortIndex(0);
        assert_eq!(
            one.find_neighbour(port, address(&host)),
            other.find_neighbour(port, address(&host)),
            "{host}"
        );
    }
}

/// Edits until so many were made; everything is compared after each step, lookups of batches after some.
fn follow(seed: u64, many: usize, edits: usize) {
    let mut model = Model::new(seed, many);
    let mut compiler = Compiler::default();
    compiler.build(&model.world).unwrap();
    let mut made = 0;
    while made < edits {
        made += model.step(&mut compiler);
        model.world.routes = model.routes();
        same(compiler.sections(), &model.world);
    }
    let built = model.world.build().unwrap();
    for segment in (0..model.segments).map(SegmentIndex) {
        let keys: Vec<u32> = (0..2000).map(|_| model.random.next() as u32 & 0x3fff_ffff).collect();
        let mut out = [vec![0; keys.len()], vec![1; keys.len()]];
        tables(compiler.sections()).routes4_batch(segment, &keys, &mut out[0]);
        tables(&built).routes4_batch(segment, &keys, &mut out[1]);
        assert_eq!(out[0], out[1]);
    }
}

#[test]
fn few_routes_that_change_are_found_as_if_built_anew() {
    for seed in 1..=4 {
        follow(seed * 0x9e37_79b9, 60, 1000);
    }
}

#[test]
fn segments_around_a_direct_table_are_found_as_if_built_anew() {
    follow(77, 1450, 500);
    follow(78, 3000, 300);
}

#[test]
fn segments_with_blocks_are_found_as_if_built_anew() {
    follow(5, 13_500, 120);
}

#[test]
fn a_block_whose_hops_are_used_up_is_found_all_the_same() {
    let mut model = Model::new(9, 0);
    // Every /24 of many /16s has a longer route, so that more nodes are wanted than there are places for.
    for number in 0..70_000u32 {
        let bits = u128::from(number << 8) << 96;
        model.routes.insert(
            (0, false, bits, 25),
            NextHop::Segment(SegmentIndex((number % 3) as u16)),
        );
    }
    model.world.routes = model.routes();
    let mut compiler = Compiler::default();
    compiler.build(&model.world).unwrap();
    for step in 0..6u32 {
        let mut changes = Vec::new();
        for number in [3 + step, 256 * 20 + step, 256 * 270 + step] {
            let key = (0, false, u128::from(number << 8 | 0x80) << 96, 26 + step as u8 % 2);
            model.routes.insert(key, NextHop::Discard);
            changes.push(Change::Route(to_route(key, NextHop::Discard)));
        }
        compiler.change(&changes).unwrap();
    }
    model.world.routes = model.routes();
    same(compiler.sections(), &model.world);
}

#[test]
fn a_refused_change_changes_nothing() {
    let mut compiler = Compiler::default();
    let world = full_world();
    let before = compiler.build(&world).unwrap().clone();
    let host = common::route(0, "10.9.9.9/32", NextHop::Discard);
    let good = Change::Route(host);
    let unknown = Change::Route(Route {
        next_hop: NextHop::Tunnel(TunnelIndex(99)),
        ..host
    });
    let nowhere = Change::Route(Route {
        segment: SegmentIndex(99),
        ..host
    });
    let broken = Change::NoRoute(Route { length: 8, ..host });
    let gone = Change::Neighbour(NeighbourIndex(0), NeighbourRecord::new_zeroed());
    let inbound = (0..)
        .zip(&world.sas)
        .find(|(_, sa)| sa.flags & sa_flag::INBOUND != 0 && sa.spi != 0)
        .unwrap();
    let twice = Change::Sa(SaIndex(world.sas.len() as u32), *inbound.1);
    let far = Change::Sa(SaIndex(1 << 27), *inbound.1);
    let sealing = world
        .tunnels
        .iter()
        .find(|tunnel| tunnel.outbound != wildcard::NONE)
        .unwrap()
        .outbound;
    let cut_off = Change::Sa(SaIndex(sealing), SaRecord::new_zeroed());
    let epoch = Change::Epoch(SegmentIndex(99), 1);
    for bad in [unknown, nowhere, broken, gone, twice, far, cut_off, epoch] {
        compiler.change(&[good, bad]).map(|_| ()).unwrap_err();
        assert!(*compiler.sections() == before);
    }
    let mut double = world.clone();
    double.routes.push(world.routes[0]);
    assert!(matches!(
        compiler.build(&double),
        Err(BuildError::DuplicateRoute { .. })
    ));
    let mut lost = world.clone();
    lost.tunnels.clear();
    lost.sas.clear();
    compiler.build(&lost).map(|_| ()).unwrap_err();
    assert!(*compiler.sections() == before);
    compiler.change(&[good]).unwrap();
    same(compiler.build(&world).unwrap(), &world);
}

#[test]
fn routes_that_were_changed_beside_the_world_are_gone_with_the_next() {
    let mut model = Model::new(21, 2000);
    let mut compiler = Compiler::default();
    compiler.build(&model.world).unwrap();
    let world = model.world.clone();
    for _ in 0..50 {
        let changes: Vec<Change> = (0..5).map(|_| model.random_route()).collect();
        compiler.change(&changes).unwrap();
    }
    same(compiler.build(&world).unwrap(), &world);
}

fn shared(bytes: usize) -> (TablesRegion, State) {
    let tables = TablesRegion::create(Region::create("tables", bytes, HugePages::Never).unwrap()).unwrap();
    let spec = StateSpec::new(Limits {
        workers: 2,
        ports: 1,
        ..Limits::default()
    });
    let state = State::create(Region::create("state", spec.bytes(), HugePages::Never).unwrap(), &spec).unwrap();
    (tables, state)
}

/// A batch that goes on while control publishes sees its generation whole to the end; the next one sees the newest, whatever way it
/// was written; memory stays bounded.
#[test]
fn what_is_published_by_changes_is_what_was_compiled() {
    let (region, state) = shared(16 << 20);
    let mut publisher = Publisher::open(&region, &state).unwrap();
    let mut slow = Reader::new(&region, &state, 0).unwrap();
    let mut quick = Reader::new(&region, &state, 1).unwrap();
    let mut model = Model::new(33, 3000);
    let mut compiler = Compiler::default();
    compiler.build(&model.world).unwrap();
    publisher.publish(compiler.sections()).unwrap();
    for step in 0..40 {
        let text = dump::tables(&tables(compiler.sections()));
        let (held, _) = slow.begin_batch();
        for _ in 0..1 + step % 6 {
            model.step(&mut compiler);
            publisher.publish(compiler.sections()).unwrap();
            assert!(publisher.is_current(compiler.sections()));
            if step % 5 == 0 {
                quick.park();
            } else {
                let (seen, _) = quick.begin_batch();
                assert!(
                    dump::tables(&seen) == dump::tables(&tables(compiler.sections())),
                    "step {step}"
                );
            }
        }
        assert!(dump::tables(&held) == text, "step {step}: written while a batch looked");
        if step % 3 == 0 {
            publisher.make_spares();
        }
    }
    slow.park();
    quick.park();
    publisher.reclaim();
    model.world.routes = model.routes();
    same(compiler.sections(), &model.world);
    let one: usize = SectionId::ALL.iter().map(|id| compiler.sections().get(*id).len()).sum();
    let usage = publisher.usage();
    let used = usage.total_bytes - usage.free_bytes;
    assert!(
        usage.generations == 1 && used < one + one / 4 + 8192,
        "{used} for {one} bytes: {usage:?}"
    );
}

//! What tables cost: time to build, bytes, and nanoseconds per lookup. `cargo run --release -p tombolo-tables --example lookup_cost`

use std::collections::HashSet;
use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Instant;
use tombolo_tables::build::{Route, Sections, World};
use tombolo_tables::layout::*;
use tombolo_tables::view::{PolicyQuery, Tables};
use tombolo_wire::Addresses;

/// A xorshift sequence: the same figures' inputs in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }
}

fn base() -> World {
    let segment = SegmentRecord {
        name: [0; 32],
        epoch: 1,
        flags: 0,
        mss_max: 0,
        root4: 0,
        root6: 0,
    };
    let port = PortRecord {
        name: [0; 16],
        device: [0; 16],
        ifindex: 2,
        tap_ifindex: 0,
        mac: [0; 8],
        mtu: 1500,
        segment: 0,
        flags: 0,
        vlan: 0,
        queues: 1,
        nat_port_first: 0,
        nat_port_last: 0,
        reserved: 0,
    };
    World {
        segments: vec![segment; 2],
        ports: vec![port; 64],
        ..World::default()
    }
}

fn build(what: &str, world: &World, section: SectionId) -> Sections {
    let start = Instant::now();
    let sections = world.build().expect("the example's world is right");
    let kib = sections.get(section).len() / 1024;
    println!(
        "{what}: built in {:.0} ms, {section:?} {kib} KiB",
        start.elapsed().as_secs_f64() * 1e3
    );
    sections
}

/// Nanoseconds per call over the inputs, the best of five passes.
fn time<T: Copy, R>(what: &str, inputs: &[T], look: impl Fn(T) -> R) {
    let pass = || {
        let start = Instant::now();
        for &input in inputs {
            black_box(look(black_box(input)));
        }
        start.elapsed().as_secs_f64() * 1e9 / inputs.len() as f64
    };
    let best = (0..5).map(|_| pass()).fold(f64::INFINITY, f64::min);
    println!("  {what}: {best:.1} ns");
}

/// Prefix lengths as an internet table has them, spread over all of unicast: worse than the real one.
fn routes4(count: usize, random: &mut Random) -> Vec<Route> {
    let lengths = [24, 24, 24, 24, 24, 24, 24, 23, 22, 22, 21, 20, 19, 18, 17, 16];
    let mut seen = HashSet::new();
    while seen.len() < count {
        let length = lengths[random.below(lengths.len())];
        seen.insert((
            (0x0100_0000 + random.below(0xdf00_0000) as u32) & (u32::MAX << (32 - length)),
            length as u8,
        ));
    }
    let mut routes: Vec<_> = seen.into_iter().collect();
    routes.sort_unstable();
    let hop = |at: usize| NextHop::OnLink(PortIndex((at % 64) as u16));
    let route = |(at, (bits, length)): (usize, (u32, u8))| Route {
        segment: SegmentIndex(0),
        prefix: Ipv4Addr::from(bits).into(),
        length,
        v6: false,
        next_hop: hop(at * 7 / 3),
    };
    routes.into_iter().enumerate().map(route).collect()
}

/// /29 to /48 inside 2000::/3, most as parts of a few thousand allocations.
fn routes6(count: usize, random: &mut Random) -> Vec<Route> {
    let allocations: Vec<u128> = (0..20_000)
        .map(|_| 1 << 125 | u128::from(random.next() >> 35) << 96)
        .collect();
    let mut seen = HashSet::new();
    while seen.len() < count {
        let length = [29, 32, 32, 36, 40, 44, 48, 48, 48, 48][random.below(10)];
        let bits = allocations[random.below(allocations.len())] | u128::from(random.next() >> 48) << 80;
        seen.insert((bits & (u128::MAX << (128 - length)), length as u8));
    }
    let mut routes: Vec<_> = seen.into_iter().collect();
    routes.sort_unstable();
    let route = |(at, (bits, length)): (usize, (u128, u8))| Route {
        segment: SegmentIndex(0),
        prefix: Ipv6Addr::from(bits).into(),
        length,
        v6: true,
        next_hop: NextHop::OnLink(PortIndex((at % 64) as u16)),
    };
    routes.into_iter().enumerate().map(route).collect()
}

/// An address inside one of the routes, left-aligned.
fn inside(routes: &[Route], random: &mut Random) -> u128 {
    let route = &routes[random.below(routes.len())];
    let bits = u128::from_be_bytes(route.prefix.0) << if route.v6 { 0 } else { 96 };
    let any = u128::from(random.next()) << 64 | u128::from(random.next());
    bits | any & (u128::MAX >> route.length)
}

fn measure_routes(random: &mut Random) {
    for count in [10, 1_000, 10_000, 1_000_000] {
        let world = World {
            routes: routes4(count, random),
            ..base()
        };
        let sections = build(&format!("{count} IPv4 routes"), &world, SectionId::Routes4);
        let tables = Tables::from_sections(sections.all()).expect("valid");
        let all: Vec<u32> = (0..1 << 20)
            .map(|_| (inside(&world.routes, random) >> 96) as u32)
            .collect();
        let few: Vec<u32> = (0..1 << 20).map(|at| all[at % 8192]).collect();
        time("route4, 8192 destinations", &few, |to| {
            tables.route4(SegmentIndex(0), to)
        });
        time("route4, a million destinations", &all, |to| {
            tables.route4(SegmentIndex(0), to)
        });
    }
    for count in [10, 1_000, 200_000] {
        let world = World {
            routes: routes6(count, random),
            ..base()
        };
        let sections = build(&format!("{count} IPv6 routes"), &world, SectionId::Routes6);
        let tables = Tables::from_sections(sections.all()).expect("valid");
        let all: Vec<[u8; 16]> = (0..1 << 20)
            .map(|_| inside(&world.routes, random).to_be_bytes())
            .collect();
        let few: Vec<[u8; 16]> = (0..1 << 20).map(|at| all[at % 8192]).collect();
        time("route6, 8192 destinations", &few, |to| {
            tables.route6(SegmentIndex(0), &to)
        });
        time("route6, a million destinations", &all, |to| {
            tables.route6(SegmentIndex(0), &to)
        });
    }
}

fn measure_policy(random: &mut Random) {
    for count in [10, 100, 1_000, 10_000] {
        let policy_rules: Vec<_> = (0..count).map(|_| policy_rule(random)).collect();
        let world = World { policy_rules, ..base() };
        let sections = build(&format!("{count} policy rules"), &world, SectionId::PolicyIndex);
        let tables = Tables::from_sections(sections.all()).expect("valid");
        let flow = |random: &mut Random| PolicyQuery {
            from: SegmentIndex(0),
            to: SegmentIndex(1),
            addresses: Addresses::V4 {
                source: host(random),
                destination: host(random),
            },
            protocol: if random.below(4) == 0 { 17 } else { 6 },
            source_port: random.next() as u16,
            destination_port: random.below(2000) as u16,
        };
        let flows: Vec<_> = (0..8192).map(|_| flow(random)).collect();
        time("policy", &flows, |flow| tables.policy(&flow));
    }
}

fn host(random: &mut Random) -> u32 {
    0x0a00_0000 | random.below(1 << 16) as u32
}

/// A few hosts to a few ports.
fn policy_rule(random: &mut Random) -> PolicyRuleRecord {
    let port = random.below(2000) as u16;
    PolicyRuleRecord {
        source: Ipv4Addr::from(host(random)).into(),
        destination: Ipv4Addr::from(host(random)).into(),
        from: 0,
        to: 1,
        source_port_first: 0,
        source_port_last: u16::MAX,
        destination_port_first: port,
        destination_port_last: port + random.below(100) as u16,
        source_length: 112 + random.below(13) as u8,
        destination_length: 112 + random.below(13) as u8,
        protocol: if random.below(4) == 0 { 17 } else { 6 },
        action: rule_action::ALLOW,
        family: 4,
        reserved: [0; 7],
    }
}

fn measure_neighbours(random: &mut Random) {
    for count in [100u32, 100_000] {
        let neighbour = |at: u32| NeighbourRecord {
            address: Ipv4Addr::from(0x0a00_0000 + at).into(),
            mac: [2; 6],
            port: (at % 64) as u16,
            state: neighbour_state::REACHABLE,
            reserved: [0; 7],
        };
        let world = World {
            neighbours: (0..count).map(neighbour).collect(),
            ..base()
        };
        let sections = build(&format!("{count} neighbours"), &world, SectionId::NeighbourIndex);
        let tables = Tables::from_sections(sections.all()).expect("valid");
        let asked: Vec<_> = (0..8192).map(|_| random.below(count as usize) as u32).collect();
        time("find_neighbour", &asked, |at| {
            tables.find_neighbour(PortIndex((at % 64) as u16), Ipv4Addr::from(0x0a00_0000 + at).into())
        });
    }
}

fn main() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    measure_routes(&mut random);
    measure_policy(&mut random);
    measure_neighbours(&mut random);
}

//! Lookups in a generation: routes of both families, policy, neighbours; each for a small and a large table.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::net::Ipv4Addr;
use tombolo_perf::random::Random;
use tombolo_perf::rules;
use tombolo_sim::worlds::{Side, TunnelKind, demo};
use tombolo_tables::build::World;
use tombolo_tables::layout::{NeighbourRecord, NextHop, PortIndex, SegmentIndex, neighbour_state};
use tombolo_tables::view::{PolicyQuery, PolicyVerdict, Tables};
use tombolo_wire::Addresses;

const SEGMENT: SegmentIndex = SegmentIndex(0);
const HOPS: [NextHop; 3] = [
    NextHop::OnLink(PortIndex(0)),
    NextHop::OnLink(PortIndex(1)),
    NextHop::OnLink(PortIndex(2)),
];
/// Lookups in one iteration.
const LOOKUPS: usize = 1 << 16;
/// Packets of a batch; what is timed by batches counts them as one element.
const BATCH: usize = 64;

/// Ports and segments, and nothing else.
fn bare() -> World {
    let demo = demo(Side::A, TunnelKind::PLAIN);
    World {
        ports: demo.ports,
        segments: demo.segments,
        ..World::default()
    }
}

/// Times `look` over `LOOKUPS` random inputs, in a world of its own.
fn bench<T: Copy, R>(
    criterion: &mut Criterion,
    what: &str,
    size: usize,
    world: &World,
    inputs: &[T],
    look: impl Fn(Tables<'_>, T) -> R,
) {
    let sections = world.build().expect("the bench's world builds");
    let tables = Tables::from_sections(sections.all()).expect("built sections are valid");
    let mut group = criterion.benchmark_group(what);
    group
        .throughput(Throughput::Elements(inputs.len() as u64))
        .sample_size(20);
    group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
        bencher.iter(|| {
            for &input in inputs {
                black_box(look(tables, black_box(input)));
            }
        });
    });
}

/// As [`bench`], `BATCH` inputs at a time.
fn bench_batches<T, R>(
    criterion: &mut Criterion,
    what: &str,
    size: usize,
    world: &World,
    inputs: &[T],
    look: impl Fn(Tables<'_>, &[T]) -> R,
) {
    let starts: Vec<usize> = (0..inputs.len() / BATCH).map(|batch| batch * BATCH).collect();
    bench(criterion, what, size, world, &starts, |tables, start| {
        look(tables, &inputs[start..start + BATCH])
    });
}

fn routes(criterion: &mut Criterion) {
    for count in [10, 1_000, 100_000, 1_000_000] {
        let mut random = Random::new(1);
        let routes = rules::routes4(count, SEGMENT, &rules::INTERNET4, &HOPS, &mut random);
        let inputs: Vec<u32> = (0..LOOKUPS)
            .map(|_| (rules::inside(&routes, &mut random) >> 96) as u32)
            .collect();
        let world = World { routes, ..bare() };
        bench_batches(
            criterion,
            "IPv4 route lookup in batches, by routes",
            count,
            &world,
            &inputs,
            |tables, to| {
                let mut out = [0; BATCH];
                tables.routes4_batch(SEGMENT, to, &mut out);
                out
            },
        );
        bench(
            criterion,
            "IPv4 route lookup, by routes",
            count,
            &world,
            &inputs,
            |tables, to| tables.route4(SEGMENT, to),
        );
    }
    for count in [10, 1_000, 200_000] {
        let mut random = Random::new(2);
        let routes = rules::routes6(count, SEGMENT, &HOPS, &mut random);
        let inputs: Vec<[u8; 16]> = (0..LOOKUPS)
            .map(|_| rules::inside(&routes, &mut random).to_be_bytes())
            .collect();
        let world = World { routes, ..bare() };
        bench_batches(
            criterion,
            "IPv6 route lookup in batches, by routes",
            count,
            &world,
            &inputs,
            |tables, to| {
                let mut out = [0; BATCH];
                tables.routes6_batch(SEGMENT, to, &mut out);
                out
            },
        );
        bench(
            criterion,
            "IPv6 route lookup, by routes",
            count,
            &world,
            &inputs,
            |tables, to| tables.route6(SEGMENT, &to),
        );
    }
}

fn policy(criterion: &mut Criterion) {
    for count in [10, 100, 1_000, 10_000, 100_000] {
        let mut random = Random::new(3);
        let policy_rules = rules::Diverse::new(count, &mut random).rules(count, (0, 1), &mut random);
        let query = |random: &mut Random| {
            let header = rules::header_inside(&policy_rules, random);
            PolicyQuery {
                from: SEGMENT,
                to: SegmentIndex(1),
                addresses: Addresses::V4 {
                    source: header.source,
                    destination: header.destination,
                },
                protocol: header.protocol,
                source_port: header.source_port,
                destination_port: header.destination_port,
            }
        };
        let inputs: Vec<_> = (0..LOOKUPS).map(|_| query(&mut random)).collect();
        let world = World { policy_rules, ..bare() };
        bench_batches(
            criterion,
            "policy lookup in batches, by diverse rules",
            count,
            &world,
            &inputs,
            |tables, to| {
                let mut out = [PolicyVerdict::Default; BATCH];
                tables.policy_batch(to, &mut out);
                out
            },
        );
        bench(
            criterion,
            "policy lookup, by diverse rules",
            count,
            &world,
            &inputs,
            |tables, query| tables.policy(&query),
        );
    }
}

fn neighbours(criterion: &mut Criterion) {
    for count in [100u32, 100_000] {
        let mut random = Random::new(4);
        let address = |number: u32| Ipv4Addr::from(0x0a00_0000 + number);
        let neighbour = |number: u32| NeighbourRecord {
            address: address(number).into(),
            mac: [2; 6],
            port: (number % 3) as u16,
            state: neighbour_state::REACHABLE,
            reserved: [0; 7],
        };
        let world = World {
            neighbours: (0..count).map(neighbour).collect(),
            ..bare()
        };
        let inputs: Vec<u32> = (0..LOOKUPS).map(|_| random.below(count as usize) as u32).collect();
        bench(
            criterion,
            "neighbour lookup, by neighbours",
            count as usize,
            &world,
            &inputs,
            |tables, number| tables.find_neighbour(PortIndex((number % 3) as u16), address(number).into()),
        );
    }
}

criterion_group!(benches, routes, policy, neighbours);
criterion_main!(benches);

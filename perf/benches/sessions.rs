//! What a lookup and an insertion cost: batches of 64 hits at several table sizes, insertions on one and two threads.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};
use tombolo_flow::{Inserted, Key, Key4, NO_MAPPING, NewSession, Sessions, WorkerLocal};

const SEED: [u64; 2] = [11, 13];

fn words(capacity: usize) -> Vec<AtomicU64> {
    (0..Sessions::<Key4>::words(capacity))
        .map(|_| AtomicU64::new(0))
        .collect()
}

fn flow(number: u32) -> NewSession<Key4> {
    let forward = Key4 {
        source: 0x0a00_0000 | (number >> 8),
        destination: 0xc633_6401,
        source_port: 1_024 + (number & 0xff) as u16,
        destination_port: 443,
        protocol: 17,
        segment: 1,
    };
    let reverse = Key4 {
        destination: 0xcb00_7100 | (number >> 15),
        destination_port: 1_024 + (number & 0x7fff) as u16,
        segment: 2,
        ..forward.swapped()
    };
    NewSession {
        forward,
        reverse,
        next_hop: [1, 2],
        epochs: [1, 1],
        mapping: NO_MAPPING,
        rule: 0,
        flags: 0,
        tcp_flags: 0,
        adopt: false,
    }
}

fn scattered(turn: u32, count: u32) -> u32 {
    let mixed = (u64::from(turn).wrapping_mul(0x9e37_79b9_7f4a_7c15)) >> 32;
    ((mixed * u64::from(count)) >> 32) as u32
}

fn lookups(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("session lookup, batch of 64 hits");
    group
        .throughput(Throughput::Elements(64))
        .sample_size(20)
        .measurement_time(Duration::from_secs(2));
    for count in [1u32 << 10, 1 << 16, 1 << 20, 2_000_000] {
        let part = words(count as usize);
        let sessions = Sessions::<Key4>::format(&part, count as usize, SEED).expect("sized by words()");
        let mut local = WorkerLocal::new(0, 1, 1);
        for number in 0..count {
            assert!(matches!(
                sessions.insert(&mut local, &flow(number), 0),
                Ok(Inserted::New(_))
            ));
        }
        let keys: Vec<_> = (0..1 << 20)
            .map(|turn| Some(flow(scattered(turn, count)).forward))
            .collect();
        let mut batches = keys.chunks(64).cycle();
        let mut hits = [None; 64];
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| {
                let batch = batches.next().unwrap_or_default();
                sessions.lookup_batch(batch, &mut hits);
                black_box(&hits);
            });
        });
        assert!(hits.iter().all(Option::is_some));
    }
}

fn insertions(criterion: &mut Criterion) {
    const COUNT: u32 = 1 << 17;
    let mut group = criterion.benchmark_group("session insertion");
    group.throughput(Throughput::Elements(u64::from(COUNT))).sample_size(10);
    let part = words(COUNT as usize);
    for threads in [1u32, 2] {
        group.bench_function(BenchmarkId::new("threads", threads), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| insert_all(&part, COUNT, threads)).sum());
        });
    }
}

/// Inserts `count` sessions, shared by the threads; how long the slowest took.
fn insert_all(part: &[AtomicU64], count: u32, threads: u32) -> Duration {
    let sessions = Sessions::<Key4>::format(part, count as usize, SEED).expect("sized by words()");
    let barrier = Barrier::new(threads as usize);
    let run = |worker: u32| {
        let mut local = WorkerLocal::new(worker as usize, threads as usize, 1);
        barrier.wait();
        let start = Instant::now();
        for number in (worker..count).step_by(threads as usize) {
            assert!(sessions.insert(&mut local, &flow(number), 0).is_ok());
        }
        start.elapsed()
    };
    std::thread::scope(|scope| {
        let run = &run;
        let others: Vec<_> = (1..threads).map(|worker| scope.spawn(move || run(worker))).collect();
        let own = run(0);
        others
            .into_iter()
            .filter_map(|other| other.join().ok())
            .fold(own, Duration::max)
    })
}

criterion_group!(benches, lookups, insertions);
criterion_main!(benches);

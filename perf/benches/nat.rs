//! What a NAT binding costs: the first packet of an inside endpoint, and a further session of a bound one.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};
use tombolo_flow::{Inside, Mappings, PoolView, Ports, WorkerLocal};

const SEED: [u64; 2] = [17, 19];
/// Inside endpoints of one measurement.
const COUNT: u32 = 1 << 16;
/// Inside hosts.
const HOSTS: u32 = 1 << 10;

const POOL: PoolView<u32> = PoolView {
    first: 0xcb00_7100,
    count: 16,
    port_first: 1024,
    port_last: u16::MAX,
    sessions_per_host_max: 0,
    row: 0,
};

struct Memory {
    mappings: Vec<AtomicU64>,
    ports: Vec<AtomicU64>,
}

impl Memory {
    fn new() -> Self {
        let words = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        Memory {
            mappings: words(Mappings::<u32>::words((COUNT + HOSTS) as usize)),
            ports: words(Ports::words(POOL.count as usize)),
        }
    }

    /// Empty tables.
    fn tables(&self) -> (Mappings<'_, u32>, Ports<'_>) {
        for word in &self.ports {
            word.store(0, std::sync::atomic::Ordering::Relaxed);
        }
        let mappings = Mappings::format(&self.mappings, (COUNT + HOSTS) as usize, SEED).expect("sized by words()");
        (mappings, Ports::open(&self.ports))
    }
}

fn inside(number: u32) -> Inside<u32> {
    Inside {
        segment: 0,
        protocol: 17,
        address: 0x0a00_0000 | (number % HOSTS),
        port: 1024 + (number / HOSTS) as u16,
        pool: 0,
    }
}

/// Binds every endpoint once; how long that took.
fn bind_all(mappings: &Mappings<'_, u32>, ports: &Ports<'_>, local: &mut WorkerLocal) -> Duration {
    let start = Instant::now();
    for number in 0..COUNT {
        assert!(mappings.bind(ports, local, &inside(number), &POOL, 0).is_ok());
    }
    start.elapsed()
}

fn bindings(criterion: &mut Criterion) {
    let memory = Memory::new();
    let mut group = criterion.benchmark_group("nat binding");
    group.throughput(Throughput::Elements(COUNT.into())).sample_size(10);
    group.bench_function("new", |bencher| {
        bencher.iter_custom(|rounds| {
            let once = |_| {
                let (mappings, ports) = memory.tables();
                bind_all(&mappings, &ports, &mut WorkerLocal::new(0, 1, 1))
            };
            (0..rounds).map(once).sum()
        });
    });
    group.bench_function("again", |bencher| {
        let (mappings, ports) = memory.tables();
        let mut local = WorkerLocal::new(0, 1, 1);
        bind_all(&mappings, &ports, &mut local);
        bencher.iter_custom(|rounds| (0..rounds).map(|_| bind_all(&mappings, &ports, &mut local)).sum());
    });
}

criterion_group!(benches, bindings);
criterion_main!(benches);

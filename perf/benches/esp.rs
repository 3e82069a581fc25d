//! Nanoseconds per packet of seal and open, by provider, cipher and inner length; of the outer headers; of the replay window.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tombolo_tunnel::esp::{Label, open, seal, seal_from, sealed_length};
use tombolo_tunnel::outer::{DontFragment, Encapsulation, Inner, OuterTemplate, write_outer};
use tombolo_tunnel::replay::{WORDS_PER_WINDOW, Window};
use tombolo_tunnel::{Cipher, Provider, SaKeys};
use tombolo_wire::Addresses;
use tombolo_wire::ecn::Dscp;

const LENGTHS: [usize; 4] = [64, 576, 1400, 8900];
const FRAME: usize = 10_240;
const SPI: u32 = 0x1000;
/// Ethernet and IPv4 in front of ESP; the inner packet lies behind Ethernet.
const ESP_AT: usize = 34;
const INNER_AT: usize = 14;

/// Every cipher by every provider of this machine.
fn suites() -> Vec<(Provider, Cipher)> {
    if let Some(reason) = Provider::lacking() {
        eprintln!("no rows of ipsec-mb: {reason}");
    }
    Provider::available()
        .flat_map(|provider| Cipher::ALL.map(|cipher| (provider, cipher)))
        .collect()
}

fn keys((provider, cipher): (Provider, Cipher)) -> SaKeys {
    SaKeys::with(provider, cipher, &[7; 32][..cipher.key_bytes()], [1; 4]).expect("the cipher's key length")
}

fn id((provider, cipher): (Provider, Cipher), length: usize) -> BenchmarkId {
    BenchmarkId::new(format!("{provider} {cipher:?}"), length)
}

/// From frame to frame, as the worker seals.
fn bench_seal(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("seal");
    for suite in suites() {
        for length in LENGTHS {
            let keys = keys(suite);
            let mut source = vec![0x45; FRAME];
            let mut out = vec![0; FRAME];
            let mut sequence = 0;
            group.throughput(Throughput::Bytes(length as u64));
            group.bench_function(id(suite, length), |bencher| {
                bencher.iter(|| {
                    sequence += 1;
                    let label = Label {
                        spi: SPI,
                        sequence,
                        esn: true,
                        next_header: 4,
                    };
                    let source = black_box(&mut source[INNER_AT..]);
                    seal_from(&keys, label, source, length, &mut out[ESP_AT..])
                });
            });
        }
    }
}

fn bench_open(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("open");
    for suite in suites() {
        for length in LENGTHS {
            let keys = keys(suite);
            let mut sealed = vec![0; ESP_AT + sealed_length(length)];
            seal(&keys, SPI, 9, true, 4, &vec![0x45; length], &mut sealed[ESP_AT..]).expect("it fits");
            let end = sealed.len();
            group.throughput(Throughput::Bytes(length as u64));
            group.bench_function(id(suite, length), |bencher| {
                bencher.iter_batched_ref(
                    || sealed.clone(),
                    |frame| open(&keys, frame, ESP_AT..end, INNER_AT, 0, true).expect("authentic"),
                    BatchSize::SmallInput,
                );
            });
        }
    }
}

fn bench_outer(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("outer headers");
    let udp = Encapsulation::Udp {
        source_port: 4500,
        destination_port: 4500,
    };
    for (name, encapsulation) in [("IPv4", Encapsulation::Ip), ("IPv4 and UDP", udp)] {
        let template = OuterTemplate {
            addresses: Addresses::V4 {
                source: 0xc000_0201,
                destination: 0xc633_6401,
            },
            encapsulation,
            dscp: Dscp::Copy,
            dont_fragment: DontFragment::Set,
            ttl: 64,
        };
        let inner = Inner {
            tos: 0,
            dont_fragment: true,
        };
        let mut frame = vec![0; 2048];
        group.bench_function(name, |bencher| {
            bencher.iter(|| write_outer(black_box(&mut frame), INNER_AT, black_box(&template), 1436, inner, 0));
        });
    }
}

fn bench_replay(criterion: &mut Criterion) {
    let words: Vec<_> = (0..WORDS_PER_WINDOW).map(|_| Default::default()).collect();
    let window = Window::new(&words, 4096).expect("it fits");
    let mut sequence = 0;
    criterion.bench_function("replay check and accept", |bencher| {
        bencher.iter(|| {
            sequence += 1;
            (window.check(black_box(sequence)), window.accept(sequence))
        });
    });
}

criterion_group!(benches, bench_seal, bench_open, bench_outer, bench_replay);
criterion_main!(benches);

//! Nanoseconds per packet of seal and open, by cipher and inner length, and of the replay window.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tombolo_tunnel::esp::{open, seal, sealed_length};
use tombolo_tunnel::replay::{WORDS_PER_WINDOW, Window};
use tombolo_tunnel::{Cipher, SaKeys};

const LENGTHS: [usize; 3] = [64, 576, 1400];
const SPI: u32 = 0x1000;
/// Ethernet and IPv4 in front of ESP; the inner packet lands behind Ethernet.
const ESP_AT: usize = 34;
const INNER_AT: usize = 14;

fn keys(cipher: Cipher) -> SaKeys {
    SaKeys::new(cipher, &[7; 32][..cipher.key_bytes()], [1; 4]).expect("the cipher's key length")
}

fn bench_seal(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("seal");
    for cipher in Cipher::ALL {
        for length in LENGTHS {
            let keys = keys(cipher);
            let inner = vec![0x45; length];
            let mut out = vec![0; 2048];
            let mut sequence = 0;
            group.throughput(Throughput::Bytes(length as u64));
            group.bench_function(BenchmarkId::new(format!("{cipher:?}"), length), |bencher| {
                bencher.iter(|| {
                    sequence += 1;
                    seal(&keys, SPI, sequence, true, 4, black_box(&inner), &mut out[ESP_AT..])
                });
            });
        }
    }
}

fn bench_open(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("open");
    for cipher in Cipher::ALL {
        for length in LENGTHS {
            let keys = keys(cipher);
            let mut sealed = vec![0; ESP_AT + sealed_length(length)];
            seal(&keys, SPI, 9, true, 4, &vec![0x45; length], &mut sealed[ESP_AT..]).expect("it fits");
            let end = sealed.len();
            group.throughput(Throughput::Bytes(length as u64));
            group.bench_function(BenchmarkId::new(format!("{cipher:?}"), length), |bencher| {
                bencher.iter_batched_ref(
                    || sealed.clone(),
                    |frame| open(&keys, frame, ESP_AT..end, INNER_AT, 0, true).expect("authentic"),
                    BatchSize::SmallInput,
                );
            });
        }
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

criterion_group!(benches, bench_seal, bench_open, bench_replay);
criterion_main!(benches);

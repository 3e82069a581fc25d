//! A checksum computed over all bytes, and one corrected for what changed (RFC 1624).

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tombolo_perf::flows::{Flow, Frames};
use tombolo_perf::scenarios::LENGTHS;
use tombolo_wire::checksum::internet;
use tombolo_wire::{Addresses, Rewrite, edit, parse_frame};

fn full(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("checksum, all bytes");
    for length in LENGTHS {
        let packet = vec![0xa5; length];
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(BenchmarkId::from_parameter(length), |bencher| {
            bencher.iter(|| internet(black_box(&packet)));
        });
    }
}

/// Both addresses and both ports of a UDP datagram, IPv4 header and UDP checksum: what NAT changes at most.
fn incremental(criterion: &mut Criterion) {
    let flow = Flow {
        source: 0x0a00_0002,
        destination: 0x0a00_0003,
        source_port: 3,
        destination_port: 4,
    };
    let mut frame = Frames::new([2; 6], [4; 6], 1400).of(&flow).to_vec();
    let (_, headers) = parse_frame(&frame).expect("a right frame");
    let to = Rewrite {
        addresses: Addresses::V4 {
            source: 0x0a00_0001,
            destination: 0xc633_6401,
        },
        source_port: 5,
        destination_port: 6,
    };
    criterion.bench_function("checksum, corrected: rewrite of addresses and ports", |bencher| {
        bencher.iter(|| edit::rewrite(black_box(&mut frame), black_box(&headers), black_box(&to)));
    });
    criterion.bench_function("checksum, corrected: TTL", |bencher| {
        let pristine = frame.clone();
        bencher.iter(|| {
            // Nine bytes back to what they were: a TTL can only go down.
            frame[14..26].copy_from_slice(&pristine[14..26]);
            edit::decrement_ttl(black_box(&mut frame), black_box(&headers))
        });
    });
}

criterion_group!(benches, full, incremental);
criterion_main!(benches);

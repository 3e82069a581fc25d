//! `packet-load`: numbered UDP packets out of one device over AF_XDP, and a sink behind another that knows which came, and when.
//!
//! One thread does both, each in its own network namespace, so that neither waits for a core that the other has. It stays and takes
//! orders on standard input, a line each, so that a search for a rate pays for sockets once: `RATE MILLISECONDS STREAM` is answered
//! with a line of JSON when what was sent has come or will not. It ends with standard input.

#![forbid(unsafe_code)]

use anyhow::{Context, Result};
use clap::Parser;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::Serialize;
use std::fs::File;
use std::io::{Write, stdin};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tombolo_packet_io::af_xdp::{AfXdp, AfXdpConfig, AfXdpPort};
use tombolo_packet_io::{BATCH, FrameBatch, PacketIo, PortSlot};
use tombolo_perf::device::{Device, Mac, steer};
use tombolo_perf::flows::{Flow, Frames};
use tombolo_perf::pin::pin;

const PORT: PortSlot = PortSlot(0);
/// Largest number of packets in a stream: the sink's memory is a bit each.
const COUNT_MAX: u64 = 1 << 27;
const MILLISECONDS_MAX: u64 = 60_000;
/// Bytes before the payload: Ethernet, IPv4, UDP.
const HEADERS: usize = 42;
/// Mark, stream, number, time: what a payload begins with.
const MARKS: usize = 24;
const MARK: [u8; 4] = *b"tmbl";
/// A sender that is further behind than this gives up what it missed: a burst would measure queues.
const BEHIND_MAX: u64 = 4 * BATCH as u64;
const SOURCE_RING: u32 = 2048;
/// What comes while the program is kept from its core waits here.
const SINK_RING: u32 = 8192;
/// Batches taken from the sink's ring between two of the sender's.
const TAKEN_MAX: usize = 4;
/// Silence after which nothing more is expected: longer than any queue on the way. And how long that is waited for.
const SILENCE: Duration = Duration::from_millis(50);
const SILENCE_WAIT: Duration = Duration::from_secs(1);
/// Buckets of latency per doubling.
const PER_DOUBLING: f64 = 16.0;

/// Sends numbered packets through whatever lies between two devices, and receives them.
#[derive(Parser)]
struct Arguments {
    /// Device where they arrive, in this namespace.
    sink: String,
    /// Namespace that they are sent from.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Device there.
    #[arg(long)]
    device: String,
    /// Its MAC address.
    #[arg(long)]
    mac: Mac,
    /// MAC address of the next station.
    #[arg(long)]
    next: Mac,
    #[arg(long)]
    source: Ipv4Addr,
    #[arg(long)]
    destination: Ipv4Addr,
    /// Flows (source ports) that take turns.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    flows: u32,
    /// Bytes of the IP packet.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(64..=3400))]
    length: u16,
    #[arg(long, default_value_t = 1)]
    core: usize,
}

/// What became of a stream.
#[derive(Default, Serialize)]
struct Outcome {
    sent: u64,
    /// Given up since the sender was late, or its ring was full.
    skipped: u64,
    /// From the first to the last of the sender's batches.
    seconds: f64,
    unique: u64,
    duplicates: u64,
    /// Reached the device and found no room in the sink's own socket.
    sink_drops: u64,
    /// Latency in microseconds.
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    pin(Some(arguments.core));
    let device = Device::find(&arguments.sink)?;
    let sink = open(&device.name, SINK_RING)?;
    let steering = steer(std::slice::from_ref(&device), &sink).context("the steering program")?;
    let here = File::open("/proc/thread-self/ns/net")?;
    enter(&arguments.from)?;
    let source = open(&arguments.device, SOURCE_RING)?;
    move_into_link_name_space(here.as_fd(), Some(LinkNameSpaceType::Network))?;
    let mut load = Load {
        source,
        sink,
        templates: templates(&arguments),
        batch: FrameBatch::new(),
    };
    println!("ready");
    for order in stdin().lines() {
        let words = order?
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<Vec<u64>, _>>()?;
        let [rate, milliseconds, stream] = words[..] else {
            anyhow::bail!("an order is RATE MILLISECONDS STREAM");
        };
        let length = Duration::from_millis(milliseconds.min(MILLISECONDS_MAX));
        let mut out = std::io::stdout().lock();
        serde_json::to_writer(&mut out, &load.stream(rate, length, stream as u32))?;
        writeln!(out)?;
        out.flush()?;
    }
    drop(steering);
    Ok(())
}

/// From here on this thread is in another network namespace.
fn enter(namespace: &Path) -> Result<()> {
    let file = File::open(namespace).with_context(|| namespace.display().to_string())?;
    Ok(move_into_link_name_space(
        file.as_fd(),
        Some(LinkNameSpaceType::Network),
    )?)
}

/// With rings of `slots` slots.
fn open(device: &str, slots: u32) -> Result<AfXdp> {
    let ports = vec![AfXdpPort {
        device: device.to_owned(),
        queue: 0,
        tap: None,
        read_tap: false,
    }];
    Ok(AfXdp::open(AfXdpConfig {
        ports,
        frames: 4 * slots,
        ring_size: slots,
        ..AfXdpConfig::default()
    })?)
}

/// A frame of each flow.
fn templates(arguments: &Arguments) -> Vec<Vec<u8>> {
    let mut writer = Frames::new(arguments.mac.0, arguments.next.0, arguments.length.into());
    let template = |flow| {
        let flow = Flow {
            source: arguments.source.into(),
            destination: arguments.destination.into(),
            source_port: 1024 + flow as u16,
            destination_port: 9,
        };
        let mut frame = writer.of(&flow).to_vec();
        // No UDP checksum: the payload differs from packet to packet.
        frame[HEADERS - 2..HEADERS].fill(0);
        frame
    };
    (0..arguments.flows).map(template).collect()
}

fn now_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Both ends.
struct Load {
    source: AfXdp,
    sink: AfXdp,
    templates: Vec<Vec<u8>>,
    batch: FrameBatch,
}

impl Load {
    /// One stream, until all of it has come or will not.
    fn stream(&mut self, rate: u64, length: Duration, stream: u32) -> Outcome {
        let drops_before = self.sink_drops();
        let mut sink = Sink::new(stream);
        let (mut sent, mut skipped) = (0u64, 0u64);
        let begin = Instant::now();
        while begin.elapsed() < length && sent < COUNT_MAX {
            let due = (u128::from(rate) * begin.elapsed().as_nanos() / 1_000_000_000) as u64;
            let behind = due.saturating_sub(sent + skipped);
            skipped += behind.saturating_sub(BEHIND_MAX);
            for _ in 0..behind.min(BATCH as u64) {
                if self.send(stream, sent) {
                    sent += 1;
                } else {
                    skipped += 1;
                }
            }
            self.source.flush();
            if self.take(&mut sink) == 0 && behind == 0 {
                // A gateway that shares this core need not wait for the end of a time slice.
                std::thread::yield_now();
            }
        }
        let seconds = begin.elapsed().as_secs_f64();
        self.wait_for_silence(&mut sink);
        Outcome {
            sent,
            skipped,
            seconds,
            sink_drops: self.sink_drops() - drops_before,
            ..sink.outcome()
        }
    }

    /// Whether there was room for another packet.
    fn send(&mut self, stream: u32, number: u64) -> bool {
        let Some(mut frame) = self.source.allocate() else {
            return false;
        };
        frame.fill(&self.templates[(number % self.templates.len() as u64) as usize]);
        let payload = &mut frame.packet_mut()[HEADERS..HEADERS + MARKS];
        payload[..4].copy_from_slice(&MARK);
        payload[4..8].copy_from_slice(&stream.to_be_bytes());
        payload[8..16].copy_from_slice(&number.to_be_bytes());
        payload[16..].copy_from_slice(&now_ns().to_be_bytes());
        match self.source.transmit(PORT, frame) {
            Ok(()) => true,
            Err(frame) => {
                self.source.release(frame);
                false
            }
        }
    }

    /// Takes what has come; how many packets.
    fn take(&mut self, sink: &mut Sink) -> usize {
        let mut taken = 0;
        for _ in 0..TAKEN_MAX {
            let count = self.sink.receive(PORT, &mut self.batch);
            if count == 0 {
                break;
            }
            let now = now_ns();
            for frame in self.batch.drain() {
                sink.arrival(frame.packet(), now);
                self.sink.release(frame);
            }
            taken += count;
        }
        if taken > 0 {
            self.sink.flush();
        }
        taken
    }

    fn wait_for_silence(&mut self, sink: &mut Sink) {
        let begin = Instant::now();
        let mut last = begin;
        while last.elapsed() < SILENCE && begin.elapsed() < SILENCE_WAIT {
            self.source.flush();
            if self.take(sink) > 0 {
                last = Instant::now();
            } else {
                std::thread::yield_now();
            }
        }
    }

    fn sink_drops(&self) -> u64 {
        let drops = self.sink.kernel_drops(PORT);
        drops.receive_ring_full + drops.fill_ring_empty + drops.other
    }
}

/// What came of one stream.
struct Sink {
    stream: u32,
    seen: Vec<u64>,
    outcome: Outcome,
    /// Arrivals by latency: bucket *b* begins at 2^(b / 16) nanoseconds.
    latency: Vec<u64>,
}

impl Sink {
    fn new(stream: u32) -> Self {
        Sink {
            stream,
            seen: Vec::new(),
            outcome: Outcome::default(),
            latency: vec![0; 64 * PER_DOUBLING as usize],
        }
    }

    fn arrival(&mut self, frame: &[u8], now: u64) {
        let Some((number, at)) = marks(frame, self.stream) else {
            return;
        };
        let word = (number / 64) as usize;
        if word >= self.seen.len() {
            self.seen.resize((word + 1).next_power_of_two(), 0);
        }
        let bit = 1 << (number % 64);
        if self.seen[word] & bit != 0 {
            self.outcome.duplicates += 1;
            return;
        }
        self.seen[word] |= bit;
        self.outcome.unique += 1;
        let bucket = ((now.saturating_sub(at).max(1)) as f64).log2() * PER_DOUBLING;
        self.latency[bucket as usize] += 1;
    }

    fn outcome(mut self) -> Outcome {
        let outcome = std::mem::take(&mut self.outcome);
        Outcome {
            p50: self.quantile(0.5),
            p90: self.quantile(0.9),
            p99: self.quantile(0.99),
            p999: self.quantile(0.999),
            max: self.quantile(1.0),
            ..outcome
        }
    }

    /// Upper end of the bucket that holds this share, in microseconds.
    fn quantile(&self, share: f64) -> f64 {
        let wanted = (self.latency.iter().sum::<u64>() as f64 * share).ceil() as u64;
        let mut sum = 0;
        let bucket = self.latency.iter().position(|count| {
            sum += count;
            sum >= wanted && wanted > 0
        });
        bucket.map_or(0.0, |bucket| ((bucket + 1) as f64 / PER_DOUBLING).exp2() / 1000.0)
    }
}

/// Number and time of a packet of the stream. It may have become longer on the way, not shorter.
fn marks(frame: &[u8], stream: u32) -> Option<(u64, u64)> {
    let marks = frame.get(HEADERS..HEADERS + MARKS)?;
    let word = |at: usize| {
        marks[at..at + 8]
            .iter()
            .fold(0_u64, |word, byte| word << 8 | u64::from(*byte))
    };
    let number = word(8);
    (marks[..4] == MARK && marks[4..8] == stream.to_be_bytes() && number < COUNT_MAX).then(|| (number, word(16)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u32, number: u64, at: u64) -> Vec<u8> {
        let mut frame = vec![0; HEADERS];
        frame.extend(MARK);
        frame.extend(stream.to_be_bytes());
        frame.extend(number.to_be_bytes());
        frame.extend(at.to_be_bytes());
        frame
    }

    #[test]
    fn each_packet_of_the_stream_counts_once() {
        let mut sink = Sink::new(7);
        for number in [0, 1, 1, 300] {
            sink.arrival(&frame(7, number, 1000), 3000);
        }
        sink.arrival(&frame(8, 2, 1000), 3000);
        sink.arrival(&frame(7, 3, 1000)[..60], 3000);
        let received = sink.outcome();
        assert_eq!((received.unique, received.duplicates), (3, 1));
        assert!((2.0..2.2).contains(&received.p50), "{}", received.p50);
        assert_eq!(received.max, received.p50);
    }
}

//! `packet-load`: numbered UDP packets out of one device over AF_XDP, and a sink behind another that knows which came, and when.
//!
//! Both stay and take orders on standard input, a line each, so that a search for a rate pays for sockets once. Orders: a sender
//! takes `RATE MILLISECONDS STREAM` and answers when it has sent; a sink takes `STREAM`, answers with what came since the order
//! before, and counts that stream from then on. Answers are lines of JSON. Everything ends with standard input.

#![forbid(unsafe_code)]

use anyhow::{Context, Result};
use clap::Parser;
use serde::Serialize;
use std::io::{BufRead, Write};
use std::net::Ipv4Addr;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
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
/// What comes while the sink is kept from its core waits here.
const SINK_RING: u32 = 8192;
/// Buckets of latency per doubling.
const PER_DOUBLING: f64 = 16.0;

/// Sends numbered packets or receives them.
#[derive(Parser)]
enum Arguments {
    Send(Send),
    Receive(Receive),
}

#[derive(clap::Args)]
struct Send {
    device: String,
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

#[derive(clap::Args)]
struct Receive {
    device: String,
    #[arg(long, default_value_t = 1)]
    core: usize,
}

#[derive(Serialize)]
struct Sent {
    sent: u64,
    /// Given up since the sender was late, or its ring was full.
    skipped: u64,
    seconds: f64,
}

#[derive(Default, Serialize)]
struct Received {
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
    match Arguments::parse() {
        Arguments::Send(arguments) => send(&arguments),
        Arguments::Receive(arguments) => receive(&arguments),
    }
}

/// Lines of standard input, as they come.
fn orders() -> Receiver<String> {
    let (sender, orders) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    orders
}

fn answer(what: &impl Serialize) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, what)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

fn now_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// With rings of `slots` slots.
fn open(device: &Device, slots: u32) -> Result<AfXdp> {
    let ports = vec![AfXdpPort {
        device: device.name.clone(),
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

fn send(arguments: &Send) -> Result<()> {
    let orders = orders();
    pin(Some(arguments.core));
    let device = Device::find(&arguments.device)?;
    let mut io = open(&device, 2048)?;
    let mut writer = Frames::new(device.mac.0, arguments.next.0, arguments.length.into());
    let templates: Vec<Vec<u8>> = (0..arguments.flows)
        .map(|flow| {
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
        })
        .collect();
    println!("ready");
    while let Ok(order) = orders.recv() {
        let words = order
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<Vec<u64>, _>>()?;
        let [rate, milliseconds, stream] = words[..] else {
            anyhow::bail!("an order is RATE MILLISECONDS STREAM");
        };
        let milliseconds = milliseconds.min(MILLISECONDS_MAX);
        answer(&run(&mut io, &templates, rate, milliseconds, stream as u32))?;
    }
    Ok(())
}

/// One stream.
fn run(io: &mut AfXdp, templates: &[Vec<u8>], rate: u64, milliseconds: u64, stream: u32) -> Sent {
    let (mut sent, mut skipped) = (0u64, 0u64);
    let begin = Instant::now();
    let length = Duration::from_millis(milliseconds);
    while begin.elapsed() < length && sent < COUNT_MAX {
        let due = (u128::from(rate) * begin.elapsed().as_nanos() / 1_000_000_000) as u64;
        let behind = due.saturating_sub(sent + skipped);
        skipped += behind.saturating_sub(BEHIND_MAX);
        let count = behind.min(BATCH as u64);
        if count == 0 {
            // The sink, which may share this core, need not wait for the end of a time slice.
            std::thread::yield_now();
        }
        let now = now_ns();
        for _ in 0..count {
            let Some(mut frame) = io.allocate() else {
                skipped += 1;
                continue;
            };
            frame.fill(&templates[(sent % templates.len() as u64) as usize]);
            let payload = &mut frame.packet_mut()[HEADERS..HEADERS + MARKS];
            payload[..4].copy_from_slice(&MARK);
            payload[4..8].copy_from_slice(&stream.to_be_bytes());
            payload[8..16].copy_from_slice(&sent.to_be_bytes());
            payload[16..].copy_from_slice(&now.to_be_bytes());
            match io.transmit(PORT, frame) {
                Ok(()) => sent += 1,
                Err(frame) => {
                    skipped += 1;
                    io.release(frame);
                }
            }
        }
        io.flush();
    }
    let seconds = begin.elapsed().as_secs_f64();
    let deadline = Instant::now() + Duration::from_millis(200);
    while io.tx_pending() && Instant::now() < deadline {
        io.flush();
    }
    Sent { sent, skipped, seconds }
}

fn receive(arguments: &Receive) -> Result<()> {
    let orders = orders();
    pin(Some(arguments.core));
    let device = Device::find(&arguments.device)?;
    let mut io = open(&device, SINK_RING)?;
    let steering = steer(std::slice::from_ref(&device), &io).context("the steering program")?;
    println!("ready");
    let (mut batch, mut sink, mut drops_before) = (FrameBatch::new(), Sink::new(0), 0);
    loop {
        match orders.try_recv() {
            Ok(order) => {
                let drops = io.kernel_drops(PORT);
                let drops = drops.receive_ring_full + drops.fill_ring_empty + drops.other;
                answer(&sink.report(drops - drops_before))?;
                drops_before = drops;
                sink = Sink::new(order.trim().parse()?);
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => break,
        }
        if io.receive(PORT, &mut batch) > 0 {
            let now = now_ns();
            for frame in batch.drain() {
                sink.arrival(frame.packet(), now);
                io.release(frame);
            }
        } else {
            io.wait(Duration::from_millis(5), None);
        }
        io.flush();
    }
    drop(steering);
    Ok(())
}

/// What came of one stream.
struct Sink {
    stream: u32,
    seen: Vec<u64>,
    received: Received,
    /// Arrivals by latency: bucket *b* begins at 2^(b / 16) nanoseconds.
    latency: Vec<u64>,
}

impl Sink {
    fn new(stream: u32) -> Self {
        Sink {
            stream,
            seen: Vec::new(),
            received: Received::default(),
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
            self.received.duplicates += 1;
            return;
        }
        self.seen[word] |= bit;
        self.received.unique += 1;
        let bucket = ((now.saturating_sub(at).max(1)) as f64).log2() * PER_DOUBLING;
        self.latency[bucket as usize] += 1;
    }

    fn report(&mut self, sink_drops: u64) -> Received {
        let mut received = std::mem::take(&mut self.received);
        received.sink_drops = sink_drops;
        received.p50 = self.quantile(0.5);
        received.p90 = self.quantile(0.9);
        received.p99 = self.quantile(0.99);
        received.p999 = self.quantile(0.999);
        received.max = self.quantile(1.0);
        received
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
        let received = sink.report(0);
        assert_eq!((received.unique, received.duplicates), (3, 1));
        assert!((2.0..2.2).contains(&received.p50), "{}", received.p50);
        assert_eq!(received.max, received.p50);
    }
}

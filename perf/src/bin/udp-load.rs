//! `udp-load`: a stream of numbered UDP datagrams, and a sink that knows which of them came, how often, and when none did.
//!
//! The lab's tests send it through the gateways. Rate, time and count are bounded; the sink counts only what bears the
//! stream's mark, so that a stranger's datagram is no arrival.

#![forbid(unsafe_code)]

use anyhow::{Context, Result, ensure};
use clap::Parser;
use serde::Serialize;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Largest number of datagrams in a stream: the sink's memory is a bit each.
const COUNT_MAX: u64 = 1 << 27;
/// Bytes of a datagram: mark, stream and number.
const HEAD: usize = 24;
const MARK: [u8; 8] = *b"tmblload";
/// How often the sender sends what is due.
const TICK: Duration = Duration::from_micros(500);
/// Most that the sender catches up on after it was kept from its core; what is older is not sent.
const CATCH_UP: Duration = Duration::from_millis(50);
/// Most that it sends in one tick while it catches up, unless the rate asks for more: a burst would measure the queues, not
/// the gateway.
const BURST: u64 = 64;
/// Socket buffer of the sink: a second of a fast stream, in case the sink is kept from its core.
const SINK_BUFFER: usize = 64 << 20;
/// How often the sink looks whether it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Most ranges of lost numbers in the report.
const RANGES_MAX: usize = 20;

/// Sends numbered UDP datagrams at a rate, or receives them and reports what was lost.
#[derive(Parser)]
enum Arguments {
    /// Send a stream; prints what was sent as JSON.
    Send(SendArguments),
    /// Receive a stream until standard input ends; prints what came as JSON.
    Receive(ReceiveArguments),
}

#[derive(clap::Args)]
struct SendArguments {
    /// Where to.
    #[arg(long)]
    to: SocketAddr,
    /// Datagrams per second.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rate: u64,
    /// How long, in seconds, unless standard input ends before.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=120))]
    seconds: u64,
    /// Flows (source ports) that take turns.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    flows: u16,
    /// Payload bytes.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(HEAD as i64..=1400))]
    length: u16,
    /// Number of the stream.
    #[arg(long, default_value_t = 0)]
    stream: u64,
}

#[derive(clap::Args)]
struct ReceiveArguments {
    /// Port to listen on.
    #[arg(long)]
    port: u16,
    /// Number of the stream.
    #[arg(long, default_value_t = 0)]
    stream: u64,
}

/// What the sender did.
#[derive(Serialize)]
struct Sent {
    /// Datagrams that the kernel took.
    sent: u64,
    /// Datagrams that the kernel refused; their numbers were used again.
    refused: u64,
    /// Datagrams that were not sent since the sender was late.
    skipped: u64,
    seconds: f64,
}

/// What the sink saw. Times are of CLOCK_MONOTONIC, in nanoseconds.
#[derive(Serialize)]
struct Received {
    /// Different datagrams.
    unique: u64,
    /// Datagrams that had come before.
    duplicates: u64,
    /// One more than the highest number seen.
    end: u64,
    /// First ranges `[from, to)` of numbers below `end` that did not come.
    missing: Vec<(u64, u64)>,
    /// Longest time without an arrival, between two arrivals.
    longest_gap_ns: u64,
    /// When it began.
    longest_gap_at_ns: u64,
    /// When the first datagram came, 0 if none did.
    first_at_ns: u64,
    /// When the last one came.
    last_at_ns: u64,
    /// Datagrams that reached the sink's socket and found it full, as the kernel counts them.
    socket_drops: u64,
}

fn main() -> Result<()> {
    let report = match Arguments::parse() {
        Arguments::Send(arguments) => serde_json::to_string(&send(&arguments)?)?,
        Arguments::Receive(arguments) => serde_json::to_string(&receive(&arguments)?)?,
    };
    println!("{report}");
    Ok(())
}

/// Becomes true when standard input ends.
fn end_of_input() -> Arc<AtomicBool> {
    let ended = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&ended);
    std::thread::spawn(move || {
        // An error is an end as well.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        seen.store(true, Ordering::Relaxed);
    });
    ended
}

fn send(arguments: &SendArguments) -> Result<Sent> {
    ensure!(
        arguments.rate * arguments.seconds <= COUNT_MAX,
        "a stream has at most {COUNT_MAX} datagrams"
    );
    let mut sockets = Vec::new();
    for _ in 0..arguments.flows {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(arguments.to)?;
        sockets.push(socket);
    }
    let mut datagram = vec![0; usize::from(arguments.length)];
    datagram[..8].copy_from_slice(&MARK);
    datagram[8..16].copy_from_slice(&arguments.stream.to_be_bytes());
    let ended = end_of_input();
    let in_time = |time: Duration| (u128::from(arguments.rate) * time.as_nanos() / 1_000_000_000) as u64;
    let burst = BURST.max(2 * in_time(TICK));
    let (mut sent, mut refused, mut skipped) = (0, 0, 0);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(arguments.seconds) && !ended.load(Ordering::Relaxed) {
        let behind = in_time(begin.elapsed()).saturating_sub(sent + refused + skipped);
        skipped += behind.saturating_sub(in_time(CATCH_UP).max(burst));
        for _ in 0..behind.min(burst) {
            datagram[16..HEAD].copy_from_slice(&u64::to_be_bytes(sent));
            // A port unreachable that came back earlier is reported by this send, too.
            match sockets[(sent % sockets.len() as u64) as usize].send(&datagram) {
                Ok(_) => sent += 1,
                Err(_) => refused += 1,
            }
        }
        if behind > burst {
            // Still behind: on a busy machine a sleep takes milliseconds, and the cap on a burst would become one on the rate.
            std::thread::yield_now();
        } else {
            std::thread::sleep(TICK);
        }
    }
    Ok(Sent {
        sent,
        refused,
        skipped,
        seconds: begin.elapsed().as_secs_f64(),
    })
}

fn receive(arguments: &ReceiveArguments) -> Result<Received> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, arguments.port)).context("bind the sink's port")?;
    rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, SINK_BUFFER).context("widen the socket")?;
    socket.set_read_timeout(Some(LOOK_EVERY))?;
    let ended = end_of_input();
    // The caller may start the sender.
    eprintln!("listening");
    let mut seen = Vec::new();
    let mut report = Received {
        unique: 0,
        duplicates: 0,
        end: 0,
        missing: Vec::new(),
        longest_gap_ns: 0,
        longest_gap_at_ns: 0,
        first_at_ns: 0,
        last_at_ns: 0,
        socket_drops: 0,
    };
    let mut buffer = [0; 2048];
    while !ended.load(Ordering::Relaxed) {
        // A timeout, or news of an ICMP error.
        let Ok(length) = socket.recv(&mut buffer) else { continue };
        if let Some(number) = number(&buffer[..length], arguments.stream) {
            report.arrival(&mut seen, number, now_ns());
        }
    }
    report.missing = missing(&seen, report.end);
    report.socket_drops = socket_drops(arguments.port)?;
    Ok(report)
}

/// The number of a datagram of the stream.
fn number(datagram: &[u8], stream: u64) -> Option<u64> {
    let (head, _) = datagram.split_first_chunk::<HEAD>()?;
    let word = |at: usize| {
        head[at..at + 8]
            .iter()
            .fold(0_u64, |word, byte| word << 8 | u64::from(*byte))
    };
    let number = word(16);
    (head[..8] == MARK && word(8) == stream && number < COUNT_MAX).then_some(number)
}

impl Received {
    fn arrival(&mut self, seen: &mut Vec<u64>, number: u64, now: u64) {
        let word = (number / 64) as usize;
        if word >= seen.len() {
            seen.resize((word + 1).next_power_of_two(), 0);
        }
        let bit = 1 << (number % 64);
        if seen[word] & bit != 0 {
            self.duplicates += 1;
            return;
        }
        seen[word] |= bit;
        self.unique += 1;
        self.end = self.end.max(number + 1);
        if self.first_at_ns == 0 {
            self.first_at_ns = now;
        } else if now.saturating_sub(self.last_at_ns) > self.longest_gap_ns {
            self.longest_gap_ns = now - self.last_at_ns;
            self.longest_gap_at_ns = self.last_at_ns;
        }
        self.last_at_ns = now;
    }
}

/// Ranges of numbers below `end` whose bit is not set.
fn missing(seen: &[u64], end: u64) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in 0..end {
        if seen[(number / 64) as usize] & 1 << (number % 64) != 0 {
            continue;
        }
        if let Some((_, to)) = ranges.last_mut().filter(|(_, to)| *to == number) {
            *to += 1;
        } else if ranges.len() < RANGES_MAX {
            ranges.push((number, number + 1));
        } else {
            break;
        }
    }
    ranges
}

/// The column `drops` of the socket's line in this namespace.
fn socket_drops(port: u16) -> Result<u64> {
    let table = std::fs::read_to_string("/proc/self/net/udp")?;
    let suffix = format!(":{port:04X}");
    let line = table.lines().find(|line| {
        line.split_whitespace()
            .nth(1)
            .is_some_and(|local| local.ends_with(&suffix))
    });
    let drops = line
        .and_then(|line| line.split_whitespace().last())
        .context("the sink's socket in /proc/self/net/udp")?;
    Ok(drops.parse()?)
}

fn now_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_come_is_told_as_ranges() {
        let mut seen = vec![u64::MAX; 2];
        seen[0] &= !(1 << 3 | 1 << 4);
        seen[1] &= !1;
        assert_eq!(missing(&seen, 100), [(3, 5), (64, 65)]);
        assert_eq!(missing(&seen, 4), [(3, 4)]);
    }

    #[test]
    fn only_the_stream_counts() {
        let mut datagram = [MARK, 5_u64.to_be_bytes(), 7_u64.to_be_bytes()].concat();
        assert_eq!(number(&datagram, 5), Some(7));
        assert_eq!(number(&datagram, 6), None);
        assert_eq!(number(&datagram[..23], 5), None);
        datagram[0] = 0;
        assert_eq!(number(&datagram, 5), None);
    }
}

//! Captures that clients asked for: which ports, who gets what, when to stop.

use crate::views::{self, port_name};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;
use tombolo_api::{CaptureMissed, CapturedPacket};
use tombolo_tables::build::World;
use tombolo_tables::capture::{CaptureReader, CaptureStage, Captured, Direction};
use tombolo_tables::state::State;

/// Packets that wait for a slow client; more are left out, and counted.
const BACKLOG: usize = 1024;
/// Captures at once.
const CAPTURES_MAX: usize = 8;
/// Packets taken from a ring in one turn.
const TURN: usize = 512;
/// How often each client gets an empty line: only a failed write tells that one has gone while no packets come.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// All captures.
pub(super) struct Captures {
    readers: Vec<CaptureReader<'static>>,
    clients: Vec<Client>,
    sign_of_life: Instant,
}

struct Client {
    port: String,
    left: u64,
    /// What the rings had dropped before this capture.
    dropped_before: u64,
    missed: CaptureMissed,
    /// What of `missed` it was told.
    told: CaptureMissed,
    sender: mpsc::Sender<Vec<u8>>,
}

impl Captures {
    pub(super) fn new(state: &'static State) -> Captures {
        let workers = 0..state.workers().count();
        Captures {
            readers: workers.filter_map(|worker| CaptureReader::new(state, worker)).collect(),
            clients: Vec::new(),
            sign_of_life: Instant::now(),
        }
    }

    /// Names of the ports to capture on.
    pub(super) fn ports(&self) -> BTreeSet<String> {
        let wanting = self.clients.iter().filter(|client| client.left > 0);
        wanting.map(|client| client.port.clone()).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Adds a client; none when there are too many.
    pub(super) fn add(&mut self, port: String, count: u64) -> Option<mpsc::Receiver<Vec<u8>>> {
        if self.clients.len() >= CAPTURES_MAX {
            return None;
        }
        if self.clients.is_empty() {
            // What workers copied after the last client left is older than the question.
            for reader in &mut self.readers {
                std::iter::from_fn(|| reader.pop()).take(TURN).for_each(drop);
            }
        }
        let (sender, receiver) = mpsc::channel(BACKLOG);
        self.clients.push(Client {
            port,
            left: count,
            dropped_before: self.dropped(),
            missed: CaptureMissed::default(),
            told: CaptureMissed::default(),
            sender,
        });
        Some(receiver)
    }

    fn dropped(&self) -> u64 {
        self.readers
            .iter()
            .fold(0, |dropped, reader| dropped.wrapping_add(reader.dropped()))
    }

    /// Passes on what workers captured. True when the set of captured ports changed.
    pub(super) fn turn(&mut self, world: &World) -> bool {
        let before = self.ports();
        let monotonic_zero = monotonic_zero();
        let mut seen: Vec<(u32, Captured)> = Vec::new();
        for (worker, reader) in (0..).zip(&mut self.readers) {
            seen.extend(
                std::iter::from_fn(|| reader.pop())
                    .take(TURN)
                    .map(|captured| (worker, captured)),
            );
        }
        // Each worker has a ring of its own; the sort is stable, so that one worker's packets stay as it saw them.
        seen.sort_by_key(|(_, captured)| captured.header.time_ns);
        let dropped = self.dropped();
        for client in &mut self.clients {
            if client.left > 0 {
                client.missed.ring_full = dropped.wrapping_sub(client.dropped_before);
            }
            // Ahead of the packets: they would leave no room for it.
            client.tell();
        }
        for (worker, captured) in &seen {
            let packet = describe(world, *worker, captured, monotonic_zero);
            let wanted = |client: &&mut Client| client.port == packet.port && client.left > 0;
            for client in self.clients.iter_mut().filter(wanted) {
                client.pass(&packet);
            }
        }
        if self.sign_of_life.elapsed() > SIGN_OF_LIFE {
            self.sign_of_life = Instant::now();
            for client in &self.clients {
                // A backlog is a sign of life, too.
                let _ = client.sender.try_send(b"\n".to_vec());
            }
        }
        for client in self.clients.iter_mut().filter(|client| client.left == 0) {
            client.tell();
        }
        self.clients
            .retain(|client| (client.left > 0 || client.missed != client.told) && !client.sender.is_closed());
        self.ports() != before
    }
}

impl Client {
    fn pass(&mut self, packet: &CapturedPacket) {
        if self.send(packet) {
            self.left -= 1;
        } else {
            self.missed.client_slow += 1;
        }
    }

    /// Says what is missing, if that is news; as often as it takes until there is room for it.
    fn tell(&mut self) {
        let missed = self.missed;
        if missed != self.told && self.send(&missed) {
            self.told = missed;
        }
    }

    /// One `CaptureLine`; false if there was no room.
    fn send(&self, line: &impl Serialize) -> bool {
        let Ok(mut line) = serde_json::to_vec(line) else {
            return false;
        };
        line.push(b'\n');
        self.sender.try_send(line).is_ok()
    }
}

fn describe(world: &World, worker: u32, captured: &Captured, monotonic_zero: Duration) -> CapturedPacket {
    let header = &captured.header;
    let mut bytes = String::with_capacity(captured.bytes.len() * 2);
    for byte in &captured.bytes {
        let _ = write!(bytes, "{byte:02x}");
    }
    CapturedPacket {
        time_ns: (monotonic_zero.as_nanos() as u64).saturating_add(header.time_ns),
        worker,
        port: port_name(world, header.port.0),
        direction: match header.direction {
            Direction::In => "in".into(),
            Direction::Out => "out".into(),
        },
        stage: match header.stage {
            CaptureStage::Wire => "wire".into(),
            CaptureStage::Inner => "inner".into(),
        },
        fate: header.fate.map_or_else(|| "open".into(), views::fate),
        length: header.length,
        bytes,
    }
}

/// When the monotonic clock, by which workers tell the time, was zero: time since 1970.
fn monotonic_zero() -> Duration {
    let since_1970 = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let monotonic = clock_gettime(ClockId::Monotonic);
    since_1970.saturating_sub(Duration::new(
        monotonic.tv_sec.unsigned_abs(),
        monotonic.tv_nsec.unsigned_abs() as u32,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombolo_api::CaptureLine;
    use tombolo_tables::capture::{CAPTURE_CAPACITY, CaptureHeader, CaptureWriter};
    use tombolo_tables::fate::{DropReason, Fate};
    use tombolo_tables::layout::{PortIndex, PortRecord};
    use tombolo_tables::region::{HugePages, Region};
    use tombolo_tables::state::{Limits, StateSpec};
    use zerocopy::FromZeros;

    struct Bench {
        captures: Captures,
        writer: CaptureWriter<'static>,
        second_writer: CaptureWriter<'static>,
        world: World,
    }

    fn bench() -> Bench {
        let spec = StateSpec::new(Limits {
            workers: 2,
            ports: 2,
            ..Limits::default()
        });
        let region = Region::create("captures", spec.bytes(), HugePages::Never).unwrap();
        let state: &'static State = Box::leak(Box::new(State::create(region, &spec).unwrap()));
        let port = |letter| {
            let mut record = PortRecord::new_zeroed();
            record.name[0] = letter;
            record
        };
        Bench {
            captures: Captures::new(state),
            writer: CaptureWriter::new(state, 0).unwrap(),
            second_writer: CaptureWriter::new(state, 1).unwrap(),
            world: World {
                ports: vec![port(b'a'), port(b'b')],
                ..World::default()
            },
        }
    }

    impl Bench {
        fn see(&mut self, port: u16) {
            let header = CaptureHeader {
                time_ns: clock_gettime(ClockId::Monotonic).tv_sec as u64 * 1_000_000_000,
                port: PortIndex(port),
                direction: Direction::In,
                stage: CaptureStage::Wire,
                fate: Some(Fate::Drop(DropReason::NotIp)),
                length: 60,
            };
            assert!(self.writer.push(&header, &[0xab; 60]));
        }

        fn turn(&mut self) -> bool {
            self.captures.turn(&self.world)
        }
    }

    fn packets(receiver: &mut mpsc::Receiver<Vec<u8>>) -> Vec<CapturedPacket> {
        std::iter::from_fn(|| receiver.try_recv().ok())
            .filter(|line| line != b"\n")
            .map(|line| serde_json::from_slice(&line).unwrap())
            .collect()
    }

    #[test]
    fn packets_of_two_workers_come_in_the_order_of_time() {
        let mut bench = bench();
        let mut receiver = bench.captures.add("a".into(), 10).unwrap();
        let header = |seconds: u64| CaptureHeader {
            time_ns: seconds * 1_000_000_000,
            port: PortIndex(0),
            direction: Direction::In,
            stage: CaptureStage::Wire,
            fate: Some(Fate::Send),
            length: 60,
        };
        for (seconds, late) in [(1, 2), (3, 4)] {
            assert!(bench.writer.push(&header(late), &[0; 60]));
            assert!(bench.second_writer.push(&header(seconds), &[0; 60]));
        }
        bench.turn();
        let seen = packets(&mut receiver);
        assert_eq!(
            seen.iter().map(|packet| packet.worker).collect::<Vec<_>>(),
            [1, 0, 1, 0]
        );
        assert!(seen.is_sorted_by_key(|packet| packet.time_ns));
    }

    #[test]
    fn each_client_gets_its_port_and_its_count() {
        let mut bench = bench();
        bench.see(0);
        let mut first = bench.captures.add("a".into(), 2).unwrap();
        let mut second = bench.captures.add("b".into(), 10).unwrap();
        assert_eq!(bench.captures.ports().len(), 2);
        for _ in 0..3 {
            bench.see(0);
        }
        bench.see(1);
        assert!(bench.turn(), "the first client has enough");
        assert_eq!(bench.captures.ports(), BTreeSet::from(["b".to_owned()]));
        assert_eq!(packets(&mut first).len(), 2, "and nothing older than the question");
        let seen = packets(&mut second);
        assert_eq!(
            (seen.len(), seen[0].fate.as_str(), seen[0].port.as_str()),
            (1, "drop not-ip", "b")
        );
        assert_eq!(seen[0].bytes, "ab".repeat(60));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let age = now.as_nanos() as u64 - seen[0].time_ns;
        assert!(age < 60_000_000_000, "the wall clock's time, {age} ns ago");
    }

    #[test]
    fn who_left_is_captured_for_no_longer() {
        let mut bench = bench();
        let mut stays = bench.captures.add("a".into(), u64::MAX).unwrap();
        let leaves = bench.captures.add("b".into(), u64::MAX).unwrap();
        assert!(!bench.turn());
        drop(leaves);
        assert!(bench.turn(), "fewer ports are captured");
        assert!(!bench.turn());
        bench.captures.sign_of_life -= SIGN_OF_LIFE * 2;
        bench.turn();
        assert_eq!(
            stays.try_recv().unwrap(),
            b"\n",
            "a write that would fail if nobody read"
        );
        drop(stays);
        assert!(bench.turn() && bench.captures.is_empty());
    }

    fn missed(receiver: &mut mpsc::Receiver<Vec<u8>>) -> (usize, Option<CaptureMissed>) {
        let (mut packets, mut last) = (0, None);
        while let Ok(line) = receiver.try_recv() {
            match serde_json::from_slice(&line).unwrap() {
                CaptureLine::Packet(_) => packets += 1,
                CaptureLine::Missed(missed) => last = Some(missed),
            }
        }
        (packets, last)
    }

    #[test]
    fn what_a_full_ring_or_a_slow_client_cost_is_told() {
        let mut bench = bench();
        bench.writer.miss();
        let mut client = bench.captures.add("a".into(), u64::MAX).unwrap();
        let fill = |bench: &mut Bench, packets: usize| {
            for _ in 0..packets {
                bench.see(0);
            }
        };
        fill(&mut bench, CAPTURE_CAPACITY);
        bench.writer.miss();
        bench.second_writer.miss();
        bench.turn();
        let ring = CaptureMissed {
            ring_full: 2,
            client_slow: 0,
        };
        assert_eq!(
            missed(&mut client),
            (CAPTURE_CAPACITY, Some(ring)),
            "and nothing older than the question"
        );
        let turns = BACKLOG / CAPTURE_CAPACITY + 1;
        for _ in 0..turns {
            fill(&mut bench, CAPTURE_CAPACITY);
            bench.turn();
        }
        assert_eq!(missed(&mut client), (BACKLOG, None), "there was no room to tell it");
        bench.turn();
        let both = CaptureMissed {
            client_slow: CAPTURE_CAPACITY as u64,
            ..ring
        };
        assert_eq!(missed(&mut client), (0, Some(both)));
        bench.turn();
        assert_eq!(missed(&mut client), (0, None), "once");
    }

    #[test]
    fn who_has_enough_is_told_what_was_missed_and_then_let_go() {
        let mut bench = bench();
        let mut receiver = bench.captures.add("a".into(), 1).unwrap();
        let client = &mut bench.captures.clients[0];
        // As if it had read between two packets of one turn: one found no room, the next was its last.
        (client.left, client.missed.client_slow) = (0, 1);
        while client.sender.try_send(b"\n".to_vec()).is_ok() {}
        bench.turn();
        assert!(
            bench.captures.ports().is_empty() && !bench.captures.is_empty(),
            "nothing is captured for it, but it is owed a word"
        );
        std::iter::from_fn(|| receiver.try_recv().ok()).for_each(drop);
        bench.turn();
        let told = CaptureMissed {
            ring_full: 0,
            client_slow: 1,
        };
        assert_eq!(missed(&mut receiver), (0, Some(told)));
        assert!(bench.captures.is_empty());
    }

    #[test]
    fn captures_at_once_are_bounded() {
        let mut bench = bench();
        let receivers: Vec<_> = (0..CAPTURES_MAX).map(|_| bench.captures.add("a".into(), 1)).collect();
        assert!(receivers.iter().all(Option::is_some));
        assert!(bench.captures.add("a".into(), 1).is_none());
    }
}

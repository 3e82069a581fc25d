//! Captures that clients asked for: which ports, who gets what, when to stop.

use crate::views::port_name;
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tombolo_api::CapturedPacket;
use tombolo_tables::build::World;
use tombolo_tables::capture::{CaptureReader, CaptureStage, Captured, Direction};
use tombolo_tables::fate::{Fate, PuntReason};
use tombolo_tables::state::State;

/// Packets that wait for a slow client; more are left out.
const BACKLOG: usize = 1024;
/// Captures at once.
const CAPTURES_MAX: usize = 8;
/// Packets taken from a ring in one turn.
const TURN: usize = 512;

/// All captures.
pub(super) struct Captures {
    readers: Vec<CaptureReader<'static>>,
    clients: Vec<Client>,
}

struct Client {
    port: String,
    left: u64,
    sender: mpsc::Sender<Vec<u8>>,
}

impl Captures {
    pub(super) fn new(state: &'static State) -> Captures {
        let workers = 0..state.workers().count();
        Captures {
            readers: workers.filter_map(|worker| CaptureReader::new(state, worker)).collect(),
            clients: Vec::new(),
        }
    }

    /// Names of the ports to capture on.
    pub(super) fn ports(&self) -> BTreeSet<String> {
        self.clients.iter().map(|client| client.port.clone()).collect()
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
            sender,
        });
        Some(receiver)
    }

    /// Passes on what workers captured. True when the set of captured ports changed.
    pub(super) fn turn(&mut self, world: &World) -> bool {
        let before = self.ports();
        let monotonic_zero = monotonic_zero();
        for (worker, reader) in (0..).zip(&mut self.readers) {
            for captured in std::iter::from_fn(|| reader.pop()).take(TURN) {
                let packet = describe(world, worker, &captured, monotonic_zero);
                for client in self
                    .clients
                    .iter_mut()
                    .filter(|client| client.port == packet.port && client.left > 0)
                {
                    client.pass(&packet);
                }
            }
        }
        self.clients
            .retain(|client| client.left > 0 && !client.sender.is_closed());
        self.ports() != before
    }
}

impl Client {
    fn pass(&mut self, packet: &CapturedPacket) {
        let Ok(mut line) = serde_json::to_vec(packet) else {
            return;
        };
        line.push(b'\n');
        if self.sender.try_send(line).is_ok() {
            self.left -= 1;
        }
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
        fate: header.fate.map_or_else(|| "open".into(), fate_text),
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

fn fate_text(fate: Fate) -> String {
    match fate {
        Fate::Send => "send".into(),
        Fate::Drop(reason) => format!("drop {}", reason.name()),
        Fate::Punt(PuntReason::Local) => "punt local".into(),
        Fate::Punt(PuntReason::Protocol) => "punt protocol".into(),
        Fate::HandOver => "hand-over".into(),
        Fate::Hold => "hold".into(),
    }
}

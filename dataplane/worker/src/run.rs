//! The loop that drives a worker on its own thread: rounds while there is work, a bounded spin, then sleep in poll.
//!
//! A sleeping worker is parked: it looks at no table and no session, so control may publish and reclaim without it.

use crate::state::SharedState;
use crate::time::Now;
use crate::worker::Worker;
use rustix::event::EventfdFlags;
use rustix::time::{ClockId, clock_gettime};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tombolo_packet_io::PacketIo;
use tombolo_tables::reader::Reader;
use tombolo_tunnel::Provider;

/// How a worker waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// After this many empty rounds it sleeps until something arrives.
    SleepAfter(u32),
    /// It never sleeps: lowest latency, a whole core each.
    Busy,
}

impl Idle {
    /// Spins through the gap between two batches of a flow, and no longer: where gateways share cores, a spin is taken from
    /// somebody.
    pub const DEFAULT: Idle = Idle::SleepAfter(32);
}

/// Longest sleep: sessions expire and control sees a heartbeat.
const SLEEP: Duration = Duration::from_millis(1000);
/// Longest sleep while packets wait for a next hop.
const SLEEP_HOLDING: Duration = Duration::from_millis(100);

/// An eventfd by which others wake a sleeping worker.
pub fn wake_fd() -> std::io::Result<OwnedFd> {
    Ok(rustix::event::eventfd(
        0,
        EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC,
    )?)
}

/// Monotonic time of this machine, the same in every process.
pub fn now() -> Now {
    let time = clock_gettime(ClockId::Monotonic);
    Now {
        milliseconds: time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000,
    }
}

/// Runs until `stop` is set (and `wake` written). Returns with every held packet given up and the transmit rings kicked.
pub fn run<I: PacketIo>(
    worker: &mut Worker<I>,
    reader: &mut Reader<'_>,
    state: &SharedState<'_>,
    wake: &OwnedFd,
    idle: Idle,
    stop: &AtomicBool,
) {
    let provider = Provider::chosen();
    provider.prepare_thread();
    reader.slot().encrypt_with(provider.to_word());
    let mut empty_rounds = 0;
    while !stop.load(Ordering::Acquire) {
        let now = now();
        reader.slot().beat(now.milliseconds * 1_000_000);
        let (tables, changed) = reader.begin_batch();
        let turn = worker.turn(tables, changed, state, now);
        empty_rounds = if turn.frames == 0 { empty_rounds + 1 } else { 0 };
        let Idle::SleepAfter(rounds) = idle else { continue };
        if empty_rounds > rounds && !worker.io().tx_pending() {
            let timeout = if worker.holds() { SLEEP_HOLDING } else { SLEEP };
            reader.park();
            worker.io().wait(timeout, Some(wake.as_fd()));
            drain(wake);
            empty_rounds = 0;
        }
    }
    let (tables, _) = reader.begin_batch();
    worker.stop(tables, state, now());
    reader.park();
}

/// Empties the eventfd; nothing to read is no error.
fn drain(wake: &OwnedFd) {
    let mut count = [0u8; 8];
    let _ = rustix::io::read(wake, &mut count);
}

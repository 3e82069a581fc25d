//! What the dataplane's main thread says about each port: how it is attached, and what steering did with its frames.

use crate::layout::PortIndex;
use crate::state::{State, StatePart};
use core::sync::atomic::{AtomicU64, Ordering};

/// Words per port.
pub const PORT_STATUS_WORDS: usize = 64;
/// First word of the verdict counters.
const VERDICTS_AT: usize = 8;
/// Verdict counters that have room.
pub const VERDICTS_MAX: usize = PORT_STATUS_WORDS - VERDICTS_AT;

/// Words of the part for `ports` ports.
pub fn words(ports: usize) -> usize {
    ports.saturating_mul(PORT_STATUS_WORDS)
}

/// How the steering program sits on a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attached {
    /// Not at all: the port is not served.
    #[default]
    No,
    /// In the driver.
    Native,
    /// In the network stack, on copies.
    Generic,
}

/// How a port runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStatus {
    /// Mode of the steering program.
    pub attached: Attached,
    /// The driver writes into our frames itself.
    pub zero_copy: bool,
    /// Bytes of frames on pages of 2 MiB, of all workers; ports share their frames.
    pub huge_frame_bytes: u64,
    /// Bytes of frames on ordinary pages.
    pub small_frame_bytes: u64,
    /// Queues served.
    pub queues: u16,
}

/// Writes what the dataplane found; the main thread alone does.
pub fn write(state: &State, port: PortIndex, status: PortStatus) {
    let Some(row) = row(state, port) else { return };
    let attached = match status.attached {
        Attached::No => 0,
        Attached::Native => 1,
        Attached::Generic => 2,
    };
    let words = [
        attached,
        u64::from(status.zero_copy),
        u64::from(status.queues),
        status.huge_frame_bytes,
        status.small_frame_bytes,
    ];
    for (word, value) in row.iter().zip(words) {
        word.store(value, Ordering::Relaxed);
    }
}

/// Reads it; a port that the region has no room for is not attached.
pub fn read(state: &State, port: PortIndex) -> PortStatus {
    let Some(row) = row(state, port) else {
        return PortStatus::default();
    };
    let word = |at: usize| row[at].load(Ordering::Relaxed);
    let attached = match word(0) {
        1 => Attached::Native,
        2 => Attached::Generic,
        _ => Attached::No,
    };
    PortStatus {
        attached,
        zero_copy: word(1) != 0,
        queues: word(2) as u16,
        huge_frame_bytes: word(3),
        small_frame_bytes: word(4),
    }
}

/// Writes the verdict counters of the steering program, in the order of `Verdict`.
pub fn write_verdicts(state: &State, port: PortIndex, counts: impl Iterator<Item = u64>) {
    let Some(row) = row(state, port) else { return };
    for (word, count) in row[VERDICTS_AT..].iter().zip(counts) {
        word.store(count, Ordering::Relaxed);
    }
}

/// Reads the verdict counters.
pub fn verdicts(state: &State, port: PortIndex) -> [u64; VERDICTS_MAX] {
    match row(state, port) {
        Some(row) => core::array::from_fn(|at| row[VERDICTS_AT + at].load(Ordering::Relaxed)),
        None => [0; VERDICTS_MAX],
    }
}

fn row(state: &State, port: PortIndex) -> Option<&[AtomicU64]> {
    let first = port.usize() * PORT_STATUS_WORDS;
    state.part(StatePart::PortStatus).get(first..first + PORT_STATUS_WORDS)
}

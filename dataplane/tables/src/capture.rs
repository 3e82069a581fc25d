//! Packets that somebody wants to see, copied into a ring per worker: tcpdump is blind to redirected frames.
//!
//! Which ports are captured is said by the generation ([`crate::view::Tables::capture`]). Control reads the ring and trusts
//! nothing in it but its bounds.

use crate::fate::{DropReason, Fate, PuntReason};
use crate::layout::PortIndex;
use crate::ring::{RING_HEADER_WORDS, Ring, share};
use crate::state::{State, StatePart};
use core::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a packet that are kept.
pub const CAPTURE_BYTES: usize = 2048;
/// Packets that a worker's ring holds.
pub const CAPTURE_CAPACITY: usize = 256;
const HEADER_WORDS: usize = 8;
pub(crate) const RECORD_WORDS: usize = HEADER_WORDS + CAPTURE_BYTES / 8;

/// Words of the capture part.
pub fn capture_words(workers: usize) -> usize {
    workers.saturating_mul(RING_HEADER_WORDS + CAPTURE_CAPACITY * RECORD_WORDS)
}

/// Which way a captured packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Received from the port.
    In,
    /// Sent out of the port.
    Out,
}

/// Where on its journey a packet was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureStage {
    /// As on the wire of the port: what a tunnel protects is encrypted.
    Wire,
    /// The inner packet: after `open`, or before `seal`.
    Inner,
}

/// What is known about a captured packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureHeader {
    /// Monotonic time of the batch in nanoseconds (the dataplane reads no other clock); who shows it adds what is missing.
    pub time_ns: u64,
    /// The port.
    pub port: PortIndex,
    /// Which way it went.
    pub direction: Direction,
    /// Where on its journey it was copied.
    pub stage: CaptureStage,
    /// What became of it, if that was known.
    pub fate: Option<Fate>,
    /// Length of the whole packet in bytes.
    pub length: u32,
}

/// A captured packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// What is known about it.
    pub header: CaptureHeader,
    /// Its first bytes, at most [`CAPTURE_BYTES`].
    pub bytes: Vec<u8>,
}

fn fate_to_bits(fate: Option<Fate>) -> u64 {
    match fate {
        None => 0,
        Some(Fate::Send) => 1,
        Some(Fate::Drop(reason)) => 2 | (reason as u64) << 8,
        Some(Fate::Punt(reason)) => 3 | (reason as u64) << 8,
        Some(Fate::HandOver) => 4,
        Some(Fate::Hold) => 5,
    }
}

fn fate_from_bits(bits: u64) -> Option<Option<Fate>> {
    let detail = ((bits >> 8) & 0xff) as usize;
    let fate = match (bits & 0xff, detail) {
        (0, 0) => return Some(None),
        (1, 0) => Fate::Send,
        (2, _) => Fate::Drop(*DropReason::ALL.get(detail)?),
        (3, 0) => Fate::Punt(PuntReason::Local),
        (3, 1) => Fate::Punt(PuntReason::Protocol),
        (4, 0) => Fate::HandOver,
        (5, 0) => Fate::Hold,
        _ => return None,
    };
    Some(Some(fate))
}

impl CaptureHeader {
    fn to_words(self, kept: usize) -> [u64; 3] {
        let direction = match self.direction {
            Direction::In => 0,
            Direction::Out => 1,
        };
        let stage = match self.stage {
            CaptureStage::Wire => 0,
            CaptureStage::Inner => 1,
        };
        let about = u64::from(self.port.0) | direction << 16 | stage << 24 | fate_to_bits(self.fate) << 32;
        [self.time_ns, about, u64::from(self.length) | (kept as u64) << 32]
    }

    /// The header and how many bytes follow; `None` for what no worker writes.
    fn from_words([time_ns, about, lengths]: [u64; 3]) -> Option<(CaptureHeader, usize)> {
        let direction = match (about >> 16) & 0xff {
            0 => Direction::In,
            1 => Direction::Out,
            _ => return None,
        };
        let stage = match (about >> 24) & 0xff {
            0 => CaptureStage::Wire,
            1 => CaptureStage::Inner,
            _ => return None,
        };
        let fate = fate_from_bits(about >> 32)?;
        let (port, length, kept) = (PortIndex(about as u16), lengths as u32, (lengths >> 32) as usize);
        let header = CaptureHeader {
            time_ns,
            port,
            direction,
            stage,
            fate,
            length,
        };
        (kept <= CAPTURE_BYTES && kept <= length as usize).then_some((header, kept))
    }
}

/// A worker's end.
#[derive(Debug)]
pub struct CaptureWriter<'m> {
    ring: Ring<'m, AtomicU64>,
}

/// Control's end of one worker's ring.
#[derive(Debug)]
pub struct CaptureReader<'m> {
    ring: Ring<'m, AtomicU64>,
}

fn ring(state: &State, worker: usize) -> Option<Ring<'_, AtomicU64>> {
    let words = share(state.part(StatePart::CaptureRing), state.workers().count(), worker)?;
    Ring::new(words, RECORD_WORDS)
}

impl<'m> CaptureWriter<'m> {
    /// The ring of worker `worker`; `None` if there is none. One writer per worker.
    pub fn new(state: &'m State, worker: usize) -> Option<CaptureWriter<'m>> {
        ring(state, worker).map(|ring| CaptureWriter { ring })
    }

    /// Counts as dropped a packet that nobody could keep until its fate was known.
    pub fn miss(&mut self) {
        self.ring.miss();
    }

    /// Copies a packet's first bytes. False, and counted as dropped, if the ring is full.
    pub fn push(&mut self, header: &CaptureHeader, packet: &[u8]) -> bool {
        let kept = &packet[..packet.len().min(CAPTURE_BYTES).min(header.length as usize)];
        let about = header.to_words(kept.len());
        self.ring.push(|record| {
            for (word, value) in record.iter().zip(about) {
                word.store(value, Ordering::Relaxed);
            }
            for (word, chunk) in record[HEADER_WORDS..].iter().zip(kept.chunks(8)) {
                let mut bytes = [0; 8];
                bytes[..chunk.len()].copy_from_slice(chunk);
                word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
            }
        })
    }
}

impl<'m> CaptureReader<'m> {
    /// The ring of worker `worker`; `None` if there is none. One reader per worker.
    pub fn new(state: &'m State, worker: usize) -> Option<CaptureReader<'m>> {
        ring(state, worker).map(|ring| CaptureReader { ring })
    }

    /// The oldest packet. Skips what says nothing sensible, at most a ring full of it.
    pub fn pop(&mut self) -> Option<Captured> {
        for _ in 0..self.ring.capacity() {
            if let Some(captured) = self.ring.pop(read_captured)? {
                return Some(captured);
            }
        }
        None
    }

    /// Packets that found no room since the region was made, whichever port they were of.
    pub fn dropped(&self) -> u64 {
        self.ring.dropped()
    }
}

/// A record, as it was pushed; `None` for what no worker writes.
pub(crate) fn read_captured(record: &[AtomicU64]) -> Option<Captured> {
    let about = core::array::from_fn(|at| record[at].load(Ordering::Relaxed));
    let (header, kept) = CaptureHeader::from_words(about)?;
    let words = record[HEADER_WORDS..].iter().take(kept.div_ceil(8));
    let mut bytes: Vec<u8> = words
        .flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes())
        .collect();
    bytes.truncate(kept);
    Some(Captured { header, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::{HugePages, Region};
    use crate::state::{Limits, StateSpec};

    fn state() -> State {
        let spec = StateSpec::new(Limits {
            workers: 2,
            ..Limits::default()
        });
        State::create(Region::create("state", spec.bytes(), HugePages::Never).unwrap(), &spec).unwrap()
    }

    fn header(fate: Option<Fate>, length: u32) -> CaptureHeader {
        CaptureHeader {
            time_ns: u64::MAX,
            port: PortIndex(u16::MAX),
            direction: Direction::Out,
            stage: CaptureStage::Inner,
            fate,
            length,
        }
    }

    #[test]
    fn packets_come_out_as_they_went_in_cut_to_size() {
        let state = state();
        let mut writer = CaptureWriter::new(&state, 1).unwrap();
        let mut reader = CaptureReader::new(&state, 1).unwrap();
        let packet: Vec<u8> = (0..9000u32).map(|byte| byte as u8).collect();
        for length in [0usize, 1, 7, 8, 9, 64, 1514, CAPTURE_BYTES, CAPTURE_BYTES + 1, 9000] {
            assert!(writer.push(&header(None, length as u32), &packet[..length]));
            let captured = reader.pop().unwrap();
            assert_eq!(captured.header, header(None, length as u32));
            assert_eq!(captured.bytes, &packet[..length.min(CAPTURE_BYTES)]);
        }
        assert!(CaptureReader::new(&state, 0).unwrap().pop().is_none());
    }

    #[test]
    fn every_fate_survives() {
        let punts = [PuntReason::Local, PuntReason::Protocol].map(Fate::Punt);
        let drops = DropReason::ALL.iter().copied().map(Fate::Drop);
        let fates = [Fate::Send, Fate::HandOver, Fate::Hold]
            .into_iter()
            .chain(punts)
            .chain(drops);
        for fate in fates.map(Some).chain([None]) {
            assert_eq!(fate_from_bits(fate_to_bits(fate)), Some(fate));
        }
        assert_eq!(fate_from_bits(2 | 0xff << 8), None);
        assert_eq!(fate_from_bits(6), None);
        assert_eq!(fate_from_bits(3 | 2 << 8), None);
    }

    #[test]
    fn a_full_ring_drops_and_nonsense_is_skipped() {
        let state = state();
        let mut writer = CaptureWriter::new(&state, 0).unwrap();
        let pushed = (0..CAPTURE_CAPACITY + 3)
            .filter(|_| writer.push(&header(None, 60), &[1; 60]))
            .count();
        let mut reader = CaptureReader::new(&state, 0).unwrap();
        assert_eq!((pushed, reader.dropped()), (CAPTURE_CAPACITY, 3));
        let first_lengths = &state.part(StatePart::CaptureRing)[RING_HEADER_WORDS + 2];
        first_lengths.store(60 | (61 << 32), Ordering::Relaxed);
        assert_eq!(core::iter::from_fn(|| reader.pop()).count(), CAPTURE_CAPACITY - 1);
    }
}

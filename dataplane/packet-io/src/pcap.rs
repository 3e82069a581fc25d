//! Captures: packets of a file arrive on one port, what the worker sends goes into another file. Needs no root.
//!
//! One packet is received at a time, so that whatever is sent bears the time of the packet that caused it. A replay takes
//! its clock from the capture: [`Pcap::next_time`] looks ahead, [`Pcap::admit`] lets the packet arrive when the clock is set.

mod capture;
mod output;

pub use output::OutputFormat;

use crate::arena::{Arena, Resting};
use crate::batch::FrameBatch;
use crate::frame::{FRAME_CAPACITY, FRAME_SIZE, Frame};
use crate::packet_io::{FrameCensus, PacketIo, PortSlot};
use capture::Capture;
use output::Output;
use std::io::{Read, Write};
use std::os::fd::BorrowedFd;
use std::time::Duration;
use std::{fmt, io};

/// Frames of a replay; it has one packet in flight, and what a worker holds back.
const FRAMES: usize = 1024;

/// Why a replay ended early.
#[derive(Debug)]
pub enum PcapError {
    /// A file could not be read or written.
    Io(io::Error),
    /// The input is no pcap or pcapng, or is damaged from here on.
    Damaged,
    /// The capture holds no Ethernet frames but this link type.
    LinkType(u32),
}

impl fmt::Display for PcapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PcapError::Io(error) => write!(f, "capture: {error}"),
            PcapError::Damaged => f.write_str("capture: neither pcap nor pcapng, or damaged"),
            PcapError::LinkType(number) => write!(f, "capture: link type {number}, only Ethernet (1) can be replayed"),
        }
    }
}

impl std::error::Error for PcapError {}

impl From<io::Error> for PcapError {
    fn from(error: io::Error) -> Self {
        PcapError::Io(error)
    }
}

impl From<pcap_file::PcapError> for PcapError {
    fn from(error: pcap_file::PcapError) -> Self {
        if let pcap_file::PcapError::IoError(error) = error {
            PcapError::Io(error)
        } else {
            PcapError::Damaged
        }
    }
}

/// What a replay did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PcapSummary {
    /// Packets that arrived: given to the worker, or passed over.
    pub received: u64,
    /// Records of the capture that tell of no packet received on the port (sent by it, or the inside of a tunnel).
    pub left_out: u64,
    /// Packets among them that the capture had cut.
    pub cut: u64,
    /// Packets that no frame can hold, left out.
    pub too_long: u64,
    /// Packets sent, per port.
    pub sent: Vec<u64>,
    /// Packets punted, per port.
    pub punted: Vec<u64>,
}

/// A port as capture files know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePort {
    /// Its name.
    pub name: String,
    /// Its device.
    pub slot: PortSlot,
    /// Its 802.1Q tag, 0 = untagged.
    pub vlan: u16,
}

/// A packet at rest, about to arrive or about to be written.
struct Queued {
    time: Duration,
    slot: PortSlot,
    packet: Resting,
}

/// The capture backend.
pub struct Pcap {
    arena: Arena,
    input: Capture,
    output: Output,
    ports: Vec<FilePort>,
    slot: PortSlot,
    queued: Vec<Queued>,
    ahead: Option<Queued>,
    admitted: usize,
    time: Duration,
    ended: bool,
    failure: Option<PcapError>,
    summary: PcapSummary,
}

impl Pcap {
    /// Replays `input` (read whole into memory) on the port at `place` of `ports`. All that is sent, on whichever port, goes
    /// to `output`, with nanoseconds.
    ///
    /// A capture that `tombolo` wrote also tells of what the port sent and of what was inside its tunnels: only what its
    /// interface of the port's name received arrives here. Of any other capture everything does that is not marked as sent.
    ///
    /// # Errors
    /// When a file cannot be read or written, or the input is no capture of Ethernet frames.
    ///
    /// # Panics
    /// If there is no port at `place`.
    pub fn open(
        mut input: impl Read,
        output: impl Write + Send + 'static,
        format: OutputFormat,
        ports: Vec<FilePort>,
        place: usize,
    ) -> Result<Self, PcapError> {
        let mut bytes = Vec::new();
        input.read_to_end(&mut bytes)?;
        let port = &ports[place];
        let slots = ports.iter().map(|port| port.slot.usize() + 1).max().unwrap_or(0);
        Ok(Self {
            arena: Arena::new(FRAMES, FRAME_SIZE),
            input: Capture::new(bytes, port.name.clone())?,
            output: Output::new(Box::new(output), format, &ports)?,
            slot: port.slot,
            ports,
            queued: Vec::with_capacity(FRAMES),
            ahead: None,
            admitted: usize::MAX,
            time: Duration::ZERO,
            ended: false,
            failure: None,
            summary: PcapSummary {
                sent: vec![0; slots],
                punted: vec![0; slots],
                ..PcapSummary::default()
            },
        })
    }

    /// Time of the last packet received, since 1970.
    pub fn time(&self) -> Duration {
        self.time
    }

    /// Time of the packet that arrives next, since 1970; none at the end of the input (or at its damage).
    pub fn next_time(&mut self) -> Option<Duration> {
        self.look_ahead();
        self.ahead.as_ref().map(|packet| packet.time)
    }

    /// Shows the packet that arrives next; none at the end of the input (or at its damage).
    pub fn look_at_next<R>(&mut self, with: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.look_ahead();
        let ahead = self.ahead.as_ref()?;
        Some(with(ahead.packet.packet()))
    }

    /// Leaves out the packet that arrives next: it is not the worker's.
    pub fn pass_over(&mut self) {
        if let Some(ahead) = self.ahead.take() {
            self.arena.put_free(ahead.packet);
        }
    }

    /// Lets so many packets arrive and no more until it is called again. Before the first call all may.
    pub fn admit(&mut self, packets: usize) {
        self.admitted = packets;
    }

    /// Whether everything up to the end of the input (or its damage) was received.
    pub fn ended(&self) -> bool {
        self.ended && self.ahead.is_none()
    }

    /// What happened so far.
    pub fn summary(&self) -> &PcapSummary {
        &self.summary
    }

    /// Ends the replay: everything sent is in the output.
    ///
    /// # Errors
    /// The first thing that went wrong while reading or writing.
    pub fn finish(mut self) -> Result<PcapSummary, PcapError> {
        self.flush();
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => {
                self.output.finish()?;
                Ok(self.summary)
            }
        }
    }

    fn look_ahead(&mut self) {
        if self.ahead.is_some() || self.ended || self.arena.free() == 0 {
            return;
        }
        match self.next() {
            Ok(packet) => self.ahead = packet,
            Err(failure) => self.fail(failure),
        }
    }

    /// The next packet that a frame can hold.
    fn next(&mut self) -> Result<Option<Queued>, PcapError> {
        let slot = self.slot;
        while let Some(packet) = self.input.next(&mut self.summary.left_out)? {
            if packet.bytes.len() > FRAME_CAPACITY {
                self.summary.too_long += 1;
                continue;
            }
            self.summary.received += 1;
            self.summary.cut += u64::from(packet.wire_length > packet.bytes.len());
            let time = packet.time;
            return Ok(self
                .arena
                .store(packet.bytes)
                .map(|packet| Queued { time, slot, packet }));
        }
        self.ended = true;
        Ok(None)
    }

    fn fail(&mut self, failure: PcapError) {
        self.ended = true;
        self.failure.get_or_insert(failure);
    }

    fn write(&mut self, queued: &Queued) -> Result<(), PcapError> {
        let Self { output, ports, .. } = self;
        output.packet(ports, queued.slot, queued.time, queued.packet.packet())
    }
}

impl PacketIo for Pcap {
    fn ports(&self) -> usize {
        self.summary.sent.len()
    }

    /// At most one packet at a time.
    fn receive(&mut self, port: PortSlot, into: &mut FrameBatch) -> usize {
        if port != self.slot || into.room() == 0 || self.admitted == 0 {
            return 0;
        }
        self.look_ahead();
        let Some(arrived) = self.ahead.take() else {
            return 0;
        };
        self.admitted -= 1;
        self.time = arrived.time;
        into.push(self.arena.hand_out(arrived.packet));
        1
    }

    fn transmit(&mut self, port: PortSlot, frame: Frame) -> Result<(), Frame> {
        let Some(sent) = self.summary.sent.get_mut(port.usize()) else {
            return Err(frame);
        };
        *sent += 1;
        let packet = self.arena.take_back(frame);
        self.queued.push(Queued {
            time: self.time,
            slot: port,
            packet,
        });
        Ok(())
    }

    fn flush(&mut self) {
        let mut queued = std::mem::take(&mut self.queued);
        for packet in queued.drain(..) {
            if let Err(failure) = self.write(&packet) {
                self.fail(failure);
            }
            self.arena.put_free(packet.packet);
        }
        self.queued = queued;
    }

    fn allocate(&mut self) -> Option<Frame> {
        let free = self.arena.take_free()?;
        let mut frame = self.arena.hand_out(free);
        frame.set_len(0);
        Some(frame)
    }

    fn release(&mut self, frame: Frame) {
        let resting = self.arena.take_back(frame);
        self.arena.put_free(resting);
    }

    /// There is no kernel behind a capture: counted.
    fn punt(&mut self, port: PortSlot, _frame: &Frame) -> bool {
        let Some(punted) = self.summary.punted.get_mut(port.usize()) else {
            return false;
        };
        *punted += 1;
        true
    }

    fn receive_from_kernel(&mut self, _port: PortSlot, _into: &mut FrameBatch) -> usize {
        0
    }

    /// A file is always ready.
    fn wait(&mut self, _timeout: Duration, _wake: Option<BorrowedFd<'_>>) {}

    fn tx_pending(&self) -> bool {
        !self.queued.is_empty()
    }

    fn census(&mut self) -> FrameCensus {
        FrameCensus {
            free: self.arena.free(),
            received: usize::from(self.ahead.is_some()),
            transmit: self.queued.len(),
            outside: self.arena.outside(),
            total: self.arena.total(),
            ..FrameCensus::default()
        }
    }
}

/// Replays `data` as a capture; must not panic, whatever the bytes are.
#[doc(hidden)]
pub fn fuzz_capture(data: &[u8]) {
    let Ok(mut capture) = Capture::new(data.to_vec(), "uplink".into()) else {
        return;
    };
    while let Ok(Some(_)) = capture.next(&mut 0) {}
}

#[cfg(test)]
mod tests;

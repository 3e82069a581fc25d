//! Captures: packets of a file arrive on one port, what the worker sends goes into another file. Needs no root.
//!
//! One packet is received at a time, so that whatever is sent bears the time of the packet that caused it. A replay takes
//! its clock from the capture: [`Pcap::next_time`] looks ahead, [`Pcap::admit`] lets the packet arrive when the clock is set.

mod capture;

use crate::arena::{Arena, Resting};
use crate::batch::FrameBatch;
use crate::frame::{FRAME_CAPACITY, Frame};
use crate::packet_io::{FrameCensus, PacketIo, PortSlot};
use capture::Capture;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::{DataLink, TsResolution};
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
    /// Packets given to the worker.
    pub received: u64,
    /// Packets among them that the capture had cut.
    pub cut: u64,
    /// Packets that no frame can hold, left out.
    pub too_long: u64,
    /// Packets sent, per port.
    pub sent: Vec<u64>,
    /// Packets punted, per port.
    pub punted: Vec<u64>,
}

/// A packet at rest, about to arrive or about to be written.
struct Queued {
    time: Duration,
    packet: Resting,
}

/// The capture backend.
pub struct Pcap {
    arena: Arena,
    input: Capture,
    output: PcapWriter<Box<dyn Write + Send>>,
    port: PortSlot,
    queued: Vec<Queued>,
    ahead: Option<Queued>,
    admitted: usize,
    time: Duration,
    ended: bool,
    failure: Option<PcapError>,
    summary: PcapSummary,
}

impl Pcap {
    /// Replays `input` (read whole into memory) on `port` of `ports` ports. All that is sent, on whichever port, goes
    /// to `output` as pcap with nanoseconds.
    ///
    /// # Errors
    /// When a file cannot be read or written, or the input is no capture of Ethernet frames.
    pub fn open(
        mut input: impl Read,
        output: impl Write + Send + 'static,
        ports: usize,
        port: PortSlot,
    ) -> Result<Self, PcapError> {
        let mut bytes = Vec::new();
        input.read_to_end(&mut bytes)?;
        let header = PcapHeader {
            ts_resolution: TsResolution::NanoSecond,
            datalink: DataLink::ETHERNET,
            ..PcapHeader::default()
        };
        let output: Box<dyn Write + Send> = Box::new(output);
        Ok(Self {
            arena: Arena::new(FRAMES),
            input: Capture::new(bytes)?,
            output: PcapWriter::with_header(output, header)?,
            port,
            queued: Vec::with_capacity(FRAMES),
            ahead: None,
            admitted: usize::MAX,
            time: Duration::ZERO,
            ended: false,
            failure: None,
            summary: PcapSummary {
                sent: vec![0; ports],
                punted: vec![0; ports],
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
                self.output.into_writer().flush()?;
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
        while let Some(packet) = self.input.next()? {
            if packet.bytes.len() > FRAME_CAPACITY {
                self.summary.too_long += 1;
                continue;
            }
            self.summary.received += 1;
            self.summary.cut += u64::from(packet.wire_length > packet.bytes.len());
            let time = packet.time;
            return Ok(self.arena.store(packet.bytes).map(|packet| Queued { time, packet }));
        }
        self.ended = true;
        Ok(None)
    }

    fn fail(&mut self, failure: PcapError) {
        self.ended = true;
        self.failure.get_or_insert(failure);
    }

    fn write(&mut self, queued: &Queued) -> Result<(), PcapError> {
        let Self { arena, output, .. } = self;
        arena.look(queued.packet, |bytes| {
            output.write_packet(&PcapPacket::new(queued.time, bytes.len() as u32, bytes))
        })?;
        Ok(())
    }
}

impl PacketIo for Pcap {
    fn ports(&self) -> usize {
        self.summary.sent.len()
    }

    /// At most one packet at a time.
    fn receive(&mut self, port: PortSlot, into: &mut FrameBatch) -> usize {
        if port != self.port || into.room() == 0 || self.admitted == 0 {
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
            self.arena.put_free(packet.packet.0);
        }
        self.queued = queued;
    }

    fn allocate(&mut self) -> Option<Frame> {
        let index = self.arena.take_free()?;
        Some(self.arena.hand_out((index, 0)))
    }

    fn release(&mut self, frame: Frame) {
        let (index, _) = self.arena.take_back(frame);
        self.arena.put_free(index);
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
    let Ok(mut capture) = Capture::new(data.to_vec()) else {
        return;
    };
    while let Ok(Some(_)) = capture.next() {}
}

#[cfg(test)]
mod tests;

//! Packets that somebody wants to see, for tcpdump is blind to redirected frames: copied at four places of the journey, and
//! given to control's ring with their fate.
//!
//! The generation names the ports. While it names none, each place is one test per batch. A copy waits in memory made at
//! start until its batch is over, since only then its fate is known; more than [`COPIES_MAX`] per batch are left out,
//! and count as what the ring had no room for.

use crate::batch::{Batch, Entry, Exit, Packet};
use crate::gateway::Gateway;
use crate::ports::PortMap;
use crate::time::Now;
use tombolo_flow::decide::egress_port;
use tombolo_packet_io::{Frame, FrameBatch, PacketIo, PortSlot};
use tombolo_tables::capture::{CAPTURE_BYTES, CAPTURE_CAPACITY, CaptureHeader, CaptureStage, CaptureWriter, Direction};
use tombolo_tables::fate::Fate;
use tombolo_tables::layout::{NextHop, PortIndex};
use tombolo_tables::state::State;
use tombolo_tables::view::Tables;
use tombolo_wire::{ethertype, parse_link};

/// Copies of one batch: as many as the ring holds.
const COPIES_MAX: usize = CAPTURE_CAPACITY;
/// Length of an untagged Ethernet header.
const LINK_LENGTH: usize = 14;

/// Which frame a packet is in: the address of its first byte.
type FrameId = usize;

/// Which packet a copy was made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Original {
    /// The one in this frame; holds while frames stay with their packets: up to the end of `open`, and during `emit`.
    In(FrameId),
    /// The one at this place of the batch.
    At(usize),
    /// One that the batch does not know any more.
    Gone,
}

struct Copy {
    header: CaptureHeader,
    kept: usize,
    original: Original,
}

/// What one worker captures.
pub struct Capture {
    ring: Option<CaptureWriter<'static>>,
    ports: u64,
    time_ns: u64,
    copies: Vec<Copy>,
    bytes: Vec<u8>,
}

impl Capture {
    /// Captures into the ring of `worker`; without one, nothing.
    pub fn new(state: &'static State, worker: usize) -> Self {
        Capture {
            ring: CaptureWriter::new(state, worker),
            ports: 0,
            time_ns: 0,
            copies: Vec::with_capacity(COPIES_MAX),
            // Untouched until somebody captures: no memory yet.
            bytes: vec![0; COPIES_MAX * CAPTURE_BYTES],
        }
    }

    /// A batch begins: what its generation wants captured.
    #[inline]
    pub fn begin(&mut self, tables: &Tables<'_>, now: Now) {
        self.ports = tables.capture();
        self.time_ns = now.milliseconds.saturating_mul(1_000_000);
    }

    /// Whether anything is captured.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.ports != 0
    }

    fn wants(&self, port: PortIndex) -> bool {
        self.ports.checked_shr(port.0.into()).is_some_and(|bits| bits & 1 != 0)
    }

    fn copy(&mut self, port: PortIndex, direction: Direction, stage: CaptureStage, original: Original, packet: &[u8]) {
        let place = self.copies.len() * CAPTURE_BYTES;
        let kept = packet.len().min(CAPTURE_BYTES);
        let Some(room) = self.bytes.get_mut(place..place + kept) else {
            if let Some(ring) = &mut self.ring {
                ring.miss();
            }
            return;
        };
        room.copy_from_slice(&packet[..kept]);
        let header = CaptureHeader {
            time_ns: self.time_ns,
            port,
            direction,
            stage,
            fate: None,
            length: packet.len() as u32,
        };
        self.copies.push(Copy { header, kept, original });
    }

    /// Copies an inner packet. The link header ahead of it is another packet's: its type is made to fit.
    fn copy_inner(&mut self, port: PortIndex, direction: Direction, place: usize, packet: &Packet) {
        let Some(bytes) = packet.bytes().get(..usize::from(packet.headers.end)) else {
            return;
        };
        let copies = self.copies.len();
        self.copy(port, direction, CaptureStage::Inner, Original::At(place), bytes);
        let made = self.copies.len() > copies && bytes.len() >= LINK_LENGTH;
        if made {
            let v6 = packet.headers.addresses.is_v6();
            let ethertype = if v6 { ethertype::IPV6 } else { ethertype::IPV4 };
            let at = copies * CAPTURE_BYTES + LINK_LENGTH - 2;
            self.bytes[at..at + 2].copy_from_slice(&ethertype.to_be_bytes());
        }
    }

    /// The packet in `frame` meets `fate`; told again, the last word counts.
    pub fn ended(&mut self, frame: &Frame, fate: Fate) {
        let original = Original::In(id(frame));
        for copy in self.copies.iter_mut().filter(|copy| copy.original == original) {
            copy.header.fate = Some(fate);
        }
    }

    /// `emit` begins: from here on packets are told by the frames they are in now.
    pub fn leaving(&mut self, batch: &mut Batch) {
        let packets = batch.all();
        for copy in &mut self.copies {
            if let Original::At(place) = copy.original {
                let frame = packets.get(place).and_then(|packet| packet.frame.as_ref());
                copy.original = frame.map_or(Original::Gone, |frame| Original::In(id(frame)));
            }
        }
    }

    /// `frame` is queued on `port`, link header and all.
    pub fn transmitted(&mut self, port: PortIndex, frame: &Frame) {
        if self.wants(port) {
            let original = Original::In(id(frame));
            self.copy(port, Direction::Out, CaptureStage::Wire, original, frame.packet());
        }
        self.ended(frame, Fate::Send);
    }

    /// The batch is over, every fate known: gives its copies to control. What another worker seals it shows.
    pub fn close(&mut self) {
        let Some(ring) = &mut self.ring else {
            return self.copies.clear();
        };
        for (copy, bytes) in self.copies.drain(..).zip(self.bytes.chunks(CAPTURE_BYTES)) {
            let elsewhere = copy.header.stage == CaptureStage::Inner && copy.header.fate == Some(Fate::HandOver);
            if !elsewhere {
                // A full ring counts what it has no room for.
                ring.push(&copy.header, &bytes[..copy.kept]);
            }
        }
    }
}

fn id(frame: &Frame) -> FrameId {
    frame.packet().as_ptr() as FrameId
}

/// Place 1: frames as they came in on `slot`, ahead of `parse`.
#[inline]
pub fn received<I: PacketIo>(gateway: &mut Gateway<'_, I>, slot: PortSlot, entry: Entry, frames: &FrameBatch) {
    if !gateway.capture.is_on() || entry != Entry::Received {
        return;
    }
    for frame in frames.iter() {
        if let Some(port) = port_of(gateway.ports, slot, frame.packet()).filter(|port| gateway.capture.wants(*port)) {
            let original = Original::In(id(frame));
            gateway
                .capture
                .copy(port, Direction::In, CaptureStage::Wire, original, frame.packet());
        }
    }
}

/// The port that the books name for a frame: by its tag, or the untagged one.
fn port_of(ports: &PortMap, slot: PortSlot, frame: &[u8]) -> Option<PortIndex> {
    let tag = parse_link(frame).ok().and_then(|link| link.vlan).unwrap_or(0);
    ports.port(slot, tag & 0x0fff).or_else(|| ports.port(slot, 0))
}

/// Place 2: what came out of a tunnel, after `open`.
#[inline]
pub fn opened<I: PacketIo>(gateway: &mut Gateway<'_, I>, batch: &mut Batch) {
    if !gateway.capture.is_on() {
        return;
    }
    let capture = &mut *gateway.capture;
    for (place, packet) in batch.all().iter().enumerate() {
        let Some(frame) = &packet.frame else { continue };
        for copy in &mut capture.copies {
            if copy.original == Original::In(id(frame)) {
                copy.original = Original::At(place);
            }
        }
        if packet.fate.is_none() && packet.tunnel.is_some() && capture.wants(packet.ingress) {
            capture.copy_inner(packet.ingress, Direction::In, place, packet);
        }
    }
    // What `parse` refused has its fate, and its frame is somebody else's from now on.
    for copy in &mut capture.copies {
        if matches!(copy.original, Original::In(_)) {
            copy.original = Original::Gone;
        }
    }
}

/// Place 3: what is about to enter a tunnel, ahead of `seal`, on the port where the tunnel leaves.
#[inline]
pub fn sealing<I: PacketIo>(gateway: &mut Gateway<'_, I>, batch: &mut Batch) {
    if !gateway.capture.is_on() {
        return;
    }
    for (place, packet) in batch
        .all()
        .iter()
        .enumerate()
        .filter(|(_, packet)| packet.fate.is_none())
    {
        if let Some(port) = tunnel_port(gateway.tables, packet.exit).filter(|port| gateway.capture.wants(*port)) {
            gateway.capture.copy_inner(port, Direction::Out, place, packet);
        }
    }
}

fn tunnel_port(tables: &Tables<'_>, exit: Exit) -> Option<PortIndex> {
    match exit {
        Exit::Hop {
            next_hop: NextHop::Tunnel(tunnel),
            ..
        } => egress_port(tables, NextHop::from_bits(tables.tunnel(tunnel)?.underlay_next_hop)),
        Exit::Hop { .. } | Exit::Station { .. } | Exit::Undecided => None,
    }
}

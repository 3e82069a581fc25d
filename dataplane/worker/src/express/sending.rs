//! What the lane sends, port by port, and its books.

use super::exits::{Exit, Gate};
use super::ingress::Ingress;
use crate::gateway::Gateway;
use tombolo_packet_io::{BATCH, Frame, FrameBatch, PacketIo};
use tombolo_tables::fate::{Counter, DropReason, Fate};

/// Frames of a batch that leave, and counts that are not in the books yet.
///
/// A frame that leaves as it came stays in its batch and is only marked. In the end the whole batch goes as it is, where all of it
/// leaves through one port: nearly always.
pub(super) struct Sending {
    /// By place in the batch; `Gate::NONE` is no mark.
    gates: [Gate; BATCH],
    /// Other finished frames for one port.
    waiting: FrameBatch,
    waiting_bytes: u64,
    gate: Gate,
    /// Frames and bytes that the lane took from the batch, as they came in.
    received: u64,
    received_bytes: u64,
}

impl Default for Sending {
    fn default() -> Self {
        Sending {
            gates: [Gate::NONE; BATCH],
            waiting: FrameBatch::new(),
            waiting_bytes: 0,
            gate: Gate::NONE,
            received: 0,
            received_bytes: 0,
        }
    }
}

impl Sending {
    /// Books a frame of `bytes` bytes that the lane takes from the batch: from here on it is the lane's to find its fate.
    #[inline(always)]
    pub(super) fn received(&mut self, bytes: usize) {
        self.received += 1;
        self.received_bytes += bytes as u64;
    }

    /// The finished frame at a place of the batch leaves through a port.
    #[inline(always)]
    pub(super) fn mark(&mut self, place: usize, gate: Gate) {
        self.gates[place % BATCH] = gate;
    }

    /// Sends a finished frame of the lane's own; the batch came in on `ingress`.
    #[inline(always)]
    pub(super) fn send<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        ingress: &Ingress,
        exit: &Exit,
        frame: Frame,
    ) {
        self.add(gateway, ingress, exit.gate, frame);
    }

    #[inline(always)]
    fn add<I: PacketIo>(&mut self, gateway: &mut Gateway<'_, I>, ingress: &Ingress, gate: Gate, frame: Frame) {
        if (gate != self.gate) | (self.waiting.room() == 0) {
            self.close_port(gateway, ingress);
            self.gate = gate;
        }
        self.waiting_bytes += frame.len() as u64;
        self.waiting.push(frame);
    }

    /// Sends what is marked, and the rest, and closes a batch's books. `booked` has a bit for each place whose frame was booked as
    /// received before.
    #[inline(always)]
    pub(super) fn finish<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        ingress: &Ingress,
        frames: &mut FrameBatch,
        booked: u64,
    ) {
        self.close_port(gateway, ingress);
        let count = frames.len();
        let gates = &self.gates[..count];
        let first = gates.first().copied().unwrap_or(Gate::NONE);
        let differs = gates.iter().fold(0, |differs, gate| differs | gate.differs(first));
        if differs != 0 {
            self.send_marked(gateway, ingress, frames, booked);
        } else if first != Gate::NONE {
            self.send_whole(gateway, ingress, first, frames, booked);
        }
        self.gates[..count].fill(Gate::NONE);
        self.gate = Gate::NONE;
        if self.received > 0 {
            let books = &mut gateway.books;
            books.add(ingress.port, Counter::Received as usize, self.received);
            books.add(ingress.port, Counter::ReceivedBytes as usize, self.received_bytes);
            (self.received, self.received_bytes) = (0, 0);
        }
    }

    /// All frames of the batch leave through one port.
    #[inline(always)]
    fn send_whole<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        ingress: &Ingress,
        gate: Gate,
        frames: &mut FrameBatch,
        booked: u64,
    ) {
        let (count, bytes) = (frames.len() as u64, frames.bytes());
        if booked == 0 {
            self.received += count;
            self.received_bytes += bytes;
        } else {
            self.book_some(frames, booked);
        }
        transmit(gateway, ingress, gate, frames, bytes);
    }

    /// Some stay, or they leave through several ports.
    fn send_marked<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        ingress: &Ingress,
        frames: &mut FrameBatch,
        booked: u64,
    ) {
        self.book_some(frames, booked);
        for place in 0..frames.len().min(BATCH) {
            let gate = self.gates[place];
            if gate != Gate::NONE
                && let Some(frame) = frames.take(place)
            {
                self.add(gateway, ingress, gate, frame);
            }
        }
        self.close_port(gateway, ingress);
    }

    /// Books as received what is marked and was not booked before.
    fn book_some(&mut self, frames: &FrameBatch, booked: u64) {
        for place in 0..frames.len().min(BATCH) {
            if self.gates[place] != Gate::NONE
                && booked >> place & 1 == 0
                && let Some(frame) = frames.get(place)
            {
                self.received(frame.len());
            }
        }
    }

    fn close_port<I: PacketIo>(&mut self, gateway: &mut Gateway<'_, I>, ingress: &Ingress) {
        if !self.waiting.is_empty() {
            transmit(gateway, ingress, self.gate, &mut self.waiting, self.waiting_bytes);
            self.waiting_bytes = 0;
        }
    }
}

/// Sends finished frames of so many bytes that came in on `ingress` through a port, and books them; none is left.
#[inline(always)]
fn transmit<I: PacketIo>(
    gateway: &mut Gateway<'_, I>,
    ingress: &Ingress,
    gate: Gate,
    frames: &mut FrameBatch,
    mut bytes: u64,
) {
    let mut sent = frames.len() as u64;
    gateway.io.transmit_batch(gate.slot(), frames);
    for refused in frames.drain() {
        sent -= 1;
        bytes -= refused.len() as u64;
        gateway.settle_frame(refused, ingress.port, ingress.slot, Fate::Drop(DropReason::TxFull));
    }
    let books = &mut gateway.books;
    books.add(ingress.port, Counter::Sent as usize, sent);
    books.add(gate.port(), Counter::Transmitted as usize, sent);
    books.add(gate.port(), Counter::TransmittedBytes as usize, bytes);
}

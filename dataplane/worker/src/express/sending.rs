//! What the lane sends, port by port, and its books.

use super::exits::Exit;
use super::ingress::Ingress;
use crate::gateway::Gateway;
use tombolo_packet_io::{Frame, FrameBatch, PacketIo, PortSlot};
use tombolo_tables::fate::{Counter, DropReason, Fate};
use tombolo_tables::layout::PortIndex;

/// No port: the slot of one may be another's in the next generation.
const NOWHERE: PortIndex = PortIndex(u16::MAX);

/// Frames of a batch that leave through one port, and counts that are not in the books yet.
pub(super) struct Sending {
    /// Finished frames for one port, which is `port` in the tables and `slot` in the packet I/O.
    waiting: FrameBatch,
    waiting_bytes: u64,
    port: PortIndex,
    slot: PortSlot,
    /// Frames and bytes that the lane took from the batch, as they came in.
    received: u64,
    received_bytes: u64,
}

impl Default for Sending {
    fn default() -> Self {
        Sending {
            waiting: FrameBatch::new(),
            waiting_bytes: 0,
            port: NOWHERE,
            slot: PortSlot(0),
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

    /// Sends a finished frame that came in on `ingress`, as all frames of a batch did.
    #[inline(always)]
    pub(super) fn send<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        ingress: &Ingress,
        exit: &Exit,
        frame: Frame,
    ) {
        if (exit.port != self.port) | (self.waiting.room() == 0) {
            self.close_port(gateway, ingress);
            (self.port, self.slot) = (exit.port, exit.slot);
        }
        self.waiting_bytes += frame.len() as u64;
        self.waiting.push(frame);
    }

    /// Sends the rest and closes a batch's books.
    #[inline(always)]
    pub(super) fn finish<I: PacketIo>(&mut self, gateway: &mut Gateway<'_, I>, ingress: &Ingress) {
        self.close_port(gateway, ingress);
        self.port = NOWHERE;
        if self.received > 0 {
            let books = &mut gateway.books;
            books.add(ingress.port, Counter::Received as usize, self.received);
            books.add(ingress.port, Counter::ReceivedBytes as usize, self.received_bytes);
            (self.received, self.received_bytes) = (0, 0);
        }
    }

    fn close_port<I: PacketIo>(&mut self, gateway: &mut Gateway<'_, I>, ingress: &Ingress) {
        let mut sent = self.waiting.len() as u64;
        if sent == 0 {
            return;
        }
        gateway.io.transmit_batch(self.slot, &mut self.waiting);
        for refused in self.waiting.drain() {
            sent -= 1;
            self.waiting_bytes -= refused.len() as u64;
            gateway.settle_frame(refused, ingress.port, ingress.slot, Fate::Drop(DropReason::TxFull));
        }
        let books = &mut gateway.books;
        books.add(ingress.port, Counter::Sent as usize, sent);
        books.add(self.port, Counter::Transmitted as usize, sent);
        books.add(self.port, Counter::TransmittedBytes as usize, self.waiting_bytes);
        self.waiting_bytes = 0;
    }
}

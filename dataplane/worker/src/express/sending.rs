//! What the lane sends, and its books, added up as long as packets leave through one port.

use super::exits::Exit;
use super::ingress::Ingress;
use crate::gateway::Gateway;
use tombolo_packet_io::{Frame, PacketIo};
use tombolo_tables::fate::{Counter, DropReason, Fate};
use tombolo_tables::layout::PortIndex;

/// Counts of a batch that are not in the books yet.
pub(super) struct Sending {
    /// Port that the last frame left through.
    port: PortIndex,
    /// Frames and bytes that left through it.
    sent: u64,
    sent_bytes: u64,
    /// Frames and bytes that the lane took from the batch, as they came in.
    received: u64,
    received_bytes: u64,
}

impl Default for Sending {
    fn default() -> Self {
        Sending {
            port: PortIndex(0),
            sent: 0,
            sent_bytes: 0,
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
        if exit.port != self.port {
            self.close_port(gateway, ingress);
            self.port = exit.port;
        }
        let bytes = frame.len() as u64;
        match gateway.io.transmit(exit.slot, frame) {
            Ok(()) => {
                self.sent += 1;
                self.sent_bytes += bytes;
            }
            Err(frame) => refused(gateway, ingress, frame),
        }
    }

    /// Closes a batch's books.
    #[inline(always)]
    pub(super) fn finish<I: PacketIo>(&mut self, gateway: &mut Gateway<'_, I>, ingress: &Ingress) {
        self.close_port(gateway, ingress);
        if self.received > 0 {
            let books = &mut gateway.books;
            books.add(ingress.port, Counter::Received as usize, self.received);
            books.add(ingress.port, Counter::ReceivedBytes as usize, self.received_bytes);
            (self.received, self.received_bytes) = (0, 0);
        }
    }

    fn close_port<I: PacketIo>(&mut self, gateway: &mut Gateway<'_, I>, ingress: &Ingress) {
        if self.sent > 0 {
            let books = &mut gateway.books;
            books.add(ingress.port, Counter::Sent as usize, self.sent);
            books.add(self.port, Counter::Transmitted as usize, self.sent);
            books.add(self.port, Counter::TransmittedBytes as usize, self.sent_bytes);
            (self.sent, self.sent_bytes) = (0, 0);
        }
    }
}

#[cold]
fn refused<I: PacketIo>(gateway: &mut Gateway<'_, I>, ingress: &Ingress, frame: Frame) {
    gateway.settle_frame(frame, ingress.port, ingress.slot, Fate::Drop(DropReason::TxFull));
}

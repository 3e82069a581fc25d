//! What every stage may reach while one batch travels: the generation, the shared state, the packet I/O, the books.

use crate::address;
use crate::batch::{Entry, Packet};
use crate::books::Books;
use crate::capture::Capture;
use crate::events::Events;
use crate::limits::Limiter;
use crate::ports::PortMap;
use crate::state::SharedState;
use crate::time::Now;
use tombolo_flow::WorkerLocal;
use tombolo_packet_io::{Frame, PacketIo, PortSlot};
use tombolo_tables::events::Event;
use tombolo_tables::fate::{DropReason, Fate};
use tombolo_tables::layout::PortIndex;
use tombolo_tables::view::Tables;
use tombolo_wire::Headers;
use tombolo_wire::steer::SteerConfig;

/// The surroundings of a batch.
pub struct Gateway<'a, I: PacketIo> {
    /// One consistent world.
    pub tables: &'a Tables<'a>,
    /// Sessions, mappings, sequence numbers, windows, counters.
    pub state: &'a SharedState<'a>,
    /// Ports and frames.
    pub io: &'a mut I,
    /// Which slot is which port.
    pub ports: &'a PortMap,
    /// What the steering rule knows of VLAN ports.
    pub steering: &'a SteerConfig,
    /// Fates of this batch.
    pub books: &'a mut Books,
    /// What this worker keeps of the session and mapping tables.
    pub flow: &'a mut WorkerLocal,
    /// What control is told.
    pub events: &'a mut Events<'static>,
    /// What is copied for people to see.
    pub capture: &'a mut Capture,
    /// What slows down what strangers can make us send.
    pub limiter: &'a mut Limiter,
    /// When the batch was taken.
    pub now: Now,
    /// Which worker this is.
    pub worker: usize,
}

impl<I: PacketIo> Gateway<'_, I> {
    /// Ends a packet's journey: counts it and gives its frame back.
    #[inline]
    pub fn settle(&mut self, mut packet: Packet, fate: Fate) {
        if let Some(frame) = packet.frame.take() {
            self.settle_frame(frame, packet.ingress, packet.slot, fate);
        }
    }

    /// The same for a frame that never became a packet.
    pub fn settle_frame(&mut self, frame: Frame, port: PortIndex, slot: PortSlot, fate: Fate) {
        let fate = match fate {
            Fate::Punt(_) if !self.limiter.punt() => Fate::Drop(DropReason::PuntLimit),
            Fate::Punt(_) if !self.io.punt(slot, &frame) => Fate::Drop(DropReason::PuntFailed),
            Fate::Send | Fate::Drop(_) | Fate::Punt(_) | Fate::HandOver | Fate::Hold => fate,
        };
        self.books.settle(port, fate);
        if self.capture.is_on() {
            self.capture.ended(&frame, fate);
        }
        self.io.release(frame);
    }

    /// A packet made here joins the books.
    #[inline]
    pub fn originate(&mut self, port: PortIndex, bytes: usize) {
        self.books.enter(port, Entry::Originated, bytes);
    }

    /// An ESP packet could not be opened. Of an SPI that is none of ours control is told, now and then: the peer may still use what was
    /// lost here (RFC 7296 §1.5).
    #[cold]
    pub fn not_opened(&mut self, outer: &Headers, spi: u32, reason: DropReason) {
        if reason == DropReason::EspUnknownSpi && self.limiter.unknown_spi() {
            let (address, _) = address::of(&outer.addresses);
            self.tell(Event::UnknownSpi { address, spi });
        }
    }

    /// Tells control something; a full ring loses it (control is told again by the next packet).
    pub fn tell(&mut self, event: Event) {
        self.events.push(event);
    }
}

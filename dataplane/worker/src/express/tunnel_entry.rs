//! Opening in the lane: what came through a tunnel is opened before the batch is read, and rides on as what it was inside.

use super::ingress::Ingress;
use super::payload::{AHEAD_PAYLOAD, ask_payload};
use super::sending::Sending;
use crate::batch::{Batch, Entry, Exit, Packet, Translation};
use crate::gateway::Gateway;
use crate::keys::KeyCache;
use crate::stages::{OpenFrom, Sealed, UDP_ESP_PORT, find_sealed};
use tombolo_packet_io::{BATCH, Frame, FrameBatch, PacketIo};
use tombolo_tables::fate::{DropReason, Fate};
use tombolo_tables::layout::{SegmentIndex, TunnelIndex};
use tombolo_wire::plain::{self, Plain, PlainEsp};
use tombolo_wire::{Addresses, Headers, parse_ip};

const LINK_LENGTH: usize = 14;

/// What a frame was opened to.
#[derive(Clone, Copy)]
pub(super) struct Opened {
    /// Segment of the inner packet.
    pub(super) segment: SegmentIndex,
    tunnel: TunnelIndex,
}

/// What was opened, by its place in the batch.
pub(super) struct TunnelEntry {
    opened: [Option<Opened>; BATCH],
    any: bool,
}

impl Default for TunnelEntry {
    fn default() -> Self {
        TunnelEntry {
            opened: [None; BATCH],
            any: false,
        }
    }
}

/// The SA that was used last, and what was decrypted with it since: all its numbers are shown to the replay window together.
struct Used<'a> {
    spi: u32,
    local: u32,
    encapsulated: bool,
    from: OpenFrom<'a>,
    decrypted: usize,
    sequences: [u64; BATCH],
    /// Places in the batch.
    places: [u8; BATCH],
    /// TOS of the outer packets.
    tos: [u8; BATCH],
}

impl TunnelEntry {
    /// Opens every frame that is plain ESP for this gateway; those that cannot be opened are dropped. Whatever else there is stays as
    /// it came.
    pub(super) fn open<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        keys: &mut KeyCache,
        sending: &mut Sending,
        ingress: &Ingress,
        frames: &mut FrameBatch,
    ) {
        let mut used: Option<Used<'_>> = None;
        for place in 0..AHEAD_PAYLOAD {
            ask_payload(frames, place);
        }
        for place in 0..frames.len() {
            super::ask(frames.get(place + super::LANES));
            ask_payload(frames, place + AHEAD_PAYLOAD);
            let Some(frame) = frames.get_mut(place) else { continue };
            if !plain::is_for(frame.head(), ingress.station) || !plain::may_be_sealed(frame.head(), UDP_ESP_PORT) {
                continue;
            }
            // Nearly always it is the same SA as before.
            if let Some(esp) = plain::read_esp(frame.head(), frame.len())
                && let Some(used) = used.as_mut().filter(|used| used.is_for_plain(&esp))
            {
                sending.received(frame.len());
                if let Err(reason) = used.decrypt(frame, place, esp.tos, plain::ESP_AT, esp.end.into()) {
                    drop_frame(gateway, ingress, frames, place, reason);
                }
                continue;
            }
            let Ok(outer) = parse_ip(frame.packet(), LINK_LENGTH) else {
                continue;
            };
            let segment = SegmentIndex(ingress.segment);
            let Ok(Some(sealed)) = find_sealed(gateway.tables, segment, &outer, frame.packet()) else {
                continue;
            };
            sending.received(frame.len());
            let at_hand = used.as_ref().is_some_and(|used| used.is_for(&outer, &sealed));
            if !at_hand {
                if let Some(used) = used {
                    self.accept(gateway, ingress, frames, &used);
                }
                used = match OpenFrom::new(gateway, &mut *keys, &outer, &sealed) {
                    Ok(from) => Some(Used::new(from, &outer, &sealed)),
                    Err(reason) => {
                        used = None;
                        drop_frame(gateway, ingress, frames, place, reason);
                        continue;
                    }
                };
            }
            let Some(used) = used.as_mut() else { continue };
            let Some(frame) = frames.get_mut(place) else { continue };
            if let Err(reason) = used.decrypt(frame, place, outer.tos, sealed.at, outer.end.into()) {
                drop_frame(gateway, ingress, frames, place, reason);
            }
        }
        if let Some(used) = used {
            self.accept(gateway, ingress, frames, &used);
        }
    }

    /// Takes what was decrypted with an SA and not seen before for opened.
    #[inline(always)]
    fn accept<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        ingress: &Ingress,
        frames: &mut FrameBatch,
        used: &Used<'_>,
    ) {
        let fresh = used.from.accept_all(&used.sequences[..used.decrypted]);
        let (mut packets, mut bytes) = (0, 0);
        for number in 0..used.decrypted {
            let place = usize::from(used.places[number]);
            let Some(frame) = frames.get_mut(place) else { continue };
            let inner = if fresh >> number & 1 == 1 {
                inner_length(gateway, used, frame, used.tos[number])
            } else {
                Err(DropReason::EspReplay)
            };
            if let Ok(length) = inner {
                packets += 1;
                bytes += length;
            }
            let opened = inner.map(|_| Opened {
                segment: used.from.segment(),
                tunnel: used.from.tunnel_index(),
            });
            self.keep(gateway, ingress, frames, place, opened);
        }
        if packets > 0 {
            used.from.count(gateway, packets, bytes);
        }
    }

    #[inline(always)]
    fn keep<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        ingress: &Ingress,
        frames: &mut FrameBatch,
        place: usize,
        opened: Result<Opened, DropReason>,
    ) {
        match opened {
            Ok(opened) => {
                self.opened[place] = Some(opened);
                self.any = true;
            }
            Err(reason) => drop_frame(gateway, ingress, frames, place, reason),
        }
    }

    /// Whether anything was opened.
    #[inline(always)]
    pub(super) fn any(&self) -> bool {
        self.any
    }

    /// What the frame at `place` was opened to, if it was.
    #[inline(always)]
    pub(super) fn at(&self, place: usize) -> Option<&Opened> {
        self.opened.get(place)?.as_ref()
    }

    /// What was opened and did not ride goes on the general way, as what it was inside. After this nothing is opened.
    #[inline(always)]
    pub(super) fn leave<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        ingress: &Ingress,
        frames: &mut FrameBatch,
        batch: &mut Batch,
    ) {
        if core::mem::take(&mut self.any) {
            for place in 0..BATCH {
                if let Some(opened) = self.opened[place].take() {
                    leave_one(gateway, ingress, frames, batch, place, &opened);
                }
            }
        }
    }
}

fn leave_one<I: PacketIo>(
    gateway: &mut Gateway<'_, I>,
    ingress: &Ingress,
    frames: &mut FrameBatch,
    batch: &mut Batch,
    place: usize,
    opened: &Opened,
) {
    let Some(frame) = frames.take(place) else { return };
    // It was parsed when it was opened, or is plain.
    let Ok(headers) = parse_ip(frame.packet(), LINK_LENGTH) else {
        return gateway.settle_frame(frame, ingress.port, ingress.slot, Fate::Drop(DropReason::IpMalformed));
    };
    let [_, _, _, _, _, _, a, b, c, d, e, f, ..] = *frame.head();
    let packet = Packet {
        frame: Some(frame),
        ingress: ingress.port,
        slot: ingress.slot,
        entry: Entry::Received,
        segment: opened.segment,
        tunnel: Some(opened.tunnel),
        station: [a, b, c, d, e, f],
        headers,
        exit: Exit::Undecided,
        translation: Translation::None,
        mss: 0,
        fate: None,
    };
    if let Err(packet) = batch.push(packet) {
        gateway.settle(packet, Fate::Drop(DropReason::NoFrame));
    }
}

impl<'a> Used<'a> {
    fn new(from: OpenFrom<'a>, outer: &Headers, sealed: &Sealed) -> Self {
        Used {
            spi: sealed.spi,
            local: local(outer),
            encapsulated: sealed.at != usize::from(outer.l4),
            from,
            decrypted: 0,
            sequences: [0; BATCH],
            places: [0; BATCH],
            tos: [0; BATCH],
        }
    }

    /// Decrypts the frame at `place`; at most once for each.
    #[inline(always)]
    fn decrypt(&mut self, frame: &mut Frame, place: usize, tos: u8, at: usize, end: usize) -> Result<(), DropReason> {
        let sequence = self.from.decrypt(frame, at, end)?;
        let number = self.decrypted % BATCH;
        self.sequences[number] = sequence;
        self.places[number] = place as u8;
        self.tos[number] = tos;
        self.decrypted = number + 1;
        Ok(())
    }

    #[inline(always)]
    fn is_for(&self, outer: &Headers, sealed: &Sealed) -> bool {
        let encapsulated = sealed.at != usize::from(outer.l4);
        (self.spi == sealed.spi) & (self.local == local(outer)) & (self.encapsulated == encapsulated)
    }

    #[inline(always)]
    fn is_for_plain(&self, esp: &PlainEsp) -> bool {
        (self.spi == esp.spi) & (self.local == esp.destination) & !self.encapsulated
    }
}

/// The outer destination: only IPv4 rides.
#[inline(always)]
fn local(outer: &Headers) -> u32 {
    match outer.addresses {
        Addresses::V4 { destination, .. } => destination,
        Addresses::V6 { .. } => 0,
    }
}

/// Checks what an opened frame holds; its bytes.
#[inline(always)]
fn inner_length<I: PacketIo>(
    gateway: &Gateway<'_, I>,
    used: &Used<'_>,
    frame: &mut Frame,
    tos: u8,
) -> Result<usize, DropReason> {
    let head = frame.head();
    let passes = |packet: Plain| used.from.passes(packet.addresses, head[LINK_LENGTH + 1], tos);
    Ok(match plain::read(head, frame.len()) {
        Some(packet) if passes(packet) => packet.ip_length.into(),
        Some(_) | None => used.from.inner(gateway.tables, frame, tos)?.ip_len(),
    })
}

#[cold]
fn drop_frame<I: PacketIo>(
    gateway: &mut Gateway<'_, I>,
    ingress: &Ingress,
    frames: &mut FrameBatch,
    place: usize,
    reason: DropReason,
) {
    if let Some(frame) = frames.take(place) {
        gateway.settle_frame(frame, ingress.port, ingress.slot, Fate::Drop(reason));
    }
}

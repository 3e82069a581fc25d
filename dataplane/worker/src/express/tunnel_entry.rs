//! Opening in the lane: what came through a tunnel is opened before the batch is read, and rides on as what it was inside.

use super::ingress::Ingress;
use super::payload::{AHEAD_PAYLOAD, ask_payload};
use super::sending::Sending;
use crate::batch::{Batch, Entry, Exit, Packet, Translation};
use crate::gateway::Gateway;
use crate::keys::KeyCache;
use crate::stages::{OpenFrom, Sealed, UDP_ESP_PORT, find_sealed, strip};
use core::net::Ipv4Addr;
use core::ops::Range;
use tombolo_packet_io::{BATCH, Frame, FrameBatch, PacketIo};
use tombolo_tables::fate::{DropReason, Fate};
use tombolo_tables::layout::{SegmentIndex, TunnelIndex};
use tombolo_wire::plain::{self, EspOf, Plain};
use tombolo_wire::{Addresses, Headers, parse_ip};

const LINK_LENGTH: usize = 14;
/// How many packets before the end of a batch the words of its replay window are asked for: earlier, another worker may take them away
/// again.
const AHEAD_WINDOW: usize = 4;

/// What a frame was opened to.
#[derive(Clone, Copy, Default)]
pub(super) struct Opened {
    /// Segment of the inner packet.
    pub(super) segment: SegmentIndex,
    tunnel: TunnelIndex,
}

/// What was opened, by its place in the batch.
pub(super) struct TunnelEntry {
    opened: [Opened; BATCH],
    /// Where there is any: a bit for each place.
    places: u64,
    decrypted: Decrypted,
}

impl Default for TunnelEntry {
    fn default() -> Self {
        TunnelEntry {
            opened: [Opened::default(); BATCH],
            places: 0,
            decrypted: Decrypted {
                count: 0,
                sequences: [0; BATCH],
                places: [0; BATCH],
                tos: [0; BATCH],
                sources: [(0, 0); BATCH],
            },
        }
    }
}

/// What was decrypted with the SA that was used last: all its numbers are shown to the replay window together.
struct Decrypted {
    count: usize,
    sequences: [u64; BATCH],
    /// Places in the batch.
    places: [u8; BATCH],
    /// TOS of the outer packets.
    tos: [u8; BATCH],
    /// Where they came from: address and UDP port. Only of a tunnel that follows its peer.
    sources: [(u32, u16); BATCH],
}

/// The SA that was used last.
struct Used<'a> {
    spi: u32,
    local: u32,
    encapsulated: bool,
    /// Its packets, unless they come in UDP.
    plain: Option<EspOf>,
    from: OpenFrom<'a>,
}

impl TunnelEntry {
    /// Opens every frame that is plain ESP for this gateway; those that cannot be opened are dropped. Whatever else there is stays as
    /// it came.
    #[inline(never)]
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
            ask_payload(frames, place, 0);
        }
        for place in 0..frames.len() {
            super::ask(frames.get(place + super::LANES));
            ask_payload(frames, place + AHEAD_PAYLOAD, 0);
            if place + AHEAD_WINDOW == frames.len()
                && let Some(used) = &used
            {
                self.decrypted.ask_window(&used.from);
            }
            let Some(frame) = frames.get_mut(place) else { continue };
            // Nearly always it is the same SA as before.
            if let Some(Used {
                plain: Some(of), from, ..
            }) = &used
                && let Some(esp) = of.read(frame.head(), frame.len())
            {
                sending.received(frame.len());
                let decrypted = self
                    .decrypted
                    .add(from, frame, place, esp.tos, plain::ESP_AT..esp.end.into());
                if let Err(reason) = decrypted {
                    drop_frame(gateway, ingress, frames, place, reason);
                }
                continue;
            }
            if !plain::is_for(frame.head(), ingress.station) || !plain::may_be_sealed(frame.head(), UDP_ESP_PORT) {
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
                    self.accept(gateway, ingress, frames, &used.from);
                }
                used = match OpenFrom::new(gateway, &mut *keys, &outer, &sealed) {
                    Ok(from) => Some(Used::new(from, ingress, &outer, &sealed)),
                    Err(reason) => {
                        used = None;
                        gateway.not_opened(&outer, sealed.spi, reason);
                        drop_frame(gateway, ingress, frames, place, reason);
                        continue;
                    }
                };
            }
            let Some(used) = used.as_mut() else { continue };
            let Some(frame) = frames.get_mut(place) else { continue };
            let esp = sealed.at..outer.end.into();
            if let Err(reason) = self.decrypted.add(&used.from, frame, place, outer.tos, esp) {
                drop_frame(gateway, ingress, frames, place, reason);
            } else if used.from.follows() {
                self.decrypted.came_from(&outer);
            }
        }
        if let Some(used) = used {
            self.accept(gateway, ingress, frames, &used.from);
        }
    }

    /// Takes what was decrypted with an SA and not seen before for opened.
    #[inline(always)]
    fn accept<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        ingress: &Ingress,
        frames: &mut FrameBatch,
        from: &OpenFrom<'_>,
    ) {
        let count = core::mem::take(&mut self.decrypted.count).min(BATCH);
        let fresh = from.accept_all(gateway, &self.decrypted.sequences[..count]);
        if from.follows() {
            self.decrypted.follow(gateway, from, count, fresh);
        }
        let opened = Opened {
            segment: from.segment(),
            tunnel: from.tunnel_index(),
        };
        let (mut packets, mut bytes) = (0, 0);
        for number in 0..count {
            let place = usize::from(self.decrypted.places[number]) % BATCH;
            let Some(frame) = frames.get_mut(place) else { continue };
            let inner = if fresh >> number & 1 == 1 {
                strip(frame).and_then(|()| inner_length(gateway, from, frame, self.decrypted.tos[number]))
            } else {
                Err(DropReason::EspReplay)
            };
            match inner {
                Ok(length) => {
                    packets += 1;
                    bytes += length;
                    self.opened[place] = opened;
                    self.places |= 1 << place;
                }
                Err(reason) => drop_frame(gateway, ingress, frames, place, reason),
            }
        }
        if packets > 0 {
            from.count(gateway, packets, bytes);
        }
    }

    /// Whether anything was opened.
    #[inline(always)]
    pub(super) fn any(&self) -> bool {
        self.places != 0
    }

    /// Places of the batch whose frames were opened, a bit each.
    #[inline(always)]
    pub(super) fn places(&self) -> u64 {
        self.places
    }

    /// Those of them whose segment is wanted.
    #[inline(always)]
    pub(super) fn places_of(&self, wanted: impl Fn(SegmentIndex) -> bool) -> u64 {
        let (mut left, mut of) = (self.places, 0);
        while left != 0 {
            let place = left.trailing_zeros() as usize % BATCH;
            left &= left - 1;
            of |= u64::from(wanted(self.opened[place].segment)) << place;
        }
        of
    }

    /// What the frame at `place` was opened to, if it was.
    #[inline(always)]
    pub(super) fn at(&self, place: usize) -> Option<&Opened> {
        let opened = self.opened.get(place)?;
        (self.places >> place & 1 == 1).then_some(opened)
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
        let mut places = core::mem::take(&mut self.places);
        while places != 0 {
            let place = places.trailing_zeros() as usize;
            places &= places - 1;
            if let Some(frame) = frames.take(place) {
                leave_one(gateway, ingress, frame, batch, &self.opened[place]);
            }
        }
    }
}

fn leave_one<I: PacketIo>(
    gateway: &mut Gateway<'_, I>,
    ingress: &Ingress,
    frame: Frame,
    batch: &mut Batch,
    opened: &Opened,
) {
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
    fn new(from: OpenFrom<'a>, ingress: &Ingress, outer: &Headers, sealed: &Sealed) -> Self {
        let (local, encapsulated) = (local(outer), is_encapsulated(outer, sealed));
        Used {
            spi: sealed.spi,
            local,
            encapsulated,
            plain: (!encapsulated).then(|| EspOf::new(ingress.station, local, sealed.spi)),
            from,
        }
    }

    #[inline(always)]
    fn is_for(&self, outer: &Headers, sealed: &Sealed) -> bool {
        (self.spi == sealed.spi) & (self.local == local(outer)) & (self.encapsulated == is_encapsulated(outer, sealed))
    }
}

impl Decrypted {
    /// Asks for the words of the window that the first and the last of these numbers are in: two lines are enough for a batch in order.
    #[inline(never)]
    fn ask_window(&self, from: &OpenFrom<'_>) {
        let numbers = &self.sequences[..self.count.min(BATCH)];
        for number in numbers.first().into_iter().chain(numbers.last()) {
            from.ask_window(*number);
        }
    }

    /// Decrypts the ESP packet of the frame at `place`; at most once for each.
    #[inline(always)]
    fn add(
        &mut self,
        from: &OpenFrom<'_>,
        frame: &mut Frame,
        place: usize,
        tos: u8,
        esp: Range<usize>,
    ) -> Result<(), DropReason> {
        let sequence = from.decrypt(frame, esp.start, esp.end)?;
        let number = self.count % BATCH;
        self.sequences[number] = sequence;
        self.places[number] = place as u8;
        self.tos[number] = tos;
        self.count = number + 1;
        Ok(())
    }
}

impl Decrypted {
    /// Notes where the packet that was decrypted last came from.
    fn came_from(&mut self, outer: &Headers) {
        if let Addresses::V4 { source, .. } = outer.addresses {
            self.sources[self.count.saturating_sub(1) % BATCH] = (source, outer.source_port);
        }
    }

    /// Follows the peer to where the latest of the first `count` numbers came from, if it is ahead of what had come before.
    fn follow<I: PacketIo>(&self, gateway: &Gateway<'_, I>, from: &OpenFrom<'_>, count: usize, fresh: u64) {
        let numbers = self.sequences.iter().zip(&self.sources).take(count).enumerate();
        let fresh = numbers.filter(|(number, _)| fresh >> number & 1 == 1);
        let latest = fresh.map(|(_, of)| of).max_by_key(|(sequence, _)| **sequence);
        if let Some((sequence, (address, port))) = latest
            && from.is_ahead(*sequence)
        {
            from.follow(gateway, Ipv4Addr::from(*address).into(), *port);
        }
    }
}

#[inline(always)]
fn is_encapsulated(outer: &Headers, sealed: &Sealed) -> bool {
    sealed.at != usize::from(outer.l4)
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
    from: &OpenFrom<'_>,
    frame: &mut Frame,
    tos: u8,
) -> Result<usize, DropReason> {
    let head = frame.head();
    let passes = |packet: Plain| from.passes(packet.addresses, head[LINK_LENGTH + 1], tos);
    Ok(match plain::read(head, frame.len()) {
        Some(packet) if passes(packet) => packet.ip_length.into(),
        Some(_) | None => from.inner(gateway.tables, frame, tos)?.ip_len(),
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

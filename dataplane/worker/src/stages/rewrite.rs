//! `rewrite`: TTL, size, addresses, ports, MSS. What is expired or too large is told of here, on the packet as it came.

use crate::batch::{Batch, Entry, Packet, Translation};
use crate::gateway::Gateway;
use crate::path;
use crate::stages::Errors;
use tombolo_packet_io::{BATCH, Frame, PacketIo};
use tombolo_tables::fate::{DropReason, Fate};
use tombolo_wire::fragment::{self, FragmentError, Piece};
use tombolo_wire::icmp::{self, IcmpErrorKind};
use tombolo_wire::{Headers, edit};

const LINK_LENGTH: usize = 14;

/// Edits packets that may pass.
pub struct Rewrite {
    oversize: Vec<usize>,
}

impl Rewrite {
    /// Scratch for one batch.
    pub fn new() -> Self {
        Rewrite {
            oversize: Vec::with_capacity(BATCH),
        }
    }

    /// Rewrites every travelling packet; expired and oversize ones are dropped, told of, or cut into fragments.
    pub fn run<I: PacketIo>(&mut self, gateway: &mut Gateway<'_, I>, batch: &mut Batch, errors: &mut Errors) {
        for place in 0..batch.len() {
            let packet = batch.packet(place);
            if packet.fate.is_some() {
                continue;
            }
            if packet.entry == Entry::Received && packet.headers.ttl <= 1 {
                errors.want(place, IcmpErrorKind::TimeExceeded);
                packet.drop(DropReason::TtlExpired);
                continue;
            }
            let mtu = path::mtu(gateway.tables, gateway.state, packet.exit);
            if packet.ip_length() > usize::from(mtu) {
                self.too_big(place, packet, mtu, errors);
                if packet.fate.is_some() {
                    continue;
                }
            }
            edit_headers(packet);
        }
        self.cut(gateway, batch);
    }

    /// Larger than the path: IPv4 without DF is cut after its headers are rewritten, anything else is told of.
    fn too_big(&mut self, place: usize, packet: &mut Packet, mtu: u16, errors: &mut Errors) {
        let v4 = !packet.headers.addresses.is_v6();
        if v4 && !packet.headers.dont_fragment {
            self.oversize.push(place);
            return;
        }
        errors.want(place, IcmpErrorKind::TooBig { mtu: mtu.into() });
        packet.drop(DropReason::TooBig);
    }

    /// Cuts what is oversize: the pieces are new packets of the batch, the whole is let go.
    fn cut<I: PacketIo>(&mut self, gateway: &mut Gateway<'_, I>, batch: &mut Batch) {
        for index in 0..self.oversize.len() {
            let place = self.oversize[index];
            cut_one(gateway, batch, place);
        }
        self.oversize.clear();
    }
}

impl Default for Rewrite {
    fn default() -> Self {
        Self::new()
    }
}

fn edit_headers(packet: &mut Packet) {
    let headers = packet.headers;
    let (entry, mss, translation) = (packet.entry, packet.mss, packet.translation);
    let bytes = packet.bytes_mut();
    if entry == Entry::Received {
        let alive = edit::decrement_ttl(bytes, &headers);
        debug_assert!(alive, "an expired packet was dropped before");
    }
    match translation {
        Translation::None => {}
        Translation::Packet(to) => edit::rewrite(bytes, &headers, &to),
        Translation::Error { outer, quoted_to } => {
            if let Some(quoted) = icmp::quoted(bytes, &headers) {
                icmp::translate_error(bytes, &headers, &quoted, &outer, &quoted_to);
            }
        }
    }
    if mss != 0 {
        edit::clamp_mss(bytes, &headers, mss);
    }
}

/// The packet at `place` becomes its first piece; the others join the batch. Where frames run out, what is left is dropped:
/// the receiver's reassembly gives up by itself.
fn cut_one<I: PacketIo>(gateway: &mut Gateway<'_, I>, batch: &mut Batch, place: usize) {
    let packet = batch.packet(place);
    let mtu = path::mtu(gateway.tables, gateway.state, packet.exit);
    let Some(whole) = packet.frame.take() else { return };
    let headers = packet.headers;
    let mut pieces = 0;
    let cut = fragment::fragment(whole.packet(), &headers, mtu.into(), |piece| {
        let Some(frame) = write_piece(gateway.io, piece) else {
            return false;
        };
        pieces += 1;
        if pieces == 1 {
            let packet = batch.packet(place);
            packet.headers.end = frame.len() as u16;
            packet.frame = Some(frame);
            return true;
        }
        let further = further_piece(batch.packet(place), frame);
        gateway
            .books
            .enter(further.ingress, Entry::Originated, further.bytes().len());
        match batch.push(further) {
            Ok(()) => true,
            Err(further) => {
                gateway.settle(further, Fate::Drop(DropReason::NoFrame));
                false
            }
        }
    });
    let packet = batch.packet(place);
    if packet.frame.is_some() {
        gateway.io.release(whole);
    } else {
        packet.frame = Some(whole);
        let reason = if cut == Err(FragmentError::Refused) {
            DropReason::NoFrame
        } else {
            DropReason::TooBig
        };
        packet.drop(reason);
    }
}

fn write_piece<I: PacketIo>(io: &mut I, piece: &Piece<'_>) -> Option<Frame> {
    let mut frame = io.allocate()?;
    match piece.write(frame.buffer_mut(), LINK_LENGTH) {
        Some(end) => {
            frame.set_len(end);
            Some(frame)
        }
        None => {
            io.release(frame);
            None
        }
    }
}

fn further_piece(first: &Packet, frame: Frame) -> Packet {
    let end = frame.len() as u16;
    Packet {
        ingress: first.ingress,
        slot: first.slot,
        entry: Entry::Originated,
        segment: first.segment,
        tunnel: first.tunnel,
        station: first.station,
        headers: Headers { end, ..first.headers },
        exit: first.exit,
        translation: Translation::None,
        mss: 0,
        fate: None,
        frame: Some(frame),
    }
}

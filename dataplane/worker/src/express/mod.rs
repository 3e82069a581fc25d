//! The express lane: what nearly every packet needs and nothing else.
//!
//! ```text
//! (open) → read (wire::plain) ··· session candidate ··· session → edit, link header → (seal) → transmit
//! ```
//! Where memory must be waited for (the dots), other packets take their steps meanwhile: a packet's next step comes some packets
//! later.
//!
//! The lane takes a frame only when every question has its usual answer: a plain packet, a live session of the present epochs (or
//! one that may begin), a next hop that is known, room within the MTU. Until then it changes nothing, so that whatever it leaves
//! in the batch goes on the general [journey](crate::journey) as it came, to the same end.

mod begin;
mod exits;
mod ingress;
mod outgoing;
mod sending;
mod stateless;
mod translations;
mod tunnel_entry;
mod tunnel_exit;

use crate::batch::Batch;
use crate::gateway::Gateway;
use crate::keys::KeyCache;
use crate::ports::PortMap;
use crate::stages::{TUNNELLED, UDP_ESP_PORT};
use begin::Begin;
use ingress::{Ingress, Ingresses};
use outgoing::{Leaving, Outgoing};
use stateless::Stateless;
use tombolo_flow::{Candidate, Found, Key4, Sessions};
use tombolo_packet_io::{BATCH, FrameBatch, PacketIo, PortSlot};
use tombolo_tables::layout::{SegmentIndex, SegmentRecord, segment_flag};
use tombolo_tables::region_prefetch::prefetch;
use tombolo_tables::view::Tables;
use tombolo_wire::plain::{self, Plain};
use tunnel_entry::TunnelEntry;

/// How many frames ahead of the one that is read are asked for.
const AHEAD: usize = 12;
/// How many packets lie between two steps of one packet, while the memory that the first step asked for arrives.
const LAG: usize = 12;

/// Key words of an IPv4 session.
type Words = [u64; 2];

/// One packet in the lane.
#[derive(Clone, Copy, Default)]
struct Rider {
    key: Words,
    hash: u64,
    candidate: Candidate,
    ip_length: u16,
    /// Place of its frame in the batch.
    place: u8,
    tcp_flags: u8,
    /// It came in clear from the underlay.
    clear: bool,
    /// It came out of a tunnel.
    opened: bool,
}

/// The lane of one worker.
pub struct Express {
    riders: [Rider; BATCH],
    ingresses: Ingresses,
    outgoing: Outgoing,
    tunnel_entry: TunnelEntry,
    stateless: Stateless,
    begin: Begin,
}

impl Express {
    /// An empty lane.
    pub fn new() -> Self {
        Express {
            riders: [Rider::default(); BATCH],
            ingresses: Ingresses::default(),
            outgoing: Outgoing::new(),
            tunnel_entry: TunnelEntry::default(),
            stateless: Stateless::default(),
            begin: Begin::default(),
        }
    }

    /// Learns a new generation: nothing of the last one is used again.
    pub fn renew(&mut self, tables: &Tables<'_>, ports: &PortMap) {
        self.ingresses.renew(tables, ports);
        self.outgoing.departures.exits.forget();
        self.begin.renew(tables);
    }

    /// Sends the frames of `frames`, received on `slot`, that need nothing unusual; the others stay in it, in their order. What was
    /// opened and needs something unusual goes into `batch`.
    pub fn run<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        keys: &mut KeyCache,
        slot: PortSlot,
        frames: &mut FrameBatch,
        batch: &mut Batch,
    ) {
        let Some(ingress) = self.ingresses.of(slot) else {
            return;
        };
        for place in 0..frames.len().min(AHEAD) {
            ask(frames, place);
        }
        if ingress.ends_tunnels {
            self.tunnel_entry
                .open(gateway, keys, &mut self.outgoing.departures.sending, &ingress, frames);
        }
        if ingress.stateless {
            self.stateless.run(gateway, keys, &mut self.outgoing, &ingress, frames);
        } else {
            self.follow_sessions(gateway, keys, &ingress, frames);
        }
        self.outgoing.finish(gateway, keys, &ingress);
        self.tunnel_entry.leave(gateway, &ingress, frames, batch);
        frames.close_gaps();
    }

    /// Sends what live sessions know.
    fn follow_sessions<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        keys: &mut KeyCache,
        ingress: &Ingress,
        frames: &mut FrameBatch,
    ) {
        let sessions = gateway.state.sessions4();
        let (mut riders, mut aimed, mut served) = (0, 0, 0);
        for place in 0..frames.len() {
            ask(frames, place + AHEAD);
            if let Some(rider) = self.read(gateway, ingress, frames, place) {
                self.riders[riders] = rider;
                riders += 1;
            }
            if riders > aimed + LAG {
                self.aim(sessions, &mut aimed);
                if aimed > served + LAG {
                    self.serve(gateway, keys, ingress, frames, &mut served);
                }
            }
        }
        while aimed < riders {
            self.aim(sessions, &mut aimed);
        }
        while served < riders {
            self.serve(gateway, keys, ingress, frames, &mut served);
        }
        if !self.begin.is_empty() {
            self.begin_sessions(gateway, keys, ingress, frames);
        }
    }

    /// Begins sessions for riders of flows that nobody knew, and serves those that joined one of them.
    #[inline(never)]
    fn begin_sessions<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        keys: &mut KeyCache,
        ingress: &Ingress,
        frames: &mut FrameBatch,
    ) {
        self.begin
            .run(gateway, keys, &mut self.outgoing, ingress, frames, &self.riders);
        let (joined, count) = self.begin.joined();
        for rider in joined[..count].iter().copied().map(usize::from) {
            self.aim(gateway.state.sessions4(), &mut { rider });
            self.serve(gateway, keys, ingress, frames, &mut { rider });
        }
        self.begin.joined();
    }

    /// First step: a plain packet becomes a rider, and its session's bucket is asked for.
    #[inline(always)]
    fn read<I: PacketIo>(
        &self,
        gateway: &Gateway<'_, I>,
        ingress: &Ingress,
        frames: &FrameBatch,
        place: usize,
    ) -> Option<Rider> {
        let frame = frames.get(place)?;
        let head = frame.head();
        let opened = self.tunnel_entry.at(place);
        if opened.is_none() && !plain::is_for(head, ingress.station) {
            return None;
        }
        let packet = plain::read(head, frame.len())?;
        // ESP in UDP is for `open` to look at, whoever it is for (RFC 3948).
        let clear = ingress.ends_tunnels && opened.is_none();
        if clear && plain::may_be_sealed(head, UDP_ESP_PORT) {
            return None;
        }
        let segment = opened.map_or(ingress.segment, |opened| opened.segment.0);
        if opened.is_some_and(|opened| is_stateless(gateway.tables, opened.segment)) {
            return None;
        }
        let key = [packet.addresses, rest_of_key(&packet, segment)];
        Some(Rider {
            key,
            hash: gateway.state.sessions4().aim(&key),
            candidate: Candidate::default(),
            ip_length: packet.ip_length,
            place: place as u8,
            tcp_flags: packet.tcp_flags,
            clear,
            opened: opened.is_some(),
        })
    }

    /// Second step of rider `next`: its session's entry is asked for.
    #[inline(always)]
    fn aim(&mut self, sessions: &Sessions<'_, Key4>, next: &mut usize) {
        let rider = &mut self.riders[*next];
        rider.candidate = sessions.candidate(rider.hash);
        *next += 1;
    }

    /// Last step of rider `next`.
    #[inline(always)]
    fn serve<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        keys: &mut KeyCache,
        ingress: &Ingress,
        frames: &mut FrameBatch,
        next: &mut usize,
    ) {
        let at = *next;
        let rider = self.riders[at];
        *next += 1;
        let sessions = gateway.state.sessions4();
        let found = sessions
            .found(&rider.key, rider.candidate)
            .or_else(|| sessions.searched(&rider.key, rider.hash, rider.candidate));
        let Some(found) = found else {
            return self.begin.note(at);
        };
        let believed = !rider.clear || found.flags & TUNNELLED[found.direction as usize] == 0;
        if !(believed & (found.epochs == epochs(gateway.tables, &rider, &found))) {
            return;
        }
        let leaving = Leaving {
            place: rider.place.into(),
            hop: found.next_hop,
            destination: (found.other[0] >> 32) as u32,
            ip_length: rider.ip_length,
            booked: rider.opened,
        };
        let sent = self.outgoing.send(gateway, keys, ingress, frames, leaving, |head| {
            edit(head, &rider, &found)
        });
        if sent {
            let (now, bytes) = (gateway.now.seconds(), rider.ip_length.into());
            sessions.book(&found, now, rider.tcp_flags, bytes);
        }
    }
}

fn is_stateless(tables: &Tables<'_>, segment: SegmentIndex) -> bool {
    let stateless = |record: &SegmentRecord| record.flags & segment_flag::STATELESS != 0;
    tables.segment(segment).is_some_and(stateless)
}

/// Epochs of the segments that the rider comes from and leaves into, as they are now.
#[inline(always)]
fn epochs(tables: &Tables<'_>, rider: &Rider, found: &Found<Words>) -> u64 {
    let epoch = |word: u64| {
        let segment = SegmentIndex((word >> 16) as u16);
        u64::from(tables.segment(segment).map_or(0, |record| record.epoch))
    };
    epoch(rider.key[1]) << 32 | epoch(found.other[1])
}

#[inline(always)]
fn edit(head: &mut [u8; plain::HEAD], rider: &Rider, found: &Found<Words>) {
    if found.translated {
        let ports = ((found.other[1] >> 32) as u32).rotate_left(16);
        plain::translate(head, &rider.packet(), found.other[0].rotate_left(32), ports);
    } else {
        plain::decrement_ttl(head);
    }
}

impl Default for Express {
    fn default() -> Self {
        Self::new()
    }
}

impl Rider {
    /// The packet as it was read.
    #[inline(always)]
    fn packet(&self) -> Plain {
        Plain {
            addresses: self.key[0],
            ports: (self.key[1] >> 32) as u32,
            ip_length: self.ip_length,
            protocol: (self.key[1] >> 8) as u8,
            tcp_flags: self.tcp_flags,
        }
    }
}

#[inline(always)]
fn ask(frames: &FrameBatch, place: usize) {
    if let Some(frame) = frames.get(place) {
        prefetch(frame.head());
    }
}

/// The second word of a session key: ports, segment, protocol.
#[inline(always)]
fn rest_of_key(packet: &Plain, segment: u16) -> u64 {
    u64::from(packet.ports) << 32 | u64::from(segment) << 16 | u64::from(packet.protocol) << 8
}

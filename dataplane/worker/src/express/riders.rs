//! Riders of live sessions: sixteen packets take a step together, then the sixteen before them take their next one.
//!
//! ```text
//! read, aim (bucket asked for) ··· candidate (entry and counters asked for) ··· found, edited, sent
//! ```

use super::ask;
use super::begin::{Begin, Unknown};
use super::ingress::Ingress;
use super::outgoing::{Leaving, Outgoing};
use super::tunnel_entry::TunnelEntry;
use super::vectors;
use crate::gateway::Gateway;
use crate::keys::KeyCache;
use crate::stages::{TUNNELLED, UDP_ESP_PORT};
use tombolo_flow::{Booking, Candidate, Found, Lines};
use tombolo_packet_io::{BATCH, FrameBatch, PacketIo};
use tombolo_tables::layout::{SegmentIndex, SegmentRecord, segment_flag};
use tombolo_tables::view::Tables;
use tombolo_wire::plain::columns::{Column, Columns, LANES};
use tombolo_wire::protocol;

/// Key words of an IPv4 session.
type Words = [u64; 2];

/// Where the riders of a batch are.
pub(super) struct Riders {
    groups: [Group; BATCH / LANES],
}

impl Default for Riders {
    fn default() -> Self {
        Riders {
            groups: core::array::from_fn(|_| Group::default()),
        }
    }
}

/// Packets that take their steps together.
#[derive(Default)]
struct Group {
    columns: Columns,
    riders: [Rider; LANES],
    /// How many ride.
    count: usize,
    ways: [Way; LANES],
    /// How many of them leave.
    leaving: usize,
    addresses: Column,
    ports: Column,
    translated: Column,
}

/// One packet in the lane.
#[derive(Clone, Copy, Default)]
struct Rider {
    key: Words,
    hash: u64,
    candidate: Candidate,
    /// Decision epoch of the segment that it comes from.
    epoch: u32,
    /// Its lane in the group.
    lane: u8,
    /// It came in clear from the underlay.
    clear: bool,
    /// It came out of a tunnel.
    opened: bool,
}

/// Where a rider goes.
#[derive(Clone, Copy, Default)]
struct Way {
    booking: Booking,
    /// `NextHop` bits.
    hop: u32,
    /// IPv4 destination as it leaves.
    destination: u32,
    /// Its lane in the group.
    lane: u8,
    /// It was taken from the batch, and booked, before.
    booked: bool,
}

impl Riders {
    /// Sends what live sessions know.
    ///
    /// The steps of a group do not follow one another at once, though they could: what is stored word by word and then loaded four
    /// words wide makes the processor wait until the stores have left it.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn run<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        keys: &mut KeyCache,
        outgoing: &mut Outgoing,
        tunnel_entry: &TunnelEntry,
        begin: &mut Begin,
        ingress: &Ingress,
        frames: &mut FrameBatch,
    ) {
        let sessions = gateway.state.sessions4().lines();
        let now = gateway.now.seconds();
        let groups = &mut self.groups[..frames.len().div_ceil(LANES)];
        for step in 0..groups.len() + 2 {
            if let Some(group) = groups.get_mut(step) {
                group.load(tunnel_entry, ingress, frames, step * LANES);
            }
            if let Some(first) = step.checked_sub(2)
                && let Some(group) = groups.get_mut(first)
            {
                group.find(gateway.tables, &sessions, begin, first * LANES);
            }
            if let Some(group) = step.checked_sub(1).and_then(|step| groups.get_mut(step)) {
                group.aim(&sessions);
            }
            if let Some(group) = groups.get_mut(step) {
                group.read(gateway.tables, &sessions, tunnel_entry, ingress, step * LANES);
            }
            if let Some(first) = step.checked_sub(2)
                && let Some(group) = groups.get_mut(first)
            {
                group.edit();
                for place in 0..group.leaving {
                    group.send(
                        gateway,
                        keys,
                        outgoing,
                        &sessions,
                        ingress,
                        frames,
                        now,
                        place,
                        first * LANES,
                    );
                }
            }
        }
    }
}

impl Group {
    /// The frames from `first` on, as they came.
    #[inline(always)]
    fn load(&mut self, tunnel_entry: &TunnelEntry, ingress: &Ingress, frames: &FrameBatch, first: usize) {
        for lane in 0..LANES {
            ask(frames, first + LANES + lane);
            match frames.get(first + lane) {
                Some(frame) => self.columns.load(lane, frame.head(), frame.len()),
                None => self.columns.leave_out(lane),
            }
        }
        if tunnel_entry.any() {
            for lane in (0..LANES).filter(|lane| tunnel_entry.at(first + lane).is_some()) {
                self.columns.accept(lane, ingress.station);
            }
        }
    }

    /// First step: plain packets become riders, and their sessions' buckets are asked for.
    #[inline(always)]
    fn read(
        &mut self,
        tables: &Tables<'_>,
        sessions: &Lines<'_, '_>,
        tunnel_entry: &TunnelEntry,
        ingress: &Ingress,
        first: usize,
    ) {
        vectors::read(&mut self.columns, ingress.station);
        let mut count = 0;
        for lane in 0..LANES {
            if !self.columns.is_plain(lane) {
                continue;
            }
            let (mut segment, mut epoch) = (ingress.segment, ingress.epoch);
            let ports_and_protocol = self.columns.ports_and_protocol(lane);
            let opened = if tunnel_entry.any() {
                tunnel_entry.at(first + lane)
            } else {
                None
            };
            let clear = ingress.ends_tunnels && opened.is_none();
            // ESP in UDP is for `open` to look at, whoever it is for (RFC 3948).
            if clear && is_udp_to(ports_and_protocol, UDP_ESP_PORT) {
                continue;
            }
            if let Some(opened) = opened {
                if is_stateless(tables, opened.segment) {
                    continue;
                }
                (segment, epoch) = (opened.segment.0, epoch_of(tables, opened.segment));
            }
            let key = [
                self.columns.addresses(lane),
                ports_and_protocol | u64::from(segment) << 16,
            ];
            self.riders[count % LANES] = Rider {
                key,
                hash: sessions.aim(&key),
                candidate: Candidate::default(),
                epoch,
                lane: lane as u8,
                clear,
                opened: opened.is_some(),
            };
            count += 1;
        }
        self.count = count;
    }

    /// Second step: the riders' entries are asked for.
    #[inline(always)]
    fn aim(&mut self, sessions: &Lines<'_, '_>) {
        for rider in &mut self.riders[..self.count.min(LANES)] {
            rider.candidate = sessions.candidate(rider.hash);
        }
    }

    /// Third step: what the sessions say.
    #[inline(always)]
    fn find(&mut self, tables: &Tables<'_>, sessions: &Lines<'_, '_>, begin: &mut Begin, first: usize) {
        let mut leaving = 0;
        for rider in &self.riders[..self.count.min(LANES)] {
            let found = match sessions.found(&rider.key, rider.candidate) {
                Some(found) => found,
                None => match sessions.searched(&rider.key, rider.hash, rider.candidate) {
                    Some(found) => found,
                    None => {
                        begin.note(Unknown {
                            key: rider.key,
                            hash: rider.hash,
                            place: (first + usize::from(rider.lane)) as u8,
                            ip_length: self.columns.ip_length(rider.lane.into()),
                        });
                        continue;
                    }
                },
            };
            if !is_believed(tables, rider, &found) {
                continue;
            }
            let lane = usize::from(rider.lane) % LANES;
            self.addresses[lane] = found.other[0].rotate_left(32);
            self.ports[lane] = ((found.other[1] >> 32) as u32).rotate_left(16).into();
            self.translated[lane] = if found.translated { u64::MAX } else { 0 };
            let way = &mut self.ways[leaving % LANES];
            way.booking = found.booking;
            way.hop = found.next_hop;
            way.destination = (found.other[0] >> 32) as u32;
            way.lane = rider.lane;
            way.booked = rider.opened;
            leaving += 1;
        }
        self.leaving = leaving;
    }

    /// The packets as they leave.
    #[inline(always)]
    fn edit(&mut self) {
        vectors::translate(&mut self.columns, &self.addresses, &self.ports, &self.translated);
    }

    /// The end: a packet leaves.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    fn send<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        keys: &mut KeyCache,
        outgoing: &mut Outgoing,
        sessions: &Lines<'_, '_>,
        ingress: &Ingress,
        frames: &mut FrameBatch,
        now: u32,
        place: usize,
        first: usize,
    ) {
        let way = &self.ways[place % LANES];
        let lane = usize::from(way.lane);
        let ip_length = self.columns.ip_length(lane);
        let leaving = Leaving {
            place: first + lane,
            hop: way.hop,
            destination: way.destination,
            ip_length,
            booked: way.booked,
        };
        let columns = &self.columns;
        let write = |head: &mut _| columns.write(lane, head);
        if outgoing.send(gateway, keys, ingress, frames, leaving, write) {
            sessions.book(&way.booking, now, columns.tcp_flags(lane), ip_length.into());
        }
    }
}

/// A session made by what came out of a tunnel does not believe what comes in clear; none believes what was decided in other
/// epochs of the two segments.
#[inline(always)]
fn is_believed(tables: &Tables<'_>, rider: &Rider, found: &Found) -> bool {
    let egress = SegmentIndex((found.other[1] >> 16) as u16);
    let epochs = u64::from(rider.epoch) << 32 | u64::from(epoch_of(tables, egress));
    let clear = !rider.clear || found.flags & TUNNELLED[found.booking.direction() as usize] == 0;
    clear & (found.epochs == epochs)
}

#[inline(always)]
fn epoch_of(tables: &Tables<'_>, segment: SegmentIndex) -> u32 {
    tables.segment(segment).map_or(0, |record| record.epoch)
}

fn is_stateless(tables: &Tables<'_>, segment: SegmentIndex) -> bool {
    let stateless = |record: &SegmentRecord| record.flags & segment_flag::STATELESS != 0;
    tables.segment(segment).is_some_and(stateless)
}

#[inline(always)]
fn is_udp_to(ports_and_protocol: u64, port: u16) -> bool {
    let of = (ports_and_protocol >> 8) as u8;
    (of == protocol::UDP) & ((ports_and_protocol >> 32) as u16 == port)
}

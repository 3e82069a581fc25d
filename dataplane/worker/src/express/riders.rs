//! Riders of a segment with sessions: sixteen packets take a step together, then the sixteen before them take their next one.
//!
//! ```text
//! load, parse, aim (buckets asked for) ··· candidates (entries and counters asked for) ··· fetch, judge, send
//! ```
//! A packet is a *lane* of its group: one place in every column. What is arithmetic is done to all lanes side by side
//! ([`vectors`]); only what goes to memory goes lane by lane.

use super::begin::{Begin, Unknown};
use super::epochs::Epochs;
use super::exits::Exits;
use super::ingress::Ingress;
use super::outgoing::{Leaving, Outgoing};
use super::tunnel_entry::TunnelEntry;
use super::{load, vectors};
use crate::gateway::Gateway;
use crate::keys::KeyCache;
use crate::stages::{TUNNELLED, UDP_ESP_PORT};
use tombolo_flow::{ABREAST, Answers, Direction, Lines, Lookups};
use tombolo_packet_io::{BATCH, FrameBatch, PacketIo};
use tombolo_tables::layout::{SegmentIndex, SegmentRecord, segment_flag};
use tombolo_tables::view::Tables;
use tombolo_wire::plain::columns::{Column, Columns, LANES};
use tombolo_wire::protocol;

const _: () = assert!(LANES == ABREAST);
const EMPTY: Column = [0; LANES];

/// Where the riders of a batch are.
pub(super) struct Riders {
    /// Those of the batch, between some in which nobody rides.
    groups: [Group; BATCH / LANES + 5],
    ends: Ends,
    epochs: Epochs,
}

impl Default for Riders {
    fn default() -> Self {
        Riders {
            groups: core::array::from_fn(|_| Group::nobody()),
            ends: Ends::default(),
            epochs: Epochs::default(),
        }
    }
}

/// Packets that take their steps together.
#[repr(align(64))]
pub(super) struct Group {
    columns: Columns,
    lookups: Lookups,
    /// All ones where the packet came in clear from the underlay.
    clear: Column,
    /// Decision epochs of the present generation: of the segment that the packet comes from, in the upper half, and of the one
    /// that its session leads into.
    epochs: Column,
}

/// How it ends for the packets of the group that is at its last step: used for one after the other, so that it stays near.
#[repr(align(64))]
pub(super) struct Ends {
    answers: Answers,
    /// All ones where the packet leaves.
    leaves: Column,
    /// All ones where it leaves into a tunnel.
    sealed: Column,
    /// Destination as it leaves.
    destinations: Column,
    /// Where its exit may be remembered, and what it is remembered by.
    exit_places: Column,
    exit_keys: Column,
}

impl Default for Group {
    fn default() -> Self {
        Group {
            columns: Columns::default(),
            lookups: Lookups::default(),
            clear: EMPTY,
            epochs: EMPTY,
        }
    }
}

impl Default for Ends {
    fn default() -> Self {
        Ends {
            answers: Answers::default(),
            leaves: EMPTY,
            sealed: EMPTY,
            destinations: EMPTY,
            exit_places: EMPTY,
            exit_keys: EMPTY,
        }
    }
}

impl Riders {
    /// Learns a new generation.
    pub(super) fn renew(&mut self, tables: &Tables<'_>) {
        self.epochs.renew(tables);
    }

    /// Sends what live sessions know.
    ///
    /// Three groups are under way at a time, each at another step, and lane after lane takes one of each: so that requests to memory
    /// are spread over all that is computed, instead of coming at once and waiting for each other. The steps of one group do not
    /// follow one another at once: what is stored word by word and then loaded many words wide waits until the stores have left the
    /// processor.
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
        let lines = gateway.state.sessions4().lines();
        let now = gateway.now.seconds();
        let Riders { groups, ends, epochs } = self;
        let count = frames.len().div_ceil(LANES);
        // Nobody rides behind the last group.
        groups[count + 2..]
            .iter_mut()
            .take(2)
            .for_each(|group| group.columns.spoil_all());
        ends.leaves = EMPTY;
        for lane in 0..LANES {
            load(&mut groups[2].columns, frames, 0, lane);
        }
        for step in 0..count + 2 {
            let [last, middle, new, next, ..] = &mut groups[step..] else {
                return;
            };
            let first = (step * LANES).wrapping_sub(2 * LANES);
            for lane in 0..LANES {
                middle.find(&lines, lane);
                last.fetch(ends, epochs, &lines, begin, first, lane);
            }
            if step < count {
                new.read(gateway.tables, epochs, tunnel_entry, ingress, step * LANES);
            }
            if step >= 2 {
                vectors::judge(last, ends, now);
            }
            let loads = step + 1 < count;
            for lane in 0..LANES {
                if loads {
                    load(&mut next.columns, frames, step + 1, lane);
                }
                new.aim(&lines, lane);
                last.send(
                    gateway,
                    keys,
                    outgoing,
                    &lines,
                    ends,
                    tunnel_entry,
                    frames,
                    now,
                    first,
                    lane,
                );
            }
        }
    }
}

impl Group {
    fn nobody() -> Self {
        let mut group = Group::default();
        group.columns.spoil_all();
        group
    }

    /// First step: plain packets become riders.
    #[inline(always)]
    fn read(
        &mut self,
        tables: &Tables<'_>,
        epochs: &Epochs,
        tunnel_entry: &TunnelEntry,
        ingress: &Ingress,
        first: usize,
    ) {
        if tunnel_entry.any() {
            for lane in (0..LANES).filter(|lane| tunnel_entry.at(first + lane).is_some()) {
                self.columns.accept(lane, ingress.station);
            }
        }
        vectors::parse(self, ingress.station, ingress.segment, ingress.epoch);
        if ingress.ends_tunnels {
            self.tell_apart(tables, epochs, tunnel_entry, first);
        }
    }

    /// The session's bucket is asked for.
    #[inline(always)]
    fn aim(&mut self, lines: &Lines<'_, '_>, lane: usize) {
        if self.columns.is_plain(lane) {
            lines.aim(&mut self.lookups, lane);
        }
    }

    /// All packets as `wire::plain` reads them, from this segment.
    #[inline(always)]
    pub(super) fn parse(&mut self, station: u64, segment: u16, epoch: u32) {
        self.columns.read(station);
        let [addresses, rest] = &mut self.lookups.keys;
        for lane in 0..LANES {
            addresses[lane] = self.columns.addresses(lane);
            rest[lane] = self.columns.ports_and_protocol(lane) | u64::from(segment) << 16;
            self.epochs[lane] = u64::from(epoch) << 32;
            self.clear[lane] = 0;
        }
    }

    /// What came in from the underlay is from the segment of its tunnel, or came in clear.
    fn tell_apart(&mut self, tables: &Tables<'_>, epochs: &Epochs, tunnel_entry: &TunnelEntry, first: usize) {
        for lane in 0..LANES {
            let word = &mut self.lookups.keys[1][lane];
            let Some(opened) = tunnel_entry.at(first + lane) else {
                self.clear[lane] = u64::MAX;
                // ESP in UDP is for `open` to look at, whoever it is for (RFC 3948).
                if is_udp_to(*word, UDP_ESP_PORT) {
                    self.columns.spoil(lane);
                }
                continue;
            };
            if is_stateless(tables, opened.segment) {
                self.columns.spoil(lane);
            }
            *word = *word & !(0xffff << 16) | u64::from(opened.segment.0) << 16;
            self.epochs[lane] = u64::from(epochs.of(opened.segment.0)) << 32;
        }
    }

    /// Second step: a rider's entry is asked for.
    #[inline(always)]
    fn find(&mut self, lines: &Lines<'_, '_>, lane: usize) {
        if self.columns.is_plain(lane) {
            lines.candidate(&mut self.lookups, lane);
        }
    }

    /// Third step: what its session says.
    #[inline(always)]
    fn fetch(
        &mut self,
        ends: &mut Ends,
        epochs: &Epochs,
        lines: &Lines<'_, '_>,
        begin: &mut Begin,
        first: usize,
        lane: usize,
    ) {
        let answers = &mut ends.answers;
        if !self.columns.is_plain(lane) {
            answers.leave_out(lane);
        } else if lines.fetch(&mut self.lookups, answers, lane) {
            self.epochs[lane] |= u64::from(epochs.of(answers.egress(lane)));
        } else {
            begin.note(Unknown {
                key: self.lookups.key(lane),
                hash: self.lookups.hash(lane),
                place: (first + lane) as u8,
                ip_length: self.columns.ip_length(lane),
            });
        }
    }

    /// Which packets leave, how they look then, and where to.
    ///
    /// A session made by what came out of a tunnel does not believe what comes in clear; none believes what was decided in other
    /// epochs of the two segments.
    #[inline(always)]
    pub(super) fn judge(&mut self, ends: &mut Ends, now: u32) {
        let answers = &mut ends.answers;
        answers.judge(&self.lookups, now, self.columns.all_tcp_flags());
        let (mut addresses, mut ports) = (EMPTY, EMPTY);
        let tunnelled = TUNNELLED.map(u64::from);
        for lane in 0..LANES {
            let [there, rest] = [answers.other[0][lane], answers.other[1][lane]];
            let reverse = answers.reverse[lane];
            let mark =
                tunnelled[Direction::Forward as usize] & !reverse | tunnelled[Direction::Reverse as usize] & reverse;
            let betrayed = answers.flags[lane] & mark & self.clear[lane];
            let differs = (self.epochs[lane] ^ answers.travel_epochs[lane]) | betrayed;
            ends.leaves[lane] = if differs == 0 { answers.known[lane] } else { 0 };
            addresses[lane] = there.rotate_left(32);
            ports[lane] = u64::from(((rest >> 32) as u32).rotate_left(16));
            ends.destinations[lane] = there >> 32;
            let hop = answers.next_hop[lane];
            ends.sealed[lane] = Exits::seals(hop);
            ends.exit_keys[lane] = Exits::key(hop, there >> 32);
            ends.exit_places[lane] = Exits::place(ends.exit_keys[lane]);
        }
        self.columns.translate(&addresses, &ports, &answers.translated);
    }

    /// The end: packets leave.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    fn send<I: PacketIo>(
        &self,
        gateway: &mut Gateway<'_, I>,
        keys: &mut KeyCache,
        outgoing: &mut Outgoing,
        lines: &Lines<'_, '_>,
        ends: &Ends,
        tunnel_entry: &TunnelEntry,
        frames: &mut FrameBatch,
        now: u32,
        first: usize,
        lane: usize,
    ) {
        if ends.leaves[lane] == 0 {
            return;
        }
        let (place, columns) = (first + lane, &self.columns);
        let ip_length = columns.ip_length(lane);
        let leaving = Leaving {
            place,
            hop: ends.answers.next_hop[lane] as u32,
            destination: ends.destinations[lane] as u32,
            ip_length,
            booked: tunnel_entry.places() >> place & 1 == 1,
        };
        let write = |head: &mut _| columns.write(lane, head);
        let sent = if ends.sealed[lane] != 0 {
            outgoing.seal(gateway, keys, frames, leaving, write)
        } else {
            let exit = (ends.exit_keys[lane], ends.exit_places[lane]);
            outgoing.send_to(gateway, frames, leaving, exit, write)
        };
        if sent {
            let flags = columns.tcp_flags(lane);
            lines.book(&self.lookups, &ends.answers, lane, now, flags, ip_length.into());
        }
    }
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

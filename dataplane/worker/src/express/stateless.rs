//! Riders of a segment without sessions: each is routed and judged anew, a batch at a time.
//!
//! Only where nothing is translated and nothing comes in from the underlay; what policy does not allow is left to the general
//! journey, which has the words for it.

use super::ingress::Ingress;
use super::outgoing::{Leaving, Outgoing};
use super::vectors;
use crate::gateway::Gateway;
use crate::keys::KeyCache;
use tombolo_packet_io::{BATCH, FrameBatch, PacketIo};
use tombolo_tables::layout::{NextHop, SegmentIndex};
use tombolo_tables::view::{PolicyQuery, PolicyVerdict};
use tombolo_wire::Addresses;
use tombolo_wire::plain::Plain;
use tombolo_wire::plain::columns::{Columns, LANES};

/// Scratch of one batch, by rider.
pub(super) struct Stateless {
    groups: [Columns; BATCH / LANES],
    places: [u8; BATCH],
    destinations: [u32; BATCH],
    hops: [u32; BATCH],
    egresses: [SegmentIndex; BATCH],
    queries: [PolicyQuery; BATCH],
    verdicts: [PolicyVerdict; BATCH],
}

const NOBODY: Plain = Plain {
    addresses: 0,
    ports: 0,
    ip_length: 0,
    protocol: 0,
    tcp_flags: 0,
};

impl Default for Stateless {
    fn default() -> Self {
        Stateless {
            groups: core::array::from_fn(|_| Columns::default()),
            places: [0; BATCH],
            destinations: [0; BATCH],
            hops: [0; BATCH],
            egresses: [SegmentIndex(0); BATCH],
            queries: [query(SegmentIndex(0), SegmentIndex(0), &NOBODY); BATCH],
            verdicts: [PolicyVerdict::Default; BATCH],
        }
    }
}

impl Stateless {
    /// Sends what route and policy let pass at once.
    pub(super) fn run<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        keys: &mut KeyCache,
        outgoing: &mut Outgoing,
        ingress: &Ingress,
        frames: &mut FrameBatch,
    ) {
        let riders = self.read(ingress, frames);
        let segment = SegmentIndex(ingress.segment);
        gateway
            .tables
            .routes4_batch(segment, &self.destinations[..riders], &mut self.hops[..riders]);
        let riders = self.follow(gateway, segment, riders);
        self.judge(gateway, segment, riders);
        for rider in 0..riders {
            let within = self.egresses[rider] == segment;
            let passes = match self.verdicts[rider] {
                PolicyVerdict::Allow { .. } => true,
                PolicyVerdict::Default => within,
                PolicyVerdict::Deny { .. } | PolicyVerdict::Reject { .. } => false,
            };
            if passes {
                let (columns, lane) = self.lane(self.places[rider]);
                let leaving = Leaving {
                    place: self.places[rider].into(),
                    hop: self.hops[rider],
                    destination: self.destinations[rider],
                    ip_length: columns.ip_length(lane),
                    booked: false,
                };
                let write = |head: &mut _| columns.write_ttl(lane, head);
                outgoing.send(gateway, keys, frames, leaving, write);
            }
        }
    }

    /// Keeps the riders whose route leads out of the gateway; returns how many. Their hops are where it ends.
    #[inline(always)]
    fn follow<I: PacketIo>(&mut self, gateway: &Gateway<'_, I>, segment: SegmentIndex, riders: usize) -> usize {
        let mut kept = 0;
        for rider in 0..riders {
            let destination = self.destinations[rider];
            if let Some((egress, hop)) = follow(gateway, segment, self.hops[rider], destination) {
                self.egresses[kept] = egress;
                self.hops[kept] = hop;
                if kept != rider {
                    self.places[kept] = self.places[rider];
                    self.destinations[kept] = destination;
                }
                kept += 1;
            }
        }
        kept
    }

    /// What policy says of each rider.
    #[inline(always)]
    fn judge<I: PacketIo>(&mut self, gateway: &Gateway<'_, I>, segment: SegmentIndex, riders: usize) {
        let tables = gateway.tables;
        if tables.policy_rules().is_empty() {
            return self.verdicts[..riders].fill(PolicyVerdict::Default);
        }
        for rider in 0..riders {
            let (columns, lane) = self.lane(self.places[rider]);
            self.queries[rider] = query(segment, self.egresses[rider], &columns.packet(lane));
        }
        tables.policy_batch(&self.queries[..riders], &mut self.verdicts[..riders]);
    }

    #[inline(always)]
    fn read(&mut self, ingress: &Ingress, frames: &FrameBatch) -> usize {
        let mut riders = 0;
        let groups = frames.len().div_ceil(LANES);
        for (group, columns) in self.groups[..groups].iter_mut().enumerate() {
            let first = group * LANES;
            for lane in 0..LANES {
                super::ask(frames.get(first + LANES + lane));
                match frames.get(first + lane) {
                    Some(frame) => columns.load(lane, frame.head(), frame.len()),
                    None => columns.leave_out(lane),
                }
            }
            vectors::read_and_age(columns, ingress.station);
            for lane in 0..LANES {
                let addresses = columns.addresses(lane);
                let own = ingress.own.may_hold((addresses >> 32) as u32);
                if columns.is_plain(lane) & !own {
                    self.places[riders] = (first + lane) as u8;
                    self.destinations[riders] = addresses as u32;
                    riders += 1;
                }
            }
        }
        riders
    }

    /// The packet at a place of the batch: its group and lane.
    #[inline(always)]
    fn lane(&self, place: u8) -> (&Columns, usize) {
        let place = usize::from(place) % BATCH;
        (&self.groups[place / LANES], place % LANES)
    }
}

/// The segment and hop that a route leads to, one change of segment followed; none where it leads nowhere else.
#[inline(always)]
fn follow<I: PacketIo>(
    gateway: &Gateway<'_, I>,
    segment: SegmentIndex,
    hop: u32,
    destination: u32,
) -> Option<(SegmentIndex, u32)> {
    match NextHop::from_bits(hop) {
        NextHop::Neighbour(_) | NextHop::OnLink(_) | NextHop::Tunnel(_) => Some((segment, hop)),
        NextHop::Segment(other) => match gateway.tables.route4(other, destination) {
            hop @ (NextHop::Neighbour(_) | NextHop::OnLink(_) | NextHop::Tunnel(_)) => Some((other, hop.to_bits())),
            NextHop::Segment(_) | NextHop::Unreachable | NextHop::Discard | NextHop::Local(_) => None,
        },
        NextHop::Unreachable | NextHop::Discard | NextHop::Local(_) => None,
    }
}

#[inline(always)]
fn query(from: SegmentIndex, to: SegmentIndex, packet: &Plain) -> PolicyQuery {
    PolicyQuery {
        from,
        to,
        addresses: Addresses::V4 {
            source: (packet.addresses >> 32) as u32,
            destination: packet.addresses as u32,
        },
        protocol: packet.protocol,
        source_port: (packet.ports >> 16) as u16,
        destination_port: packet.ports as u16,
    }
}

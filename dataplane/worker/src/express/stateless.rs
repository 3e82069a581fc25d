//! Riders of a segment without sessions: each is routed and judged anew, a batch at a time.
//!
//! Only where nothing is translated; what policy does not allow is left to the general journey, which has the words for it.

use super::ingress::Ingress;
use super::leads::of_flow;
use super::outgoing::{Leaving, Outgoing};
use super::query::query;
use super::vectors;
use crate::gateway::Gateway;
use crate::keys::KeyCache;
use tombolo_flow::decide::{NO_PORTS, resolve};
use tombolo_packet_io::{BATCH, FrameBatch, PacketIo};
use tombolo_tables::layout::{NeighbourIndex, NextHop, PortIndex, SegmentIndex};
use tombolo_tables::view::{PolicyVerdict, Tables};
use tombolo_wire::Addresses;
use tombolo_wire::plain::columns::{Columns, LANES};

/// Scratch of one batch, by rider.
pub(super) struct Stateless {
    groups: [Columns; BATCH / LANES],
    places: [u8; BATCH],
    destinations: [u32; BATCH],
    hops: [u32; BATCH],
    egresses: [SegmentIndex; BATCH],
}

/// A bit for each rider of a batch.
type Riders = u64;

const _: () = assert!(BATCH <= Riders::BITS as usize);

impl Default for Stateless {
    fn default() -> Self {
        Stateless {
            groups: core::array::from_fn(|_| Columns::default()),
            places: [0; BATCH],
            destinations: [0; BATCH],
            hops: [0; BATCH],
            egresses: [SegmentIndex(0); BATCH],
        }
    }
}

/// Packets of a batch that are from one segment.
#[derive(Clone, Copy)]
pub(super) struct From {
    pub(super) segment: SegmentIndex,
    /// Their places, if they came out of a tunnel; none for the whole batch.
    pub(super) opened: Option<u64>,
}

impl Stateless {
    /// Sends what route and policy let pass at once.
    pub(super) fn run<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        keys: &mut KeyCache,
        outgoing: &mut Outgoing,
        ingress: &Ingress,
        from: From,
        frames: &mut FrameBatch,
    ) {
        let (tables, segment) = (gateway.tables, from.segment);
        let riders = self.read(tables, ingress, from, frames);
        tables.routes4_batch(segment, &self.destinations[..riders], &mut self.hops[..riders]);
        let (riders, within) = self.follow(tables, segment, riders);
        let passing = self.judge(tables, segment, riders, within);
        for rider in 0..riders {
            if passing >> rider & 1 != 0 {
                let (columns, lane) = lane(&self.groups, self.places[rider]);
                let leaving = Leaving {
                    place: self.places[rider].into(),
                    hop: self.hops[rider],
                    destination: self.destinations[rider],
                    ip_length: columns.ip_length(lane),
                    booked: from.opened.is_some(),
                };
                let write = |head: &mut _| columns.write_ttl(lane, head);
                outgoing.send(gateway, keys, frames, leaving, write);
            }
        }
    }

    /// Keeps the riders whose route leads out of the gateway: how many, and who of them stays in the segment. Their hops are where
    /// it ends. Nearly always all of a batch go out at once, or all by the same other segment.
    #[inline(always)]
    fn follow(&mut self, tables: &Tables<'_>, segment: SegmentIndex, riders: usize) -> (usize, Riders) {
        let hops = &mut self.hops[..riders];
        if all_lead_out(hops) {
            self.egresses[..riders].fill(segment);
            return (riders, Riders::MAX);
        }
        if let NextHop::Segment(other) = NextHop::from_bits(hops[0])
            && other != segment
            && hops.iter().all(|hop| *hop == hops[0])
        {
            let mut beyond = [0; BATCH];
            tables.routes4_batch(other, &self.destinations[..riders], &mut beyond[..riders]);
            if all_lead_out(&beyond[..riders]) {
                self.hops = beyond;
                self.egresses[..riders].fill(other);
                return (riders, 0);
            }
        }
        self.follow_each(tables, segment, riders)
    }

    #[inline(never)]
    fn follow_each(&mut self, tables: &Tables<'_>, segment: SegmentIndex, riders: usize) -> (usize, Riders) {
        let (mut kept, mut within) = (0, 0);
        for rider in 0..riders {
            let destination = self.destinations[rider];
            let (columns, lane) = lane(&self.groups, self.places[rider]);
            let key = [columns.addresses(lane), columns.ports_and_protocol(lane)];
            if let Some((egress, hop)) = follow(tables, segment, self.hops[rider], destination, key) {
                self.egresses[kept] = egress;
                self.hops[kept] = hop;
                self.places[kept] = self.places[rider];
                self.destinations[kept] = destination;
                within |= Riders::from(egress == segment) << kept;
                kept += 1;
            }
        }
        (kept, within)
    }

    /// Whom policy lets pass; where it says nothing, those that stay within the segment.
    #[inline(always)]
    fn judge(&self, tables: &Tables<'_>, segment: SegmentIndex, riders: usize, within: Riders) -> Riders {
        if tables.policy_rules().is_empty() {
            return within;
        }
        let of = |rider: usize| {
            let (columns, lane) = lane(&self.groups, self.places[rider]);
            let key = [columns.addresses(lane), columns.ports_and_protocol(lane)];
            query(segment, self.egresses[rider], key)
        };
        let mut passing = 0;
        tables.policy_each(riders, of, |rider, verdict| {
            let passes = match verdict {
                PolicyVerdict::Allow { .. } => 1,
                PolicyVerdict::Default => within >> rider & 1,
                PolicyVerdict::Deny { .. } | PolicyVerdict::Reject { .. } => 0,
            };
            passing |= passes << rider;
        });
        passing
    }

    #[inline(always)]
    fn read(&mut self, tables: &Tables<'_>, ingress: &Ingress, from: From, frames: &FrameBatch) -> usize {
        let mut riders = 0;
        let groups = frames.len().div_ceil(LANES);
        for step in 0..=groups {
            // What is stored word by word is read as vectors a step later: at once, the loads would wait for the stores.
            if step < groups {
                let columns = &mut self.groups[step];
                (0..LANES).for_each(|lane| super::load(columns, frames, step, lane));
                if let Some(opened) = from.opened {
                    pick(columns, opened >> (step * LANES), ingress.station);
                }
            }
            let Some(group) = step.checked_sub(1) else { continue };
            let columns = &mut self.groups[group];
            let first = group * LANES;
            vectors::read_and_age(columns, ingress.station);
            for lane in 0..LANES {
                let addresses = columns.addresses(lane);
                let source = (addresses >> 32) as u32;
                let spoofed = ingress.own.may_hold(source) && is_own(tables, from.segment, source);
                if columns.is_plain(lane) & !spoofed {
                    self.places[riders] = (first + lane) as u8;
                    self.destinations[riders] = addresses as u32;
                    riders += 1;
                }
            }
        }
        riders
    }
}

/// Leaves those lanes out whose bit is not set; the others came out of a tunnel.
fn pick(columns: &mut Columns, opened: u64, station: u64) {
    for lane in 0..LANES {
        if opened >> lane & 1 == 1 {
            columns.accept(lane, station);
        } else {
            columns.leave_out(lane);
        }
    }
}

/// The packet at a place of the batch: its group and lane.
#[inline(always)]
fn lane(groups: &[Columns; BATCH / LANES], place: u8) -> (&Columns, usize) {
    let place = usize::from(place) % BATCH;
    (&groups[place / LANES], place % LANES)
}

/// Whether each of these hops is out of the gateway. Without a branch: the compiler asks many at a time.
#[inline(always)]
fn all_lead_out(hops: &[u32]) -> bool {
    let first = NextHop::Neighbour(NeighbourIndex(0)).to_bits();
    let count = NextHop::Local(PortIndex(0)).to_bits() - first;
    !hops
        .iter()
        .fold(false, |any, hop| any | (hop.wrapping_sub(first) >= count))
}

/// The segment and hop that a route leads a packet to, one change of segment followed; none where it leads nowhere else.
#[inline(always)]
fn follow(
    tables: &Tables<'_>,
    segment: SegmentIndex,
    hop: u32,
    destination: u32,
    key: [u64; 2],
) -> Option<(SegmentIndex, u32)> {
    let (segment, hop) = if let NextHop::Segment(other) = NextHop::from_bits(hop) {
        (other, tables.route4(other, destination).to_bits())
    } else {
        (segment, hop)
    };
    let hop = of_flow(tables, hop, key);
    all_lead_out(&[hop]).then_some((segment, hop))
}

/// Whether replies to that address would come to the gateway itself, as the general journey asks.
#[cold]
fn is_own(tables: &Tables<'_>, segment: SegmentIndex, address: u32) -> bool {
    let back = Addresses::V4 {
        source: 0,
        destination: address,
    };
    matches!(resolve(tables, segment, &back, NO_PORTS).next_hop, NextHop::Local(_))
}

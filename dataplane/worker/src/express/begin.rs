//! Riders whose flow no session knows: UDP whose every question has its usual answer begins its session here.
//!
//! ```text
//! route there and back → policy, source NAT, ask for the mapping → approach it → bind it, ask for the session's places → session, send
//! ```
//! The passes are those of [`start`](crate::stages), and between them memory arrives. What policy refuses, what a port forward might
//! mean, what is for the gateway or for nobody, what finds a table full: all of it is left in the batch, to the general journey, with
//! nothing held. A session that was made and cannot be followed here (its next hop is not known yet) the journey finds.

use super::ingress::Ingress;
use super::outgoing::{Leaving, Outgoing};
use super::translations::Translations;
use super::tunnel_exit::tunnel_of;
use super::{Rider, Words};
use crate::bind;
use crate::gateway::Gateway;
use crate::keys::KeyCache;
use crate::stages::TUNNELLED;
use tombolo_flow::{Aimed, Beginning, Begun, Bound, Direction, Inside, Key4, NO_MAPPING};
use tombolo_packet_io::{BATCH, FrameBatch, PacketIo};
use tombolo_tables::layout::{NextHop, PoolIndex, SegmentIndex, wildcard};
use tombolo_tables::view::{PolicyQuery, PolicyVerdict, Tables};
use tombolo_wire::{Addresses, plain, protocol};

/// A flow that is on its way into the tables.
#[derive(Clone, Copy)]
struct Newcomer {
    /// Its first packet.
    rider: u8,
    egress: SegmentIndex,
    /// `NextHop` bits, there and back.
    hops: [u32; 2],
    /// The policy rule that allowed it.
    rule: u32,
    mapping: Option<(PoolIndex, Aimed<u32>)>,
}

/// A flow with all that its session says.
#[derive(Clone, Copy)]
struct Made {
    rider: u8,
    new: Beginning<Words>,
    hashes: [u64; 2],
    bound: Option<Bound<u32>>,
}

/// Newcomers of a batch.
pub(super) struct Begin {
    /// Riders that no session knows.
    noted: [u8; BATCH],
    count: usize,
    sources: [u32; BATCH],
    destinations: [u32; BATCH],
    hops: [u32; BATCH],
    back: [u32; BATCH],
    queries: Vec<PolicyQuery>,
    verdicts: [PolicyVerdict; BATCH],
    newcomers: Vec<Newcomer>,
    made: Vec<Made>,
    translations: Translations,
}

impl Default for Begin {
    fn default() -> Self {
        Begin {
            noted: [0; BATCH],
            count: 0,
            sources: [0; BATCH],
            destinations: [0; BATCH],
            hops: [0; BATCH],
            back: [0; BATCH],
            queries: Vec::with_capacity(BATCH),
            verdicts: [PolicyVerdict::Default; BATCH],
            newcomers: Vec::with_capacity(BATCH),
            made: Vec::with_capacity(BATCH),
            translations: Translations::default(),
        }
    }
}

impl Begin {
    /// Learns a new generation.
    pub(super) fn renew(&mut self, tables: &Tables<'_>) {
        self.translations.renew(tables);
    }

    /// No session knows this rider.
    #[inline(always)]
    pub(super) fn note(&mut self, rider: usize) {
        if let Some(place) = self.noted.get_mut(self.count) {
            *place = rider as u8;
            self.count += 1;
        }
    }

    /// Whether there is anybody.
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Riders whose flow became known meanwhile: they are to be served like others. Asking forgets them.
    pub(super) fn joined(&mut self) -> ([u8; BATCH], usize) {
        (self.noted, core::mem::take(&mut self.count))
    }

    /// Begins what may begin, and sends it.
    #[inline(never)]
    pub(super) fn run<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        keys: &mut KeyCache,
        outgoing: &mut Outgoing,
        ingress: &Ingress,
        frames: &mut FrameBatch,
        riders: &[Rider; BATCH],
    ) {
        let segment = SegmentIndex(ingress.segment);
        let noted = core::mem::take(&mut self.count);
        if ingress.ends_tunnels || self.translations.may_forward(segment) {
            return;
        }
        self.gather(riders, noted);
        self.route(gateway.tables, segment, riders);
        self.judge(gateway, segment, riders);
        let mappings = &gateway.state.flows().mappings4;
        for (_, aimed) in self.newcomers.iter().filter_map(|newcomer| newcomer.mapping.as_ref()) {
            mappings.approach(aimed);
        }
        self.make(gateway, riders);
        for at in 0..self.made.len() {
            self.finish(gateway, keys, outgoing, ingress, frames, riders, at);
        }
    }

    /// Keeps those that may begin here.
    #[inline(always)]
    fn gather(&mut self, riders: &[Rider; BATCH], noted: usize) {
        for at in 0..noted.min(BATCH) {
            let [addresses, rest] = riders[usize::from(self.noted[at]) % BATCH].key;
            if (rest >> 8) as u8 == protocol::UDP {
                self.noted[self.count] = self.noted[at];
                self.sources[self.count] = (addresses >> 32) as u32;
                self.destinations[self.count] = addresses as u32;
                self.count += 1;
            }
        }
    }

    /// Finds where flows and their replies lead; those that lead out of the gateway become newcomers, each with its query.
    #[inline(always)]
    fn route(&mut self, tables: &Tables<'_>, segment: SegmentIndex, riders: &[Rider; BATCH]) {
        let count = core::mem::take(&mut self.count);
        tables.routes4_batch(segment, &self.destinations[..count], &mut self.hops[..count]);
        tables.routes4_batch(segment, &self.sources[..count], &mut self.back[..count]);
        let onwards = self.follow(tables, count);
        self.newcomers.clear();
        self.queries.clear();
        for at in 0..count {
            let egress = match onwards {
                Some((other, beyond)) if beyond >> at & 1 != 0 => other,
                Some(_) | None if leads_out(self.hops[at]) => segment,
                Some(_) | None => continue,
            };
            let Some(back) = back(tables, self.back[at], self.sources[at]) else {
                continue;
            };
            let rider = self.noted[at];
            self.newcomers.push(Newcomer {
                rider,
                egress,
                hops: [self.hops[at], back],
                rule: wildcard::NONE,
                mapping: None,
            });
            let key = &riders[usize::from(rider) % BATCH].key;
            self.queries.push(query(segment, egress, key));
        }
    }

    /// Follows routes into another segment, the same for all of a batch. Which it is, and a bit for each flow that leads out of it.
    #[inline(always)]
    fn follow(&mut self, tables: &Tables<'_>, count: usize) -> Option<(SegmentIndex, u64)> {
        let into = |hop: u32| {
            if let NextHop::Segment(other) = NextHop::from_bits(hop) {
                Some(other)
            } else {
                None
            }
        };
        let other = self.hops[..count].iter().find_map(|hop| into(*hop))?;
        let into_other = NextHop::Segment(other).to_bits();
        let (mut destinations, mut places, mut hops) = ([0; BATCH], [0u8; BATCH], [0; BATCH]);
        let mut followed = 0;
        for at in 0..count {
            destinations[followed] = self.destinations[at];
            places[followed] = at as u8;
            followed += usize::from(self.hops[at] == into_other);
            if followed == BATCH {
                break;
            }
        }
        tables.routes4_batch(other, &destinations[..followed], &mut hops[..followed]);
        let mut beyond = 0;
        for (place, hop) in places.iter().zip(&hops[..followed]) {
            if leads_out(*hop) {
                self.hops[usize::from(*place) % BATCH] = *hop;
                beyond |= 1 << place;
            }
        }
        Some((other, beyond))
    }

    /// Keeps those that policy allows, and asks for the mappings of those whose source is translated.
    #[inline(always)]
    fn judge<I: PacketIo>(&mut self, gateway: &Gateway<'_, I>, segment: SegmentIndex, riders: &[Rider; BATCH]) {
        let tables = gateway.tables;
        let count = self.newcomers.len();
        if tables.policy_rules().is_empty() {
            self.verdicts[..count].fill(PolicyVerdict::Default);
        } else {
            tables.policy_batch(&self.queries, &mut self.verdicts[..count]);
        }
        let mut kept = 0;
        for at in 0..count {
            let mut newcomer = self.newcomers[at];
            newcomer.rule = match self.verdicts[at] {
                PolicyVerdict::Allow { rule } => rule,
                PolicyVerdict::Default if newcomer.egress == segment => wildcard::NONE,
                PolicyVerdict::Default | PolicyVerdict::Deny { .. } | PolicyVerdict::Reject { .. } => continue,
            };
            let Some(pool) = self.translations.of(tables, &self.queries[at], newcomer.hops[0]) else {
                continue;
            };
            newcomer.mapping = pool.map(|pool| {
                let key = &riders[usize::from(newcomer.rider) % BATCH].key;
                (pool, gateway.state.flows().mappings4.aim(&inside(key, pool)))
            });
            self.newcomers[kept] = newcomer;
            kept += 1;
        }
        self.newcomers.truncate(kept);
    }

    /// Takes the mappings, and asks for the places of the replies' keys.
    #[inline(always)]
    fn make<I: PacketIo>(&mut self, gateway: &mut Gateway<'_, I>, riders: &[Rider; BATCH]) {
        self.made.clear();
        let (state, tables, now) = (gateway.state, gateway.tables, gateway.now.seconds());
        let (sessions, flows) = (state.sessions4(), state.flows());
        for newcomer in &self.newcomers {
            let rider = &riders[usize::from(newcomer.rider) % BATCH];
            let bound = match &newcomer.mapping {
                None => None,
                Some((pool, aimed)) => {
                    let Some(pool) = bind::pool_view::<Key4>(tables, *pool) else {
                        continue;
                    };
                    let bound = flows
                        .mappings4
                        .bind_aimed(&flows.ports, gateway.flow, aimed, &pool, now);
                    let Ok(bound) = bound else { continue };
                    Some(bound)
                }
            };
            let new = beginning(tables, &rider.key, newcomer, bound.as_ref());
            self.made.push(Made {
                rider: newcomer.rider,
                hashes: [rider.hash, sessions.aim(&new.reverse)],
                new,
                bound,
            });
        }
    }

    /// Last step of a flow: makes its mapping known and its session live, and sends the packet.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    fn finish<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        keys: &mut KeyCache,
        outgoing: &mut Outgoing,
        ingress: &Ingress,
        frames: &mut FrameBatch,
        riders: &[Rider; BATCH],
        at: usize,
    ) {
        let made = &self.made[at];
        let rider = &riders[usize::from(made.rider) % BATCH];
        let mappings = &gateway.state.flows().mappings4;
        if let Some(bound) = &made.bound {
            let _ = mappings.show(bound);
        }
        let (sessions, now) = (gateway.state.sessions4(), gateway.now.seconds());
        let session = match sessions.begin(gateway.flow, &made.new, made.hashes, now) {
            Ok(Begun::New(session)) => session,
            other => {
                if made.bound.is_some() {
                    mappings.release(made.new.mapping, now);
                }
                if other == Ok(Begun::Known) {
                    self.note(made.rider.into());
                }
                return;
            }
        };
        let leaving = Leaving {
            place: rider.place.into(),
            hop: (made.new.next_hops >> 32) as u32,
            destination: rider.key[0] as u32,
            ip_length: rider.ip_length,
            booked: false,
        };
        let sent = outgoing.send(gateway, keys, ingress, frames, leaving, |head| {
            edit(head, rider, &made.new)
        });
        if sent {
            sessions.book_first(session, rider.ip_length.into());
        }
    }
}

#[inline(always)]
fn leads_out(hop: u32) -> bool {
    matches!(
        NextHop::from_bits(hop),
        NextHop::Neighbour(_) | NextHop::OnLink(_) | NextHop::Tunnel(_)
    )
}

/// Where replies lead: `NextHop` bits. None if the source is an address of the gateway.
#[inline(always)]
fn back(tables: &Tables<'_>, hop: u32, source: u32) -> Option<u32> {
    match NextHop::from_bits(hop) {
        NextHop::Neighbour(_) | NextHop::OnLink(_) | NextHop::Tunnel(_) => Some(hop),
        NextHop::Unreachable | NextHop::Discard => Some(hop),
        NextHop::Local(_) => None,
        NextHop::Segment(other) => match tables.route4(other, source) {
            NextHop::Local(_) => None,
            NextHop::Segment(_) => Some(NextHop::Unreachable.to_bits()),
            beyond @ (NextHop::Neighbour(_) | NextHop::OnLink(_) | NextHop::Tunnel(_)) => Some(beyond.to_bits()),
            beyond @ (NextHop::Unreachable | NextHop::Discard) => Some(beyond.to_bits()),
        },
    }
}

/// A UDP flow as rules match it.
#[inline(always)]
fn query(from: SegmentIndex, to: SegmentIndex, key: &Words) -> PolicyQuery {
    PolicyQuery {
        from,
        to,
        addresses: Addresses::V4 {
            source: (key[0] >> 32) as u32,
            destination: key[0] as u32,
        },
        protocol: protocol::UDP,
        source_port: (key[1] >> 48) as u16,
        destination_port: (key[1] >> 32) as u16,
    }
}

#[inline(always)]
fn inside(key: &Words, pool: PoolIndex) -> Inside<u32> {
    Inside {
        segment: (key[1] >> 16) as u16,
        protocol: protocol::UDP,
        address: (key[0] >> 32) as u32,
        port: (key[1] >> 48) as u16,
        pool: pool.0,
    }
}

/// The session of a newcomer with this key.
#[inline(always)]
fn beginning(tables: &Tables<'_>, key: &Words, newcomer: &Newcomer, bound: Option<&Bound<u32>>) -> Beginning<Words> {
    let (source, source_port) = ((key[0] >> 32) as u32, (key[1] >> 48) as u16);
    let (sent, sent_port, mapping) = match bound {
        Some(bound) => (bound.binding.address, bound.binding.port, bound.binding.mapping),
        None => (source, source_port, NO_MAPPING),
    };
    let egress = newcomer.egress;
    let ports = (key[1] >> 32 & 0xffff) << 48 | u64::from(sent_port) << 32;
    let epoch = |segment| u64::from(tables.segment(segment).map_or(0, |record| record.epoch));
    let [hop, back] = newcomer.hops;
    let flag = |hop: u32, direction: Direction| {
        if tunnel_of(hop).is_some() {
            TUNNELLED[direction as usize]
        } else {
            0
        }
    };
    Beginning {
        forward: *key,
        reverse: [
            key[0] << 32 | u64::from(sent),
            ports | u64::from(egress.0) << 16 | u64::from(protocol::UDP) << 8,
        ],
        next_hops: u64::from(hop) << 32 | u64::from(back),
        epochs: epoch(SegmentIndex((key[1] >> 16) as u16)) << 32 | epoch(egress),
        mapping,
        rule: newcomer.rule,
        flags: flag(back, Direction::Forward) | flag(hop, Direction::Reverse),
        translated: (sent, sent_port) != (source, source_port),
    }
}

#[inline(always)]
fn edit(head: &mut [u8; plain::HEAD], rider: &Rider, new: &Beginning<Words>) {
    if new.translated {
        let ports = ((new.reverse[1] >> 32) as u32).rotate_left(16);
        plain::translate(head, &rider.packet(), new.reverse[0].rotate_left(32), ports);
    } else {
        plain::decrement_ttl(head);
    }
}

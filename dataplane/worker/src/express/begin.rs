//! Riders whose flow no session knows: UDP whose every question has its usual answer begins its session here.
//!
//! ```text
//! route there and back → policy, source NAT, ask for the mapping → approach it → bind it, ask for the session's places → session, send
//! ```
//! The passes are those of [`start`](crate::stages), and between them memory arrives. What policy refuses, what a port forward might
//! mean, what is for the gateway or for nobody, what finds a table full: all of it is left in the batch, to the general journey, with
//! nothing held. A session that was made and cannot be followed here (its next hop is not known yet) the journey finds.

use super::ingress::Ingress;
use super::leads::{Lead, Leads};
use super::outgoing::{Leaving, Outgoing};
use super::translations::Translations;
use super::tunnel_exit::tunnel_of;
use crate::bind;
use crate::gateway::Gateway;
use crate::keys::KeyCache;
use crate::stages::TUNNELLED;
use tombolo_flow::{Aimed, Beginning, Begun, Bound, Direction, Inside, Key, Key4, NO_MAPPING};
use tombolo_packet_io::{BATCH, FrameBatch, PacketIo};
use tombolo_tables::layout::{PoolIndex, SegmentIndex, wildcard};
use tombolo_tables::view::{PolicyQuery, PolicyVerdict, Tables};
use tombolo_wire::plain::{self, Plain};
use tombolo_wire::{Addresses, protocol};

/// Key words of an IPv4 session.
type Words = [u64; 2];

/// A packet whose session the lane looked for and did not find.
#[derive(Clone, Copy, Default)]
pub(super) struct Unknown {
    pub(super) key: Words,
    pub(super) hash: u64,
    /// Place of its frame in the batch.
    pub(super) place: u8,
    pub(super) ip_length: u16,
}

/// A flow that is on its way into the tables.
#[derive(Clone, Copy, Default)]
struct Newcomer {
    /// Its first packet.
    first: Unknown,
    egress: SegmentIndex,
    /// `NextHop` bits, there and back.
    hops: [u32; 2],
    /// The policy rule that allowed it.
    rule: u32,
    pool: Option<PoolIndex>,
    /// Where its mapping belongs, if it has one.
    aimed: Aimed<u32>,
    bound: Option<Bound<u32>>,
    /// Its session.
    new: Beginning<Words>,
    reverse_hash: u64,
}

/// Newcomers of a batch. Each pass walks those that are left, and leaves out whom the journey shall have.
pub(super) struct Begin {
    noted: [Unknown; BATCH],
    count: usize,
    sources: [u32; BATCH],
    destinations: [u32; BATCH],
    there: [Lead; BATCH],
    back: [Lead; BATCH],
    queries: [PolicyQuery; BATCH],
    verdicts: [PolicyVerdict; BATCH],
    newcomers: [Newcomer; BATCH],
    /// Places of the newcomers that are left.
    left: [u8; BATCH],
    leads: Leads,
    translations: Translations,
}

impl Default for Begin {
    fn default() -> Self {
        Begin {
            noted: [Unknown::default(); BATCH],
            count: 0,
            sources: [0; BATCH],
            destinations: [0; BATCH],
            there: [Lead::default(); BATCH],
            back: [Lead::default(); BATCH],
            queries: [query(SegmentIndex(0), SegmentIndex(0), &[0; 2]); BATCH],
            verdicts: [PolicyVerdict::Default; BATCH],
            newcomers: [Newcomer::default(); BATCH],
            left: [0; BATCH],
            leads: Leads::default(),
            translations: Translations::default(),
        }
    }
}

impl Begin {
    /// Learns a new generation.
    pub(super) fn renew(&mut self, tables: &Tables<'_>) {
        self.leads.forget();
        self.translations.renew(tables);
    }

    /// No session knows this packet.
    #[inline(always)]
    pub(super) fn note(&mut self, unknown: Unknown) {
        if let Some(place) = self.noted.get_mut(self.count) {
            *place = unknown;
            self.count += 1;
        }
    }

    /// Whether there is anybody.
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
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
    ) {
        let segment = SegmentIndex(ingress.segment);
        let noted = core::mem::take(&mut self.count);
        if ingress.ends_tunnels || self.translations.may_forward(segment) {
            return;
        }
        let gathered = self.gather(noted);
        let left = self.route(gateway.tables, segment, gathered);
        let left = self.judge(gateway, segment, left);
        let (mappings, sessions) = (&gateway.state.flows().mappings4, gateway.state.sessions4());
        for newcomer in self.mapped(left) {
            mappings.ask(&newcomer.aimed);
        }
        for newcomer in self.mapped(left) {
            mappings.approach(&newcomer.aimed);
        }
        let left = self.make(gateway, left);
        for at in 0..left {
            let newcomer = &self.newcomers[usize::from(self.left[at]) % BATCH];
            sessions.ask(newcomer.reverse_hash);
            if let Some(bound) = &newcomer.bound {
                mappings.ask_shown(bound);
            }
        }
        for at in 0..left {
            let newcomer = &self.newcomers[usize::from(self.left[at]) % BATCH];
            if finish(gateway, keys, outgoing, frames, newcomer) == Finished::Known {
                join(gateway, keys, outgoing, frames, &newcomer.first);
            }
        }
    }

    /// Those whose source is translated.
    #[inline(always)]
    fn mapped(&self, left: usize) -> impl Iterator<Item = &Newcomer> {
        let left = self.left[..left.min(BATCH)].iter();
        let left = left.map(|at| &self.newcomers[usize::from(*at) % BATCH]);
        left.filter(|newcomer| newcomer.pool.is_some())
    }

    /// Keeps those that may begin here, and says how many they are.
    #[inline(always)]
    fn gather(&mut self, noted: usize) -> usize {
        let mut gathered = 0;
        for at in 0..noted.min(BATCH) {
            let unknown = self.noted[at];
            let [addresses, rest] = unknown.key;
            self.noted[gathered] = unknown;
            self.sources[gathered] = (addresses >> 32) as u32;
            self.destinations[gathered] = addresses as u32;
            gathered += usize::from((rest >> 8) as u8 == protocol::UDP);
        }
        gathered
    }

    /// Finds where flows and their replies lead; those that lead out of the gateway become newcomers, each with its query.
    #[inline(always)]
    fn route(&mut self, tables: &Tables<'_>, segment: SegmentIndex, gathered: usize) -> usize {
        let leads = &mut self.leads;
        leads.find(tables, segment, &self.destinations[..gathered], &mut self.there);
        leads.find(tables, segment, &self.sources[..gathered], &mut self.back);
        let mut kept = 0;
        for at in 0..gathered.min(BATCH) {
            let (there, back) = (self.there[at], self.back[at]);
            // Nobody outside may have an address of the gateway.
            if !there.leads_out() || back.is_local() {
                continue;
            }
            let newcomer = &mut self.newcomers[kept];
            newcomer.first = self.noted[at];
            newcomer.egress = there.egress;
            newcomer.hops = [there.hop, back.hop];
            self.queries[kept] = query(segment, there.egress, &newcomer.first.key);
            kept += 1;
        }
        kept
    }

    /// Keeps those that policy allows, and finds out which mappings they need.
    #[inline(always)]
    fn judge<I: PacketIo>(&mut self, gateway: &Gateway<'_, I>, segment: SegmentIndex, left: usize) -> usize {
        let tables = gateway.tables;
        if tables.policy_rules().is_empty() {
            self.verdicts[..left].fill(PolicyVerdict::Default);
        } else {
            tables.policy_batch(&self.queries[..left], &mut self.verdicts[..left]);
        }
        let mappings = &gateway.state.flows().mappings4;
        let mut kept = 0;
        for at in 0..left.min(BATCH) {
            let newcomer = &mut self.newcomers[at];
            newcomer.rule = match self.verdicts[at] {
                PolicyVerdict::Allow { rule } => rule,
                PolicyVerdict::Default if newcomer.egress == segment => wildcard::NONE,
                PolicyVerdict::Default | PolicyVerdict::Deny { .. } | PolicyVerdict::Reject { .. } => continue,
            };
            let Some(pool) = self.translations.of(tables, &self.queries[at], newcomer.hops[0]) else {
                continue;
            };
            newcomer.pool = pool;
            if let Some(pool) = pool {
                newcomer.aimed = mappings.aim(&inside(&newcomer.first.key, pool));
            }
            self.left[kept] = at as u8;
            kept += 1;
        }
        kept
    }

    /// Takes the mappings, and knows the sessions then.
    #[inline(always)]
    fn make<I: PacketIo>(&mut self, gateway: &mut Gateway<'_, I>, left: usize) -> usize {
        let (state, tables, now) = (gateway.state, gateway.tables, gateway.now.seconds());
        let (sessions, flows) = (state.sessions4(), state.flows());
        let mut kept = 0;
        for at in 0..left.min(BATCH) {
            let place = self.left[at];
            let newcomer = &mut self.newcomers[usize::from(place) % BATCH];
            let bound = if let Some(pool) = newcomer.pool {
                let Some(pool) = bind::pool_view::<Key4>(tables, pool) else {
                    continue;
                };
                let bound = flows
                    .mappings4
                    .bind_aimed(&flows.ports, gateway.flow, &newcomer.aimed, &pool, now);
                let Ok(bound) = bound else { continue };
                Some(bound)
            } else {
                None
            };
            let new = beginning(tables, newcomer, bound.as_ref());
            newcomer.reverse_hash = sessions.hash_of(&new.reverse);
            newcomer.new = new;
            newcomer.bound = bound;
            self.left[kept] = place;
            kept += 1;
        }
        kept
    }
}

/// What became of a newcomer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Finished {
    /// It has its session, or the journey will say why not.
    Settled,
    /// A session knows its flow.
    Known,
}

/// Last step of a flow: makes its mapping known and its session live, and sends the packet.
#[inline(always)]
fn finish<I: PacketIo>(
    gateway: &mut Gateway<'_, I>,
    keys: &mut KeyCache,
    outgoing: &mut Outgoing,
    frames: &mut FrameBatch,
    newcomer: &Newcomer,
) -> Finished {
    let (new, first) = (&newcomer.new, &newcomer.first);
    let mappings = &gateway.state.flows().mappings4;
    if let Some(bound) = &newcomer.bound {
        let _ = mappings.show(bound);
    }
    let (sessions, now) = (gateway.state.sessions4(), gateway.now.seconds());
    let session = match sessions.begin(gateway.flow, new, [first.hash, newcomer.reverse_hash], now) {
        Ok(Begun::New(session)) => session,
        other => {
            if new.mapping != NO_MAPPING {
                mappings.release(new.mapping, now);
            }
            return if other == Ok(Begun::Known) {
                Finished::Known
            } else {
                Finished::Settled
            };
        }
    };
    let leaving = Leaving {
        place: first.place.into(),
        hop: (new.next_hops >> 32) as u32,
        destination: first.key[0] as u32,
        ip_length: first.ip_length,
        booked: false,
    };
    let write = |head: &mut _| edit(head, first, &new.reverse, new.translated);
    if outgoing.send(gateway, keys, frames, leaving, write) {
        sessions.book_first(session, first.ip_length.into());
    }
    Finished::Settled
}

/// Follows the session that an earlier packet of the batch, or another worker, began meanwhile.
#[cold]
#[inline(never)]
fn join<I: PacketIo>(
    gateway: &mut Gateway<'_, I>,
    keys: &mut KeyCache,
    outgoing: &mut Outgoing,
    frames: &mut FrameBatch,
    unknown: &Unknown,
) {
    let sessions = gateway.state.sessions4();
    let Some(hit) = sessions.lookup(&Key4::from_words(&unknown.key)) else {
        return;
    };
    let other = hit.rewrite_to.swapped().to_words();
    if hit.epochs != [epoch(gateway.tables, unknown.key[1]), epoch(gateway.tables, other[1])] {
        return;
    }
    let leaving = Leaving {
        place: unknown.place.into(),
        hop: hit.next_hop,
        destination: (other[0] >> 32) as u32,
        ip_length: unknown.ip_length,
        booked: false,
    };
    let write = |head: &mut _| edit(head, unknown, &other, hit.translated);
    if outgoing.send(gateway, keys, frames, leaving, write) {
        sessions.touch(&hit, gateway.now.seconds(), 0, unknown.ip_length.into());
    }
}

/// Epoch of the segment in the second word of a key.
#[inline(always)]
fn epoch(tables: &Tables<'_>, word: u64) -> u32 {
    let segment = SegmentIndex((word >> 16) as u16);
    tables.segment(segment).map_or(0, |record| record.epoch)
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
fn beginning(tables: &Tables<'_>, newcomer: &Newcomer, bound: Option<&Bound<u32>>) -> Beginning<Words> {
    let key = &newcomer.first.key;
    let (source, source_port) = ((key[0] >> 32) as u32, (key[1] >> 48) as u16);
    let (sent, sent_port, mapping) = match bound {
        Some(bound) => (bound.binding.address, bound.binding.port, bound.binding.mapping),
        None => (source, source_port, NO_MAPPING),
    };
    let egress = newcomer.egress;
    let ports = (key[1] >> 32 & 0xffff) << 48 | u64::from(sent_port) << 32;
    let [hop, back] = newcomer.hops;
    let flag = |hop: u32, direction: Direction| {
        if tunnel_of(hop).is_some() {
            TUNNELLED[direction as usize]
        } else {
            0
        }
    };
    let reverse = [
        key[0] << 32 | u64::from(sent),
        ports | u64::from(egress.0) << 16 | u64::from(protocol::UDP) << 8,
    ];
    Beginning {
        forward: *key,
        reverse,
        next_hops: u64::from(hop) << 32 | u64::from(back),
        epochs: u64::from(epoch(tables, key[1])) << 32 | u64::from(epoch(tables, reverse[1])),
        mapping,
        rule: newcomer.rule,
        flags: flag(back, Direction::Forward) | flag(hop, Direction::Reverse),
        translated: (sent, sent_port) != (source, source_port),
    }
}

/// Edits the packet so that it leaves as what `reverse` is the reply to.
#[inline(always)]
fn edit(head: &mut [u8; plain::HEAD], packet: &Unknown, reverse: &Words, translated: bool) {
    if translated {
        let came = Plain {
            addresses: packet.key[0],
            ports: (packet.key[1] >> 32) as u32,
            ip_length: packet.ip_length,
            protocol: protocol::UDP,
            tcp_flags: 0,
        };
        let ports = ((reverse[1] >> 32) as u32).rotate_left(16);
        plain::translate(head, &came, reverse[0].rotate_left(32), ports);
    } else {
        plain::decrement_ttl(head);
    }
}

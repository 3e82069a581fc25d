//! Riders whose flow no session knows: UDP whose every question has its usual answer begins its session here.
//!
//! ```text
//! route there and back → policy, source NAT → ask for the mapping → approach it, reserve a session → bind, write → ask for its places → send
//! ```
//! The passes are those of [`start`](crate::stages), and between them memory arrives. What policy refuses, what a port forward might
//! mean, what is for the gateway or for nobody, what finds a table full: all of it is left in the batch, to the general journey, with
//! nothing held. A session that was made and cannot be followed here (its next hop is not known yet) the journey finds.

use super::ingress::Ingress;
use super::join::{epoch, join};
use super::leads::{Lead, Leads};
use super::outgoing::{Leaving, Outgoing};
use super::query::query;
use super::translations::Translations;
use super::tunnel_exit::tunnel_of;
use crate::bind;
use crate::gateway::Gateway;
use crate::keys::KeyCache;
use crate::stages::TUNNELLED;
use tombolo_flow::{
    Beginning, Beginnings, Begun, Direction, Heading, Key4, MappingBeginnings, NO_MAPPING, PoolView, Reserved,
};
use tombolo_packet_io::{BATCH, FrameBatch, PacketIo};
use tombolo_tables::layout::{PoolIndex, SegmentIndex, wildcard};
use tombolo_tables::view::{PolicyQuery, PolicyVerdict, Tables};
use tombolo_wire::plain;
use tombolo_wire::protocol;

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
    heading: Heading,
    /// The entry of its session.
    session: Reserved,
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
            queries: [query(SegmentIndex(0), SegmentIndex(0), [0; 2]); BATCH],
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

    /// No session knows this packet. Only UDP may begin here.
    #[inline(always)]
    pub(super) fn note(&mut self, unknown: Unknown) {
        let at = self.count;
        if protocol_of(&unknown.key) != protocol::UDP || at >= BATCH {
            return;
        }
        self.sources[at] = source_of(&unknown.key).0;
        self.destinations[at] = unknown.key[0] as u32;
        self.noted[at] = unknown;
        self.count = at + 1;
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
        let flows = gateway.state.flows();
        let Some(mappings) = flows.mappings4.beginnings(&flows.ports, protocol::UDP) else {
            return;
        };
        let sessions = gateway.state.sessions4().beginnings();
        let left = self.route(gateway.tables, segment, noted);
        let left = self.judge(gateway.tables, segment, left, &mappings);
        self.each(left, |newcomer| {
            if newcomer.pool.is_some() {
                mappings.ask(&newcomer.heading);
            }
        });
        let left = self.approach(gateway, left, &mappings, &sessions);
        let left = self.make(gateway, ingress, left, &mappings, &sessions);
        self.each(left, |newcomer| {
            sessions.ask(newcomer.reverse_hash);
            if newcomer.pool.is_some() {
                mappings.ask_shown(&newcomer.heading);
            }
        });
        self.each(left, |newcomer| {
            let finished = finish(gateway, keys, outgoing, frames, newcomer, &mappings, &sessions);
            if finished == Finished::Known {
                join(gateway, keys, outgoing, frames, &newcomer.first);
            }
        });
    }

    #[inline(always)]
    fn each(&self, left: usize, mut visit: impl FnMut(&Newcomer)) {
        for at in &self.left[..left.min(BATCH)] {
            visit(&self.newcomers[usize::from(*at) % BATCH]);
        }
    }

    /// Finds where flows and their replies lead; those that lead out of the gateway become newcomers, each with its query.
    #[inline(never)]
    fn route(&mut self, tables: &Tables<'_>, segment: SegmentIndex, noted: usize) -> usize {
        let (noted, leads) = (noted.min(BATCH), &mut self.leads);
        leads.find(tables, segment, &self.destinations[..noted], &mut self.there);
        leads.find(tables, segment, &self.sources[..noted], &mut self.back);
        let mut kept = 0;
        for at in 0..noted {
            let key = self.noted[at].key;
            let (there, back) = (self.there[at].of_flow(tables, key), self.back[at].of_flow(tables, key));
            // Nobody outside may have an address of the gateway.
            if !there.leads_out() || back.is_local() {
                continue;
            }
            let newcomer = &mut self.newcomers[kept % BATCH];
            newcomer.first = self.noted[at];
            newcomer.egress = there.egress;
            newcomer.hops = [there.hop, back.hop];
            self.queries[kept % BATCH] = query(segment, there.egress, key);
            kept += 1;
        }
        kept
    }

    /// Keeps those that policy allows, and finds out which mappings they need.
    #[inline(never)]
    fn judge(
        &mut self,
        tables: &Tables<'_>,
        segment: SegmentIndex,
        left: usize,
        mappings: &MappingBeginnings<'_, '_>,
    ) -> usize {
        let left = left.min(BATCH);
        if tables.policy_rules().is_empty() {
            self.verdicts[..left].fill(PolicyVerdict::Default);
        } else {
            tables.policy_batch(&self.queries[..left], &mut self.verdicts[..left]);
        }
        let mut kept = 0;
        for at in 0..left {
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
                let (address, port) = source_of(&newcomer.first.key);
                let segment = segment_of(&newcomer.first.key);
                mappings.aim(&mut newcomer.heading, segment, address, port, pool.0);
            }
            self.left[kept % BATCH] = at as u8;
            kept += 1;
        }
        kept
    }

    /// Reserves the sessions' entries, and approaches the mappings.
    #[inline(never)]
    fn approach<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        left: usize,
        mappings: &MappingBeginnings<'_, '_>,
        sessions: &Beginnings<'_, '_>,
    ) -> usize {
        let mut kept = 0;
        for at in 0..left.min(BATCH) {
            let place = self.left[at];
            let newcomer = &mut self.newcomers[usize::from(place) % BATCH];
            let Some(session) = sessions.reserve(gateway.flow) else {
                continue;
            };
            newcomer.session = session;
            if newcomer.pool.is_some() {
                mappings.approach(gateway.flow, &mut newcomer.heading);
            }
            self.left[kept % BATCH] = place;
            kept += 1;
        }
        kept
    }

    /// Takes the mappings, and writes the sessions then.
    #[inline(never)]
    fn make<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        ingress: &Ingress,
        left: usize,
        mappings: &MappingBeginnings<'_, '_>,
        sessions: &Beginnings<'_, '_>,
    ) -> usize {
        let (tables, now) = (gateway.tables, gateway.now.seconds());
        let mut pools = Pools(None);
        let mut kept = 0;
        for at in 0..left.min(BATCH) {
            let place = self.left[at];
            let newcomer = &mut self.newcomers[usize::from(place) % BATCH];
            if let Some(pool) = newcomer.pool {
                let bound = match pools.view(tables, pool) {
                    Some(pool) => mappings.bind(gateway.flow, &mut newcomer.heading, pool, now).is_ok(),
                    None => {
                        mappings.give_back(gateway.flow, &newcomer.heading);
                        false
                    }
                };
                if !bound {
                    sessions.give_back(gateway.flow, newcomer.session);
                    continue;
                }
            }
            let new = beginning(tables, ingress, newcomer);
            let Some(reverse_hash) = sessions.write(&mut newcomer.session, &new, now) else {
                release(gateway, newcomer);
                sessions.give_back(gateway.flow, newcomer.session);
                continue;
            };
            newcomer.reverse_hash = reverse_hash;
            self.left[kept % BATCH] = place;
            kept += 1;
        }
        kept
    }
}

/// The pool that was looked up last.
struct Pools(Option<(PoolIndex, PoolView<u32>)>);

impl Pools {
    #[inline(always)]
    fn view(&mut self, tables: &Tables<'_>, pool: PoolIndex) -> Option<&PoolView<u32>> {
        if !matches!(self.0, Some((known, _)) if known == pool) {
            self.0 = Some((pool, bind::pool_view::<Key4>(tables, pool)?));
        }
        self.0.as_ref().map(|(_, view)| view)
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
#[allow(clippy::too_many_arguments)]
fn finish<I: PacketIo>(
    gateway: &mut Gateway<'_, I>,
    keys: &mut KeyCache,
    outgoing: &mut Outgoing,
    frames: &mut FrameBatch,
    newcomer: &Newcomer,
    mappings: &MappingBeginnings<'_, '_>,
    sessions: &Beginnings<'_, '_>,
) -> Finished {
    let first = &newcomer.first;
    if newcomer.pool.is_some() {
        mappings.show(&newcomer.heading);
    }
    let hashes = [first.hash, newcomer.reverse_hash];
    let session = match sessions.begin(gateway.flow, newcomer.session, &first.key, hashes) {
        Ok(Begun::New(session)) => session,
        other => {
            release(gateway, newcomer);
            return if other == Ok(Begun::Known) {
                Finished::Known
            } else {
                Finished::Settled
            };
        }
    };
    let leaving = Leaving {
        place: first.place.into(),
        hop: newcomer.hops[0],
        destination: first.key[0] as u32,
        ip_length: first.ip_length,
        booked: false,
    };
    let sent = newcomer.sent();
    let write = |head: &mut _| edit(head, &first.key, sent);
    if outgoing.send(gateway, keys, frames, leaving, write) {
        sessions.book_first(session, first.ip_length.into());
    }
    Finished::Settled
}

/// Lets go of the mapping that it does not need.
#[cold]
fn release<I: PacketIo>(gateway: &Gateway<'_, I>, newcomer: &Newcomer) {
    if newcomer.pool.is_some() {
        let mappings = &gateway.state.flows().mappings4;
        mappings.release(newcomer.heading.mapping(), gateway.now.seconds());
    }
}

/// Edits a UDP packet so that it leaves from `source`.
#[inline(always)]
fn edit(head: &mut [u8; plain::HEAD], key: &Words, source: (u32, u16)) {
    let came = source_of(key);
    if came == source {
        plain::decrement_ttl(head);
    } else {
        plain::translate_udp_source(head, came, source);
    }
}

#[inline(always)]
fn protocol_of(key: &Words) -> u8 {
    (key[1] >> 8) as u8
}

#[inline(always)]
fn segment_of(key: &Words) -> u16 {
    (key[1] >> 16) as u16
}

/// Source address and port.
#[inline(always)]
fn source_of(key: &Words) -> (u32, u16) {
    ((key[0] >> 32) as u32, (key[1] >> 48) as u16)
}

impl Newcomer {
    /// Source address and port that it leaves with.
    #[inline(always)]
    fn sent(&self) -> (u32, u16) {
        match self.pool {
            Some(_) => self.heading.outside(),
            None => source_of(&self.first.key),
        }
    }
}

/// The session of a newcomer that is bound, if it is to be.
#[inline(always)]
fn beginning(tables: &Tables<'_>, ingress: &Ingress, newcomer: &Newcomer) -> Beginning {
    let key = &newcomer.first.key;
    let (sent, sent_port) = newcomer.sent();
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
        epochs: u64::from(ingress.epoch) << 32 | epoch(tables, reverse[1]),
        mapping: newcomer.pool.map_or(NO_MAPPING, |_| newcomer.heading.mapping()),
        rule: newcomer.rule,
        flags: flag(back, Direction::Forward) | flag(hop, Direction::Reverse),
        translated: (sent, sent_port) != source_of(key),
    }
}

//! `decide`: the first packet of a flow, or the first after an epoch moved. It asks `flow::decide`, binds the answer to a
//! session (and a mapping where the source is translated), and from then on `session` serves the flow.

use crate::address;
use crate::batch::{Batch, Entry, Exit, Packet};
use crate::bind::{self, Family, Outside};
use crate::gateway::Gateway;
use crate::stages::Errors;
use crate::stages::session::{Miss, TUNNELLED, Why, apply, clamp, count, flags};
use crate::stages::start::Starts;
use crate::tuple::Tuple;
use tombolo_flow::decide::{Decision, Forward, Mapped, NO_PORTS, Origin, Question, decide, egress_port, resolve};
use tombolo_flow::{Aim, Direction, Hit, Key4, Key6, NO_MAPPING, NewSession};
use tombolo_packet_io::PacketIo;
use tombolo_tables::fate::{DropReason, PuntReason};
use tombolo_tables::layout::{Address, NextHop, PortIndex, SegmentIndex, wildcard};
use tombolo_wire::icmp::IcmpErrorKind;
use tombolo_wire::{Fragment, Headers, L4, ethertype, protocol, tcp_flag};

/// Decides flows.
pub struct Decide {
    starts4: Starts<Key4>,
    starts6: Starts<Key6>,
}

impl Decide {
    /// Scratch for one batch.
    pub fn new() -> Self {
        Decide {
            starts4: Starts::new(),
            starts6: Starts::new(),
        }
    }

    /// Decides every miss.
    pub fn run<I: PacketIo>(
        &mut self,
        gateway: &mut Gateway<'_, I>,
        batch: &mut Batch,
        misses: &[Miss],
        errors: &mut Errors,
    ) {
        for miss in misses {
            let packet = batch.packet(miss.place);
            let decided = match &miss.why {
                Why::Unknown if packet.headers.addresses.is_v6() => self.starts6.plan(gateway, packet, miss.place),
                Why::Unknown => self.starts4.plan(gateway, packet, miss.place),
                Why::Stale4(hit) => again(gateway, packet, hit),
                Why::Stale6(hit) => again(gateway, packet, hit),
                Why::Stateless => stateless(gateway, packet),
                Why::Fragment => fragment(gateway, packet),
                Why::UnknownError => unknown_error(gateway, packet),
            };
            if let Err(reason) = decided {
                refuse(packet, miss.place, reason, errors);
            }
        }
        self.starts4.run(gateway, batch, errors);
        self.starts6.run(gateway, batch, errors);
    }
}

impl Default for Decide {
    fn default() -> Self {
        Self::new()
    }
}

/// Drops a packet, and has its sender told where that is due.
pub(super) fn refuse(packet: &mut Packet, place: usize, reason: DropReason, errors: &mut Errors) {
    if let Some(kind) = told(reason) {
        errors.want(place, kind);
    }
    packet.drop(reason);
}

/// The ICMP error that a refusal deserves, if any.
fn told(reason: DropReason) -> Option<IcmpErrorKind> {
    if reason == DropReason::NoRoute {
        Some(IcmpErrorKind::NoRoute)
    } else if reason == DropReason::PolicyRejected {
        Some(IcmpErrorKind::AdministrativelyProhibited)
    } else {
        None
    }
}

#[inline(always)]
pub(super) fn question(packet: &Packet) -> Question {
    let headers = &packet.headers;
    Question {
        segment: packet.segment,
        origin: packet.tunnel.map_or(Origin::Port(packet.ingress), Origin::Tunnel),
        addresses: headers.addresses,
        protocol: headers.protocol,
        source_port: headers.source_port,
        destination_port: headers.destination_port,
        // What is left of a fragmented ICMP message can only be an echo: no other is as long.
        echo: matches!(headers.l4_kind, L4::Echo { .. } | L4::Unseen) && is_icmp(headers.protocol),
        fragment: headers.fragment != Fragment::None,
    }
}

/// What has no session is not translated, so it reaches nobody's mapping.
fn nobody(_protocol: u8, _address: Address, _port: u16) -> Option<Mapped> {
    None
}

pub(super) fn is_icmp(number: u8) -> bool {
    matches!(number, protocol::ICMP | protocol::ICMPV6)
}

/// The question of a known flow: always that of its initiator, even when a reply asks (a reply may not start a flow).
fn question_again<I: PacketIo, K: Tuple>(gateway: &Gateway<'_, I>, packet: &Packet, stale: &Hit<K>) -> Question {
    match stale.direction {
        Direction::Forward => question(packet),
        Direction::Reverse => {
            let forward = stale.rewrite_to.swapped();
            let (source_port, destination_port) = forward.ports();
            let hop = NextHop::from_bits(stale.next_hop);
            let origin = if let NextHop::Tunnel(tunnel) = hop {
                Origin::Tunnel(tunnel)
            } else {
                Origin::Port(egress_port(gateway.tables, hop).unwrap_or(packet.ingress))
            };
            Question {
                segment: SegmentIndex(forward.segment()),
                origin,
                addresses: forward.addresses(),
                protocol: forward.protocol(),
                source_port,
                destination_port,
                echo: matches!(packet.headers.l4_kind, L4::Echo { .. }),
                fragment: false,
            }
        }
    }
}

/// Decides a known flow anew and replaces its session.
fn again<I: PacketIo, K: Family>(
    gateway: &mut Gateway<'_, I>,
    packet: &mut Packet,
    stale: &Hit<K>,
) -> Result<(), DropReason> {
    let question = question_again(gateway, packet, stale);
    let decided = ask::<I, K>(gateway, &question);
    if let Err(_) | Ok(Decision::Local(_)) = &decided {
        bind::forget(gateway.state, gateway.flow, stale, gateway.now);
    }
    let forward = match decided? {
        Decision::Local(_) if stale.direction == Direction::Reverse => return Err(DropReason::StateInvalid),
        Decision::Local(port) => return local(gateway, packet, port),
        Decision::Forward(forward) => forward,
    };
    let first: K = first_key(&question)?;
    let outside = match forward.source_pool {
        Some(pool) => Some(bind::outside(
            gateway.state,
            gateway.flow,
            gateway.tables,
            pool,
            &first,
            Some(stale),
            gateway.now,
        )?),
        None => None,
    };
    let echo = is_icmp(question.protocol);
    let session = new_session(gateway, packet, &first, echo, &forward, outside)?;
    let aim = Aim::default();
    let hit = match bind::session(gateway.state, gateway.flow, &session, aim, Some(stale), gateway.now) {
        Err(DropReason::SessionTableFull) => unchanged(stale, &session).ok_or(DropReason::SessionTableFull)?,
        Err(reason) => return Err(reason),
        Ok(_) if stale.direction == Direction::Reverse => {
            reply_hit(gateway, packet, &session).ok_or(DropReason::StateInvalid)?
        }
        Ok(made) => made,
    };
    apply(gateway, packet, &hit);
    count(gateway, packet, &hit);
    Ok(())
}

/// How a packet of a known flow goes on when there is no entry for its new decision: a full table takes nothing from those
/// who are in it. None if the flow is to be translated otherwise than before. The next packet decides again.
fn unchanged<K: Tuple>(stale: &Hit<K>, session: &NewSession<K>) -> Option<Hit<K>> {
    let way = stale.direction as usize;
    let to = [session.reverse, session.forward][way];
    (stale.rewrite_to == to.swapped()).then(|| Hit {
        next_hop: session.next_hop[way],
        ..*stale
    })
}

/// Asks for a decision, which may look behind outside endpoints.
#[inline]
fn ask<I: PacketIo, K: Family>(gateway: &Gateway<'_, I>, question: &Question) -> Result<Decision, DropReason> {
    let state = gateway.state;
    let mapped = |protocol, address, port| bind::behind::<K>(state, protocol, address, port);
    decide(gateway.tables, question, &mapped)
}

/// How a reply goes on after its flow was decided again. None when it answers what the flow no longer is: another port, or
/// another host behind a port forward.
fn reply_hit<I: PacketIo, K: Family>(
    gateway: &Gateway<'_, I>,
    packet: &Packet,
    session: &NewSession<K>,
) -> Option<Hit<K>> {
    let [initiator, responder] = session.epochs;
    K::sessions(gateway.state)
        .lookup(&K::of(packet.segment, &packet.headers)?)
        .filter(|hit| hit.direction == Direction::Reverse && hit.epochs == [responder, initiator])
}

/// Which packets may start a flow: not a reply, not a reset, and where something is translated only a SYN; an untranslated
/// flow that policy allows may be picked up in its middle (after a failover, or on an asymmetric path).
#[inline]
pub(super) fn may_start(headers: &Headers, translated: bool) -> Result<(), DropReason> {
    let starts = match headers.l4_kind {
        L4::Tcp { flags } => {
            let opening = flags & (tcp_flag::SYN | tcp_flag::ACK | tcp_flag::RST | tcp_flag::FIN) == tcp_flag::SYN;
            opening || (!translated && flags & (tcp_flag::RST | tcp_flag::FIN | tcp_flag::SYN) == 0)
        }
        L4::Echo { reply } => !reply,
        L4::Udp | L4::Esp { .. } | L4::Other | L4::IcmpOther => true,
        L4::IcmpError | L4::Unseen => false,
    };
    if starts { Ok(()) } else { Err(DropReason::StateInvalid) }
}

/// The key of the flow's first packet.
#[inline(always)]
pub(super) fn first_key<K: Family>(question: &Question) -> Result<K, DropReason> {
    K::new(
        question.segment,
        &question.addresses,
        question.protocol,
        question.source_port,
        question.destination_port,
    )
    .ok_or(DropReason::NatUntranslatable)
}

/// The session that the decision means: both keys, both hops, and the mapping of a translated source.
#[inline(always)]
pub(super) fn new_session<I: PacketIo, K: Family>(
    gateway: &Gateway<'_, I>,
    packet: &Packet,
    first: &K,
    echo: bool,
    forward: &Forward,
    outside: Option<Outside>,
) -> Result<NewSession<K>, DropReason> {
    let (mut sent, mut source_port, mut mapping) = (forward.addresses, first.ports().0, NO_MAPPING);
    let mut destination_port = forward.destination_port;
    if let Some(bound) = outside {
        sent = address::pair(bound.address, address::of(&sent).1);
        source_port = bound.port;
        mapping = bound.mapping;
        if echo {
            destination_port = bound.port;
        }
    }
    let protocol = first.protocol();
    let reply = K::new(
        forward.egress,
        &sent.reversed(),
        protocol,
        destination_port,
        source_port,
    )
    .ok_or(DropReason::NatUntranslatable)?;
    let epoch = |segment| gateway.tables.segment(segment).map_or(0, |record| record.epoch);
    Ok(NewSession {
        forward: *first,
        reverse: reply,
        next_hop: [forward.next_hop.to_bits(), forward.reverse_next_hop.to_bits()],
        epochs: [epoch(SegmentIndex(first.segment())), epoch(forward.egress)],
        mapping,
        rule: forward.rule,
        flags: tunnelled(forward),
        tcp_flags: flags(&packet.headers),
        adopt: mapping == NO_MAPPING && !forward.destination_translated,
    })
}

/// Which of the session's directions come out of a tunnel.
fn tunnelled(forward: &Forward) -> u8 {
    let flag = |direction: Direction, next_hop| {
        if matches!(next_hop, NextHop::Tunnel(_)) {
            TUNNELLED[direction as usize]
        } else {
            0
        }
    };
    flag(Direction::Forward, forward.reverse_next_hop) | flag(Direction::Reverse, forward.next_hop)
}

/// To the gateway itself: what claims to be part of a translated flow that is gone is nobody's.
pub(super) fn local<I: PacketIo>(
    gateway: &Gateway<'_, I>,
    packet: &mut Packet,
    port: PortIndex,
) -> Result<(), DropReason> {
    let record = gateway.tables.port(port).ok_or(DropReason::PortDown)?;
    let headers = &packet.headers;
    let translated_range = record.nat_port_first..=record.nat_port_last;
    let of_nat = match headers.l4_kind {
        L4::Tcp { .. } | L4::Udp => translated_range.contains(&headers.destination_port),
        L4::Echo { reply } => reply && translated_range.contains(&headers.destination_port),
        L4::IcmpError | L4::IcmpOther | L4::Esp { .. } | L4::Other | L4::Unseen => false,
    };
    if of_nat && record.nat_port_first != 0 && packet.tunnel.is_none() {
        return Err(DropReason::StateInvalid);
    }
    let tap = gateway.ports.tap(port).ok_or(DropReason::PuntFailed)?;
    let mac = &record.mac;
    let own = [mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]];
    let ethertype = if headers.addresses.is_v6() {
        ethertype::IPV6
    } else {
        ethertype::IPV4
    };
    let station = packet.station;
    tombolo_wire::edit::write_link(packet.bytes_mut(), own, station, ethertype, None);
    packet.slot = tap;
    packet.punt(PuntReason::Local);
    Ok(())
}

/// A segment without sessions decides every packet; so does what the gateway's own kernel sends, which policy does not judge.
fn stateless<I: PacketIo>(gateway: &Gateway<'_, I>, packet: &mut Packet) -> Result<(), DropReason> {
    let (_, target) = address::of(&packet.headers.addresses);
    if packet.entry == Entry::Kernel {
        let egress = resolve(gateway.tables, packet.segment, &packet.headers.addresses, NO_PORTS);
        packet.exit = Exit::Hop {
            next_hop: sendable(egress.next_hop)?,
            target,
        };
        clamp(gateway, packet);
        return Ok(());
    }
    match decide(gateway.tables, &question(packet), &nobody)? {
        Decision::Local(port) => local(gateway, packet, port),
        Decision::Forward(forward) if forward.source_pool.is_some() || forward.destination_translated => {
            Err(DropReason::NatUntranslatable)
        }
        Decision::Forward(forward) => {
            packet.exit = Exit::Hop {
                next_hop: forward.next_hop,
                target,
            };
            clamp(gateway, packet);
            Ok(())
        }
    }
}

fn sendable(next_hop: NextHop) -> Result<NextHop, DropReason> {
    match next_hop {
        NextHop::Neighbour(_) | NextHop::OnLink(_) | NextHop::Tunnel(_) => Ok(next_hop),
        NextHop::Discard => Err(DropReason::RouteDiscard),
        NextHop::Unreachable | NextHop::Local(_) | NextHop::Segment(_) | NextHop::Bundle(_) => Err(DropReason::NoRoute),
    }
}

/// A fragment passes where nothing depends on ports: within its segment, untranslated, with no rule in play.
fn fragment<I: PacketIo>(gateway: &Gateway<'_, I>, packet: &mut Packet) -> Result<(), DropReason> {
    match decide(gateway.tables, &question(packet), &nobody)? {
        Decision::Local(port) => local(gateway, packet, port),
        Decision::Forward(forward) => {
            let plain = forward.source_pool.is_none() && !forward.destination_translated;
            if !plain || forward.egress != packet.segment || forward.rule != wildcard::NONE {
                return Err(DropReason::FragmentNeedsPorts);
            }
            let (_, target) = address::of(&packet.headers.addresses);
            packet.exit = Exit::Hop {
                next_hop: forward.next_hop,
                target,
            };
            Ok(())
        }
    }
}

/// An error about a flow that no session knows: the kernel's if it is for the gateway and policy lets it, else nobody's.
fn unknown_error<I: PacketIo>(gateway: &Gateway<'_, I>, packet: &mut Packet) -> Result<(), DropReason> {
    match resolve(gateway.tables, packet.segment, &packet.headers.addresses, NO_PORTS).next_hop {
        NextHop::Local(_) => match decide(gateway.tables, &question(packet), &nobody)? {
            Decision::Local(port) => local(gateway, packet, port),
            Decision::Forward(_) => Err(DropReason::StateInvalid),
        },
        NextHop::Unreachable
        | NextHop::Discard
        | NextHop::Neighbour(_)
        | NextHop::OnLink(_)
        | NextHop::Tunnel(_)
        | NextHop::Bundle(_)
        | NextHop::Segment(_) => Err(DropReason::StateInvalid),
    }
}

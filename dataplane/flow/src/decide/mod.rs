//! The decision for a new flow: destination NAT, then route, then policy, then source NAT.
//!
//! Pure: it reads one generation and answers. The worker binds the answer to a session (and a mapping, if the source is
//! translated). Asked again with the same flow's key when an epoch moved, it may answer otherwise: that is how a revoked
//! permission ends old flows.

mod bundle;
mod hairpin;
mod route;

pub use bundle::{NO_PORTS, Ports, member};
pub use route::{Egress, egress_port, resolve};

use tombolo_tables::fate::DropReason;
use tombolo_tables::layout::{
    Address, NextHop, PoolIndex, PortIndex, SegmentIndex, TunnelIndex, nat_kind, port_flag, wildcard,
};
use tombolo_tables::view::{PolicyQuery, PolicyVerdict, Tables};
use tombolo_wire::{Addresses, protocol};

/// How the first packet of the flow came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Out of a tunnel, authenticated.
    Tunnel(TunnelIndex),
    /// In clear from a port.
    Port(PortIndex),
}

/// A flow to decide: the tuple of its first packet as it came, in the segment where it came.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Segment of arrival.
    pub segment: SegmentIndex,
    /// How it came.
    pub origin: Origin,
    /// Source and destination as on the packet.
    pub addresses: Addresses,
    /// IP protocol.
    pub protocol: u8,
    /// Source port, or ICMP id.
    pub source_port: u16,
    /// Destination port, or ICMP id; for ICMP that is no echo, type and code.
    pub destination_port: u16,
    /// Whether this is an ICMP echo request: rules then match its type, not its id.
    pub echo: bool,
    /// Whether it is one packet of several that do not all show their ports.
    pub fragment: bool,
}

impl Question {
    /// What a bundle may choose by.
    #[inline(always)]
    fn ports(&self) -> Ports {
        if self.fragment {
            NO_PORTS
        } else {
            [self.source_port, self.destination_port]
        }
    }

    /// As rules match it, towards `to`: with a destination (translated or not) and its port.
    #[inline(always)]
    fn query(&self, to: SegmentIndex, addresses: Addresses, destination_port: u16) -> PolicyQuery {
        let destination_port = match (self.echo, addresses.is_v6()) {
            (false, _) => destination_port,
            (true, false) => ECHO_REQUEST_V4,
            (true, true) => ECHO_REQUEST_V6,
        };
        PolicyQuery {
            from: self.segment,
            to,
            addresses,
            protocol: self.protocol,
            source_port: self.source_port,
            destination_port,
        }
    }
}

/// ICMP echo request as rules see it: type in the upper byte, code 0 (RFC 792, RFC 4443).
const ECHO_REQUEST_V4: u16 = 8 << 8;
const ECHO_REQUEST_V6: u16 = 128 << 8;

/// What is to happen to the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// For the gateway itself, by way of this port's TAP.
    Local(PortIndex),
    /// Forward it.
    Forward(Forward),
}

/// A flow that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Segment it leaves in.
    pub egress: SegmentIndex,
    /// Where its packets go.
    pub next_hop: NextHop,
    /// Where its replies go.
    pub reverse_next_hop: NextHop,
    /// Destination after destination NAT (unchanged if none).
    pub addresses: Addresses,
    /// Destination port after destination NAT.
    pub destination_port: u16,
    /// Translate the source from this pool.
    pub source_pool: Option<PoolIndex>,
    /// Whether destination NAT changed anything.
    pub destination_translated: bool,
    /// The policy rule that allowed it, `wildcard::NONE` if none was needed.
    pub rule: u32,
}

/// A host whose source is translated: what a mapping has inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// Its segment.
    pub segment: SegmentIndex,
    /// Its address.
    pub address: Address,
    /// Its port.
    pub port: u16,
    /// Where its outside endpoint is from.
    pub pool: PoolIndex,
}

/// Finds a mapping by protocol, outside address and outside port.
pub type FindMapped<'f> = &'f dyn Fn(u8, Address, u16) -> Option<Mapped>;

/// A decision that may still depend on policy.
#[derive(Clone, Copy, Debug)]
pub enum Proposal {
    /// It does not, or policy was asked already.
    Decided(Decision),
    /// Policy is to judge the flow, as the query says: then [`conclude`].
    Judge(Proposed, PolicyQuery),
}

/// What is settled of a flow before policy judges it.
#[derive(Clone, Copy, Debug)]
pub struct Proposed {
    next_hop: NextHop,
    reverse_next_hop: NextHop,
    destination_port: u16,
    destination_translated: bool,
    translatable: bool,
}

/// Answers `question` from one generation, and from the mappings that `find` knows.
pub fn decide(tables: &Tables<'_>, question: &Question, find: FindMapped<'_>) -> Result<Decision, DropReason> {
    match propose(tables, question, find)? {
        Proposal::Decided(decision) => Ok(decision),
        Proposal::Judge(proposed, query) => {
            conclude(tables, &proposed, &query, tables.policy(&query)).map(Decision::Forward)
        }
    }
}

/// The part of [`decide`] before policy: who decides a batch of flows has policy judge them all at once.
#[inline]
pub fn propose(tables: &Tables<'_>, question: &Question, find: FindMapped<'_>) -> Result<Proposal, DropReason> {
    let translated = destination_nat(tables, question, question.segment);
    let translatable = is_translatable(question);
    if translated.changed && !translatable {
        return Err(DropReason::NatUntranslatable);
    }
    let Egress {
        segment: egress,
        next_hop,
    } = resolve(tables, translated.segment, &translated.addresses, question.ports());
    match next_hop {
        NextHop::Local(_) if translated.changed => return Err(DropReason::NatUntranslatable),
        NextHop::Local(port) => {
            let decision = match hairpin::decide(tables, question, egress, port, find)? {
                Some(forward) => Decision::Forward(forward),
                None => local(tables, question, egress, port)?,
            };
            return Ok(Proposal::Decided(decision));
        }
        NextHop::Unreachable | NextHop::Segment(_) | NextHop::Bundle(_) => return Err(DropReason::NoRoute),
        NextHop::Discard => return Err(DropReason::RouteDiscard),
        NextHop::Neighbour(_) | NextHop::OnLink(_) | NextHop::Tunnel(_) => {}
    }
    refuse_clear_text(tables, question, egress, next_hop)?;
    let proposed = Proposed {
        next_hop,
        reverse_next_hop: reverse_hop(tables, question)?,
        destination_port: translated.destination_port,
        destination_translated: translated.changed,
        translatable,
    };
    let query = question.query(egress, translated.addresses, translated.destination_port);
    Ok(Proposal::Judge(proposed, query))
}

/// The part of [`decide`] after policy, whose verdict on `query` this is.
#[inline]
pub fn conclude(
    tables: &Tables<'_>,
    proposed: &Proposed,
    query: &PolicyQuery,
    verdict: PolicyVerdict,
) -> Result<Forward, DropReason> {
    let rule = admitted(query, verdict)?;
    let source_pool = source_nat(tables, query, proposed.next_hop)?;
    if source_pool.is_some() && !proposed.translatable {
        return Err(DropReason::NatUntranslatable);
    }
    Ok(Forward {
        egress: query.to,
        next_hop: proposed.next_hop,
        reverse_next_hop: proposed.reverse_next_hop,
        addresses: query.addresses,
        destination_port: proposed.destination_port,
        source_pool,
        destination_translated: proposed.destination_translated,
        rule,
    })
}

/// What has a port or an identifier that tells flows apart, and a checksum that the gateway can correct; any other would leave
/// with a wrong one, or its reply would find nobody.
fn is_translatable(question: &Question) -> bool {
    matches!(question.protocol, protocol::TCP | protocol::UDP) || question.echo
}

struct Translated {
    segment: SegmentIndex,
    addresses: Addresses,
    destination_port: u16,
    changed: bool,
}

/// Destination NAT as for a packet that came in `from`.
#[inline]
fn destination_nat(tables: &Tables<'_>, question: &Question, from: SegmentIndex) -> Translated {
    let unchanged = Translated {
        segment: from,
        addresses: question.addresses,
        destination_port: question.destination_port,
        changed: false,
    };
    let mut query = question.query(from, question.addresses, question.destination_port);
    query.from = from;
    let Some((_, rule)) = tables.destination_nat(&query) else {
        return unchanged;
    };
    if rule.kind != nat_kind::DESTINATION {
        return unchanged;
    }
    let Some(addresses) = with_destination(question.addresses, rule.to_address) else {
        return unchanged;
    };
    let has_ports = matches!(question.protocol, protocol::TCP | protocol::UDP);
    let destination_port = match rule.to_port_first {
        0 => question.destination_port,
        _ if !has_ports => question.destination_port,
        first => first.wrapping_add(question.destination_port.wrapping_sub(rule.match_port_first)),
    };
    let segment = if rule.to == wildcard::SEGMENT {
        from
    } else {
        SegmentIndex(rule.to)
    };
    Translated {
        segment,
        addresses,
        destination_port,
        changed: true,
    }
}

fn with_destination(addresses: Addresses, to: Address) -> Option<Addresses> {
    match addresses {
        Addresses::V4 { source, .. } if to.is_v4() => Some(Addresses::V4 {
            source,
            destination: u32::from_be_bytes(to.v4_bytes()),
        }),
        Addresses::V6 { source, .. } if !to.is_v4() => Some(Addresses::V6 {
            source,
            destination: to.0,
        }),
        Addresses::V4 { .. } | Addresses::V6 { .. } => None,
    }
}

/// To the gateway itself: only within the segment that bears the address, or where a rule says so.
fn local(
    tables: &Tables<'_>,
    question: &Question,
    egress: SegmentIndex,
    port: PortIndex,
) -> Result<Decision, DropReason> {
    if egress != question.segment {
        admit(
            tables,
            &question.query(egress, question.addresses, question.destination_port),
        )?;
    }
    Ok(Decision::Local(port))
}

/// Nothing in clear from the underlay may claim, or reach, what is behind a tunnel (law 1).
fn refuse_clear_text(
    tables: &Tables<'_>,
    question: &Question,
    egress: SegmentIndex,
    next_hop: NextHop,
) -> Result<(), DropReason> {
    let Origin::Port(port) = question.origin else {
        return Ok(());
    };
    if !is_underlay(tables, port) {
        return Ok(());
    }
    let reversed = question.addresses.reversed();
    let source = resolve(tables, egress, &reversed, NO_PORTS).next_hop;
    // What would only bounce back into the underlay belongs to no segment of ours: it is compared with what every tunnel
    // protects, whichever segment that is in.
    let bounces = egress_port(tables, next_hop).is_some_and(|port| is_underlay(tables, port));
    if matches!(next_hop, NextHop::Tunnel(_))
        || matches!(source, NextHop::Tunnel(_))
        || (bounces && (is_protected(tables, &question.addresses) || is_protected(tables, &reversed)))
    {
        return Err(DropReason::ClearFromUnderlay);
    }
    Ok(())
}

fn is_underlay(tables: &Tables<'_>, port: PortIndex) -> bool {
    tables
        .port(port)
        .is_some_and(|record| record.flags & port_flag::UNDERLAY != 0)
}

/// Whether some segment routes the destination of `addresses` into a tunnel.
fn is_protected(tables: &Tables<'_>, addresses: &Addresses) -> bool {
    let leads_into_tunnel = |segment| {
        matches!(
            resolve(tables, segment, addresses, NO_PORTS).next_hop,
            NextHop::Tunnel(_)
        )
    };
    tables
        .tunnels()
        .iter()
        .any(|tunnel| leads_into_tunnel(SegmentIndex(tunnel.segment)))
}

fn admit(tables: &Tables<'_>, query: &PolicyQuery) -> Result<u32, DropReason> {
    admitted(query, tables.policy(query))
}

fn admitted(query: &PolicyQuery, verdict: PolicyVerdict) -> Result<u32, DropReason> {
    match verdict {
        PolicyVerdict::Allow { rule } => Ok(rule),
        PolicyVerdict::Deny { .. } => Err(DropReason::PolicyDenied),
        PolicyVerdict::Reject { .. } => Err(DropReason::PolicyRejected),
        PolicyVerdict::Default if query.from == query.to => Ok(wildcard::NONE),
        PolicyVerdict::Default => Err(DropReason::PolicyDefaultDeny),
    }
}

/// The pool that translates the flow's source when it leaves by `next_hop`, none if nothing does.
///
/// # Errors
/// It has to be translated and cannot be.
pub fn source_nat(
    tables: &Tables<'_>,
    query: &PolicyQuery,
    next_hop: NextHop,
) -> Result<Option<PoolIndex>, DropReason> {
    let Some((_, rule)) = tables.source_nat(query) else {
        return Ok(None);
    };
    match rule.kind {
        nat_kind::SOURCE_POOL => Ok(Some(PoolIndex(rule.pool))),
        nat_kind::SOURCE_PORT_ADDRESS => {
            let port = egress_port(tables, next_hop).ok_or(DropReason::NatUntranslatable)?;
            let v4 = matches!(query.addresses, Addresses::V4 { .. });
            let found = tables
                .pools()
                .iter()
                .position(|pool| pool.port == port.0 && pool.first.is_v4() == v4);
            found
                .map(|index| Some(PoolIndex(index as u32)))
                .ok_or(DropReason::NatUntranslatable)
        }
        _ => Ok(None),
    }
}

/// Replies go back into the tunnel that the flow came from, or where the route to its source leads.
fn reverse_hop(tables: &Tables<'_>, question: &Question) -> Result<NextHop, DropReason> {
    match question.origin {
        Origin::Tunnel(tunnel) => Ok(bundle::back(tables, tunnel, &question.addresses, question.ports())),
        Origin::Port(_) => {
            let next_hop = resolve(
                tables,
                question.segment,
                &question.addresses.reversed(),
                question.ports(),
            )
            .next_hop;
            if matches!(next_hop, NextHop::Local(_)) {
                Err(DropReason::SourceSpoofed)
            } else {
                Ok(next_hop)
            }
        }
    }
}

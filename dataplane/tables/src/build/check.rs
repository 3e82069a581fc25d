//! Whether the records of a world name each other rightly. What a lookup meets is then what the planner meant; workers still
//! trust none of it.

use super::known::{Known, Overlay};
use super::{BuildError, Kind, Route, World};
use crate::layout::{
    BundleRecord, NatRuleRecord, NeighbourIndex, NeighbourRecord, NextHop, OUTBOUND_MAX, OwnAddressRecord,
    PolicyRuleRecord, PoolRecord, SaRecord, SelectorRecord, TunnelRecord, cipher, encapsulation, nat_kind,
    neighbour_state, rule_action, sa_flag, tunnel_flag, wildcard,
};
use crate::view::has_ports;
use core::ops::Range;

/// Checks every reference and every enumerated field.
///
/// # Errors
/// The first mistake found: [`BuildError::Unknown`], [`BuildError::Field`] or [`BuildError::TooMany`].
pub(super) fn check(world: &World) -> Result<(), BuildError> {
    records(world)?;
    routes(&Known::of(world), &world.routes, 0..world.routes.len())
}

/// The same but for the routes.
pub(super) fn records(world: &World) -> Result<(), BuildError> {
    counts(world)?;
    let known = &Known::of(world);
    let record = |by, at| Record { known, by, at };
    for (at, port) in world.ports.iter().enumerate() {
        record(Kind::Port, at).segment(port.segment)?;
    }
    for (at, own) in world.own_addresses.iter().enumerate() {
        own_address(&record(Kind::OwnAddress, at), own)?;
    }
    for (at, entry) in world.neighbours.iter().enumerate() {
        neighbour(&record(Kind::Neighbour, at), entry)?;
    }
    for (at, rule) in world.policy_rules.iter().enumerate() {
        policy_rule(&record(Kind::PolicyRule, at), rule)?;
    }
    for (at, rule) in world.nat_rules.iter().enumerate() {
        nat_rule(&record(Kind::NatRule, at), rule)?;
    }
    for (at, entry) in world.pools.iter().enumerate() {
        pool(&record(Kind::Pool, at), entry)?;
    }
    pool_rows(known)?;
    for (at, entry) in world.tunnels.iter().enumerate() {
        tunnel(&record(Kind::Tunnel, at), entry)?;
    }
    for (at, entry) in world.bundles.iter().enumerate() {
        bundle(&record(Kind::Bundle, at), entry)?;
    }
    for (at, entry) in world.sas.iter().enumerate() {
        sa(&record(Kind::Sa, at), entry)?;
    }
    for (at, entry) in world.selectors.iter().enumerate() {
        selector(&record(Kind::Selector, at), entry)?;
    }
    Ok(())
}

/// Whether some of the routes lead to what there is.
pub(super) fn routes(known: &Known<'_>, routes: &[Route], range: Range<usize>) -> Result<(), BuildError> {
    let by = Kind::Route;
    for (at, route) in range.clone().zip(routes.get(range).unwrap_or(&[])) {
        Record { known, by, at }.next_hop(route.next_hop)?;
    }
    Ok(())
}

/// Whether single records that changed are right, and those that name them.
pub(super) fn changed(known: &Known<'_>, over: &Overlay) -> Result<(), BuildError> {
    let record = |by, at| Record { known, by, at };
    for (&at, entry) in &over.neighbours {
        neighbour(&record(Kind::Neighbour, at as usize), entry)?;
    }
    for (&at, entry) in &over.tunnels {
        tunnel(&record(Kind::Tunnel, at as usize), entry)?;
    }
    for (&at, entry) in &over.sas {
        sa(&record(Kind::Sa, at as usize), entry)?;
        // The tunnel that sealed with the SA, or will.
        let was = known.sas.get(at as usize).map(|old| old.tunnel);
        for number in was.into_iter().chain([entry.tunnel]) {
            if let Some(entry) = known.tunnel(number) {
                tunnel(&record(Kind::Tunnel, number as usize), entry)?;
            }
        }
    }
    Ok(())
}

/// What the index types and the 28 bits of a next hop can hold.
fn counts(world: &World) -> Result<(), BuildError> {
    let next_hop_values = 1 << 28;
    let limits = [
        (Kind::Port, world.ports.len(), usize::from(u16::MAX)),
        (Kind::Segment, world.segments.len(), usize::from(wildcard::SEGMENT)),
        (Kind::Neighbour, world.neighbours.len(), next_hop_values),
        (Kind::Tunnel, world.tunnels.len(), next_hop_values),
        (Kind::Bundle, world.bundles.len(), usize::from(u16::MAX)),
        (Kind::PolicyRule, world.policy_rules.len(), next_hop_values),
        (Kind::NatRule, world.nat_rules.len(), next_hop_values),
        (Kind::Pool, world.pools.len(), next_hop_values),
        (Kind::Sa, world.sas.len(), next_hop_values),
    ];
    match limits.into_iter().find(|(_, count, most)| count > most) {
        Some((kind, count, most)) => Err(BuildError::TooMany { kind, count, most }),
        None => Ok(()),
    }
}

/// A record under examination.
struct Record<'a> {
    known: &'a Known<'a>,
    by: Kind,
    at: usize,
}

impl Record<'_> {
    fn field(&self, field: &'static str, is_right: bool) -> Result<(), BuildError> {
        if is_right {
            Ok(())
        } else {
            Err(BuildError::Field {
                by: self.by,
                at: self.at,
                field,
            })
        }
    }

    fn names(&self, kind: Kind, index: u32, exists: bool) -> Result<(), BuildError> {
        if exists {
            Ok(())
        } else {
            Err(BuildError::Unknown {
                by: self.by,
                at: self.at,
                kind,
                index,
            })
        }
    }

    fn port(&self, port: u16) -> Result<(), BuildError> {
        self.names(Kind::Port, port.into(), usize::from(port) < self.known.ports)
    }

    fn segment(&self, segment: u16) -> Result<(), BuildError> {
        self.names(
            Kind::Segment,
            segment.into(),
            usize::from(segment) < self.known.segments,
        )
    }

    fn segment_or_any(&self, segment: u16) -> Result<(), BuildError> {
        if segment == wildcard::SEGMENT {
            Ok(())
        } else {
            self.segment(segment)
        }
    }

    fn neighbour(&self, NeighbourIndex(index): NeighbourIndex) -> Result<(), BuildError> {
        let record = self.known.neighbour(index);
        self.names(
            Kind::Neighbour,
            index,
            record.is_some_and(|record| record.state != neighbour_state::FREE),
        )
    }

    fn bundle(&self, bundle: u32) -> Result<(), BuildError> {
        self.names(Kind::Bundle, bundle, (bundle as usize) < self.known.bundles)
    }

    fn next_hop(&self, next_hop: NextHop) -> Result<(), BuildError> {
        match next_hop {
            NextHop::Unreachable | NextHop::Discard => Ok(()),
            NextHop::Neighbour(neighbour) => self.neighbour(neighbour),
            NextHop::OnLink(port) | NextHop::Local(port) => self.port(port.0),
            NextHop::Tunnel(tunnel) => self.names(Kind::Tunnel, tunnel.0, self.known.tunnel(tunnel.0).is_some()),
            NextHop::Segment(segment) => self.segment(segment.0),
            NextHop::Bundle(bundle) => self.bundle(bundle.0),
        }
    }
}

fn own_address(record: &Record<'_>, own: &OwnAddressRecord) -> Result<(), BuildError> {
    record.port(own.port)?;
    record.field(
        "prefix length",
        own.prefix_length <= if own.address.is_v4() { 32 } else { 128 },
    )
}

fn neighbour(record: &Record<'_>, neighbour: &NeighbourRecord) -> Result<(), BuildError> {
    record.field("state", neighbour.state <= neighbour_state::FAILED)?;
    if neighbour.state == neighbour_state::FREE {
        Ok(())
    } else {
        record.port(neighbour.port)
    }
}

fn selector(record: &Record<'_>, selector: &SelectorRecord) -> Result<(), BuildError> {
    let SelectorRecord {
        remote_first,
        remote_last,
        local_first,
        local_last,
    } = *selector;
    let v4 = [remote_first, remote_last, local_first, local_last].map(|address| address.is_v4());
    record.field("family", v4 == [v4[0]; 4])?;
    record.field("range", remote_first <= remote_last && local_first <= local_last)
}

/// Prefixes, ports and families are checked where rules are compiled.
fn policy_rule(record: &Record<'_>, rule: &PolicyRuleRecord) -> Result<(), BuildError> {
    record.segment_or_any(rule.from)?;
    record.segment_or_any(rule.to)?;
    record.field("family", matches!(rule.family, 0 | 4 | 6))?;
    record.field(
        "action",
        matches!(
            rule.action,
            rule_action::ALLOW | rule_action::DENY | rule_action::REJECT
        ),
    )
}

fn nat_rule(record: &Record<'_>, rule: &NatRuleRecord) -> Result<(), BuildError> {
    record.segment_or_any(rule.from)?;
    record.segment_or_any(rule.to)?;
    record.field("family", matches!(rule.family, 4 | 6))?;
    let fits = |v4: bool, length: u8| length == 0 || length <= 128 && (v4 && length >= 96) == (rule.family == 4);
    record.field(
        "source prefix",
        fits(rule.match_source.is_v4(), rule.match_source_length),
    )?;
    record.field(
        "destination prefix",
        fits(rule.match_destination.is_v4(), rule.match_destination_length),
    )?;
    record.field("port range", rule.match_port_first <= rule.match_port_last)?;
    let names_ports = (rule.match_port_first, rule.match_port_last) != (0, u16::MAX) || rule.to_port_first != 0;
    let may_name_ports = rule.protocol == wildcard::PROTOCOL || has_ports(rule.protocol);
    record.field("ports: the protocol has none", may_name_ports || !names_ports)?;
    match rule.kind {
        nat_kind::SOURCE_POOL => {
            let pool = record.known.pools.get(rule.pool as usize);
            record.names(Kind::Pool, rule.pool, pool.is_some())?;
            record.field(
                "pool: other family",
                pool.is_some_and(|pool| pool.first.is_v4() == (rule.family == 4)),
            )
        }
        nat_kind::DESTINATION => {
            record.field(
                "new destination: other family",
                rule.to_address.is_v4() == (rule.family == 4),
            )?;
            let span = rule.match_port_last - rule.match_port_first;
            record.field(
                "new port range",
                rule.to_port_first == 0 || rule.to_port_first.checked_add(span).is_some(),
            )
        }
        kind => record.field("kind", matches!(kind, nat_kind::SOURCE_PORT_ADDRESS | nat_kind::EXEMPT)),
    }
}

fn pool(record: &Record<'_>, pool: &PoolRecord) -> Result<(), BuildError> {
    record.field("count", pool.count > 0)?;
    let last = u128::from_be_bytes(pool.first.0).checked_add(u128::from(pool.count.saturating_sub(1)));
    let stays = last.is_some_and(|last| !pool.first.is_v4() || last >> 32 == 0xffff);
    record.field("count: runs past the end of the addresses", stays)?;
    record.field("port range", pool.port_first <= pool.port_last)?;
    if pool.port == u16::MAX {
        Ok(())
    } else {
        record.port(pool.port)
    }
}

/// One row for an address in all pools: with two, a port of it would be handed out twice.
fn pool_rows(known: &Known<'_>) -> Result<(), BuildError> {
    let first = |at: usize| u128::from_be_bytes(known.pools[at].first.0);
    let mut order: Vec<usize> = (0..known.pools.len()).collect();
    order.sort_by_key(|at| first(*at));
    // Where the addresses seen so far end, and what their rows are ahead of them.
    let (mut end, mut ahead) = (0, 0);
    for at in order {
        let pool = &known.pools[at];
        let mine = u128::from(pool.row).wrapping_sub(first(at));
        let by = Kind::Pool;
        let record = Record { known, by, at };
        record.field(
            "row: another pool has one of the addresses in another row",
            first(at) >= end || mine == ahead,
        )?;
        end = end.max(first(at).saturating_add(u128::from(pool.count)));
        ahead = mine;
    }
    Ok(())
}

fn tunnel(record: &Record<'_>, tunnel: &TunnelRecord) -> Result<(), BuildError> {
    if tunnel.flags & tunnel_flag::ENABLED == 0 {
        return Ok(());
    }
    record.segment(tunnel.segment)?;
    record.segment(tunnel.underlay_segment)?;
    record.field(
        "encapsulation",
        matches!(tunnel.encapsulation, encapsulation::ESP | encapsulation::ESP_UDP),
    )?;
    record.field("outer addresses", tunnel.local.is_v4() == tunnel.remote.is_v4())?;
    record.next_hop(NextHop::from_bits(tunnel.underlay_next_hop))?;
    if tunnel.flags & tunnel_flag::BUNDLED != 0 {
        record.bundle(tunnel.bundle.into())?;
    }
    if tunnel.outbound == wildcard::NONE {
        return Ok(());
    }
    let seals = |sa: &SaRecord| sa.flags & sa_flag::INBOUND == 0 && sa.tunnel as usize == record.at;
    let mut next = tunnel.outbound;
    for _ in 0..OUTBOUND_MAX {
        let sa = record.known.sa(next);
        record.names(Kind::Sa, next, sa.is_some())?;
        record.field("outbound SA: inbound, or another tunnel's", sa.is_some_and(seals))?;
        match sa.map(|sa| sa.next) {
            Some(further) if further != wildcard::NONE => next = further,
            Some(_) | None => return Ok(()),
        }
    }
    record.field("outbound SAs: too many, or in a circle", false)
}

/// Members that are down may be named: what is sent into them is dropped.
fn bundle(record: &Record<'_>, bundle: &BundleRecord) -> Result<(), BuildError> {
    for tunnel in bundle.shares {
        record.names(Kind::Tunnel, tunnel, record.known.tunnel(tunnel).is_some())?;
    }
    Ok(())
}

fn sa(record: &Record<'_>, sa: &SaRecord) -> Result<(), BuildError> {
    if sa.spi == 0 {
        return Ok(());
    }
    record.names(Kind::Tunnel, sa.tunnel, record.known.tunnel(sa.tunnel).is_some())?;
    let known = [cipher::AES_128_GCM, cipher::AES_256_GCM, cipher::CHACHA20_POLY1305];
    record.field("cipher", known.contains(&sa.cipher))?;
    let until = u64::from(sa.selector_first) + u64::from(sa.selector_count);
    let last = sa
        .selector_first
        .saturating_add(u32::from(sa.selector_count.saturating_sub(1)));
    record.names(
        Kind::Selector,
        last,
        sa.selector_count == 0 || until <= record.known.selectors as u64,
    )?;
    let checks_replay = sa.flags & sa_flag::INBOUND != 0 && sa.flags & sa_flag::NO_REPLAY_CHECK == 0;
    let window_is_right = (64..=4096).contains(&sa.replay_window) && sa.replay_window.is_multiple_of(64);
    record.field("replay window", !checks_replay || window_is_right)
}

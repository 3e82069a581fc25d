//! NAT rules and the pools they draw on.

use crate::pools::{Claim, Given};
use crate::{Draft, Refused, prefix};
use core::net::{IpAddr, Ipv6Addr};
use std::collections::BTreeMap;
use tombolo_config::{AddressRange, DestinationNat, PortId, PortRange, Prefix, SourceAddress, SourceNat};
use tombolo_tables::layout::{Address, NatRuleRecord, PoolIndex, PoolRecord, nat_kind, wildcard};
use zerocopy::FromZeros;

/// `PoolRecord::port` of a pool that is no port's own address.
const NO_PORT: u16 = u16::MAX;

pub(crate) fn fill(draft: &mut Draft<'_>) -> Result<(), Refused> {
    let pools = pools(draft)?;
    let desired = draft.desired;
    let source = desired
        .source_nat
        .iter()
        .flat_map(|rule| source_records(draft, rule, &pools));
    let destination = desired
        .destination_nat
        .iter()
        .map(|rule| destination_records(draft, rule));
    draft.plan.world.nat_rules = source.chain(destination).collect();
    Ok(())
}

/// Outside addresses that a pool stands for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outside {
    /// A configured range.
    Range(AddressRange, PortRange),
    /// A port's own address.
    Own(PortId, IpAddr, PortRange),
}

impl Outside {
    fn name(self) -> String {
        match self {
            Outside::Range(addresses, ports) => format!("{addresses} {ports}"),
            Outside::Own(_, address, ports) => format!("own {address} {ports}"),
        }
    }

    fn claim(self) -> Claim {
        let (first, count) = match self {
            Outside::Range(addresses, _) => (addresses.first(), addresses.count()),
            Outside::Own(_, address, _) => (address, 1),
        };
        Claim {
            name: self.name(),
            first,
            count,
        }
    }
}

fn pools(draft: &mut Draft<'_>) -> Result<BTreeMap<Outside, PoolIndex>, Refused> {
    let outside = wanted(draft);
    let claims: Vec<Claim> = outside.iter().map(|outside| outside.claim()).collect();
    let rows = draft.desired.limits.pool_addresses;
    let places = &mut draft.plan.indices.pools;
    let given = places.assign(&claims, &draft.learned.drained_pools, rows)?;
    draft.plan.world.pools = vec![free(); places.used()];
    let mut pools = BTreeMap::new();
    for (outside, given) in outside.into_iter().zip(given) {
        let pool = PoolIndex(given.index);
        draft.plan.world.pools[pool.usize()] = record(draft, outside, given);
        pools.insert(outside, pool);
    }
    Ok(pools)
}

/// Every range that a rule names, and the first own address of each family on the ports where `address: port` leads.
fn wanted(draft: &Draft<'_>) -> Vec<Outside> {
    let desired = draft.desired;
    let mut wanted = Vec::new();
    let mut add = |outside| {
        if !wanted.contains(&outside) {
            wanted.push(outside);
        }
    };
    for rule in &desired.source_nat {
        match rule.address {
            SourceAddress::Range { addresses, ports } => add(Outside::Range(addresses, ports)),
            SourceAddress::Port => {
                for id in desired.port_ids().filter(|id| desired.port(*id).segment == rule.to) {
                    let port = desired.port(id);
                    for v6 in [false, true] {
                        let own = port.addresses.iter().find(|own| own.address().is_ipv6() == v6);
                        if let (Some(own), Some(range)) = (own, port.nat_ports) {
                            add(Outside::Own(id, own.address(), range));
                        }
                    }
                }
            }
            SourceAddress::Keep => {}
        }
    }
    wanted
}

/// A slot without a pool: one address that is nobody's.
fn free() -> PoolRecord {
    PoolRecord {
        first: Ipv6Addr::UNSPECIFIED.into(),
        count: 1,
        port_first: 1,
        port_last: 1,
        port: NO_PORT,
        ..PoolRecord::new_zeroed()
    }
}

fn record(draft: &Draft<'_>, outside: Outside, given: Given) -> PoolRecord {
    let (first, count, ports, port) = match outside {
        Outside::Range(addresses, ports) => (addresses.first(), addresses.count(), ports, NO_PORT),
        Outside::Own(port, address, ports) => (address, 1, ports, draft.port(port).0),
    };
    PoolRecord {
        first: first.into(),
        count,
        port_first: ports.first(),
        port_last: ports.last(),
        sessions_per_host_max: draft.desired.limits.sessions_per_host,
        port,
        reserved: 0,
        row: given.row,
        reserved2: 0,
    }
}

/// One record per family that the rule can mean.
fn source_records(draft: &Draft<'_>, rule: &SourceNat, pools: &BTreeMap<Outside, PoolIndex>) -> Vec<NatRuleRecord> {
    let (kind, pool, outside_v6) = match rule.address {
        SourceAddress::Port => (nat_kind::SOURCE_PORT_ADDRESS, wildcard::NONE, None),
        SourceAddress::Keep => (nat_kind::EXEMPT, wildcard::NONE, None),
        SourceAddress::Range { addresses, ports } => {
            let pool = pools[&Outside::Range(addresses, ports)];
            (nat_kind::SOURCE_POOL, pool.0, Some(addresses.first().is_ipv6()))
        }
    };
    let stated = prefix::family([rule.source, rule.destination], rule.protocol).or(outside_v6);
    let (match_source, match_source_length) = prefix::mapped(rule.source);
    let (match_destination, match_destination_length) = prefix::mapped(rule.destination);
    let (match_port_first, match_port_last) = prefix::bounds(rule.ports);
    let record = |v6: bool| NatRuleRecord {
        match_source,
        match_destination,
        from: draft.segment(rule.from).0,
        to: draft.segment(rule.to).0,
        match_port_first,
        match_port_last,
        match_source_length,
        match_destination_length,
        protocol: prefix::protocol(rule.protocol),
        kind,
        family: if v6 { 6 } else { 4 },
        pool,
        ..NatRuleRecord::new_zeroed()
    };
    [false, true]
        .into_iter()
        .filter(|v6| stated.is_none_or(|stated| stated == *v6))
        .map(record)
        .collect()
}

fn destination_records(draft: &Draft<'_>, rule: &DestinationNat) -> NatRuleRecord {
    let (match_source, match_source_length) = prefix::mapped(rule.source);
    let (match_destination, match_destination_length) = prefix::mapped(Some(Prefix::host(rule.to)));
    let (match_port_first, match_port_last) = prefix::bounds(rule.ports);
    NatRuleRecord {
        match_source,
        match_destination,
        to_address: Address::from(rule.to_address),
        from: draft.segment(rule.from).0,
        // The segment in which the new destination is looked up.
        to: draft.segment(rule.to_segment).0,
        match_port_first,
        match_port_last,
        to_port_first: rule.to_port.unwrap_or(0),
        match_source_length,
        match_destination_length,
        protocol: prefix::protocol(rule.protocol),
        kind: nat_kind::DESTINATION,
        family: if rule.to.is_ipv6() { 6 } else { 4 },
        pool: wildcard::NONE,
        ..NatRuleRecord::new_zeroed()
    }
}

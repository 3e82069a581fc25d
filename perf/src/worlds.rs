//! The worlds of the scenarios: the demo's gateways, changed where a scenario needs more of something.

use crate::random::Random;
use crate::rules;
use std::net::{IpAddr, Ipv4Addr};
use tombolo_sim::worlds::{DEV, PROD, Side, TunnelKind, UPLINK, demo, rule};
use tombolo_tables::build::{Route, World};
use tombolo_tables::layout::{
    NatRuleRecord, NeighbourIndex, NeighbourRecord, NextHop, PoolIndex, PoolRecord, SegmentIndex, nat_kind,
    neighbour_state, rule_action, segment_flag,
};

/// Hosts of a cloud segment: .2 to .251.
pub const HOSTS: u32 = 250;
/// First outside address of the NAT pool.
const POOL_FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
/// Addresses of the NAT pool.
pub const POOL_ADDRESSES: u32 = 128;

/// Address of the first host of a cloud segment of gateway A.
pub fn first_host(port: u16) -> Ipv4Addr {
    match Side::A.host4(port, 2) {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    }
}

/// One stateless segment with two ports; `routes` lead out of the second one, to neighbours that `hops` gives.
pub fn forwarding(hops: usize, routes: impl FnOnce(&[NextHop]) -> Vec<Route>) -> World {
    let mut world = demo(Side::A, TunnelKind::PLAIN);
    world.ports[usize::from(DEV)].segment = PROD;
    world.segments[usize::from(PROD)].flags |= segment_flag::STATELESS;
    world.tunnels.clear();
    world.sas.clear();
    world.selectors.clear();
    world.nat_rules.clear();
    world.policy_rules.clear();
    world.neighbours = (0..hops as u32).map(|host| neighbour(DEV, host)).collect();
    let hops: Vec<_> = (0..hops as u32)
        .map(|index| NextHop::Neighbour(NeighbourIndex(index)))
        .collect();
    world.routes = routes(&hops);
    world
}

/// The only route of a segment.
pub fn default_route(next_hop: NextHop) -> Route {
    Route {
        segment: SegmentIndex(PROD),
        prefix: Ipv4Addr::UNSPECIFIED.into(),
        length: 0,
        v6: false,
        next_hop,
    }
}

/// Host number `host` (from 0) of a cloud segment.
fn neighbour(port: u16, host: u32) -> NeighbourRecord {
    NeighbourRecord {
        address: Ipv4Addr::from(u32::from(first_host(port)) + host).into(),
        mac: Side::A.host_mac(port, host as u8),
        port,
        state: neighbour_state::REACHABLE,
        reserved: [0; 7],
    }
}

/// From prod to dev under `count` rules, of which the last lets it pass.
pub fn policy(count: usize) -> World {
    let mut world = demo(Side::A, TunnelKind::PLAIN);
    let mut random = Random::new(7);
    world.policy_rules = (1..count).map(|_| rules::rule(&mut random)).collect();
    world.policy_rules.push(rule(PROD, DEV, rule_action::ALLOW));
    let known = world.neighbours.clone();
    let fresh = (0..HOSTS).map(|host| neighbour(DEV, host));
    world
        .neighbours
        .extend(fresh.filter(|new| known.iter().all(|old| old.address != new.address)));
    world
}

/// From prod to the internet by source NAT from a pool.
pub fn nat() -> World {
    let mut world = demo(Side::A, TunnelKind::PLAIN);
    let pool = PoolIndex(world.pools.len() as u32);
    world.pools.push(PoolRecord {
        first: POOL_FIRST.into(),
        count: POOL_ADDRESSES,
        port_first: 1024,
        port_last: u16::MAX,
        sessions_per_host_max: 0,
        port: u16::MAX,
        reserved: 0,
        row: pool.0,
        reserved2: 0,
    });
    let template = world.nat_rules[0];
    world.nat_rules = vec![NatRuleRecord {
        from: PROD,
        to: UPLINK,
        kind: nat_kind::SOURCE_POOL,
        family: 4,
        pool: pool.0,
        ..template
    }];
    world
}

/// A gateway whose prod segment reaches the other's through an ESP tunnel.
pub fn tunnel(side: Side) -> World {
    demo(side, TunnelKind::PLAIN)
}

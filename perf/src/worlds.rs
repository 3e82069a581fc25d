//! The worlds of the scenarios: the demo's gateways, changed where a scenario needs more of something.

use crate::random::Random;
use crate::{policies, rules};
use std::net::{IpAddr, Ipv4Addr};
use tombolo_sim::worlds::{DEV, PROD, Side, TunnelKind, UPLINK, demo, name, rule};
use tombolo_tables::build::{Route, World};
use tombolo_tables::layout::{
    NatRuleRecord, NeighbourIndex, NeighbourRecord, NextHop, PoolIndex, PoolRecord, SaRecord, SegmentIndex,
    TunnelIndex, TunnelRecord, nat_kind, neighbour_state, rule_action, segment_flag,
};
use tombolo_wire::mtu::{AEAD, Outer, esp_inner_mtu};

/// Hosts of a cloud segment: .2 to .251.
pub const HOSTS: u32 = 250;
/// MTU where packets of more than 1,400 bytes are measured.
const JUMBO: u16 = 9216;
/// First outside address of the NAT pool.
const POOL_FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
/// Addresses of the NAT pool for so many flows: an inside host keeps to one of them, and some get several hosts. With 4 M flows four
/// hosts are too many for one: of 2,048 addresses one has them in every fiftieth run, of 8,192 in one of three thousand.
pub fn pool_addresses(flows: usize) -> u32 {
    if flows > 2 << 20 { 8192 } else { 128 }
}

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

/// Makes all hosts of a cloud segment known.
fn add_hosts(world: &mut World, port: u16) {
    let known = world.neighbours.clone();
    let fresh = (0..HOSTS).map(|host| neighbour(port, host));
    world
        .neighbours
        .extend(fresh.filter(|new| known.iter().all(|old| old.address != new.address)));
}

/// From prod to dev under `count` rules, of which the last lets it pass.
pub fn policy(count: usize) -> World {
    let mut world = demo(Side::A, TunnelKind::PLAIN);
    let mut random = Random::new(7);
    world.policy_rules = (1..count).map(|_| rules::rule(&mut random)).collect();
    world.policy_rules.push(rule(PROD, DEV, rule_action::ALLOW));
    add_hosts(&mut world, DEV);
    world
}

/// Two stateless segments: from the one to the other under `count` diverse rules, whatever the addresses.
pub fn stateless_policy(count: usize) -> World {
    let mut world = forwarding(1, |hops| {
        vec![
            default_route(NextHop::Segment(SegmentIndex(DEV))),
            Route {
                segment: SegmentIndex(DEV),
                ..default_route(hops[0])
            },
        ]
    });
    world.ports[usize::from(DEV)].segment = DEV;
    world.segments[usize::from(DEV)].flags |= segment_flag::STATELESS;
    world.policy_rules = policies::diverse(count, &mut Random::new(17));
    world
}

/// From prod to the internet by source NAT from a pool that is large enough for so many flows.
pub fn nat(flows: usize) -> World {
    let mut world = demo(Side::A, TunnelKind::PLAIN);
    add_hosts(&mut world, PROD);
    let pool = PoolIndex(world.pools.len() as u32);
    world.pools.push(PoolRecord {
        first: POOL_FIRST.into(),
        count: pool_addresses(flows),
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

/// Address of the host behind tunnel `number` of [`tunnels`].
pub fn behind(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 64, 0, 0)) + number)
}

/// `count` tunnels between the gateways with two SAs each, and a host behind each. The SAs are those from `first_sa` on; what comes
/// before is empty, as after a replacement.
pub fn tunnels(side: Side, count: u32, first_sa: u32) -> World {
    let mut world = demo(side, TunnelKind::PLAIN);
    let (tunnel, route) = (world.tunnels[0], world.routes[4]);
    let pair = [world.sas[0], world.sas[1]];
    world.tunnels.clear();
    world.sas = vec![SaRecord { spi: 0, ..pair[0] }; first_sa as usize];
    world
        .routes
        .retain(|route| !matches!(route.next_hop, NextHop::Tunnel(_)));
    for number in 0..count {
        let outbound = world.sas.len() as u32;
        world.tunnels.push(TunnelRecord {
            name: name(&format!("t{number}")),
            outbound,
            ..tunnel
        });
        for sa in pair {
            world.sas.push(SaRecord {
                // The same on both sides, and of its own for each pair and direction.
                spi: sa.spi + ((1 + outbound / 2) << 16),
                tunnel: number,
                key_version: 1 + first_sa,
                ..sa
            });
        }
        world.routes.push(Route {
            prefix: behind(number).into(),
            length: 32,
            next_hop: NextHop::Tunnel(TunnelIndex(number)),
            ..route
        });
    }
    world
}

/// A gateway whose prod segment reaches the other's through an ESP tunnel, for packets of `length` bytes.
pub fn tunnel(side: Side, length: usize) -> World {
    let mut world = demo(side, TunnelKind::PLAIN);
    if length > 1400 {
        for port in &mut world.ports {
            port.mtu = JUMBO;
        }
        for tunnel in &mut world.tunnels {
            let outer = Outer {
                mtu: JUMBO,
                v6: false,
                udp: false,
            };
            tunnel.mtu = esp_inner_mtu(outer, AEAD);
        }
    }
    world
}

/// The same where that segment is stateless, without NAT and policy, and has one route: out through the tunnel on side A, to the first
/// neighbour that is there on side B.
pub fn one_route_tunnel(side: Side, length: usize) -> World {
    let world = tunnel(side, length);
    let segment = SegmentIndex(PROD);
    let first = world.neighbours.iter().position(|neighbour| neighbour.port == PROD);
    let neighbour = NeighbourIndex(first.expect("the demo has some in every segment") as u32);
    let mut world = stateless(world);
    world.routes.retain(|route| route.segment != segment);
    world.routes.push(default_route(match side {
        Side::A => NextHop::Tunnel(TunnelIndex(0)),
        Side::B => NextHop::Neighbour(neighbour),
    }));
    world
}

/// The same world, its prod segment without sessions, nothing translated, nothing judged.
pub fn stateless(mut world: World) -> World {
    world.segments[usize::from(PROD)].flags |= segment_flag::STATELESS;
    world.nat_rules.clear();
    world.policy_rules.clear();
    world
}

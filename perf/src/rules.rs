//! Routes and policy rules in any number, diverse and the same in every run.

use crate::random::Random;
use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use tombolo_tables::build::Route;
use tombolo_tables::layout::{NextHop, PolicyRuleRecord, SegmentIndex, rule_action};

/// First address and number of addresses that random IPv4 routes and destinations are taken from: unicast, nobody's here.
const UNICAST4: (u32, usize) = (0x2000_0000, 0x5000_0000);

/// An IPv4 address that any default route covers.
pub fn destination4(random: &mut Random) -> u32 {
    UNICAST4.0 + random.below(UNICAST4.1) as u32
}

/// `count` different IPv4 routes of `segment`; each route's length is drawn from `lengths`, its next hop from `hops`.
pub fn routes4(
    count: usize,
    segment: SegmentIndex,
    lengths: &[u8],
    hops: &[NextHop],
    random: &mut Random,
) -> Vec<Route> {
    let mut seen = HashSet::new();
    let mut routes = Vec::with_capacity(count);
    while routes.len() < count {
        let length = lengths[random.below(lengths.len())];
        let prefix = destination4(random) & (u32::MAX << (32 - length));
        if seen.insert((prefix, length)) {
            routes.push(Route {
                segment,
                prefix: Ipv4Addr::from(prefix).into(),
                length,
                v6: false,
                next_hop: hops[random.below(hops.len())],
            });
        }
    }
    routes
}

/// Prefix lengths about as often as the IPv4 internet's table has them.
pub const INTERNET4: [u8; 16] = [24, 24, 24, 24, 24, 24, 24, 23, 22, 22, 21, 20, 19, 18, 17, 16];

/// `count` different IPv6 routes of `segment`: /29 to /48, parts of some thousand allocations inside 2000::/3.
pub fn routes6(count: usize, segment: SegmentIndex, hops: &[NextHop], random: &mut Random) -> Vec<Route> {
    let allocations: Vec<u128> = (0..20_000)
        .map(|_| 1 << 125 | u128::from(random.bits() >> 35) << 96)
        .collect();
    let mut seen = HashSet::new();
    let mut routes = Vec::with_capacity(count);
    while routes.len() < count {
        let length = [29, 32, 32, 36, 40, 44, 48, 48, 48, 48][random.below(10)];
        let whole = allocations[random.below(allocations.len())] | u128::from(random.bits() >> 48) << 80;
        let prefix = whole & (u128::MAX << (128 - length));
        if seen.insert((prefix, length)) {
            routes.push(Route {
                segment,
                prefix: Ipv6Addr::from(prefix).into(),
                length,
                v6: true,
                next_hop: hops[random.below(hops.len())],
            });
        }
    }
    routes
}

/// A random address inside one of `routes`, left-aligned in 128 bits.
pub fn inside(routes: &[Route], random: &mut Random) -> u128 {
    let route = &routes[random.below(routes.len())];
    let prefix = u128::from_be_bytes(route.prefix.0) << if route.v6 { 0 } else { 96 };
    let any = u128::from(random.bits()) << 64 | u128::from(random.bits());
    prefix | any & (u128::MAX >> route.length)
}

/// The hosts that random rules speak of: 10.0.0.0/16.
pub fn host(random: &mut Random) -> u32 {
    0x0a00_0000 | random.below(1 << 16) as u32
}

/// A rule that lets a few hosts of segment 0 reach some ports of a few hosts of segment 1.
pub fn rule(random: &mut Random) -> PolicyRuleRecord {
    let port = random.below(2000) as u16;
    PolicyRuleRecord {
        source: Ipv4Addr::from(host(random)).into(),
        destination: Ipv4Addr::from(host(random)).into(),
        from: 0,
        to: 1,
        source_port_first: 0,
        source_port_last: u16::MAX,
        destination_port_first: port,
        destination_port_last: port + random.below(100) as u16,
        source_length: 112 + random.below(13) as u8,
        destination_length: 112 + random.below(13) as u8,
        protocol: if random.below(4) == 0 { 17 } else { 6 },
        action: rule_action::ALLOW,
        family: 4,
        reserved: [0; 7],
    }
}

//! Routes and policy rules in any number, diverse and the same in every run.

use crate::random::Random;
use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use tombolo_tables::build::Route;
use tombolo_tables::layout::{NextHop, PolicyRuleRecord, SegmentIndex, rule_action, wildcard};

/// First address and number of addresses that random IPv4 routes and destinations are taken from: unicast, nobody's here.
pub const UNICAST4: (u32, usize) = (0x2000_0000, 0x5000_0000);

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

/// What diverse rules and the packets that meet them are made of, after the seeds of ClassBench (Taylor and Turner, 2007):
/// networks that nest in each other, well-known services, ranges, and wildcards in every field.
pub struct Diverse {
    networks: Vec<(u32, u8)>,
    services: Vec<(u16, u16)>,
}

impl Diverse {
    /// For `count` rules: about a network for each second rule, and a tenth as many services.
    pub fn new(count: usize, random: &mut Random) -> Diverse {
        let mut networks: Vec<(u32, u8)> = (0..8).map(|site| (0x0a00_0000 + (site << 21), 11)).collect();
        while networks.len() < 8 + count / 2 {
            // Mostly a part of a network that is there already: sites, then subnets, then hosts.
            let (whole, length) = networks[random.below(networks.len())];
            let longer = (length + 1 + random.below(8) as u8).min(32);
            let address = whole | (random.bits() as u32 & u32::MAX.checked_shr(length.into()).unwrap_or(0));
            networks.push((address & (u32::MAX << (32 - longer)), longer));
        }
        let mut services: Vec<(u16, u16)> = [22, 25, 53, 80, 123, 389, 443, 445, 3306, 8080]
            .map(|port| (port, port))
            .to_vec();
        services.extend([(1024, u16::MAX), (0, 1023), (32_768, 60_999), (137, 139)]);
        for _ in 0..(count / 10).min(2000) {
            let first = random.bits() as u16;
            let last = match random.below(3) {
                0 => first.saturating_add(random.below(4000) as u16),
                _ => first,
            };
            services.push((first, last));
        }
        Diverse { networks, services }
    }

    /// `count` rules from one segment to another that all allow, in random order.
    pub fn rules(&self, count: usize, (from, to): (u16, u16), random: &mut Random) -> Vec<PolicyRuleRecord> {
        (0..count).map(|_| self.rule((from, to), random)).collect()
    }

    fn rule(&self, (from, to): (u16, u16), random: &mut Random) -> PolicyRuleRecord {
        let any_of = |random: &mut Random, percent: usize| match random.below(100) < percent {
            true => (0, 0),
            false => self.networks[random.below(self.networks.len())],
        };
        // Never both: such a rule would decide for most of those behind it.
        let (source, source_length) = any_of(random, 20);
        let (destination, destination_length) = any_of(random, if source_length == 0 { 0 } else { 10 });
        let protocol = [6, 6, 6, 6, 6, 6, 17, 17, 17, 1, 50, wildcard::PROTOCOL][random.below(12)];
        let any_port = (0, u16::MAX);
        let (source_port, destination_port) = match protocol {
            6 | 17 => (
                match random.below(10) {
                    0 => self.services[random.below(self.services.len())],
                    1 => (1024, u16::MAX),
                    _ => any_port,
                },
                match random.below(10) {
                    0 | 1 => any_port,
                    _ => self.services[random.below(self.services.len())],
                },
            ),
            _ => (any_port, any_port),
        };
        let mapped = |length: u8| if length == 0 { 0 } else { 96 + length };
        PolicyRuleRecord {
            source: Ipv4Addr::from(source).into(),
            destination: Ipv4Addr::from(destination).into(),
            from,
            to,
            source_port_first: source_port.0,
            source_port_last: source_port.1,
            destination_port_first: destination_port.0,
            destination_port_last: destination_port.1,
            source_length: mapped(source_length),
            destination_length: mapped(destination_length),
            protocol,
            action: rule_action::ALLOW,
            family: 4,
            reserved: [0; 7],
        }
    }
}

/// What a packet has to be to match a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Source address.
    pub source: u32,
    /// Destination address.
    pub destination: u32,
    /// IP protocol.
    pub protocol: u8,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
}

/// A random TCP or UDP packet that matches one of `rules` (all IPv4), or almost: rules of other protocols give UDP.
pub fn header_inside(rules: &[PolicyRuleRecord], random: &mut Random) -> Header {
    let rule = &rules[random.below(rules.len())];
    let inside = |prefix: [u8; 4], length: u8, random: &mut Random| match length.checked_sub(96) {
        None => 0x0a00_0000 | (random.bits() as u32 & 0x00ff_ffff),
        Some(length) => {
            u32::from_be_bytes(prefix) | (random.bits() as u32 & u32::MAX.checked_shr(length.into()).unwrap_or(0))
        }
    };
    let port = |first: u16, last: u16, random: &mut Random| first + random.below(usize::from(last - first) + 1) as u16;
    Header {
        source: inside(rule.source.v4_bytes(), rule.source_length, random),
        destination: inside(rule.destination.v4_bytes(), rule.destination_length, random),
        protocol: if rule.protocol == 6 { 6 } else { 17 },
        source_port: port(rule.source_port_first, rule.source_port_last, random),
        destination_port: port(rule.destination_port_first, rule.destination_port_last, random),
    }
}

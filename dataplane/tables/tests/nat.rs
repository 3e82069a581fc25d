//! NAT rules against their meaning.

mod common;

use common::{address, nat_rule, tables, world};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tombolo_tables::build::{BuildError, Kind, World};
use tombolo_tables::layout::*;
use tombolo_tables::view::PolicyQuery;
use tombolo_wire::Addresses;

/// Pool 0 is IPv4, pool 1 IPv6.
fn rule(kind: u8, family: u8) -> NatRuleRecord {
    let plain = nat_rule(kind, family);
    let pool = if kind == nat_kind::SOURCE_POOL {
        u32::from(family == 6)
    } else {
        plain.pool
    };
    NatRuleRecord { pool, ..plain }
}

fn nat_world(nat_rules: Vec<NatRuleRecord>) -> World {
    let pool = |first: &str, row: u32| PoolRecord {
        first: address(first),
        count: 4,
        port_first: 1024,
        port_last: 65535,
        sessions_per_host_max: 0,
        port: u16::MAX,
        reserved: 0,
        row,
        reserved2: 0,
    };
    World {
        nat_rules,
        pools: vec![pool("203.0.113.8", 0), pool("2001:db8::8", 4)],
        ..world(3)
    }
}

fn query(from: u16, to: u16, source: IpAddr, destination: IpAddr, protocol: u8, port: u16) -> PolicyQuery {
    let addresses = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => Addresses::V4 {
            source: source.into(),
            destination: destination.into(),
        },
        (IpAddr::V6(source), IpAddr::V6(destination)) => Addresses::V6 {
            source: source.octets(),
            destination: destination.octets(),
        },
        _ => panic!("two families"),
    };
    let (from, to) = (SegmentIndex(from), SegmentIndex(to));
    PolicyQuery {
        from,
        to,
        addresses,
        protocol,
        source_port: 40_000,
        destination_port: port,
    }
}

/// Whether two addresses share so many leading bits; an IPv4 length counts from 96.
fn shares(length: u8, one: IpAddr, two: Address) -> bool {
    let (one, two) = (Address::from(one).0, two.0);
    (0..usize::from(length)).all(|at| (one[at / 8] ^ two[at / 8]) & (0x80 >> (at % 8)) == 0)
}

type Asked = (u16, u16, IpAddr, IpAddr, u8, u16);

fn matches(rule: &NatRuleRecord, destination_search: bool, asked: Asked) -> bool {
    let (from, to, source, destination, protocol, port) = asked;
    let kinds: &[u8] = match (destination_search, rule.to) {
        (true, wildcard::SEGMENT) => &[nat_kind::DESTINATION, nat_kind::EXEMPT],
        (true, _) => &[nat_kind::DESTINATION],
        (false, _) => &[nat_kind::SOURCE_POOL, nat_kind::SOURCE_PORT_ADDRESS, nat_kind::EXEMPT],
    };
    let any_port = rule.match_port_first == 0 && rule.match_port_last == u16::MAX;
    let has_port = protocol == 6 || protocol == 17;
    let port_matches = if has_port {
        rule.match_port_first <= port && port <= rule.match_port_last
    } else {
        any_port
    };
    kinds.contains(&rule.kind)
        && rule.family == if source.is_ipv4() { 4 } else { 6 }
        && [wildcard::SEGMENT, from].contains(&rule.from)
        && (destination_search || [wildcard::SEGMENT, to].contains(&rule.to))
        && [wildcard::PROTOCOL, protocol].contains(&rule.protocol)
        && port_matches
        && shares(rule.match_source_length, source, rule.match_source)
        && shares(rule.match_destination_length, destination, rule.match_destination)
}

fn host(v6: bool) -> impl Strategy<Value = IpAddr> {
    proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(128)], 4).prop_map(move |bytes| match v6 {
        true => IpAddr::V6(Ipv6Addr::from(
            u128::from(u32::from_be_bytes(bytes.try_into().unwrap())) << 64 | 0xfd << 120,
        )),
        false => IpAddr::V4(Ipv4Addr::new(10, bytes[1], bytes[2], bytes[3])),
    })
}

fn any_rule() -> impl Strategy<Value = NatRuleRecord> {
    let segment = || prop_oneof![0u16..3, Just(wildcard::SEGMENT)];
    let prefixes = any::<bool>().prop_flat_map(|v6| {
        let length = move || prop_oneof![Just(0u8), if v6 { 1..=128u8 } else { 96..=128u8 }];
        (Just(if v6 { 6 } else { 4 }), host(v6), length(), host(v6), length())
    });
    let ports = prop_oneof![Just((0, u16::MAX)), Just((80, 80)), Just((0, 100))];
    let protocol = prop_oneof![Just(wildcard::PROTOCOL), Just(6), Just(1)];
    (1u8..=4, segment(), segment(), prefixes, ports, protocol).prop_map(
        |(kind, from, to, prefixes, ports, protocol)| {
            let ports = if protocol == 1 { (0, u16::MAX) } else { ports };
            let (family, source, match_source_length, destination, match_destination_length) = prefixes;
            NatRuleRecord {
                from,
                to,
                match_source: source.into(),
                match_source_length,
                match_destination: destination.into(),
                match_destination_length,
                match_port_first: ports.0,
                match_port_last: ports.1,
                protocol,
                ..rule(kind, family)
            }
        },
    )
}

fn asked() -> impl Strategy<Value = Asked> {
    let hosts = any::<bool>().prop_flat_map(|v6| (host(v6), host(v6)));
    let protocol = prop_oneof![Just(6u8), Just(17), Just(1), Just(50)];
    let port = prop_oneof![Just(80u16), Just(0), Just(4000)];
    (0u16..4, 0u16..4, hosts, protocol, port)
        .prop_map(|(from, to, (one, two), protocol, port)| (from, to, one, two, protocol, port))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_first_rule_of_the_direction_decides(
        rules in proptest::collection::vec(any_rule(), 0..10), flows in proptest::collection::vec(asked(), 40)
    ) {
        let world = nat_world(rules);
        let sections = world.build().unwrap();
        let tables = tables(&sections);
        for asked in flows {
            let (from, to, source, destination, protocol, port) = asked;
            let query = query(from, to, source, destination, protocol, port);
            for destination_search in [false, true] {
                let first = world.nat_rules.iter().position(|rule| matches(rule, destination_search, asked));
                let expected = first.filter(|&at| world.nat_rules[at].kind != nat_kind::EXEMPT).map(|at| at as u32);
                let found = if destination_search { tables.destination_nat(&query) } else { tables.source_nat(&query) };
                prop_assert_eq!(found.map(|(rule, _)| rule), expected);
                prop_assert_eq!(found.map(|(_, record)| *record), expected.map(|at| world.nat_rules[at as usize]));
            }
        }
    }
}

#[test]
fn an_exemption_of_one_egress_segment_leaves_port_forwards_alone() {
    let exempt = NatRuleRecord {
        from: 0,
        to: 1,
        ..rule(nat_kind::EXEMPT, 4)
    };
    let rules = vec![
        exempt,
        rule(nat_kind::SOURCE_PORT_ADDRESS, 4),
        rule(nat_kind::DESTINATION, 4),
    ];
    let sections = nat_world(rules).build().unwrap();
    let ask = |to| query(0, to, IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]), 6, 80);
    let tables = tables(&sections);
    assert_eq!(tables.source_nat(&ask(1)), None);
    assert_eq!(tables.source_nat(&ask(2)).map(|(rule, _)| rule), Some(1));
    assert_eq!(tables.destination_nat(&ask(1)).map(|(rule, _)| rule), Some(2));
}

#[test]
fn an_address_has_one_row_in_all_pools() {
    let built = |first: &str, row| {
        let mut world = nat_world(Vec::new());
        let shared = world.pools[0];
        world.pools.push(PoolRecord {
            first: address(first),
            row,
            ..shared
        });
        world.build()
    };
    assert!(built("203.0.113.12", 9).is_ok(), "addresses apart");
    assert!(built("203.0.113.10", 2).is_ok());
    assert!(built("203.0.113.8", 0).is_ok());
    for row in [0, 1, 3] {
        let refused = BuildError::Field {
            by: Kind::Pool,
            at: 2,
            field: "row: another pool has one of the addresses in another row",
        };
        assert_eq!(built("203.0.113.10", row).unwrap_err(), refused);
    }
}

#[test]
fn contradictory_rules_are_refused() {
    let refused = |rule| nat_world(vec![rule]).build().unwrap_err();
    let field = |field| BuildError::Field {
        by: Kind::NatRule,
        at: 0,
        field,
    };
    let no_pool = NatRuleRecord {
        pool: 7,
        ..rule(nat_kind::SOURCE_POOL, 4)
    };
    assert_eq!(
        refused(no_pool),
        BuildError::Unknown {
            by: Kind::NatRule,
            at: 0,
            kind: Kind::Pool,
            index: 7
        }
    );
    assert_eq!(
        refused(NatRuleRecord {
            pool: 1,
            ..rule(nat_kind::SOURCE_POOL, 4)
        }),
        field("pool: other family")
    );
    assert_eq!(refused(rule(9, 4)), field("kind"));
    assert_eq!(refused(rule(nat_kind::EXEMPT, 0)), field("family"));
    let v6_source = NatRuleRecord {
        match_source: address("fd00::"),
        match_source_length: 16,
        ..rule(nat_kind::EXEMPT, 4)
    };
    assert_eq!(refused(v6_source), field("source prefix"));
    let past_the_end = NatRuleRecord {
        match_port_first: 10,
        match_port_last: 20,
        to_port_first: 65530,
        ..rule(nat_kind::DESTINATION, 4)
    };
    assert_eq!(refused(past_the_end), field("new port range"));
    let icmp = NatRuleRecord {
        protocol: 1,
        match_port_last: 80,
        ..rule(nat_kind::EXEMPT, 4)
    };
    assert_eq!(refused(icmp), field("ports: the protocol has none"));
}

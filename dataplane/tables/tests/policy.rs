//! Compiled policy against a search rule by rule.

mod common;

use common::rules::{first_match, query};
use common::{address, policy_rule, tables, world};
use proptest::prelude::*;
use std::net::IpAddr;
use tombolo_tables::build::{BuildError, Kind, World};
use tombolo_tables::layout::*;
use tombolo_tables::view::{PolicyQuery, PolicyVerdict};
use tombolo_wire::Addresses;

fn small_address(v6: bool) -> impl Strategy<Value = Address> {
    let byte = prop_oneof![Just(0u8), Just(1), Just(128), Just(255)];
    proptest::collection::vec(byte, 16).prop_map(move |bytes| {
        let bytes: [u8; 16] = bytes.try_into().unwrap();
        let v4 = IpAddr::from([10, bytes[1], bytes[2], bytes[3]]);
        if v6 {
            Address([&[0xfd], &bytes[1..]].concat().try_into().unwrap())
        } else {
            v4.into()
        }
    })
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![
        Just(0),
        Just(1),
        Just(80),
        Just(443),
        Just(0x0800),
        Just(65535),
        any::<u16>()
    ]
}

fn protocol() -> impl Strategy<Value = u8> {
    prop_oneof![Just(6), Just(6), Just(17), Just(1), Just(58), Just(50), Just(132)]
}

fn rule() -> impl Strategy<Value = PolicyRuleRecord> {
    let segment = || prop_oneof![0u16..3, Just(wildcard::SEGMENT)];
    let range = || {
        prop_oneof![
            Just((0, u16::MAX)),
            (port(), port()).prop_map(|(one, two)| (one.min(two), one.max(two)))
        ]
    };
    let prefixes = any::<bool>().prop_flat_map(|v6| {
        let length = move || prop_oneof![Just(0u8), if v6 { 1..=128u8 } else { 96..=128u8 }];
        (
            small_address(v6),
            length(),
            small_address(v6),
            length(),
            prop_oneof![Just(0u8), Just(if v6 { 6 } else { 4 })],
        )
    });
    let rest = (
        segment(),
        segment(),
        range(),
        range(),
        prop_oneof![Just(wildcard::PROTOCOL), protocol()],
        1u8..=3,
    );
    (prefixes, rest).prop_map(
        |((source, source_length, destination, destination_length, family), rest)| {
            let (from, to, (source_port_first, source_port_last), destination_ports, protocol, action) = rest;
            PolicyRuleRecord {
                source,
                destination,
                from,
                to,
                source_port_first,
                source_port_last,
                destination_port_first: destination_ports.0,
                destination_port_last: destination_ports.1,
                source_length,
                destination_length,
                protocol,
                family,
                ..policy_rule(action)
            }
        },
    )
}

fn flow() -> impl Strategy<Value = PolicyQuery> {
    let addresses = any::<bool>().prop_flat_map(|v6| (small_address(v6), small_address(v6)));
    (0u16..4, 0u16..4, addresses, protocol(), port(), port()).prop_map(
        |(from, to, (source, destination), protocol, one, two)| {
            let (source, destination) = (IpAddr::from(source).to_string(), IpAddr::from(destination).to_string());
            query(from, to, &source, &destination, protocol, (one, two))
        },
    )
}

fn check(rules: Vec<PolicyRuleRecord>, flows: &[PolicyQuery]) {
    let world = World {
        policy_rules: rules,
        ..world(3)
    };
    let sections = world.build().unwrap();
    let tables = tables(&sections);
    for flow in flows {
        assert_eq!(tables.policy(flow), first_match(&world.policy_rules, flow), "{flow:?}");
    }
    let mut verdicts = vec![PolicyVerdict::Deny { rule: u32::MAX }; flows.len()];
    tables.policy_batch(flows, &mut verdicts);
    let one_by_one: Vec<_> = flows.iter().map(|flow| tables.policy(flow)).collect();
    assert_eq!(verdicts, one_by_one);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn few_rules_match_the_reference(
        rules in proptest::collection::vec(rule(), 0..12), flows in proptest::collection::vec(flow(), 60)
    ) {
        check(rules, &flows);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn more_rules_than_a_chunk_holds_match_the_reference(
        mut rules in proptest::collection::vec(rule(), 2200..2400), flows in proptest::collection::vec(flow(), 300)
    ) {
        // All in one group, so that chunks follow on each other, and narrow enough that late ones decide.
        for rule in &mut rules {
            (rule.from, rule.to) = (0, 1);
            rule.source_length = if rule.source.is_v4() { 126 } else { 120 };
        }
        let flows: Vec<_> = flows.iter().map(|flow| PolicyQuery { from: SegmentIndex(0), to: SegmentIndex(1), ..*flow }).collect();
        check(rules, &flows);
    }
}

#[test]
fn an_earlier_wildcard_beats_a_later_exact_rule_and_the_other_way_round() {
    let exact = PolicyRuleRecord {
        from: 0,
        to: 1,
        ..policy_rule(rule_action::ALLOW)
    };
    let wild = policy_rule(rule_action::DENY);
    let asked = query(0, 1, "10.0.0.1", "10.0.0.2", 6, (1000, 80));
    for (rules, expected) in [
        (vec![wild, exact], PolicyVerdict::Deny { rule: 0 }),
        (vec![exact, wild], PolicyVerdict::Allow { rule: 0 }),
    ] {
        let sections = World {
            policy_rules: rules,
            ..world(2)
        }
        .build()
        .unwrap();
        assert_eq!(tables(&sections).policy(&asked), expected);
    }
}

#[test]
fn a_rule_with_ports_matches_no_packet_without_them() {
    let web = PolicyRuleRecord {
        destination_port_first: 0,
        destination_port_last: 80,
        ..policy_rule(rule_action::ALLOW)
    };
    let sections = World {
        policy_rules: vec![web],
        ..world(1)
    }
    .build()
    .unwrap();
    let ask = |protocol| tables(&sections).policy(&query(0, 0, "::1", "::2", protocol, (0, 0)));
    assert_eq!(ask(6), PolicyVerdict::Allow { rule: 0 });
    assert_eq!(ask(50), PolicyVerdict::Default);
}

#[test]
fn ports_of_a_protocol_without_them_are_ignored_and_icmp_has_its_type() {
    let esp = PolicyRuleRecord {
        protocol: 50,
        source_port_first: 7,
        ..policy_rule(rule_action::REJECT)
    };
    let echo = PolicyRuleRecord {
        protocol: 1,
        source_port_first: 7,
        destination_port_first: 0x0800,
        destination_port_last: 0x08ff,
        ..policy_rule(rule_action::ALLOW)
    };
    let sections = World {
        policy_rules: vec![esp, echo],
        ..world(1)
    }
    .build()
    .unwrap();
    let ask = |protocol, kind| tables(&sections).policy(&query(0, 0, "10.0.0.1", "10.0.0.2", protocol, (0, kind)));
    assert_eq!(ask(50, 0), PolicyVerdict::Reject { rule: 0 });
    assert_eq!(
        [ask(1, 0x0800), ask(1, 0x0300)],
        [PolicyVerdict::Allow { rule: 1 }, PolicyVerdict::Default]
    );
}

#[test]
fn a_mapped_ipv6_address_is_no_ipv4_address() {
    let v4 = PolicyRuleRecord {
        source: address("10.0.0.0"),
        source_length: 104,
        ..policy_rule(rule_action::ALLOW)
    };
    let sections = World {
        policy_rules: vec![v4],
        ..world(1)
    }
    .build()
    .unwrap();
    let source = address("10.0.0.1").0;
    let addresses = Addresses::V6 {
        source,
        destination: source,
    };
    let disguised = PolicyQuery {
        addresses,
        ..query(0, 0, "::1", "::1", 6, (1, 1))
    };
    assert_eq!(tables(&sections).policy(&disguised), PolicyVerdict::Default);
}

#[test]
fn contradictory_rules_are_refused() {
    let refused = |rule| {
        World {
            policy_rules: vec![rule],
            ..world(1)
        }
        .build()
        .unwrap_err()
    };
    let field = |field| BuildError::Field {
        by: Kind::PolicyRule,
        at: 0,
        field,
    };
    let any = policy_rule(rule_action::ALLOW);
    let v4 = PolicyRuleRecord {
        source: address("10.0.0.0"),
        source_length: 104,
        ..any
    };
    assert_eq!(refused(PolicyRuleRecord { family: 6, ..v4 }), field("family"));
    let mixed = PolicyRuleRecord {
        destination: address("fd00::"),
        destination_length: 16,
        ..v4
    };
    assert_eq!(refused(mixed), field("family"));
    assert_eq!(
        refused(PolicyRuleRecord {
            source_port_first: 2,
            source_port_last: 1,
            ..any
        }),
        field("source port range")
    );
    assert_eq!(
        refused(PolicyRuleRecord {
            source_length: 129,
            ..any
        }),
        field("source prefix")
    );
    assert_eq!(refused(PolicyRuleRecord { action: 0, ..any }), field("action"));
    let nowhere = BuildError::Unknown {
        by: Kind::PolicyRule,
        at: 0,
        kind: Kind::Segment,
        index: 1,
    };
    assert_eq!(refused(PolicyRuleRecord { to: 1, ..any }), nowhere);
}

#[test]
fn every_rule_of_many_is_found_at_its_place() {
    let host = |at: u32| std::net::Ipv4Addr::from(0x0a00_0000 + at * 3);
    let rule = |at| PolicyRuleRecord {
        source: host(at).into(),
        source_length: 128,
        from: 0,
        ..policy_rule(rule_action::ALLOW)
    };
    let rules: Vec<_> = (0..3000).map(rule).collect();
    let sections = World {
        policy_rules: rules,
        ..world(1)
    }
    .build()
    .unwrap();
    for at in 0..3000 {
        let asked = query(0, 0, &host(at).to_string(), "10.9.9.9", 17, (53, 53));
        assert_eq!(tables(&sections).policy(&asked), PolicyVerdict::Allow { rule: at });
        let beside = query(
            0,
            0,
            &std::net::Ipv4Addr::from(u32::from(host(at)) + 1).to_string(),
            "10.9.9.9",
            17,
            (53, 53),
        );
        assert_eq!(tables(&sections).policy(&beside), PolicyVerdict::Default);
    }
}

/// So many pairs of segments that they are no fields of one chunk.
#[test]
fn rules_of_very_many_segments_are_found() {
    let rules: Vec<_> = (0..300u16)
        .map(|at| PolicyRuleRecord {
            from: at,
            to: (at * 7) % 300,
            protocol: [6, 17][usize::from(at % 2)],
            ..policy_rule(rule_action::ALLOW)
        })
        .collect();
    let world = World {
        policy_rules: rules,
        ..world(300)
    };
    let sections = world.build().unwrap();
    for from in 0..300u16 {
        for (to, protocol) in [((from * 7) % 300, 6), ((from * 7) % 300, 17), ((from + 1) % 300, 6)] {
            let asked = query(from, to, "10.0.0.1", "10.0.0.2", protocol, (1000, 80));
            assert_eq!(
                tables(&sections).policy(&asked),
                first_match(&world.policy_rules, &asked)
            );
        }
    }
}

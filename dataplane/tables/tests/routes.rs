//! Longest-prefix match against a search through all routes.

mod common;

use common::{address, route, tables, world};
use proptest::prelude::*;
use std::collections::BTreeMap;
use tombolo_tables::build::{BuildError, Kind, Route, World};
use tombolo_tables::layout::*;
use tombolo_tables::view::Tables;

/// A route as the reference sees it: left-aligned bits, length.
type Prefixes = BTreeMap<(u16, u128, u8), NextHop>;

fn mask(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

fn longest_match(prefixes: &Prefixes, segment: u16, key: u128) -> NextHop {
    let mut best = (None, NextHop::Unreachable);
    for (&(of, bits, length), &next_hop) in prefixes {
        if of == segment && key & mask(length) == bits && best.0 <= Some(length) {
            best = (Some(length), next_hop);
        }
    }
    best.1
}

fn to_routes(prefixes: &Prefixes, v6: bool) -> Vec<Route> {
    let to_route = |(&(segment, bits, length), &next_hop): (&(u16, u128, u8), &NextHop)| {
        let prefix = if v6 {
            Address(bits.to_be_bytes())
        } else {
            std::net::Ipv4Addr::from((bits >> 96) as u32).into()
        };
        Route {
            segment: SegmentIndex(segment),
            prefix,
            length,
            v6,
            next_hop,
        }
    };
    prefixes.iter().map(to_route).collect()
}

fn look_up(tables: &Tables<'_>, segment: u16, key: u128, v6: bool) -> NextHop {
    match v6 {
        true => tables.route6(SegmentIndex(segment), &key.to_be_bytes()),
        false => tables.route4(SegmentIndex(segment), (key >> 96) as u32),
    }
}

/// Prefixes that nest and collide: few values in each byte.
fn prefixes(segments: u16, v6: bool, count: std::ops::Range<usize>) -> impl Strategy<Value = Prefixes> {
    let byte = prop_oneof![Just(0u8), Just(1), Just(127), Just(128), Just(255), any::<u8>()];
    let bits = proptest::collection::vec(byte, 16).prop_map(|bytes| u128::from_be_bytes(bytes.try_into().unwrap()));
    let longest = if v6 { 128u8 } else { 32 };
    let one = (0..segments, bits, 0..=longest, 0..200u16);
    proptest::collection::vec(one, count).prop_map(|all| {
        let hop = |value| {
            if value == 0 {
                NextHop::Discard
            } else {
                NextHop::Segment(SegmentIndex(value % 3))
            }
        };
        all.into_iter()
            .map(|(segment, bits, length, value)| ((segment, bits & mask(length), length), hop(value)))
            .collect()
    })
}

/// Destinations worth asking for: the ends of every prefix and their neighbours.
fn edges(prefixes: &Prefixes) -> Vec<u128> {
    let unit = 1 << 96;
    let around = |(_, bits, length): &(u16, u128, u8)| {
        let last = bits | !mask(*length);
        [
            *bits,
            bits.wrapping_sub(1),
            bits.wrapping_sub(unit),
            last,
            last.wrapping_add(1),
            last.wrapping_add(unit),
        ]
    };
    prefixes.keys().flat_map(around).collect()
}

/// The same lookups as a batch.
fn look_up_batch(tables: &Tables<'_>, segment: u16, keys: &[u128], v6: bool) -> Vec<NextHop> {
    let mut out = vec![u32::MAX; keys.len()];
    if v6 {
        let keys: Vec<_> = keys.iter().map(|key| key.to_be_bytes()).collect();
        tables.routes6_batch(SegmentIndex(segment), &keys, &mut out);
    } else {
        let keys: Vec<_> = keys.iter().map(|key| (key >> 96) as u32).collect();
        tables.routes4_batch(SegmentIndex(segment), &keys, &mut out);
    }
    out.into_iter().map(NextHop::from_bits).collect()
}

fn check(prefixes: &Prefixes, v6: bool, more: &[u128]) {
    let mut world = world(3);
    world.routes = to_routes(prefixes, v6);
    let sections = world.build().unwrap();
    let tables = tables(&sections);
    for segment in 0..3 {
        let keys: Vec<_> = edges(prefixes);
        let one_by_one: Vec<_> = keys.iter().map(|&key| look_up(&tables, segment, key, v6)).collect();
        assert_eq!(look_up_batch(&tables, segment, &keys, v6), one_by_one);
    }
    for &key in edges(prefixes).iter().chain(more) {
        let key = if v6 { key } else { key & mask(32) };
        for segment in 0..3 {
            let expected = longest_match(prefixes, segment, key);
            assert_eq!(
                look_up(&tables, segment, key, v6),
                expected,
                "segment {segment} destination {key:032x}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn small_segments_match_the_reference(
        v4 in prefixes(3, false, 0..40), v6 in prefixes(3, true, 0..40), more in proptest::collection::vec(any::<u128>(), 20)
    ) {
        check(&v4, false, &more);
        check(&v6, true, &more);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2))]

    #[test]
    fn segments_with_direct_tables_match_the_reference(v4 in prefixes(1, false, 1500..1700), v6 in prefixes(1, true, 1500..1700)) {
        check(&v4, false, &[0, u128::MAX]);
        check(&v6, true, &[0, u128::MAX]);
    }
}

/// So many routes that IPv4 has blocks: /24s with shorter and longer ones around, against the routes that hold each edge.
#[test]
fn a_segment_with_blocks_matches_the_reference() {
    let mut prefixes = Prefixes::new();
    let mut number = 1_u64;
    while prefixes.len() < 9000 {
        number = number
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        let length = [24, 24, 24, 23, 20, 17, 16, 12, 25, 30, 32][(number >> 8) as usize % 11];
        let place = ((number >> 56) << 24) | (((number >> 40) % 4) << 16) | ((number >> 20) & 0xffff);
        let bits = u128::from(place) << 96;
        prefixes.insert(
            (0, bits & mask(length), length),
            NextHop::Segment(SegmentIndex(number as u16 % 3)),
        );
    }
    let mut world = world(3);
    world.routes = to_routes(&prefixes, false);
    let sections = world.build().unwrap();
    let tables = tables(&sections);
    let keys: Vec<u128> = edges(&prefixes).into_iter().step_by(7).collect();
    let found = look_up_batch(&tables, 0, &keys, false);
    for (key, found) in keys.into_iter().zip(found) {
        let of_length = |length| prefixes.get(&(0, key & mask(length), length));
        let expected = (0..=32)
            .rev()
            .find_map(of_length)
            .copied()
            .unwrap_or(NextHop::Unreachable);
        assert_eq!(
            (look_up(&tables, 0, key, false), found),
            (expected, expected),
            "{key:032x}"
        );
    }
}

fn one_world(routes: Vec<Route>) -> World {
    World { routes, ..world(2) }
}

#[test]
fn no_route_and_no_segment_are_unreachable() {
    let sections = one_world(vec![route(0, "10.0.0.0/8", NextHop::Discard)])
        .build()
        .unwrap();
    let tables = tables(&sections);
    assert_eq!(tables.route4(SegmentIndex(0), 0x0b00_0000), NextHop::Unreachable);
    assert_eq!(tables.route4(SegmentIndex(1), 0x0a00_0000), NextHop::Unreachable);
    assert_eq!(tables.route4(SegmentIndex(9), 0x0a00_0000), NextHop::Unreachable);
    assert_eq!(tables.route6(SegmentIndex(0), &[0; 16]), NextHop::Unreachable);
}

#[test]
fn shortest_and_longest_prefixes() {
    let (one, two) = (NextHop::OnLink(PortIndex(0)), NextHop::Local(PortIndex(1)));
    let routes = [
        ("0.0.0.0/0", one),
        ("255.255.255.255/32", two),
        ("::/0", one),
        ("ffff::ff/128", two),
    ];
    let sections = one_world(routes.map(|(prefix, hop)| route(1, prefix, hop)).to_vec())
        .build()
        .unwrap();
    let tables = tables(&sections);
    let segment = SegmentIndex(1);
    assert_eq!(
        [0, u32::MAX - 1, u32::MAX].map(|to| tables.route4(segment, to)),
        [one, one, two]
    );
    let to = ["::", "ffff::fe", "ffff::ff"].map(|text| tables.route6(segment, &address(text).0));
    assert_eq!(to, [one, one, two]);
}

#[test]
fn a_default_route_alone_costs_nothing() {
    let alone = one_world(vec![route(0, "0.0.0.0/0", NextHop::Discard)])
        .build()
        .unwrap();
    assert_eq!(alone.get(SectionId::Routes4).len(), 64);
    assert_eq!(tables(&alone).route4(SegmentIndex(0), 12345), NextHop::Discard);
}

#[test]
fn many_small_segments_stay_small() {
    let mut world = world(1000);
    for at in 0..1000 {
        for prefix in [
            "0.0.0.0/0",
            "10.1.0.0/24",
            "10.1.0.1/32",
            "fd00:1::/64",
            "fd00:1::1/128",
        ] {
            world.routes.push(route(at, prefix, NextHop::OnLink(PortIndex(at))));
        }
    }
    let sections = world.build().unwrap();
    assert!(
        sections.get(SectionId::Routes4).len() < 600 * 1000,
        "{}",
        sections.get(SectionId::Routes4).len()
    );
    assert!(
        sections.get(SectionId::Routes6).len() < 900 * 1000,
        "{}",
        sections.get(SectionId::Routes6).len()
    );
}

#[test]
fn the_order_of_routes_changes_no_byte() {
    let mut routes: Vec<_> = (0..200u32)
        .map(|at| {
            route(
                at as u16 % 2,
                &format!("10.{at}.0.0/{}", 16 + at % 4),
                NextHop::Segment(SegmentIndex(at as u16 % 2)),
            )
        })
        .filter(|route| u128::from_be_bytes(route.prefix.0) << (96 + u32::from(route.length)) == 0)
        .collect();
    let one = one_world(routes.clone()).build().unwrap();
    routes.reverse();
    assert_eq!(one, one_world(routes).build().unwrap());
}

#[test]
fn contradictions_are_refused() {
    let hop = NextHop::Discard;
    let refused = |routes: Vec<Route>| one_world(routes).build().unwrap_err();
    let twice = refused(vec![
        route(1, "10.0.0.0/8", hop),
        route(1, "10.0.0.0/8", NextHop::Unreachable),
    ]);
    let prefix = address("10.0.0.0");
    assert_eq!(
        twice,
        BuildError::DuplicateRoute {
            segment: SegmentIndex(1),
            prefix,
            length: 8
        }
    );
    assert_eq!(twice.to_string(), "segment 1 has two routes to 10.0.0.0/8");
    let field = |field| BuildError::Field {
        by: Kind::Route,
        at: 0,
        field,
    };
    assert_eq!(refused(vec![route(0, "10.0.0.0/33", hop)]), field("length"));
    assert_eq!(
        refused(vec![route(0, "10.0.0.1/31", hop)]),
        field("prefix: bits behind its length are set")
    );
    assert_eq!(
        refused(vec![route(0, "fd00::1/127", hop)]),
        field("prefix: bits behind its length are set")
    );
    let v6_as_v4 = Route {
        v6: false,
        ..route(0, "fd00::/16", hop)
    };
    assert_eq!(refused(vec![v6_as_v4]), field("family"));
    let nowhere = BuildError::Unknown {
        by: Kind::Route,
        at: 0,
        kind: Kind::Segment,
        index: 2,
    };
    assert_eq!(refused(vec![route(2, "10.0.0.0/8", hop)]), nowhere);
}

//! Several tunnels as one: a flow and its replies use one of them, all of them are used, and the flows of one that is down go to the
//! others. With sessions and without, with the express lane and without.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use tombolo_sim::gateway::{SMALL, SimGateway};
use tombolo_sim::lab::{Lab, from_host};
use tombolo_sim::worlds::{PROD, Side, TunnelKind, UPLINK, demo};
use tombolo_tables::build::World;
use tombolo_tables::fate::DropReason;
use tombolo_tables::layout::{
    BundleIndex, BundleRecord, NextHop, SaRecord, TunnelIndex, segment_flag, tunnel_flag, wildcard,
};

/// A port that does not exist: nothing is copied, and yet somebody captures, so everything takes the general journey.
const CAPTURE_NOTHING: u64 = 1 << 63;
const MEMBERS: [u32; 2] = [0, 2];
const FLOWS: u16 = 200;

#[derive(Clone, Copy, Debug)]
struct Case {
    lane: bool,
    stateless: bool,
    v6: bool,
}

fn cases() -> impl Iterator<Item = Case> {
    (0..8).map(|bits| Case {
        lane: bits & 1 != 0,
        stateless: bits & 2 != 0,
        v6: bits & 4 != 0,
    })
}

/// The demo, with two tunnels between the two prods, used as one. `up`: those of them that seal.
/// Each generation decides anew.
fn world(side: Side, case: Case, up: &[u32], generation: u32) -> World {
    let mut world = demo(side, TunnelKind::PLAIN);
    world.capture = if case.lane { 0 } else { CAPTURE_NOTHING };
    let mut second = world.tunnels[0];
    let twin = |sa: SaRecord| SaRecord {
        tunnel: 2,
        key: [sa.key[0] ^ 0x80; 32],
        spi: sa.spi + 0x100,
        ..sa
    };
    world.sas.extend([twin(world.sas[0]), twin(world.sas[1])]);
    second.outbound = world.sas.len() as u32 - 2;
    second.name[..6].copy_from_slice(b"prod-2");
    world.tunnels.push(second);
    for member in MEMBERS {
        let record = &mut world.tunnels[member as usize];
        record.flags |= tunnel_flag::BUNDLED;
        if !up.contains(&member) {
            record.outbound = wildcard::NONE;
        }
    }
    let carriers = if up.is_empty() { &MEMBERS } else { up };
    world.bundles = vec![BundleRecord {
        name: [0; 32],
        shares: core::array::from_fn(|share| {
            let owner = MEMBERS[share % 2];
            if up.contains(&owner) { owner } else { carriers[0] }
        }),
    }];
    for route in &mut world.routes {
        if route.next_hop == NextHop::Tunnel(TunnelIndex(0)) {
            route.next_hop = NextHop::Bundle(BundleIndex(0));
        }
    }
    let prod = &mut world.segments[usize::from(PROD)];
    prod.epoch += generation;
    if case.stateless {
        prod.flags |= segment_flag::STATELESS;
        // Who has no sessions translates nothing.
        world.nat_rules.clear();
        world.policy_rules.clear();
    }
    world
}

fn lab(case: Case) -> Lab {
    let gateway = |side| SimGateway::new(&world(side, case, &MEMBERS, 0), SMALL, 1);
    Lab {
        a: gateway(Side::A),
        b: gateway(Side::B),
    }
}

fn host(side: Side, case: Case) -> IpAddr {
    if case.v6 {
        side.host6(PROD, 10)
    } else {
        side.host4(PROD, 10)
    }
}

/// One packet of a flow that A's host began, towards B or back; the SPI that it crossed with.
fn cross(lab: &mut Lab, case: Case, flow: u16, from: Side) -> u32 {
    let (mine, far) = if from == Side::A { (flow, 7) } else { (7, flow) };
    let frame = from_host(from, PROD, host(from.other(), case)).udp(mine, far, b"canary-in-clear");
    lab.gateway(from).arrive(0, PROD as u8, &frame);
    lab.gateway(from).run();
    let outer = lab.carry(from);
    assert_eq!(outer.len(), 1, "{case:?}, flow {flow} from {from:?}");
    assert_eq!(
        lab.gateway(from.other()).sent(PROD as u8).len(),
        1,
        "{case:?}, flow {flow} from {from:?}"
    );
    u32::from_be_bytes(outer[0][34..38].try_into().unwrap())
}

/// Which tunnel an SPI belongs to.
fn member(spi: u32) -> u32 {
    if spi & 0x100 == 0 { 0 } else { 2 }
}

/// The member that each flow and its replies use.
fn members(lab: &mut Lab, case: Case, flows: impl Iterator<Item = u16>) -> BTreeMap<u16, u32> {
    let mut used = BTreeMap::new();
    for flow in flows {
        let there = member(cross(lab, case, flow, Side::A));
        for from in [Side::B, Side::A, Side::B] {
            assert_eq!(
                member(cross(lab, case, flow, from)),
                there,
                "{case:?}, flow {flow}: one tunnel both ways"
            );
        }
        used.insert(flow, there);
    }
    used
}

#[test]
fn a_flow_and_its_replies_use_one_tunnel_and_all_are_used() {
    for case in cases() {
        let mut lab = lab(case);
        let used = members(&mut lab, case, 1000..1000 + FLOWS);
        let first = used.values().filter(|member| **member == 0).count();
        assert!(
            (70..=130).contains(&first),
            "{case:?}: {first} of {FLOWS} flows through the first"
        );
        lab.assert_books();
    }
}

#[test]
fn flows_of_a_tunnel_that_is_down_move_and_no_others() {
    for case in cases() {
        let mut lab = lab(case);
        let before = members(&mut lab, case, 1000..1000 + FLOWS);
        for (generation, up, moved_to) in [(1, &[2][..], 2), (2, &[0, 2][..], wildcard::NONE), (3, &[0][..], 0)] {
            lab.a.publish(&world(Side::A, case, up, generation));
            lab.b.publish(&world(Side::B, case, up, generation));
            let after = members(&mut lab, case, 1000..1000 + FLOWS);
            for (flow, member) in &before {
                let expected = if up.contains(member) { *member } else { moved_to };
                assert_eq!(after[flow], expected, "{case:?}, flow {flow}, up: {up:?}");
            }
        }
        assert_eq!(lab.a.drops(), BTreeMap::new());
        assert_eq!(lab.b.drops(), BTreeMap::new());
        lab.assert_books();
    }
}

/// The peer answers through a tunnel that this side has given up: what it sends arrives, and what goes back takes the other.
#[test]
fn the_side_that_knows_first_does_not_wait_for_the_other() {
    for case in cases() {
        let mut lab = lab(case);
        let before = members(&mut lab, case, 1000..1000 + FLOWS);
        lab.a.publish(&world(Side::A, case, &[2], 1));
        for flow in before.keys() {
            cross(&mut lab, case, *flow, Side::B);
            assert_eq!(
                member(cross(&mut lab, case, *flow, Side::A)),
                2,
                "{case:?}, flow {flow}"
            );
        }
        // Flows that begin at the far side through the tunnel that is given up here, too.
        let mut through = BTreeSet::new();
        for flow in 3000..3050 {
            through.insert(member(cross(&mut lab, case, flow, Side::B)));
            assert_eq!(member(cross(&mut lab, case, flow, Side::A)), 2, "{case:?}, flow {flow}");
        }
        assert_eq!(through, BTreeSet::from(MEMBERS), "{case:?}");
        lab.assert_books();
    }
}

#[test]
fn with_no_tunnel_up_all_is_dropped_and_nothing_leaves_in_clear() {
    for case in cases() {
        let mut lab = lab(case);
        members(&mut lab, case, 1000..1010);
        lab.a.publish(&world(Side::A, case, &[], 1));
        for flow in 1000..1020 {
            let frame = from_host(Side::A, PROD, host(Side::B, case)).udp(flow, 7, b"canary-in-clear");
            lab.a.arrive(0, PROD as u8, &frame);
        }
        lab.a.run();
        assert_eq!(lab.a.sent(UPLINK as u8).len(), 0, "{case:?}");
        assert_eq!(
            lab.a.drops(),
            BTreeMap::from([(DropReason::TunnelDown, 20)]),
            "{case:?}"
        );
        lab.assert_books();
    }
}

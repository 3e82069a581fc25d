//! Which SA of a tunnel seals: by worker and by selectors, with the express lane and without. What none carries is dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use tombolo_sim::gateway::{SMALL, SimGateway};
use tombolo_sim::lab::from_host;
use tombolo_sim::worlds::{PROD, Side, TunnelKind, UPLINK, WEB4, demo};
use tombolo_tables::build::World;
use tombolo_tables::fate::DropReason;
use tombolo_tables::layout::{Address, SaRecord, SelectorRecord, sa_flag, tunnel_flag, wildcard};

/// A port that does not exist: nothing is copied, and yet somebody captures, so everything takes the general journey.
const CAPTURE_NOTHING: u64 = 1 << 63;
const LANES: [bool; 2] = [true, false];

type Sa<'a> = (u32, Option<u16>, &'a [(IpAddr, IpAddr)]);

/// Gateway A, whose tunnel of prod seals with these SAs, in this order: a mark in the SPI, the worker, selectors of the far side.
fn world(lane: bool, sas: &[Sa<'_>]) -> World {
    let mut world = demo(Side::A, TunnelKind::PLAIN);
    world.capture = if lane { 0 } else { CAPTURE_NOTHING };
    let old = world.sas[0];
    world.sas[0].spi = 0;
    world.tunnels[0].flags |= tunnel_flag::CHOOSES;
    world.tunnels[0].outbound = wildcard::NONE;
    let mut next = wildcard::NONE;
    for (mark, worker, ranges) in sas.iter().rev() {
        let first = world.selectors.len() as u32;
        world.selectors.extend(ranges.iter().map(|range| selector(*range)));
        let own = if worker.is_some() { sa_flag::OWN_WORKER } else { 0 };
        world.sas.push(SaRecord {
            key: [*mark as u8; 32],
            spi: 0x5000 + mark,
            selector_first: first,
            selector_count: ranges.len() as u16,
            sealing_worker: worker.unwrap_or(0),
            flags: old.flags | own,
            next,
            ..old
        });
        next = world.sas.len() as u32 - 1;
        world.tunnels[0].outbound = next;
    }
    world
}

fn selector((first, last): (IpAddr, IpAddr)) -> SelectorRecord {
    let (low, high) = if first.is_ipv4() { ANY4 } else { ANY6 };
    SelectorRecord {
        remote_first: first.into(),
        remote_last: last.into(),
        local_first: low.into(),
        local_last: high.into(),
    }
}

const ANY4: (IpAddr, IpAddr) = (
    IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
    IpAddr::V4(std::net::Ipv4Addr::BROADCAST),
);
const ANY6: (IpAddr, IpAddr) = (
    IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    IpAddr::V6(std::net::Ipv6Addr::from_bits(u128::MAX)),
);

fn host(last: u8) -> IpAddr {
    Side::B.host4(PROD, last)
}

/// Marks of the SAs that sealed what worker `worker` sent to `to`, 20 packets; nothing else leaves by the uplink.
fn sealed_with(a: &mut SimGateway, worker: usize, to: IpAddr) -> (BTreeSet<u32>, usize) {
    for number in 0..20 {
        let frame = from_host(Side::A, PROD, to).udp(number, 2, b"canary-in-clear");
        a.arrive(worker, PROD as u8, &frame);
    }
    a.run();
    let sent = a.sent(UPLINK as u8);
    let mark = |frame: &Vec<u8>| {
        assert_eq!(frame[23], 50, "ESP and nothing else");
        assert!(!frame.windows(15).any(|bytes| bytes == b"canary-in-clear"));
        u32::from_be_bytes([frame[34], frame[35], frame[36], frame[37]]) - 0x5000
    };
    (sent.iter().map(mark).collect(), sent.len())
}

#[test]
fn each_worker_seals_with_its_own_sa_and_the_others_with_the_shared_one() {
    for lane in LANES {
        let any: &[_] = &[ANY4, ANY6];
        let world = world(lane, &[(1, Some(0), any), (2, Some(2), any), (9, None, any)]);
        let mut a = SimGateway::new(&world, SMALL, 3);
        for (worker, mark) in [(0, 1), (1, 9), (2, 2), (0, 1)] {
            for to in [host(10), Side::B.host6(PROD, 10)] {
                let sealed = sealed_with(&mut a, worker, to);
                assert_eq!(sealed, (BTreeSet::from([mark]), 20), "lane {lane}, worker {worker}");
            }
        }
        assert_eq!(a.drops(), BTreeMap::new());
        a.assert_books();
    }
}

#[test]
fn an_own_sa_is_nobody_elses_and_is_not_handed_over_for() {
    for lane in LANES {
        let mut world = world(lane, &[(1, Some(1), &[ANY4])]);
        for sa in &mut world.sas {
            sa.flags &= !sa_flag::WIDE_PEER_WINDOW;
        }
        let mut a = SimGateway::new(&world, SMALL, 2);
        assert_eq!(sealed_with(&mut a, 1, host(10)), (BTreeSet::from([1]), 20));
        assert_eq!(sealed_with(&mut a, 0, host(10)).1, 0);
        assert_eq!(a.drops(), BTreeMap::from([(DropReason::TunnelDown, 20)]), "lane {lane}");
        a.assert_books();
    }
}

#[test]
fn children_are_chosen_by_their_selectors_and_what_none_carries_is_dropped() {
    for lane in LANES {
        let low: &[_] = &[(host(0), host(9))];
        let high: &[_] = &[(host(10), host(19))];
        let world = world(lane, &[(1, None, low), (2, None, high)]);
        let mut a = SimGateway::new(&world, SMALL, 1);
        for (to, mark) in [(host(1), 1), (host(10), 2), (host(19), 2), (host(9), 1)] {
            assert_eq!(
                sealed_with(&mut a, 0, to),
                (BTreeSet::from([mark]), 20),
                "lane {lane}, {to}"
            );
        }
        for to in [host(20), Side::B.host6(PROD, 10)] {
            assert_eq!(sealed_with(&mut a, 0, to).1, 0, "lane {lane}, {to}");
        }
        assert_eq!(a.drops(), BTreeMap::from([(DropReason::TunnelSelectors, 40)]));
        // The flows to the internet beside it are as they were.
        a.arrive(0, PROD as u8, &from_host(Side::A, PROD, WEB4).udp(1, 53, b"?"));
        a.run();
        assert_eq!(a.sent(UPLINK as u8).len(), 1);
        a.assert_books();
    }
}

#[test]
fn our_side_of_the_selectors_counts_as_well() {
    for lane in LANES {
        let mut world = world(lane, &[(1, None, &[ANY4])]);
        let only = Address::from(Side::A.host4(PROD, 99));
        let last = world.selectors.last_mut().expect("there is one");
        (last.local_first, last.local_last) = (only, only);
        let mut a = SimGateway::new(&world, SMALL, 1);
        assert_eq!(sealed_with(&mut a, 0, host(10)).1, 0);
        assert_eq!(
            a.drops(),
            BTreeMap::from([(DropReason::TunnelSelectors, 20)]),
            "lane {lane}"
        );
        a.assert_books();
    }
}

#[test]
fn a_child_for_ipv6_before_one_for_ipv4_does_not_hide_it() {
    for lane in LANES {
        let world = world(lane, &[(6, None, &[ANY6]), (4, None, &[ANY4])]);
        let mut a = SimGateway::new(&world, SMALL, 1);
        assert_eq!(sealed_with(&mut a, 0, host(10)), (BTreeSet::from([4]), 20));
        assert_eq!(
            sealed_with(&mut a, 0, Side::B.host6(PROD, 10)),
            (BTreeSet::from([6]), 20)
        );
        a.assert_books();
    }
}

//! The laws under shortage: a tunnel that is down, an SA that is gone, numbers, ports, entries or neighbours that ran out. Each is a
//! counted drop, nothing leaves untranslated or in clear, and traffic flows again once the shortage is over.

use std::collections::BTreeSet;
use std::net::IpAddr;
use tombolo_sim::gateway::{SMALL, SimGateway};
use tombolo_sim::lab::{ends, from_host, from_internet, parsed, sealed_by};
use tombolo_sim::packets::TcpFlags;
use tombolo_sim::worlds::{NAT_PORTS, PROD, Side, TunnelKind, UPLINK, WEB4, WEB6, demo, move_epochs};
use tombolo_tables::build::World;
use tombolo_tables::events::{Event, EventReader};
use tombolo_tables::fate::{Counter, DropReason};
use tombolo_tables::layout::{NextHop, neighbour_state, tunnel_flag, wildcard};
use tombolo_tables::state::{Limits, StatePart};
use tombolo_tunnel::sequence::Sequence;
use tombolo_wire::icmp;

const HOUR_MS: u64 = 3_600_000;

fn plain() -> World {
    demo(Side::A, TunnelKind::PLAIN)
}

/// Sends `count` datagrams from as many ports into the tunnel; returns how many left by the uplink, all of them sealed.
fn into_tunnel(a: &mut SimGateway, count: u16) -> usize {
    for port in 0..count {
        for to in [Side::B.host4(PROD, 10), Side::B.host6(PROD, 10)] {
            a.arrive(
                0,
                PROD as u8,
                &from_host(Side::A, PROD, to).udp(port, 9, b"canary-in-clear"),
            );
        }
    }
    a.run();
    let sent = a.sent(UPLINK as u8);
    for frame in &sent {
        let headers = parsed(frame);
        assert_eq!(headers.protocol, 50, "ESP and nothing else");
        assert_eq!(ends(&headers), (Side::A.outside4(), Side::B.outside4()));
        assert!(!frame.windows(15).any(|bytes| bytes == b"canary-in-clear"));
    }
    sent.len()
}

fn reasons(a: &SimGateway) -> Vec<(DropReason, u64)> {
    a.drops().into_iter().collect()
}

/// What it is called, how it is done, and how it is counted.
type Break<'a> = (&'a str, &'a dyn Fn(&mut World), DropReason);

#[test]
fn no_way_of_being_down_lets_a_tunnels_packets_out_in_clear() {
    let no_sa = |world: &mut World| world.tunnels[0].outbound = wildcard::NONE;
    let disabled = |world: &mut World| world.tunnels[0].flags &= !tunnel_flag::ENABLED;
    let unroutable = |world: &mut World| world.tunnels[0].underlay_next_hop = NextHop::Unreachable.to_bits();
    let breaks: [Break<'_>; 3] = [
        ("no outbound SA", &no_sa, DropReason::TunnelDown),
        ("disabled", &disabled, DropReason::TunnelDown),
        ("no way to the peer", &unroutable, DropReason::PortDown),
    ];
    for (name, broken, reason) in breaks {
        let mut world = plain();
        let mut a = SimGateway::new(&world, SMALL, 1);
        // Flows from before the fault, and new ones.
        assert_eq!(into_tunnel(&mut a, 10), 20);
        broken(&mut world);
        a.publish(&world);
        assert_eq!(into_tunnel(&mut a, 20), 0, "{name}");
        assert_eq!(reasons(&a), [(reason, 40)], "{name}");
        a.publish(&plain());
        assert_eq!(into_tunnel(&mut a, 20), 40, "{name}: it comes back");
        a.assert_books();
    }
}

#[test]
fn a_prefix_of_a_tunnel_falls_back_to_nothing_when_the_tunnel_goes_with_its_flows() {
    let mut world = plain();
    let mut a = SimGateway::new(&world, SMALL, 1);
    assert_eq!(into_tunnel(&mut a, 10), 20);
    // What the planner does for a tunnel that is gone: the prefix stays, as a discard.
    for route in &mut world.routes {
        if matches!(route.next_hop, NextHop::Tunnel(_)) {
            route.next_hop = NextHop::Discard;
        }
    }
    tombolo_sim::worlds::move_epochs(&mut world);
    a.publish(&world);
    assert_eq!(into_tunnel(&mut a, 10), 0);
    assert_eq!(reasons(&a), [(DropReason::RouteDiscard, 20)]);
    a.assert_books();
}

#[test]
fn an_inbound_sa_that_is_gone_opens_nothing_and_its_successor_does() {
    let mut world = plain();
    let mut a = SimGateway::new(&world, SMALL, 1);
    let inner = from_host(Side::B, PROD, Side::A.host4(PROD, 10)).udp(1, 2, b"in");
    let enter = |a: &mut SimGateway, sequence| {
        let outer = sealed_by(Side::B, PROD, sequence, &inner[14..]);
        a.pass(UPLINK as u8, &outer, PROD as u8).len()
    };
    assert_eq!(enter(&mut a, 1), 1);
    let spi = world.sas[1].spi;
    world.sas[1].spi = 0x9999;
    a.publish(&world);
    assert_eq!(enter(&mut a, 2), 0);
    assert_eq!(reasons(&a), [(DropReason::EspUnknownSpi, 1)]);
    // Control is told, and who floods does not flood it.
    (3..100).for_each(|sequence| assert_eq!(enter(&mut a, sequence), 0));
    let mut told = EventReader::new(a.state().region(), 0).unwrap();
    let unknown = Event::UnknownSpi {
        address: Side::B.outside4().into(),
        spi,
    };
    let told: Vec<_> = std::iter::from_fn(|| told.pop())
        .filter(|event| *event == unknown)
        .collect();
    assert!((1..=3).contains(&told.len()), "{}", told.len());
    world.sas[1].spi = spi;
    a.publish(&world);
    assert_eq!(enter(&mut a, 2), 1);
    assert_eq!(
        enter(&mut a, 2),
        0,
        "and no number twice, the SA's absence in between or not"
    );
    a.assert_books();
}

#[test]
fn without_leased_numbers_nothing_is_sealed_and_no_number_is_used_twice() {
    let mut a = SimGateway::new(&plain(), SMALL, 1);
    let region = a.state().region();
    let sequence = Sequence::at(region.part(StatePart::Sequences), 0).expect("there is room for SA 0");
    sequence.start(1, 11);
    assert_eq!(into_tunnel(&mut a, 10), 10);
    assert_eq!(reasons(&a), [(DropReason::SequenceExhausted, 10)]);
    sequence.raise_limit(21);
    assert_eq!(into_tunnel(&mut a, 10), 10, "as many as were leased");
    assert_eq!(sequence.next(), 21);
    a.assert_books();
}

/// Flows from prod to the internet, a port each; returns the outside ports they got.
fn out(a: &mut SimGateway, sources: std::ops::Range<u16>) -> Vec<u16> {
    for port in sources {
        a.arrive(0, PROD as u8, &from_host(Side::A, PROD, WEB4).udp(port, 53, b"?"));
    }
    a.run();
    let ports = |frame: Vec<u8>| {
        let headers = parsed(&frame);
        assert_eq!(
            ends(&headers),
            (Side::A.outside4(), WEB4),
            "nothing leaves untranslated"
        );
        headers.source_port
    };
    a.sent(UPLINK as u8).into_iter().map(ports).collect()
}

#[test]
fn an_exhausted_pool_drops_what_is_new_keeps_what_is_old_and_serves_again_when_flows_end() {
    let mut world = plain();
    let last = NAT_PORTS.0 + 127;
    for pool in &mut world.pools {
        pool.port_last = last;
    }
    let mut a = SimGateway::new(&world, SMALL, 1);
    let first = out(&mut a, 1000..1500);
    let distinct: BTreeSet<u16> = first.iter().copied().collect();
    assert_eq!(distinct.len(), first.len(), "no outside port twice");
    assert!(first.iter().all(|port| (NAT_PORTS.0..=last).contains(port)));
    assert_eq!(first.len(), 128, "every port of the pool is used");
    assert_eq!(reasons(&a), [(DropReason::NatExhausted, 500 - first.len() as u64)]);
    assert_eq!(out(&mut a, 1000..1001), first[..1], "old flows go on");
    for _ in 0..10 {
        a.sleep(HOUR_MS);
        a.run();
    }
    let second = out(&mut a, 5000..5050);
    assert_eq!(second.len(), 50, "{:?}", a.drops());
    a.assert_books();
}

#[test]
fn a_hosts_quota_is_its_own() {
    let mut world = plain();
    for pool in &mut world.pools {
        pool.sessions_per_host_max = 10;
    }
    let mut a = SimGateway::new(&world, SMALL, 1);
    assert_eq!(out(&mut a, 1000..1030).len(), 10);
    assert_eq!(reasons(&a), [(DropReason::NatHostQuota, 20)]);
    let other = from_host(Side::A, 1, WEB4).udp(1, 53, b"?");
    assert_eq!(a.pass(1, &other, UPLINK as u8).len(), 1, "another host is served");
    a.assert_books();
}

#[test]
fn a_full_session_table_drops_what_is_new_and_serves_again_when_flows_end() {
    let limits = Limits {
        sessions4: 64,
        sessions6: 64,
        ..SMALL
    };
    let mut a = SimGateway::new(&plain(), limits, 1);
    let first = out(&mut a, 0..300);
    assert!(
        (64..300).contains(&first.len()),
        "the stated capacity at least: {}",
        first.len()
    );
    assert_eq!(reasons(&a), [(DropReason::SessionTableFull, 300 - first.len() as u64)]);
    assert_eq!(out(&mut a, 0..1), first[..1], "old flows go on");
    let web6 = from_host(Side::A, PROD, WEB6).udp(1, 53, b"?");
    assert_eq!(
        a.pass(PROD as u8, &web6, UPLINK as u8).len(),
        1,
        "the other family is not touched"
    );
    for _ in 0..10 {
        a.sleep(HOUR_MS);
        a.run();
    }
    assert_eq!(out(&mut a, 1000..1030).len(), 30, "{:?}", a.drops());
    a.assert_books();
}

#[test]
fn an_unresolved_next_hop_holds_a_bounded_number_for_a_bounded_time() {
    let mut world = plain();
    let known = world.neighbours.clone();
    for neighbour in &mut world.neighbours {
        neighbour.state = neighbour_state::UNRESOLVED;
    }
    let mut a = SimGateway::new(&world, SMALL, 1);
    assert_eq!(into_tunnel(&mut a, 100), 0);
    let held = a.counter(PROD, Counter::Held);
    assert!(held > 0 && held <= 32, "{held} held for one hop");
    assert_eq!(reasons(&a), [(DropReason::HoldOverflow, 200 - held)]);
    a.assert_books();
    a.sleep(4_000);
    a.run();
    assert_eq!(a.counter(PROD, Counter::Held), 0);
    assert_eq!(a.drops()[&DropReason::NeighbourFailed], held);
    assert!(a.sent(UPLINK as u8).is_empty());
    world.neighbours = known;
    a.publish(&world);
    assert_eq!(into_tunnel(&mut a, 10), 20);
    a.assert_books();
}

#[test]
fn a_next_hop_that_failed_is_a_counted_drop() {
    let mut world = plain();
    let known = world.neighbours.clone();
    for neighbour in &mut world.neighbours {
        neighbour.state = neighbour_state::FAILED;
    }
    let mut a = SimGateway::new(&world, SMALL, 1);
    assert_eq!(into_tunnel(&mut a, 10), 0);
    assert_eq!(reasons(&a), [(DropReason::NeighbourFailed, 20)]);
    world.neighbours = known;
    a.publish(&world);
    assert_eq!(into_tunnel(&mut a, 10), 20);
    a.assert_books();
}

/// Type, code and what is quoted of an ICMP error, whose sender is the gateway's own on prod.
fn unreachable(error: &[u8]) -> (u8, u8, (IpAddr, IpAddr), (u16, u16)) {
    let headers = parsed(error);
    let v6 = headers.addresses.is_v6();
    let gateway = if v6 {
        Side::A.host6(PROD, 1)
    } else {
        Side::A.host4(PROD, 1)
    };
    let quoted = icmp::quoted(error, &headers).expect("a quote");
    assert_eq!(ends(&headers), (gateway, ends(&quoted).0));
    let l4 = if v6 { 54 } else { 34 };
    (
        error[l4],
        error[l4 + 1],
        ends(&quoted),
        (quoted.source_port, quoted.destination_port),
    )
}

#[test]
fn who_sends_to_a_next_hop_that_failed_is_told_about_its_own_packet() {
    let mut world = plain();
    let known = world.neighbours.clone();
    for neighbour in &mut world.neighbours {
        if neighbour.port == UPLINK {
            neighbour.state = neighbour_state::FAILED;
        }
    }
    let mut a = SimGateway::new(&world, SMALL, 1);
    // Translated both: what is quoted is as the host sent it.
    let asked = [WEB4, WEB6].map(|web| from_host(Side::A, PROD, web).udp(1000, 53, b"?"));
    assert!(
        a.pass(PROD as u8, &asked[0], PROD as u8).is_empty(),
        "the first is counted only"
    );
    for (asked, (kind, code), ends) in [
        (&asked[0], (3, 1), (Side::A.host4(PROD, 10), WEB4)),
        (&asked[1], (1, 3), (Side::A.host6(PROD, 10), WEB6)),
    ] {
        let told = a.pass(PROD as u8, asked, PROD as u8);
        assert_eq!(told.len(), 1, "{:?}", a.drops());
        assert_eq!(unreachable(&told[0]), (kind, code, ends, (1000, 53)));
    }
    assert_eq!(reasons(&a), [(DropReason::NeighbourFailed, 3)]);
    // As many as any errors: a burst of 100 a worker.
    for port in 0..300 {
        let flood = from_host(Side::A, PROD, WEB4).udp(2000 + port, 53, b"?");
        a.arrive(0, PROD as u8, &flood);
    }
    a.run();
    let told = a.sent(PROD as u8).len();
    assert!((1..=100).contains(&told), "{told} errors");
    // After a while without any, the first is not told again; nor is anybody when the next hop answers.
    a.sleep(11_000);
    assert!(a.pass(PROD as u8, &asked[0], PROD as u8).is_empty());
    world.neighbours = known;
    a.publish(&world);
    assert_eq!(a.pass(PROD as u8, &asked[0], UPLINK as u8).len(), 1);
    assert!(a.sent(PROD as u8).is_empty() && a.sent(UPLINK as u8).is_empty());
    a.assert_books();
}

#[test]
fn what_waited_in_vain_makes_the_next_packet_be_told() {
    let mut world = plain();
    for neighbour in &mut world.neighbours {
        if neighbour.port == UPLINK {
            neighbour.state = neighbour_state::UNRESOLVED;
        }
    }
    let mut a = SimGateway::new(&world, SMALL, 1);
    let asked = from_host(Side::A, PROD, WEB4).udp(1000, 53, b"?");
    assert!(a.pass(PROD as u8, &asked, PROD as u8).is_empty());
    for neighbour in &mut world.neighbours {
        if neighbour.port == UPLINK {
            neighbour.state = neighbour_state::FAILED;
        }
    }
    a.publish(&world);
    a.run();
    assert_eq!(reasons(&a), [(DropReason::NeighbourFailed, 1)]);
    assert_eq!(a.pass(PROD as u8, &asked, PROD as u8).len(), 1, "{:?}", a.drops());
    // What a tunnel seals is told of by nobody.
    assert_eq!(into_tunnel(&mut a, 1), 0);
    assert!(a.sent(PROD as u8).is_empty());
    a.assert_books();
}

/// The same for a batch that rides in sessions and is handed on as a whole.
#[test]
fn a_ridden_batch_that_finds_a_full_ring_is_counted() {
    let mut a = SimGateway::new(&plain(), SMALL, 1);
    let frame = from_host(Side::A, PROD, WEB4).udp(1000, 53, b"");
    assert_eq!(a.pass(PROD as u8, &frame, UPLINK as u8).len(), 1, "the flow begins");
    a.narrow_transmit_rings(8);
    for _ in 0..64 {
        a.arrive(0, PROD as u8, &frame);
    }
    a.run();
    let sent = a.sent(UPLINK as u8).len();
    assert!((8..64).contains(&sent), "{sent} of 64 passed");
    assert_eq!(reasons(&a), [(DropReason::TxFull, 64 - sent as u64)]);
    a.assert_books();
}

#[test]
fn a_full_transmit_ring_is_a_counted_drop() {
    let mut a = SimGateway::new(&plain(), SMALL, 1);
    a.narrow_transmit_rings(8);
    let sent = into_tunnel(&mut a, 32);
    assert!((8..64).contains(&sent), "{sent} of 64 passed");
    assert_eq!(reasons(&a), [(DropReason::TxFull, 64 - sent as u64)]);
    a.assert_books();
    let answer = from_internet(Side::A, WEB4, Side::A.outside4()).tcp(80, 1, TcpFlags::ACK, None, b"");
    a.arrive(0, UPLINK as u8, &answer);
    a.run();
    a.assert_books();
}

#[test]
fn a_full_session_table_keeps_its_flows_when_policy_changes() {
    let mut world = plain();
    let limits = Limits { sessions4: 64, ..SMALL };
    let mut a = SimGateway::new(&world, limits, 1);
    let flow = |port: u16| from_host(Side::A, PROD, WEB4).udp(2_000 + port, 53, b"x");
    let pass = |a: &mut SimGateway, ports: std::ops::Range<u16>| {
        for port in ports {
            a.arrive(0, PROD as u8, &flow(port));
        }
        a.run();
        a.sent(UPLINK as u8)
    };
    let outside = |sent: &[Vec<u8>]| {
        let ports = sent.iter().map(|frame| parsed(frame).source_port);
        ports.collect::<BTreeSet<_>>()
    };
    let fit = pass(&mut a, 0..400).len() as u16;
    assert!(fit < 400, "the table is full");
    let before = pass(&mut a, 0..fit);
    assert_eq!(before.len(), usize::from(fit));
    let full = reasons(&a);
    for _ in 0..3 {
        move_epochs(&mut world);
        a.publish(&world);
        let after = pass(&mut a, 0..fit);
        assert_eq!(after.len(), before.len(), "{:?}", reasons(&a));
        assert_eq!(outside(&after), outside(&before), "every flow keeps its mapping");
        // Replies, too, and sooner or later all flows are decided anew.
        a.sleep(1_000);
        a.run();
    }
    assert_eq!(reasons(&a), full, "nothing more was dropped");
    // What policy no longer allows ends all the same.
    world.policy_rules.clear();
    move_epochs(&mut world);
    a.publish(&world);
    assert!(pass(&mut a, 0..fit).is_empty());
    a.assert_books();
}

//! Two gateways join two clouds, in one thread: what the demo shows, packet by packet.

use std::net::IpAddr;
use tombolo_sim::gateway::{SMALL, SimGateway};
use tombolo_sim::lab::{Lab, ends, fix_header_checksum, from_host, from_internet, host, parsed};
use tombolo_sim::packets::{Station, TcpFlags, Trip};
use tombolo_sim::worlds::{DEV, PROD, Side, TunnelKind, UPLINK, WEB4, WEB6, demo, port_forward};
use tombolo_tables::fate::{Counter, DropReason};
use tombolo_tables::layout::cipher;
use tombolo_wire::L4;

fn kinds() -> Vec<TunnelKind> {
    let mut kinds = Vec::new();
    for cipher in [cipher::AES_128_GCM, cipher::AES_256_GCM, cipher::CHACHA20_POLY1305] {
        for bits in 0..8 {
            kinds.push(TunnelKind {
                cipher,
                esn: bits & 1 != 0,
                udp: bits & 2 != 0,
                v6: bits & 4 != 0,
            });
        }
    }
    kinds
}

#[test]
fn clouds_reach_each_other_through_every_kind_of_tunnel() {
    for kind in kinds() {
        let mut lab = Lab::new(kind);
        for v6 in [false, true] {
            let (here, there) = (host(Side::A, PROD, v6), host(Side::B, PROD, v6));
            let request = from_host(Side::A, PROD, there.ip).udp(4000, 5000, b"a canary in clear");
            lab.a.arrive(0, PROD as u8, &request);
            lab.a.run();
            let outer = lab.carry(Side::A);
            assert_eq!(outer.len(), 1, "{kind:?}: {:?}", lab.a.drops());
            assert!(
                !outer[0].windows(17).any(|bytes| bytes == b"a canary in clear"),
                "plaintext on the underlay"
            );
            let arrived = lab.b.sent(PROD as u8);
            assert_eq!(arrived.len(), 1, "{kind:?}: {:?}", lab.b.drops());
            let headers = parsed(&arrived[0]);
            assert_eq!(ends(&headers), (here.ip, there.ip));
            assert_eq!(headers.ttl, 62, "one hop less at each gateway");
            assert!(arrived[0].ends_with(b"a canary in clear"));
            assert_eq!(arrived[0][..6], there.mac);

            let reply = from_host(Side::B, PROD, here.ip).udp(5000, 4000, b"and back");
            lab.b.arrive(0, PROD as u8, &reply);
            lab.b.run();
            lab.carry(Side::B);
            assert_eq!(lab.a.sent(PROD as u8).len(), 1, "{kind:?}: {:?}", lab.a.drops());
        }
        lab.assert_books();
    }
}

#[test]
fn segments_are_kept_apart_in_a_cloud_and_across() {
    let mut lab = Lab::new(TunnelKind::PLAIN);
    for to in [
        Side::A.host4(DEV, 10),
        Side::B.host4(DEV, 10),
        Side::A.host6(DEV, 10),
        Side::B.host6(DEV, 10),
    ] {
        let frame = from_host(Side::A, PROD, to).udp(1, 2, b"");
        assert!(lab.a.pass(PROD as u8, &frame, DEV as u8).is_empty());
    }
    assert!(lab.a.sent(UPLINK as u8).is_empty());
    assert_eq!(lab.a.drops()[&DropReason::PolicyDefaultDeny], 4);
    lab.assert_books();
}

#[test]
fn the_internet_sees_the_gateways_address_and_its_replies_come_home() {
    let mut lab = Lab::new(TunnelKind::PLAIN);
    for (web, outside) in [(WEB4, Side::A.outside4()), (WEB6, Side::A.outside6())] {
        let inside = host(Side::A, PROD, web.is_ipv6());
        let syn = from_host(Side::A, PROD, web).tcp(40_000, 80, TcpFlags::SYN, Some(8960), b"");
        let sent = lab.a.pass(PROD as u8, &syn, UPLINK as u8);
        assert_eq!(sent.len(), 1, "{:?}", lab.a.drops());
        let out = parsed(&sent[0]);
        assert_eq!(ends(&out), (outside, web));
        assert!(
            (20_000..=29_999).contains(&out.source_port),
            "from the NAT range, not {}",
            out.source_port
        );
        let mss = if web.is_ipv6() { 1440u16 } else { 1460 };
        assert!(
            sent[0]
                .windows(4)
                .any(|option| option == [2, 4, (mss >> 8) as u8, mss as u8]),
            "the MSS is clamped"
        );

        let back = from_internet(Side::A, web, outside).tcp(80, out.source_port, TcpFlags::SYN_ACK, None, b"");
        let home = lab.a.pass(UPLINK as u8, &back, PROD as u8);
        assert_eq!(home.len(), 1, "{:?}", lab.a.drops());
        let reply = parsed(&home[0]);
        assert_eq!(ends(&reply), (web, inside.ip));
        assert_eq!(reply.destination_port, 40_000);
    }
    lab.assert_books();
}

#[test]
fn a_ping_is_translated_by_its_identifier() {
    let mut lab = Lab::new(TunnelKind::PLAIN);
    let echo = from_host(Side::A, DEV, WEB4).echo(false, 77, b"abc");
    let sent = lab.a.pass(DEV as u8, &echo, UPLINK as u8);
    let out = parsed(&sent[0]);
    assert_eq!(out.l4_kind, L4::Echo { reply: false });
    let back = from_internet(Side::A, WEB4, Side::A.outside4()).echo(true, out.source_port, b"abc");
    let home = lab.a.pass(UPLINK as u8, &back, DEV as u8);
    assert_eq!(parsed(&home[0]).source_port, 77, "{:?}", lab.a.drops());
    lab.assert_books();
}

#[test]
fn an_inside_endpoint_keeps_its_outside_port_whatever_it_talks_to() {
    let mut lab = Lab::new(TunnelKind::PLAIN);
    let mut ports = Vec::new();
    for last in 1..=20u8 {
        let frame = from_host(Side::A, PROD, IpAddr::from([203, 0, 113, last])).udp(5353, 53, b"?");
        let sent = lab.a.pass(PROD as u8, &frame, UPLINK as u8);
        ports.push(parsed(&sent[0]).source_port);
    }
    ports.dedup();
    assert_eq!(ports.len(), 1, "endpoint-independent mapping (RFC 4787 REQ-1)");
    lab.assert_books();
}

#[test]
fn nobody_from_the_internet_reaches_a_cloud_unasked() {
    let mut lab = Lab::new(TunnelKind::PLAIN);
    let attacks = [
        from_internet(Side::A, WEB4, Side::A.outside4()).tcp(80, 25_000, TcpFlags::ACK, None, b""),
        from_internet(Side::A, WEB4, Side::A.outside4()).udp(53, 25_000, b"late reply"),
        from_internet(Side::A, WEB4, Side::A.host4(PROD, 10)).udp(53, 53, b"routed at us"),
        from_internet(Side::A, Side::B.host4(PROD, 10), Side::A.host4(PROD, 10)).udp(53, 53, b"in clear"),
    ];
    for frame in &attacks {
        assert!(lab.a.pass(UPLINK as u8, frame, PROD as u8).is_empty());
    }
    assert!(lab.a.sent(DEV as u8).is_empty());
    lab.assert_books();
}

#[test]
fn a_port_forward_reaches_its_host_and_the_reply_comes_from_the_gateways_address() {
    let mut world = demo(Side::A, TunnelKind::PLAIN);
    let server = Side::A.host4(PROD, 10);
    world.nat_rules.insert(0, port_forward(Side::A, 8080, server, 80));
    world.policy_rules.push(tombolo_sim::worlds::rule(
        UPLINK,
        PROD,
        tombolo_tables::layout::rule_action::ALLOW,
    ));
    let mut a = SimGateway::new(&world, SMALL, 1);
    let syn = from_internet(Side::A, WEB4, Side::A.outside4()).tcp(999, 8080, TcpFlags::SYN, None, b"");
    let inside = a.pass(UPLINK as u8, &syn, PROD as u8);
    assert_eq!(inside.len(), 1, "{:?}", a.drops());
    let headers = parsed(&inside[0]);
    assert_eq!((ends(&headers), headers.destination_port), ((WEB4, server), 80));
    let answer = from_host(Side::A, PROD, WEB4).tcp(80, 999, TcpFlags::SYN_ACK, None, b"");
    let outside = a.pass(PROD as u8, &answer, UPLINK as u8);
    let headers = parsed(&outside[0]);
    assert_eq!(
        (ends(&headers), headers.source_port),
        ((Side::A.outside4(), WEB4), 8080)
    );
    a.assert_books();
}

#[test]
fn an_expired_packet_is_told_of_by_the_gateways_own_address() {
    let mut lab = Lab::new(TunnelKind::PLAIN);
    let mut trip = from_host(Side::A, PROD, Side::B.host4(PROD, 10));
    trip.ttl = 1;
    let errors = lab.a.pass(PROD as u8, &trip.udp(1, 33434, b"traceroute"), PROD as u8);
    assert_eq!(errors.len(), 1, "{:?}", lab.a.drops());
    let headers = parsed(&errors[0]);
    assert_eq!(ends(&headers), (Side::A.host4(PROD, 1), Side::A.host4(PROD, 10)));
    assert_eq!(headers.l4_kind, L4::IcmpError);
    assert_eq!(errors[0][..6], Side::A.host_mac(PROD, 10));

    trip.ttl = 2;
    lab.a.arrive(0, PROD as u8, &trip.udp(1, 33434, b"traceroute"));
    lab.a.run();
    lab.carry(Side::A);
    lab.carry(Side::B);
    let errors = lab.a.sent(PROD as u8);
    assert_eq!(
        errors.len(),
        1,
        "the far gateway's error comes back through the tunnel: {:?} {:?}",
        lab.a.drops(),
        lab.b.drops()
    );
    assert_eq!(
        ends(&parsed(&errors[0])),
        (Side::B.host4(PROD, 1), Side::A.host4(PROD, 10))
    );
    lab.assert_books();
}

#[test]
fn what_does_not_fit_the_tunnel_is_told_of_or_cut() {
    let mut lab = Lab::new(TunnelKind::PLAIN);
    let to = Side::B.host4(PROD, 10);
    let mut frame = from_host(Side::A, PROD, to).udp(1, 2, &[7; 1460]);
    frame[20] = 0x40; // DF
    fix_header_checksum(&mut frame);
    let errors = lab.a.pass(PROD as u8, &frame, PROD as u8);
    let headers = parsed(&errors[0]);
    assert_eq!(headers.destination_port, 3 << 8 | 4, "fragmentation needed");
    let told = tombolo_wire::icmp::quoted_mtu(&errors[0], &headers).expect("an MTU");
    assert_eq!(told, 1446, "the published best case of the pure function");

    frame[20] = 0;
    fix_header_checksum(&mut frame);
    lab.a.arrive(0, PROD as u8, &frame);
    lab.a.run();
    assert_eq!(lab.carry(Side::A).len(), 2, "two sealed fragments: {:?}", lab.a.drops());
    assert_eq!(lab.b.sent(PROD as u8).len(), 2, "{:?}", lab.b.drops());

    let six = from_host(Side::A, PROD, Side::B.host6(PROD, 10)).udp(1, 2, &[7; 1450]);
    let errors = lab.a.pass(PROD as u8, &six, PROD as u8);
    assert_eq!(
        tombolo_wire::icmp::quoted_mtu(&errors[0], &parsed(&errors[0])),
        Some(1446),
        "packet too big"
    );
    lab.assert_books();
}

#[test]
fn a_replayed_a_forged_and_a_truncated_outer_packet_are_counted_drops() {
    let mut lab = Lab::new(TunnelKind::PLAIN);
    lab.a.arrive(
        0,
        PROD as u8,
        &from_host(Side::A, PROD, Side::B.host4(PROD, 10)).udp(1, 2, b"once"),
    );
    lab.a.run();
    let outer = lab.carry(Side::A).remove(0);
    assert_eq!(lab.b.sent(PROD as u8).len(), 1);
    lab.b.arrive(0, UPLINK as u8, &outer);
    lab.b.run();
    assert_eq!(lab.b.drops()[&DropReason::EspReplay], 1);
    let mut forged = outer.clone();
    *forged.last_mut().expect("bytes") ^= 1;
    forged[41] = 200; // another sequence number, so that the window lets it through
    lab.b.arrive(0, UPLINK as u8, &forged);
    lab.b.run();
    assert_eq!(lab.b.drops()[&DropReason::EspAuth], 1);
    for length in 0..outer.len() {
        lab.b.arrive(0, UPLINK as u8, &outer[..length]);
    }
    lab.b.run();
    assert!(lab.b.sent(PROD as u8).is_empty());
    lab.assert_books();
}

#[test]
fn a_tunnel_that_is_down_leaks_nothing() {
    let mut world = demo(Side::A, TunnelKind::PLAIN);
    for tunnel in &mut world.tunnels {
        tunnel.outbound = tombolo_tables::layout::wildcard::NONE;
    }
    let mut a = SimGateway::new(&world, SMALL, 1);
    let frame = from_host(Side::A, PROD, Side::B.host4(PROD, 10)).udp(1, 2, b"canary");
    assert!(a.pass(PROD as u8, &frame, UPLINK as u8).is_empty());
    assert_eq!(a.drops()[&DropReason::TunnelDown], 1);
    a.assert_books();
}

#[test]
fn an_unresolved_neighbour_holds_packets_until_it_is_known() {
    let mut world = demo(Side::A, TunnelKind::PLAIN);
    let known = world.neighbours.clone();
    for neighbour in &mut world.neighbours {
        neighbour.state = tombolo_tables::layout::neighbour_state::UNRESOLVED;
    }
    let mut a = SimGateway::new(&world, SMALL, 1);
    for number in 0..5 {
        let frame = from_host(Side::A, PROD, WEB4).udp(1000 + number, 53, b"early");
        assert!(a.pass(PROD as u8, &frame, UPLINK as u8).is_empty());
    }
    assert_eq!(a.counter(PROD, Counter::Held), 5);
    a.assert_books();
    world.neighbours = known;
    a.publish(&world);
    a.run();
    assert_eq!(a.sent(UPLINK as u8).len(), 5, "{:?}", a.drops());
    assert_eq!(a.counter(PROD, Counter::Held), 0);
    a.assert_books();
}

#[test]
fn a_revoked_permission_ends_old_flows_and_an_unchanged_one_keeps_its_binding() {
    let mut world = demo(Side::A, TunnelKind::PLAIN);
    let mut a = SimGateway::new(&world, SMALL, 1);
    let frame = from_host(Side::A, PROD, WEB4).udp(1000, 53, b"?");
    let before = parsed(&a.pass(PROD as u8, &frame, UPLINK as u8)[0]).source_port;
    for segment in &mut world.segments {
        segment.epoch += 1;
    }
    a.publish(&world);
    let reply = from_internet(Side::A, WEB4, Side::A.outside4()).udp(53, before, b"!");
    assert_eq!(
        a.pass(UPLINK as u8, &reply, PROD as u8).len(),
        1,
        "a reply decides again: {:?}",
        a.drops()
    );
    let after = parsed(&a.pass(PROD as u8, &frame, UPLINK as u8)[0]).source_port;
    assert_eq!(before, after);

    world.policy_rules.clear();
    for segment in &mut world.segments {
        segment.epoch += 1;
    }
    a.publish(&world);
    assert!(
        a.pass(UPLINK as u8, &reply, PROD as u8).is_empty(),
        "a reply may not keep a revoked flow alive"
    );
    assert!(a.pass(PROD as u8, &frame, UPLINK as u8).is_empty());
    assert_eq!(a.drops()[&DropReason::PolicyDefaultDeny], 2);
    a.assert_books();
}

#[test]
fn an_icmp_error_about_a_translated_flow_finds_its_host() {
    let mut lab = Lab::new(TunnelKind::PLAIN);
    let frame = from_host(Side::A, PROD, WEB4).udp(1000, 33434, b"probe");
    let sent = lab.a.pass(PROD as u8, &frame, UPLINK as u8).remove(0);
    // A router on the way answers: it quotes what it saw.
    let mut answer = vec![0u8; 600];
    let end = tombolo_wire::icmp::build_error(
        tombolo_wire::icmp::IcmpErrorKind::TimeExceeded,
        &sent,
        &parsed(&sent),
        IpAddr::from([203, 0, 113, 1]),
        &mut answer,
        14,
    )
    .expect("an error about a UDP packet");
    answer.truncate(end);
    tombolo_wire::edit::write_link(&mut answer, Side::A.mac(UPLINK), Side::A.router_mac(), 0x0800, None);
    let home = lab.a.pass(UPLINK as u8, &answer, PROD as u8);
    assert_eq!(home.len(), 1, "{:?}", lab.a.drops());
    let headers = parsed(&home[0]);
    assert_eq!(ends(&headers).1, Side::A.host4(PROD, 10));
    let quoted = tombolo_wire::icmp::quoted(&home[0], &headers).expect("a quote");
    assert_eq!(
        (ends(&quoted), quoted.source_port),
        ((Side::A.host4(PROD, 10), WEB4), 1000)
    );
    lab.assert_books();
}

#[test]
fn the_far_gateways_own_address_answers_through_its_kernel() {
    let mut lab = Lab::new(TunnelKind::PLAIN);
    let echo = from_host(Side::A, PROD, Side::B.host4(PROD, 1)).echo(false, 5, b"ping");
    lab.a.arrive(0, PROD as u8, &echo);
    lab.a.run();
    lab.carry(Side::A);
    let punted = lab.b.punted(PROD as u8);
    assert_eq!(punted.len(), 1, "{:?}", lab.b.drops());
    assert_eq!(punted[0][..6], Side::B.mac(PROD));
    // The kernel's reply enters through the TAP and goes home through the tunnel.
    let kernel = Station {
        mac: [0; 6],
        ip: Side::B.host4(PROD, 1),
    };
    let reply = Trip {
        from: kernel,
        via: [0; 6],
        to: Side::A.host4(PROD, 10),
        ttl: 64,
    }
    .echo(true, 5, b"ping");
    lab.b.from_kernel(PROD as u8, &reply);
    lab.b.run();
    lab.carry(Side::B);
    assert_eq!(
        lab.a.sent(PROD as u8).len(),
        1,
        "{:?} {:?}",
        lab.a.drops(),
        lab.b.drops()
    );
    lab.assert_books();
}

#[test]
fn a_connection_of_the_gateways_own_kernel_fits_the_tunnel() {
    // The far end would let larger segments pass: what arrives is this end's doing.
    let mut far = demo(Side::A, TunnelKind::PLAIN);
    for tunnel in &mut far.tunnels {
        tunnel.mtu = 1500;
    }
    let mut lab = Lab {
        a: SimGateway::new(&far, SMALL, 1),
        ..Lab::new(TunnelKind::PLAIN)
    };
    for (v6, mss) in [(false, 1406_u16), (true, 1386)] {
        let trip = Trip {
            from: Station {
                mac: [0; 6],
                ip: if v6 {
                    Side::B.host6(PROD, 1)
                } else {
                    Side::B.host4(PROD, 1)
                },
            },
            via: [0; 6],
            to: host(Side::A, PROD, v6).ip,
            ttl: 64,
        };
        let syn = trip.tcp(179, 40_000, TcpFlags::SYN, Some(8960), b"");
        lab.b.from_kernel(PROD as u8, &syn);
        lab.b.run();
        lab.carry(Side::B);
        let arrived = lab.a.sent(PROD as u8);
        assert_eq!(arrived.len(), 1, "{:?} {:?}", lab.a.drops(), lab.b.drops());
        let option = [2, 4, (mss >> 8) as u8, mss as u8];
        assert!(arrived[0].windows(4).any(|bytes| bytes == option), "{:?}", arrived[0]);
    }
    lab.assert_books();
}

#[test]
fn for_a_peer_with_a_narrow_window_one_worker_seals_and_the_others_hand_over() {
    let mut world = demo(Side::A, TunnelKind::PLAIN);
    for sa in &mut world.sas {
        sa.flags &= !tombolo_tables::layout::sa_flag::WIDE_PEER_WINDOW;
        sa.sealing_worker = 1;
    }
    let mut a = SimGateway::new(&world, SMALL, 2);
    for number in 0..40u16 {
        let frame = from_host(Side::A, PROD, Side::B.host4(PROD, 10)).udp(number, 9, b"from both");
        a.arrive(usize::from(number % 2), PROD as u8, &frame);
    }
    a.run();
    a.run();
    let sent = a.sent(UPLINK as u8);
    let sequences: Vec<u32> = sent
        .iter()
        .map(|frame| u32::from_be_bytes([frame[38], frame[39], frame[40], frame[41]]))
        .collect();
    assert_eq!(
        sequences,
        (1..=40).collect::<Vec<_>>(),
        "one sealer, numbers in order of departure"
    );
    assert_eq!(a.counter(PROD, Counter::HandedOver), 20);
    assert_eq!(a.counter(PROD, Counter::TakenOver), 20);
    a.assert_books();
}

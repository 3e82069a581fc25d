//! Translation in hard cases: ICMP errors both ways through both kinds of NAT, hairpins, decisions taken again half way,
//! connections picked up in their middle.

use std::net::IpAddr;
use tombolo_sim::gateway::{SMALL, SimGateway};
use tombolo_sim::lab::{ends, error_about, fix_header_checksum, from_host, from_internet, parsed};
use tombolo_sim::packets::{Station, TcpFlags, Trip};
use tombolo_sim::worlds::{DEV, PROD, Side, TunnelKind, UPLINK, WEB4, add_host, demo, move_epochs, port_forward, rule};
use tombolo_tables::build::World;
use tombolo_tables::fate::DropReason;
use tombolo_tables::layout::{rule_action, segment_flag};
use tombolo_wire::icmp::{self, IcmpErrorKind};

const INSIDE_ROUTER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 0, 50));
const OUTSIDE_ROUTER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 1));

/// The demo's gateway A, whose uplink forwards port 8080 to port 80 of prod host `host`.
fn forwarding(host: u8) -> World {
    let mut world = demo(Side::A, TunnelKind::PLAIN);
    add_host(&mut world, Side::A, PROD, 11);
    let to = Side::A.host4(PROD, host);
    world.nat_rules.insert(0, port_forward(Side::A, 8080, to, 80));
    world.policy_rules.push(rule(UPLINK, PROD, rule_action::ALLOW));
    world
}

fn only(mut frames: Vec<Vec<u8>>, gateway: &SimGateway) -> Vec<u8> {
    assert_eq!(frames.len(), 1, "{:?}", gateway.drops());
    frames.remove(0)
}

fn inbound() -> (u8, [u8; 6], [u8; 6]) {
    (UPLINK as u8, Side::A.mac(UPLINK), Side::A.router_mac())
}

fn outbound() -> (u8, [u8; 6], [u8; 6]) {
    (PROD as u8, Side::A.mac(PROD), Side::A.host_mac(PROD, 10))
}

/// The error about `frame` passes the gateway; returns its own ends, and those of what it quotes with both ports.
fn told(
    a: &mut SimGateway,
    frame: &[u8],
    from: IpAddr,
    (port, destination, source): (u8, [u8; 6], [u8; 6]),
    out: u16,
) -> ((IpAddr, IpAddr), (IpAddr, IpAddr), (u16, u16)) {
    let error = error_about(frame, IcmpErrorKind::HostUnreachable, from, (destination, source));
    let passed = a.pass(port, &error, out as u8);
    let passed = only(passed, a);
    let headers = parsed(&passed);
    let quoted = icmp::quoted(&passed, &headers).expect("a quote");
    (
        ends(&headers),
        ends(&quoted),
        (quoted.source_port, quoted.destination_port),
    )
}

#[test]
fn errors_about_a_forwarded_port_are_translated_both_ways() {
    let mut a = SimGateway::new(&forwarding(10), SMALL, 1);
    let (server, outside) = (Side::A.host4(PROD, 10), Side::A.outside4());
    let syn = from_internet(Side::A, WEB4, outside).tcp(999, 8080, TcpFlags::SYN, None, b"");
    let inside = a.pass(UPLINK as u8, &syn, PROD as u8);
    let inside = only(inside, &a);
    let answer = from_host(Side::A, PROD, WEB4).tcp(80, 999, TcpFlags::SYN_ACK, None, b"");
    let seen_outside = a.pass(PROD as u8, &answer, UPLINK as u8);
    let seen_outside = only(seen_outside, &a);
    for teller in [server, INSIDE_ROUTER] {
        assert_eq!(
            told(&mut a, &inside, teller, outbound(), UPLINK),
            ((outside, WEB4), (WEB4, outside), (999, 8080)),
            "nobody of the realm inside shows outside, {teller} neither"
        );
    }
    assert_eq!(
        told(&mut a, &seen_outside, OUTSIDE_ROUTER, inbound(), PROD),
        ((OUTSIDE_ROUTER, server), (server, WEB4), (80, 999)),
        "the router that tells is known by its own address"
    );
    a.assert_books();
}

#[test]
fn errors_about_a_translated_source_are_translated_both_ways() {
    let mut world = forwarding(10);
    let mut a = SimGateway::new(&world, SMALL, 1);
    let (host, outside) = (Side::A.host4(PROD, 10), Side::A.outside4());
    let asked = from_host(Side::A, PROD, WEB4).udp(1000, 53, b"?");
    let sent = a.pass(PROD as u8, &asked, UPLINK as u8);
    let sent = only(sent, &a);
    let port = parsed(&sent).source_port;
    let reply = from_internet(Side::A, WEB4, outside).udp(53, port, b"!");
    let home = a.pass(UPLINK as u8, &reply, PROD as u8);
    let home = only(home, &a);
    assert_eq!(
        told(&mut a, &sent, OUTSIDE_ROUTER, inbound(), PROD),
        ((OUTSIDE_ROUTER, host), (host, WEB4), (1000, 53))
    );
    for teller in [host, INSIDE_ROUTER] {
        assert_eq!(
            told(&mut a, &home, teller, outbound(), UPLINK),
            ((outside, WEB4), (WEB4, outside), (53, port))
        );
    }
    // After a change no error decides for a flow: it goes nowhere, and the flow goes on as it was.
    for (frame, from, (at, destination, source), out) in [
        (&sent, OUTSIDE_ROUTER, inbound(), PROD),
        (&home, host, outbound(), UPLINK),
        (&home, INSIDE_ROUTER, outbound(), UPLINK),
    ] {
        move_epochs(&mut world);
        a.publish(&world);
        let error = error_about(frame, IcmpErrorKind::HostUnreachable, from, (destination, source));
        assert!(a.pass(at, &error, out as u8).is_empty());
        let again = a.pass(PROD as u8, &asked, UPLINK as u8);
        assert_eq!(parsed(&only(again, &a)).source_port, port);
        let back = a.pass(UPLINK as u8, &reply, PROD as u8);
        assert_eq!(parsed(&only(back, &a)).destination_port, 1000);
    }
    a.assert_books();
}

#[test]
fn a_session_counts_every_packet_of_its_flow_from_the_first() {
    let mut a = SimGateway::new(&demo(Side::A, TunnelKind::PLAIN), SMALL, 1);
    let asked = from_host(Side::A, PROD, WEB4).udp(1000, 53, b"?");
    for _ in 0..3 {
        a.pass(PROD as u8, &asked, UPLINK as u8);
    }
    let sessions = a.state().sessions4();
    let views: Vec<_> = (0..sessions.entries())
        .filter_map(|session| sessions.view(session))
        .collect();
    assert_eq!(views.len(), 1);
    assert_eq!((views[0].counters[0].packets, views[0].counters[0].bytes), (3, 87));
}

#[test]
fn an_error_with_a_wrong_checksum_or_about_nobodys_flow_goes_nowhere() {
    let mut a = SimGateway::new(&demo(Side::A, TunnelKind::PLAIN), SMALL, 1);
    let asked = from_host(Side::A, PROD, WEB4).udp(1000, 53, b"?");
    let sent = a.pass(PROD as u8, &asked, UPLINK as u8);
    let sent = only(sent, &a);
    let link = (Side::A.mac(UPLINK), Side::A.router_mac());
    let error = error_about(&sent, IcmpErrorKind::HostUnreachable, OUTSIDE_ROUTER, link);
    for place in 36..error.len() {
        let mut broken = error.clone();
        broken[place] ^= 0x10;
        assert!(a.pass(UPLINK as u8, &broken, PROD as u8).is_empty(), "byte {place}");
    }
    // Isolation holds for errors too: prod may not reach dev's gateway address.
    let aside = from_host(Side::A, PROD, Side::A.host4(DEV, 1)).icmp(3, 1, [0; 4], &sent[14..]);
    a.punted(PROD as u8);
    assert!(a.pass(PROD as u8, &aside, DEV as u8).is_empty());
    assert!(a.punted(DEV as u8).is_empty(), "{:?}", a.drops());
    a.assert_books();
}

#[test]
fn an_error_from_the_underlay_may_not_claim_to_come_from_behind_a_tunnel() {
    let mut a = SimGateway::new(&demo(Side::A, TunnelKind::PLAIN), SMALL, 1);
    let asked = from_host(Side::A, PROD, WEB4).udp(1000, 53, b"?");
    let sent = a.pass(PROD as u8, &asked, UPLINK as u8);
    let sent = only(sent, &a);
    let link = (Side::A.mac(UPLINK), Side::A.router_mac());
    let error = error_about(&sent, IcmpErrorKind::HostUnreachable, Side::B.host4(PROD, 10), link);
    assert!(a.pass(UPLINK as u8, &error, PROD as u8).is_empty());
    assert_eq!(a.drops()[&DropReason::ClearFromUnderlay], 1);
    a.assert_books();
}

#[test]
fn a_host_inside_reaches_a_forwarded_port_by_its_outside_address() {
    let mut a = SimGateway::new(&forwarding(11), SMALL, 1);
    let (server, outside) = (Side::A.host4(PROD, 11), Side::A.outside4());
    for (port, number) in [(PROD, 10u8), (DEV, 10)] {
        let syn = from_host(Side::A, port, outside).tcp(40_000, 8080, TcpFlags::SYN, None, b"");
        let inside = a.pass(port as u8, &syn, PROD as u8);
        let inside = only(inside, &a);
        let headers = parsed(&inside);
        assert_eq!(
            (ends(&headers), headers.destination_port),
            ((outside, server), 80),
            "the server answers the outside address, or the answer would not come back here (RFC 4787 REQ-9)"
        );
        assert_eq!(inside[..6], Side::A.host_mac(PROD, 11));
        let trip = Trip {
            from: Station {
                mac: Side::A.host_mac(PROD, 11),
                ip: server,
            },
            via: Side::A.mac(PROD),
            to: outside,
            ttl: 64,
        };
        let answer = trip.tcp(80, headers.source_port, TcpFlags::SYN_ACK, None, b"");
        let home = a.pass(PROD as u8, &answer, port as u8);
        let headers = parsed(&only(home, &a));
        assert_eq!(ends(&headers), (outside, Side::A.host4(port, number)));
        assert_eq!((headers.source_port, headers.destination_port), (8080, 40_000));
        let link = (PROD as u8, Side::A.mac(PROD), Side::A.host_mac(PROD, 11));
        assert_eq!(
            told(&mut a, &inside, server, link, port),
            (
                (outside, Side::A.host4(port, number)),
                (Side::A.host4(port, number), outside),
                (40_000, 8080)
            )
        );
    }
    a.assert_books();
}

/// Two hosts behind source NAT, neither with a port forward; the uplink may come in.
fn two_translated() -> World {
    let mut world = forwarding(11);
    world.nat_rules.remove(0);
    world
}

/// What prod's hosts 10 and 11 send.
fn from_prod(host: u8, to: IpAddr) -> Trip {
    let from = Station {
        mac: Side::A.host_mac(PROD, host),
        ip: Side::A.host4(PROD, host),
    };
    Trip {
        from,
        via: Side::A.mac(PROD),
        to,
        ttl: 64,
    }
}

/// The outside port that host `host` has for its `port`, from a packet to the internet.
fn outside_port(a: &mut SimGateway, host: u8, port: u16) -> u16 {
    let sent = a.pass(PROD as u8, &from_prod(host, WEB4).udp(port, 53, b"?"), UPLINK as u8);
    parsed(&only(sent, a)).source_port
}

#[test]
fn two_translated_hosts_reach_each_other_by_their_outside_endpoints() {
    let mut a = SimGateway::new(&two_translated(), SMALL, 1);
    let outside = Side::A.outside4();
    let (port10, port11) = (outside_port(&mut a, 10, 1000), outside_port(&mut a, 11, 2000));
    let asked = a.pass(
        PROD as u8,
        &from_prod(10, outside).udp(1000, port11, b"hello"),
        PROD as u8,
    );
    let asked = only(asked, &a);
    let headers = parsed(&asked);
    assert_eq!(ends(&headers), (outside, Side::A.host4(PROD, 11)));
    assert_eq!((headers.source_port, headers.destination_port), (port10, 2000));
    assert_eq!(asked[..6], Side::A.host_mac(PROD, 11));
    let answered = a.pass(
        PROD as u8,
        &from_prod(11, outside).udp(2000, port10, b"hello"),
        PROD as u8,
    );
    let headers = parsed(&only(answered, &a));
    assert_eq!(ends(&headers), (outside, Side::A.host4(PROD, 10)));
    assert_eq!((headers.source_port, headers.destination_port), (port11, 1000));
    // Of TCP there is no mapping, and an endpoint that nobody has is the gateway's: dropped as no flow of it.
    a.pass(
        PROD as u8,
        &from_prod(10, outside).tcp(1, port11, TcpFlags::SYN, None, b""),
        PROD as u8,
    );
    assert_eq!(a.drops()[&DropReason::StateInvalid], 1);
    // To its own outside endpoint there is nothing to say.
    assert!(
        a.pass(PROD as u8, &from_prod(10, outside).udp(1000, port10, b"me"), PROD as u8)
            .is_empty()
    );
    assert_eq!(a.drops()[&DropReason::StateInvalid], 2);
    a.assert_books();
}

#[test]
fn a_translated_host_is_reached_by_rule_only_and_from_outside_not_at_all() {
    for removed in [(PROD, UPLINK), (UPLINK, PROD)] {
        let mut world = two_translated();
        let mut a = SimGateway::new(&world, SMALL, 1);
        let port11 = outside_port(&mut a, 11, 2000);
        let from_web = from_internet(Side::A, WEB4, Side::A.outside4()).udp(999, port11, b"?");
        assert!(
            a.pass(UPLINK as u8, &from_web, PROD as u8).is_empty(),
            "no flow of that host's"
        );
        assert_eq!(a.drops()[&DropReason::StateInvalid], 1);
        world.policy_rules.retain(|rule| (rule.from, rule.to) != removed);
        move_epochs(&mut world);
        a.publish(&world);
        let asked = from_prod(10, Side::A.outside4()).udp(1000, port11, b"hello");
        assert!(a.pass(PROD as u8, &asked, PROD as u8).is_empty());
        assert_eq!(a.drops()[&DropReason::PolicyDefaultDeny], 1);
        a.assert_books();
    }
}

#[test]
fn a_hairpin_needs_the_rules_of_both_ways() {
    for removed in [(PROD, UPLINK), (UPLINK, PROD)] {
        let mut world = forwarding(11);
        world.policy_rules.retain(|rule| (rule.from, rule.to) != removed);
        let mut a = SimGateway::new(&world, SMALL, 1);
        let syn = from_host(Side::A, PROD, Side::A.outside4()).tcp(40_000, 8080, TcpFlags::SYN, None, b"");
        assert!(a.pass(PROD as u8, &syn, PROD as u8).is_empty());
        assert_eq!(a.drops()[&DropReason::PolicyDefaultDeny], 1);
        a.assert_books();
    }
    let mut untranslated = forwarding(11);
    untranslated.nat_rules.truncate(1);
    let mut a = SimGateway::new(&untranslated, SMALL, 1);
    let syn = from_host(Side::A, PROD, Side::A.outside4()).tcp(40_000, 8080, TcpFlags::SYN, None, b"");
    assert!(a.pass(PROD as u8, &syn, PROD as u8).is_empty());
    assert_eq!(a.drops()[&DropReason::NatUntranslatable], 1);
}

#[test]
fn a_reply_of_a_flow_that_changed_under_it_is_nobodys() {
    let syn = from_internet(Side::A, WEB4, Side::A.outside4()).tcp(999, 8080, TcpFlags::SYN, None, b"");
    let answer = from_host(Side::A, PROD, WEB4).tcp(80, 999, TcpFlags::ACK, None, b"old host");
    let mut elsewhere = forwarding(11);
    move_epochs(&mut elsewhere);
    let mut nowhere = forwarding(10);
    nowhere.nat_rules.remove(0);
    move_epochs(&mut nowhere);
    for changed in [elsewhere, nowhere] {
        let mut a = SimGateway::new(&forwarding(10), SMALL, 1);
        assert_eq!(a.pass(UPLINK as u8, &syn, PROD as u8).len(), 1);
        a.publish(&changed);
        for _ in 0..2 {
            assert!(a.pass(PROD as u8, &answer, UPLINK as u8).is_empty());
        }
        assert!(a.punted(UPLINK as u8).is_empty(), "the kernel is not its receiver");
        assert_eq!(a.drops()[&DropReason::StateInvalid], 2);
        a.assert_books();
    }
}

#[test]
fn tcp_is_picked_up_in_its_middle_only_where_nothing_is_translated() {
    let mut a = SimGateway::new(&demo(Side::A, TunnelKind::PLAIN), SMALL, 1);
    let far = from_host(Side::A, PROD, Side::B.host4(PROD, 10));
    for flags in [TcpFlags::FIN, TcpFlags::RST, TcpFlags::SYN_ACK] {
        assert!(
            a.pass(PROD as u8, &far.tcp(1, 80, flags, None, b""), UPLINK as u8)
                .is_empty()
        );
    }
    assert_eq!(a.drops()[&DropReason::StateInvalid], 3);
    let middle = far.tcp(1, 80, TcpFlags::ACK, None, b"data");
    assert_eq!(a.pass(PROD as u8, &middle, UPLINK as u8).len(), 1);
    let out = from_host(Side::A, PROD, WEB4);
    for flags in [TcpFlags::ACK, TcpFlags::FIN, TcpFlags::RST, TcpFlags::SYN_ACK] {
        assert!(
            a.pass(PROD as u8, &out.tcp(1, 80, flags, None, b""), UPLINK as u8)
                .is_empty()
        );
    }
    assert_eq!(a.drops()[&DropReason::StateInvalid], 7);
    a.assert_books();
}

#[test]
fn what_has_no_port_to_tell_flows_apart_does_not_leave_a_translated_realm() {
    let mut a = SimGateway::new(&demo(Side::A, TunnelKind::PLAIN), SMALL, 1);
    let out = from_host(Side::A, PROD, WEB4);
    assert!(
        a.pass(PROD as u8, &out.icmp(13, 0, [0; 4], &[0; 12]), UPLINK as u8)
            .is_empty(),
        "a timestamp request"
    );
    let mut gre = out.udp(1, 2, b"not UDP at all");
    gre[23] = 47;
    fix_header_checksum(&mut gre);
    assert!(a.pass(PROD as u8, &gre, UPLINK as u8).is_empty());
    assert_eq!(a.drops()[&DropReason::NatUntranslatable], 2);
    for flags in [0x20, 0x00] {
        let mut piece = out.udp(1, 2, &[1; 64]);
        piece[20] = flags;
        piece[21] = if flags == 0 { 9 } else { 0 };
        fix_header_checksum(&mut piece);
        assert!(a.pass(PROD as u8, &piece, UPLINK as u8).is_empty());
    }
    assert_eq!(a.drops()[&DropReason::FragmentNeedsPorts], 2);
    a.assert_books();
}

#[test]
fn a_stateless_segment_forwards_by_policy_and_route_alone() {
    let mut world = demo(Side::A, TunnelKind::PLAIN);
    world.segments[usize::from(PROD)].flags |= segment_flag::STATELESS;
    let mut a = SimGateway::new(&world, SMALL, 1);
    let far = from_host(Side::A, PROD, Side::B.host4(PROD, 10));
    for flags in [TcpFlags::SYN_ACK, TcpFlags::FIN, TcpFlags::RST, TcpFlags::ACK] {
        let segment = far.tcp(1, 80, flags, None, b"");
        assert_eq!(
            a.pass(PROD as u8, &segment, UPLINK as u8).len(),
            1,
            "no state, nothing to be wrong"
        );
    }
    let mut later = far.udp(1, 2, &[1; 64]);
    later[21] = 9;
    fix_header_checksum(&mut later);
    assert_eq!(a.pass(PROD as u8, &later, UPLINK as u8).len(), 1);
    let sessions = a.state().sessions4();
    assert!((0..sessions.entries()).all(|session| sessions.view(session).is_none()));
    let aside = from_host(Side::A, PROD, Side::A.host4(DEV, 10)).udp(1, 2, b"");
    assert!(a.pass(PROD as u8, &aside, DEV as u8).is_empty());
    assert_eq!(a.drops()[&DropReason::PolicyDefaultDeny], 1);
    let out = from_host(Side::A, PROD, WEB4).udp(1, 2, b"");
    assert!(a.pass(PROD as u8, &out, UPLINK as u8).is_empty());
    assert_eq!(
        a.drops()[&DropReason::NatUntranslatable],
        1,
        "no translation without state"
    );
    a.assert_books();
}

#[test]
fn errors_of_the_gateway_are_limited_in_rate() {
    let mut a = SimGateway::new(&demo(Side::A, TunnelKind::PLAIN), SMALL, 1);
    let mut trip = from_host(Side::A, PROD, Side::B.host4(PROD, 10));
    trip.ttl = 1;
    let expired = trip.udp(1, 33434, b"traceroute");
    let flood = |a: &mut SimGateway| {
        for _ in 0..1000 {
            a.arrive(0, PROD as u8, &expired);
        }
        a.run();
        a.sent(PROD as u8).len()
    };
    assert_eq!(flood(&mut a), 100, "a tenth of a second's worth");
    assert_eq!(flood(&mut a), 0);
    a.sleep(50);
    assert_eq!(flood(&mut a), 50);
    a.sleep(60_000);
    assert_eq!(flood(&mut a), 100, "saved up for no longer");
    assert_eq!(a.drops()[&DropReason::TtlExpired], 4000);
    a.assert_books();
}

#[test]
fn the_gateways_own_kernel_is_told_what_does_not_fit() {
    let mut a = SimGateway::new(&demo(Side::A, TunnelKind::PLAIN), SMALL, 1);
    let trip = Trip {
        from: Station {
            mac: Side::A.mac(PROD),
            ip: Side::A.host4(PROD, 1),
        },
        via: [0; 6],
        to: Side::B.host4(PROD, 10),
        ttl: 64,
    };
    let mut large = trip.udp(1, 2, &[7; 1460]);
    large[20] = 0x40;
    fix_header_checksum(&mut large);
    a.from_kernel(PROD as u8, &large);
    a.run();
    assert!(
        a.sent(PROD as u8).is_empty(),
        "nobody on the wire is meant: {:?}",
        a.drops()
    );
    let punted = a.punted(PROD as u8);
    let told = only(punted, &a);
    let headers = parsed(&told);
    assert_eq!(ends(&headers), (Side::B.host4(PROD, 10), Side::A.host4(PROD, 1)));
    assert_eq!(icmp::quoted_mtu(&told, &headers), Some(1446));
    assert_eq!(told[..6], Side::A.mac(PROD));
    a.assert_books();
}

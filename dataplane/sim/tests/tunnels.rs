//! What a tunnel does to the edges of a packet: congestion marks, the path's MTU, and who is believed about it.

use tombolo_sim::gateway::{SMALL, SimGateway};
use tombolo_sim::lab::{Lab, ends, fix_header_checksum, from_host, from_internet, host, parsed, sealed_by};
use tombolo_sim::packets::Trip;
use tombolo_sim::worlds::{DEV, PROD, Side, TunnelKind, UPLINK, demo};
use tombolo_tables::fate::DropReason;
use tombolo_tables::layout::{port_flag, sa_flag, tunnel_flag};
use tombolo_wire::icmp;
use tombolo_wire::mtu::{AEAD, Outer, esp_inner_mtu};

const UDP: TunnelKind = TunnelKind {
    udp: true,
    ..TunnelKind::PLAIN
};

fn with_tos(mut frame: Vec<u8>, tos: u8) -> Vec<u8> {
    if frame[14] >> 4 == 6 {
        frame[14] = 0x60 | tos >> 4;
        frame[15] = frame[15] & 0x0f | tos << 4;
    } else {
        frame[15] = tos;
        fix_header_checksum(&mut frame);
    }
    frame
}

#[test]
fn congestion_marks_travel_as_rfc_6040_says_and_the_class_of_service_is_the_senders() {
    const NOT: u8 = 0;
    const ECT1: u8 = 1;
    const ECT0: u8 = 2;
    const CE: u8 = 3;
    // RFC 6040 figure 4: by inner and outer mark as they arrive; none = drop.
    let table: [(u8, [Option<u8>; 4]); 4] = [
        (NOT, [Some(NOT), Some(NOT), Some(NOT), None]),
        (ECT1, [Some(ECT1), Some(ECT1), Some(ECT1), Some(CE)]),
        (ECT0, [Some(ECT0), Some(ECT1), Some(ECT0), Some(CE)]),
        (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
    ];
    for v6 in [false, true] {
        let mut lab = Lab::new(TunnelKind::PLAIN);
        for (inner, marks) in table {
            for (outer, expected) in marks.into_iter().enumerate() {
                let to = host(Side::B, PROD, v6).ip;
                let frame = with_tos(from_host(Side::A, PROD, to).udp(1, 2, b"marked"), 0xb8 | inner);
                let mut sealed = lab.a.pass(PROD as u8, &frame, UPLINK as u8).remove(0);
                assert_eq!(parsed(&sealed).tos, 0xb8 | inner, "normal mode copies the mark out");
                sealed[..6].copy_from_slice(&Side::B.mac(UPLINK));
                let sealed = with_tos(sealed, 0x28 | outer as u8);
                let arrived = lab.b.pass(UPLINK as u8, &sealed, PROD as u8);
                let seen = arrived.first().map(|frame| parsed(frame).tos);
                assert_eq!(
                    seen,
                    expected.map(|mark| 0xb8 | mark),
                    "inner {inner:02b} outer {outer:02b}"
                );
            }
        }
        assert_eq!(lab.b.drops()[&DropReason::EcnNotCapable], 1);
        lab.assert_books();
    }
}

fn internet_to_us() -> Trip {
    from_internet(Side::A, [203, 0, 113, 1].into(), Side::A.outside4())
}

/// A router says that `sealed` needs `mtu`; it quotes `length` bytes of the packet.
fn needs(trip: Trip, sealed: &[u8], mtu: u16, length: usize) -> Vec<u8> {
    let quote = &sealed[14..sealed.len().min(14 + length)];
    trip.icmp(3, 4, [0, 0, (mtu >> 8) as u8, mtu as u8], quote)
}

fn sealed(a: &mut SimGateway) -> Vec<u8> {
    let frame = from_host(Side::A, PROD, Side::B.host4(PROD, 10)).udp(1, 2, b"probe");
    a.pass(PROD as u8, &frame, UPLINK as u8).remove(0)
}

/// The MTU that a host in prod is told for the other cloud.
fn told_mtu(a: &mut SimGateway) -> Option<u32> {
    let mut large = from_host(Side::A, PROD, Side::B.host4(PROD, 10)).udp(1, 2, &[0; 1460]);
    large[20] = 0x40;
    fix_header_checksum(&mut large);
    let errors = a.pass(PROD as u8, &large, PROD as u8);
    icmp::quoted_mtu(&errors[0], &parsed(&errors[0]))
}

fn inner(mtu: u16, udp: bool) -> Option<u32> {
    Some(esp_inner_mtu(Outer { mtu, v6: false, udp }, AEAD).into())
}

#[test]
fn a_narrow_path_lowers_the_tunnels_mtu_if_the_message_quotes_a_live_sa() {
    for (kind, quoted) in [(TunnelKind::PLAIN, 28), (UDP, 28), (UDP, 200)] {
        let mut a = SimGateway::new(&demo(Side::A, kind), SMALL, 1);
        let outer = sealed(&mut a);
        let configured = told_mtu(&mut a);
        assert_eq!(
            a.pass(
                UPLINK as u8,
                &needs(internet_to_us(), &outer, 1400, quoted),
                UPLINK as u8
            ),
            Vec::<Vec<u8>>::new()
        );
        assert_eq!(
            told_mtu(&mut a),
            inner(1400, kind.udp),
            "{kind:?} by {quoted} quoted bytes; before it was {configured:?}"
        );
        assert_eq!(
            a.punted(UPLINK as u8).len(),
            1,
            "the kernel learns for its own sockets too"
        );
        a.arrive(0, UPLINK as u8, &needs(internet_to_us(), &outer, 1450, quoted));
        a.run();
        assert_eq!(told_mtu(&mut a), inner(1400, kind.udp), "never raised by a message");
        a.arrive(0, UPLINK as u8, &needs(internet_to_us(), &outer, 1, quoted));
        a.run();
        assert_eq!(told_mtu(&mut a), inner(576, kind.udp), "down to a floor");
        a.assert_books();
    }
}

#[test]
fn nobody_else_lowers_a_tunnels_mtu() {
    for kind in [TunnelKind::PLAIN, UDP] {
        let mut a = SimGateway::new(&demo(Side::A, kind), SMALL, 1);
        let outer = sealed(&mut a);
        let configured = told_mtu(&mut a);
        let good = needs(internet_to_us(), &outer, 1400, 200);
        let mut forged = Vec::new();
        // Another SPI, another peer, other ports, a wrong checksum.
        let spi = if kind.udp { 14 + 28 } else { 14 + 20 };
        for place in [spi, 14 + 19, 14 + 15] {
            let mut about = outer.clone();
            about[place] ^= 1;
            forged.push(needs(internet_to_us(), &about, 1400, 200));
        }
        if kind.udp {
            let mut about = outer.clone();
            about[14 + 23] ^= 1;
            forged.push(needs(internet_to_us(), &about, 1400, 28));
        }
        let mut corrupt = good.clone();
        corrupt[36] ^= 1;
        forged.push(corrupt);
        for frame in &forged {
            a.arrive(0, UPLINK as u8, frame);
        }
        // From a host inside, who may know the SPI but is no router of the underlay.
        for port in [PROD, DEV] {
            let trip = from_host(Side::A, port, Side::A.outside4());
            a.arrive(0, port as u8, &needs(trip, &outer, 1400, 200));
        }
        a.run();
        assert_eq!(told_mtu(&mut a), configured, "{kind:?}");
        a.arrive(0, UPLINK as u8, &good);
        a.run();
        assert_ne!(told_mtu(&mut a), configured, "the control: the true one is believed");
        a.assert_books();
    }
}

#[test]
fn in_clear_from_an_underlay_of_the_same_segment_nobody_joins_a_tunnels_flow() {
    let mut world = demo(Side::A, TunnelKind::PLAIN);
    world.ports[usize::from(PROD)].flags |= port_flag::UNDERLAY;
    let mut lab = Lab::new(TunnelKind::PLAIN);
    lab.a = SimGateway::new(&world, SMALL, 1);
    let question = from_host(Side::B, PROD, Side::A.host4(PROD, 10)).udp(7, 8, b"through the tunnel");
    lab.b.arrive(0, PROD as u8, &question);
    lab.b.run();
    lab.carry(Side::B);
    assert_eq!(lab.a.sent(PROD as u8).len(), 1, "{:?}", lab.a.drops());
    let mut forged = question.clone();
    forged[..6].copy_from_slice(&Side::A.mac(PROD));
    forged[6..12].copy_from_slice(&Side::A.host_mac(PROD, 66));
    assert!(lab.a.pass(PROD as u8, &forged, PROD as u8).is_empty());
    assert_eq!(lab.a.drops()[&DropReason::ClearFromUnderlay], 1);
    lab.assert_books();
}

#[test]
fn what_may_not_be_forwarded_may_not_come_out_of_a_tunnel_either() {
    let mut lab = Lab::new(TunnelKind::PLAIN);
    // An honest gateway does not let it in; a peer that keeps no rules seals it.
    let mut frame = from_host(Side::A, PROD, Side::B.host4(PROD, 10)).udp(1, 2, b"x");
    frame[30..34].copy_from_slice(&[224, 0, 0, 9]);
    fix_header_checksum(&mut frame);
    assert!(lab.a.pass(PROD as u8, &frame, UPLINK as u8).is_empty());
    assert_eq!(lab.a.drops()[&DropReason::AddressInvalid], 1);
    let sealed = sealed_by(Side::A, PROD, 9, &frame[14..]);
    assert!(lab.b.pass(UPLINK as u8, &sealed, PROD as u8).is_empty());
    assert_eq!(lab.b.drops()[&DropReason::AddressInvalid], 1, "{:?}", lab.b.drops());
    let good = from_host(Side::A, PROD, Side::B.host4(PROD, 10)).udp(1, 2, b"x");
    let sealed = sealed_by(Side::A, PROD, 10, &good[14..]);
    let arrived = lab.b.pass(UPLINK as u8, &sealed, PROD as u8);
    assert_eq!(arrived.len(), 1, "the control: {:?}", lab.b.drops());
    assert_eq!(ends(&parsed(&arrived[0])).1, Side::B.host4(PROD, 10));
    lab.assert_books();
}

#[test]
fn a_narrow_path_under_an_outer_ipv6_lowers_the_mtu_down_to_its_floor() {
    for udp in [false, true] {
        let kind = TunnelKind {
            v6: true,
            udp,
            ..TunnelKind::PLAIN
        };
        let mut a = SimGateway::new(&demo(Side::A, kind), SMALL, 1);
        let outer = sealed(&mut a);
        let router = "2001:db8:f::1".parse().expect("an address");
        let trip = from_internet(Side::A, router, Side::A.outside6());
        for (mtu, believed) in [(1400u16, 1400), (600, 1280)] {
            let told = trip.icmp(2, 0, [0, 0, (mtu >> 8) as u8, mtu as u8], &outer[14..]);
            a.arrive(0, UPLINK as u8, &told);
            a.run();
            let expected = esp_inner_mtu(
                Outer {
                    mtu: believed,
                    v6: true,
                    udp,
                },
                AEAD,
            );
            assert_eq!(told_mtu(&mut a), Some(expected.into()), "UDP {udp}");
        }
        a.assert_books();
    }
}

/// RFC 7296 §2.23: a peer may encapsulate at any time. Keys by hand say how, and then nothing else is taken.
#[test]
fn what_was_negotiated_is_taken_in_udp_and_without() {
    for (negotiated, lane, udp) in (0..8).map(|bits| (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0)) {
        let here = TunnelKind {
            udp,
            ..TunnelKind::PLAIN
        };
        let there = TunnelKind {
            udp: !udp,
            ..TunnelKind::PLAIN
        };
        let mut world = demo(Side::A, here);
        world.capture = if lane { 0 } else { 1 << 63 };
        for sa in world.sas.iter_mut().filter(|_| negotiated) {
            sa.flags |= sa_flag::NEGOTIATED;
        }
        for tunnel in &mut world.tunnels {
            tunnel.flags |= if udp { tunnel_flag::FOLLOWS } else { 0 };
        }
        let mut lab = Lab {
            a: SimGateway::new(&world, SMALL, 1),
            b: SimGateway::new(&demo(Side::B, there), SMALL, 1),
        };
        for v6 in [false, true] {
            let to = host(Side::A, PROD, v6).ip;
            lab.b
                .arrive(0, PROD as u8, &from_host(Side::B, PROD, to).udp(1, 2, b"otherwise"));
        }
        lab.b.run();
        assert_eq!(lab.carry(Side::B).len(), 2);
        let arrived = lab.a.sent(PROD as u8).len();
        assert_eq!(
            arrived,
            if negotiated { 2 } else { 0 },
            "negotiated {negotiated}, lane {lane}, udp {udp}"
        );
        // What goes back is as it was agreed, and where it was agreed.
        let back = sealed(&mut lab.a);
        assert_eq!(back[23], if udp { 17 } else { 50 });
        assert_eq!(ends(&parsed(&back)).1, Side::B.outside4());
        if udp {
            assert_eq!(parsed(&back).destination_port, 4500);
        }
        lab.assert_books();
    }
}

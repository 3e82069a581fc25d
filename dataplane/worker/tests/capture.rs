//! Capturing: what a person sees of packets at the four places of the journey, with their fates; and nothing unasked.

use tombolo_sim::gateway::{SMALL, SimGateway};
use tombolo_sim::packets::{Station, Trip};
use tombolo_sim::worlds::{DEV, PROD, Side, TunnelKind, UPLINK, WEB4, demo};
use tombolo_tables::build::World;
use tombolo_tables::capture::{CAPTURE_CAPACITY, CaptureReader, CaptureStage, Captured, Direction};
use tombolo_tables::fate::{DropReason, Fate, PuntReason};
use tombolo_tables::layout::{neighbour_state, sa_flag};
use tombolo_wire::parse_frame;

const WIRE: CaptureStage = CaptureStage::Wire;
const INNER: CaptureStage = CaptureStage::Inner;

/// A gateway in whose world the named ports are captured, and readers of all its workers' rings.
struct Watched {
    gateway: SimGateway,
    readers: Vec<CaptureReader<'static>>,
}

impl Watched {
    fn new(world: World, ports: &[u16], workers: usize) -> Watched {
        let world = capturing(world, ports);
        let gateway = SimGateway::new(&world, SMALL, workers);
        let state = gateway.state().region();
        let reader = |worker| CaptureReader::new(state, worker).expect("every worker has a ring");
        let readers = (0..workers).map(reader).collect();
        Watched { gateway, readers }
    }

    fn side(side: Side, ports: &[u16]) -> Watched {
        Watched::new(demo(side, TunnelKind::PLAIN), ports, 1)
    }

    /// Everything captured so far, worker by worker.
    fn seen(&mut self) -> Vec<Captured> {
        self.readers
            .iter_mut()
            .flat_map(|reader| std::iter::from_fn(|| reader.pop()))
            .collect()
    }

    fn pass(&mut self, port: u16, frame: &[u8]) -> Vec<Captured> {
        self.gateway.arrive(0, port as u8, frame);
        self.gateway.run();
        self.seen()
    }
}

fn capturing(mut world: World, ports: &[u16]) -> World {
    world.capture = ports.iter().map(|port| 1 << port).sum();
    world
}

fn from_host(side: Side, port: u16, to: std::net::IpAddr) -> Trip {
    let ip = if to.is_ipv6() {
        side.host6(port, 10)
    } else {
        side.host4(port, 10)
    };
    Trip {
        from: Station {
            mac: side.host_mac(port, 10),
            ip,
        },
        via: side.mac(port),
        to,
        ttl: 64,
    }
}

/// Port, direction, stage and fate of each.
fn told(seen: &[Captured]) -> Vec<(u16, Direction, CaptureStage, Option<Fate>)> {
    let tell = |captured: &Captured| {
        let header = &captured.header;
        (header.port.0, header.direction, header.stage, header.fate)
    };
    seen.iter().map(tell).collect()
}

const SENT: Option<Fate> = Some(Fate::Send);

#[test]
fn a_packet_is_seen_before_and_after_encryption_on_both_gateways() {
    for v6 in [false, true] {
        let (mut a, mut b) = (
            Watched::side(Side::A, &[PROD, UPLINK]),
            Watched::side(Side::B, &[PROD, UPLINK]),
        );
        let to = if v6 {
            Side::B.host6(PROD, 10)
        } else {
            Side::B.host4(PROD, 10)
        };
        let frame = from_host(Side::A, PROD, to).udp(1000, 2000, b"canary");
        let seen = a.pass(PROD, &frame);
        let expected = [
            (PROD, Direction::In, WIRE, SENT),
            (UPLINK, Direction::Out, INNER, SENT),
            (UPLINK, Direction::Out, WIRE, SENT),
        ];
        assert_eq!(told(&seen), expected);
        assert_eq!(seen[0].bytes, frame, "as it came in");
        assert!(
            parse_frame(&seen[1].bytes).is_ok(),
            "the inner packet has a link header that fits"
        );
        assert!(seen[1].bytes.ends_with(b"canary"), "before encryption");
        let mut outer = a.gateway.sent(UPLINK as u8).remove(0);
        assert_eq!(seen[2].bytes, outer, "as it went out");
        assert!(!outer.windows(6).any(|bytes| bytes == b"canary"));

        outer[..6].copy_from_slice(&Side::B.mac(UPLINK));
        let seen = b.pass(UPLINK, &outer);
        let expected = [
            (UPLINK, Direction::In, WIRE, SENT),
            (UPLINK, Direction::In, INNER, SENT),
            (PROD, Direction::Out, WIRE, SENT),
        ];
        assert_eq!(told(&seen), expected);
        assert_eq!(seen[0].bytes, outer);
        assert!(parse_frame(&seen[1].bytes).is_ok());
        assert!(seen[1].bytes.ends_with(b"canary"), "after encryption");
        assert_eq!(vec![seen[2].bytes.clone()], b.gateway.sent(PROD as u8));
        for captured in &seen {
            assert_eq!(captured.header.length as usize, captured.bytes.len());
            assert_eq!(captured.header.time_ns, 1_000_000 * 1_000_000, "the batch's time");
        }
        a.gateway.assert_books();
        b.gateway.assert_books();
    }
}

#[test]
fn every_way_to_end_is_told() {
    let mut a = Watched::side(Side::A, &[PROD, DEV]);
    let good = from_host(Side::A, PROD, WEB4).udp(1000, 53, b"x");
    let mut checksum = good.clone();
    checksum[24] ^= 1;
    let mut tampered_mac = good.clone();
    tampered_mac[0] = 6;
    let mut expired = from_host(Side::A, PROD, WEB4);
    expired.ttl = 1;
    let drop = |reason| Some(Fate::Drop(reason));
    let cases = [
        (good.clone(), SENT),
        (good[..9].to_vec(), drop(DropReason::EthernetTruncated)),
        (checksum, drop(DropReason::IpChecksum)),
        (tampered_mac, drop(DropReason::WrongMac)),
        (
            from_host(Side::A, PROD, Side::A.host4(DEV, 10)).udp(1, 2, b""),
            drop(DropReason::PolicyDefaultDeny),
        ),
        (
            from_host(Side::A, PROD, Side::A.host4(PROD, 1)).echo(false, 7, b""),
            Some(Fate::Punt(PuntReason::Local)),
        ),
        (
            from_host(Side::A, PROD, Side::A.host4(PROD, 99)).udp(1, 2, b""),
            Some(Fate::Hold),
        ),
    ];
    for (frame, fate) in &cases {
        let seen = a.pass(PROD, frame);
        assert_eq!(told(&seen), [(PROD, Direction::In, WIRE, *fate)]);
        assert_eq!(seen[0].bytes, *frame);
    }
    let seen = a.pass(PROD, &expired.udp(1, 2, b""));
    let expected = [
        (PROD, Direction::In, WIRE, drop(DropReason::TtlExpired)),
        (PROD, Direction::Out, WIRE, SENT),
    ];
    assert_eq!(
        told(&seen),
        expected,
        "the error that the gateway makes is seen as it leaves"
    );
    // What is held gives up in time.
    a.gateway.sleep(4_000);
    a.gateway.run();
    a.gateway.assert_books();
}

#[test]
fn in_a_whole_batch_each_packet_keeps_its_own_fate() {
    let mut a = Watched::side(Side::A, &[PROD]);
    // Every third is damaged, every third is for the tunnel (a frame changes hands), every third is denied.
    for number in 0..60u16 {
        let to = if number % 3 == 1 {
            Side::B.host4(PROD, 10)
        } else {
            Side::A.host4(DEV, 10)
        };
        let mut frame = from_host(Side::A, PROD, to).udp(number, 9, &number.to_be_bytes());
        if number % 3 == 0 {
            frame[24] ^= 1;
        }
        a.gateway.arrive(0, PROD as u8, &frame);
    }
    a.gateway.run();
    let seen = a.seen();
    assert_eq!(seen.len(), 60);
    for (number, captured) in (0..60u16).zip(&seen) {
        assert!(captured.bytes.ends_with(&number.to_be_bytes()));
        let fate = match number % 3 {
            0 => Fate::Drop(DropReason::IpChecksum),
            1 => Fate::Send,
            _ => Fate::Drop(DropReason::PolicyDefaultDeny),
        };
        assert_eq!(captured.header.fate, Some(fate), "packet {number}");
    }
    a.gateway.assert_books();
}

#[test]
fn a_held_packet_is_seen_when_it_leaves() {
    let mut world = demo(Side::A, TunnelKind::PLAIN);
    world.neighbours[0].state = neighbour_state::UNRESOLVED;
    let mut a = Watched::new(world.clone(), &[PROD, UPLINK], 1);
    let seen = a.pass(PROD, &from_host(Side::A, PROD, WEB4).udp(1000, 53, b"x"));
    assert_eq!(told(&seen), [(PROD, Direction::In, WIRE, Some(Fate::Hold))]);
    world.neighbours[0].state = neighbour_state::REACHABLE;
    a.gateway.publish(&capturing(world, &[PROD, UPLINK]));
    a.gateway.run();
    let seen = a.seen();
    assert_eq!(told(&seen), [(UPLINK, Direction::Out, WIRE, SENT)]);
    assert_eq!(vec![seen[0].bytes.clone()], a.gateway.sent(UPLINK as u8));
}

#[test]
fn only_named_ports_are_seen_and_only_while_they_are_named() {
    let frame = from_host(Side::A, PROD, WEB4).udp(1000, 53, b"x");
    let world = demo(Side::A, TunnelKind::PLAIN);
    let mut a = Watched::new(world.clone(), &[], 1);
    assert!(a.pass(PROD, &frame).is_empty());
    a.gateway.publish(&capturing(world.clone(), &[UPLINK]));
    assert_eq!(told(&a.pass(PROD, &frame)), [(UPLINK, Direction::Out, WIRE, SENT)]);
    a.gateway.publish(&capturing(world.clone(), &[DEV]));
    assert!(a.pass(PROD, &frame).is_empty());
    a.gateway.publish(&world);
    assert!(a.pass(PROD, &frame).is_empty());
}

#[test]
fn a_handed_over_packet_is_seen_once_in_clear_by_its_sealer() {
    let mut world = demo(Side::A, TunnelKind::PLAIN);
    for sa in &mut world.sas {
        sa.flags &= !sa_flag::WIDE_PEER_WINDOW;
        sa.sealing_worker = 1;
    }
    let mut a = Watched::new(world, &[PROD, UPLINK], 2);
    let frame = from_host(Side::A, PROD, Side::B.host4(PROD, 10)).udp(1, 9, b"canary");
    let seen = a.pass(PROD, &frame);
    let expected = [
        (PROD, Direction::In, WIRE, Some(Fate::HandOver)),
        (UPLINK, Direction::Out, INNER, SENT),
        (UPLINK, Direction::Out, WIRE, SENT),
    ];
    assert_eq!(told(&seen), expected);
    a.gateway.assert_books();
}

#[test]
fn a_reader_that_sleeps_costs_copies_and_no_packet() {
    let mut a = Watched::side(Side::A, &[PROD]);
    for round in 0..16 {
        for number in 0..50 {
            let frame = from_host(Side::A, PROD, WEB4).udp(round * 100 + number, 53, &[0; 1200]);
            a.gateway.arrive(0, PROD as u8, &frame);
        }
        a.gateway.run();
    }
    assert_eq!(a.gateway.sent(UPLINK as u8).len(), 800);
    assert_eq!(a.seen().len(), CAPTURE_CAPACITY);
    assert_eq!(a.readers[0].dropped(), 800 - CAPTURE_CAPACITY as u64);
    a.gateway.assert_books();
}

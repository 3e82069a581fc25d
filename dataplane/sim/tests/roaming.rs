//! A peer behind a NAT whose address or port changes is followed by authentic packets alone (RFC 7296 §2.23), with the express
//! lane and without.

use std::collections::BTreeMap;
use std::net::IpAddr;
use tombolo_sim::gateway::{SMALL, SimGateway};
use tombolo_sim::lab::{Lab, ends, fix_header_checksum, from_host, parsed};
use tombolo_sim::worlds::{PROD, Side, TunnelKind, UPLINK, demo};
use tombolo_tables::build::World;
use tombolo_tables::layout::tunnel_flag;

/// A port that does not exist: nothing is copied, and yet somebody captures, so everything takes the general journey.
const CAPTURE_NOTHING: u64 = 1 << 63;
const LANES: [bool; 2] = [true, false];
const KIND: TunnelKind = TunnelKind {
    udp: true,
    ..TunnelKind::PLAIN
};

fn lab(lane: bool, follows: bool) -> Lab {
    let world = |side| -> World {
        let mut world = demo(side, KIND);
        world.capture = if lane { 0 } else { CAPTURE_NOTHING };
        for tunnel in &mut world.tunnels {
            tunnel.flags |= if follows { tunnel_flag::FOLLOWS } else { 0 };
        }
        world
    };
    Lab {
        a: SimGateway::new(&world(Side::A), SMALL, 1),
        b: SimGateway::new(&demo(Side::B, KIND), SMALL, 1),
    }
}

/// `count` packets as gateway B seals them, on their way to A.
fn sealed(lab: &mut Lab, count: u16) -> Vec<Vec<u8>> {
    for number in 0..count {
        let frame = from_host(Side::B, PROD, Side::A.host4(PROD, 10)).udp(number, 2, b"x");
        lab.b.arrive(0, PROD as u8, &frame);
    }
    lab.b.run();
    let mut sent = lab.b.sent(UPLINK as u8);
    for frame in &mut sent {
        frame[..6].copy_from_slice(&Side::A.mac(UPLINK));
        frame[6..12].copy_from_slice(&Side::A.router_mac());
    }
    sent
}

/// As the NAT rewrites it.
fn from(mut frame: Vec<u8>, address: [u8; 4], port: u16) -> Vec<u8> {
    frame[26..30].copy_from_slice(&address);
    frame[34..36].copy_from_slice(&port.to_be_bytes());
    fix_header_checksum(&mut frame);
    frame
}

fn deliver(lab: &mut Lab, frames: &[Vec<u8>]) -> usize {
    for frame in frames {
        lab.a.arrive(0, UPLINK as u8, frame);
    }
    lab.a.run();
    lab.a.sent(PROD as u8).len()
}

/// Where A seals for now.
fn goes_to(lab: &mut Lab) -> (IpAddr, u16) {
    let frame = from_host(Side::A, PROD, Side::B.host4(PROD, 10)).udp(9, 9, b"y");
    let sent = lab.a.pass(PROD as u8, &frame, UPLINK as u8);
    let headers = parsed(&sent[0]);
    (ends(&headers).1, headers.destination_port)
}

#[test]
fn the_peer_is_followed_by_authentic_packets_that_are_ahead() {
    for lane in LANES {
        let mut lab = lab(lane, true);
        let home = (Side::B.outside4(), 4500);
        assert_eq!(goes_to(&mut lab), home);
        let packets = sealed(&mut lab, 9);
        // From home: nothing to follow.
        assert_eq!(deliver(&mut lab, &packets[..1]), 1);
        assert_eq!(goes_to(&mut lab), home);
        // The port moves, then the address.
        assert_eq!(
            deliver(&mut lab, &[from(packets[1].clone(), [198, 51, 100, 1], 31_000)]),
            1
        );
        assert_eq!(goes_to(&mut lab), (Side::B.outside4(), 31_000), "lane {lane}");
        // In one batch the latest counts, not the last.
        let there = |number: usize, port| from(packets[number].clone(), [203, 0, 113, 9], port);
        assert_eq!(deliver(&mut lab, &[there(4, 44), there(3, 33)]), 2);
        let now = (IpAddr::from([203, 0, 113, 9]), 44);
        assert_eq!(goes_to(&mut lab), now, "lane {lane}");
        // Late, seen before, forged: none of them.
        assert_eq!(deliver(&mut lab, &[there(2, 22)]), 1);
        assert_eq!(deliver(&mut lab, &[there(4, 55)]), 0);
        let mut forged = there(5, 66);
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert_eq!(deliver(&mut lab, &[forged]), 0);
        assert_eq!(goes_to(&mut lab), now, "lane {lane}");
        lab.assert_books();
    }
}

#[test]
fn who_does_not_follow_stays() {
    for lane in LANES {
        let mut lab = lab(lane, false);
        let packets = sealed(&mut lab, 2);
        let moved: Vec<_> = packets
            .into_iter()
            .map(|frame| from(frame, [203, 0, 113, 9], 44))
            .collect();
        assert_eq!(deliver(&mut lab, &moved), 2, "it is taken in from anywhere");
        assert_eq!(goes_to(&mut lab), (Side::B.outside4(), 4500));
        assert_eq!(lab.a.drops(), BTreeMap::new());
        lab.assert_books();
    }
}

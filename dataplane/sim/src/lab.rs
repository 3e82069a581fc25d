//! The lab of the demo in memory: two gateways, the frames that hosts and the internet send, and what tests read off the answers.

use crate::gateway::{SMALL, SimGateway};
use crate::packets::{Station, Trip};
use crate::worlds::{Side, TunnelKind, UPLINK, demo};
use std::net::IpAddr;
use tombolo_tunnel::outer::{self, DontFragment, Encapsulation, Inner, OuterTemplate};
use tombolo_tunnel::{Cipher, SaKeys, esp};
use tombolo_wire::ecn::Dscp;
use tombolo_wire::icmp::{self, IcmpErrorKind};
use tombolo_wire::{Addresses, Headers, checksum, edit, parse_frame};

/// Two gateways, and the underlay between them.
pub struct Lab {
    /// Cloud A's.
    pub a: SimGateway,
    /// Cloud B's.
    pub b: SimGateway,
}

impl Lab {
    /// The demo, with tunnels of this kind.
    pub fn new(kind: TunnelKind) -> Self {
        Lab {
            a: SimGateway::new(&demo(Side::A, kind), SMALL, 1),
            b: SimGateway::new(&demo(Side::B, kind), SMALL, 1),
        }
    }

    /// One of the two.
    pub fn gateway(&mut self, side: Side) -> &mut SimGateway {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }

    /// The underlay carries what gateway `from` sent to the other one; returns those outer frames.
    pub fn carry(&mut self, from: Side) -> Vec<Vec<u8>> {
        let to = if from == Side::A { Side::B } else { Side::A };
        let mut outer = self.gateway(from).sent(UPLINK as u8);
        for frame in &mut outer {
            frame[..6].copy_from_slice(&to.mac(UPLINK));
            frame[6..12].copy_from_slice(&to.router_mac());
            self.gateway(to).arrive(0, UPLINK as u8, frame);
        }
        self.gateway(to).run();
        outer
    }

    /// [`SimGateway::assert_books`] of both.
    pub fn assert_books(&mut self) {
        self.a.assert_books();
        self.b.assert_books();
    }
}

/// Host 10 of a cloud port.
pub fn host(side: Side, port: u16, v6: bool) -> Station {
    let ip = if v6 { side.host6(port, 10) } else { side.host4(port, 10) };
    Station {
        mac: side.host_mac(port, 10),
        ip,
    }
}

/// From host 10 of a cloud port to anywhere.
pub fn from_host(side: Side, port: u16, to: IpAddr) -> Trip {
    Trip {
        from: host(side, port, to.is_ipv6()),
        via: side.mac(port),
        to,
        ttl: 64,
    }
}

/// From somewhere behind the underlay's router to the uplink.
pub fn from_internet(side: Side, from: IpAddr, to: IpAddr) -> Trip {
    Trip {
        from: Station {
            mac: side.router_mac(),
            ip: from,
        },
        via: side.mac(UPLINK),
        to,
        ttl: 60,
    }
}

/// Headers of a frame that a gateway sent, whose checksums must all be right.
pub fn parsed(frame: &[u8]) -> Headers {
    let (_, headers) = parse_frame(frame).expect("what a gateway sends parses");
    assert!(
        checksum::transport_valid(frame, &headers),
        "a transport checksum that the gateway broke"
    );
    headers
}

/// Source and destination.
pub fn ends(headers: &Headers) -> (IpAddr, IpAddr) {
    match headers.addresses {
        Addresses::V4 { source, destination } => (IpAddr::V4(source.into()), IpAddr::V4(destination.into())),
        Addresses::V6 { source, destination } => (IpAddr::V6(source.into()), IpAddr::V6(destination.into())),
    }
}

/// Writes the IPv4 header checksum of an untagged frame anew.
pub fn fix_header_checksum(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let sum = checksum::internet(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}

/// The ICMP error that the station at `from` sends about `frame`, which it saw on its way; an IP packet behind a blank link header.
pub fn error_about(frame: &[u8], kind: IcmpErrorKind, from: IpAddr, link: ([u8; 6], [u8; 6])) -> Vec<u8> {
    let mut error = vec![0u8; 1400];
    let end = icmp::build_error(kind, frame, &parsed(frame), from, &mut error, 14).expect("an error about this packet");
    error.truncate(end);
    let ethertype = if from.is_ipv6() { 0x86dd } else { 0x0800 };
    edit::write_link(&mut error, link.0, link.1, ethertype, None);
    error
}

/// What gateway `from` would send for `inner` through its plain tunnel of `cloud`, whatever `inner` is: a peer that does not
/// keep the rules.
pub fn sealed_by(from: Side, cloud: u16, sequence: u64, inner: &[u8]) -> Vec<u8> {
    let world = demo(from, TunnelKind::PLAIN);
    let sa = &world.sas[usize::from(cloud) * 2];
    let keys = SaKeys::new(Cipher::Aes256Gcm, &sa.key, sa.salt).expect("a key of the right length");
    let next_header = if inner[0] >> 4 == 6 { 41 } else { 4 };
    let mut frame = vec![0; 2000];
    let esp = esp::seal(&keys, sa.spi, sequence, true, next_header, inner, &mut frame[34..]).expect("it fits");
    let template = OuterTemplate {
        addresses: addresses(from.outside4(), from.other().outside4()),
        encapsulation: Encapsulation::Ip,
        dscp: Dscp::Copy,
        dont_fragment: DontFragment::Set,
        ttl: 64,
    };
    let shown = Inner {
        tos: 0,
        dont_fragment: true,
    };
    let end = outer::write_outer(&mut frame, 14, &template, esp, shown, 0).expect("it fits");
    frame.truncate(end);
    let to = from.other();
    edit::write_link(&mut frame, to.mac(UPLINK), to.router_mac(), 0x0800, None);
    frame
}

fn addresses(from: IpAddr, to: IpAddr) -> Addresses {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Addresses::V4 {
            source: from.into(),
            destination: to.into(),
        },
        (IpAddr::V6(from), IpAddr::V6(to)) => Addresses::V6 {
            source: from.octets(),
            destination: to.octets(),
        },
        (from, to) => panic!("{from} and {to} are of two families"),
    }
}

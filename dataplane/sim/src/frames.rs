//! One frame of every kind that a gateway of the demo meets: what hostile tests begin with.

use crate::gateway::SimGateway;
use crate::lab::{error_about, fix_header_checksum, from_host, from_internet, sealed_by};
use crate::packets::TcpFlags;
use crate::worlds::{DEV, PROD, Side, UPLINK, WEB4, WEB6};
use std::net::IpAddr;
use tombolo_wire::icmp::IcmpErrorKind;

/// A frame, where it arrives, and what it is.
pub struct Kind {
    /// For messages of failed tests.
    pub name: &'static str,
    /// Port where it arrives.
    pub port: u8,
    /// Its bytes.
    pub frame: Vec<u8>,
}

/// What tests look for on the underlay: it stands in everything that goes into a tunnel.
pub const CANARY: &[u8] = b"canary-in-clear";

fn kind(name: &'static str, port: u16, frame: Vec<u8>) -> Kind {
    Kind {
        name,
        port: port as u8,
        frame,
    }
}

/// Every kind, for gateway A of the demo (`a`, which is shown some of them so that it knows their flows).
pub fn every_kind(a: &mut SimGateway) -> Vec<Kind> {
    let mut kinds = Vec::new();
    for v6 in [false, true] {
        from_inside(v6, &mut kinds);
        answers(a, v6, &mut kinds);
        sealed(v6, &mut kinds);
    }
    fragments(&mut kinds);
    extension_headers(&mut kinds);
    oddities(&mut kinds);
    kinds
}

fn from_inside(v6: bool, kinds: &mut Vec<Kind>) {
    let side = if v6 { Side::host6 } else { Side::host4 };
    let web = if v6 { WEB6 } else { WEB4 };
    let far = from_host(Side::A, PROD, side(Side::B, PROD, 10));
    let out = from_host(Side::A, PROD, web);
    kinds.extend([
        kind("UDP into the tunnel", PROD, far.udp(1000, 2000, CANARY)),
        kind(
            "TCP into the tunnel",
            PROD,
            far.tcp(1001, 80, TcpFlags::SYN, Some(8960), CANARY),
        ),
        kind("echo into the tunnel", PROD, far.echo(false, 7, CANARY)),
        kind("UDP to the internet", PROD, out.udp(1002, 53, b"?")),
        kind(
            "TCP to the internet",
            PROD,
            out.tcp(1003, 80, TcpFlags::SYN, Some(1460), b""),
        ),
        kind("echo to the internet", PROD, out.echo(false, 8, b"abcdefgh")),
        kind(
            "to the gateway",
            PROD,
            from_host(Side::A, PROD, side(Side::A, PROD, 1)).echo(false, 9, b"ping"),
        ),
        kind(
            "across",
            DEV,
            from_host(Side::A, DEV, side(Side::B, PROD, 10)).udp(1, 2, CANARY),
        ),
    ]);
}

fn answers(a: &mut SimGateway, v6: bool, kinds: &mut Vec<Kind>) {
    let (web, outside) = if v6 {
        (WEB6, Side::A.outside6())
    } else {
        (WEB4, Side::A.outside4())
    };
    let router: IpAddr = if v6 {
        "2001:db8:f::1".parse().expect("an address")
    } else {
        IpAddr::from([203, 0, 113, 1])
    };
    let asked = from_host(Side::A, PROD, web).udp(1010, 53, b"?");
    let sent = a.pass(PROD as u8, &asked, UPLINK as u8).remove(0);
    let (_, headers) = tombolo_wire::parse_frame(&sent).expect("what a gateway sends parses");
    let back = from_internet(Side::A, web, outside);
    let link = (Side::A.mac(UPLINK), Side::A.router_mac());
    kinds.extend([
        kind("an answer", UPLINK, back.udp(53, headers.source_port, b"!")),
        kind(
            "an error about a translated flow",
            UPLINK,
            error_about(&sent, IcmpErrorKind::TimeExceeded, router, link),
        ),
        kind(
            "too big",
            UPLINK,
            error_about(&sent, IcmpErrorKind::TooBig { mtu: 1300 }, router, link),
        ),
        kind(
            "a stranger's SYN",
            UPLINK,
            back.tcp(999, 8080, TcpFlags::SYN, None, b""),
        ),
        kind("a stranger's datagram", UPLINK, back.udp(53, 25_000, b"late")),
        kind("a keepalive", UPLINK, back.udp(4500, 4500, &[0xff])),
        kind("key exchange", UPLINK, back.udp(4500, 4500, &[0; 40])),
        kind("ESP in UDP", UPLINK, back.udp(4500, 4500, &[0x55; 80])),
    ]);
}

fn sealed(v6: bool, kinds: &mut Vec<Kind>) {
    let to = if v6 {
        Side::A.host6(PROD, 10)
    } else {
        Side::A.host4(PROD, 10)
    };
    let inner = from_host(Side::B, PROD, to).udp(3000, 4000, CANARY);
    let outer = sealed_by(Side::B, PROD, if v6 { 1 << 20 } else { 2 << 20 }, &inner[14..]);
    let router = IpAddr::from([203, 0, 113, 1]);
    let ours = sealed_by(Side::A, PROD, 77, &inner[14..]);
    let link = (Side::A.mac(UPLINK), Side::A.router_mac());
    let told = error_about(&ours, IcmpErrorKind::TooBig { mtu: 1492 }, router, link);
    kinds.push(kind("ESP", UPLINK, outer));
    kinds.push(kind("too big about ESP", UPLINK, told));
}

fn fragments(kinds: &mut Vec<Kind>) {
    for (name, flags, offset) in [
        ("first fragment", 0x20, 0),
        ("later fragment", 0x20, 9),
        ("overlapping fragment", 0, 1),
        ("fragment beyond the end", 0x1f, 0xff),
    ] {
        let inside = from_host(Side::A, PROD, Side::B.host4(PROD, 10)).udp(1, 2, &[7; 64]);
        let outside = from_internet(Side::A, WEB4, Side::A.outside4()).udp(53, 25_000, &[7; 64]);
        for (port, mut frame) in [(PROD, inside), (UPLINK, outside)] {
            frame[20] = flags;
            frame[21] = offset;
            if name == "overlapping fragment" {
                frame[23] = 6; // behind the first 8 bytes begin the flags of TCP (RFC 1858 §4)
            }
            fix_header_checksum(&mut frame);
            kinds.push(kind(name, port, frame));
        }
    }
}

/// Next headers behind an IPv6 header, and the bytes that they head.
fn extended(first: u8, chain: &[u8]) -> Vec<u8> {
    let mut frame = from_host(Side::A, PROD, Side::B.host6(PROD, 10)).udp(1, 2, CANARY);
    frame[20] = first;
    let rest = frame.split_off(54);
    frame.extend_from_slice(chain);
    frame.extend_from_slice(&rest);
    let payload = (frame.len() - 54) as u16;
    frame[18..20].copy_from_slice(&payload.to_be_bytes());
    frame
}

fn extension_headers(kinds: &mut Vec<Kind>) {
    const UDP: u8 = 17;
    const DESTINATION: u8 = 60;
    let mut looped = Vec::new();
    for _ in 0..40 {
        looped.extend_from_slice(&[DESTINATION, 0, 1, 4, 0, 0, 0, 0]);
    }
    kinds.extend([
        kind(
            "destination options",
            PROD,
            extended(DESTINATION, &[UDP, 0, 1, 4, 0, 0, 0, 0]),
        ),
        kind("a loop of options", PROD, extended(DESTINATION, &looped)),
        kind("hop by hop", PROD, extended(0, &[UDP, 0, 1, 4, 0, 0, 0, 0])),
        kind(
            "an option longer than the packet",
            PROD,
            extended(DESTINATION, &[UDP, 255, 1, 4, 0, 0, 0, 0]),
        ),
        kind("a routing header", PROD, extended(43, &[UDP, 0, 0, 1, 0, 0, 0, 0])),
        kind("first v6 fragment", PROD, extended(44, &[UDP, 0, 0, 1, 0, 0, 0, 9])),
        kind("later v6 fragment", PROD, extended(44, &[UDP, 0, 0, 64, 0, 0, 0, 9])),
        kind("atomic v6 fragment", PROD, extended(44, &[UDP, 0, 0, 0, 0, 0, 0, 9])),
        kind("nothing behind it", PROD, extended(59, &[])),
    ]);
}

fn oddities(kinds: &mut Vec<Kind>) {
    let plain = from_host(Side::A, PROD, Side::B.host4(PROD, 10)).udp(1, 2, CANARY);
    let mut tagged = plain.clone();
    tagged.splice(12..12, [0x81, 0x00, 0x00, 0x05]);
    let mut untagged_tag = plain.clone();
    untagged_tag.splice(12..12, [0x81, 0x00, 0x00, 0x00]);
    let mut double = untagged_tag.clone();
    double.splice(12..12, [0x88, 0xa8, 0x00, 0x00]);
    let mut arp = plain.clone();
    arp[12..14].copy_from_slice(&[8, 6]);
    let mut options = plain.clone();
    options[14] = 0x4f;
    fix_header_checksum(&mut options);
    let protected = from_internet(Side::A, Side::B.host4(PROD, 10), Side::A.host4(PROD, 10)).udp(1, 2, b"in clear");
    let esp_to_us = from_internet(Side::A, Side::B.outside4(), Side::A.outside4());
    let mut short = esp_to_us.udp(0, 0x1020, &[0; 3]);
    short[23] = 50;
    fix_header_checksum(&mut short);
    kinds.extend([
        kind("another VLAN", PROD, tagged),
        kind("priority tag", PROD, untagged_tag),
        kind("two tags", PROD, double),
        kind("ARP", PROD, arp),
        kind("header longer than it says", PROD, options),
        kind("a protected prefix in clear", UPLINK, protected),
        kind("ESP too short", UPLINK, short),
    ]);
}

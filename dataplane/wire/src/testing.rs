//! Packets for tests, and an oracle for their checksums. Made by hand and word by word, on purpose without the code under
//! test.

use crate::headers::{Addresses, Headers};
use crate::parse::parse_ip;
use proptest::prelude::*;

/// Link header that test frames begin with.
pub(crate) const L3: usize = 14;

/// 192.0.2.1 → 198.51.100.2.
pub(crate) const V4: Addresses = Addresses::V4 {
    source: 0xc000_0201,
    destination: 0xc633_6402,
};
/// 2001:db8::1 → 2001:db8:1::2.
pub(crate) const V6: Addresses = Addresses::V6 {
    source: [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    destination: [0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
};

/// The Internet checksum as RFC 1071 §1 words it.
pub(crate) fn naive_checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn pseudo_header(addresses: &Addresses, protocol: u8, length: usize) -> Vec<u8> {
    let mut bytes = match addresses {
        Addresses::V4 { source, destination } => [source.to_be_bytes(), destination.to_be_bytes()].concat(),
        Addresses::V6 { source, destination } => [*source, *destination].concat(),
    };
    bytes.extend((length as u32).to_be_bytes());
    bytes.extend([0, 0, 0, protocol]);
    bytes
}

fn l4_checksum(addresses: &Addresses, protocol: u8, segment: &[u8]) -> u16 {
    let mut bytes = match (protocol, addresses) {
        (1, _) => Vec::new(),
        _ => pseudo_header(addresses, protocol, segment.len()),
    };
    bytes.extend(segment);
    naive_checksum(&bytes)
}

pub(crate) fn tcp(addresses: &Addresses, ports: (u16, u16), flags: u8, options: &[u8], data: &[u8]) -> Vec<u8> {
    assert!(options.len().is_multiple_of(4), "TCP options fill words");
    let mut segment = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
    segment.extend([
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
        ((5 + options.len() / 4) as u8) << 4,
        flags,
        0xff,
        0xff,
        0,
        0,
        0,
        0,
    ]);
    segment.extend(options);
    segment.extend(data);
    let checksum = l4_checksum(addresses, 6, &segment);
    segment[16..18].copy_from_slice(&checksum.to_be_bytes());
    packet(addresses, 6, &segment)
}

pub(crate) fn udp(addresses: &Addresses, ports: (u16, u16), data: &[u8]) -> Vec<u8> {
    let mut segment = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
    segment.extend(((data.len() + 8) as u16).to_be_bytes());
    segment.extend([0, 0]);
    segment.extend(data);
    let checksum = l4_checksum(addresses, 17, &segment);
    segment[6..8].copy_from_slice(&(if checksum == 0 { 0xffff } else { checksum }).to_be_bytes());
    packet(addresses, 17, &segment)
}

/// UDP without a checksum.
pub(crate) fn udp_unchecked(addresses: &Addresses, ports: (u16, u16), data: &[u8]) -> Vec<u8> {
    let mut frame = udp(addresses, ports, data);
    let at = frame.len() - data.len() - 2;
    frame[at..at + 2].fill(0);
    frame
}

/// ICMP or ICMPv6, by the address family.
pub(crate) fn icmp(addresses: &Addresses, kind: u8, code: u8, rest: [u8; 4], data: &[u8]) -> Vec<u8> {
    let protocol = if addresses.is_v6() { 58 } else { 1 };
    let mut segment = vec![kind, code, 0, 0];
    segment.extend(rest);
    segment.extend(data);
    let checksum = l4_checksum(addresses, protocol, &segment);
    segment[2..4].copy_from_slice(&checksum.to_be_bytes());
    packet(addresses, protocol, &segment)
}

pub(crate) fn echo(addresses: &Addresses, reply: bool, identifier: u16, data: &[u8]) -> Vec<u8> {
    let kind = match (addresses.is_v6(), reply) {
        (false, false) => 8,
        (false, true) => 0,
        (true, false) => 128,
        (true, true) => 129,
    };
    let [id0, id1] = identifier.to_be_bytes();
    icmp(addresses, kind, 0, [id0, id1, 0, 1], data)
}

/// A frame with an IP packet around `segment`.
pub(crate) fn packet(addresses: &Addresses, protocol: u8, segment: &[u8]) -> Vec<u8> {
    match addresses {
        Addresses::V4 { .. } => ipv4(addresses, protocol, 0x4000, segment),
        Addresses::V6 { .. } => ipv6(addresses, protocol, segment),
    }
}

/// An IPv4 frame with the given fragment field.
pub(crate) fn ipv4(addresses: &Addresses, protocol: u8, field: u16, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x45, 0x28];
    header.extend(((payload.len() + 20) as u16).to_be_bytes());
    header.extend([0x12, 0x34]);
    header.extend(field.to_be_bytes());
    header.extend([64, protocol, 0, 0]);
    let Addresses::V4 { source, destination } = addresses else {
        panic!("an IPv4 packet has IPv4 addresses")
    };
    header.extend(source.to_be_bytes());
    header.extend(destination.to_be_bytes());
    let checksum = naive_checksum(&header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    framed(0x0800, &[header, payload.to_vec()].concat())
}

/// An IPv6 frame whose first next header is `next`.
pub(crate) fn ipv6(addresses: &Addresses, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x62, 0x80, 0xab, 0xcd];
    header.extend((payload.len() as u16).to_be_bytes());
    header.extend([next, 64]);
    let Addresses::V6 { source, destination } = addresses else {
        panic!("an IPv6 packet has IPv6 addresses")
    };
    header.extend(source);
    header.extend(destination);
    framed(0x86dd, &[header, payload.to_vec()].concat())
}

fn framed(ethertype: u16, packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    frame.extend(ethertype.to_be_bytes());
    frame.extend(packet);
    frame
}

pub(crate) fn parse(frame: &[u8]) -> Headers {
    parse_ip(frame, L3).expect("a well-formed test packet")
}

/// Recomputes the IPv4 header checksum and the L4 checksum of a whole packet and panics if one is wrong. A UDP checksum of 0
/// passes over IPv4 only.
pub(crate) fn assert_checksums(frame: &[u8]) {
    let headers = parse_ip(frame, L3).expect("the packet parses");
    let (l3, l4, end) = (
        usize::from(headers.l3),
        usize::from(headers.l4),
        usize::from(headers.end),
    );
    if !headers.addresses.is_v6() {
        assert_eq!(naive_checksum(&frame[l3..l3 + 20]), 0, "IPv4 header checksum");
    }
    let segment = &frame[l4..end];
    match headers.protocol {
        17 if segment[6..8] == [0, 0] => assert!(!headers.addresses.is_v6(), "UDP over IPv6 has a checksum"),
        1 | 6 | 17 | 58 => assert_eq!(
            l4_checksum(&headers.addresses, headers.protocol, segment),
            0,
            "L4 checksum"
        ),
        _ => {}
    }
}

/// Unicast addresses of one family or the other.
pub(crate) fn addresses() -> impl Strategy<Value = Addresses> {
    prop_oneof![addresses_v4(), addresses_v6()]
}

pub(crate) fn addresses_v4() -> impl Strategy<Value = Addresses> {
    let unicast = || prop_oneof![0x0100_0000..0x7f00_0000u32, 0x8000_0000..0xe000_0000u32];
    (unicast(), unicast()).prop_map(|(source, destination)| Addresses::V4 { source, destination })
}

pub(crate) fn addresses_v6() -> impl Strategy<Value = Addresses> {
    let unicast = || {
        any::<[u8; 16]>().prop_map(|mut address| {
            address[0] = 0x20 | address[0] & 0x1f;
            address
        })
    };
    (unicast(), unicast()).prop_map(|(source, destination)| Addresses::V6 { source, destination })
}

/// Addresses of the same family for a rewrite of `of`.
pub(crate) fn same_family(of: Addresses) -> BoxedStrategy<Addresses> {
    if of.is_v6() {
        addresses_v6().boxed()
    } else {
        addresses_v4().boxed()
    }
}

/// Whole packets of every kind that has ports or an identifier, right in all checksums.
pub(crate) fn packets() -> impl Strategy<Value = Vec<u8>> {
    let data = prop::collection::vec(any::<u8>(), 0..200);
    (addresses(), any::<(u16, u16)>(), data, 0..6u8).prop_map(|(addresses, ports, data, kind)| match kind {
        0 => tcp(&addresses, ports, 0x02, &[2, 4, 5, 180, 1, 1, 1, 0], &data),
        1 => tcp(&addresses, ports, 0x10, &[], &data),
        2 if !addresses.is_v6() => udp_unchecked(&addresses, ports, &data),
        2 | 3 => udp(&addresses, ports, &data),
        4 => echo(&addresses, false, ports.0, &data),
        _ => echo(&addresses, true, ports.0, &data),
    })
}

use super::*;
use crate::headers::L4;
use crate::testing::{L3, V4, V6, echo, icmp, ipv4, ipv6, naive_checksum, packet, packets, tcp, udp};
use proptest::prelude::*;

mod extension_headers;

fn error(frame: &[u8]) -> ParseError {
    parse_ip(frame, L3).expect_err("a malformed packet")
}

/// Puts `value` at `at` in the IPv4 header and makes the header checksum right.
fn ipv4_with(mut frame: Vec<u8>, at: usize, value: &[u8]) -> Vec<u8> {
    frame[L3 + at..L3 + at + value.len()].copy_from_slice(value);
    frame[L3 + 10..L3 + 12].fill(0);
    let header_len = usize::from(frame[L3] & 15).clamp(5, 15) * 4;
    let checksum = naive_checksum(&frame[L3..(L3 + header_len).min(frame.len())]);
    frame[L3 + 10..L3 + 12].copy_from_slice(&checksum.to_be_bytes());
    frame
}

fn v4_from(source: [u8; 4], destination: [u8; 4]) -> Result<Headers, ParseError> {
    let addresses = Addresses::V4 {
        source: u32::from_be_bytes(source),
        destination: u32::from_be_bytes(destination),
    };
    parse_ip(&udp(&addresses, (1, 2), b"x"), L3)
}

fn v6_from(source: u128, destination: u128) -> Result<Headers, ParseError> {
    let addresses = Addresses::V6 {
        source: source.to_be_bytes(),
        destination: destination.to_be_bytes(),
    };
    parse_ip(&udp(&addresses, (1, 2), b"x"), L3)
}

#[test]
fn reads_every_field() {
    let headers = parse_ip(&tcp(&V4, (4000, 443), 0x12, &[1; 4], b"data"), L3).unwrap();
    let expected = Headers {
        addresses: V4,
        protocol: 6,
        l3: 14,
        l4: 34,
        end: 62,
        tos: 0x28,
        ttl: 64,
        dont_fragment: true,
        fragment: Fragment::None,
        source_port: 4000,
        destination_port: 443,
        l4_kind: L4::Tcp { flags: 0x12 },
    };
    assert_eq!(headers, expected);
    assert_eq!(headers.ip_len(), 48);
    let headers = parse_ip(&udp(&V6, (4000, 53), b"data"), L3).unwrap();
    let expected = Headers {
        addresses: V6,
        protocol: 17,
        l4: 54,
        end: 66,
        source_port: 4000,
        destination_port: 53,
        l4_kind: L4::Udp,
        ..expected
    };
    assert_eq!(headers, expected);
}

#[test]
fn kinds_of_icmp_and_esp() {
    let kind = |frame: Vec<u8>| {
        let headers = parse_ip(&frame, L3).unwrap();
        (headers.l4_kind, headers.source_port, headers.destination_port)
    };
    for addresses in [V4, V6] {
        assert_eq!(
            kind(echo(&addresses, false, 77, b"")),
            (L4::Echo { reply: false }, 77, 77)
        );
        assert_eq!(
            kind(echo(&addresses, true, 77, b"")),
            (L4::Echo { reply: true }, 77, 77)
        );
        let esp = packet(&addresses, 50, &[0xc0, 0xff, 0xee, 0x01, 0, 0, 0, 1, 9]);
        assert_eq!(kind(esp), (L4::Esp { spi: 0xc0ff_ee01 }, 0, 0));
        assert_eq!(kind(packet(&addresses, 47, b"")), (L4::Other, 0, 0));
    }
    for error in [3, 4, 11, 12] {
        assert_eq!(
            kind(icmp(&V4, error, 9, [0; 4], b"")),
            (L4::IcmpError, 0, u16::from(error) << 8 | 9)
        );
    }
    for error in [1, 2, 3, 4] {
        assert_eq!(
            kind(icmp(&V6, error, 9, [0; 4], b"")),
            (L4::IcmpError, 0, u16::from(error) << 8 | 9)
        );
    }
    assert_eq!(kind(icmp(&V4, 5, 1, [0; 4], b"")), (L4::IcmpOther, 0, 0x0501));
    assert_eq!(kind(icmp(&V6, 137, 0, [0; 4], b"")), (L4::IcmpOther, 0, 0x8900));
    // ICMP of the other family is some protocol without ports.
    assert_eq!(kind(packet(&V6, 1, &[8; 8])), (L4::Other, 0, 0));
    assert_eq!(kind(packet(&V4, 58, &[128; 8])), (L4::Other, 0, 0));
}

#[test]
fn impossible_ipv4_headers() {
    let good = udp(&V4, (1, 2), b"payload");
    assert!(parse_ip(&good, L3).is_ok());
    for (at, value, expected) in [
        (0, &[0x55u8][..], ParseError::IpMalformed),
        (0, &[0x44], ParseError::IpMalformed),
        (0, &[0x40], ParseError::IpMalformed),
        (2, &[0, 19], ParseError::IpMalformed),
        (2, &[0, 0], ParseError::IpMalformed),
        (2, &[0, 36], ParseError::IpMalformed),
        (2, &[0xff, 0xff], ParseError::IpMalformed),
        (2, &[0, 27], ParseError::L4Malformed),
        (2, &[0, 34], ParseError::L4Malformed),
        (0, &[0x46], ParseError::IpOptions),
        (6, &[0x20, 0], ParseError::IpMalformed),
    ] {
        assert_eq!(
            error(&ipv4_with(good.clone(), at, value)),
            expected,
            "{value:?} at {at}"
        );
    }
    let mut damaged = good.clone();
    damaged[L3 + 8] = 63;
    assert_eq!(error(&damaged), ParseError::IpChecksum);
    damaged[L3] = 0x46;
    assert_eq!(error(&damaged), ParseError::IpChecksum);
    assert_eq!(parse_ip(&good, good.len()), Err(ParseError::IpMalformed));
    assert_eq!(parse_ip(&good, usize::MAX), Err(ParseError::IpMalformed));
}

#[test]
fn ethernet_padding_is_no_part_of_the_packet() {
    for addresses in [V4, V6] {
        let mut frame = udp(&addresses, (1, 2), b"x");
        let end = frame.len();
        frame.extend([0xaa; 30]);
        assert_eq!(usize::from(parse_ip(&frame, L3).unwrap().end), end);
    }
}

#[test]
fn packet_that_ends_beyond_16_bits_is_refused() {
    let segment = udp(&V4, (1, 2), &vec![0; 65535 - 28])[L3 + 20..].to_vec();
    let frame = ipv4(&V4, 17, 0, &segment);
    assert_eq!(error(&frame), ParseError::IpMalformed);
    assert!(parse_ip(&frame[L3..], 0).is_ok());
    let frame = ipv6(&V6, 59, &vec![0; 65535]);
    assert_eq!(error(&frame), ParseError::IpMalformed);
}

#[test]
fn addresses_nobody_may_forward() {
    let fine = [192, 0, 2, 1];
    for source in [
        [0, 0, 0, 0],
        [0, 1, 2, 3],
        [127, 0, 0, 1],
        [224, 0, 0, 1],
        [239, 1, 1, 1],
        [240, 0, 0, 1],
        [255; 4],
    ] {
        assert_eq!(v4_from(source, fine), Err(ParseError::AddressInvalid), "{source:?}");
    }
    for destination in [[0, 0, 0, 0], [127, 255, 0, 1], [255; 4]] {
        assert_eq!(
            v4_from(fine, destination),
            Err(ParseError::AddressInvalid),
            "{destination:?}"
        );
    }
    for address in [
        [1, 0, 0, 0],
        [126, 255, 255, 255],
        [128, 0, 0, 0],
        [223, 255, 255, 255],
        [169, 254, 0, 1],
    ] {
        assert!(v4_from(address, address).is_ok(), "{address:?}");
    }
    assert!(
        v4_from(fine, [224, 0, 0, 5])
            .unwrap()
            .addresses
            .destination_is_multicast()
    );

    let fine = 0x2001_0db8 << 96 | 1;
    for never in [0, 1, 0xffff_0a00_0001] {
        assert_eq!(v6_from(never, fine), Err(ParseError::AddressInvalid), "{never:#x}");
        assert_eq!(v6_from(fine, never), Err(ParseError::AddressInvalid), "{never:#x}");
    }
    assert_eq!(v6_from(0xff02 << 112 | 1, fine), Err(ParseError::AddressInvalid));
    assert!(
        v6_from(fine, 0xff02 << 112 | 1)
            .unwrap()
            .addresses
            .destination_is_multicast()
    );
    assert!(v6_from(0xfe80 << 112 | 1, fine).unwrap().addresses.is_link_local_v6());
    assert!(!v6_from(fine, fine).unwrap().addresses.is_link_local_v6());
}

#[test]
fn l4_headers_must_be_whole() {
    for addresses in [V4, V6] {
        let icmp = if addresses.is_v6() { 58 } else { 1 };
        for (protocol, header) in [(6, 20), (17, 8), (icmp, 8), (50, 8)] {
            for length in 0..header {
                assert_eq!(
                    error(&packet(&addresses, protocol, &vec![0x50; length])),
                    ParseError::L4Malformed
                );
            }
        }
        let with_data_offset = |offset: u8| {
            let mut segment = [0u8; 40];
            segment[12] = offset << 4;
            packet(&addresses, 6, &segment)
        };
        assert_eq!(error(&with_data_offset(4)), ParseError::L4Malformed);
        assert_eq!(error(&with_data_offset(11)), ParseError::L4Malformed);
        assert!(parse_ip(&with_data_offset(10), L3).is_ok());
        for (length, fine) in [(0, false), (7, false), (8, true), (12, true), (13, false)] {
            let segment = [0, 1, 0, 2, 0, length, 0, 0, 9, 9, 9, 9];
            assert_eq!(
                parse_ip(&packet(&addresses, 17, &segment), L3).is_ok(),
                fine,
                "UDP length {length}"
            );
        }
    }
}

#[test]
fn ipv4_fragments() {
    let field = |field: u16, length: usize, protocol: u8| {
        let mut payload = vec![0u8; length];
        if let Some(data_offset) = payload.get_mut(12) {
            *data_offset = 0x50;
        }
        if let Some(udp_length) = payload.get_mut(4) {
            *udp_length = 0x40;
        }
        parse_ip(&ipv4(&V4, protocol, field, &payload), L3).map(|headers| (headers.fragment, headers.l4_kind))
    };
    let (first, later) = (Fragment::First, Fragment::Later);
    for (name, flags_and_offset, length, protocol, expected) in [
        (
            "first of UDP, shorter than its datagram",
            0x2000,
            16,
            17,
            Ok((first, L4::Udp)),
        ),
        ("first of TCP", 0x2000, 24, 6, Ok((first, L4::Tcp { flags: 0 }))),
        (
            "first without the whole TCP header (RFC 1858)",
            0x2000,
            16,
            6,
            Err(ParseError::FragmentOverlap),
        ),
        ("first without any data", 0x2000, 0, 17, Err(ParseError::IpMalformed)),
        (
            "offset 8 in TCP (RFC 1858)",
            0x0001,
            24,
            6,
            Err(ParseError::FragmentOverlap),
        ),
        ("offset 16 in TCP", 0x2002, 24, 6, Err(ParseError::FragmentOverlap)),
        ("offset 24 in TCP", 0x0003, 24, 6, Ok((later, L4::Unseen))),
        ("offset 8 in UDP", 0x0001, 3, 17, Ok((later, L4::Unseen))),
        (
            "not a multiple of 8 and not last",
            0x2003,
            23,
            17,
            Err(ParseError::IpMalformed),
        ),
        ("later and empty", 0x0003, 0, 17, Err(ParseError::IpMalformed)),
        ("ends at the largest size", 0x1ffc, 11, 17, Ok((later, L4::Unseen))),
        (
            "ends beyond the largest size",
            0x1ffc,
            12,
            17,
            Err(ParseError::IpMalformed),
        ),
    ] {
        assert_eq!(field(flags_and_offset, length, protocol), expected, "{name}");
    }
}

#[test]
fn link_headers() {
    let frame = udp(&V4, (1, 2), b"x");
    let link = parse_link(&frame).unwrap();
    assert_eq!((link.l3, link.ethertype, link.vlan), (14, ethertype::IPV4, None));
    assert_eq!(
        (link.destination_mac, link.source_mac),
        ([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1])
    );
    let tagged = |tags: &[u8]| [&frame[..12], tags, &frame[12..]].concat();
    let vlan = |tags: &[u8]| parse_frame(&tagged(tags)).map(|(link, headers)| (link.vlan, headers.l3));
    assert_eq!(vlan(&[0x81, 0, 0xe0, 7]), Ok((Some(7), 18)));
    assert_eq!(vlan(&[0x88, 0xa8, 0x0f, 0xff]), Ok((Some(4095), 18)));
    assert_eq!(vlan(&[0x81, 0, 0xe0, 0]), Ok((None, 18)), "priority tag");
    assert_eq!(vlan(&[0x81, 0, 0, 7, 0x81, 0, 0, 8]), Err(ParseError::NotIp));
    for length in 0..14 {
        assert_eq!(parse_link(&frame[..length]), Err(ParseError::LinkTruncated));
    }
    for length in 14..18 {
        assert_eq!(
            parse_link(&tagged(&[0x81, 0, 0, 7])[..length]),
            Err(ParseError::LinkTruncated)
        );
    }
    let mut other = frame.clone();
    other[12..14].copy_from_slice(&ethertype::ARP.to_be_bytes());
    assert_eq!(parse_link(&other).unwrap().ethertype, ethertype::ARP);
    assert_eq!(parse_frame(&other), Err(ParseError::NotIp));
    other[12..14].copy_from_slice(&[0, 40]);
    assert_eq!(parse_link(&other), Err(ParseError::NotIp), "802.3 length");
    other[12..14].copy_from_slice(&ethertype::IPV6.to_be_bytes());
    assert_eq!(
        parse_frame(&other),
        Err(ParseError::IpMalformed),
        "IPv4 behind the EtherType of IPv6"
    );
}

proptest! {
    #[test]
    fn truncation_is_always_noticed(frame in packets()) {
        prop_assert!(parse_frame(&frame).is_ok());
        for length in 0..frame.len() {
            prop_assert!(parse_frame(&frame[..length]).is_err(), "{} of {} bytes", length, frame.len());
        }
    }

    #[test]
    fn offsets_are_in_order(frame in prop::collection::vec(any::<u8>(), 0..120), version in 0..16u8, l3 in 0..20usize) {
        let mut frame = frame;
        if let Some(byte) = frame.get_mut(l3) {
            *byte = version << 4 | 5;
        }
        if let Ok(headers) = parse_ip(&frame, l3) {
            prop_assert!(headers.l3 < headers.l4 && headers.l4 <= headers.end);
            prop_assert!(usize::from(headers.end) <= frame.len());
        }
    }
}

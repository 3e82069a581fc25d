use super::*;
use crate::headers::{Addresses, Fragment, Headers, L4, tcp_flag};
use crate::testing::{L3, V4, V6, assert_checksums, echo, icmp, ipv4, ipv6, packet, packets, parse, tcp, udp};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

mod translation;

const FROM4: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
const FROM6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 9));

fn from(headers: &Headers) -> IpAddr {
    if headers.addresses.is_v6() { FROM6 } else { FROM4 }
}

/// The gateway's error about `frame`, as a frame.
fn error_about(frame: &[u8], kind: IcmpErrorKind) -> Option<Vec<u8>> {
    let headers = parse(frame);
    let mut out = vec![0xee; 1500];
    let end = build_error(kind, frame, &headers, from(&headers), &mut out, L3)?;
    assert!(
        out[..L3].iter().chain(&out[end..]).all(|byte| *byte == 0xee),
        "nothing is written outside"
    );
    out.truncate(end);
    Some(out)
}

fn type_and_code(frame: &[u8]) -> (u8, u8) {
    let [kind, code] = parse(frame).destination_port.to_be_bytes();
    (kind, code)
}

#[test]
fn kinds_have_their_types_and_codes() {
    use IcmpErrorKind::*;
    for (kind, v4, v6) in [
        (TimeExceeded, (11, 0), (3, 0)),
        (NoRoute, (3, 0), (1, 0)),
        (HostUnreachable, (3, 1), (1, 3)),
        (PortUnreachable, (3, 3), (1, 4)),
        (AdministrativelyProhibited, (3, 13), (1, 1)),
        (TooBig { mtu: 1400 }, (3, 4), (2, 0)),
    ] {
        for (addresses, expected) in [(V4, v4), (V6, v6)] {
            let error = error_about(&udp(&addresses, (1, 2), b"data"), kind).unwrap();
            assert_eq!(type_and_code(&error), expected, "{kind:?}");
            assert_checksums(&error);
            let headers = parse(&error);
            assert_eq!(headers.l4_kind, L4::IcmpError);
            let mtu = if matches!(kind, TooBig { .. }) {
                Some(1400)
            } else {
                None
            };
            assert_eq!(quoted_mtu(&error, &headers), mtu);
        }
    }
}

#[test]
fn error_goes_to_the_offenders_source() {
    let headers = parse(&error_about(&udp(&V4, (1, 2), b""), IcmpErrorKind::NoRoute).unwrap());
    assert_eq!(
        headers.addresses,
        Addresses::V4 {
            source: 0xcb00_7109,
            destination: 0xc000_0201
        }
    );
    let headers = parse(&error_about(&udp(&V6, (1, 2), b""), IcmpErrorKind::NoRoute).unwrap());
    let Addresses::V6 { source: offender, .. } = V6 else {
        unreachable!("V6 is IPv6")
    };
    let Addresses::V6 { source, destination } = headers.addresses else {
        panic!("an IPv6 error")
    };
    assert_eq!((IpAddr::from(source), destination), (FROM6, offender));
}

#[test]
fn quotes_are_bounded() {
    for (addresses, largest) in [(V4, 576), (V6, 1280)] {
        for size in [0, 10, 519, 520, 521, 1183, 1184, 1185, 1400] {
            let mut frame = udp(&addresses, (1, 2), &vec![7; size]);
            let packet_len = frame.len() - L3;
            frame.extend([0xaa; 9]);
            let error = error_about(&frame, IcmpErrorKind::TimeExceeded).unwrap();
            let around = if addresses.is_v6() { 48 } else { 28 };
            let expected = (packet_len + around).min(largest);
            assert_eq!(parse(&error).ip_len(), expected, "{size} bytes");
            assert_eq!(
                error[L3 + around..],
                frame[L3..L3 + expected - around],
                "the quote is the packet's start"
            );
            assert_checksums(&error);
        }
    }
}

#[test]
fn never_about_these() {
    let refused = |frame: &[u8]| assert_eq!(error_about(frame, IcmpErrorKind::TimeExceeded), None);
    for kind in [3, 4, 5, 11, 12] {
        refused(&icmp(&V4, kind, 0, [0; 4], &udp(&V4, (1, 2), b"")[L3..]));
    }
    for kind in [1, 2, 3, 4, 100, 137] {
        refused(&icmp(&V6, kind, 0, [0; 4], &udp(&V6, (1, 2), b"")[L3..]));
    }
    refused(&ipv4(&V4, 17, 3, &[0; 16]));
    refused(&udp(
        &Addresses::V4 {
            source: 0x0a00_0001,
            destination: 0xe000_0005,
        },
        (1, 2),
        b"",
    ));
    let Addresses::V6 {
        source,
        mut destination,
    } = V6
    else {
        unreachable!("V6 is IPv6")
    };
    destination[0] = 0xff;
    refused(&udp(&Addresses::V6 { source, destination }, (1, 2), b""));

    let answered = |frame: &[u8]| assert!(error_about(frame, IcmpErrorKind::TimeExceeded).is_some());
    answered(&icmp(&V4, 13, 0, [0; 4], b"timestamp"));
    answered(&echo(&V6, true, 1, b""));
    answered(&ipv4(&V4, 17, 0x2000, &[0, 1, 0, 2, 0, 99, 0, 0]));
}

#[test]
fn wrong_family_and_no_room() {
    let frame = udp(&V4, (1, 2), &[7; 40]);
    let headers = parse(&frame);
    let mut out = [0; 200];
    let kind = IcmpErrorKind::NoRoute;
    assert_eq!(build_error(kind, &frame, &headers, FROM6, &mut out, L3), None);
    for length in 0..L3 + 28 + 28 {
        assert_eq!(
            build_error(kind, &frame, &headers, FROM4, &mut out[..length], L3),
            None,
            "{length}"
        );
    }
    assert_eq!(
        build_error(kind, &frame, &headers, FROM4, &mut out[..L3 + 56], L3),
        Some(L3 + 56)
    );
    assert_eq!(build_error(kind, &frame, &headers, FROM4, &mut out, 300), None);
    // A packet that is shorter than that anyway is quoted whole.
    let bare = packet(&V4, 47, b"");
    let end = build_error(kind, &bare, &parse(&bare), FROM4, &mut out, L3);
    assert_eq!(end, Some(L3 + 28 + 20));
}

#[test]
fn told_mtu_has_limits() {
    let mtu = |addresses: Addresses, mtu: u32| {
        let error = error_about(&udp(&addresses, (1, 2), b""), IcmpErrorKind::TooBig { mtu }).unwrap();
        quoted_mtu(&error, &parse(&error))
    };
    assert_eq!(mtu(V4, 70_000), Some(65535));
    assert_eq!(mtu(V4, 576), Some(576));
    assert_eq!(mtu(V4, 0), None, "a router older than RFC 1191");
    assert_eq!(mtu(V6, 1000), Some(1280));
    assert_eq!(mtu(V6, 70_000), Some(70_000));
    let other = udp(&V4, (1, 2), b"");
    assert_eq!(quoted_mtu(&other, &parse(&other)), None);
}

/// A frame with an error that quotes the first `length` bytes of `packet`.
fn quoting(addresses: &Addresses, packet: &[u8], length: usize) -> Vec<u8> {
    let kind = if addresses.is_v6() { 1 } else { 3 };
    icmp(addresses, kind, 1, [0; 4], &packet[..length.min(packet.len())])
}

#[test]
fn quote_may_be_short() {
    for addresses in [V4, V6] {
        let l4 = if addresses.is_v6() { 40 } else { 20 };
        let inner = tcp(&addresses.reversed(), (4000, 443), tcp_flag::SYN, &[], &[5; 100]);
        for length in 0..inner.len() - L3 {
            let frame = quoting(&addresses, &inner[L3..], length);
            let quoted = quoted(&frame, &parse(&frame));
            if length < l4 + 8 {
                assert_eq!(quoted, None, "{length}");
                continue;
            }
            let quoted = quoted.expect("ports are there");
            assert_eq!(quoted.addresses, addresses.reversed());
            assert_eq!((quoted.source_port, quoted.destination_port), (4000, 443));
            assert_eq!(usize::from(quoted.end), frame.len());
            let flags = if length >= l4 + 14 { tcp_flag::SYN } else { 0 };
            assert_eq!(quoted.l4_kind, L4::Tcp { flags });
        }
    }
}

#[test]
fn quote_ends_where_the_packet_did() {
    // Padding and extensions (RFC 4884) may follow; translation must not take them for the packet.
    for addresses in [V4, V6] {
        let inner = udp(&addresses.reversed(), (4000, 53), b"");
        let message = [&inner[L3..], &[0xaa; 40]].concat();
        let frame = quoting(&addresses, &message, 200);
        let quoted = quoted(&frame, &parse(&frame)).expect("ports are there");
        assert_eq!(quoted.ip_len(), inner.len() - L3);
    }
}

#[test]
fn kinds_of_quotes() {
    let kind = |outer: &Addresses, inner: &[u8]| {
        let frame = quoting(outer, &inner[L3..], 200);
        quoted(&frame, &parse(&frame)).map(|quoted| (quoted.l4_kind, quoted.fragment, quoted.source_port))
    };
    let none = Fragment::None;
    for addresses in [V4, V6] {
        assert_eq!(
            kind(&addresses, &udp(&addresses, (5, 6), b"")),
            Some((L4::Udp, none, 5))
        );
        assert_eq!(
            kind(&addresses, &echo(&addresses, false, 9, b"")),
            Some((L4::Echo { reply: false }, none, 9))
        );
        let esp = packet(&addresses, 50, &[0xc0, 0xff, 0xee, 1, 0, 0, 0, 1]);
        assert_eq!(kind(&addresses, &esp), Some((L4::Esp { spi: 0xc0ff_ee01 }, none, 0)));
        assert_eq!(
            kind(&addresses, &packet(&addresses, 47, b"")),
            Some((L4::Other, none, 0))
        );
    }
    assert_eq!(kind(&V4, &udp(&V6, (1, 2), b"")), None, "IPv6 in an IPv4 error");
    assert_eq!(kind(&V6, &udp(&V4, (1, 2), b"")), None, "IPv4 in an IPv6 error");
    assert_eq!(
        kind(&V4, &ipv4(&V4, 17, 3, &[0; 16])),
        Some((L4::Unseen, Fragment::Later, 0))
    );
    assert_eq!(
        kind(&V4, &ipv4(&V4, 17, 0x2000, &[0; 16])),
        Some((L4::Udp, Fragment::First, 0))
    );
    let options = [&[17, 0, 1, 4, 0, 0, 0, 0][..], &[0, 5, 0, 6, 0, 8, 0, 0]].concat();
    assert_eq!(kind(&V6, &ipv6(&V6, 60, &options)), Some((L4::Udp, none, 5)));
    let later = [17, 0, 0, 8, 0, 0, 0, 7, 1, 2];
    assert_eq!(
        kind(&V6, &ipv6(&V6, 44, &later)),
        Some((L4::Unseen, Fragment::Later, 0))
    );
    let mut with_options = udp(&V4, (5, 6), &[0; 8]);
    with_options[L3] = 0x46;
    assert_eq!(kind(&V4, &with_options).map(|(kind, ..)| kind), Some(L4::Udp));
    let mut impossible = udp(&V4, (5, 6), b"");
    impossible[L3] = 0x44;
    assert_eq!(kind(&V4, &impossible), None);
    impossible[L3] = 0x45;
    impossible[L3 + 2..L3 + 4].copy_from_slice(&[0, 19]);
    assert_eq!(kind(&V4, &impossible), None);
    let not_an_error = echo(&V4, false, 1, &udp(&V4, (1, 2), b"")[L3..]);
    assert_eq!(quoted(&not_an_error, &parse(&not_an_error)), None);
}

proptest! {
    #[test]
    fn own_errors_quote_what_they_are_about(frame in packets(), mtu in any::<u32>()) {
        let error = error_about(&frame, IcmpErrorKind::TooBig { mtu }).expect("an answer");
        assert_checksums(&error);
        let quote = quoted(&error, &parse(&error)).expect("a quote");
        let headers = parse(&frame);
        prop_assert_eq!(quote.addresses, headers.addresses);
        prop_assert_eq!(quote.l4_kind, headers.l4_kind);
        prop_assert_eq!((quote.source_port, quote.destination_port), (headers.source_port, headers.destination_port));
    }
}

//! Frames that the Linux kernel made (captured on a veth between two namespaces, checksum offload off), and some made by
//! hand from them: they must parse to exactly this, and the gateway's own errors must quote as the kernel's do.

use std::net::IpAddr;
use tombolo_wire::icmp::{IcmpErrorKind, build_error, quoted};
use tombolo_wire::{Addresses, Fragment, Headers, L4, ParseError, checksum, parse_frame, parse_ip};

macro_rules! golden {
    ($name:literal) => {
        &include_bytes!(concat!("../fuzz/corpus/fuzz_frame/", $name))[..]
    };
}

/// 192.0.2.1 → 192.0.2.2.
const V4: Addresses = Addresses::V4 {
    source: 0xc000_0201,
    destination: 0xc000_0202,
};
/// 2001:db8::1 → 2001:db8::2.
const V6: Addresses = Addresses::V6 {
    source: [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    destination: [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
};

/// Name, frame, addresses, L4, source port, destination port, fragment.
type Row = (&'static str, &'static [u8], Addresses, L4, u16, u16, Fragment);

fn rows() -> Vec<Row> {
    let (request, reply) = (L4::Echo { reply: false }, L4::Echo { reply: true });
    let (syn, reset) = (L4::Tcp { flags: 0x02 }, L4::Tcp { flags: 0x14 });
    let (whole, first, later) = (Fragment::None, Fragment::First, Fragment::Later);
    let (back4, back6) = (V4.reversed(), V6.reversed());
    vec![
        ("echo", golden!("ipv4-echo-request"), V4, request, 0x5456, 0x5456, whole),
        (
            "echo reply",
            golden!("ipv4-echo-reply"),
            back4,
            reply,
            0x5456,
            0x5456,
            whole,
        ),
        (
            "echo v6",
            golden!("ipv6-echo-request"),
            V6,
            request,
            0x547e,
            0x547e,
            whole,
        ),
        (
            "echo reply v6",
            golden!("ipv6-echo-reply"),
            back6,
            reply,
            0x547e,
            0x547e,
            whole,
        ),
        ("SYN", golden!("ipv4-tcp-syn"), V4, syn, 0x9c42, 9, whole),
        ("RST", golden!("ipv4-tcp-reset"), back4, reset, 9, 0x9c42, whole),
        ("SYN v6", golden!("ipv6-tcp-syn"), V6, syn, 0x9396, 9, whole),
        ("RST v6", golden!("ipv6-tcp-reset"), back6, reset, 9, 0x9396, whole),
        ("UDP", golden!("ipv4-udp"), V4, L4::Udp, 0x8a1b, 9, whole),
        ("UDP v6", golden!("ipv6-udp"), V6, L4::Udp, 0xc594, 9, whole),
        (
            "port unreachable",
            golden!("ipv4-port-unreachable"),
            back4,
            L4::IcmpError,
            0,
            0x0303,
            whole,
        ),
        (
            "port unreachable v6",
            golden!("ipv6-port-unreachable"),
            back6,
            L4::IcmpError,
            0,
            0x0104,
            whole,
        ),
        ("first", golden!("ipv4-fragment-first"), V4, L4::Udp, 0x864d, 9, first),
        ("later", golden!("ipv4-fragment-later"), V4, L4::Unseen, 0, 0, later),
        (
            "first v6",
            golden!("ipv6-fragment-first"),
            V6,
            L4::Udp,
            0xe901,
            9,
            first,
        ),
        ("later v6", golden!("ipv6-fragment-later"), V6, L4::Unseen, 0, 0, later),
        (
            "ESP",
            golden!("ipv4-esp"),
            V4,
            L4::Esp { spi: 0xc0ff_ee01 },
            0,
            0,
            whole,
        ),
        (
            "options twice",
            golden!("ipv6-destination-options-twice"),
            V6,
            request,
            0x547e,
            0x547e,
            whole,
        ),
        (
            "atomic fragment",
            golden!("ipv6-atomic-fragment"),
            V6,
            request,
            0x547e,
            0x547e,
            whole,
        ),
    ]
}

#[test]
fn golden_frames_parse_to_what_they_are() {
    for (name, frame, addresses, kind, source_port, destination_port, fragment) in rows() {
        let (link, headers) = parse_frame(frame).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((link.l3, link.vlan), (14, None), "{name}");
        assert_eq!(headers.addresses, addresses, "{name}");
        assert_eq!((headers.l4_kind, headers.fragment), (kind, fragment), "{name}");
        assert_eq!(
            (headers.source_port, headers.destination_port),
            (source_port, destination_port),
            "{name}"
        );
        assert_eq!(usize::from(headers.end), frame.len(), "{name}");
        assert_eq!(headers.ttl, 64, "{name}");
        assert!(checksum::transport_valid(frame, &headers), "{name}");
    }
}

#[test]
fn tags_and_padding() {
    let (link, headers) = parse_frame(golden!("vlan-7-ipv4-echo-request")).unwrap();
    assert_eq!((link.vlan, link.l3, headers.l4), (Some(7), 18, 38));
    let (link, headers) = parse_frame(golden!("service-vlan-ipv6-echo-request")).unwrap();
    assert_eq!((link.vlan, link.l3, headers.l4), (Some(4095), 18, 58));
    let padded = golden!("ipv4-padded-to-60");
    assert_eq!((parse_frame(padded).unwrap().1.end, padded.len()), (43, 60));
}

#[test]
fn refused_frames() {
    for (frame, expected) in [
        (golden!("arp"), ParseError::NotIp),
        (golden!("vlan-twice"), ParseError::NotIp),
        (golden!("ipv4-options"), ParseError::IpOptions),
        (golden!("ipv6-hop-by-hop"), ParseError::IpOptions),
        (golden!("ipv6-routing-segments-left"), ParseError::ExtensionHeaders),
        (golden!("ipv6-extension-header-loop"), ParseError::ExtensionHeaders),
        (golden!("ipv6-fragment-twice"), ParseError::ExtensionHeaders),
        (golden!("ipv4-tiny-first-fragment"), ParseError::FragmentOverlap),
        (golden!("ipv4-fragment-over-tcp-header"), ParseError::FragmentOverlap),
    ] {
        assert_eq!(parse_frame(frame), Err(expected));
    }
}

/// Everything of an ICMP error but the fields that each sender picks: TOS, flow label, identification, hop limit.
fn comparable(frame: &[u8]) -> (Headers, Vec<u8>) {
    let headers = parse_ip(frame, 14).expect("an error parses");
    let normal = Headers {
        tos: 0,
        ttl: 0,
        dont_fragment: false,
        ..headers
    };
    (
        normal,
        frame[usize::from(headers.l4)..usize::from(headers.end)].to_vec(),
    )
}

#[test]
fn own_errors_are_those_of_linux() {
    for (offender, kernels_error) in [
        (golden!("ipv4-udp"), golden!("ipv4-port-unreachable")),
        (golden!("ipv6-udp"), golden!("ipv6-port-unreachable")),
    ] {
        let headers = parse_frame(offender).unwrap().1;
        let from: IpAddr = match headers.addresses {
            Addresses::V4 { destination, .. } => IpAddr::from(destination.to_be_bytes()),
            Addresses::V6 { destination, .. } => IpAddr::from(destination),
        };
        let mut out = [0; 1500];
        let end = build_error(IcmpErrorKind::PortUnreachable, offender, &headers, from, &mut out, 14).unwrap();
        assert_eq!(comparable(&out[..end]), comparable(kernels_error));
    }
}

#[test]
fn quotes_of_linux_are_read() {
    for (error, source_port, length) in [
        (golden!("ipv4-port-unreachable"), 0x8a1b, 67),
        (golden!("ipv6-port-unreachable"), 0xc594, 107),
        (golden!("ipv4-port-unreachable-576"), 0x864d, 576),
        (golden!("ipv6-port-unreachable-1280"), 0xe901, 1280),
    ] {
        let outer = parse_frame(error).unwrap().1;
        assert_eq!(outer.ip_len(), length);
        let quote = quoted(error, &outer).expect("a quote");
        assert_eq!(quote.addresses, outer.addresses.reversed());
        assert_eq!(
            (quote.l4_kind, quote.source_port, quote.destination_port),
            (L4::Udp, source_port, 9)
        );
        assert_eq!(quote.end, outer.end);
    }
}

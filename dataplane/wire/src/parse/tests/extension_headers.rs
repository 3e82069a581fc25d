//! IPv6 fragments and chains of extension headers.

use crate::headers::{Fragment, L4, ParseError};
use crate::parse::parse_ip;
use crate::testing::{L3, V6, ipv6};

const DESTINATION_OPTIONS: u8 = 60;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;

fn fragment_header(next: u8, offset: u16, more: bool) -> [u8; 8] {
    let [field0, field1] = (offset | u16::from(more)).to_be_bytes();
    [next, 0, field0, field1, 0, 0, 0, 7]
}

#[test]
fn ipv6_fragments() {
    let parse = |upper: u8, offset: u16, more: bool, length: usize| {
        let mut payload = vec![0u8; length];
        if let Some(data_offset) = payload.get_mut(12) {
            *data_offset = 0x50;
        }
        if let Some(udp_length) = payload.get_mut(4) {
            *udp_length = 0x40;
        }
        let bytes = [&fragment_header(upper, offset, more)[..], &payload].concat();
        parse_ip(&ipv6(&V6, FRAGMENT, &bytes), L3).map(|headers| (headers.fragment, headers.l4_kind))
    };
    assert_eq!(parse(17, 0, true, 16), Ok((Fragment::First, L4::Udp)));
    assert_eq!(parse(17, 8, false, 3), Ok((Fragment::Later, L4::Unseen)));
    assert_eq!(parse(6, 0, true, 16), Err(ParseError::FragmentOverlap));
    assert_eq!(parse(6, 8, false, 16), Err(ParseError::FragmentOverlap));
    assert_eq!(parse(17, 0, true, 15), Err(ParseError::IpMalformed));
    assert_eq!(parse(17, 0xfff8, false, 7), Ok((Fragment::Later, L4::Unseen)));
    assert_eq!(parse(17, 0xfff8, false, 8), Err(ParseError::IpMalformed));
    // Extension headers before the fragment header count for the reassembled packet's payload length (RFC 8200 §4.5).
    let behind_options = |length: usize| {
        let options = [FRAGMENT, 0, 1, 4, 0, 0, 0, 0];
        let bytes = [&options[..], &fragment_header(17, 0xfff0, false), &vec![0; length]].concat();
        parse_ip(&ipv6(&V6, DESTINATION_OPTIONS, &bytes), L3).map(|headers| headers.fragment)
    };
    assert_eq!(behind_options(7), Ok(Fragment::Later));
    assert_eq!(behind_options(8), Err(ParseError::IpMalformed));
    // An atomic fragment is a whole packet (RFC 6946).
    let atomic = [&fragment_header(17, 0, false)[..], &[0, 1, 0, 2, 0, 8, 0, 0]].concat();
    let headers = parse_ip(&ipv6(&V6, FRAGMENT, &atomic), L3).unwrap();
    assert_eq!(
        (headers.fragment, headers.l4, headers.protocol),
        (Fragment::None, 62, 17)
    );
}

#[test]
fn ipv6_extension_headers() {
    let options = |next: u8| vec![next, 0, 1, 4, 0, 0, 0, 0];
    let routing = |next: u8, segments_left: u8| vec![next, 0, 4, segments_left, 0, 0, 0, 0];
    let datagram = vec![0, 1, 0, 2, 0, 8, 0, 0];
    let chain = |first: u8, parts: &[Vec<u8>]| parse_ip(&ipv6(&V6, first, &parts.concat()), L3);

    let headers = chain(
        DESTINATION_OPTIONS,
        &[options(ROUTING), routing(17, 0), datagram.clone()],
    )
    .unwrap();
    assert_eq!((headers.protocol, headers.l4, headers.destination_port), (17, 70, 2));
    let eight: Vec<_> = (0..7)
        .map(|_| options(DESTINATION_OPTIONS))
        .chain([options(17), datagram.clone()])
        .collect();
    assert!(chain(DESTINATION_OPTIONS, &eight).is_ok());
    let nine: Vec<_> = (0..8)
        .map(|_| options(DESTINATION_OPTIONS))
        .chain([options(17), datagram.clone()])
        .collect();
    for (name, first, parts, expected) in [
        (
            "hop-by-hop",
            0,
            vec![options(17), datagram.clone()],
            ParseError::IpOptions,
        ),
        (
            "late hop-by-hop",
            DESTINATION_OPTIONS,
            vec![options(0), options(17)],
            ParseError::ExtensionHeaders,
        ),
        ("too many", DESTINATION_OPTIONS, nine, ParseError::ExtensionHeaders),
        (
            "segments left",
            ROUTING,
            vec![routing(17, 1), datagram.clone()],
            ParseError::ExtensionHeaders,
        ),
        (
            "one unit too long",
            DESTINATION_OPTIONS,
            vec![vec![17, 1, 0, 0, 0, 0, 0, 0]],
            ParseError::ExtensionHeaders,
        ),
        (
            "longer than the packet",
            DESTINATION_OPTIONS,
            vec![vec![17, 9, 0, 0, 0, 0, 0, 0]],
            ParseError::ExtensionHeaders,
        ),
        (
            "cut off",
            DESTINATION_OPTIONS,
            vec![vec![17, 0, 0]],
            ParseError::ExtensionHeaders,
        ),
        (
            "fragment cut off",
            FRAGMENT,
            vec![vec![17, 0, 0, 0, 0, 0, 0]],
            ParseError::ExtensionHeaders,
        ),
        (
            "fragment twice",
            FRAGMENT,
            vec![
                fragment_header(FRAGMENT, 0, false).to_vec(),
                fragment_header(17, 0, false).to_vec(),
                datagram.clone(),
            ],
            ParseError::ExtensionHeaders,
        ),
    ] {
        assert_eq!(chain(first, &parts), Err(expected), "{name}");
    }
    assert_eq!(chain(59, &[]).unwrap().l4_kind, L4::Other, "no next header");
}

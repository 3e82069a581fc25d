//! Entries for fuzzing: each takes a stranger's bytes and must not panic. Replayed over `fuzz/corpus` by `tests/corpus.rs`.

use crate::edit::{self, Rewrite};
use crate::headers::{Addresses, Headers};
use crate::icmp::{self, IcmpErrorKind};
use crate::{checksum, fragment, parse_frame, parse_ip};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A frame as it came from the wire.
pub fn fuzz_frame(data: &[u8]) {
    if let Ok((_, headers)) = parse_frame(data) {
        every_edit(data, &headers);
    }
}

/// An IP packet at offset 0 whose IPv4 header checksum is made right first, so that mutations reach what lies behind it.
pub fn fuzz_packet(data: &[u8]) {
    let mut packet = data.to_vec();
    fix_ipv4_checksum(&mut packet);
    if let Ok(headers) = parse_ip(&packet, 0) {
        every_edit(&packet, &headers);
    }
}

fn fix_ipv4_checksum(packet: &mut [u8]) {
    if packet.first().is_some_and(|byte| *byte == 0x45)
        && let Some(header) = packet.first_chunk_mut::<20>()
    {
        header[10..12].fill(0);
        let checksum = checksum::internet(header);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// Offsets as `Headers` promises them, then every edit on a copy. What an edit leaves must still parse to the same shape.
fn every_edit(frame: &[u8], headers: &Headers) {
    assert!(headers.l3 < headers.l4 && headers.l4 <= headers.end && usize::from(headers.end) <= frame.len());
    let valid = checksum::transport_valid(frame, headers);
    let to = target(headers);
    let mut copy = frame.to_vec();
    edit::rewrite(&mut copy, headers, &to);
    let l3 = usize::from(headers.l3);
    let again = parse_ip(&copy, l3).expect("a rewritten packet parses");
    assert_eq!(
        (again.addresses, again.l4_kind, again.end),
        (to.addresses, headers.l4_kind, headers.end)
    );
    assert!(
        !valid || checksum::transport_valid(&copy, &again),
        "a right checksum stays right"
    );
    edit::clamp_mss(&mut copy, &again, 1200);
    assert!(
        !valid || checksum::transport_valid(&copy, &again),
        "a right checksum stays right"
    );
    if edit::decrement_ttl(&mut copy, &again) {
        edit::write_tos(&mut copy, &again, 0xb9);
        let last = parse_ip(&copy, l3).expect("an edited packet parses");
        assert_eq!((last.ttl, last.tos), (headers.ttl - 1, 0xb9));
    }
    let _ = fragment::fragment(frame, headers, 68, |piece| piece.write(&mut [0; 128], 14).is_some());
    errors(frame, headers, &to);
}

fn errors(frame: &[u8], headers: &Headers, to: &Rewrite) {
    let l3 = usize::from(headers.l3);
    let from: IpAddr = if headers.addresses.is_v6() {
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1).into()
    } else {
        Ipv4Addr::new(10, 0, 0, 1).into()
    };
    let mut out = [0u8; 1500];
    if let Some(end) = icmp::build_error(IcmpErrorKind::TooBig { mtu: 1400 }, frame, headers, from, &mut out, 14) {
        let error = parse_ip(&out[..end], 14).expect("an own error parses");
        let quoted = icmp::quoted(&out, &error).expect("an own error quotes a packet");
        assert_eq!(
            (quoted.addresses, quoted.protocol),
            (headers.addresses, headers.protocol)
        );
        assert!(checksum::transport_valid(&out, &error));
    }
    let _ = icmp::quoted_mtu(frame, headers);
    if let Some(quoted) = icmp::quoted(frame, headers) {
        let mut copy = frame.to_vec();
        icmp::translate_error(&mut copy, headers, &quoted, &to.addresses, to);
        let again = parse_ip(&copy, l3).expect("a translated error parses");
        let valid = checksum::transport_valid(frame, headers);
        assert!(
            !valid || checksum::transport_valid(&copy, &again),
            "a right checksum stays right"
        );
    }
}

fn target(headers: &Headers) -> Rewrite {
    let addresses = match headers.addresses {
        Addresses::V4 { source, .. } => Addresses::V4 {
            source: 0xc633_6401,
            destination: 0x0a00_0000 | source >> 16,
        },
        Addresses::V6 { source, destination } => {
            let mut new = source;
            new[0] = 0xfd;
            new[15] ^= destination[15];
            Addresses::V6 {
                source: new,
                destination: new,
            }
        }
    };
    Rewrite {
        addresses,
        source_port: 40_000,
        destination_port: headers.source_port.wrapping_add(1),
    }
}

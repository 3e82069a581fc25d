use super::*;
use crate::testing::{
    L3, V4, V6, assert_checksums, echo, icmp, ipv4, packet, packets, parse, same_family, tcp, udp, udp_unchecked,
};
use proptest::prelude::*;

const TO4: Addresses = Addresses::V4 {
    source: 0xcb00_7105,
    destination: 0x0a01_0203,
};

fn to(addresses: Addresses) -> Rewrite {
    Rewrite {
        addresses,
        source_port: 40_001,
        destination_port: 8443,
    }
}

/// A packet and what to make of it.
fn packet_and_target() -> impl Strategy<Value = (Vec<u8>, Rewrite)> {
    packets().prop_flat_map(|frame| {
        let addresses = same_family(parse(&frame).addresses);
        (Just(frame), addresses, any::<(u16, u16)>()).prop_map(|(frame, addresses, (source_port, destination_port))| {
            (
                frame,
                Rewrite {
                    addresses,
                    source_port,
                    destination_port,
                },
            )
        })
    })
}

#[test]
fn echo_takes_the_port_of_its_direction() {
    for addresses in [V4, V6] {
        for (reply, identifier) in [(false, 40_001), (true, 8443)] {
            let mut frame = echo(&addresses, reply, 7, b"ping");
            let headers = parse(&frame);
            rewrite(&mut frame, &headers, &to(addresses.reversed()));
            let headers = parse(&frame);
            assert_eq!(
                (headers.source_port, headers.destination_port),
                (identifier, identifier)
            );
            assert_eq!(headers.addresses, addresses.reversed());
            assert_checksums(&frame);
        }
    }
}

/// The translated echo request of a host that pings with identifier, sequence number and data of zero comes back.
#[test]
fn an_echo_reply_of_zeros_has_the_other_zero() {
    let mut frame = icmp(&V4, 0, 0, [0x9c, 0x41, 0, 0], &[0; 56]);
    let headers = parse(&frame);
    let to = Rewrite {
        destination_port: 0,
        ..to(TO4)
    };
    rewrite(&mut frame, &headers, &to);
    let l4 = usize::from(headers.l4);
    assert_eq!(frame[l4..l4 + 8], [0, 0, 0xff, 0xff, 0, 0, 0, 0]);
    assert_checksums(&frame);
}

#[test]
fn udp_zero_checksum_stays() {
    let mut frame = udp_unchecked(&V4, (1, 2), b"data");
    let headers = parse(&frame);
    rewrite(&mut frame, &headers, &to(TO4));
    assert_eq!(frame[L3 + 26..L3 + 28], [0, 0]);
    assert_checksums(&frame);
}

#[test]
fn udp_checksum_that_becomes_zero_is_sent_as_ffff() {
    for addresses in [V4, V6] {
        let checksum_at = if addresses.is_v6() { L3 + 46 } else { L3 + 26 };
        // With the checksum as new source port in place of 0, the new sum is that of all ones.
        let mut frame = udp(&addresses, (0, 2), b"data");
        let source_port = u16::from_be_bytes([frame[checksum_at], frame[checksum_at + 1]]);
        let headers = parse(&frame);
        rewrite(
            &mut frame,
            &headers,
            &Rewrite {
                addresses,
                source_port,
                destination_port: 2,
            },
        );
        assert_eq!(frame[checksum_at..checksum_at + 2], [0xff, 0xff]);
        assert_checksums(&frame);
    }
}

#[test]
fn first_fragment_keeps_the_whole_datagrams_checksum_right() {
    let whole = udp(&V4, (1000, 2000), &[0x5a; 100]);
    let datagram = &whole[L3 + 20..];
    let mut first = ipv4(&V4, 17, 0x2000, &datagram[..64]);
    let mut later = ipv4(&V4, 17, 8, &datagram[64..]);
    for fragment in [&mut first, &mut later] {
        let headers = parse(fragment);
        rewrite(fragment, &headers, &to(TO4));
        assert_eq!(parse(fragment).addresses, TO4, "the header checksum is right");
    }
    assert_eq!(
        later[L3 + 20..],
        datagram[64..],
        "nothing but addresses in a later fragment"
    );
    assert_checksums(&packet(&TO4, 17, &[&first[L3 + 20..], &later[L3 + 20..]].concat()));
}

#[test]
fn payload_without_ports_stays() {
    let esp = [0xc0, 0xff, 0xee, 1, 0, 0, 0, 1, 2, 3];
    for (protocol, payload) in [(50, &esp[..]), (47, &[9; 30])] {
        let mut frame = packet(&V4, protocol, payload);
        let headers = parse(&frame);
        rewrite(&mut frame, &headers, &to(TO4));
        assert_eq!(frame, packet(&TO4, protocol, payload));
    }
    for addresses in [V4, V6] {
        let mut frame = icmp(&addresses, 13, 0, [1, 2, 3, 4], b"timestamp");
        let headers = parse(&frame);
        rewrite(&mut frame, &headers, &to(addresses.reversed()));
        assert_eq!(frame, icmp(&addresses.reversed(), 13, 0, [1, 2, 3, 4], b"timestamp"));
    }
}

#[test]
#[should_panic(expected = "a rewrite keeps the address family")]
fn other_family_is_a_broken_law() {
    let mut frame = udp(&V4, (1, 2), b"");
    let headers = parse(&frame);
    rewrite(&mut frame, &headers, &to(V6));
}

#[test]
fn ttl_falls_by_one_and_stops_before_zero() {
    for addresses in [V4, V6] {
        let mut frame = tcp(&addresses, (1, 2), 0x10, &[], b"");
        for ttl in (1..64).rev() {
            let headers = parse(&frame);
            assert!(decrement_ttl(&mut frame, &headers));
            assert_eq!(parse(&frame).ttl, ttl);
        }
        let headers = parse(&frame);
        let before = frame.clone();
        assert!(!decrement_ttl(&mut frame, &headers), "TTL 1");
        assert!(!decrement_ttl(&mut frame, &Headers { ttl: 0, ..headers }));
        assert_eq!(frame, before);
    }
}

#[test]
fn link_header_with_and_without_tag() {
    let mut frame = [0xee; 20];
    assert_eq!(write_link(&mut frame, [1; 6], [2; 6], 0x0800, None), 14);
    assert_eq!(
        frame,
        *b"\x01\x01\x01\x01\x01\x01\x02\x02\x02\x02\x02\x02\x08\x00\xee\xee\xee\xee\xee\xee"
    );
    assert_eq!(write_link(&mut frame, [1; 6], [2; 6], 0x86dd, Some(0x0123)), 18);
    assert_eq!(
        frame,
        *b"\x01\x01\x01\x01\x01\x01\x02\x02\x02\x02\x02\x02\x81\x00\x01\x23\x86\xdd\xee\xee"
    );
    assert_eq!(crate::parse_link(&frame).unwrap().vlan, Some(0x0123));
}

proptest! {
    #[test]
    fn rewritten_packets_are_right((frame, to) in packet_and_target()) {
        let headers = parse(&frame);
        let mut copy = frame.clone();
        rewrite(&mut copy, &headers, &to);
        assert_checksums(&copy);
        let again = parse(&copy);
        prop_assert_eq!(again.addresses, to.addresses);
        match headers.l4_kind {
            L4::Echo { reply: false } => prop_assert_eq!(again.source_port, to.source_port),
            L4::Echo { reply: true } => prop_assert_eq!(again.source_port, to.destination_port),
            L4::Tcp { .. } | L4::Udp | L4::IcmpError | L4::IcmpOther | L4::Esp { .. } | L4::Other | L4::Unseen => {
                prop_assert_eq!((again.source_port, again.destination_port), (to.source_port, to.destination_port));
            }
        }
        let back = Rewrite {
            addresses: headers.addresses,
            source_port: headers.source_port,
            destination_port: headers.destination_port,
        };
        rewrite(&mut copy, &again, &back);
        prop_assert_eq!(copy, frame, "there and back");
    }

    #[test]
    fn damaged_packets_stay_damaged((frame, to) in packet_and_target(), at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let headers = parse(&frame);
        let l4 = usize::from(headers.l4);
        let at = l4 + at.index(frame.len() - l4);
        let mut damaged = frame.clone();
        damaged[at] ^= 1 << bit;
        let Ok(headers) = crate::parse_ip(&damaged, L3) else { return Ok(()) };
        if crate::checksum::transport_valid(&damaged, &headers) {
            // UDP without a checksum shows no damage.
            return Ok(());
        }
        rewrite(&mut damaged, &headers, &to);
        let headers = parse(&damaged);
        prop_assert!(!crate::checksum::transport_valid(&damaged, &headers));
    }

    #[test]
    fn tos_is_written(frame in packets(), tos in any::<u8>()) {
        let mut copy = frame.clone();
        let headers = parse(&frame);
        write_tos(&mut copy, &headers, tos);
        assert_checksums(&copy);
        prop_assert_eq!(parse(&copy), Headers { tos, ..headers });
        write_tos(&mut copy, &headers, headers.tos);
        prop_assert_eq!(copy, frame);
    }
}

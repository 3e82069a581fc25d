//! Translation of errors: known cases, and there and back.

use super::quoting;
use crate::edit::Rewrite;
use crate::headers::Addresses;
use crate::icmp::{quoted, translate_error};
use crate::testing::{L3, V4, V6, addresses_v4, addresses_v6, assert_checksums, packets, parse, same_family, udp};
use proptest::prelude::*;

/// An error as some router sends it, the quote cut anywhere behind its first 8 bytes of L4, and two translations.
fn translations() -> impl Strategy<Value = (Vec<u8>, Addresses, Rewrite)> {
    (packets(), any::<prop::sample::Index>(), any::<(u16, u16)>()).prop_flat_map(|(inner, cut, ports)| {
        let quoted_addresses = parse(&inner).addresses;
        let router = if quoted_addresses.is_v6() {
            addresses_v6().boxed()
        } else {
            addresses_v4().boxed()
        };
        let l4_end = usize::from(parse(&inner).l4) - L3 + 8;
        let length = l4_end + cut.index(inner.len() - L3 - l4_end + 1);
        (router, same_family(quoted_addresses), same_family(quoted_addresses)).prop_map(
            move |(outer, to, quoted_to)| {
                let rewrite = Rewrite {
                    addresses: quoted_to,
                    source_port: ports.0,
                    destination_port: ports.1,
                };
                (quoting(&outer, &inner[L3..], length), to, rewrite)
            },
        )
    })
}

#[test]
fn translated_quote_is_the_packet_its_sender_wrote() {
    for addresses in [V4, V6] {
        // Inside host 4000 was translated to outside `addresses` source, port 40000; a router on the way complains.
        let inside = if addresses.is_v6() {
            Addresses::V6 {
                source: [0xfd; 16],
                destination: destination6(&addresses),
            }
        } else {
            Addresses::V4 {
                source: 0x0a00_0005,
                destination: destination4(&addresses),
            }
        };
        let sent = udp(&inside, (4000, 53), b"question");
        let seen = udp(&addresses, (40_000, 53), b"question");
        let router = router_to(&addresses);
        let mut frame = quoting(&router, &seen[L3..], 2000);
        let outer = parse(&frame);
        let quote = quoted(&frame, &outer).unwrap();
        let outer_to = router_to(&inside);
        translate_error(
            &mut frame,
            &outer,
            &quote,
            &outer_to,
            &Rewrite {
                addresses: inside,
                source_port: 4000,
                destination_port: 53,
            },
        );
        assert_eq!(frame, quoting(&outer_to, &sent[L3..], 2000));
    }
}

fn destination4(addresses: &Addresses) -> u32 {
    match addresses {
        Addresses::V4 { destination, .. } => *destination,
        Addresses::V6 { .. } => panic!("IPv4 expected"),
    }
}

fn destination6(addresses: &Addresses) -> [u8; 16] {
    match addresses {
        Addresses::V6 { destination, .. } => *destination,
        Addresses::V4 { .. } => panic!("IPv6 expected"),
    }
}

/// From a router on the way to the source of `addresses`.
fn router_to(addresses: &Addresses) -> Addresses {
    match *addresses {
        Addresses::V4 { source, .. } => Addresses::V4 {
            source: 0xcb00_7101,
            destination: source,
        },
        Addresses::V6 { source, .. } => Addresses::V6 {
            source: [0x26; 16],
            destination: source,
        },
    }
}

proptest! {
    #[test]
    fn translation_there_and_back_is_identity((frame, outer_to, quoted_to) in translations()) {
        let outer = parse(&frame);
        let quote = quoted(&frame, &outer).expect("ports are there");
        let mut copy = frame.clone();
        translate_error(&mut copy, &outer, &quote, &outer_to, &quoted_to);
        assert_checksums(&copy);
        let (outer_again, quote_again) = (parse(&copy), quoted(&copy, &parse(&copy)).expect("still a quote"));
        prop_assert_eq!(outer_again.addresses, outer_to);
        prop_assert_eq!(quote_again.addresses, quoted_to.addresses);
        if !outer.addresses.is_v6() {
            let header = usize::from(quote.l3)..usize::from(quote.l4);
            prop_assert_eq!(crate::testing::naive_checksum(&copy[header]), 0, "quoted IPv4 header");
        }
        let back = Rewrite {
            addresses: quote.addresses,
            source_port: quote.source_port,
            destination_port: quote.destination_port,
        };
        translate_error(&mut copy, &outer_again, &quote_again, &outer.addresses, &back);
        prop_assert_eq!(copy, frame);
    }

    #[test]
    fn any_quote_is_translated_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..90),
        first in prop_oneof![Just(0x45u8), Just(0x46), Just(0x60)],
        next in prop_oneof![Just(6u8), Just(17), Just(58), Just(60), Just(44), Just(43)],
        v6 in any::<bool>(),
    ) {
        let addresses = if v6 { V6 } else { V4 };
        let mut bytes = bytes;
        for (at, value) in [(0, first), (6, next), (9, next)] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        let mut frame = quoting(&addresses, &bytes, 90);
        let outer = parse(&frame);
        if let Some(quote) = quoted(&frame, &outer) {
            let to = Rewrite { addresses, source_port: 1, destination_port: 2 };
            translate_error(&mut frame, &outer, &quote, &addresses.reversed(), &to);
            assert_checksums(&frame);
        }
    }
}

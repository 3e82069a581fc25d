use super::*;
use tombolo_wire::{Fragment, L4, checksum, parse_ip};

const L3: usize = 14;

fn v4() -> Addresses {
    Addresses::V4 {
        source: 0xc000_0201,
        destination: 0xc633_6401,
    }
}

fn v6() -> Addresses {
    let mut source = [0; 16];
    source[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    let mut destination = source;
    (source[15], destination[15]) = (1, 2);
    Addresses::V6 { source, destination }
}

fn template(addresses: Addresses, encapsulation: Encapsulation) -> OuterTemplate {
    OuterTemplate {
        addresses,
        encapsulation,
        dscp: Dscp::Copy,
        dont_fragment: DontFragment::Set,
        ttl: 64,
    }
}

const UDP: Encapsulation = Encapsulation::Udp {
    source_port: 4500,
    destination_port: 30_001,
};
const INNER: Inner = Inner {
    tos: 0xb9,
    dont_fragment: true,
};

/// A frame with `esp` where the template wants it, headers written.
fn packet(template: &OuterTemplate, esp: &[u8], inner: Inner, identification: u16) -> Vec<u8> {
    let mut frame = vec![0xaa; L3 + template.header_length() + esp.len() + 20];
    let esp_at = L3 + template.header_length();
    frame[esp_at..esp_at + esp.len()].copy_from_slice(esp);
    let end = write_outer(&mut frame, L3, template, esp.len(), inner, identification).expect("it fits");
    assert_eq!(end, esp_at + esp.len());
    assert!(
        frame[..L3].iter().chain(&frame[end..]).all(|byte| *byte == 0xaa),
        "nothing else is written"
    );
    frame.truncate(end);
    frame
}

#[test]
fn each_kind_of_header_parses_back() {
    let esp: Vec<u8> = (1..=101).collect();
    for addresses in [v4(), v6()] {
        for encapsulation in [Encapsulation::Ip, UDP] {
            let template = template(addresses, encapsulation);
            let frame = packet(&template, &esp, INNER, 7);
            let headers = parse_ip(&frame, L3).expect("a valid packet");
            assert_eq!(headers.addresses, addresses);
            assert_eq!((headers.tos, headers.ttl), (0xb9, 64));
            assert_eq!(usize::from(headers.end), frame.len());
            assert_eq!(headers.fragment, Fragment::None);
            match encapsulation {
                Encapsulation::Ip => {
                    assert_eq!(headers.protocol, PROTOCOL_ESP);
                    assert_eq!(headers.l4_kind, L4::Esp { spi: 0x0102_0304 });
                }
                Encapsulation::Udp { .. } => {
                    assert_eq!(headers.l4_kind, L4::Udp);
                    assert_eq!((headers.source_port, headers.destination_port), (4500, 30_001));
                    let l4 = usize::from(headers.l4);
                    let zero = frame[l4 + 6..l4 + 8] == [0, 0];
                    assert_eq!(zero, !addresses.is_v6(), "RFC 3948 §2.1, RFC 8200 §8.1");
                    assert!(checksum::transport_valid(&frame, &headers));
                }
            }
        }
    }
}

#[test]
fn dont_fragment_is_set_copied_or_cleared_and_the_id_follows() {
    for (choice, inner_df, expected) in [
        (DontFragment::Set, false, true),
        (DontFragment::Copy, true, true),
        (DontFragment::Copy, false, false),
        (DontFragment::Clear, true, false),
    ] {
        let template = OuterTemplate {
            dont_fragment: choice,
            ..template(v4(), Encapsulation::Ip)
        };
        let frame = packet(
            &template,
            &[1; 40],
            Inner {
                tos: 0,
                dont_fragment: inner_df,
            },
            0xbeef,
        );
        assert_eq!(parse_ip(&frame, L3).expect("a valid packet").dont_fragment, expected);
        let identification: &[u8] = if expected { &[0, 0] } else { &[0xbe, 0xef] };
        assert_eq!(&frame[L3 + 4..L3 + 6], identification, "RFC 6864");
    }
}

#[test]
fn dscp_is_copied_or_fixed_and_ecn_always_copied() {
    for addresses in [v4(), v6()] {
        for tos in 0..=255u8 {
            for (dscp, expected) in [
                (Dscp::Copy, tos),
                (Dscp::Fixed(0), tos & 3),
                (Dscp::Fixed(10), 40 | tos & 3),
            ] {
                let template = OuterTemplate {
                    dscp,
                    ..template(addresses, Encapsulation::Ip)
                };
                let frame = packet(
                    &template,
                    &[1; 40],
                    Inner {
                        tos,
                        dont_fragment: true,
                    },
                    0,
                );
                assert_eq!(parse_ip(&frame, L3).expect("a valid packet").tos, expected);
            }
        }
    }
}

#[test]
fn frames_too_small_and_packets_too_long_are_refused() {
    for addresses in [v4(), v6()] {
        let template = template(addresses, UDP);
        let needed = L3 + template.header_length() + 40;
        for length in 0..needed {
            assert_eq!(
                write_outer(&mut vec![0; length], L3, &template, 40, INNER, 0),
                Err(OuterError::NoRoom)
            );
        }
        assert_eq!(
            write_outer(&mut vec![0; needed], L3, &template, 40, INNER, 0),
            Ok(needed)
        );
        let longest = 65_535 - template.header_length();
        let mut frame = vec![0; 70_000];
        assert!(write_outer(&mut frame, L3, &template, longest, INNER, 0).is_ok());
        for esp in [longest + 1, usize::MAX - 100, usize::MAX] {
            assert_eq!(
                write_outer(&mut frame, L3, &template, esp, INNER, 0),
                Err(OuterError::TooLong)
            );
        }
        assert_eq!(
            write_outer(&mut frame, usize::MAX, &template, 40, INNER, 0),
            Err(OuterError::NoRoom)
        );
    }
}

use super::*;
use crate::edit::{self, Rewrite};
use crate::headers::{Addresses, Fragment, Headers, L4 as Kind};
use crate::parse::parse_frame;
use crate::testing::{V4, packets, tcp, udp, udp_unchecked};
use proptest::prelude::*;

/// The first line of a frame's memory, behind the packet whatever was there before.
fn head_of(frame: &[u8], behind: u8) -> [u8; HEAD] {
    let mut head = [behind; HEAD];
    let length = frame.len().min(HEAD);
    head[..length].copy_from_slice(&frame[..length]);
    head
}

fn mac(frame: &[u8]) -> [u8; 6] {
    *frame.first_chunk().expect("a frame has a link header")
}

/// What the general parser sees, where it sees a plain packet.
fn expected(frame: &[u8]) -> Option<(Headers, Plain)> {
    let (link, headers) = parse_frame(frame).ok()?;
    let Addresses::V4 { source, destination } = headers.addresses else {
        return None;
    };
    let tcp_flags = match headers.l4_kind {
        Kind::Tcp { flags } if flags & tcp_flag::SYN == 0 => flags,
        Kind::Udp => 0,
        Kind::Tcp { .. }
        | Kind::Echo { .. }
        | Kind::IcmpError
        | Kind::IcmpOther
        | Kind::Esp { .. }
        | Kind::Other
        | Kind::Unseen => return None,
    };
    let plain = Plain {
        addresses: u64::from(source) << 32 | u64::from(destination),
        ports: u32::from(headers.source_port) << 16 | u32::from(headers.destination_port),
        ip_length: headers.ip_len() as u16,
        protocol: headers.protocol,
        tcp_flags,
    };
    let usual = link.l3 == 14 && headers.l4 == 34 && headers.fragment == Fragment::None && headers.ttl > 1;
    let unicast = destination >> 24 < 224;
    (usual && unicast).then_some((headers, plain))
}

fn seen(frame: &[u8], behind: u8) -> Option<Plain> {
    let head = head_of(frame, behind);
    if !is_for(&head, station(&mac(frame))) {
        return None;
    }
    read(&head, frame.len())
}

#[test]
fn plain_packets_are_seen_as_the_general_parser_sees_them() {
    for frame in [
        tcp(&V4, (4000, 443), 0x10, &[], b"data"),
        tcp(&V4, (4000, 443), 0x19, &[1; 12], b""),
        udp(&V4, (4000, 53), b""),
        udp_unchecked(&V4, (4000, 53), b"some data"),
    ] {
        let (_, plain) = expected(&frame).expect("a plain packet");
        assert_eq!(seen(&frame, 0xee), Some(plain));
        let padded = [frame, vec![0; 30]].concat();
        assert_eq!(seen(&padded, 0xee), Some(plain), "Ethernet padding is no part of it");
    }
}

#[test]
fn what_is_not_plain_is_left() {
    let good = udp(&V4, (4000, 53), b"some data");
    let at = |offset: usize, value: u8| {
        let mut frame = good.clone();
        frame[14 + offset] = value;
        frame[24] = 0;
        frame[25] = 0;
        let checksum = crate::testing::naive_checksum(&frame[14..34]);
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
        seen(&frame, 0)
    };
    assert!(at(1, 0xb8).is_some(), "TOS may be anything");
    assert!(at(6, 0x40).is_some(), "DF may be set");
    for (offset, value) in [
        (0, 0x46),
        (0, 0x55),
        (6, 0x20),
        (7, 1),
        (8, 1),
        (8, 0),
        (9, 1),
        (9, 50),
        (12, 127),
    ] {
        assert_eq!(at(offset, value), None, "{value:#x} at {offset}");
    }
    for (offset, value) in [
        (12, 0),
        (12, 224),
        (16, 0),
        (16, 127),
        (16, 224),
        (16, 255),
        (2, 1),
        (3, 27),
        (3, 200),
    ] {
        assert_eq!(at(offset, value), None, "{value:#x} at {offset}");
    }
    assert_eq!(seen(&tcp(&V4, (1, 2), 0x02, &[], b""), 0), None, "SYN");
    let mut damaged = good.clone();
    damaged[24] ^= 1;
    assert_eq!(seen(&damaged, 0), None, "wrong header checksum");
    let head = head_of(&good, 0);
    assert!(!is_for(&head, station(&[9; 6])), "another station");
    for length in 0..good.len() {
        assert_eq!(read(&head, length), None, "cut at {length}");
    }
}

proptest! {
    /// Whatever the frame: what is taken is what the general parser sees, and the edits write the same bytes.
    #[test]
    fn nothing_is_seen_otherwise(
        frame in packets(), at in 0usize..60, value: u8, repair: bool, behind: u8, cut in 0usize..80, to: [u32; 3],
    ) {
        let mut frame = frame;
        if at < frame.len() {
            frame[at] = value;
        }
        if repair && frame.len() >= 34 {
            frame[24..26].fill(0);
            let checksum = crate::testing::naive_checksum(&frame[14..34]);
            frame[24..26].copy_from_slice(&checksum.to_be_bytes());
        }
        frame.truncate(frame.len().saturating_sub(cut.saturating_sub(60)));
        if frame.len() < 14 {
            return Ok(());
        }
        let known = expected(&frame);
        let plain = seen(&frame, behind);
        prop_assert_eq!(plain, known.map(|(_, plain)| plain));
        let (Some(plain), Some((headers, _))) = (plain, known) else { return Ok(()) };

        let mut general = frame.clone();
        prop_assert!(edit::decrement_ttl(&mut general, &headers));
        let mut head = head_of(&frame, behind);
        decrement_ttl(&mut head);
        let length = frame.len().min(HEAD);
        prop_assert_eq!(&head[..length], &general[..length]);

        let rewrite = Rewrite {
            addresses: Addresses::V4 { source: to[0], destination: to[1] },
            source_port: (to[2] >> 16) as u16,
            destination_port: to[2] as u16,
        };
        edit::rewrite(&mut general, &headers, &rewrite);
        let mut head = head_of(&frame, behind);
        translate(&mut head, &plain, u64::from(to[0]) << 32 | u64::from(to[1]), to[2]);
        prop_assert_eq!(&head[..length], &general[..length]);

        if plain.protocol == protocol::UDP {
            let (source, port) = ((plain.addresses >> 32) as u32, (plain.ports >> 16) as u16);
            let mut general = frame.clone();
            prop_assert!(edit::decrement_ttl(&mut general, &headers));
            let rewrite = Rewrite {
                addresses: Addresses::V4 { source: to[0], destination: plain.addresses as u32 },
                source_port: to[2] as u16,
                destination_port: plain.ports as u16,
            };
            edit::rewrite(&mut general, &headers, &rewrite);
            let mut head = head_of(&frame, behind);
            translate_udp_source(&mut head, (source, port), (to[0], to[2] as u16));
            prop_assert_eq!(&head[..length], &general[..length]);
        }
    }
}

#[test]
fn plain_esp_is_seen_as_the_general_parser_sees_it() {
    let frame = crate::testing::packet(&V4, 50, &[0xc0, 0xff, 0xee, 1, 0, 0, 0, 1, 9, 9, 9, 9]);
    let station = station(&[frame[0], frame[1], frame[2], frame[3], frame[4], frame[5]]);
    let spi = u32::from_be_bytes([frame[34], frame[35], frame[36], frame[37]]);
    let of = EspOf::new(station, 0xc633_6402, spi);
    let read = |frame: &[u8]| of.read(&head_of(frame, 0xee), frame.len());
    let headers = crate::parse::parse_ip(&frame, 14).expect("a right packet");
    let esp = read(&frame).expect("a plain one");
    assert_eq!(headers.l4_kind, Kind::Esp { spi });
    assert_eq!(
        (usize::from(headers.l4), headers.end, headers.tos),
        (ESP_AT, esp.end, esp.tos)
    );
    assert_eq!(headers.addresses, V4);
    for at in (0..6).chain(12..38) {
        let mut damaged = frame.clone();
        damaged[at] ^= 0x41;
        assert_eq!(read(&damaged), None, "damaged at {at}");
    }
    for another in [
        EspOf::new(station ^ 1, 0xc633_6402, spi),
        EspOf::new(station, 0xc633_6403, spi),
        EspOf::new(station, 0xc633_6402, spi ^ 1 << 31),
    ] {
        assert_eq!(another.read(&head_of(&frame, 0), frame.len()), None);
    }
    for length in 0..frame.len() {
        assert_eq!(of.read(&head_of(&frame, 0), length), None, "cut at {length}");
    }
    assert_eq!(
        read(&crate::testing::packet(&V4, 50, &[1; 7])),
        None,
        "no room for SPI and number"
    );
    assert_eq!(read(&udp(&V4, (1, 2), b"some data")), None);
}

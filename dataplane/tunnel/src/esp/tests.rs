use super::*;
use crate::aead::{Cipher, Provider, SaKeys};
use proptest::prelude::*;

const SPI: u32 = 0x1000_0001;
const SALT: [u8; 4] = [9, 8, 7, 6];

/// A cipher, and who computes it.
type Suite = (Provider, Cipher);

/// Every cipher by every provider of this machine (`tests/providers.rs` says when one is missing).
fn suites() -> Vec<Suite> {
    Provider::available()
        .flat_map(|provider| Cipher::ALL.map(|cipher| (provider, cipher)))
        .collect()
}

fn keys((provider, cipher): Suite) -> SaKeys {
    SaKeys::with(provider, cipher, &[0x5a; 32][..cipher.key_bytes()], SALT).expect("the length is the cipher's")
}

/// Something whose first nibble says IPv4 or IPv6; ESP looks at nothing else of it.
fn inner(length: usize, next_header: u8) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..length).map(|at| (at * 31 + 7) as u8).collect();
    if let Some(first) = bytes.first_mut() {
        *first = if next_header == NEXT_HEADER_IPV6 { 0x60 } else { 0x45 };
    }
    bytes
}

fn sealed(keys: &SaKeys, sequence: u64, esn: bool, next_header: u8, inner: &[u8]) -> Vec<u8> {
    let mut out = vec![0xee; sealed_length(inner.len()) + 10];
    let written = seal(keys, SPI, sequence, esn, next_header, inner, &mut out).expect("it fits");
    assert!(
        out[written..].iter().all(|byte| *byte == 0xee),
        "nothing is written behind the packet"
    );
    out.truncate(written);
    out
}

/// A packet made by hand around any decrypted payload, to face `open` with what `seal` never sends.
fn sealed_raw(keys: &SaKeys, payload: &[u8]) -> Vec<u8> {
    let iv = 1u64.to_be_bytes();
    let mut packet = [&SPI.to_be_bytes()[..], &1u32.to_be_bytes(), &iv, payload].concat();
    let tag = keys
        .seal_in_place(iv, Associated::new(SPI, 1, false).as_slice(), &mut packet[16..])
        .expect("short");
    packet.extend(tag);
    packet
}

fn open_whole(keys: &SaKeys, packet: &[u8], high: u32, esn: bool) -> Result<(Vec<u8>, u8), OpenError> {
    let mut frame = packet.to_vec();
    let length = frame.len();
    let opened = open(keys, &mut frame, 0..length, 0, high, esn)?;
    Ok((frame[opened.inner].to_vec(), opened.next_header))
}

proptest! {
    #[test]
    fn what_was_sealed_opens_to_the_same_packet(
        suite in prop::sample::select(suites()),
        length in 1usize..1600,
        sequence in prop_oneof![1u64..=u32::MAX.into(), (1u64 << 32) - 2..(1 << 32) + 2, any::<u64>().prop_map(|wide| wide.max(1))],
        esn: bool,
        v6: bool,
        esp_at in 0usize..80,
        shift in 0usize..96,
    ) {
        prop_assume!(esn || sequence <= u64::from(u32::MAX));
        let keys = keys(suite);
        let next_header = if v6 { NEXT_HEADER_IPV6 } else { NEXT_HEADER_IPV4 };
        let inner = inner(length, next_header);
        let packet = sealed(&keys, sequence, esn, next_header, &inner);
        prop_assert_eq!(packet.len() % ALIGNMENT, 0);
        prop_assert!(packet.len() - inner.len() >= OVERHEAD_BYTES && packet.len() - inner.len() < OVERHEAD_BYTES + ALIGNMENT);
        let header = EspHeader::parse(&packet);
        prop_assert_eq!(header, Some(EspHeader { spi: SPI, sequence_low: sequence as u32 }));

        let mut frame = [vec![0x11; esp_at], packet, vec![0x22; 30]].concat();
        let end = frame.len() - 30;
        let inner_at = (esp_at + 16).saturating_sub(shift);
        let opened = open(&keys, &mut frame, esp_at..end, inner_at, (sequence >> 32) as u32, esn);
        prop_assert_eq!(&opened, &Ok(Opened { inner: inner_at..inner_at + length, next_header }));
        prop_assert_eq!(&frame[inner_at..inner_at + length], &inner[..]);
        prop_assert!(frame[..inner_at.min(esp_at)].iter().all(|byte| *byte == 0x11), "nothing in front changes");
        prop_assert!(frame[end..].iter().all(|byte| *byte == 0x22), "nothing behind changes");
    }

    #[test]
    fn another_high_half_of_the_sequence_number_is_refused(suite in prop::sample::select(suites()), high: u32, other: u32) {
        prop_assume!(high != other);
        let keys = keys(suite);
        let packet = sealed(&keys, u64::from(high) << 32 | 5, true, NEXT_HEADER_IPV4, &inner(40, 4));
        prop_assert!(open_whole(&keys, &packet, high, true).is_ok());
        prop_assert_eq!(open_whole(&keys, &packet, other, true), Err(OpenError::Auth));
        prop_assert_eq!(open_whole(&keys, &packet, high, false), Err(OpenError::Auth), "ESN is not optional");
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    for suite in suites() {
        let keys = keys(suite);
        let packet = sealed(&keys, 77, false, NEXT_HEADER_IPV4, &inner(21, 4));
        assert!(open_whole(&keys, &packet, 0, false).is_ok());
        for bit in 0..packet.len() * 8 {
            let mut damaged = packet.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                open_whole(&keys, &damaged, 0, false),
                Err(OpenError::Auth),
                "{suite:?} bit {bit}"
            );
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    for suite in suites() {
        let keys = keys(suite);
        let packet = sealed(&keys, 77, true, NEXT_HEADER_IPV6, &inner(61, 41));
        for length in 0..packet.len() {
            let expected = if length < 34 {
                OpenError::TooShort
            } else {
                OpenError::Auth
            };
            assert_eq!(
                open_whole(&keys, &packet[..length], 0, true),
                Err(expected),
                "{suite:?} {length} bytes"
            );
            assert_eq!(
                open_whole(&keys, &packet[packet.len() - length..], 0, true),
                Err(expected)
            );
        }
    }
}

#[test]
fn a_failed_open_leaves_no_plaintext() {
    for suite in suites() {
        let keys = keys(suite);
        let secret = inner(1000, 4);
        let mut frame = sealed(&keys, 1, false, NEXT_HEADER_IPV4, &secret);
        *frame.last_mut().expect("not empty") ^= 1;
        let length = frame.len();
        assert_eq!(open(&keys, &mut frame, 0..length, 0, 0, false), Err(OpenError::Auth));
        assert!(
            !frame.windows(16).any(|window| window == &secret[100..116]),
            "{suite:?}"
        );
    }
}

#[test]
fn impossible_places_are_refused_without_a_panic() {
    let keys = keys((Provider::chosen(), Cipher::Aes128Gcm));
    let packet = sealed(&keys, 1, false, NEXT_HEADER_IPV4, &inner(40, 4));
    let length = packet.len();
    #[expect(clippy::reversed_empty_ranges, reason = "hostile arguments are the point")]
    let ranges = [
        0..length + 1,
        length..length,
        5..3,
        usize::MAX - 1..usize::MAX,
        usize::MAX..0,
    ];
    for esp in ranges {
        assert_eq!(
            open(&keys, &mut packet.clone(), esp, 0, 0, false),
            Err(OpenError::TooShort)
        );
    }
    for inner_at in [17, length, length + 1, usize::MAX] {
        assert_eq!(
            open(&keys, &mut packet.clone(), 0..length, inner_at, 0, false),
            Err(OpenError::TooShort)
        );
    }
    assert!(
        open(&keys, &mut packet.clone(), 0..length, 16, 0, false).is_ok(),
        "in place, without a shift"
    );
}

#[test]
fn padding_is_checked_and_generous_padding_is_taken() {
    let keys = keys((Provider::chosen(), Cipher::Aes256Gcm));
    let open_payload = |payload: &[u8]| open_whole(&keys, &sealed_raw(&keys, payload), 0, false);
    assert_eq!(open_payload(&[0x45, 9, 9, 1, 2, 3, 3, 4]), Ok((vec![0x45, 9, 9], 4)));
    assert_eq!(
        open_payload(&[0x45, 9, 9, 1, 2, 2, 3, 4]),
        Err(OpenError::Padding),
        "1, 2, 2"
    );
    assert_eq!(
        open_payload(&[0x45, 9, 9, 0, 0, 0, 3, 4]),
        Err(OpenError::Padding),
        "zeros"
    );
    assert_eq!(
        open_payload(&[0x45, 1, 2, 3, 4, 5, 7, 4]),
        Err(OpenError::Padding),
        "longer than the payload"
    );
    assert_eq!(
        open_payload(&[0, 4]),
        Err(OpenError::NextHeader),
        "an empty packet has no version"
    );
    // RFC 4303 §2.4 allows up to 255 bytes.
    let long = [&[0x45][..], &(1..=255).collect::<Vec<u8>>(), &[255, 4]].concat();
    assert_eq!(open_payload(&long), Ok((vec![0x45], 4)));
}

#[test]
fn next_header_and_version_must_agree() {
    let keys = keys((Provider::chosen(), Cipher::ChaCha20Poly1305));
    let open_payload = |payload: &[u8]| open_whole(&keys, &sealed_raw(&keys, payload), 0, false);
    assert_eq!(open_payload(&[0x45, 0, 0, 4]), Ok((vec![0x45, 0], 4)));
    assert_eq!(open_payload(&[0x60, 0, 0, 41]), Ok((vec![0x60, 0], 41)));
    for (first, next_header) in [
        (0x60, 4),
        (0x45, 41),
        (0x45, 6),
        (0x45, 50),
        (0x05, 4),
        (0x45, 0),
        (0x45, 255),
    ] {
        assert_eq!(open_payload(&[first, 0, 0, next_header]), Err(OpenError::NextHeader));
    }
}

#[test]
fn dummies_are_recognised_whatever_they_hold() {
    let keys = keys((Provider::chosen(), Cipher::Aes128Gcm));
    let ours = sealed(&keys, 3, false, NEXT_HEADER_DUMMY, &[]);
    assert_eq!(open_whole(&keys, &ours, 0, false), Err(OpenError::Dummy));
    assert_eq!(
        open_whole(&keys, &sealed_raw(&keys, &[1, 2, 3, 4, 200, 59]), 0, false),
        Err(OpenError::Dummy)
    );
    let authentic = [OpenError::Dummy, OpenError::Padding, OpenError::NextHeader];
    assert!(authentic.iter().all(|error| error.authentic()));
    assert!(!OpenError::Auth.authentic() && !OpenError::TooShort.authentic());
}

#[test]
fn seal_refuses_numbers_that_may_not_be_sent_and_buffers_too_small() {
    let keys = keys((Provider::chosen(), Cipher::Aes128Gcm));
    let packet = inner(20, 4);
    let mut out = vec![0; sealed_length(20)];
    let mut seal = |sequence, esn, room: usize| seal(&keys, SPI, sequence, esn, 4, &packet, &mut out[..room]);
    assert_eq!(seal(0, false, 56), Err(SealError::Sequence));
    assert_eq!(seal(0, true, 56), Err(SealError::Sequence));
    assert_eq!(seal(1 << 32, false, 56), Err(SealError::Sequence));
    assert_eq!(seal(1 << 32, true, 56), Ok(56));
    assert_eq!(seal(u64::from(u32::MAX), false, 56), Ok(56));
    for room in 0..56 {
        assert_eq!(seal(1, false, room), Err(SealError::NoRoom));
    }
}

#[test]
fn lengths_match_the_mtu_function_of_wire() {
    use tombolo_wire::mtu::{AEAD, Outer, esp_inner_mtu};
    for (v6, udp, header) in [
        (false, false, 20),
        (false, true, 28),
        (true, false, 40),
        (true, true, 48),
    ] {
        for mtu in 1280..1600u16 {
            let inner = usize::from(esp_inner_mtu(Outer { mtu, v6, udp }, AEAD));
            assert!(header + sealed_length(inner) <= usize::from(mtu));
            assert!(header + sealed_length(inner + 1) > usize::from(mtu));
        }
    }
}

#[test]
fn another_key_or_salt_is_refused() {
    for suite in suites() {
        let packet = sealed(&keys(suite), 5, false, NEXT_HEADER_IPV4, &inner(64, 4));
        let mut key = [0x5a; 32];
        let other_salt =
            SaKeys::with(suite.0, suite.1, &key[..suite.1.key_bytes()], [9, 8, 7, 5]).expect("right length");
        key[0] ^= 1;
        let other_key = SaKeys::with(suite.0, suite.1, &key[..suite.1.key_bytes()], SALT).expect("right length");
        assert_eq!(open_whole(&other_salt, &packet, 0, false), Err(OpenError::Auth));
        assert_eq!(open_whole(&other_key, &packet, 0, false), Err(OpenError::Auth));
    }
}

proptest! {
    #[test]
    fn sealing_from_a_frame_is_sealing(
        suite in prop::sample::select(suites()),
        length in 0usize..1600,
        sequence in 1u64..,
        behind in 0usize..20,
        room in 0usize..60,
    ) {
        let keys = keys(suite);
        let packet = inner(length, NEXT_HEADER_IPV4);
        let expected = sealed(&keys, sequence, true, NEXT_HEADER_IPV4, &packet);
        let mut source = [&packet[..], &vec![0x33; behind]].concat();
        let mut out = vec![0xee; expected.len() + 30];
        let label = Label { spi: SPI, sequence, esn: true, next_header: NEXT_HEADER_IPV4 };
        prop_assert_eq!(seal_from(&keys, label, &mut source, length, &mut out), Ok(expected.len()));
        prop_assert_eq!(&out[..expected.len()], &expected[..]);
        prop_assert!(out[expected.len()..].iter().all(|byte| *byte == 0xee), "nothing is written behind the packet");
        prop_assert_eq!(&source[..length], &packet[..], "the inner packet stays");
        let beyond = source.get(length + TRAILER_ROOM..).unwrap_or(&[]);
        prop_assert!(beyond.iter().all(|byte| *byte == 0x33), "nothing behind the trailer's room changes");

        let room = room.min(expected.len() - 1);
        prop_assert_eq!(seal_from(&keys, label, &mut source, length, &mut out[..room]), Err(SealError::NoRoom));
        let longer = source.len() + 1;
        prop_assert_eq!(seal_from(&keys, label, &mut source, longer, &mut out), Err(SealError::NoRoom));
    }
}

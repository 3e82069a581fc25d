use super::*;
use crate::testing::{L3, V4, V6, assert_checksums, parse, tcp};
use proptest::prelude::*;

const SYN: u8 = 0x02;
const SYN_ACK: u8 = 0x12;

/// The options after clamping to 1300.
fn clamped(flags: u8, options: &[u8]) -> Vec<u8> {
    let [v4, v6] = [(V4, L3 + 40), (V6, L3 + 60)].map(|(addresses, options_at)| {
        let mut frame = tcp(&addresses, (1, 2), flags, options, b"data");
        let headers = parse(&frame);
        clamp_mss(&mut frame, &headers, 1300);
        assert_checksums(&frame);
        assert_eq!(&frame[frame.len() - 4..], b"data");
        frame[options_at..options_at + options.len()].to_vec()
    });
    assert_eq!(v4, v6);
    v4
}

#[test]
fn both_syns_at_every_alignment() {
    // 1460 = 05 b4, 1300 = 05 14.
    for flags in [SYN, SYN_ACK] {
        assert_eq!(clamped(flags, &[2, 4, 0x05, 0xb4]), [2, 4, 0x05, 0x14]);
        assert_eq!(
            clamped(flags, &[1, 2, 4, 0x05, 0xb4, 1, 1, 0]),
            [1, 2, 4, 0x05, 0x14, 1, 1, 0]
        );
        assert_eq!(
            clamped(flags, &[1, 1, 2, 4, 0xff, 0xff, 0, 0]),
            [1, 1, 2, 4, 0x05, 0x14, 0, 0]
        );
        assert_eq!(
            clamped(flags, &[3, 3, 7, 2, 4, 0x05, 0xb4, 0]),
            [3, 3, 7, 2, 4, 0x05, 0x14, 0]
        );
        assert_eq!(
            clamped(flags, &[4, 2, 1, 1, 2, 4, 0x05, 0xb4]),
            [4, 2, 1, 1, 2, 4, 0x05, 0x14]
        );
    }
}

#[test]
fn twice_given_is_twice_lowered() {
    assert_eq!(
        clamped(SYN, &[2, 4, 0x05, 0xb4, 2, 4, 0x05, 0xb5]),
        [2, 4, 0x05, 0x14, 2, 4, 0x05, 0x14]
    );
}

#[test]
fn left_alone() {
    for (name, flags, options) in [
        ("no SYN", 0x10, &[2, 4, 0x05, 0xb4][..]),
        ("already smaller", SYN, &[2, 4, 0x02, 0x18]),
        ("one below", SYN, &[2, 4, 0x05, 0x13]),
        ("equal", SYN, &[2, 4, 0x05, 0x14]),
        ("no options", SYN, &[]),
        ("behind the end of options", SYN, &[0, 0, 0, 0, 2, 4, 0x05, 0xb4]),
        ("length 0", SYN, &[8, 0, 1, 1, 2, 4, 0x05, 0xb4]),
        ("length 1", SYN, &[8, 1, 1, 1, 2, 4, 0x05, 0xb4]),
        ("length beyond the options", SYN, &[8, 20, 1, 1, 2, 4, 0x05, 0xb4]),
        ("MSS of length 3", SYN, &[2, 3, 0xff, 1, 1, 1, 1, 0]),
        ("MSS that runs out of the options", SYN, &[1, 1, 2, 4]),
        ("kind in the last byte", SYN, &[1, 1, 1, 2]),
    ] {
        assert_eq!(clamped(flags, options), options, "{name}");
    }
}

#[test]
fn a_nop_in_the_last_byte_of_a_bare_segment_ends_well() {
    let mut frame = tcp(&V4, (1, 2), SYN, &[1, 1, 1, 1], b"");
    let headers = parse(&frame);
    let before = frame.clone();
    clamp_mss(&mut frame, &headers, 1300);
    assert_eq!(frame, before);
}

proptest! {
    #[test]
    fn any_options(words in prop::collection::vec(any::<[u8; 4]>(), 0..=10), small in any::<bool>(), mss in any::<u16>()) {
        // Small values make valid kinds and lengths likely.
        let options: Vec<u8> = words.concat().iter().map(|byte| if small { byte % 6 } else { *byte }).collect();
        let mut frame = tcp(&V6, (1, 2), SYN, &options, b"");
        let before = frame.clone();
        let headers = parse(&frame);
        clamp_mss(&mut frame, &headers, mss);
        assert_checksums(&frame);
        let changed = frame.iter().zip(&before).filter(|(new, old)| new != old).count();
        prop_assert!(mss != u16::MAX || changed == 0);
    }
}

use super::*;
use crate::testing::naive_checksum;
use proptest::prelude::*;

#[test]
fn example_of_rfc_1071() {
    // §3: the words 0001 f203 f4f5 f6f7 sum to ddf2.
    assert_eq!(internet(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
}

#[test]
fn example_of_rfc_1624() {
    // §4: the case where the older equation gives ffff.
    assert_eq!(Delta::default().u16(0x5555, 0x3285).apply(0xdd2f), 0x0000);
}

#[test]
fn known_ipv4_header() {
    let header = [
        0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7,
    ];
    assert!(ipv4_header_valid(&header));
    for at in 0..20 {
        let mut damaged = header;
        damaged[at] ^= 0x10;
        assert!(!ipv4_header_valid(&damaged), "byte {at}");
    }
}

#[test]
fn long_and_saturated_data_does_not_overflow() {
    let ones = vec![0xff; 65535];
    assert_eq!(internet(&ones), naive_checksum(&ones));
    let mut sum = Sum::default();
    for _ in 0..1000 {
        sum = sum.bytes(&ones[..65534]);
    }
    assert_eq!(sum.finish(), 0);
}

#[test]
fn udp_never_sends_zero() {
    assert_eq!(Sum::default().u16(0xffff).finish(), 0);
    assert_eq!(Sum::default().u16(0xffff).finish_udp(), 0xffff);
    assert_eq!(Sum::default().u16(0xfffe).finish_udp(), 1);
}

proptest! {
    #[test]
    fn fast_sum_is_the_naive_one(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0..150usize) {
        prop_assert_eq!(internet(&bytes), naive_checksum(&bytes));
        let cut = (cut * 2).min(bytes.len() & !1);
        let parts = Sum::default().bytes(&bytes[..cut]).bytes(&bytes[cut..]).finish();
        prop_assert_eq!(parts, naive_checksum(&bytes));
    }

    #[test]
    fn incremental_is_full(
        mut bytes in prop::collection::vec(any::<u8>(), 40..41),
        word in any::<u16>(),
        words in any::<u32>(),
        address in any::<[u8; 16]>(),
    ) {
        let before = naive_checksum(&bytes);
        let mut old_address = [0; 16];
        old_address.copy_from_slice(&bytes[8..24]);
        let delta = Delta::default()
            .u16(u16::from_be_bytes([bytes[0], bytes[1]]), word)
            .and(Delta::default().u32(u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]), words))
            .v6(&old_address, &address);
        bytes[..2].copy_from_slice(&word.to_be_bytes());
        bytes[4..8].copy_from_slice(&words.to_be_bytes());
        bytes[8..24].copy_from_slice(&address);
        prop_assert_eq!(delta.apply(before), naive_checksum(&bytes));
    }
}

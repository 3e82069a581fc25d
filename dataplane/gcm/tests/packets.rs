//! Every length of a packet against `ring`, and opened onto every place in front of itself. On a processor without the
//! instructions nothing of this can run; the runner is told so, past what a passing test would hide.

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use std::io::Write;
use tombolo_gcm::{Associated, GcmKey, Unauthentic, is_available};

const LONGEST: usize = 9000;
const SHIFTS: std::ops::RangeInclusive<usize> = 0..=72;
const KEY: [u8; 32] = [
    0x42, 0xb1, 3, 0x94, 5, 0xe6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0xf7, 18, 19, 20, 0xa1, 22, 23, 24, 25, 26,
    0x87, 28, 29, 30, 31, 0xc0,
];

fn plaintext() -> Vec<u8> {
    (0..LONGEST).map(|at| (at * 31 + (at >> 8) * 7) as u8).collect()
}

/// The key of this crate, and the same of `ring`.
fn keys(length: usize) -> Option<(GcmKey, LessSafeKey)> {
    let algorithm = if length == 16 { &AES_128_GCM } else { &AES_256_GCM };
    let theirs = UnboundKey::new(algorithm, &KEY[..length]).expect("the key's length");
    Some((GcmKey::new(&KEY[..length])?, LessSafeKey::new(theirs)))
}

/// 96 bits that differ in all their parts, as a number and as bytes.
fn nonce(number: usize) -> (u128, Nonce) {
    let nonce = (number as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834) >> 32 << 32;
    let bytes = nonce.to_be_bytes();
    let (bytes, _) = bytes.split_first_chunk().expect("16 bytes");
    (nonce, Nonce::assume_unique_for_key(*bytes))
}

#[test]
fn this_processor_can_run_the_others() {
    if !is_available() {
        let line = b"\nleft out: tests of tombolo-gcm: the CPU has no VAES and AVX-512\n";
        std::io::stdout().write_all(line).expect("a standard output");
    }
    assert_eq!(GcmKey::new(&KEY).is_some(), is_available());
    assert!(GcmKey::new(&KEY[..24]).is_none() && GcmKey::new(&[]).is_none());
}

#[test]
fn every_length_is_sealed_as_ring_does() {
    let plaintext = plaintext();
    for key_bytes in [16, 32] {
        let Some((ours, theirs)) = keys(key_bytes) else { return };
        for length in 0..=LONGEST {
            let associated: Vec<u8> = (0..length % 53).map(|at| (at * 7 + length) as u8).collect();
            let (number, nonce) = nonce(length);
            let mut expected = plaintext[..length].to_vec();
            let tag = theirs.seal_in_place_separate_tag(nonce, Aad::from(&associated), &mut expected);
            let expected_tag = tag.expect("short");
            let associated = ours.associated(&associated);
            let mut sealed = vec![0; length];
            let tag = ours.seal(number, associated, &plaintext[..length], &mut sealed);
            assert_eq!(
                tag.as_ref().map(|tag| &tag[..]),
                Some(expected_tag.as_ref()),
                "{length} bytes"
            );
            assert!(sealed == expected, "{length} bytes");
            let mut data = plaintext[..length].to_vec();
            assert_eq!(Some(ours.seal_in_place(number, associated, &mut data)), tag);
            assert!(data == expected, "{length} bytes in place");
        }
    }
}

#[test]
fn short_associated_data_are_the_same_as_a_number() {
    let Some((key, _)) = keys(32) else { return };
    let number = u128::from_be_bytes(core::array::from_fn(|at| at as u8 + 1));
    for length in 0..=16 {
        let cut = if length == 0 {
            0
        } else {
            number >> (128 - 8 * length) << (128 - 8 * length)
        };
        assert_eq!(
            key.associated(&number.to_be_bytes()[..length]),
            Associated::short(cut, length)
        );
    }
}

/// Nothing is overwritten before it was read.
#[test]
fn every_length_is_opened_onto_every_place_in_front_of_it() {
    let plaintext = plaintext();
    let Some((key, _)) = keys(32) else { return };
    let associated = Associated::short(7 << 64, 12);
    let mut sealed = vec![0; LONGEST + 16];
    let mut buffer = vec![0; LONGEST + 16 + SHIFTS.end()];
    for length in 0..=LONGEST {
        let (nonce, _) = nonce(length);
        let tag = key
            .seal(nonce, associated, &plaintext[..length], &mut sealed)
            .expect("it fits");
        sealed[length..length + 16].copy_from_slice(&tag);
        // Packets have four shifts; lengths beyond some turns of the longest loop are tried with those alone.
        let few = [0, 36, 44, 56, 64];
        for shift in SHIFTS.filter(|shift| length < 1300 || few.contains(shift)) {
            let buffer = &mut buffer[..shift + length + 16];
            buffer[shift..].copy_from_slice(&sealed[..length + 16]);
            assert_eq!(
                key.open_shifting(nonce, associated, buffer, shift),
                Ok(length),
                "{length} bytes by {shift}"
            );
            assert!(buffer[..length] == plaintext[..length], "{length} bytes by {shift}");
        }
    }
}

#[test]
fn buffers_too_short_for_a_tag_are_refused_and_destinations_too_short_too() {
    let Some((key, _)) = keys(32) else { return };
    let associated = Associated::short(0, 0);
    for length in 0..16 {
        for from in [0, length, length + 1, usize::MAX] {
            let mut buffer = vec![1; length];
            assert_eq!(key.open_shifting(0, associated, &mut buffer, from), Err(Unauthentic));
        }
    }
    assert_eq!(key.seal(0, associated, &[0; 40], &mut [0; 39]), None);
}

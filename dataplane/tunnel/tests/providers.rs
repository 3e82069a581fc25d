//! Every provider against `ring`: the same bytes out, whatever the lengths and offsets; whatever is tampered with, refused and
//! wiped; from several threads at once. Providers that this machine does not have are left
//! out; `ipsec-mb/tests/here.rs` says so.

use proptest::prelude::*;
use std::thread;
use tombolo_tunnel::{Cipher, Provider, SaKeys};

const SALT: [u8; 4] = [1, 2, 3, 4];
const LONGEST: usize = 9000;

/// The providers to compare with `ring`.
fn others() -> Vec<Provider> {
    Provider::available()
        .filter(|provider| *provider != Provider::Ring)
        .collect()
}

fn keys(provider: Provider, cipher: Cipher, key: &[u8; 32]) -> SaKeys {
    SaKeys::with(provider, cipher, &key[..cipher.key_bytes()], SALT).expect("an available provider")
}

fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Ciphertext and ICV, as `ring` makes them.
fn expected(keys: &SaKeys, iv: [u8; 8], associated: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut sealed = plaintext.to_vec();
    let icv = keys.seal_in_place(iv, associated, &mut sealed).expect("short");
    sealed.extend(icv);
    sealed
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn all_seal_and_open_alike(
        cipher in prop::sample::select(Cipher::ALL.to_vec()),
        key: [u8; 32],
        iv: [u8; 8],
        length in prop_oneof![0..300usize, 0..=LONGEST],
        associated in prop_oneof![Just(8usize), Just(12), 0..70usize],
        source_at in 0usize..64,
        destination_at in 0usize..64,
        shift in 0usize..80,
        seed: u64,
    ) {
        let ring = keys(Provider::Ring, cipher, &key);
        let (associated, plaintext) = (bytes(associated, seed), bytes(length, !seed));
        let sealed = expected(&ring, iv, &associated, &plaintext);
        for provider in others() {
            let keys = keys(provider, cipher, &key);
            let source = [&vec![0xaa; source_at], &plaintext[..]].concat();
            let mut frame = vec![0xee; destination_at + length + 40];
            keys.seal(iv, &associated, &source[source_at..], &mut frame[destination_at..]).expect("it fits");
            let end = destination_at + sealed.len();
            prop_assert!(frame[destination_at..end] == sealed[..]);
            let outside = frame[..destination_at].iter().chain(&frame[end..]);
            prop_assert!(outside.copied().all(|byte| byte == 0xee), "nothing else is written");
            prop_assert!(expected(&keys, iv, &associated, &plaintext) == sealed, "in place");
            let short = &mut frame[..sealed.len() - 1];
            prop_assert_eq!(keys.seal(iv, &associated, &plaintext, short), None, "no room for the ICV");

            let mut frame = [&vec![0xee; destination_at + shift], &sealed[..], &[0xdd; 9]].concat();
            let end = frame.len() - 9;
            let opened = keys.open_shifting(iv, &associated, &mut frame[destination_at..end], shift..);
            prop_assert_eq!(opened, Ok(length));
            prop_assert!(frame[destination_at..destination_at + length] == plaintext[..]);
            prop_assert!(frame[..destination_at].iter().all(|byte| *byte == 0xee), "nothing in front changes");
            prop_assert!(frame[end..].iter().all(|byte| *byte == 0xdd), "nothing behind changes");
        }
    }

    #[test]
    fn all_refuse_a_flipped_bit_anywhere_and_wipe_what_they_decrypted(
        cipher in prop::sample::select(Cipher::ALL.to_vec()),
        key: [u8; 32],
        length in prop_oneof![16..300usize, 16..=LONGEST],
        shift in 0usize..80,
        which in 0usize..5,
        at: prop::sample::Index,
        seed: u64,
    ) {
        let (mut iv, mut salt, mut associated) = ([7; 8], SALT, bytes(12, seed));
        let plaintext = bytes(length, !seed);
        let mut sealed = expected(&keys(Provider::Ring, cipher, &key), iv, &associated, &plaintext);
        let part: &mut [u8] = match which {
            0 => &mut iv,
            1 => &mut salt,
            2 => &mut associated,
            3 => &mut sealed[..length],
            _ => &mut sealed[length..],
        };
        let bit = at.index(part.len() * 8);
        part[bit / 8] ^= 1 << (bit % 8);
        for provider in Provider::available() {
            let keys = SaKeys::with(provider, cipher, &key[..cipher.key_bytes()], salt).expect("an available provider");
            let mut frame = [&vec![0; shift], &sealed[..]].concat();
            prop_assert!(keys.open_shifting(iv, &associated, &mut frame, shift..).is_err(), "{provider}");
            let leaks = frame.windows(16).any(|window| plaintext.windows(16).step_by(16).any(|secret| window == secret));
            prop_assert!(length > 600 || !leaks, "{provider} leaves plaintext");
        }
    }
}

/// Two threads with a key each, and two that share one: what one does is not seen by another.
#[test]
fn threads_do_not_disturb_each_other() {
    const ROUNDS: u64 = 3_000;
    for provider in others() {
        for cipher in Cipher::ALL {
            let shared = keys(provider, cipher, &[9; 32]);
            let work = |mine: &SaKeys, key: &[u8; 32], first: u64| {
                let ring = keys(Provider::Ring, cipher, key);
                for round in 0..ROUNDS {
                    let iv = (first + round).to_be_bytes();
                    let length = (round * 37 % 1500) as usize;
                    let plaintext = bytes(length, round);
                    let sealed = expected(&ring, iv, &iv, &plaintext);
                    assert!(
                        expected(mine, iv, &iv, &plaintext) == sealed,
                        "{provider} {cipher:?} {length} bytes"
                    );
                    let mut frame = [&[0; 36], &sealed[..]].concat();
                    assert_eq!(mine.open_shifting(iv, &iv, &mut frame, 36..), Ok(length));
                    assert!(frame[..length] == plaintext[..]);
                }
            };
            thread::scope(|scope| {
                for number in 0..2u8 {
                    let (work, shared) = (&work, &shared);
                    scope.spawn(move || work(&keys(provider, cipher, &[number; 32]), &[number; 32], 0));
                    scope.spawn(move || work(shared, &[9; 32], u64::from(number) << 32));
                }
            });
        }
    }
}

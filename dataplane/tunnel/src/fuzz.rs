//! Entry points for fuzzers and for the replay of the committed corpus. They must not panic on any input.

use crate::aead::{Cipher, SaKeys};
use crate::atomic::AtomicU64;
use crate::esp::{EspHeader, classify_udp, open};
use crate::replay::{Check, WORDS_PER_WINDOW, Window};

/// The key of the fuzzed SA, so that the corpus can hold packets that open: bytes 1, 2, 3 …
pub const KEY: [u8; 32] = {
    let mut key = [0; 32];
    let mut at = 0;
    while at < key.len() {
        key[at] = at as u8 + 1;
        at += 1;
    }
    key
};
/// Its salt.
pub const SALT: [u8; 4] = [0xa, 0xb, 0xc, 0xd];

/// Opens `data[3..]` as an ESP packet at an offset, with a cipher and ESN that the first three bytes choose.
pub fn fuzz_open(data: &[u8]) {
    let [choice, esp_at, inner_at, frame @ ..] = data else {
        return;
    };
    let cipher = Cipher::ALL[usize::from(*choice) % Cipher::ALL.len()];
    let esn = choice & 0x80 != 0;
    let Some(keys) = SaKeys::new(cipher, &KEY[..cipher.key_bytes()], SALT) else {
        return;
    };
    let mut frame = frame.to_vec();
    let _ = EspHeader::parse(&frame);
    let _ = classify_udp(&frame);
    let esp = usize::from(*esp_at)..frame.len();
    if let Ok(opened) = open(&keys, &mut frame, esp, usize::from(*inner_at), 0, esn) {
        assert_eq!(opened.inner.start, usize::from(*inner_at));
        assert!(opened.inner.end <= frame.len());
    }
}

/// Feeds a window of a size that the first two bytes choose with numbers read from the rest.
pub fn fuzz_window(data: &[u8]) {
    let [size0, size1, rest @ ..] = data else { return };
    let words: Vec<AtomicU64> = (0..WORDS_PER_WINDOW).map(|_| AtomicU64::new(0)).collect();
    let packets = u64::from(u16::from_be_bytes([*size0, *size1]));
    let Some(window) = Window::new(&words, packets) else {
        return;
    };
    for bytes in rest.as_chunks::<8>().0 {
        let sequence = u64::from_be_bytes(*bytes);
        let before = window.check(sequence);
        assert_eq!(window.accept(sequence), before == Check::Fresh);
        assert_ne!(window.check(sequence), Check::Fresh);
        let _ = window.esn_high(sequence as u32);
    }
}

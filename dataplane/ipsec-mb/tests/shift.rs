//! Decryption to the front, over its own ciphertext: what the library does not promise. Every length of a packet and every
//! shift up to that of an IPv6 outer packet with UDP and a VLAN tag, for each cipher. The order of the library's loads and
//! stores depends on lengths alone, so a length that comes out right once comes out right always. (It is how ChaCha20-Poly1305
//! was found not to bear it.) Not run without the library.

use tombolo_ipsec_mb::{Block, ChaChaKey, GcmKey, Library, Unauthentic};

const LONGEST: usize = 9000;
const SHIFTS: std::ops::RangeInclusive<usize> = 0..=72;
const KEY: [u8; 32] = [0x42; 32];
const ASSOCIATED: [u8; 12] = [7; 12];

trait Key {
    fn seal(&self, nonce: &Block, source: &[u8], destination: &mut [u8]);
    fn open(&self, nonce: &Block, buffer: &mut [u8], from: usize) -> Result<usize, Unauthentic>;
}

impl Key for GcmKey {
    fn seal(&self, nonce: &Block, source: &[u8], destination: &mut [u8]) {
        self.seal(nonce, &ASSOCIATED, source, destination).expect("it fits");
    }

    fn open(&self, nonce: &Block, buffer: &mut [u8], from: usize) -> Result<usize, Unauthentic> {
        self.open_shifting(nonce, &ASSOCIATED, buffer, from)
    }
}

impl Key for ChaChaKey {
    fn seal(&self, nonce: &Block, source: &[u8], destination: &mut [u8]) {
        self.seal(nonce, &ASSOCIATED, source, destination).expect("it fits");
    }

    fn open(&self, nonce: &Block, buffer: &mut [u8], from: usize) -> Result<usize, Unauthentic> {
        self.open_shifting(nonce, &ASSOCIATED, buffer, from)
    }
}

fn library() -> Option<&'static Library> {
    Library::load().ok() // `here.rs` says where it is missing
}

fn every_length_and_shift(key: &dyn Key) {
    let plaintext: Vec<u8> = (0..LONGEST).map(|at| (at * 31 + (at >> 8) * 7) as u8).collect();
    let mut sealed = vec![0; LONGEST + 16];
    let mut buffer = vec![0; LONGEST + 16 + SHIFTS.end()];
    for length in 0..=LONGEST {
        let nonce = Block::new(length as u64, 5);
        key.seal(&nonce, &plaintext[..length], &mut sealed);
        // Packets have four shifts; lengths beyond two turns of the longest loop are tried with those alone.
        let few = [0, 36, 44, 56, 64];
        for shift in SHIFTS.filter(|shift| length < 2200 || few.contains(shift)) {
            let buffer = &mut buffer[..shift + length + 16];
            buffer[shift..].copy_from_slice(&sealed[..length + 16]);
            assert_eq!(key.open(&nonce, buffer, shift), Ok(length), "{length} bytes by {shift}");
            assert!(buffer[..length] == plaintext[..length], "{length} bytes by {shift}");
        }
    }
}

#[test]
fn aes_128_gcm() {
    let Some(library) = library() else { return };
    every_length_and_shift(&GcmKey::new(library, &KEY[..16]).expect("16 bytes"));
}

#[test]
fn aes_256_gcm() {
    let Some(library) = library() else { return };
    every_length_and_shift(&GcmKey::new(library, &KEY).expect("32 bytes"));
}

#[test]
fn chacha20_poly1305() {
    let Some(library) = library() else { return };
    every_length_and_shift(&ChaChaKey::new(library, &KEY).expect("32 bytes"));
}

#[test]
fn buffers_too_short_for_a_tag_are_refused_and_destinations_too_short_too() {
    let Some(library) = library() else { return };
    let gcm = GcmKey::new(library, &KEY).expect("32 bytes");
    let chacha = ChaChaKey::new(library, &KEY).expect("32 bytes");
    let nonce = Block::new(1, 2);
    for length in 0..16 {
        for from in [0, length, length + 1, usize::MAX] {
            let mut buffer = vec![1; length];
            assert_eq!(gcm.open_shifting(&nonce, &[], &mut buffer, from), Err(Unauthentic));
            assert_eq!(chacha.open_shifting(&nonce, &[], &mut buffer, from), Err(Unauthentic));
        }
    }
    assert_eq!(gcm.seal(&nonce, &[], &[0; 40], &mut [0; 55]), None);
    assert_eq!(chacha.seal(&nonce, &[], &[0; 40], &mut [0; 55]), None);
    assert!(GcmKey::new(library, &KEY[..24]).is_none() && ChaChaKey::new(library, &KEY[..31]).is_none());
}

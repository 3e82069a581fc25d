//! What a key is expanded to: AES round keys (FIPS 197 §5.2) and powers of the hash key. In constant time: the S-box is the
//! processor's.

use crate::field::{block, product, times_x};
use core::arch::x86_64::*;
use zeroize::Zeroize;

/// Round keys of AES-256; AES-128 has eleven.
pub(crate) const ROUND_KEYS: usize = 15;
/// Blocks that are hashed between two reductions.
pub(crate) const STRIDE: usize = 16;
/// One more than [`STRIDE`], since lengths follow the last block; and three zeros, which the last load of four may reach.
const POWERS: usize = STRIDE + 1 + 3;

/// Nine cache lines; a packet of up to 128 bytes touches seven.
#[repr(C, align(64))]
pub(crate) struct Expanded {
    pub(crate) rounds: [[u8; 16]; ROUND_KEYS],
    /// The hash key's powers, highest first: `powers[i]` is H to the power of 17 − i, then zeros.
    pub(crate) powers: [[u8; 16]; POWERS],
    /// Ten rounds, not fourteen. Here, where the alignment leaves room.
    pub(crate) aes_128: bool,
}

impl Expanded {
    /// Where [`STRIDE`] blocks find their powers, of which the last is H.
    pub(crate) const OF_STRIDE: usize = 1;
    /// Where H lies.
    pub(crate) const OF_ONE: usize = STRIDE;

    /// Expands a key of 16 or 32 bytes; `None` for other lengths.
    #[target_feature(enable = "avx512f,avx2,vpclmulqdq,aes")]
    pub(crate) fn new(key: &[u8]) -> Option<Self> {
        let mut new = Expanded {
            rounds: [[0; 16]; ROUND_KEYS],
            powers: [[0; 16]; POWERS],
            aes_128: key.len() == 16,
        };
        let rounds = match key.len() {
            16 => 10,
            32 => 14,
            _ => return None,
        };
        expand(key, &mut new.rounds[..=rounds]);
        let mut hash_key = load(new.rounds[0]);
        for round in &new.rounds[1..rounds] {
            hash_key = _mm_aesenc_si128(hash_key, load(*round));
        }
        hash_key = _mm_aesenclast_si128(hash_key, load(new.rounds[rounds]));
        let first = block(times_x(u128::from_be_bytes(bytes(hash_key))));
        let mut power = first;
        for place in new.powers[..=Self::OF_ONE].iter_mut().rev() {
            *place = bytes(power);
            power = product(power, first);
        }
        Some(new)
    }
}

impl Drop for Expanded {
    fn drop(&mut self) {
        self.rounds.as_flattened_mut().zeroize();
        self.powers.as_flattened_mut().zeroize();
    }
}

/// Words of the schedule, four to a round key.
#[target_feature(enable = "aes")]
fn expand(key: &[u8], rounds: &mut [[u8; 16]]) {
    let words = rounds.as_flattened_mut();
    words[..key.len()].copy_from_slice(key);
    let mut constant = 1u32;
    for at in (key.len()..words.len()).step_by(4) {
        let word = |at: usize| u32::from_le_bytes([words[at], words[at + 1], words[at + 2], words[at + 3]]);
        let last = word(at - 4);
        let mixed = if at % key.len() == 0 {
            let rotated = substitute(last).rotate_right(8) ^ constant;
            // x times the last one; AES-128 needs ten of them, the last two beyond a byte.
            constant = (constant << 1) ^ ((constant >> 7) * 0x11b);
            rotated
        } else if key.len() == 32 && at % 32 == 16 {
            substitute(last)
        } else {
            last
        };
        let new = word(at - key.len()) ^ mixed;
        words[at..at + 4].copy_from_slice(&new.to_le_bytes());
    }
}

/// SubWord.
#[target_feature(enable = "aes")]
fn substitute(word: u32) -> u32 {
    let all = _mm_set1_epi32(word as i32);
    _mm_cvtsi128_si32(_mm_aeskeygenassist_si128::<0>(all)) as u32
}

#[target_feature(enable = "sse2")]
fn load(bytes: [u8; 16]) -> __m128i {
    block(u128::from_le_bytes(bytes))
}

#[target_feature(enable = "sse4.1")]
fn bytes(block: __m128i) -> [u8; 16] {
    let halves = [_mm_extract_epi64::<0>(block), _mm_extract_epi64::<1>(block)];
    (u128::from(halves[1] as u64) << 64 | u128::from(halves[0] as u64)).to_le_bytes()
}

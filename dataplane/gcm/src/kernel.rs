//! The loops: AES in counter mode on four blocks to a register, GHASH beside it.
//!
//! ```text
//! tag = E(nonce | 1) + ((((A·H + C1)·H + C2)·H + … + Cm)·H + lengths)·H
//! ```
//! Sixteen blocks at a time are multiplied by powers of H, so that only each sixteenth step has to wait for the last. While the
//! processor encrypts sixteen blocks, it hashes those before (sealing) or the same ones (opening): one by one the two would take
//! turns on its ports.

use crate::field::{Sums, block, fold, product, reversed, sum_of_lanes};
use crate::schedule::{Expanded, ROUND_KEYS, STRIDE};
use core::arch::x86_64::*;

const BLOCK: usize = 16;
/// Bytes of a register.
const WIDE: usize = 4 * BLOCK;
/// Bytes between two reductions.
const STRIDE_BYTES: usize = STRIDE * BLOCK;
const WIDES: usize = STRIDE_BYTES / WIDE;

/// What is read and what is written, and how much of both. The same place, disjoint ones, or `to` in front of `from`: nothing is
/// written before everything up to its distance behind it was read.
#[derive(Clone, Copy)]
pub(crate) struct Places {
    pub(crate) from: *const u8,
    pub(crate) to: *mut u8,
    pub(crate) length: usize,
}

/// Round keys, each in all lanes.
type Keys = [__m512i; ROUND_KEYS];

/// Encrypts or decrypts and returns the tag. `nonce`: its 96 bits, then 32 zeros; `associated`: what the hash begins with, of
/// `associated_bytes` bytes, both as big-endian numbers.
///
/// # Safety
/// The processor has the features below. `places` is `length` readable and writable bytes; `key` is of AES-128 if `ROUNDS` is 10, of
/// AES-256 if it is 14.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,vaes,vpclmulqdq,aes")]
pub(crate) unsafe fn crypt<const ROUNDS: usize, const OPEN: bool>(
    key: &Expanded,
    nonce: u128,
    associated: u128,
    associated_bytes: u64,
    mut places: Places,
) -> [u8; 16] {
    let first = block(nonce | 1);
    let ahead = _mm512_set_epi32(0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1);
    let mut counters = _mm512_add_epi32(_mm512_broadcast_i32x4(first), ahead);
    let hash_key = load(&key.powers[Expanded::OF_ONE]);
    let lengths = u128::from(associated_bytes * 8) << 64 | (places.length as u128 * 8);
    let lengths = Sums::product(_mm512_zextsi128_si512(block(lengths)), _mm512_zextsi128_si512(hash_key));
    let mut hash = product(block(associated), hash_key);
    if places.length > STRIDE_BYTES {
        // SAFETY: as the caller promised, and more than a stride.
        unsafe { strides::<ROUNDS, OPEN>(key, &mut counters, &mut hash, &mut places) };
    }
    let begun = Begun {
        first: _mm512_castsi512_si128(reversed(_mm512_zextsi128_si512(first))),
        counters,
        hash,
        sums: lengths,
    };
    match places.length.div_ceil(WIDE) {
        0 => nothing::<ROUNDS>(key, begun),
        // SAFETY: as the caller promised, and of the length that was just found.
        1 => unsafe { rest::<ROUNDS, OPEN, 1>(key, begun, places) },
        // SAFETY: as above.
        2 => unsafe { rest::<ROUNDS, OPEN, 2>(key, begun, places) },
        // SAFETY: as above.
        3 => unsafe { rest::<ROUNDS, OPEN, 3>(key, begun, places) },
        // SAFETY: as above: at most one stride is left.
        _ => unsafe { rest::<ROUNDS, OPEN, 4>(key, begun, places) },
    }
}

/// A packet of which all strides but the last are done.
struct Begun {
    /// The block that masks the tag.
    first: __m128i,
    counters: __m512i,
    hash: __m128i,
    /// Those of the lengths.
    sums: Sums,
}

/// The tag of a packet without data.
#[cold]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,vaes,vpclmulqdq,aes")]
fn nothing<const ROUNDS: usize>(key: &Expanded, begun: Begun) -> [u8; 16] {
    let keys = broadcast::<ROUNDS>(key);
    let mut mask = _mm_xor_si128(begun.first, _mm512_castsi512_si128(keys[0]));
    for round in &keys[1..ROUNDS] {
        mask = _mm_aesenc_si128(mask, _mm512_castsi512_si128(*round));
    }
    let mut sums = begun.sums;
    let hash_key = load(&key.powers[Expanded::OF_ONE]);
    sums.add_product(_mm512_zextsi128_si512(begun.hash), _mm512_zextsi128_si512(hash_key));
    tag(sums, _mm_aesenclast_si128(mask, _mm512_castsi512_si128(keys[ROUNDS])))
}

/// The last 1 to [`STRIDE`] blocks, in `N` registers, and the tag.
///
/// # Safety
/// As [`crypt`]; `places` is more than `(N - 1) * 64` and at most `N * 64` bytes long.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,vaes,vpclmulqdq,aes")]
unsafe fn rest<const ROUNDS: usize, const OPEN: bool, const N: usize>(
    key: &Expanded,
    begun: Begun,
    places: Places,
) -> [u8; 16] {
    let Places { from, to, length } = places;
    let Begun {
        first,
        mut counters,
        hash,
        mut sums,
    } = begun;
    let last = u64::MAX >> (N * WIDE - length);
    let present = |number: usize| if number == N - 1 { last } else { u64::MAX };
    let keys = broadcast::<ROUNDS>(key);
    let mut states = [_mm512_setzero_si512(); N];
    for state in &mut states {
        *state = next(&mut counters, keys[0]);
    }
    // By the lower lanes of the round keys: to load them again as narrow ones would cost registers.
    let mut mask = _mm_xor_si128(first, _mm512_castsi512_si128(keys[0]));
    for round in &keys[1..ROUNDS] {
        for state in &mut states {
            *state = _mm512_aesenc_epi128(*state, *round);
        }
        mask = _mm_aesenc_si128(mask, _mm512_castsi512_si128(*round));
    }
    mask = _mm_aesenclast_si128(mask, _mm512_castsi512_si128(keys[ROUNDS]));
    let mut data = [_mm512_setzero_si512(); N];
    for (number, wide) in data.iter_mut().enumerate() {
        // SAFETY: bytes beyond the length are masked out.
        *wide = unsafe { load_masked(present(number), from, number * WIDE) };
    }
    // The last block is followed by the lengths, so it meets H².
    let power = STRIDE - length.div_ceil(BLOCK);
    for number in 0..N {
        // The data goes in with the last round key.
        let masked = _mm512_xor_si512(data[number], keys[ROUNDS]);
        let out = _mm512_aesenclast_epi128(states[number], masked);
        // SAFETY: as above.
        unsafe { store_masked(present(number), to, number * WIDE, out) };
        let sealed = if OPEN {
            data[number]
        } else {
            _mm512_maskz_mov_epi8(present(number), out)
        };
        let mut blocks = reversed(sealed);
        if number == 0 {
            blocks = _mm512_xor_si512(blocks, _mm512_zextsi128_si512(hash));
        }
        // A block that is there finds its power below sixteen: the compiler need not ask.
        let power = (power + number * 4) % STRIDE;
        sums.add_product(blocks, load_four(&key.powers, power));
    }
    tag(sums, mask)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx2,vpclmulqdq")]
fn tag(sums: Sums, mask: __m128i) -> [u8; 16] {
    let hash = _mm512_castsi512_si128(reversed(_mm512_zextsi128_si512(sums.reduced())));
    let (tag, mut bytes) = (_mm_xor_si128(hash, mask), [0; 16]);
    // SAFETY: sixteen bytes of its own.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), tag) };
    bytes
}

/// All strides but the last one, whole or not. Not inlined: short packets would pay for its registers.
///
/// # Safety
/// As [`crypt`]; `places` is longer than a stride.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,vaes,vpclmulqdq")]
unsafe fn strides<const ROUNDS: usize, const OPEN: bool>(
    key: &Expanded,
    counters: &mut __m512i,
    hash: &mut __m128i,
    places: &mut Places,
) {
    let keys = broadcast::<ROUNDS>(key);
    let mut powers = [_mm512_setzero_si512(); WIDES];
    for (number, wide) in powers.iter_mut().enumerate() {
        *wide = load_four(&key.powers, Expanded::OF_STRIDE + number * 4);
    }
    // What is to be hashed next.
    let mut sealed = [_mm512_setzero_si512(); WIDES];
    let (mut left, mut sum, mut count) = (*places, *hash, *counters);
    if !OPEN {
        let mut states = begin(&mut count, keys[0]);
        rounds::<1>(&keys, &mut states, ROUNDS);
        // SAFETY: more than a stride is left.
        unsafe { end::<OPEN>(keys[ROUNDS], states, &mut sealed, &mut left) };
    }
    while left.length > STRIDE_BYTES {
        let mut states = begin(&mut count, keys[0]);
        if OPEN {
            for (number, wide) in sealed.iter_mut().enumerate() {
                // SAFETY: more than a stride is left.
                *wide = unsafe { load_masked(u64::MAX, left.from, number * WIDE) };
            }
        }
        sum = rounds_and_hash::<ROUNDS>(&keys, &mut states, &sealed, &powers, sum);
        // SAFETY: more than a stride is left.
        unsafe { end::<OPEN>(keys[ROUNDS], states, &mut sealed, &mut left) };
    }
    if !OPEN {
        let mut sums = Sums::product(with_hash(sealed[0], sum), powers[0]);
        for number in 1..WIDES {
            sums.add_product(reversed(sealed[number]), powers[number]);
        }
        sum = sums.reduced();
    }
    (*places, *hash, *counters) = (left, sum, count);
}

/// The counters of a stride, ready for the first round.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn begin(counters: &mut __m512i, key: __m512i) -> [__m512i; WIDES] {
    let mut states = [_mm512_setzero_si512(); WIDES];
    for state in &mut states {
        *state = next(counters, key);
    }
    states
}

/// The last round of a stride, whose input is in `sealed` if it is opened; else its output will be.
///
/// # Safety
/// At least a stride is left.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vaes")]
unsafe fn end<const OPEN: bool>(
    key: __m512i,
    states: [__m512i; WIDES],
    sealed: &mut [__m512i; WIDES],
    left: &mut Places,
) {
    for (number, state) in states.into_iter().enumerate() {
        let data = if OPEN {
            sealed[number]
        } else {
            // SAFETY: as the caller promised.
            unsafe { load_masked(u64::MAX, left.from, number * WIDE) }
        };
        let out = _mm512_aesenclast_epi128(state, _mm512_xor_si512(data, key));
        // SAFETY: as the caller promised.
        unsafe { store_masked(u64::MAX, left.to, number * WIDE, out) };
        if !OPEN {
            sealed[number] = out;
        }
    }
    left.from = left.from.wrapping_add(STRIDE_BYTES);
    left.to = left.to.wrapping_add(STRIDE_BYTES);
    left.length -= STRIDE_BYTES;
}

/// The next four counters, ready for the first round.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn next(counters: &mut __m512i, key: __m512i) -> __m512i {
    let state = _mm512_xor_si512(reversed(*counters), key);
    *counters = _mm512_add_epi32(*counters, _mm512_broadcast_i32x4(_mm_set_epi32(0, 0, 0, 4)));
    state
}

#[inline]
#[target_feature(enable = "avx512f")]
fn broadcast<const ROUNDS: usize>(key: &Expanded) -> Keys {
    let mut keys = [_mm512_setzero_si512(); ROUND_KEYS];
    for (wide, bytes) in keys.iter_mut().zip(&key.rounds).take(ROUNDS + 1) {
        *wide = _mm512_broadcast_i32x4(load(bytes));
    }
    keys
}

/// All rounds but the last, with the steps of a hash between them; returns the hash.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,vaes,vpclmulqdq")]
fn rounds_and_hash<const ROUNDS: usize>(
    keys: &Keys,
    states: &mut [__m512i; WIDES],
    sealed: &[__m512i; WIDES],
    powers: &[__m512i; WIDES],
    hash: __m128i,
) -> __m128i {
    rounds::<1>(keys, states, 2);
    let mut sums = Sums::product(with_hash(sealed[0], hash), powers[0]);
    rounds::<2>(keys, states, 4);
    sums.add_product(reversed(sealed[1]), powers[1]);
    rounds::<4>(keys, states, 6);
    sums.add_product(reversed(sealed[2]), powers[2]);
    rounds::<6>(keys, states, 8);
    sums.add_product(reversed(sealed[3]), powers[3]);
    rounds::<8>(keys, states, 9);
    let (middle, high) = sums.without_low();
    rounds::<9>(keys, states, 10);
    let high = fold(middle, high);
    rounds::<10>(keys, states, ROUNDS);
    sum_of_lanes(high)
}

/// The rounds from `FIRST` up to and without `end`.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
fn rounds<const FIRST: usize>(keys: &Keys, states: &mut [__m512i; WIDES], end: usize) {
    for key in &keys[FIRST..end] {
        for state in states.iter_mut() {
            *state = _mm512_aesenc_epi128(*state, *key);
        }
    }
}

/// The first blocks to be hashed, with the hash of what came before.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn with_hash(blocks: __m512i, hash: __m128i) -> __m512i {
    _mm512_xor_si512(reversed(blocks), _mm512_zextsi128_si512(hash))
}

#[inline]
#[target_feature(enable = "sse2")]
fn load(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: sixteen bytes.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

/// The bytes of `mask` of four blocks at `base[at..]`; zeros for the others.
///
/// # Safety
/// The bytes of `mask` can be read; the others are not touched.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn load_masked(mask: u64, base: *const u8, at: usize) -> __m512i {
    // The address alone need not lie within anything.
    let place = base.wrapping_add(at).cast();
    // SAFETY: as the caller promised.
    unsafe { _mm512_maskz_loadu_epi8(mask, place) }
}

/// Writes the bytes of `mask`, and no other.
///
/// # Safety
/// The bytes of `mask` can be written.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn store_masked(mask: u64, base: *mut u8, at: usize, blocks: __m512i) {
    let place = base.wrapping_add(at).cast();
    // SAFETY: as the caller promised.
    unsafe { _mm512_mask_storeu_epi8(place, mask, blocks) };
}

/// Four powers that follow each other.
#[inline]
#[target_feature(enable = "avx512f")]
fn load_four(powers: &[[u8; 16]], at: usize) -> __m512i {
    let four = &powers[at..at + 4];
    // SAFETY: sixty-four bytes.
    unsafe { _mm512_loadu_si512(four.as_ptr().cast()) }
}

/// The hash after one more block of associated data.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx2,vpclmulqdq")]
pub(crate) fn absorb(key: &Expanded, hash: u128, next: u128) -> u128 {
    let hash = product(block(hash), load(&key.powers[Expanded::OF_ONE]));
    let mut bytes = [0; 16];
    // SAFETY: sixteen bytes of its own.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), hash) };
    u128::from_le_bytes(bytes) ^ next
}

//! GHASH: products in GF(2¹²⁸) of byte-reversed blocks.
//!
//! A block whose bytes are reversed holds its polynomial's coefficients in reverse. The carry-less product of two such is short
//! of one factor x, which the hash key holds from the start ([`times_x`]); so a product is four multiplications and a reduction
//! from the lower end (Gueron and Kounavis, Intel's white paper on GCM, algorithm 5). Products are added up unreduced, as lower, middle
//! and upper parts, and reduced once.

use core::arch::x86_64::*;

/// x¹²⁸ + x⁷ + x² + x + 1 in reverse, without its lowest term: the upper half.
const POLYNOMIAL: u64 = 0xc200_0000_0000_0000;

/// Sums of products, not reduced: lower, middle, upper parts, in four lanes each.
#[derive(Clone, Copy)]
pub(crate) struct Sums {
    low: __m512i,
    middle: __m512i,
    high: __m512i,
}

impl Sums {
    /// One product in the first lane, or a product per lane.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    pub(crate) fn product(blocks: __m512i, powers: __m512i) -> Self {
        let crossed = _mm512_clmulepi64_epi128::<0x01>(blocks, powers);
        Sums {
            low: _mm512_clmulepi64_epi128::<0x00>(blocks, powers),
            middle: _mm512_xor_si512(crossed, _mm512_clmulepi64_epi128::<0x10>(blocks, powers)),
            high: _mm512_clmulepi64_epi128::<0x11>(blocks, powers),
        }
    }

    /// Adds a product per lane.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    pub(crate) fn add_product(&mut self, blocks: __m512i, powers: __m512i) {
        const XOR_OF_THREE: i32 = 0x96;
        let crossed = _mm512_clmulepi64_epi128::<0x01>(blocks, powers);
        let other = _mm512_clmulepi64_epi128::<0x10>(blocks, powers);
        self.middle = _mm512_ternarylogic_epi64::<XOR_OF_THREE>(self.middle, crossed, other);
        self.low = _mm512_xor_si512(self.low, _mm512_clmulepi64_epi128::<0x00>(blocks, powers));
        self.high = _mm512_xor_si512(self.high, _mm512_clmulepi64_epi128::<0x11>(blocks, powers));
    }

    /// First half of the reduction: the lower parts are gone.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    pub(crate) fn without_low(self) -> (__m512i, __m512i) {
        (fold(self.low, self.middle), self.high)
    }

    /// The sum of all lanes, reduced.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    pub(crate) fn reduced(self) -> __m128i {
        let (middle, high) = self.without_low();
        sum_of_lanes(fold(middle, high))
    }
}

/// Takes the lower part away: what it is worth is added to the next one.
#[inline]
#[target_feature(enable = "avx512f,vpclmulqdq")]
pub(crate) fn fold(part: __m512i, next: __m512i) -> __m512i {
    const SWAP_HALVES: i32 = 0x4e;
    const XOR_OF_THREE: i32 = 0x96;
    let polynomial = _mm512_set1_epi64(POLYNOMIAL as i64);
    let folded = _mm512_clmulepi64_epi128::<0x01>(polynomial, part);
    _mm512_ternarylogic_epi64::<XOR_OF_THREE>(next, _mm512_shuffle_epi32::<SWAP_HALVES>(part), folded)
}

#[inline]
#[target_feature(enable = "avx512f,avx2")]
pub(crate) fn sum_of_lanes(lanes: __m512i) -> __m128i {
    let two = _mm256_xor_si256(_mm512_castsi512_si256(lanes), _mm512_extracti64x4_epi64::<1>(lanes));
    _mm_xor_si128(_mm256_castsi256_si128(two), _mm256_extracti128_si256::<1>(two))
}

/// The product of two blocks.
#[inline]
#[target_feature(enable = "avx512f,avx2,vpclmulqdq")]
pub(crate) fn product(block: __m128i, power: __m128i) -> __m128i {
    Sums::product(_mm512_zextsi128_si512(block), _mm512_zextsi128_si512(power)).reduced()
}

/// The hash key as products want it: its polynomial times x.
pub(crate) fn times_x(hash_key: u128) -> u128 {
    let carry = hash_key >> 127;
    // By arithmetic: the key is secret.
    hash_key << 1 ^ carry.wrapping_neg() & (u128::from(POLYNOMIAL) << 64 | 1)
}

/// Reverses the bytes of each block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) fn reversed(blocks: __m512i) -> __m512i {
    let order = _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    _mm512_shuffle_epi8(blocks, _mm512_broadcast_i32x4(order))
}

/// Big-endian numbers are blocks whose bytes are reversed already.
#[inline]
#[target_feature(enable = "sse2")]
pub(crate) fn block(number: u128) -> __m128i {
    _mm_set_epi64x((number >> 64) as i64, number as i64)
}

//! Eight shared words looked at together: which of them begin with a tag.
//!
//! Words may change while they are looked at, so that whoever acts on one loads it again. Each is loaded as a sequentially
//! consistent load of its own would: what was placed before by such an exchange is seen.

use core::sync::atomic::AtomicU64;

/// A bit for each of the words that equals `tag` but for its lowest `shift` bits.
#[inline(always)]
pub fn tagged<const SHIFT: i32>(words: &[AtomicU64; 8], tag: u64) -> u32 {
    #[cfg(all(target_arch = "x86_64", target_feature = "avx2", not(miri), not(loom)))]
    {
        // SAFETY: the build says that every processor it runs on has AVX2.
        unsafe { wide::tagged::<SHIFT>(words, tag) }
    }
    #[cfg(not(all(target_arch = "x86_64", target_feature = "avx2", not(miri), not(loom))))]
    {
        one_by_one::<SHIFT>(words, tag)
    }
}

/// A bit for each of the words that equals `tag` but for its lowest `shift` bits, and one for each that is 0: both of one look.
#[inline(always)]
pub fn tagged_and_zero<const SHIFT: i32>(words: &[AtomicU64; 8], tag: u64) -> (u32, u32) {
    #[cfg(all(target_arch = "x86_64", target_feature = "avx2", not(miri), not(loom)))]
    {
        // SAFETY: the build says that every processor it runs on has AVX2.
        unsafe { wide::tagged_and_zero::<SHIFT>(words, tag) }
    }
    #[cfg(not(all(target_arch = "x86_64", target_feature = "avx2", not(miri), not(loom))))]
    {
        (one_by_one::<SHIFT>(words, tag), one_by_one::<0>(words, 0))
    }
}

/// The same by plain atomic loads.
#[cfg(any(
    test,
    not(all(target_arch = "x86_64", target_feature = "avx2", not(miri), not(loom)))
))]
fn one_by_one<const SHIFT: i32>(words: &[AtomicU64; 8], tag: u64) -> u32 {
    use core::sync::atomic::Ordering;
    let mut found = 0;
    for (place, word) in words.iter().enumerate() {
        found |= u32::from((word.load(Ordering::SeqCst) ^ tag) >> SHIFT == 0) << place;
    }
    found
}

#[cfg(all(target_arch = "x86_64", target_feature = "avx2", not(miri), not(loom)))]
mod wide {
    use core::arch::asm;
    use core::arch::x86_64::{
        __m256i, _mm256_castsi256_pd, _mm256_cmpeq_epi64, _mm256_movemask_pd, _mm256_set1_epi64x, _mm256_setzero_si256,
        _mm256_srli_epi64, _mm256_xor_si256,
    };
    use core::sync::atomic::AtomicU64;

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn tagged<const SHIFT: i32>(words: &[AtomicU64; 8], tag: u64) -> u32 {
        let eight = load(words);
        alike::<SHIFT>(eight, tag)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn tagged_and_zero<const SHIFT: i32>(words: &[AtomicU64; 8], tag: u64) -> (u32, u32) {
        let eight = load(words);
        (alike::<SHIFT>(eight, tag), alike::<0>(eight, 0))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn alike<const SHIFT: i32>((low, high): (__m256i, __m256i), tag: u64) -> u32 {
        let tag = _mm256_set1_epi64x(tag as i64);
        let among = |four: __m256i| {
            let rest = _mm256_srli_epi64::<SHIFT>(_mm256_xor_si256(four, tag));
            _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpeq_epi64(rest, _mm256_setzero_si256()))) as u32
        };
        among(low) | among(high) << 4
    }

    /// All eight words. The language has no wide atomic load; what the processor does is told to it in its own words.
    #[inline(always)]
    fn load(words: &[AtomicU64; 8]) -> (__m256i, __m256i) {
        let (low, high): (__m256i, __m256i);
        // SAFETY: both loads lie inside the array and write nothing. Each of the words comes whole, as aligned words of a wide load
        // do on every processor with AVX, and a load is all that a sequentially consistent load is on this architecture.
        unsafe {
            asm!(
                "vmovdqu {low}, ymmword ptr [{words}]",
                "vmovdqu {high}, ymmword ptr [{words} + 32]",
                words = in(reg) words.as_ptr(),
                low = out(ymm_reg) low,
                high = out(ymm_reg) high,
                options(nostack, preserves_flags, readonly),
            );
        }
        (low, high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_looking_see_the_same() {
        let tag = 0xdead_beef_0000_0000u64 | 1 << 63;
        for pattern in 0..256u32 {
            let words: [AtomicU64; 8] = core::array::from_fn(|place| {
                let low = (place as u64) << 20 | 7;
                let other = (tag ^ (1 << 40)) | low;
                AtomicU64::new(if pattern >> place & 1 == 1 { tag | low } else { other })
            });
            assert_eq!(tagged::<33>(&words, tag), pattern);
            assert_eq!(one_by_one::<33>(&words, tag), pattern);
        }
    }

    #[test]
    fn one_look_tells_the_tagged_from_the_empty() {
        let tag = 0xdead_beef_0000_0000u64 | 1 << 63;
        for pattern in 0..3u32.pow(8) {
            let kind = |place: u32| pattern / 3u32.pow(place) % 3;
            let words =
                core::array::from_fn(|place| AtomicU64::new([0, tag | 5, 1 << 63][kind(place as u32) as usize]));
            let of = |wanted| (0..8).fold(0, |bits, place| bits | u32::from(kind(place) == wanted) << place);
            assert_eq!(tagged_and_zero::<33>(&words, tag), (of(1), of(0)));
        }
    }
}

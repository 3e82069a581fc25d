//! The rows of a batch of flows, ANDed: the heart of policy, with vector instructions where the processor has them.

use crate::region_prefetch::prefetch;

/// The numbers of a flow's rows: source, destination, context, ports.
pub(super) type RowsOfFlow = [u32; 5];

/// A row that is none.
pub(super) const NO_ROW: u32 = u32::MAX;

/// Words of the longest row.
const WORDS_MAX: u32 = 16;

/// The rows of addresses are many; the others stay in the cache by themselves.
const OF_ADDRESSES: usize = 2;

/// Asks for the rows of a flow's addresses.
#[inline(always)]
pub(super) fn ask_for(bitmaps: &[u64], words: u32, rows: &RowsOfFlow) {
    for row in &rows[..OF_ADDRESSES] {
        let first = *row as usize * words as usize;
        // What the data say is no bound.
        for line in (0..words.min(WORDS_MAX) as usize).step_by(8) {
            if let Some(word) = bitmaps.get(first + line) {
                prefetch(word);
            }
        }
    }
}

/// The lowest bit that all rows of each flow have; a number beyond any row's length if there is none.
pub(super) fn lowest_bits(bitmaps: &[u64], words: u32, rows: &[RowsOfFlow], bits: &mut [u32]) {
    match words {
        1 => plain::<1>(bitmaps, rows, bits),
        2 => plain::<2>(bitmaps, rows, bits),
        4 => plain::<4>(bitmaps, rows, bits),
        8 => of_lines::<1>(bitmaps, rows, bits),
        16 => of_lines::<2>(bitmaps, rows, bits),
        _ => bits.fill(u32::MAX),
    }
}

/// Rows of whole cache lines.
#[cfg(target_arch = "x86_64")]
fn of_lines<const LINES: usize>(bitmaps: &[u64], rows: &[RowsOfFlow], bits: &mut [u32]) {
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("bmi1") {
        // SAFETY: the processor has what the function is compiled for.
        unsafe { avx512::lowest_bits::<LINES>(bitmaps, rows, bits) };
    } else {
        plain_lines::<LINES>(bitmaps, rows, bits);
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn of_lines<const LINES: usize>(bitmaps: &[u64], rows: &[RowsOfFlow], bits: &mut [u32]) {
    plain_lines::<LINES>(bitmaps, rows, bits);
}

fn plain_lines<const LINES: usize>(bitmaps: &[u64], rows: &[RowsOfFlow], bits: &mut [u32]) {
    match LINES {
        1 => plain::<8>(bitmaps, rows, bits),
        _ => plain::<16>(bitmaps, rows, bits),
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::RowsOfFlow;
    use core::arch::x86_64::{
        __m512i, _mm512_and_si512, _mm512_loadu_si512, _mm512_set1_epi64, _mm512_storeu_si512, _mm512_test_epi64_mask,
    };

    /// Words of a cache line.
    const WORDS: usize = 8;

    /// As `plain`, for rows of one or two lines.
    #[target_feature(enable = "avx512f,bmi1")]
    pub(super) fn lowest_bits<const LINES: usize>(bitmaps: &[u64], rows: &[RowsOfFlow], bits: &mut [u32]) {
        let lines = bitmaps.as_chunks::<WORDS>().0;
        for (rows, bit) in rows.iter().zip(bits) {
            *bit = lowest::<LINES>(lines, rows).unwrap_or(u32::MAX);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,bmi1")]
    fn lowest<const LINES: usize>(lines: &[[u64; WORDS]], rows: &RowsOfFlow) -> Option<u32> {
        let mut all = [_mm512_set1_epi64(-1); LINES];
        for row in rows {
            let first = *row as usize * LINES;
            let row = lines.get(first..first + LINES)?;
            for (all, line) in all.iter_mut().zip(row) {
                *all = _mm512_and_si512(*all, load(line));
            }
        }
        let mut words = [[0; WORDS]; LINES];
        let mut filled = 0u32;
        for (at, line) in all.iter().enumerate() {
            store(*line, &mut words[at]);
            filled |= u32::from(_mm512_test_epi64_mask(*line, *line)) << (at * WORDS);
        }
        // Of no word: 32, and then 64 empty bits.
        let first = filled.trailing_zeros();
        let words = words.as_flattened();
        Some(first * 64 + words[first as usize % words.len()].trailing_zeros())
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(line: &[u64; WORDS]) -> __m512i {
        // SAFETY: the line has the 64 bytes that are read, wherever it is aligned.
        unsafe { _mm512_loadu_si512(line.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn store(from: __m512i, line: &mut [u64; WORDS]) {
        // SAFETY: the line has the 64 bytes that are written, wherever it is aligned.
        unsafe { _mm512_storeu_si512(line.as_mut_ptr().cast(), from) };
    }
}

#[inline(always)]
fn plain<const WORDS: usize>(bitmaps: &[u64], rows: &[RowsOfFlow], bits: &mut [u32]) {
    let bitmaps = bitmaps.as_chunks::<WORDS>().0;
    for (rows, bit) in rows.iter().zip(bits) {
        *bit = lowest::<WORDS>(bitmaps, rows).unwrap_or(u32::MAX);
    }
}

/// Without a branch on what the rows hold: which word is the first that is not empty cannot be foretold.
#[inline(always)]
fn lowest<const WORDS: usize>(bitmaps: &[[u64; WORDS]], rows: &RowsOfFlow) -> Option<u32> {
    let mut all = [u64::MAX; WORDS];
    for row in rows {
        let row = bitmaps.get(*row as usize)?;
        for (all, word) in all.iter_mut().zip(row) {
            *all &= word;
        }
    }
    let mut filled = 0u32;
    for (at, word) in all.iter().enumerate() {
        filled |= u32::from(*word != 0) << at;
    }
    // Of no word: 32, and then 64 empty bits.
    let first = filled.trailing_zeros();
    Some(first * 64 + all[first as usize % WORDS].trailing_zeros())
}

//! The row of a value through a direct table: loads only, no search. The format is in [`build::policy_format`](crate::build).

use super::policy_rows::RowsOfFlow;
use super::query::PolicyQuery;
use crate::build::policy_format::{BLOCK, Chunk, DIRECT, Field};
use core::hint::select_unpredictable;

pub(super) type Block = [u16; 256];

/// The row for a value of a field of so many bits.
pub(super) fn row<const BITS: u32>(direct: &[u16], first: u32, value: u32) -> Option<u32> {
    let field = Field { first, count: DIRECT };
    match BITS {
        32 => OfAddress::of(direct, field)?.row(value),
        16 => OfPort::of(direct, field)?.row(value as u16),
        _ => {
            let classes = direct.get(first as usize..)?.first_chunk::<256>()?;
            Some(classes[value as u8 as usize].into())
        }
    }
}

/// The classes of all protocols.
pub(super) fn of_protocols(direct: &[u16], field: Field) -> Option<&Block> {
    let classes = (field.count == DIRECT).then(|| direct.get(field.first as usize..))??;
    classes.first_chunk()
}

/// The direct tables of a chunk of IPv4 rules that has them for all fields.
pub(super) struct DirectFields<'g> {
    source: OfAddress<'g>,
    destination: OfAddress<'g>,
    protocol: &'g Block,
    source_port: OfPort<'g>,
    destination_port: OfPort<'g>,
    no_source_port: u32,
    no_destination_port: u32,
}

impl<'g> DirectFields<'g> {
    pub(super) fn of(direct: &'g [u16], chunk: &Chunk) -> Option<Self> {
        (chunk.protocol.count == DIRECT).then_some(())?;
        Some(DirectFields {
            source: OfAddress::of(direct, chunk.source)?,
            destination: OfAddress::of(direct, chunk.destination)?,
            protocol: direct.get(chunk.protocol.first as usize..)?.first_chunk()?,
            source_port: OfPort::of(direct, chunk.source_port)?,
            destination_port: OfPort::of(direct, chunk.destination_port)?,
            no_source_port: chunk.no_source_port,
            no_destination_port: chunk.no_destination_port,
        })
    }

    /// The flow's five rows, counted within the chunk.
    #[inline(always)]
    pub(super) fn rows(
        &self,
        contexts: &[u16],
        query: &PolicyQuery,
        source: u32,
        destination: u32,
    ) -> Option<RowsOfFlow> {
        let class = self.protocol[usize::from(query.protocol)];
        Some([
            self.source.row(source)?,
            self.destination.row(destination)?,
            u32::from(*contexts.get(usize::from(class))?),
            match query.source_port() {
                Some(port) => self.source_port.row(port)?,
                None => self.no_source_port,
            },
            match query.destination_port() {
                Some(port) => self.destination_port.row(port)?,
                None => self.no_destination_port,
            },
        ])
    }
}

pub(super) struct OfAddress<'g> {
    table: &'g [u16; 1 << 16],
    blocks: &'g [Block],
}

impl<'g> OfAddress<'g> {
    pub(super) fn of(direct: &'g [u16], field: Field) -> Option<Self> {
        let from = (field.count == DIRECT).then(|| direct.get(field.first as usize..))??;
        let (table, blocks) = from.split_first_chunk()?;
        let blocks = blocks.as_chunks().0;
        Some(OfAddress { table, blocks })
    }

    /// The rows of the first `count` values, 0 where there is none.
    #[inline(always)]
    pub(super) fn rows<const MOST: usize>(&self, count: usize, values: &[u32; MOST], rows: &mut [u32; MOST]) {
        #[cfg(target_arch = "x86_64")]
        if MOST.is_multiple_of(avx512::LANES) && is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has what the function is compiled for.
            return unsafe { avx512::rows(self, count, values, rows) };
        }
        for (value, row) in values.iter().zip(rows).take(count) {
            *row = self.row(*value).unwrap_or(0);
        }
    }

    /// Whether there is a third step cannot be foretold: it is always taken, and without effect where the row was known.
    #[inline(always)]
    pub(super) fn row(&self, value: u32) -> Option<u32> {
        let block = self.blocks.get(usize::from(self.table[(value >> 16) as usize]))?;
        let entry = block[(value >> 8) as usize % 256];
        let deeper = entry & BLOCK != 0;
        // Left to itself the compiler makes a branch of it.
        let block = self
            .blocks
            .get(select_unpredictable(deeper, usize::from(entry & !BLOCK), 0))?;
        Some(u32::from(select_unpredictable(
            deeper,
            block[value as usize % 256],
            entry,
        )))
    }
}

/// Sixteen values at a time: their steps wait for memory together.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::OfAddress;
    use crate::build::policy_format::BLOCK;
    use core::arch::x86_64::{
        __m512i, __mmask16, _mm512_and_si512, _mm512_cmplt_epu32_mask, _mm512_loadu_si512, _mm512_mask_i32gather_epi32,
        _mm512_mask_mov_epi32, _mm512_or_si512, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_slli_epi32,
        _mm512_srli_epi32, _mm512_srlv_epi32, _mm512_storeu_si512, _mm512_test_epi32_mask,
    };

    pub(super) const LANES: usize = 16;

    #[target_feature(enable = "avx512f")]
    pub(super) fn rows(of: &OfAddress<'_>, count: usize, values: &[u32], rows: &mut [u32]) {
        let values = values.as_chunks::<LANES>().0.iter().take(count.div_ceil(LANES));
        for (values, rows) in values.zip(rows.as_chunks_mut::<LANES>().0) {
            // SAFETY: the array has the 64 bytes that are read, wherever it is aligned.
            let values = unsafe { _mm512_loadu_si512(values.as_ptr().cast()) };
            let found = row(of, values);
            // SAFETY: the array has the 64 bytes that are written, wherever it is aligned.
            unsafe { _mm512_storeu_si512(rows.as_mut_ptr().cast(), found) };
        }
    }

    /// As [`OfAddress::row`].
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn row(of: &OfAddress<'_>, values: __m512i) -> __m512i {
        let all = |value: u32| _mm512_set1_epi32(value as i32);
        let known = all(of.blocks.len().min(1 << 16) as u32);
        let in_block = |block, bits| _mm512_or_si512(_mm512_slli_epi32::<8>(block), _mm512_and_si512(bits, all(0xff)));
        let upper = _mm512_srli_epi32::<16>(values);
        // SAFETY: the table has an entry for each 16 bits.
        let block = unsafe { words(of.table, __mmask16::MAX, upper) };
        let blocks = of.blocks.as_flattened();
        let at = in_block(block, _mm512_srli_epi32::<8>(values));
        let exists = _mm512_cmplt_epu32_mask(block, known);
        // SAFETY: those lanes name a block that exists, and one of its 256 words.
        let entry = unsafe { words(blocks, exists, at) };
        let deeper = _mm512_test_epi32_mask(entry, all(BLOCK.into()));
        let block = _mm512_and_si512(entry, all((!BLOCK).into()));
        let at = in_block(block, values);
        let exists = deeper & _mm512_cmplt_epu32_mask(block, known);
        // SAFETY: as before.
        let last = unsafe { words(blocks, exists, at) };
        _mm512_mask_mov_epi32(entry, deeper, last)
    }

    /// The words at these places for those lanes, 0 for the others. They are gathered in pairs: there is no narrower gather.
    ///
    /// # Safety
    /// The places of those lanes are less than the number of words, which is even.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn words(from: &[u16], lanes: __mmask16, places: __m512i) -> __m512i {
        let (base, none) = (from.as_ptr().cast(), _mm512_setzero_si512());
        let pairs = _mm512_srli_epi32::<1>(places);
        // SAFETY: the caller says that there are such words, and each has its pair.
        let pairs = unsafe { _mm512_mask_i32gather_epi32::<4>(none, lanes, pairs, base) };
        let upper = _mm512_slli_epi32::<4>(_mm512_and_si512(places, _mm512_set1_epi32(1)));
        _mm512_and_si512(_mm512_srlv_epi32(pairs, upper), _mm512_set1_epi32(0xffff))
    }
}

struct OfPort<'g> {
    table: &'g Block,
    blocks: &'g [Block],
}

impl<'g> OfPort<'g> {
    fn of(direct: &'g [u16], field: Field) -> Option<Self> {
        let from = (field.count == DIRECT).then(|| direct.get(field.first as usize..))??;
        let (table, blocks) = from.split_first_chunk()?;
        let blocks = blocks.as_chunks().0;
        Some(OfPort { table, blocks })
    }

    #[inline(always)]
    fn row(&self, value: u16) -> Option<u32> {
        let block = self.blocks.get(usize::from(self.table[usize::from(value >> 8)]))?;
        Some(u32::from(block[usize::from(value) % 256]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Blocks 0 to 3 exist, and in them are rows, those blocks and others.
    fn entry() -> impl Strategy<Value = u16> {
        prop_oneof![0u16..8, (0u16..8).prop_map(|block| BLOCK | block), any::<u16>()]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn all_at_once_are_found_as_one_by_one(
            table in prop::collection::vec(0u16..6, 16), entries in prop::collection::vec(entry(), 64), values in prop::array::uniform32(any::<u32>())
        ) {
            let mut direct: Vec<u16> = table.iter().copied().cycle().take(1 << 16).collect();
            direct.extend(entries.iter().cycle().take(4 * 256));
            let of = OfAddress::of(&direct, Field { first: 0, count: DIRECT }).expect("a table and four blocks");
            let mut rows = [u32::MAX; 32];
            of.rows(32, &values, &mut rows);
            let expected = values.map(|value| of.row(value).unwrap_or(0));
            prop_assert_eq!(rows, expected);
        }
    }
}

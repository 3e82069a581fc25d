//! Flows against blocks of 16 rules: the heart of the lists, with vector instructions where the processor has them.

use super::query::{PolicyQuery, has_ports, has_type};
use crate::build::policy_format::{Block, FORK_BY_SOURCE, LANES, NO_MEMBER};

/// What blocks compare of a flow.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    source: u32,
    destination: u32,
    /// Ports against first ones.
    ports: u32,
    /// Ports against last ones.
    ports_last: u32,
    contexts: u16,
}

impl Asked {
    /// What no rule matches.
    pub(super) const NOBODY: Asked = Asked {
        source: 0,
        destination: 0,
        ports: 0,
        ports_last: 0,
        contexts: 0,
    };

    #[inline(always)]
    pub(super) fn new(query: &PolicyQuery, (source, destination): (u32, u32), contexts: u16) -> Self {
        let ports = u32::from(query.source_port) << 16 | u32::from(query.destination_port);
        let has = HAS[usize::from(query.protocol)];
        Asked {
            source,
            destination,
            ports: ports & has,
            ports_last: ports | !has,
            contexts,
        }
    }
}

/// By protocol: the halves of a ports word that its packets have.
static HAS: [u32; 256] = {
    let mut has = [0; 256];
    let mut number = 0;
    while number < has.len() {
        has[number] = match number as u8 {
            protocol if has_ports(protocol) => u32::MAX,
            protocol if has_type(protocol) => 0xffff,
            _ => 0,
        };
        number += 1;
    }
    has
};

/// A flow, and the block that it comes to next.
#[derive(Clone, Copy, Default)]
pub(super) struct Step {
    pub(super) block: u32,
    pub(super) flow: u32,
}

/// Intervals of places, and the first block of the list of each.
#[derive(Clone, Copy)]
pub(super) struct Forks<'g> {
    pub(super) starts: &'g [u32],
    pub(super) heads: &'g [u32],
}

impl Forks<'_> {
    /// Where a fork leads the flow.
    fn follow(&self, fork: &Block, asked: &Asked) -> Option<u32> {
        let place = match fork.fork_by {
            FORK_BY_SOURCE => asked.source,
            _ => asked.destination,
        };
        let first = fork.fork_first as usize;
        let range = first..first.checked_add(fork.fork_count as usize)?;
        let starts = self.starts.get(range.clone())?;
        let interval = starts.partition_point(|start| *start <= place).checked_sub(1)?;
        self.heads.get(range)?.get(interval).copied()
    }
}

/// Takes each flow through its list; `best` becomes the least member that matches, if it is less.
pub(super) fn walk(blocks: &[Block], forks: Forks<'_>, asked: &[Asked], steps: &mut [Step], best: &mut [u32]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vl") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { avx512::walk(blocks, forks, asked, steps, best) };
    }
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { avx2::walk(blocks, forks, asked, steps, best) };
    }
    walk_by(blocks, forks, asked, steps, best, plain);
}

#[inline(always)]
fn walk_by(
    blocks: &[Block],
    forks: Forks<'_>,
    asked: &[Asked],
    mut steps: &mut [Step],
    best: &mut [u32],
    matching: impl Fn(&Block, &Asked) -> u32,
) {
    while !steps.is_empty() {
        let mut kept = 0;
        for at in 0..steps.len() {
            let Step { block: number, flow } = steps[at];
            let (Some(block), Some(asked), Some(best)) = (
                blocks.get(number as usize),
                asked.get(flow as usize),
                best.get_mut(flow as usize),
            ) else {
                continue;
            };
            let lanes = matching(block, asked);
            let first = block.members[lanes.trailing_zeros() as usize % LANES];
            let found = if lanes == 0 { NO_MEMBER } else { first };
            *best = found.min(*best);
            let mut next = block.next;
            if block.fork_count != 0 {
                next = forks.follow(block, asked).unwrap_or(0);
            }
            // Lists lead towards the first block: each one ends.
            let goes_on = next < number && block.next_least < *best;
            steps[kept] = Step { block: next, flow };
            kept += usize::from(goes_on);
        }
        steps = &mut steps[..kept];
    }
}

/// The lanes that match, a bit each.
#[inline(always)]
fn plain(block: &Block, asked: &Asked) -> u32 {
    let mut lanes = 0;
    for at in 0..LANES {
        let (first, last) = (block.ports_first[at], block.ports_last[at]);
        // Without a branch: which of them is the first that differs cannot be foretold.
        let matches = (block.source_first[at] <= asked.source)
            & (asked.source <= block.source_last[at])
            & (block.destination_first[at] <= asked.destination)
            & (asked.destination <= block.destination_last[at])
            & (first >> 16 <= asked.ports >> 16)
            & (asked.ports_last >> 16 <= last >> 16)
            & (first as u16 <= asked.ports as u16)
            & (asked.ports_last as u16 <= last as u16)
            & (block.contexts[at] & asked.contexts != 0);
        lanes |= u32::from(matches) << at;
    }
    lanes
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::{Asked, Block, Forks, LANES, Step};
    use core::arch::x86_64::{
        __m512i, _mm256_loadu_si256, _mm256_set1_epi16, _mm256_test_epi16_mask, _mm512_cmple_epu32_mask,
        _mm512_loadu_si512, _mm512_mask_cmple_epu32_mask, _mm512_mask_testn_epi32_mask, _mm512_or_si512,
        _mm512_set1_epi32, _mm512_subs_epu16,
    };

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1")]
    pub(super) fn walk(blocks: &[Block], forks: Forks<'_>, asked: &[Asked], steps: &mut [Step], best: &mut [u32]) {
        super::walk_by(blocks, forks, asked, steps, best, |block, asked| matching(block, asked));
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1")]
    fn matching(block: &Block, asked: &Asked) -> u32 {
        let all = |value: u32| _mm512_set1_epi32(value as i32);
        let (source, destination) = (all(asked.source), all(asked.destination));
        let lanes = _mm512_cmple_epu32_mask(load(&block.source_first), source);
        let lanes = _mm512_mask_cmple_epu32_mask(lanes, source, load(&block.source_last));
        let others = _mm512_cmple_epu32_mask(load(&block.destination_first), destination);
        let others = _mm512_mask_cmple_epu32_mask(others, destination, load(&block.destination_last));
        // What exceeds the bounds; zero in both halves where both ports lie between them.
        let below = _mm512_subs_epu16(load(&block.ports_first), all(asked.ports));
        let above = _mm512_subs_epu16(all(asked.ports_last), load(&block.ports_last));
        let lanes = _mm512_mask_testn_epi32_mask(lanes, _mm512_or_si512(below, above), all(u32::MAX));
        // SAFETY: the array has the 32 bytes that are read, wherever it is aligned.
        let contexts = unsafe { _mm256_loadu_si256(block.contexts.as_ptr().cast()) };
        let named = _mm256_test_epi16_mask(contexts, _mm256_set1_epi16(asked.contexts as i16));
        u32::from(lanes & others & named)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(lanes: &[u32; LANES]) -> __m512i {
        // SAFETY: the array has the 64 bytes that are read, wherever it is aligned.
        unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{Asked, Block, Forks, LANES, Step};
    use core::arch::x86_64::{
        __m256i, _mm_and_si128, _mm_loadu_si128, _mm_set1_epi16, _mm256_and_si256, _mm256_andnot_si256,
        _mm256_castsi256_ps, _mm256_cmpeq_epi32, _mm256_cvtepu16_epi32, _mm256_loadu_si256, _mm256_max_epu32,
        _mm256_min_epu32, _mm256_movemask_ps, _mm256_or_si256, _mm256_set1_epi32, _mm256_setzero_si256,
        _mm256_subs_epu16,
    };

    /// Lanes of a vector.
    const HALF: usize = LANES / 2;

    #[target_feature(enable = "avx2")]
    pub(super) fn walk(blocks: &[Block], forks: Forks<'_>, asked: &[Asked], steps: &mut [Step], best: &mut [u32]) {
        super::walk_by(blocks, forks, asked, steps, best, |block, asked| {
            half(block, asked, 0) | half(block, asked, 1) << HALF
        });
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn half(block: &Block, asked: &Asked, which: usize) -> u32 {
        let of = |lanes: &[u32; LANES]| load(&lanes.as_chunks().0[which]);
        let between = |first: &[u32; LANES], last: &[u32; LANES], value: u32| {
            let value = _mm256_set1_epi32(value as i32);
            let from = _mm256_cmpeq_epi32(_mm256_max_epu32(of(first), value), value);
            _mm256_and_si256(from, _mm256_cmpeq_epi32(_mm256_min_epu32(of(last), value), value))
        };
        let sources = between(&block.source_first, &block.source_last, asked.source);
        let destinations = between(&block.destination_first, &block.destination_last, asked.destination);
        // What exceeds the bounds; zero in both halves where both ports lie between them.
        let below = _mm256_subs_epu16(of(&block.ports_first), _mm256_set1_epi32(asked.ports as i32));
        let above = _mm256_subs_epu16(_mm256_set1_epi32(asked.ports_last as i32), of(&block.ports_last));
        let zero = _mm256_setzero_si256();
        let ports = _mm256_cmpeq_epi32(_mm256_or_si256(below, above), zero);
        let contexts: &[u16; HALF] = &block.contexts.as_chunks().0[which];
        // SAFETY: the array has the 16 bytes that are read, wherever it is aligned.
        let contexts = unsafe { _mm_loadu_si128(contexts.as_ptr().cast()) };
        let common = _mm_and_si128(contexts, _mm_set1_epi16(asked.contexts as i16));
        let strange = _mm256_cmpeq_epi32(_mm256_cvtepu16_epi32(common), zero);
        let matching = _mm256_and_si256(_mm256_and_si256(sources, destinations), ports);
        _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_andnot_si256(strange, matching))) as u32
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(lanes: &[u32; HALF]) -> __m256i {
        // SAFETY: the array has the 32 bytes that are read, wherever it is aligned.
        unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Few values, so that they meet.
    fn value() -> impl Strategy<Value = u32> {
        prop_oneof![
            0u32..4,
            (0u32..4).prop_map(|at| u32::MAX - at),
            (0u32..4).prop_map(|at| at << 16 | at)
        ]
    }

    fn lanes() -> impl Strategy<Value = [u32; LANES]> {
        proptest::array::uniform16(value())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn every_kind_of_processor_finds_the_same(
            fields in proptest::array::uniform6(lanes()), contexts in proptest::array::uniform16(0u16..8), asked in proptest::array::uniform4(value())
        ) {
            let [source_first, source_last, destination_first, destination_last, ports_first, ports_last] = fields;
            let member = |at: usize| at as u32 * 4;
            let block = Block {
                source_first,
                // Most are to match in most fields.
                source_last: source_last.map(|last| last | 0xffff_0000),
                destination_first: destination_first.map(|first| first & 3),
                destination_last,
                ports_first: ports_first.map(|first| first & 0x0003_0003),
                ports_last: ports_last.map(|last| last | 0xfff0_fff0),
                contexts,
                next: 0,
                next_least: NO_MEMBER,
                fork_first: 0,
                fork_count: 0,
                fork_by: 0,
                reserved: [0; 3],
                members: core::array::from_fn(member),
            };
            let [source, destination, ports, ports_last] = asked;
            let asked = Asked { source, destination, ports, ports_last, contexts: 3 };
            let expected = plain(&block, &asked);
            let mut best = [NO_MEMBER];
            let blocks = [Block { contexts: [0; LANES], ..block }, block];
            let forks = Forks { starts: &[], heads: &[] };
            walk(&blocks, forks, &[asked], &mut [Step { block: 1, flow: 0 }], &mut best);
            let first = (expected != 0).then(|| member(expected.trailing_zeros() as usize));
            prop_assert_eq!(best[0], first.unwrap_or(NO_MEMBER));
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") {
                let mut best = [NO_MEMBER];
                // SAFETY: the processor has what the function is compiled for.
                unsafe { avx2::walk(&blocks, forks, &[asked], &mut [Step { block: 1, flow: 0 }], &mut best) };
                prop_assert_eq!(best[0], first.unwrap_or(NO_MEMBER));
            }
        }
    }
}

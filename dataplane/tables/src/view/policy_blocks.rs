//! Flows against blocks of 16 rules: the heart of the lists, with vector instructions where the processor has them.

use super::query::{PolicyQuery, has_ports, has_type};
use crate::build::policy_format::{Block, FORK_BY_SOURCE, LANES, NO_MEMBER};

/// Lists by source: all that hangs in one names the flow's source, so that it is not compared.
pub(super) const OF_SOURCE: usize = 0;
/// Lists by destination, likewise.
pub(super) const OF_DESTINATION: usize = 1;
/// The list of a group that has but one.
pub(super) const OF_ALL: usize = 2;

/// The first blocks of a flow's lists: by source, or of the only one, and by destination.
pub(super) type Heads = [u32; 2];

/// What blocks compare of the flows of a pass, and where their lists begin.
pub(super) struct Asked<const MOST: usize> {
    pub(super) sources: [u32; MOST],
    pub(super) destinations: [u32; MOST],
    /// Ports against first ones.
    ports: [u32; MOST],
    /// Ports against last ones.
    ports_last: [u32; MOST],
    pub(super) heads: [[u32; MOST]; 2],
    contexts: [u16; MOST],
}

impl<const MOST: usize> Asked<MOST> {
    /// What no rule matches.
    pub(super) const NOBODY: Self = Asked {
        sources: [0; MOST],
        destinations: [0; MOST],
        ports: [0; MOST],
        ports_last: [0; MOST],
        heads: [[0; MOST]; 2],
        contexts: [0; MOST],
    };

    #[inline(always)]
    pub(super) fn set(&mut self, flow: usize, query: &PolicyQuery, places: (u32, u32), heads: Heads, contexts: u16) {
        let ports = u32::from(query.source_port) << 16 | u32::from(query.destination_port);
        let has = HAS[usize::from(query.protocol)];
        let flow = flow % MOST;
        (self.sources[flow], self.destinations[flow]) = places;
        (self.ports[flow], self.ports_last[flow]) = (ports & has, ports | !has);
        [self.heads[0][flow], self.heads[1][flow]] = heads;
        self.contexts[flow] = contexts;
    }

    #[inline(always)]
    fn of(&self, flow: usize) -> Flow {
        let flow = flow % MOST;
        Flow {
            source: self.sources[flow],
            destination: self.destinations[flow],
            ports: self.ports[flow],
            ports_last: self.ports_last[flow],
            contexts: self.contexts[flow],
        }
    }
}

/// The same of one flow.
#[derive(Clone, Copy)]
struct Flow {
    source: u32,
    destination: u32,
    ports: u32,
    ports_last: u32,
    contexts: u16,
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

/// Intervals of places, and the first block of the list of each.
#[derive(Clone, Copy)]
pub(super) struct Forks<'g> {
    pub(super) starts: &'g [u32],
    pub(super) heads: &'g [u32],
}

impl Forks<'_> {
    /// Where a fork leads the flow.
    #[inline(never)]
    fn follow<const MOST: usize>(&self, fork: &Block, asked: &Asked<MOST>, flow: usize) -> Option<u32> {
        let place = match fork.fork_by {
            FORK_BY_SOURCE => asked.sources[flow % MOST],
            _ => asked.destinations[flow % MOST],
        };
        let first = fork.fork_first as usize;
        let range = first..first.checked_add(fork.fork_count as usize)?;
        let starts = self.starts.get(range.clone())?;
        let interval = starts.partition_point(|start| *start <= place).checked_sub(1)?;
        self.heads.get(range)?.get(interval).copied()
    }
}

/// Takes each flow, as many as there are in `best`, through its list of that kind; `best` becomes the least member that matches, if it
/// is less.
pub(super) fn walk<const BY: usize, const MOST: usize>(
    blocks: &[Block],
    forks: Forks<'_>,
    asked: &Asked<MOST>,
    best: &mut [u32],
) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vl") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { avx512::walk::<BY, MOST>(blocks, forks, asked, best) };
    }
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { avx2::walk::<BY, MOST>(blocks, forks, asked, best) };
    }
    walk_by::<BY, MOST>(blocks, forks, asked, best, |block, asked| {
        member_in(block, plain::<BY>(block, asked))
    });
}

/// One block for all flows, then the next for those that go on.
#[inline(always)]
fn walk_by<const BY: usize, const MOST: usize>(
    blocks: &[Block],
    forks: Forks<'_>,
    asked: &Asked<MOST>,
    best: &mut [u32],
    first_in: impl Fn(&Block, Flow) -> u32,
) {
    let (mut numbers, mut flows, mut kept) = ([0; MOST], [0u8; MOST], 0);
    for (flow, (number, best)) in asked.heads[BY % 2].iter().zip(best.iter_mut()).enumerate() {
        let (next, goes_on) = step(blocks, &forks, *number, (asked, flow), best, &first_in);
        (numbers[kept % MOST], flows[kept % MOST]) = (next, flow as u8);
        kept += usize::from(goes_on);
    }
    while kept > 0 {
        let walking = kept;
        kept = 0;
        for at in 0..walking {
            let (number, flow) = (numbers[at % MOST], flows[at % MOST]);
            let Some(best) = best.get_mut(usize::from(flow)) else {
                continue;
            };
            let (next, goes_on) = step(blocks, &forks, number, (asked, flow.into()), best, &first_in);
            (numbers[kept % MOST], flows[kept % MOST]) = (next, flow);
            kept += usize::from(goes_on);
        }
    }
}

/// A flow at a block: the one that comes next, and whether the flow goes on to it. `first_in` says the first member that matches.
#[inline(always)]
fn step<const MOST: usize>(
    blocks: &[Block],
    forks: &Forks<'_>,
    number: u32,
    (asked, flow): (&Asked<MOST>, usize),
    best: &mut u32,
    first_in: impl Fn(&Block, Flow) -> u32,
) -> (u32, bool) {
    let Some(block) = blocks.get(number as usize) else {
        return (0, false);
    };
    *best = first_in(block, asked.of(flow)).min(*best);
    let mut next = block.next;
    if block.fork_count != 0 {
        next = forks.follow(block, asked, flow).unwrap_or(0);
    }
    // Lists lead towards the first block: each one ends.
    (next, next < number && block.next_least < *best)
}

/// The member of the first of these lanes.
#[inline(always)]
fn member_in(block: &Block, lanes: u32) -> u32 {
    let first = block.members[lanes.trailing_zeros() as usize % LANES];
    if lanes == 0 { NO_MEMBER } else { first }
}

/// The lanes that match, a bit each.
#[inline(always)]
fn plain<const BY: usize>(block: &Block, asked: Flow) -> u32 {
    let mut lanes = 0;
    for at in 0..LANES {
        let (first, last) = (block.ports_first[at], block.ports_last[at]);
        let source = (block.source_first[at] <= asked.source) & (asked.source <= block.source_last[at]);
        let destination =
            (block.destination_first[at] <= asked.destination) & (asked.destination <= block.destination_last[at]);
        // Without a branch: which of them is the first that differs cannot be foretold.
        let matches = (source | (BY == OF_SOURCE))
            & (destination | (BY == OF_DESTINATION))
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
    use super::{Asked, Block, Flow, Forks, LANES, NO_MEMBER, OF_DESTINATION, OF_SOURCE};
    use core::arch::x86_64::{
        __m512i, _mm256_loadu_si256, _mm256_set1_epi16, _mm256_test_epi16_mask, _mm512_cmple_epu32_mask,
        _mm512_cvtsi512_si32, _mm512_loadu_si512, _mm512_mask_cmple_epu32_mask, _mm512_mask_compress_epi32,
        _mm512_mask_testn_epi32_mask, _mm512_or_si512, _mm512_set1_epi32, _mm512_subs_epu16,
    };

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1")]
    pub(super) fn walk<const BY: usize, const MOST: usize>(
        blocks: &[Block],
        forks: Forks<'_>,
        asked: &Asked<MOST>,
        best: &mut [u32],
    ) {
        super::walk_by::<BY, MOST>(blocks, forks, asked, best, |block, asked| first_in::<BY>(block, asked));
    }

    /// All of the block is read at once: which member it is needs no load that would have to wait for the comparison.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1")]
    fn first_in<const BY: usize>(block: &Block, asked: Flow) -> u32 {
        let all = |value: u32| _mm512_set1_epi32(value as i32);
        // SAFETY: the array has the 32 bytes that are read, wherever it is aligned.
        let contexts = unsafe { _mm256_loadu_si256(block.contexts.as_ptr().cast()) };
        let named = _mm256_test_epi16_mask(contexts, _mm256_set1_epi16(asked.contexts as i16));
        // What exceeds the bounds; zero in both halves where both ports lie between them.
        let below = _mm512_subs_epu16(load(&block.ports_first), all(asked.ports));
        let above = _mm512_subs_epu16(all(asked.ports_last), load(&block.ports_last));
        let mut lanes = _mm512_mask_testn_epi32_mask(named, _mm512_or_si512(below, above), all(u32::MAX));
        if BY != OF_SOURCE {
            let source = all(asked.source);
            let from = _mm512_cmple_epu32_mask(load(&block.source_first), source);
            lanes &= _mm512_mask_cmple_epu32_mask(from, source, load(&block.source_last));
        }
        if BY != OF_DESTINATION {
            let destination = all(asked.destination);
            let from = _mm512_cmple_epu32_mask(load(&block.destination_first), destination);
            lanes &= _mm512_mask_cmple_epu32_mask(from, destination, load(&block.destination_last));
        }
        let members = _mm512_mask_compress_epi32(all(NO_MEMBER), lanes, load(&block.members));
        _mm512_cvtsi512_si32(members) as u32
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
    use super::{Asked, Block, Flow, Forks, LANES, OF_DESTINATION, OF_SOURCE, member_in};
    use core::arch::x86_64::{
        __m256i, _mm_and_si128, _mm_loadu_si128, _mm_set1_epi16, _mm256_and_si256, _mm256_andnot_si256,
        _mm256_castsi256_ps, _mm256_cmpeq_epi32, _mm256_cvtepu16_epi32, _mm256_loadu_si256, _mm256_max_epu32,
        _mm256_min_epu32, _mm256_movemask_ps, _mm256_or_si256, _mm256_set1_epi32, _mm256_setzero_si256,
        _mm256_subs_epu16,
    };

    /// Lanes of a vector.
    const HALF: usize = LANES / 2;

    #[target_feature(enable = "avx2")]
    pub(super) fn walk<const BY: usize, const MOST: usize>(
        blocks: &[Block],
        forks: Forks<'_>,
        asked: &Asked<MOST>,
        best: &mut [u32],
    ) {
        super::walk_by::<BY, MOST>(blocks, forks, asked, best, |block, asked| {
            member_in(block, half::<BY>(block, asked, 0) | half::<BY>(block, asked, 1) << HALF)
        });
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn half<const BY: usize>(block: &Block, asked: Flow, which: usize) -> u32 {
        let of = |lanes: &[u32; LANES]| load(&lanes.as_chunks().0[which]);
        let between = |first: &[u32; LANES], last: &[u32; LANES], value: u32| {
            let value = _mm256_set1_epi32(value as i32);
            let from = _mm256_cmpeq_epi32(_mm256_max_epu32(of(first), value), value);
            _mm256_and_si256(from, _mm256_cmpeq_epi32(_mm256_min_epu32(of(last), value), value))
        };
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
        let mut matching = ports;
        if BY != OF_SOURCE {
            let sources = between(&block.source_first, &block.source_last, asked.source);
            matching = _mm256_and_si256(matching, sources);
        }
        if BY != OF_DESTINATION {
            let destinations = between(&block.destination_first, &block.destination_last, asked.destination);
            matching = _mm256_and_si256(matching, destinations);
        }
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
            let asked = Flow { source, destination, ports, ports_last, contexts: 3 };
            let blocks = [Block { contexts: [0; LANES], ..block }, block];
            let expected = [plain::<OF_SOURCE>(&block, asked), plain::<OF_DESTINATION>(&block, asked), plain::<OF_ALL>(&block, asked)];
            prop_assert_eq!(expected[OF_ALL], expected[OF_SOURCE] & expected[OF_DESTINATION]);
            let first = |lanes: u32| (lanes != 0).then(|| member(lanes.trailing_zeros() as usize));
            let expected = expected.map(|lanes| first(lanes).unwrap_or(NO_MEMBER));
            prop_assert_eq!(found::<OF_SOURCE>(&blocks, asked), [expected[OF_SOURCE]; 2]);
            prop_assert_eq!(found::<OF_DESTINATION>(&blocks, asked), [expected[OF_DESTINATION]; 2]);
            prop_assert_eq!(found::<OF_ALL>(&blocks, asked), [expected[OF_ALL]; 2]);
        }
    }

    /// What this processor's way and that of AVX2, where there is one, find.
    fn found<const BY: usize>(blocks: &[Block], flow: Flow) -> [u32; 2] {
        let asked = Asked {
            sources: [flow.source],
            destinations: [flow.destination],
            ports: [flow.ports],
            ports_last: [flow.ports_last],
            heads: [[1]; 2],
            contexts: [flow.contexts],
        };
        let forks = Forks {
            starts: &[],
            heads: &[],
        };
        let mut best = [[NO_MEMBER]; 2];
        walk::<BY, 1>(blocks, forks, &asked, &mut best[0]);
        best[1] = best[0];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            best[1] = [NO_MEMBER];
            // SAFETY: the processor has what the function is compiled for.
            unsafe { avx2::walk::<BY, 1>(blocks, forks, &asked, &mut best[1]) };
        }
        best.map(|[best]| best)
    }
}

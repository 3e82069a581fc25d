//! Policy: the first rule that matches a flow; the format is in [`build::policy_format`](crate::build).

use super::query::PolicyQuery;
use super::{InvalidTables, Tables, policy_direct, policy_rows};
use crate::build::policy_format::{Block, Chunk, DIRECT, Field, Group, Lists, NO_MEMBER, PolicyHeader, RULE_SHIFT};
use crate::layout::{Address, SectionId, SegmentIndex, rule_action, wildcard};
use policy_direct::DirectFields;
use policy_rows::{NO_ROW, RowsOfFlow};
use tombolo_wire::Addresses;
use zerocopy::FromBytes;

/// What policy says about a flow; `rule` is the place of the deciding rule in [`Tables::policy_rules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PolicyVerdict {
    /// Let it pass and remember it.
    Allow {
        /// The rule that says so.
        rule: u32,
    },
    /// Drop it in silence.
    Deny {
        /// The rule that says so.
        rule: u32,
    },
    /// Drop it and tell the sender.
    Reject {
        /// The rule that says so.
        rule: u32,
    },
    /// No rule matches: whoever asks allows it within a segment and denies it between segments.
    Default,
}

impl Tables<'_> {
    /// The verdict on a flow. Its cost depends on how many rules name prefixes that hold its addresses, hardly on the number of all.
    /// Segments that do not exist match only rules for any segment.
    pub fn policy(&self, query: &PolicyQuery) -> PolicyVerdict {
        let mut best = [NO_MEMBER];
        self.policy_index.first_matches(1, &|_| *query, &mut best);
        verdict(best[0])
    }

    /// [`policy`](Self::policy) for each query, as far as both slices reach. Cheapest where neighbours in the slice agree in
    /// their segments and family.
    pub fn policy_batch(&self, queries: &[PolicyQuery], out: &mut [PolicyVerdict]) {
        for (queries, out) in queries.chunks(BATCH).zip(out.chunks_mut(BATCH)) {
            let count = queries.len().min(out.len());
            self.policy_each(count, |flow| queries[flow], |flow, verdict| out[flow] = verdict);
        }
    }

    /// The same for flows that are written down in no query: `query` says what flow *n* is, each time that it is asked, `out` takes
    /// the verdicts in their order.
    #[inline(always)]
    pub fn policy_each(
        &self,
        count: usize,
        query: impl Fn(usize) -> PolicyQuery,
        mut out: impl FnMut(usize, PolicyVerdict),
    ) {
        for first in (0..count).step_by(BATCH) {
            let count = (count - first).min(BATCH);
            let mut best = [NO_MEMBER; BATCH];
            self.policy_index
                .first_matches(count, &|flow| query(first + flow), &mut best);
            for (flow, member) in best[..count].iter().enumerate() {
                out(first + flow, verdict(*member));
            }
        }
    }
}

/// Most flows that one pass serves: what they ask for stays in the first cache.
const BATCH: usize = 64;
/// So many groups are compared one after the other sooner than searched.
const FEW_GROUPS: usize = 16;
/// Bits of a member that say what its rule does.
const ACTION: u32 = (1 << RULE_SHIFT) - 1;

#[inline(always)]
fn verdict(member: u32) -> PolicyVerdict {
    let rule = member >> RULE_SHIFT;
    match (member & ACTION) as u8 {
        _ if member == NO_MEMBER => PolicyVerdict::Default,
        rule_action::ALLOW => PolicyVerdict::Allow { rule },
        rule_action::REJECT => PolicyVerdict::Reject { rule },
        // A broken action or index denies.
        _ => PolicyVerdict::Deny { rule },
    }
}

/// The compiled rules.
#[derive(Clone, Copy, Default)]
pub(super) struct PolicyIndex<'g> {
    pub(super) blocks: &'g [Block],
    bitmaps: &'g [u64],
    groups: &'g [Group],
    lists: &'g [Lists],
    chunks: &'g [Chunk],
    members: &'g [u32],
    pub(super) narrow_starts: &'g [u32],
    pub(super) narrow_rows: &'g [u32],
    wide_rows: &'g [u32],
    wide_starts: &'g [Address],
    pub(super) direct: &'g [u16],
}

/// The groups that a flow asks.
type Groups = [Option<u32>; 4];

impl<'g> PolicyIndex<'g> {
    /// A section that is empty holds no rule.
    pub(super) fn from_section((section, bytes): (SectionId, &'g [u8])) -> Result<Self, InvalidTables> {
        if bytes.is_empty() {
            return Ok(PolicyIndex::default());
        }
        if bytes.as_ptr().addr() % align_of::<u64>() != 0 {
            return Err(InvalidTables::Misaligned(section));
        }
        let parts = || {
            let (header, rest) = PolicyHeader::read_from_prefix(bytes).ok()?;
            let (narrow, wide) = (header.narrow as usize, header.wide as usize);
            let (blocks, rest) = <[Block]>::ref_from_prefix_with_elems(rest, header.blocks as usize).ok()?;
            let (bitmaps, rest) = <[u64]>::ref_from_prefix_with_elems(rest, header.bitmaps as usize).ok()?;
            let (groups, rest) = <[Group]>::ref_from_prefix_with_elems(rest, header.groups as usize).ok()?;
            let (lists, rest) = <[Lists]>::ref_from_prefix_with_elems(rest, header.lists as usize).ok()?;
            let (chunks, rest) = <[Chunk]>::ref_from_prefix_with_elems(rest, header.chunks as usize).ok()?;
            let (members, rest) = <[u32]>::ref_from_prefix_with_elems(rest, header.members as usize).ok()?;
            let (narrow_starts, rest) = <[u32]>::ref_from_prefix_with_elems(rest, narrow).ok()?;
            let (narrow_rows, rest) = <[u32]>::ref_from_prefix_with_elems(rest, narrow).ok()?;
            let (wide_rows, rest) = <[u32]>::ref_from_prefix_with_elems(rest, wide).ok()?;
            let (wide_starts, rest) = <[Address]>::ref_from_prefix_with_elems(rest, wide).ok()?;
            let direct = <[u16]>::ref_from_bytes_with_elems(rest, header.direct as usize).ok()?;
            Some(PolicyIndex {
                blocks,
                bitmaps,
                groups,
                lists,
                chunks,
                members,
                narrow_starts,
                narrow_rows,
                wide_rows,
                wide_starts,
                direct,
            })
        };
        parts().ok_or(InvalidTables::Header(section))
    }

    /// The first rule's member for each of up to `MOST` flows; flows that ask the same groups go through them together.
    #[inline(always)]
    fn first_matches<const MOST: usize>(
        &self,
        count: usize,
        query: &impl Fn(usize) -> PolicyQuery,
        best: &mut [u32; MOST],
    ) {
        // What of a flow says which groups it asks.
        let between = |flow: usize| {
            let query = query(flow);
            (query.family(), query.from, query.to)
        };
        let mut from = 0;
        while from < count {
            let first = between(from);
            let groups = self.groups_of(first);
            let same = |other| other == first || self.groups_of(other) == groups;
            let until = (from + 1..count).find(|flow| !same(between(*flow))).unwrap_or(count);
            for group in groups.iter().flatten() {
                let best = &mut best[from..until];
                self.group_pass::<MOST>(*group, &|flow| query(from + flow), best);
            }
            from = until;
        }
    }

    /// The up to four groups that speak of the flow's segments.
    fn groups_of(&self, (family, from, to): (u8, SegmentIndex, SegmentIndex)) -> Groups {
        let (family, any) = (u32::from(family), wildcard::SEGMENT);
        let packed = |family: u32, from: u16, to: u16| u64::from(family) << 32 | u64::from(from) << 16 | u64::from(to);
        let key = |group: &Group| packed(group.family, group.from, group.to);
        // Groups are sorted: the first or last of at most two that speaks of all segments is its family's only one.
        if self.groups.len() <= 2
            && let Some(at) = self
                .groups
                .iter()
                .position(|group| key(group) == packed(family, any, any))
        {
            return [Some(at as u32), None, None, None];
        }
        let (from, to) = (from.0, to.0);
        let wanted = [(from, to), (from, any), (any, to), (any, any)].map(|(from, to)| packed(family, from, to));
        if self.groups.len() > FEW_GROUPS {
            return wanted.map(|wanted| self.groups.binary_search_by_key(&wanted, key).ok().map(|at| at as u32));
        }
        let mut found = [None; 4];
        for (at, group) in self.groups.iter().enumerate() {
            for (found, wanted) in found.iter_mut().zip(wanted) {
                if key(group) == wanted {
                    *found = Some(at as u32);
                }
            }
        }
        found
    }

    /// The lists of a group, then its chunks, as long as one of the flows could find an earlier rule in them.
    fn group_pass<const MOST: usize>(&self, group: u32, query: &impl Fn(usize) -> PolicyQuery, best: &mut [u32]) {
        let Some(group) = self.groups.get(group as usize) else {
            return;
        };
        if let Some(lists) = self.lists.get(group.lists as usize) {
            self.lists_pass::<MOST>(lists, query, best);
        }
        let first = group.chunk_first as usize;
        let chunks = self
            .chunks
            .get(first..first.saturating_add(group.chunk_count as usize))
            .unwrap_or(&[]);
        for chunk in chunks {
            let Some(earliest) = self.members.get(chunk.member_first as usize) else {
                return;
            };
            if best.iter().all(|best| best < earliest) {
                return;
            }
            self.chunk_pass::<MOST>(chunk, query, best);
        }
    }

    fn chunk_pass<const MOST: usize>(&self, chunk: &Chunk, query: &impl Fn(usize) -> PolicyQuery, best: &mut [u32]) {
        let mut rows = [[NO_ROW; 5]; MOST];
        let mut segments = None;
        let direct = DirectFields::of(self.direct, chunk);
        let count = best.len().min(MOST);
        for (flow, rows) in rows[..count].iter_mut().enumerate() {
            let query = &query(flow);
            let contexts = match segments {
                Some((from, to, contexts)) if (from, to) == (query.from, query.to) => contexts,
                _ => self.combinations(&Segments::of_chunk(chunk), (query.from, query.to)),
            };
            segments = Some((query.from, query.to, contexts));
            let found = match (&direct, query.addresses) {
                (Some(direct), Addresses::V4 { source, destination }) => {
                    direct.rows(contexts, query, source, destination)
                }
                _ => self.rows(chunk, contexts, query),
            };
            if let Some(found) = found {
                *rows = found.map(|row| row.saturating_add(chunk.row_first));
                policy_rows::ask_for(self.bitmaps, chunk.words, rows);
            }
        }
        let mut bits = [0; MOST];
        policy_rows::lowest_bits(self.bitmaps, chunk.words, &rows[..count], &mut bits);
        let first = chunk.member_first as usize;
        let members = self
            .members
            .get(first..first.saturating_add(chunk.member_count as usize));
        let members = members.unwrap_or(&[]);
        for (best, bit) in best.iter_mut().zip(bits) {
            let member = members.get(bit as usize).copied().unwrap_or(NO_MEMBER);
            *best = member.min(*best);
        }
    }

    /// Where the words of the flow's segments stand, one for each class of protocols.
    pub(super) fn combinations(&self, segments: &Segments, (from, to): (SegmentIndex, SegmentIndex)) -> &'g [u16] {
        let found = || {
            let from = self.narrow::<16>(segments.from, u32::from(from.0))? as usize;
            let to = self.narrow::<16>(segments.to, u32::from(to.0))? as usize;
            let (to_classes, classes) = (segments.to_classes as usize, segments.protocol_classes as usize);
            let pair = from.checked_mul(to_classes)?.checked_add(to)?;
            let first = pair.checked_mul(classes)?.checked_add(segments.contexts as usize)?;
            self.direct.get(first..first.checked_add(classes)?)
        };
        found().unwrap_or(&[])
    }

    /// The flow's five rows, counted within the chunk.
    #[inline]
    fn rows(&self, chunk: &Chunk, contexts: &[u16], query: &PolicyQuery) -> Option<RowsOfFlow> {
        let (source, destination) = match query.addresses {
            Addresses::V4 { source, destination } => (
                self.narrow::<32>(chunk.source, source)?,
                self.narrow::<32>(chunk.destination, destination)?,
            ),
            Addresses::V6 { source, destination } => (
                self.wide(chunk.source, &source)?,
                self.wide(chunk.destination, &destination)?,
            ),
        };
        let source_port = match query.source_port() {
            Some(port) => self.narrow::<16>(chunk.source_port, u32::from(port))?,
            None => chunk.no_source_port,
        };
        let destination_port = match query.destination_port() {
            Some(port) => self.narrow::<16>(chunk.destination_port, u32::from(port))?,
            None => chunk.no_destination_port,
        };
        let class = self.narrow::<8>(chunk.protocol, u32::from(query.protocol))?;
        let context = u32::from(*contexts.get(class as usize)?);
        Some([source, destination, context, source_port, destination_port])
    }

    /// The row of the interval that holds the value of a field of so many bits.
    #[inline]
    pub(super) fn narrow<const BITS: u32>(&self, field: Field, value: u32) -> Option<u32> {
        if field.count == DIRECT {
            return policy_direct::row::<BITS>(self.direct, field.first, value);
        }
        let range = field.first as usize..field.first as usize + field.count as usize;
        let interval = self
            .narrow_starts
            .get(range.clone())?
            .partition_point(|&start| start <= value)
            .checked_sub(1)?;
        self.narrow_rows.get(range)?.get(interval).copied()
    }

    /// The row of the interval that holds an IPv6 address.
    fn wide(&self, field: Field, value: &[u8; 16]) -> Option<u32> {
        self.interval(field, value).map(|(_, row)| row)
    }

    /// The number of the interval that holds an IPv6 address, and its row.
    pub(super) fn interval(&self, field: Field, value: &[u8; 16]) -> Option<(u32, u32)> {
        let range = field.first as usize..(field.first as usize).checked_add(field.count as usize)?;
        let interval = self
            .wide_starts
            .get(range.clone())?
            .partition_point(|start| start.0 <= *value)
            .checked_sub(1)?;
        Some((interval as u32, *self.wide_rows.get(range)?.get(interval)?))
    }
}

/// What a chunk or a group's lists make of both segments and the protocol.
pub(super) struct Segments {
    from: Field,
    to: Field,
    contexts: u32,
    to_classes: u32,
    protocol_classes: u32,
}

impl Segments {
    fn of_chunk(chunk: &Chunk) -> Self {
        Segments {
            from: chunk.from,
            to: chunk.to,
            contexts: chunk.contexts,
            to_classes: chunk.to_classes,
            protocol_classes: chunk.protocol_classes,
        }
    }

    pub(super) fn of_lists(lists: &Lists) -> Self {
        Segments {
            from: lists.from,
            to: lists.to,
            contexts: lists.contexts,
            to_classes: lists.to_classes,
            protocol_classes: lists.protocol_classes,
        }
    }
}

//! Policy: the first rule that matches a flow; the format is in [`build::policy`](crate::build).

use super::query::PolicyQuery;
use super::{InvalidTables, Tables};
use crate::build::policy::{Chunk, Field, Group, PolicyHeader};
use crate::layout::{Address, SectionId, rule_action, wildcard};
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
    /// The verdict on a flow. Its cost grows with the logarithm of the rules up to 1,024 per pair of segments, beyond that
    /// with their number divided by 1,024. Segments that do not exist match only rules for any segment.
    pub fn policy(&self, query: &PolicyQuery) -> PolicyVerdict {
        let Some(rule) = self.policy_index.first_match(query) else {
            return PolicyVerdict::Default;
        };
        match self.policy_rules.get(rule as usize).map(|record| record.action) {
            Some(rule_action::ALLOW) => PolicyVerdict::Allow { rule },
            Some(rule_action::REJECT) => PolicyVerdict::Reject { rule },
            // A broken action or index denies.
            _ => PolicyVerdict::Deny { rule },
        }
    }
}

/// The compiled rules.
#[derive(Clone, Copy, Default)]
pub(super) struct PolicyIndex<'g> {
    bitmaps: &'g [u64],
    groups: &'g [Group],
    chunks: &'g [Chunk],
    members: &'g [u32],
    narrow_starts: &'g [u32],
    narrow_rows: &'g [u32],
    wide_rows: &'g [u32],
    wide_starts: &'g [Address],
}

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
            let (bitmaps, rest) = <[u64]>::ref_from_prefix_with_elems(rest, header.bitmaps as usize).ok()?;
            let (groups, rest) = <[Group]>::ref_from_prefix_with_elems(rest, header.groups as usize).ok()?;
            let (chunks, rest) = <[Chunk]>::ref_from_prefix_with_elems(rest, header.chunks as usize).ok()?;
            let (members, rest) = <[u32]>::ref_from_prefix_with_elems(rest, header.members as usize).ok()?;
            let (narrow_starts, rest) = <[u32]>::ref_from_prefix_with_elems(rest, narrow).ok()?;
            let (narrow_rows, rest) = <[u32]>::ref_from_prefix_with_elems(rest, narrow).ok()?;
            let (wide_rows, rest) = <[u32]>::ref_from_prefix_with_elems(rest, wide).ok()?;
            let wide_starts = <[Address]>::ref_from_bytes_with_elems(rest, wide).ok()?;
            Some(PolicyIndex {
                bitmaps,
                groups,
                chunks,
                members,
                narrow_starts,
                narrow_rows,
                wide_rows,
                wide_starts,
            })
        };
        parts().ok_or(InvalidTables::Header(section))
    }

    /// The lowest rule of the up to four groups that speak of the flow's segments.
    fn first_match(&self, query: &PolicyQuery) -> Option<u32> {
        let (from, to, any) = (query.from.0, query.to.0, wildcard::SEGMENT);
        let mut best = None;
        for (from, to) in [(from, to), (from, any), (any, to), (any, any)] {
            let key = (u32::from(query.family()), from, to);
            let Ok(at) = self
                .groups
                .binary_search_by_key(&key, |group| (group.family, group.from, group.to))
            else {
                continue;
            };
            let found = self.first_of_group(&self.groups[at], query, best.unwrap_or(u32::MAX));
            best = found.or(best);
        }
        best
    }

    /// The group's first rule that matches, if it stands before rule `before`.
    fn first_of_group(&self, group: &Group, query: &PolicyQuery, before: u32) -> Option<u32> {
        let first = group.chunk_first as usize;
        let chunks = self
            .chunks
            .get(first..first.saturating_add(group.chunk_count as usize))?;
        for chunk in chunks {
            if *self.members.get(chunk.member_first as usize)? >= before {
                return None;
            }
            if let Some(bit) = self.first_of_chunk(chunk, query) {
                let rule = *self.members.get(chunk.member_first as usize + bit as usize)?;
                return (rule < before).then_some(rule);
            }
        }
        None
    }

    /// The lowest bit that all five rows have.
    fn first_of_chunk(&self, chunk: &Chunk, query: &PolicyQuery) -> Option<u32> {
        let (source, destination) = match query.addresses {
            Addresses::V4 { source, destination } => (
                self.narrow(chunk.source, source)?,
                self.narrow(chunk.destination, destination)?,
            ),
            Addresses::V6 { source, destination } => (
                self.wide(chunk.source, &source)?,
                self.wide(chunk.destination, &destination)?,
            ),
        };
        let protocol = self.narrow(chunk.protocol, u32::from(query.protocol))?;
        let source_port = match query.source_port() {
            Some(port) => self.narrow(chunk.source_port, u32::from(port))?,
            None => chunk.no_source_port,
        };
        let destination_port = match query.destination_port() {
            Some(port) => self.narrow(chunk.destination_port, u32::from(port))?,
            None => chunk.no_destination_port,
        };
        let row = |at: u32| {
            let at = at as usize;
            self.bitmaps.get(at..at + 1 + chunk.words.min(64) as usize)
        };
        let rows = [
            row(source)?,
            row(destination)?,
            row(protocol)?,
            row(source_port)?,
            row(destination_port)?,
        ];
        let word = |at: usize| rows.iter().map(|row| row[at]).fold(u64::MAX, |all, word| all & word);
        let mut summary = word(0);
        while summary != 0 {
            let at = summary.trailing_zeros();
            if at >= chunk.words {
                return None;
            }
            let bits = word(1 + at as usize);
            if bits != 0 {
                return Some(at * 64 + bits.trailing_zeros());
            }
            summary &= summary - 1;
        }
        None
    }

    /// The row of the interval that holds the value.
    fn narrow(&self, field: Field, value: u32) -> Option<u32> {
        let range = field.first as usize..field.first as usize + field.count as usize;
        let interval = self
            .narrow_starts
            .get(range.clone())?
            .partition_point(|&start| start <= value)
            .checked_sub(1)?;
        self.narrow_rows.get(range)?.get(interval).copied()
    }

    /// The same for IPv6 addresses.
    fn wide(&self, field: Field, value: &[u8; 16]) -> Option<u32> {
        let range = field.first as usize..field.first as usize + field.count as usize;
        let interval = self
            .wide_starts
            .get(range.clone())?
            .partition_point(|start| start.0 <= *value)
            .checked_sub(1)?;
        self.wide_rows.get(range)?.get(interval).copied()
    }
}

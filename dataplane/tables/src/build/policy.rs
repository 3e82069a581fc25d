//! Policy compiled so that the first rule that matches is found without looking at each.
//!
//! # Format
//! Rules that name the same ingress segment, egress segment (or a wildcard) and family form a *group*; a flow asks at most four groups
//! of its family: the wildcards' share is not repeated per segment. A group's rules lie, in the operator's order, in
//! *chunks* of at most 1,024. Within a chunk rule *n* is bit *n*. Each of five fields (source, destination, protocol,
//! source port, destination port) is cut into intervals over which the same rules match; an interval names a *row*: a
//! summary word that says which words behind it are not zero, then those words, a bit per rule. The rows of the flow's five
//! intervals, ANDed, leave the rules that match; the lowest bit decides.
//!
//! The section is `PolicyHeader`, then, one behind the other: bitmaps (`u64`, all rows), groups, chunks, members (`u32`: from a
//! chunk's bit to the rule), narrow starts and their rows (`u32`: ports, protocols, IPv4 addresses), wide rows (`u32`) and
//! their starts (16 bytes: IPv6 addresses). Empty without rules.

use super::policy_fields::{Fields, Row, ranges};
use super::sections::Section;
use super::{BuildError, Kind, World};
use crate::layout::{Address, PolicyRuleRecord};
use std::collections::{BTreeMap, HashMap};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Most rules of a chunk: bounds a row to 17 words.
pub(crate) const RULES_PER_CHUNK: usize = 1024;

/// What the section holds; 64 bytes, so that the first row starts on a cache line.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct PolicyHeader {
    /// Words of all rows.
    pub(crate) bitmaps: u32,
    /// Groups.
    pub(crate) groups: u32,
    /// Chunks.
    pub(crate) chunks: u32,
    /// Members of all chunks.
    pub(crate) members: u32,
    /// Intervals of ports, protocols and IPv4 addresses.
    pub(crate) narrow: u32,
    /// Intervals of IPv6 addresses.
    pub(crate) wide: u32,
    /// Zero.
    pub(crate) reserved: [u32; 10],
}

/// Rules of one ingress segment, egress segment and family; sorted by these three.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Group {
    /// 4 or 6.
    pub(crate) family: u32,
    /// As in the rule, perhaps `wildcard::SEGMENT`.
    pub(crate) from: u16,
    /// Likewise.
    pub(crate) to: u16,
    /// First chunk.
    pub(crate) chunk_first: u32,
    /// How many.
    pub(crate) chunk_count: u32,
}

/// The intervals of one field in one chunk.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Field {
    /// First interval; its start is 0.
    pub(crate) first: u32,
    /// How many.
    pub(crate) count: u32,
}

/// At most 1,024 rules.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Chunk {
    /// Words of a row behind its summary.
    pub(crate) words: u32,
    /// Member of bit 0.
    pub(crate) member_first: u32,
    /// Source addresses: narrow intervals for IPv4, wide ones for IPv6.
    pub(crate) source: Field,
    /// Destination addresses, likewise.
    pub(crate) destination: Field,
    /// Protocols.
    pub(crate) protocol: Field,
    /// Source ports.
    pub(crate) source_port: Field,
    /// Destination ports; of ICMP type and code.
    pub(crate) destination_port: Field,
    /// Row for packets without a source port.
    pub(crate) no_source_port: u32,
    /// Row for packets without a destination port.
    pub(crate) no_destination_port: u32,
}

/// Compiles all rules.
///
/// # Errors
/// [`BuildError::Field`] for a rule that no packet could match, [`BuildError::TooMany`] if the section would grow beyond its offsets.
pub(super) fn compile(world: &World) -> Result<Section, BuildError> {
    let mut index = Index::default();
    for ((family, from, to), rules) in groups(&world.policy_rules)? {
        let (chunk_first, chunks) = (index.chunks.len(), rules.chunks(RULES_PER_CHUNK));
        let chunk_count = chunks.len();
        for members in chunks {
            index.add_chunk(&world.policy_rules, members, family)?;
        }
        let (chunk_first, chunk_count) = (chunk_first as u32, chunk_count as u32);
        index.groups.push(Group {
            family,
            from,
            to,
            chunk_first,
            chunk_count,
        });
    }
    index.into_section(world.policy_rules.len())
}

/// Places of rules by (family, from, to), each group in the operator's order.
type Groups = BTreeMap<(u32, u16, u16), Vec<u32>>;

fn groups(rules: &[PolicyRuleRecord]) -> Result<Groups, BuildError> {
    let mut groups = Groups::new();
    for (at, rule) in rules.iter().enumerate() {
        let families = families(rule).ok_or(BuildError::Field {
            by: Kind::PolicyRule,
            at,
            field: "family",
        })?;
        for &family in families {
            groups.entry((family, rule.from, rule.to)).or_default().push(at as u32);
        }
    }
    Ok(groups)
}

/// The families whose packets the rule can match; `None` if its fields contradict each other.
fn families(rule: &PolicyRuleRecord) -> Option<&'static [u32]> {
    let of_prefix = |prefix: Address, length: u8| match length {
        0 => 0,
        96.. if prefix.is_v4() => 4,
        _ => 6,
    };
    let said = [
        rule.family,
        of_prefix(rule.source, rule.source_length),
        of_prefix(rule.destination, rule.destination_length),
    ];
    match (said.contains(&4), said.contains(&6)) {
        (true, true) => None,
        (true, false) => Some(&[4]),
        (false, true) => Some(&[6]),
        (false, false) => Some(&[4, 6]),
    }
}

/// The section while it grows.
#[derive(Default)]
struct Index {
    bitmaps: Vec<u64>,
    rows: HashMap<Row, u32>,
    groups: Vec<Group>,
    chunks: Vec<Chunk>,
    members: Vec<u32>,
    narrow_starts: Vec<u32>,
    narrow_rows: Vec<u32>,
    wide_starts: Vec<Address>,
    wide_rows: Vec<u32>,
}

impl Index {
    fn add_chunk(&mut self, rules: &[PolicyRuleRecord], members: &[u32], family: u32) -> Result<(), BuildError> {
        let mut ranges_of = Vec::with_capacity(members.len());
        for &at in members {
            ranges_of.push(ranges(&rules[at as usize], family).map_err(|field| BuildError::Field {
                by: Kind::PolicyRule,
                at: at as usize,
                field,
            })?);
        }
        let fields = Fields::new(&ranges_of);
        let chunk = Chunk {
            words: members.len().div_ceil(64) as u32,
            member_first: self.members.len() as u32,
            source: self.add_addresses(&fields.source, family),
            destination: self.add_addresses(&fields.destination, family),
            protocol: self.add_narrow(&fields.protocol),
            source_port: self.add_narrow(&fields.source_port),
            destination_port: self.add_narrow(&fields.destination_port),
            no_source_port: self.add_row(&fields.no_source_port),
            no_destination_port: self.add_row(&fields.no_destination_port),
        };
        self.chunks.push(chunk);
        self.members.extend_from_slice(members);
        Ok(())
    }

    fn add_addresses(&mut self, intervals: &[(u128, Row)], family: u32) -> Field {
        if family == 4 {
            return self.add_narrow(intervals);
        }
        let field = Field {
            first: self.wide_starts.len() as u32,
            count: intervals.len() as u32,
        };
        for (start, row) in intervals {
            let row = self.add_row(row);
            self.wide_starts.push(Address(start.to_be_bytes()));
            self.wide_rows.push(row);
        }
        field
    }

    /// An interval that starts behind the last 32-bit value is one that no value reaches.
    fn add_narrow(&mut self, intervals: &[(u128, Row)]) -> Field {
        let first = self.narrow_starts.len() as u32;
        for (start, row) in intervals {
            if let Ok(start) = u32::try_from(*start) {
                let row = self.add_row(row);
                self.narrow_starts.push(start);
                self.narrow_rows.push(row);
            }
        }
        Field {
            first,
            count: self.narrow_starts.len() as u32 - first,
        }
    }

    /// Where the row stands; equal rows stand once.
    fn add_row(&mut self, row: &Row) -> u32 {
        if let Some(&known) = self.rows.get(row) {
            return known;
        }
        let at = self.bitmaps.len() as u32;
        self.bitmaps.extend_from_slice(row);
        self.rows.insert(row.clone(), at);
        at
    }

    fn into_section(self, rules: usize) -> Result<Section, BuildError> {
        if self.groups.is_empty() {
            return Ok(Section::default());
        }
        let most = u32::MAX as usize;
        if [
            self.bitmaps.len(),
            self.members.len(),
            self.narrow_rows.len(),
            self.wide_rows.len(),
        ]
        .iter()
        .any(|&len| len > most)
        {
            return Err(BuildError::TooMany {
                kind: Kind::PolicyRule,
                count: rules,
                most,
            });
        }
        let header = PolicyHeader {
            bitmaps: self.bitmaps.len() as u32,
            groups: self.groups.len() as u32,
            chunks: self.chunks.len() as u32,
            members: self.members.len() as u32,
            narrow: self.narrow_rows.len() as u32,
            wide: self.wide_rows.len() as u32,
            reserved: [0; 10],
        };
        Ok(Section::concatenate(&[
            header.as_bytes(),
            self.bitmaps.as_bytes(),
            self.groups.as_bytes(),
            self.chunks.as_bytes(),
            self.members.as_bytes(),
            self.narrow_starts.as_bytes(),
            self.narrow_rows.as_bytes(),
            self.wide_rows.as_bytes(),
            self.wide_starts.as_bytes(),
        ]))
    }
}

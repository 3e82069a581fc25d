//! Policy compiled so that the first rule that matches is found without looking at each.
//!
//! # Format
//! All rules of a family form one *group* if they are few (1,024); else those that name the same ingress segment and egress segment
//! (or a wildcard) do, and a flow asks at most four groups. A group's rules lie, in the operator's order, in *chunks* of at most
//! 1,024. Within a chunk rule *n* is bit *n* of a *row*, which has 1, 2, 4, 8 or 16 words. Addresses and ports are each cut into
//! intervals over which the same rules match; an interval names a row by its number in the chunk. Segments and protocol,
//! which are few, are cut into classes, and each combination of their classes, the *context*, names a row. The five rows of
//! a flow, ANDed, leave the rules that match; the lowest bit decides.
//!
//! An interval is found by search among the starts, or, where memory allows, in a *direct table* of `u16`: for each value of a
//! field's upper bits (16 of an IPv4 address, 8 of a port or segment) a *block* of 256, for the next 8 bits. A block of a
//! port or segment holds rows or classes; one of an address rows, or with bit 15 set the block for the last 8 bits. Of a
//! protocol there is one block and no table. Blocks stand behind their table.
//!
//! The section is `PolicyHeader`, then, one behind the other: bitmaps (`u64`, all rows), groups, chunks, members (`u32`: from a
//! chunk's bit to the rule and its action), narrow starts and their rows (`u32`: what is not an IPv6 address), wide rows (`u32`) and
//! their starts (16 bytes: IPv6 addresses), and the direct tables. Empty without rules.

use super::policy_direct as direct;
use super::policy_fields::{Fields, Row, ranges};
use super::sections::Section;
use super::{BuildError, Kind, World};
use crate::layout::{Address, PolicyRuleRecord, wildcard};
use std::collections::{BTreeMap, HashMap, HashSet};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Most rules of a chunk: bounds a row to 16 words.
pub(crate) const RULES_PER_CHUNK: usize = 1024;
/// Rules of a chunk that earn it direct tables.
const DIRECT_ABOVE: usize = 4;
/// Chunks that may have direct tables: 256 KiB and more each.
const DIRECT_CHUNKS_MAX: usize = 64;
/// Most combinations of segments and protocols of which one chunk speaks: with the other rows far fewer than a `u16` names.
const CONTEXTS_MAX: usize = 1 << 14;

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
    /// Words (`u16`) of all direct tables.
    pub(crate) direct: u32,
    /// Zero.
    pub(crate) reserved: [u32; 9],
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

/// `Field::count` of a direct table.
pub(crate) const DIRECT: u32 = u32::MAX;
/// An entry of an address's block leads to another block.
pub(crate) const BLOCK: u16 = 1 << 15;

/// From this bit on a member holds the action of its rule, below it the rule.
pub(crate) const ACTION_SHIFT: u32 = 30;

/// The intervals of one field in one chunk, or where its direct table begins.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Field {
    /// First interval, whose start is 0, or first word of the direct table.
    pub(crate) first: u32,
    /// How many intervals, or `DIRECT`.
    pub(crate) count: u32,
}

/// At most 1,024 rules.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Chunk {
    /// Words of a row: 1, 2, 4, 8 or 16.
    pub(crate) words: u32,
    /// Row 0, as a number of rows of that many words from the first bitmap on.
    pub(crate) row_first: u32,
    /// Member of bit 0.
    pub(crate) member_first: u32,
    /// Members.
    pub(crate) member_count: u32,
    /// Ingress segments, to classes.
    pub(crate) from: Field,
    /// Egress segments, to classes.
    pub(crate) to: Field,
    /// First word of the contexts: for each ingress class, egress class and protocol class a row.
    pub(crate) contexts: u32,
    /// Classes of egress segments.
    pub(crate) to_classes: u32,
    /// Classes of protocols.
    pub(crate) protocol_classes: u32,
    /// Zero.
    pub(crate) reserved: u32,
    /// Source addresses: narrow intervals for IPv4, wide ones for IPv6.
    pub(crate) source: Field,
    /// Destination addresses, likewise.
    pub(crate) destination: Field,
    /// Protocols, to classes.
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
    let mut of_family = BTreeMap::<u32, Vec<u32>>::new();
    for (at, rule) in rules.iter().enumerate() {
        let families = families(rule).ok_or(BuildError::Field {
            by: Kind::PolicyRule,
            at,
            field: "family",
        })?;
        for &family in families {
            of_family.entry(family).or_default().push(at as u32);
        }
    }
    let mut groups = Groups::new();
    for (family, members) in of_family {
        let named = |field: fn(&PolicyRuleRecord) -> u16| {
            let all: HashSet<u16> = members.iter().map(|&at| field(&rules[at as usize])).collect();
            all.len() + 1
        };
        let contexts = named(|rule| rule.from) * named(|rule| rule.to) * named(|rule| rule.protocol.into());
        let few = members.len() <= RULES_PER_CHUNK && contexts <= CONTEXTS_MAX;
        for at in members {
            let rule = &rules[at as usize];
            let (from, to) = match few {
                true => (wildcard::SEGMENT, wildcard::SEGMENT),
                false => (rule.from, rule.to),
            };
            groups.entry((family, from, to)).or_default().push(at);
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
    groups: Vec<Group>,
    chunks: Vec<Chunk>,
    members: Vec<u32>,
    narrow_starts: Vec<u32>,
    narrow_rows: Vec<u32>,
    wide_starts: Vec<Address>,
    wide_rows: Vec<u32>,
    direct: Vec<u16>,
    direct_chunks: usize,
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
        let direct = members.len() > DIRECT_ABOVE && self.direct_chunks < DIRECT_CHUNKS_MAX;
        self.direct_chunks += usize::from(direct);
        let mut rows = Rows::new(members.len());
        let [from, to, protocol] = [&fields.from, &fields.to, &fields.protocol].map(|field| Classes::new(field));
        let upper = |intervals: &[(u128, u32)], index: &mut Index, bits| match direct {
            true => index
                .add_direct(intervals, bits)
                .unwrap_or_else(|| index.add_narrow(intervals)),
            false => index.add_narrow(intervals),
        };
        let address = |intervals: &[(u128, u32)], index: &mut Index| match family {
            4 => upper(intervals, index, 32),
            _ => index.add_wide(intervals),
        };
        let chunk = Chunk {
            words: rows.words as u32,
            row_first: 0,
            member_first: self.members.len() as u32,
            member_count: members.len() as u32,
            from: upper(&from.intervals, self, 16),
            to: upper(&to.intervals, self, 16),
            contexts: self.add_contexts(&from, &to, &protocol, &mut rows),
            to_classes: to.rows.len() as u32,
            protocol_classes: protocol.rows.len() as u32,
            reserved: 0,
            source: address(&rows.number(&fields.source), self),
            destination: address(&rows.number(&fields.destination), self),
            protocol: upper(&protocol.intervals, self, 8),
            source_port: upper(&rows.number(&fields.source_port), self, 16),
            destination_port: upper(&rows.number(&fields.destination_port), self, 16),
            no_source_port: rows.place(&fields.no_source_port),
            no_destination_port: rows.place(&fields.no_destination_port),
        };
        // Rows start at a multiple of their length.
        self.bitmaps.resize(self.bitmaps.len().next_multiple_of(rows.words), 0);
        let row_first = (self.bitmaps.len() / rows.words) as u32;
        self.bitmaps.append(&mut rows.bits);
        self.chunks.push(Chunk { row_first, ..chunk });
        let member = |&at: &u32| at | u32::from(rules[at as usize].action) << ACTION_SHIFT;
        self.members.extend(members.iter().map(member));
        Ok(())
    }

    /// The rows of all combinations.
    fn add_contexts(&mut self, from: &Classes, to: &Classes, protocol: &Classes, rows: &mut Rows) -> u32 {
        let first = self.direct.len() as u32;
        for from in &from.rows {
            for to in &to.rows {
                for protocol in &protocol.rows {
                    let both = from.iter().zip(*to).map(|(from, to)| from & to);
                    let row = both.zip(*protocol).map(|(both, protocol)| both & protocol).collect();
                    let place = u16::try_from(rows.place(&row));
                    self.direct
                        .push(place.expect("a chunk has at most CONTEXTS_MAX contexts and 8,196 other rows"));
                }
            }
        }
        first
    }

    /// A direct table for a field of so many bits; `None` if it would need more blocks than can be named.
    fn add_direct(&mut self, intervals: &[(u128, u32)], bits: u32) -> Option<Field> {
        let mut table = direct::table(intervals, bits)?;
        let first = self.direct.len() as u32;
        self.direct.append(&mut table);
        Some(Field { first, count: DIRECT })
    }

    fn add_wide(&mut self, intervals: &[(u128, u32)]) -> Field {
        let first = self.wide_starts.len() as u32;
        for (start, row) in intervals {
            self.wide_starts.push(Address(start.to_be_bytes()));
            self.wide_rows.push(*row);
        }
        Field {
            first,
            count: intervals.len() as u32,
        }
    }

    /// An interval that starts behind the last 32-bit value is one that no value reaches.
    fn add_narrow(&mut self, intervals: &[(u128, u32)]) -> Field {
        let first = self.narrow_starts.len() as u32;
        for (start, row) in intervals {
            if let Ok(start) = u32::try_from(*start) {
                self.narrow_starts.push(start);
                self.narrow_rows.push(*row);
            }
        }
        Field {
            first,
            count: self.narrow_starts.len() as u32 - first,
        }
    }

    fn into_section(self, rules: usize) -> Result<Section, BuildError> {
        if self.groups.is_empty() {
            return Ok(Section::default());
        }
        let most = (1 << ACTION_SHIFT) - 1;
        if [
            self.bitmaps.len(),
            self.members.len(),
            self.narrow_rows.len(),
            self.wide_rows.len(),
            self.direct.len(),
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
            direct: self.direct.len() as u32,
            reserved: [0; 9],
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
            self.direct.as_bytes(),
        ]))
    }
}

/// The intervals of a field with few different rows: each names its row by a number of the field's own.
struct Classes<'f> {
    intervals: Vec<(u128, u32)>,
    rows: Vec<&'f Row>,
}

impl<'f> Classes<'f> {
    fn new(field: &'f [(u128, Row)]) -> Self {
        let mut rows: Vec<&Row> = Vec::new();
        let mut intervals = Vec::with_capacity(field.len());
        for (start, row) in field {
            let known = rows.iter().position(|known| *known == row);
            let class = known.unwrap_or_else(|| {
                rows.push(row);
                rows.len() - 1
            });
            intervals.push((*start, class as u32));
        }
        Classes { intervals, rows }
    }
}

/// The rows of a chunk; equal rows stand once.
struct Rows {
    words: usize,
    bits: Vec<u64>,
    places: HashMap<Row, u32>,
}

impl Rows {
    fn new(rules: usize) -> Rows {
        Rows {
            words: rules.div_ceil(64).next_power_of_two(),
            bits: Vec::new(),
            places: HashMap::new(),
        }
    }

    /// The intervals with their rows' numbers.
    fn number(&mut self, intervals: &[(u128, Row)]) -> Vec<(u128, u32)> {
        intervals.iter().map(|(start, row)| (*start, self.place(row))).collect()
    }

    fn place(&mut self, row: &Row) -> u32 {
        if let Some(&known) = self.places.get(row) {
            return known;
        }
        let number = (self.bits.len() / self.words) as u32;
        self.bits.extend_from_slice(row);
        self.bits.resize((number as usize + 1) * self.words, 0);
        self.places.insert(row.clone(), number);
        number
    }
}

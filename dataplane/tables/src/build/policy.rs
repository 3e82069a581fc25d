//! Policy compiled so that the first rule that matches is found without looking at each: into groups, and each of them into lists and chunks.

use super::policy_direct as direct;
use super::policy_fields::{Fields, Ranges, Row, ranges};
use super::policy_format::{Block, Chunk, DIRECT, Field, Group, Lists, NO_LISTS, PolicyHeader, RULE_SHIFT, member};
use super::policy_lists::{self, Contexts};
use super::sections::Section;
use super::{BuildError, Kind, World};
use crate::layout::{Address, PolicyRuleRecord, wildcard};
use std::collections::{BTreeMap, HashMap, HashSet};
use zerocopy::IntoBytes;

/// Most rules of a chunk: bounds a row to 16 words.
const RULES_PER_CHUNK: usize = 1024;
/// Rules of a chunk that earn it direct tables.
const DIRECT_ABOVE: usize = 4;
/// Words of direct tables beyond which no group or chunk gets another: 256 KiB and more each, 64 MiB in all.
const DIRECT_WORDS_MAX: usize = 1 << 25;
/// Most combinations of segments and protocols of which one chunk speaks: with the other rows far fewer than a `u16` names.
const CONTEXTS_MAX: usize = 1 << 14;

/// Compiles all rules.
///
/// # Errors
/// [`BuildError::Field`] for a rule that no packet could match, [`BuildError::TooMany`] if the section would grow beyond its offsets.
pub(super) fn compile(world: &World) -> Result<Section, BuildError> {
    let mut index = Index::default();
    for ((family, from, to), rules) in groups(&world.policy_rules)? {
        index.add_group(&world.policy_rules, &rules, (family, from, to))?;
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
        let together = are_one_group(rules, &members);
        for at in members {
            let rule = &rules[at as usize];
            let (from, to) = match together {
                true => (wildcard::SEGMENT, wildcard::SEGMENT),
                false => (rule.from, rule.to),
            };
            groups.entry((family, from, to)).or_default().push(at);
        }
    }
    Ok(groups)
}

fn are_one_group(rules: &[PolicyRuleRecord], members: &[u32]) -> bool {
    let members = || members.iter().map(|&at| &rules[at as usize]);
    let named: HashSet<_> = members().map(|rule| (rule.from, rule.to, rule.protocol)).collect();
    let named_by = |field: fn(&PolicyRuleRecord) -> u16| {
        let all: HashSet<u16> = members().map(field).collect();
        all.len() + 1
    };
    named.len() <= policy_lists::CONTEXTS_MAX
        || members().count() <= RULES_PER_CHUNK
            && named_by(|rule| rule.from) * named_by(|rule| rule.to) * named_by(|rule| rule.protocol.into())
                <= CONTEXTS_MAX
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
    blocks: Vec<Block>,
    bitmaps: Vec<u64>,
    groups: Vec<Group>,
    lists: Vec<Lists>,
    chunks: Vec<Chunk>,
    members: Vec<u32>,
    narrow_starts: Vec<u32>,
    narrow_rows: Vec<u32>,
    wide_starts: Vec<Address>,
    wide_rows: Vec<u32>,
    direct: Vec<u16>,
}

impl Index {
    fn add_group(
        &mut self,
        rules: &[PolicyRuleRecord],
        members: &[u32],
        key: (u32, u16, u16),
    ) -> Result<(), BuildError> {
        let (family, from, to) = key;
        let of_rule = |at: &u32| {
            ranges(&rules[*at as usize], family).map_err(|field| BuildError::Field {
                by: Kind::PolicyRule,
                at: *at as usize,
                field,
            })
        };
        let ranges: Vec<Ranges> = members.iter().map(of_rule).collect::<Result<_, _>>()?;
        let members: Vec<u32> = members.iter().map(|at| member(rules, *at)).collect();
        let (lists, left) = match Contexts::new(&ranges) {
            Some(contexts) => self.add_lists(&ranges, &members, &contexts, family),
            None => (NO_LISTS, (0..members.len()).collect()),
        };
        let chunk_first = self.chunks.len() as u32;
        for chunk in left.chunks(RULES_PER_CHUNK) {
            let ranges: Vec<&Ranges> = chunk.iter().map(|at| &ranges[*at]).collect();
            let members: Vec<u32> = chunk.iter().map(|at| members[*at]).collect();
            self.add_chunk(&ranges, &members, family);
        }
        self.groups.push(Group {
            family,
            from,
            to,
            chunk_first,
            chunk_count: self.chunks.len() as u32 - chunk_first,
            lists,
        });
        Ok(())
    }

    /// The number of the group's lists, and which rules found no place in them.
    fn add_lists(&mut self, ranges: &[Ranges], members: &[u32], contexts: &Contexts, family: u32) -> (u32, Vec<usize>) {
        if self.blocks.is_empty() {
            self.blocks.push(Block::FREE);
        }
        let before = (self.blocks.len(), self.narrow_starts.len());
        let mut lists = policy_lists::Lists::new(ranges, members, contexts, family, before);
        if lists.blocks.is_empty() {
            return (NO_LISTS, lists.left);
        }
        self.blocks.append(&mut lists.blocks);
        for (start, head) in lists.forks {
            self.narrow_starts.push(start);
            self.narrow_rows.push(head);
        }
        let fields = [0, 1, 2].map(|which| contexts.field(which));
        let [from, to, protocol] = [0, 1, 2].map(|which| Classes::new(&fields[which]));
        let direct = lists.first == 0 && self.may_be_direct();
        let record = Lists {
            from: self.add_field(&from.intervals, direct, 16),
            to: self.add_field(&to.intervals, direct, 16),
            protocol: self.add_field(&protocol.intervals, true, 8),
            contexts: self.add_combinations(&from, &to, &protocol, |row| row[0] as u16),
            to_classes: to.rows.len() as u32,
            protocol_classes: protocol.rows.len() as u32,
            first: lists.first,
            source: self.add_addresses(&lists.source, direct, family),
            destination: self.add_addresses(&lists.destination, direct, family),
        };
        self.lists.push(record);
        (self.lists.len() as u32 - 1, lists.left)
    }

    fn add_chunk(&mut self, ranges: &[&Ranges], members: &[u32], family: u32) {
        let fields = Fields::new(ranges);
        let direct = members.len() > DIRECT_ABOVE && self.may_be_direct();
        let mut rows = Rows::new(members.len());
        let [from, to, protocol] = [&fields.from, &fields.to, &fields.protocol].map(|field| Classes::new(field));
        let chunk = Chunk {
            words: rows.words as u32,
            row_first: 0,
            member_first: self.members.len() as u32,
            member_count: members.len() as u32,
            from: self.add_field(&from.intervals, direct, 16),
            to: self.add_field(&to.intervals, direct, 16),
            contexts: self.add_combinations(&from, &to, &protocol, |row| {
                let place = u16::try_from(rows.place(&row));
                place.expect("a chunk has at most CONTEXTS_MAX contexts and 8,196 other rows")
            }),
            to_classes: to.rows.len() as u32,
            protocol_classes: protocol.rows.len() as u32,
            reserved: 0,
            source: self.add_addresses(&rows.number(&fields.source), direct, family),
            destination: self.add_addresses(&rows.number(&fields.destination), direct, family),
            protocol: self.add_field(&protocol.intervals, direct, 8),
            source_port: self.add_field(&rows.number(&fields.source_port), direct, 16),
            destination_port: self.add_field(&rows.number(&fields.destination_port), direct, 16),
            no_source_port: rows.place(&fields.no_source_port),
            no_destination_port: rows.place(&fields.no_destination_port),
        };
        // Rows start at a multiple of their length.
        self.bitmaps.resize(self.bitmaps.len().next_multiple_of(rows.words), 0);
        let row_first = (self.bitmaps.len() / rows.words) as u32;
        self.bitmaps.append(&mut rows.bits);
        self.chunks.push(Chunk { row_first, ..chunk });
        self.members.extend(members);
    }

    /// A word for each combination of classes.
    fn add_combinations(
        &mut self,
        from: &Classes,
        to: &Classes,
        protocol: &Classes,
        mut word: impl FnMut(Row) -> u16,
    ) -> u32 {
        let first = self.direct.len() as u32;
        for from in &from.rows {
            for to in &to.rows {
                for protocol in &protocol.rows {
                    let both = from.iter().zip(*to).map(|(from, to)| from & to);
                    let row = both.zip(*protocol).map(|(both, protocol)| both & protocol).collect();
                    self.direct.push(word(row));
                }
            }
        }
        first
    }

    /// Whether there is memory for the direct tables of one more group or chunk.
    fn may_be_direct(&self) -> bool {
        self.direct.len() < DIRECT_WORDS_MAX
    }

    /// The intervals of a field of so many bits, directly if that is wanted and possible.
    fn add_field(&mut self, intervals: &[(u128, u32)], direct: bool, bits: u32) -> Field {
        let found = if direct { self.add_direct(intervals, bits) } else { None };
        found.unwrap_or_else(|| self.add_narrow(intervals))
    }

    fn add_addresses(&mut self, intervals: &[(u128, u32)], direct: bool, family: u32) -> Field {
        match family {
            4 => self.add_field(intervals, direct && !intervals.is_empty(), 32),
            _ => self.add_wide(intervals),
        }
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
        let most = u32::MAX as usize >> RULE_SHIFT;
        if [
            rules,
            self.blocks.len(),
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
            blocks: self.blocks.len() as u32,
            lists: self.lists.len() as u32,
            reserved: [0; 7],
        };
        Ok(Section::concatenate(&[
            header.as_bytes(),
            self.blocks.as_bytes(),
            self.bitmaps.as_bytes(),
            self.groups.as_bytes(),
            self.lists.as_bytes(),
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

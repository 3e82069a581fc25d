//! The format of compiled policy.
//!
//! All rules of a family form one *group* if they are few (1,024) or speak of few combinations of segments and protocol (16); else those
//! that name the same ingress segment and egress segment (or a wildcard) do, and a flow asks at most four groups. Each rule of a group lies in
//! its *lists*, or, where those cannot hold it, in a *chunk*. Rules that an earlier one leaves nothing to decide lie nowhere.
//!
//! # Lists
//! A list is a chain of *blocks*, each with all that there is to compare of 16 rules. The lists of a group hang on source prefixes and on
//! destination prefixes: each rule is in that of its source or that of its destination, and a block holds the next shorter prefix's rules,
//! too, if there is room, and leads to its list if not. A flow goes through the list of the longest source prefix that it has, and
//! through that of the longest destination prefix. A group of few rules has one list for all flows.
//!
//! Where a prefix has more rules than a list may hold, its list begins with a *fork*: a block without rules that leads, by the interval of the
//! flow's other place, to the list of those rules of the prefix whose other prefix holds that place. All of them go on with the next shorter
//! prefix's list.
//!
//! Blocks compare *places*: of an IPv4 address the address itself, of an IPv6 one the number of its interval, when the addresses are cut
//! into those over which the same rules match. Segments and protocol are compared as *contexts*: each combination that rules name
//! is a bit, and the classes of both segments and of the protocol name the bits that a flow has.
//!
//! # Chunks
//! Of at most 1,024 rules in the operator's order. Within a chunk rule *n* is bit *n* of a *row*, which has 1, 2, 4, 8 or 16 words. Addresses and
//! ports are each cut into intervals over which the same rules match; an interval names a row by its number in the chunk.
//! Segments and protocol, which are few, are cut into classes, and each combination of their classes, the *context*, names a row. The five rows of
//! a flow, ANDed, leave the rules that match; the lowest bit decides.
//!
//! # Intervals
//! One is found by search among the starts, or, where memory allows, in a *direct table* of `u16`: for each value of a
//! field's upper bits (16 of an IPv4 address, 8 of a port or segment) a *block* of 256, for the next 8 bits. A block of a
//! port or segment holds rows or classes; one of an address rows, or with bit 15 set the block for the last 8 bits. Of a
//! protocol there is one block and no table. Blocks stand behind their table. Where lists are meant, a row is the first block of a list.
//!
//! # Section
//! It is `PolicyHeader`, then, one behind the other: blocks of lists, bitmaps (`u64`, all rows), groups, lists, chunks, members (`u32`: from a
//! chunk's bit to the rule and its action), narrow starts and their rows (`u32`: what is not an IPv6 address), wide rows (`u32`) and
//! their starts (16 bytes: IPv6 addresses), and the direct tables. Empty without rules.

use crate::layout::PolicyRuleRecord;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

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
    /// Blocks of lists.
    pub(crate) blocks: u32,
    /// Groups that have lists.
    pub(crate) lists: u32,
    /// Zero.
    pub(crate) reserved: [u32; 7],
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
    /// Its lists, or `NO_LISTS`.
    pub(crate) lists: u32,
}

/// `Group::lists` of a group whose rules are all in chunks.
pub(crate) const NO_LISTS: u32 = u32::MAX;

/// Where a group's lists are found.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Lists {
    /// Ingress segments, to classes.
    pub(crate) from: Field,
    /// Egress segments, to classes.
    pub(crate) to: Field,
    /// Protocols, to classes.
    pub(crate) protocol: Field,
    /// First word of the contexts: for each ingress class, egress class and protocol class the bits of the rules' contexts.
    pub(crate) contexts: u32,
    /// Classes of egress segments.
    pub(crate) to_classes: u32,
    /// Classes of protocols.
    pub(crate) protocol_classes: u32,
    /// First block of the list for all flows, or 0.
    pub(crate) first: u32,
    /// Source addresses: narrow intervals for IPv4, wide ones for IPv6. Rows are first blocks, 0 for no list.
    pub(crate) source: Field,
    /// Destination addresses, likewise.
    pub(crate) destination: Field,
}

/// Rules of a block.
pub(crate) const LANES: usize = 16;

/// `Block::fork_by`: places of sources.
pub(crate) const FORK_BY_SOURCE: u32 = 0;
/// `Block::fork_by`: places of destinations.
pub(crate) const FORK_BY_DESTINATION: u32 = 1;

/// 16 rules of a list, in the operator's order; what is free matches nothing. Block 0 is no list's.
///
/// A flow matches a rule if both its places, and both halves of its *ports* word, lie between first and last, and it has the rule's context.
/// Of a flow without a port the lower word says 0 and the upper one 65,535: only a rule that limits no port matches it.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Block {
    /// First places of the sources.
    pub(crate) source_first: [u32; LANES],
    /// Last ones.
    pub(crate) source_last: [u32; LANES],
    /// First places of the destinations.
    pub(crate) destination_first: [u32; LANES],
    /// Last ones.
    pub(crate) destination_last: [u32; LANES],
    /// First source port in the upper half, first destination port in the lower.
    pub(crate) ports_first: [u32; LANES],
    /// Last ones.
    pub(crate) ports_last: [u32; LANES],
    /// One bit, the rule's context; none if the lane is free.
    pub(crate) contexts: [u16; LANES],
    /// The block that the list goes on with, before this one in the section; 0 if none. Of a fork: what the interval says.
    pub(crate) next: u32,
    /// Least member of those that may follow, `NO_MEMBER` if none.
    pub(crate) next_least: u32,
    /// Of a fork: its first narrow interval.
    pub(crate) fork_first: u32,
    /// Its intervals; 0 if the block is none.
    pub(crate) fork_count: u32,
    /// Of what: `FORK_BY_SOURCE` or `FORK_BY_DESTINATION`.
    pub(crate) fork_by: u32,
    /// Zero.
    pub(crate) reserved: [u32; 3],
    /// The rules.
    pub(crate) members: [u32; LANES],
}

impl Block {
    /// One without rules.
    pub(super) const FREE: Block = Block {
        source_first: [u32::MAX; LANES],
        source_last: [0; LANES],
        destination_first: [u32::MAX; LANES],
        destination_last: [0; LANES],
        ports_first: [u32::MAX; LANES],
        ports_last: [0; LANES],
        contexts: [0; LANES],
        next: 0,
        next_least: NO_MEMBER,
        fork_first: 0,
        fork_count: 0,
        fork_by: FORK_BY_SOURCE,
        reserved: [0; 3],
        members: [NO_MEMBER; LANES],
    };
}

/// `Field::count` of a direct table.
pub(crate) const DIRECT: u32 = u32::MAX;
/// An entry of an address's block leads to another block.
pub(crate) const BLOCK: u16 = 1 << 15;

/// Below this bit a member holds the action of its rule, from it on the rule: the least member is the first rule's.
pub(crate) const RULE_SHIFT: u32 = 2;
/// No rule.
pub(crate) const NO_MEMBER: u32 = u32::MAX;

/// The rule at a place, with its action.
pub(super) fn member(rules: &[PolicyRuleRecord], at: u32) -> u32 {
    at << RULE_SHIFT | u32::from(rules[at as usize].action)
}

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

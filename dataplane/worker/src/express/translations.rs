//! Which pool translates the sources of new UDP flows, remembered for one generation where it is the same for all of them between two
//! segments.

use tombolo_flow::decide::source_nat;
use tombolo_tables::layout::{NatRuleRecord, NextHop, PoolIndex, SegmentIndex, nat_kind, wildcard};
use tombolo_tables::view::{PolicyQuery, Tables};
use tombolo_wire::protocol;

/// Answers remembered at a time.
const REMEMBERED: usize = 64;
/// Prefix lengths count in mapped form: up to this one every IPv4 address has the prefix of a rule that one of them has.
const EVERY_V4: u8 = 96;

#[derive(Clone, Copy)]
struct Answer {
    key: u64,
    generation: u64,
    pool: Option<PoolIndex>,
}

/// The answers.
pub(super) struct Translations {
    answers: [Answer; REMEMBERED],
    generation: u64,
    /// Segments whose packets a rule may give another destination, a bit each for those that are alike in their lower six bits.
    forwarding: u64,
}

impl Default for Translations {
    fn default() -> Self {
        let nothing = Answer {
            key: 0,
            generation: 0,
            pool: None,
        };
        Translations {
            answers: [nothing; REMEMBERED],
            generation: 1,
            forwarding: 0,
        }
    }
}

impl Translations {
    /// A new generation.
    pub(super) fn renew(&mut self, tables: &Tables<'_>) {
        self.generation += 1;
        let forwards = tables
            .nat_rules()
            .iter()
            .filter(|rule| rule.kind == nat_kind::DESTINATION);
        self.forwarding = forwards.fold(0, |all, rule| match rule.from {
            wildcard::SEGMENT => u64::MAX,
            from => all | bit(from),
        });
    }

    /// Whether what comes from the segment may have its destination translated. False is certain.
    #[inline(always)]
    pub(super) fn may_forward(&self, segment: SegmentIndex) -> bool {
        self.forwarding & bit(segment.0) != 0
    }

    /// The pool for a UDP flow over IPv4 that leaves by `hop`, none if its source stays. None at all if it may not pass.
    #[inline(always)]
    pub(super) fn of(&mut self, tables: &Tables<'_>, query: &PolicyQuery, hop: u32) -> Option<Option<PoolIndex>> {
        let key = u64::from(hop) << 32 | u64::from(query.from.0) << 16 | u64::from(query.to.0);
        let place = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % REMEMBERED;
        let known = &self.answers[place];
        if (known.key == key) & (known.generation == self.generation) {
            return Some(known.pool);
        }
        let pool = source_nat(tables, query, NextHop::from_bits(hop)).ok()?;
        if is_same_for_all(tables, query) {
            self.answers[place] = Answer {
                key,
                generation: self.generation,
                pool,
            };
        }
        Some(pool)
    }
}

/// Whether the rule that decides on the flow's source asks for nothing but its segments and protocol.
#[cold]
fn is_same_for_all(tables: &Tables<'_>, query: &PolicyQuery) -> bool {
    let speaks = |rule: &&NatRuleRecord| {
        rule.kind != nat_kind::DESTINATION
            && rule.family == 4
            && (rule.from == wildcard::SEGMENT || rule.from == query.from.0)
            && (rule.to == wildcard::SEGMENT || rule.to == query.to.0)
            && (rule.protocol == wildcard::PROTOCOL || rule.protocol == protocol::UDP)
    };
    tables.nat_rules().iter().find(speaks).is_none_or(|rule| {
        (rule.match_port_first, rule.match_port_last) == (0, u16::MAX)
            && rule.match_source_length <= EVERY_V4
            && rule.match_destination_length <= EVERY_V4
    })
}

fn bit(segment: u16) -> u64 {
    1 << (segment % 64)
}

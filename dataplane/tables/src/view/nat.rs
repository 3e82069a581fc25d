//! NAT: the first rule of a direction that matches a flow. Rules are few: they are searched one after the other.

use super::Tables;
use super::query::{PolicyQuery, has_ports};
use crate::layout::{Address, NatRuleRecord, nat_kind, wildcard};

/// A direction of translation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Source,
    Destination,
}

impl<'g> Tables<'g> {
    /// The rule that translates the flow's source, and its index. `None` if none matches or an exemption does.
    pub fn source_nat(&self, query: &PolicyQuery) -> Option<(u32, &'g NatRuleRecord)> {
        self.nat(query, Direction::Source)
    }

    /// The rule that translates the flow's destination, and its index; `query.to` is not looked at. `None` if none
    /// matches or an exemption does.
    pub fn destination_nat(&self, query: &PolicyQuery) -> Option<(u32, &'g NatRuleRecord)> {
        self.nat(query, Direction::Destination)
    }

    fn nat(&self, query: &PolicyQuery, direction: Direction) -> Option<(u32, &'g NatRuleRecord)> {
        // Made when the first rule asks for it: most rules differ before.
        let mut mapped = None;
        let family = query.family();
        let port = has_ports(query.protocol).then_some(query.destination_port);
        let mut in_prefixes = |rule: &NatRuleRecord| {
            let (source, destination) = *mapped.get_or_insert_with(|| query.mapped());
            in_prefix(source, rule.match_source, rule.match_source_length)
                && in_prefix(destination, rule.match_destination, rule.match_destination_length)
        };
        let matches = |rule: &NatRuleRecord| {
            serves(rule, direction)
                && rule.family == family
                && (rule.from == wildcard::SEGMENT || rule.from == query.from.0)
                && (direction == Direction::Destination || rule.to == wildcard::SEGMENT || rule.to == query.to.0)
                && (rule.protocol == wildcard::PROTOCOL || rule.protocol == query.protocol)
                && matches_port(rule, port)
                && in_prefixes(rule)
        };
        let at = self.nat_rules.iter().position(matches)?;
        let rule = &self.nat_rules[at];
        (rule.kind != nat_kind::EXEMPT).then_some((at as u32, rule))
    }
}

/// Whether the rule takes part in a direction's search. An exemption that names an egress segment is one from source
/// NAT; without, it is one from both.
fn serves(rule: &NatRuleRecord, direction: Direction) -> bool {
    match rule.kind {
        nat_kind::SOURCE_POOL | nat_kind::SOURCE_PORT_ADDRESS => direction == Direction::Source,
        nat_kind::DESTINATION => direction == Direction::Destination,
        nat_kind::EXEMPT => direction == Direction::Source || rule.to == wildcard::SEGMENT,
        _ => false,
    }
}

/// Rules that limit ports match no packet without ports.
fn matches_port(rule: &NatRuleRecord, port: Option<u16>) -> bool {
    match port {
        Some(port) => (rule.match_port_first..=rule.match_port_last).contains(&port),
        None => (rule.match_port_first, rule.match_port_last) == (0, u16::MAX),
    }
}

/// Whether the first `length` bits are those of the prefix; `length` counts in mapped form.
fn in_prefix(address: Address, prefix: Address, length: u8) -> bool {
    let differ = u128::from_be_bytes(address.0) ^ u128::from_be_bytes(prefix.0);
    differ.checked_shr(128 - u32::from(length.min(128))).unwrap_or(0) == 0
}

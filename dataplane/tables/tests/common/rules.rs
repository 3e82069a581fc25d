//! Policy, rule by rule.

use std::net::IpAddr;
use tombolo_tables::layout::*;
use tombolo_tables::view::{PolicyQuery, PolicyVerdict};
use tombolo_wire::Addresses;

/// A query from text addresses, both of one family.
pub fn query(from: u16, to: u16, source: &str, destination: &str, protocol: u8, ports: (u16, u16)) -> PolicyQuery {
    let addresses = match (source.parse().unwrap(), destination.parse().unwrap()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => Addresses::V4 {
            source: source.into(),
            destination: destination.into(),
        },
        (IpAddr::V6(source), IpAddr::V6(destination)) => Addresses::V6 {
            source: source.octets(),
            destination: destination.octets(),
        },
        _ => panic!("two families"),
    };
    let (from, to) = (SegmentIndex(from), SegmentIndex(to));
    PolicyQuery {
        from,
        to,
        addresses,
        protocol,
        source_port: ports.0,
        destination_port: ports.1,
    }
}

/// The meaning of a rule, said as plainly as it can be.
pub fn matches(rule: &PolicyRuleRecord, query: &PolicyQuery) -> bool {
    let (source, destination, family): (IpAddr, IpAddr, u8) = match query.addresses {
        Addresses::V4 { source, destination } => (IpAddr::V4(source.into()), IpAddr::V4(destination.into()), 4),
        Addresses::V6 { source, destination } => (IpAddr::V6(source.into()), IpAddr::V6(destination.into()), 6),
    };
    let segment = |wanted: u16, is: SegmentIndex| wanted == wildcard::SEGMENT || wanted == is.0;
    let prefix = |prefix: Address, length: u8, ip: IpAddr| {
        let same_family = ip.is_ipv4() == (prefix.is_v4() && length >= 96);
        let bits = |of: Address| u128::from_be_bytes(of.0);
        length == 0 || same_family && (bits(prefix) ^ bits(ip.into())) >> (128 - length) == 0
    };
    let with_ports = [6, 17, 33, 132, 136];
    let port = |first: u16, last: u16, value: u16, has: &[u8]| {
        let unlimited = first == 0 && last == u16::MAX;
        let ignored = rule.protocol != wildcard::PROTOCOL && !has.contains(&rule.protocol);
        unlimited || ignored || has.contains(&query.protocol) && first <= value && value <= last
    };
    segment(rule.from, query.from)
        && segment(rule.to, query.to)
        && (rule.family == 0 || rule.family == family)
        && prefix(rule.source, rule.source_length, source)
        && prefix(rule.destination, rule.destination_length, destination)
        && (rule.protocol == wildcard::PROTOCOL || rule.protocol == query.protocol)
        && port(
            rule.source_port_first,
            rule.source_port_last,
            query.source_port,
            &with_ports,
        )
        && port(
            rule.destination_port_first,
            rule.destination_port_last,
            query.destination_port,
            &[6, 17, 33, 132, 136, 1, 58],
        )
}

pub fn first_match(rules: &[PolicyRuleRecord], query: &PolicyQuery) -> PolicyVerdict {
    let Some(at) = rules.iter().position(|rule| matches(rule, query)) else {
        return PolicyVerdict::Default;
    };
    let rule = at as u32;
    match rules[at].action {
        rule_action::ALLOW => PolicyVerdict::Allow { rule },
        rule_action::REJECT => PolicyVerdict::Reject { rule },
        _ => PolicyVerdict::Deny { rule },
    }
}

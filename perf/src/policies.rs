//! A policy of diverse rules that allow and deny, and packets that it lets pass.

use crate::flows::Flow;
use crate::random::Random;
use crate::rules::{Diverse, header_inside};
use tombolo_sim::worlds::rule;
use tombolo_tables::layout::{Address, PolicyRuleRecord, rule_action, wildcard};

/// Comparisons made to find the packets; more rules have fewer packets.
const CHECKS_MAX: usize = 1 << 30;
const UDP: u8 = 17;

/// `count` rules between segments 0 and 1, of which a quarter denies and the last one allows everything.
pub fn diverse(count: usize, random: &mut Random) -> Vec<PolicyRuleRecord> {
    let mut all = Diverse::new(count, random).rules(count - 1, (0, 1), random);
    for rule in all.iter_mut().filter(|_| random.below(4) == 0) {
        rule.action = rule_action::DENY;
    }
    all.push(rule(0, 1, rule_action::ALLOW));
    all
}

/// UDP flows made for random ones of `rules`, as far as the first rule that matches allows them.
pub fn allowed(rules: &[PolicyRuleRecord], random: &mut Random) -> Vec<Flow> {
    let count = (CHECKS_MAX / rules.len()).clamp(1 << 12, 1 << 16);
    let mut flows = Vec::with_capacity(count);
    while flows.len() < count {
        let header = header_inside(rules, random);
        let flow = Flow {
            source: header.source,
            destination: header.destination,
            source_port: header.source_port,
            destination_port: header.destination_port,
        };
        let first = rules.iter().find(|rule| matches(rule, &flow));
        if first.is_some_and(|rule| rule.action == rule_action::ALLOW) {
            flows.push(flow);
        }
    }
    flows
}

fn matches(rule: &PolicyRuleRecord, flow: &Flow) -> bool {
    let prefix = |prefix: Address, length: u8, address: u32| {
        // Lengths count the 96 bits before an IPv4 address.
        let mask = u32::MAX.checked_shl(128 - u32::from(length.max(96))).unwrap_or(0);
        u32::from_be_bytes(prefix.v4_bytes()) & mask == address & mask
    };
    prefix(rule.source, rule.source_length, flow.source)
        && prefix(rule.destination, rule.destination_length, flow.destination)
        && (rule.source_port_first..=rule.source_port_last).contains(&flow.source_port)
        && (rule.destination_port_first..=rule.destination_port_last).contains(&flow.destination_port)
        && (rule.protocol == wildcard::PROTOCOL || rule.protocol == UDP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_packets_are_decided_by_many_rules_that_overlap_and_all_pass() {
        let mut random = Random::new(1);
        let rules = diverse(1000, &mut random);
        let flows = allowed(&rules, &mut random);
        assert_eq!(flows.len(), 1 << 16);
        let first = |flow| {
            rules
                .iter()
                .position(|rule| matches(rule, flow))
                .expect("the last one matches all")
        };
        let deciding: HashSet<usize> = flows.iter().map(first).collect();
        assert!(deciding.len() > 100, "{} rules decide", deciding.len());
        assert!(flows.iter().all(|flow| rules[first(flow)].action == rule_action::ALLOW));
        let several = |flow: &&Flow| rules.iter().filter(|rule| matches(rule, flow)).count() > 2;
        let overlapping = flows.iter().filter(several).count();
        assert!(
            overlapping > flows.len() / 50,
            "{overlapping} packets meet several rules"
        );
    }
}

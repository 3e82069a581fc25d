//! Policy rules: the place of a rule in the table is its place in the configuration.

use crate::{Draft, prefix};
use tombolo_config::{Action, PolicyRule, SegmentId};
use tombolo_tables::layout::{PolicyRuleRecord, rule_action, wildcard};

pub(crate) fn fill(draft: &mut Draft<'_>) {
    let desired = draft.desired;
    draft.plan.world.policy_rules = desired.policy.iter().map(|rule| record(draft, rule)).collect();
}

fn record(draft: &Draft<'_>, rule: &PolicyRule) -> PolicyRuleRecord {
    let segment = |id: Option<SegmentId>| id.map_or(wildcard::SEGMENT, |id| draft.segment(id).0);
    let (source, source_length) = prefix::mapped(rule.source);
    let (destination, destination_length) = prefix::mapped(rule.destination);
    PolicyRuleRecord {
        source,
        destination,
        from: segment(rule.from),
        to: segment(rule.to),
        source_port_first: rule.source_ports.first(),
        source_port_last: rule.source_ports.last(),
        destination_port_first: rule.ports.first(),
        destination_port_last: rule.ports.last(),
        source_length,
        destination_length,
        protocol: prefix::protocol(rule.protocol),
        action: match rule.action {
            Action::Allow => rule_action::ALLOW,
            Action::Deny => rule_action::DENY,
            Action::Reject => rule_action::REJECT,
        },
        family: match prefix::family([rule.source, rule.destination], rule.protocol) {
            None => 0,
            Some(false) => 4,
            Some(true) => 6,
        },
        reserved: [0; 7],
    }
}

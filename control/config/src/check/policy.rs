//! Policy rules.

use super::{Scope, family, ports_need_protocol};
use crate::model::{PolicyRule, SegmentId};
use crate::problem::Problems;
use crate::raw::{RawGateway, RawPolicyRule};
use crate::reader::At;
use crate::scalars::SegmentMatch;
use crate::value::{PortRange, Protocol};
use std::collections::HashMap;

pub(super) fn resolve(raw: &RawGateway, scope: &Scope<'_>, problems: &mut Problems) -> Vec<PolicyRule> {
    let rules = raw.policy.as_deref().unwrap_or_default();
    let mut lines: HashMap<&str, u32> = HashMap::new();
    for rule in rules {
        if let Some(first) = lines.insert(rule.name.value.as_str(), rule.name.place.line) {
            let message = format!("a second rule '{}'; the first is in line {first}", rule.name.value);
            problems.hint(
                rule.name.place,
                message,
                "counters and sessions are shown by the rule's name",
            );
        }
    }
    rules.iter().map(|rule| resolve_rule(rule, scope, problems)).collect()
}

fn resolve_rule(raw: &RawPolicyRule, scope: &Scope<'_>, problems: &mut Problems) -> PolicyRule {
    let prefix = |at: &At<crate::Prefix>| (at.place, at.value.is_v6());
    family(
        &[raw.source.as_ref().map(prefix), raw.destination.as_ref().map(prefix)],
        raw.protocol.as_ref(),
        problems,
    );
    ports_need_protocol(
        raw.source_port.as_ref().map(|at| at.place),
        raw.protocol.as_ref(),
        problems,
    );
    ports_need_protocol(raw.port.as_ref().map(|at| at.place), raw.protocol.as_ref(), problems);
    PolicyRule {
        name: raw.name.value.clone(),
        from: segment(raw.from.as_ref(), scope, problems),
        to: segment(raw.to.as_ref(), scope, problems),
        source: raw.source.as_ref().map(|at| at.value),
        destination: raw.destination.as_ref().map(|at| at.value),
        protocol: raw.protocol.as_ref().map(|at| at.value),
        source_ports: raw.source_port.as_ref().map_or(PortRange::ANY, |at| at.value),
        ports: icmp(raw, problems)
            .or(raw.port.as_ref().map(|at| at.value))
            .unwrap_or(PortRange::ANY),
        action: raw.action.value,
    }
}

fn segment(raw: Option<&At<SegmentMatch>>, scope: &Scope<'_>, problems: &mut Problems) -> Option<SegmentId> {
    let raw = raw?;
    match &raw.value {
        SegmentMatch::Any => None,
        SegmentMatch::Segment(name) => Some(scope.segment(
            &At {
                place: raw.place,
                value: name.clone(),
            },
            problems,
        )),
    }
}

/// Tables match type and code of ICMP where other protocols have the destination port.
fn icmp(raw: &RawPolicyRule, problems: &mut Problems) -> Option<PortRange> {
    let icmp_type = raw.icmp_type.as_ref()?;
    let protocol = raw.protocol.as_ref().map(|at| at.value);
    if protocol != Some(Protocol::ICMP) && protocol != Some(Protocol::ICMPV6) {
        let hint = "add `protocol: icmp` or `protocol: icmpv6`";
        problems.hint(icmp_type.place, "icmp-type needs an ICMP protocol", hint);
    }
    let first = icmp_type.value.u16() << 8;
    Some(PortRange::new(first, first | 0xff))
}

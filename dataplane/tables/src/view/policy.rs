//! Policy: the first rule that matches a flow.

use super::Tables;
use super::query::PolicyQuery;
use crate::layout::{PolicyRuleRecord, rule_action};

/// What policy says about a flow; `rule` is the place of the deciding rule in [`Tables::policy_rules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PolicyVerdict {
    /// Let it pass and remember it.
    Allow {
        /// The rule that says so.
        rule: u32,
    },
    /// Drop it in silence.
    Deny {
        /// The rule that says so.
        rule: u32,
    },
    /// Drop it and tell the sender.
    Reject {
        /// The rule that says so.
        rule: u32,
    },
    /// No rule matches: whoever asks allows it within a segment and denies it between segments.
    Default,
}

impl Tables<'_> {
    /// The verdict on a flow. Segments that do not exist match only rules for any segment.
    pub fn policy(&self, query: &PolicyQuery) -> PolicyVerdict {
        let _ = query;
        PolicyVerdict::Default
    }

    /// The verdict of a rule that matched; a broken action denies.
    fn verdict(&self, rule: u32) -> PolicyVerdict {
        match self
            .policy_rules
            .get(rule as usize)
            .map(|record: &PolicyRuleRecord| record.action)
        {
            Some(rule_action::ALLOW) => PolicyVerdict::Allow { rule },
            Some(rule_action::REJECT) => PolicyVerdict::Reject { rule },
            _ => PolicyVerdict::Deny { rule },
        }
    }
}

//! Policy-routing rules of the kernel: they keep the kernel's side of overlapping segments apart.

use super::{Netlink, NetlinkError, failure, outcome};
use futures::TryStreamExt;
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::{IpVersion, RuleAddRequest};
use std::net::IpAddr;

/// One rule: packets that came in by a device, or from an address, look into a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelRule {
    /// Rules are tried in this order; tombolod owns the range that its planner uses.
    pub priority: u32,
    /// For IPv6 packets (else IPv4).
    pub v6: bool,
    /// Device where they came in.
    pub input_device: Option<String>,
    /// Device to which the socket is bound.
    pub output_device: Option<String>,
    /// Source address and prefix length.
    pub source: Option<(IpAddr, u8)>,
    /// Kernel table.
    pub table: u32,
}

impl Netlink {
    /// All rules whose priority lies in `priorities`.
    pub async fn rules(&self, priorities: std::ops::RangeInclusive<u32>) -> Result<Vec<KernelRule>, NetlinkError> {
        let mut found = Vec::new();
        for (version, v6) in [(IpVersion::V4, false), (IpVersion::V6, true)] {
            let stream = self.handle.rule().get(version).execute();
            let messages: Vec<RuleMessage> = stream
                .try_collect()
                .await
                .map_err(|e| failure("list rules".into(), &e))?;
            found.extend(
                messages
                    .iter()
                    .map(|m| parse(m, v6))
                    .filter(|rule| priorities.contains(&rule.priority)),
            );
        }
        Ok(found)
    }

    /// Adds a rule; one that exists is left alone.
    pub async fn add_rule(&self, rule: &KernelRule) -> Result<(), NetlinkError> {
        let mut request = self.handle.rule().add();
        *request.message_mut() = message(self.handle.rule().add(), rule);
        outcome(request.execute().await, &[libc::EEXIST], || {
            format!("rule {} for table {}", rule.priority, rule.table)
        })
    }

    /// Removes a rule.
    pub async fn delete_rule(&self, rule: &KernelRule) -> Result<(), NetlinkError> {
        let result = self
            .handle
            .rule()
            .del(message(self.handle.rule().add(), rule))
            .execute()
            .await;
        outcome(result, &[libc::ENOENT], || {
            format!("remove rule {} for table {}", rule.priority, rule.table)
        })
    }
}

fn message(request: RuleAddRequest, rule: &KernelRule) -> RuleMessage {
    let mut request = request
        .action(RuleAction::ToTable)
        .priority(rule.priority)
        .table_id(rule.table);
    if let Some(device) = &rule.input_device {
        request = request.input_interface(device.clone());
    }
    if let Some(device) = &rule.output_device {
        request = request.output_interface(device.clone());
    }
    match (rule.v6, rule.source) {
        (false, Some((IpAddr::V4(source), length))) => request.v4().source_prefix(source, length).message_mut().clone(),
        (true, Some((IpAddr::V6(source), length))) => request.v6().source_prefix(source, length).message_mut().clone(),
        (false, _) => request.v4().message_mut().clone(),
        (true, _) => request.v6().message_mut().clone(),
    }
}

fn parse(message: &RuleMessage, v6: bool) -> KernelRule {
    let mut rule = KernelRule {
        priority: 0,
        v6,
        input_device: None,
        output_device: None,
        source: None,
        table: u32::from(message.header.table),
    };
    for attribute in &message.attributes {
        if let RuleAttribute::Priority(priority) = attribute {
            rule.priority = *priority;
        } else if let RuleAttribute::Iifname(device) = attribute {
            rule.input_device = Some(device.clone());
        } else if let RuleAttribute::Oifname(device) = attribute {
            rule.output_device = Some(device.clone());
        } else if let RuleAttribute::Source(address) = attribute {
            rule.source = Some((*address, message.header.src_len));
        } else if let RuleAttribute::Table(table) = attribute {
            rule.table = *table;
        }
    }
    rule
}

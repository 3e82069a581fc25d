//! Policy, NAT and sessions.

use serde::{Deserialize, Serialize};

/// One policy rule, in the order in which rules are tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PolicyRule {
    /// Place in the list, from 0.
    pub rule: u32,
    /// Operator's name.
    pub name: String,
    /// Ingress segment or `any`.
    pub from: String,
    /// Egress segment or `any`.
    pub to: String,
    /// Source prefix or `any`.
    pub source: String,
    /// Destination prefix or `any`.
    pub destination: String,
    /// Protocol or `any`.
    pub protocol: String,
    /// Source ports or `any`.
    pub source_ports: String,
    /// Destination ports or `any`.
    pub destination_ports: String,
    /// `allow`, `deny` or `reject`.
    pub action: String,
}

/// NAT rules and the pools they draw on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Nat {
    /// Rules in the order in which they are tried.
    pub rules: Vec<NatRule>,
    /// Pools of outside addresses.
    pub pools: Vec<NatPool>,
}

/// One NAT rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NatRule {
    /// Place in the list, from 0.
    pub rule: u32,
    /// `source`, `destination` or `exempt`.
    pub kind: String,
    /// Ingress segment or `any`.
    pub from: String,
    /// Egress segment or `any`.
    pub to: String,
    /// Source prefix; `0.0.0.0/0` or `::/0` when any.
    pub source: String,
    /// Destination prefix; `0.0.0.0/0` or `::/0` when any.
    pub destination: String,
    /// Protocol or `any`.
    pub protocol: String,
    /// Destination ports or `any`.
    pub ports: String,
    /// What the address becomes.
    pub translation: String,
}

/// One range of outside addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NatPool {
    /// Place in the list, from 0.
    pub pool: u32,
    /// First address.
    pub first: String,
    /// How many addresses.
    pub addresses: u64,
    /// First port.
    pub port_first: u16,
    /// Last port, inclusive.
    pub port_last: u16,
    /// Most sessions of one inside host, 0 = no limit.
    pub sessions_per_host_max: u32,
}

/// Some of the sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Sessions {
    /// How many there are.
    pub total: u64,
    /// At most as many as asked for.
    pub sessions: Vec<Session>,
}

/// One session, both directions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Session {
    /// `tcp`, `udp`, `icmp`, `icmpv6`, `esp` or a number.
    pub protocol: String,
    /// The initiator's packets as they came in.
    pub forward: Endpoints,
    /// The replies as they come in, i.e. after translation.
    pub reverse: Endpoints,
    /// An address or port is translated.
    pub translated: bool,
    /// TCP state or `-`.
    pub state: String,
    /// Seconds since the last packet.
    pub idle_seconds: u64,
}

/// One direction of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Endpoints {
    /// Segment where its packets arrive.
    pub segment: String,
    /// Source address.
    pub source: String,
    /// Source port or ICMP id.
    pub source_port: u16,
    /// Destination address.
    pub destination: String,
    /// Destination port or ICMP id.
    pub destination_port: u16,
}

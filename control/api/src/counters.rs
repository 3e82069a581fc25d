//! The books: what came in, what became of it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Counters of one port, all workers together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PortCounters {
    /// Operator's name.
    pub port: String,
    /// By name, in the words of `tombolo-tables::fate`.
    pub counters: BTreeMap<String, u64>,
    /// Packets that came in here and were dropped.
    pub dropped: u64,
    /// `received + originated + taken-over - sent - dropped - punted - handed-over - held`: 0 when the books balance.
    pub balance: i64,
}

/// Packets dropped for one reason on one port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Drop {
    /// Port where they came in.
    pub port: String,
    /// Reason.
    pub reason: String,
    /// The reason in one sentence.
    pub text: String,
    /// How many.
    pub packets: u64,
}

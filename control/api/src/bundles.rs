//! Tunnels that are used as one.

use serde::{Deserialize, Serialize};

/// A bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Bundle {
    /// Operator's name.
    pub name: String,
    /// Segment of its tunnels.
    pub segment: String,
    /// Its tunnels.
    pub members: Vec<BundleMember>,
}

/// A tunnel of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BundleMember {
    /// The tunnel's name.
    pub tunnel: String,
    /// Carries flows; else the others carry its.
    pub up: bool,
    /// Shares of the flows that it carries now.
    pub shares: u32,
    /// Of so many.
    pub shares_all: u32,
    /// What the operator of the peer lets through, in bit per second; none = not published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling_bits: Option<u64>,
    /// The same in packets per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling_packets: Option<u64>,
}

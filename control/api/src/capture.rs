//! A look at packets that no tcpdump can see.

use serde::{Deserialize, Serialize};

/// One captured packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CapturedPacket {
    /// Nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// Worker that had it.
    pub worker: u32,
    /// Port.
    pub port: String,
    /// `in` or `out`.
    pub direction: String,
    /// `wire` (as on the port) or `inner` (inside a tunnel's encryption).
    pub stage: String,
    /// `send`, `drop not-ip`, `punt`, ….
    pub fate: String,
    /// Length on the wire in bytes; `bytes` may hold fewer.
    pub length: u32,
    /// The frame in hex.
    pub bytes: String,
}

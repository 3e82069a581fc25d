//! A look at packets that no tcpdump can see.

use serde::{Deserialize, Serialize};

/// One line of a capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CaptureLine {
    /// A packet.
    Packet(CapturedPacket),
    /// What is missing between the packets; comes whenever there is more of it, and the last one counts.
    Missed(CaptureMissed),
}

/// Packets that a capture did not get, since it began. They passed the gateway like any other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CaptureMissed {
    /// A worker had no room for them in its ring; those of other captures that ran meanwhile are among them.
    pub ring_full: u64,
    /// This client read too slowly.
    pub client_slow: u64,
}

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

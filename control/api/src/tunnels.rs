//! Tunnels and their SAs; never a key.

use serde::{Deserialize, Serialize};

/// One tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tunnel {
    /// Operator's name.
    pub name: String,
    /// Has an outbound SA with sequence numbers left.
    pub up: bool,
    /// Why it is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Segment of what comes out.
    pub segment: String,
    /// Outer source.
    pub local: String,
    /// Outer destination.
    pub remote: String,
    /// How ESP travels, in the configuration's words: `none` (straight in IP) or `udp`.
    pub encapsulation: String,
    /// Largest inner packet in bytes.
    pub mtu: u32,
    /// Both directions.
    pub sas: Vec<Sa>,
}

/// One security association.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Sa {
    /// `inbound` or `outbound`.
    pub direction: String,
    /// Security parameters index.
    pub spi: u32,
    /// `aes-128-gcm`, `aes-256-gcm` or `chacha20-poly1305`.
    pub cipher: String,
    /// Extended sequence numbers.
    pub esn: bool,
    /// Outbound: next sequence number; inbound: highest received.
    pub sequence: u64,
    /// Outbound with a manual key: numbers below this are leased, i.e. recorded on disk as used.
    pub leased: Option<u64>,
    /// Inbound: replay window in packets.
    pub replay_window: Option<u16>,
    /// Inner packets sealed or opened since the SA is in use.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Seconds since the last one was sealed, or the last authentic one came in; none before the first.
    pub idle_seconds: Option<u64>,
    /// Inbound: authentic packets that were not seen before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentic: Option<u64>,
    /// Inbound: packets that did not arrive, estimated by sequence numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// Inbound: packets that were overtaken, by how many numbers: 1, 2 to 3, 4 to 7, … 128 and more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reordered: Option<[u64; 8]>,
}

/// Asks to accept a key that was never used before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SaInit {
    /// Tunnel whose key it is.
    pub tunnel: String,
}

/// The key may be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SaInitDone {
    /// Tunnel whose key it is.
    pub tunnel: String,
    /// SHA-256 of cipher, key and salt, in hex: names the key, tells nothing about it.
    pub fingerprint: String,
    /// False when the key was known: its sequence numbers go on.
    pub fresh: bool,
}

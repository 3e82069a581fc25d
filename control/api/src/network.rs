//! Ports, segments, routes and neighbours.

use serde::{Deserialize, Serialize};

/// One port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Port {
    /// Operator's name.
    pub name: String,
    /// Kernel device.
    pub device: String,
    /// Segment of what arrives here.
    pub segment: String,
    /// Carrier, and administratively up.
    pub up: bool,
    /// Faces the underlay.
    pub underlay: bool,
    /// MAC address.
    pub mac: String,
    /// Largest IP packet in bytes.
    pub mtu: u32,
    /// 802.1Q tag, none when untagged.
    pub vlan: Option<u16>,
    /// Receive queues.
    pub queues: u32,
    /// How the steering program is attached: `native`, `generic` or `detached`.
    pub xdp: String,
    /// How frames move: `zero-copy`, `copy` or none.
    pub copy: Option<String>,
    /// Addresses with prefix lengths.
    pub addresses: Vec<String>,
    /// TAP device that carries punts, once it exists.
    pub tap: Option<String>,
    /// Why the port does not work, if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Segment {
    /// Operator's name.
    pub name: String,
    /// Moves when policy, NAT or routes of the segment change.
    pub epoch: u32,
    /// Policy is stateless.
    pub stateless: bool,
    /// TCP MSS ceiling in bytes, none when only the MTU decides.
    pub mss_max: Option<u16>,
    /// Ports in it.
    pub ports: Vec<String>,
    /// Routes in it.
    pub routes: u64,
}

/// One route as workers use it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Route {
    /// Segment where it applies.
    pub segment: String,
    /// Destination prefix.
    pub prefix: String,
    /// What happens to a packet: `via 192.0.2.254 on uplink`, `tunnel prod-to-b`, `on-link cloud-prod`, `local` ….
    pub next_hop: String,
}

/// One host or gateway on a port's link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Neighbour {
    /// Port it is on.
    pub port: String,
    /// IP address.
    pub address: String,
    /// MAC address once known.
    pub mac: Option<String>,
    /// `unresolved`, `reachable` or `failed`.
    pub state: String,
}

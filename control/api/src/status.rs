//! The gateway as a whole.

use serde::{Deserialize, Serialize};

/// The gateway in one view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// Name of the gateway in its configuration.
    pub gateway: String,
    /// Version of `tombolod`.
    pub version: String,
    /// Process id of `tombolod`.
    pub pid: u32,
    /// Seconds since `tombolod` started.
    pub uptime_seconds: u64,
    /// The process that moves packets.
    pub dataplane: Dataplane,
    /// Published tables.
    pub generation: Generation,
    /// The shared memory, and the frames of the running dataplane.
    pub regions: Vec<Region>,
    /// Counts for a first look.
    pub summary: Summary,
    /// What needs a person: one sentence each.
    pub alarms: Vec<String>,
}

/// The dataplane process as `tombolod` sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Dataplane {
    /// `running`, `starting` or `down`.
    pub state: DataplaneState,
    /// Its process id while it runs.
    pub pid: Option<u32>,
    /// True when it ran before this `tombolod` and was taken over.
    pub adopted: bool,
    /// How often it was started again after it died.
    pub restarts: u64,
    /// Workers.
    pub workers: u32,
    /// Who encrypts for tunnels: `ring` or `ipsec-mb`; none before the dataplane ran.
    pub aead: Option<String>,
}

/// `Dataplane::state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataplaneState {
    /// Connected and moving packets.
    Running,
    /// Being started.
    Starting,
    /// Not there.
    Down,
}

/// What is published and who uses it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Generation {
    /// Newest generation.
    pub published: u64,
    /// Oldest generation that a worker may still use; none while no dataplane runs.
    pub announced: Option<u64>,
    /// Bytes of the tables region in use, its spare copies included.
    pub used_bytes: u64,
    /// Bytes of the tables region.
    pub total_bytes: u64,
}

/// Memory with pages of one size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Region {
    /// `tables`, `state`, `secrets` or `frames`; the last one twice when workers got pages of different sizes.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Page size in bytes.
    pub page_bytes: u64,
}

/// Counts for a first look.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// Ports that are up.
    pub ports_up: u32,
    /// Ports.
    pub ports: u32,
    /// Ports whose driver has no native XDP: slower.
    pub ports_generic: u32,
    /// Ports whose frames are not copied by the kernel.
    pub ports_zero_copy: u32,
    /// Tunnels that are up.
    pub tunnels_up: u32,
    /// Tunnels.
    pub tunnels: u32,
    /// IPv4 sessions.
    pub sessions4: u64,
    /// IPv4 sessions that always fit: `limits.sessions`. Some more may, since tables have spare entries.
    pub sessions4_max: u64,
    /// IPv6 sessions.
    pub sessions6: u64,
    /// IPv6 sessions that always fit: `limits.sessions6`. Some more may.
    pub sessions6_max: u64,
    /// Frames received since the state region was made.
    pub received: u64,
    /// Frames sent.
    pub sent: u64,
    /// Packets dropped.
    pub dropped: u64,
}

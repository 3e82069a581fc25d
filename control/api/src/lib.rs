//! Requests and replies of the control socket (HTTP/1.1 + JSON at `<runtime-dir>/control.sock`).
//!
//! Shared by `tombolod`, which writes these, and `tombolo`, which reads them. Nothing in this crate can hold a key. Names are
//! kebab-case in JSON; times are nanoseconds since the Unix epoch or seconds of idleness, as each field says; a list is in
//! the operator's order where there is one.
#![forbid(unsafe_code)]

mod bundles;
mod capture;
mod config;
mod counters;
mod flows;
mod ike;
mod network;
mod status;
mod tunnels;

pub use bundles::*;
pub use capture::*;
pub use config::*;
pub use counters::*;
pub use flows::*;
pub use ike::*;
pub use network::*;
pub use status::*;
pub use tunnels::*;

/// Paths of the endpoints.
pub mod path {
    /// GET: [`super::Status`].
    pub const STATUS: &str = "/v1/status";
    /// GET and PUT: the configuration's text; PUT answers [`super::Applied`].
    pub const CONFIG: &str = "/v1/config";
    /// POST: the configuration's text; answers [`super::Checked`].
    pub const CONFIG_CHECK: &str = "/v1/config/check";
    /// GET: `Vec<`[`super::Port`]`>`.
    pub const PORTS: &str = "/v1/ports";
    /// GET: `Vec<`[`super::Segment`]`>`.
    pub const SEGMENTS: &str = "/v1/segments";
    /// GET: `Vec<`[`super::Route`]`>`.
    pub const ROUTES: &str = "/v1/routes";
    /// GET: `Vec<`[`super::PolicyRule`]`>`.
    pub const POLICY: &str = "/v1/policy";
    /// GET: [`super::Nat`].
    pub const NAT: &str = "/v1/nat";
    /// GET, `?limit=N`: [`super::Sessions`].
    pub const SESSIONS: &str = "/v1/sessions";
    /// GET: `Vec<`[`super::Tunnel`]`>`.
    pub const TUNNELS: &str = "/v1/tunnels";
    /// GET: `Vec<`[`super::Bundle`]`>`.
    pub const BUNDLES: &str = "/v1/bundles";
    /// GET: `Vec<`[`super::Neighbour`]`>`.
    pub const NEIGHBOURS: &str = "/v1/neighbours";
    /// GET: `Vec<`[`super::PortCounters`]`>`.
    pub const COUNTERS: &str = "/v1/counters";
    /// GET: `Vec<`[`super::Drop`]`>`.
    pub const DROPS: &str = "/v1/drops";
    /// GET: `Vec<`[`super::IkeCounter`]`>`.
    pub const IKE: &str = "/v1/ike";
    /// GET: [`super::Generation`].
    pub const GENERATION: &str = "/v1/generation";
    /// GET, `?port=NAME&count=N`: a stream of [`super::CaptureLine`], one JSON object a line; empty lines mean nothing.
    pub const CAPTURE: &str = "/v1/capture";
    /// POST [`super::SaInit`]: [`super::SaInitDone`].
    pub const SA_INIT: &str = "/v1/sa/init";
    /// POST [`super::TunnelOrder`]: answers the same, carried out.
    pub const TUNNEL: &str = "/v1/tunnel";
    /// GET: Prometheus text.
    pub const METRICS: &str = "/metrics";

    /// Every path there is.
    pub const ALL: [&str; 20] = [
        STATUS,
        CONFIG,
        CONFIG_CHECK,
        PORTS,
        SEGMENTS,
        ROUTES,
        POLICY,
        NAT,
        SESSIONS,
        TUNNELS,
        BUNDLES,
        NEIGHBOURS,
        COUNTERS,
        DROPS,
        IKE,
        GENERATION,
        CAPTURE,
        SA_INIT,
        TUNNEL,
        METRICS,
    ];
}

/// Largest request body in bytes.
pub const BODY_BYTES_MAX: usize = 4 << 20;

/// Body of every answer whose HTTP status is not 2xx.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Refusal {
    /// What is wrong, in one sentence.
    pub error: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Where a configuration is wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

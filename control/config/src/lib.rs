//! From the text of `tombolo.yaml` to the validated desired state of a gateway: the only place that says what is legal.
//!
//! ```text
//! text ─ yaml ─► tree with places ─ reader ─► raw statements ─ check ─► Gateway
//! ```
//! The text comes from an operator, through a file or the control socket, and is not trusted: nothing in it may make this
//! crate panic, recurse deeply or allocate without bound. Each step notes every problem it can before it gives up.
#![forbid(unsafe_code)]

mod check;
pub mod connection;
#[doc(hidden)]
pub mod fuzz;
mod lookup;
mod model;
pub mod preflight;
mod problem;
pub mod profile;
pub mod psk;
mod raw;
mod reader;
pub mod sa_file;
mod scalars;
mod suggest;
mod value;
mod yaml;

pub use lookup::{Reach, RouteIndex};
pub use model::{
    Action, Bundle, BundleId, Ceiling, Credentials, DestinationNat, DontFragment, Dscp, ESP_UDP_PORT, Encapsulation,
    Gateway, IKE_PORT, IkeChild, IkePpk, IkeTunnel, InnerMtu, Keying, Limits, ManualKeys, PolicyRule, Port, PortId,
    ProfileName, Remote, Route, RouteTarget, Segment, SegmentId, Selector, SourceAddress, SourceNat, Tunnel, TunnelId,
};
pub use problem::Problem;
pub use value::{AddressRange, DeviceName, InterfaceAddress, Name, PortRange, Prefix, Protocol, SecretName};

use problem::Problems;
use reader::FromNode;

/// Bytes of the largest configuration.
pub const FILE_BYTES_MAX: usize = 4 << 20;

/// Reads a configuration. `file_name` only appears in problems.
///
/// # Errors
/// All problems that could be told apart, in the order of the file; never an empty list.
pub fn parse(text: &str, file_name: &str) -> Result<Gateway, Vec<Problem>> {
    let mut problems = Problems::default();
    let gateway = yaml::read(text, &mut problems)
        .and_then(|root| raw::RawGateway::read(&root, &mut problems))
        .filter(|_| problems.is_empty())
        .and_then(|raw| check::validate(&raw, file_name, &mut problems));
    match gateway {
        Some(gateway) => Ok(gateway),
        None => Err(problems.into_sorted(file_name)),
    }
}

/// The JSON Schema of the configuration, for editors.
pub fn schema() -> String {
    let schema = schemars::schema_for!(raw::RawGateway);
    serde_json::to_string_pretty(schema.as_value()).expect("a schema is made of strings, numbers, lists and maps")
}

//! The names section: JSON for people and for a restarted control process; no worker reads it.

use crate::indices::Indices;
use serde::{Deserialize, Serialize};
use tombolo_config::Gateway;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Names {
    gateway: String,
    /// By place in the table of policy rules.
    policy: Vec<String>,
    indices: Indices,
}

pub(crate) fn names(desired: &Gateway, indices: &Indices) -> String {
    let names = Names {
        gateway: desired.name.to_string(),
        policy: desired.policy.iter().map(|rule| rule.name.to_string()).collect(),
        indices: indices.clone(),
    };
    serde_json::to_string(&names).expect("strings, numbers and lists are JSON")
}

pub(crate) fn indices(names: &str) -> Result<Indices, String> {
    serde_json::from_str::<Names>(names)
        .map(|names| names.indices)
        .map_err(|error| error.to_string())
}

//! What IKE counted.

use serde::{Deserialize, Serialize};

/// One number; since the start of `tombolod` where it counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct IkeCounter {
    /// Of what: `now` (how many there are), `event`, `dropped` or `datagrams`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// How many.
    pub value: u64,
    /// What it counts, in one sentence.
    pub text: String,
}

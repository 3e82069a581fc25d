//! Indices that stay the same from plan to plan: sessions, state rows and counters are keyed by them.

use core::fmt;
use serde::{Deserialize, Serialize};

/// Which index names what, and the epoch of each segment. Opaque; carried from plan to plan. It is written into the names
/// section of every generation, from where a restarted control process takes it up again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Indices {}

/// The names section holds no indices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableNames(pub(crate) String);

impl fmt::Display for UnreadableNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the names section of the live generation cannot be read: {}", self.0)
    }
}

impl core::error::Error for UnreadableNames {}

impl Indices {
    /// From the names section of the live generation.
    ///
    /// # Errors
    /// If the section is not what a plan writes. Starting from [`Indices::default`] then would give sessions a wrong meaning.
    pub fn from_names(names: &str) -> Result<Indices, UnreadableNames> {
        serde_json::from_str(names).map_err(|error| UnreadableNames(error.to_string()))
    }
}

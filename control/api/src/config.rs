//! Checking and applying a configuration.

use serde::{Deserialize, Serialize};

/// One thing wrong in a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Problem {
    /// File as the operator named it.
    pub file: String,
    /// Line, from 1; 0 when the problem has no place.
    pub line: u32,
    /// Column, from 1; 0 when the problem has no place.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Answer to a check of a configuration that is right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Checked {
    /// Always true; a wrong configuration is answered with a [`crate::Refusal`].
    pub ok: bool,
}

/// Answer to an accepted configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Applied {
    /// True: every worker uses it. False: stored for the next boot, no dataplane is running.
    pub active: bool,
    /// Generation that carries it.
    pub generation: u64,
    /// What works only in part, e.g. a port whose device is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

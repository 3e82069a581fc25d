//! Rows, the table for people, the lines for machines, and what each row is held against.

use crate::measure::Spread;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::LazyLock;

/// One figure. The names of rows never change, so that reports can be compared.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Name.
    pub id: String,
    /// What was measured, or why it was not.
    pub what: String,
    /// Median of the repetitions; none if it could not be measured.
    pub value: Option<f64>,
    /// Least.
    pub min: Option<f64>,
    /// Most.
    pub max: Option<f64>,
    /// Of the three.
    pub unit: &'static str,
    /// What a peer needs for the same.
    pub peer: Option<f64>,
    /// What nothing can be better than.
    pub limit: Option<f64>,
    /// What is wanted.
    pub target: Option<f64>,
    /// The value in cycles of the core, whose clock was measured beside it; not of rows that are no cycles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core_cycles: Option<f64>,
}

/// Unit of a journey's rows.
pub const CYCLES_PER_PACKET: &str = "TSC cycles/packet";

/// What a row is held against: an entry of `targets.json`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Aim {
    peer: Option<f64>,
    limit: Option<f64>,
    target: Option<f64>,
    /// Whether more is better.
    more: bool,
}

static AIMS: LazyLock<BTreeMap<String, Aim>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../targets.json")).expect("a test reads it"));

/// What the row of that name is held against.
pub fn aim(id: &str) -> Aim {
    AIMS.get(id).copied().unwrap_or_default()
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

impl Row {
    /// A row of `spread`, rounded to a hundredth.
    pub fn new(id: impl Into<String>, what: impl Into<String>, spread: Spread, unit: &'static str) -> Self {
        let mut row = Row::unmeasured(id, what, unit);
        row.value = Some(round(spread.value));
        row.min = Some(round(spread.min));
        row.max = Some(round(spread.max));
        row
    }

    /// A row without a figure; `why` says so.
    pub fn unmeasured(id: impl Into<String>, why: impl Into<String>, unit: &'static str) -> Self {
        let id = id.into();
        let Aim {
            peer, limit, target, ..
        } = aim(&id);
        Row {
            id,
            what: why.into(),
            value: None,
            min: None,
            max: None,
            unit,
            peer,
            limit,
            target,
            core_cycles: None,
        }
    }

    /// The same, of so many cycles of the core.
    pub fn with_core_cycles(mut self, cycles: Option<f64>) -> Self {
        self.core_cycles = cycles.map(round);
        self
    }

    /// The same with a limit that was measured beside it, if one was.
    pub fn with_limit(mut self, limit: Option<f64>) -> Self {
        self.limit = limit.map(round).or(self.limit);
        self
    }

    /// Whether the target is reached; none without one.
    pub fn reached(&self) -> Option<bool> {
        let (value, target) = (self.value?, self.target?);
        Some(if aim(&self.id).more {
            value >= target
        } else {
            value <= target
        })
    }
}

/// Prints the table's head.
pub fn head(to: &mut impl Write) -> io::Result<()> {
    writeln!(
        to,
        "{:<24}{:>9}{:>9}{:>9}{:>9}{:>8}{:>7}{:>8}{:>8}{:>7}  what",
        "row", "cycles", "min", "max", "core", "Mpps", "VPP", "limit", "target", ""
    )
}

/// Prints a journey's row as soon as it is there.
pub fn line(to: &mut impl Write, row: &Row, per_second: f64) -> io::Result<()> {
    let number = |value: Option<f64>, digits| value.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
    let verdict = match row.reached() {
        Some(true) => "ok",
        Some(false) => "short",
        None => "",
    };
    writeln!(
        to,
        "{:<24}{:>9}{:>9}{:>9}{:>9}{:>8}{:>7}{:>8}{:>8}{:>7}  {}",
        row.id,
        number(row.value, 1),
        number(row.min, 1),
        number(row.max, 1),
        number(row.core_cycles, 1),
        number(row.value.map(|cycles| per_second / cycles / 1e6), 2),
        number(row.peer, 0),
        number(row.limit, 1),
        number(row.target, 0),
        verdict,
        row.what
    )
}

/// Prints a row for a machine: one line of JSON.
pub fn json_line(to: &mut impl Write, row: &Row) -> io::Result<()> {
    serde_json::to_writer(&mut *to, row)?;
    writeln!(to)?;
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_knows_its_target_and_which_way_is_better() {
        let row = |id: &str, value| Row::new(id, "", Spread::once(value), "");
        assert_eq!(row("forward.one", 32.0).reached(), Some(true));
        assert_eq!(row("forward.one", 32.1).reached(), Some(false));
        assert_eq!(row("scaling.flows", 1.95).reached(), Some(true));
        assert_eq!(row("scaling.flows", 1.85).reached(), Some(false));
        assert_eq!(row("nobody's", 1.0).reached(), None);
        assert_eq!(Row::unmeasured("forward.one", "", "").reached(), None);
    }
}

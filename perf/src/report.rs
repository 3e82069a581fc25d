//! Rows, the table for people, and the file for machines.

use crate::measure::Spread;
use serde::Serialize;
use std::io::{self, Write};

/// One figure. The names of rows never change, so that reports can be compared.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Name.
    pub id: String,
    /// What was measured.
    pub what: String,
    /// Median of the repetitions.
    pub value: f64,
    /// Least.
    pub min: f64,
    /// Most.
    pub max: f64,
    /// Of the three.
    pub unit: &'static str,
}

/// Unit of a journey's rows.
pub const CYCLES_PER_PACKET: &str = "TSC cycles/packet";

impl Row {
    /// A row of `spread`, rounded to a hundredth.
    pub fn new(id: impl Into<String>, what: impl Into<String>, spread: Spread, unit: &'static str) -> Self {
        let round = |value: f64| (value * 100.0).round() / 100.0;
        Row {
            id: id.into(),
            what: what.into(),
            value: round(spread.value),
            min: round(spread.min),
            max: round(spread.max),
            unit,
        }
    }
}

/// Prints the table's head.
pub fn head(to: &mut impl Write) -> io::Result<()> {
    writeln!(
        to,
        "{:<26}{:>9}{:>9}{:>9}{:>8}  what",
        "row", "cycles", "min", "max", "Mpps"
    )
}

/// Prints a journey's row as soon as it is there. `disturbed` says by how much the reference loop varied meanwhile, if too much.
pub fn line(to: &mut impl Write, row: &Row, per_second: f64, disturbed: Option<f64>) -> io::Result<()> {
    let mpps = per_second / row.value / 1e6;
    let note = disturbed.map_or(String::new(), |spread| {
        format!("  [disturbed: reference loop ±{spread:.0} %]")
    });
    writeln!(
        to,
        "{:<26}{:>9.1}{:>9.1}{:>9.1}{:>8.2}  {}{note}",
        row.id, row.value, row.min, row.max, mpps, row.what
    )
}

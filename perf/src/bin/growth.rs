//! `growth`: what a packet costs, and what it takes to publish, with so many sessions, routes, rules or SAs.

#![forbid(unsafe_code)]

use anyhow::Result;
use clap::Parser;
use std::io::stdout;
use tombolo_perf::growth::{Kind, rows};
use tombolo_perf::pin::pin;
use tombolo_perf::report::json_line;

/// Measures one number of one kind of thing; prints each row as a line of JSON.
#[derive(Parser)]
struct Arguments {
    kind: Kind,
    count: usize,
    /// Rounds of 8,192 packets in one repetition.
    #[arg(long, default_value_t = 8)]
    rounds: usize,
    /// How often it is measured, at least 5.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(5..))]
    repetitions: u16,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    pin(None);
    for row in rows(
        arguments.kind,
        arguments.count,
        arguments.repetitions.into(),
        arguments.rounds,
    )? {
        json_line(&mut stdout(), &row)?;
    }
    Ok(())
}

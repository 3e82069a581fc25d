//! `journey`: cycles per packet of whole journeys, in memory, on one core.

#![forbid(unsafe_code)]

use anyhow::{Context, Result};
use clap::Parser;
use std::fs;
use std::io::stdout;
use std::path::PathBuf;
use tombolo_perf::clock::Cycles;
use tombolo_perf::gateway::stop_time;
use tombolo_perf::journeys::TRIES;
use tombolo_perf::limits::cycles_per_packet;
use tombolo_perf::measure::{QUIET_PERCENT, Spread, Waiting, core_clock, reference};
use tombolo_perf::pin::{pin, processor};
use tombolo_perf::report::{self, CYCLES_PER_PACKET, Row};
use tombolo_perf::scenarios::{self, Case};
use tombolo_tunnel::Provider;

/// Rounds that are not counted.
const WARM_UP: usize = 4;

/// Measures whole journeys in memory, on one core: TSC cycles per packet from receive to emit.
#[derive(Parser)]
struct Arguments {
    /// Measure only rows whose name begins so (may be given several times).
    #[arg(long, value_name = "PREFIX")]
    only: Vec<String>,
    /// Measure only the row of this name.
    #[arg(long, value_name = "ROW", conflicts_with = "only")]
    row: Option<String>,
    /// How often each row is measured, at least 5.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(5..))]
    repetitions: u16,
    /// Rounds of 8,192 packets in one repetition.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Core to run on; the last one if not given.
    #[arg(long)]
    core: Option<usize>,
    /// Write the rows here as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Print each row as a line of JSON.
    #[arg(long)]
    lines: bool,
    /// Run so many rounds and print nothing: for counting instructions.
    #[arg(long, value_name = "ROUNDS", requires = "row")]
    exact_rounds: Option<usize>,
    /// Print the names of the rows.
    #[arg(long)]
    list: bool,
}

impl Arguments {
    fn wants(&self, case: &Case) -> bool {
        match &self.row {
            Some(row) => *row == case.id,
            None => self.only.is_empty() || self.only.iter().any(|prefix| case.id.starts_with(prefix)),
        }
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let cases: Vec<Case> = scenarios::all()
        .into_iter()
        .filter(|case| arguments.wants(case))
        .collect();
    if arguments.list {
        cases.iter().for_each(|case| println!("{}", case.id));
        return Ok(());
    }
    if let Some(rounds) = arguments.exact_rounds {
        return cases.iter().try_for_each(|case| run_exactly(case, rounds));
    }
    pin(arguments.core);
    let cycles = Cycles::new();
    if !arguments.lines {
        println!(
            "{}, TSC {:.3} GHz, AEAD: {}\n",
            processor(),
            cycles.per_second() / 1e9,
            Provider::chosen()
        );
        report::head(&mut stdout())?;
    }
    let mut rows = vec![tsc(&cycles)];
    let mut seen = Seen::default();
    for case in cases {
        rows.push(measure(&case, &arguments, &cycles, &mut seen).with_context(|| case.id)?);
    }
    if let Some(spread) = Spread::of(seen.clocks) {
        let what = "the core's clock, by a chain of known length right behind every round of every row";
        rows.push(Row::new("core", what, spread, "GHz"));
    }
    if let Some(spread) = Spread::of(seen.references) {
        let what = "a loop that always does the same, beside every repetition of every row";
        rows.push(Row::new("reference", what, spread, "TSC cycles/step"));
        if !arguments.lines {
            println!(
                "\nreference loop: {:.3} cycles per step, from {:.3} to {:.3}",
                spread.value, spread.min, spread.max
            );
        }
    }
    if arguments.lines {
        for row in &rows {
            report::json_line(&mut stdout(), row)?;
        }
    }
    if let Some(file) = &arguments.json {
        fs::write(file, serde_json::to_vec_pretty(&rows)?).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

/// The rounds of a row, each once, whatever happens on the machine.
fn run_exactly(case: &Case, rounds: usize) -> Result<()> {
    stop_time();
    let cycles = Cycles::new();
    let mut journey = case.scenario.journey(case.length, WARM_UP + rounds, &cycles)?;
    for _ in 0..WARM_UP + rounds {
        journey.round(&cycles)?;
    }
    Ok(())
}

/// What was seen of the machine beside the rows' repetitions.
#[derive(Default)]
struct Seen {
    /// TSC cycles for a step of the reference loop.
    references: Vec<f64>,
    /// Of the core, GHz.
    clocks: Vec<f64>,
}

/// One row: every repetition is some rounds, with the reference loop before it and the core's clock measured behind each.
fn measure(case: &Case, arguments: &Arguments, cycles: &Cycles, seen: &mut Seen) -> Result<Row> {
    let (repetitions, rounds) = (usize::from(arguments.repetitions), usize::from(arguments.rounds));
    let waiting = Waiting::of_this_thread();
    let mut journey = case
        .scenario
        .journey(case.length, TRIES * (WARM_UP + repetitions * rounds), cycles)?;
    for _ in 0..WARM_UP {
        journey.round(cycles)?;
    }
    let (mut samples, mut core, mut beside, mut disturbed) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..repetitions {
        beside.push(waiting.undisturbed(TRIES, || reference(cycles)).0);
        let (mut sum, mut clocks) = (0.0, Vec::new());
        for _ in 0..rounds {
            let (cost, had_its_core) = journey.undisturbed_round(&waiting, cycles)?;
            disturbed += usize::from(!had_its_core);
            sum += cost;
            clocks.push(core_clock(cycles));
        }
        let clock = Spread::of(clocks).context("no round")?.value;
        samples.push(sum / rounds as f64);
        core.push(sum / rounds as f64 * clock);
        seen.clocks.push(clock * cycles.per_second() / 1e9);
    }
    seen.references.extend(&beside);
    let spread = Spread::of(samples).context("no repetition")?;
    let varied = Spread::of(beside).map_or(0.0, |beside| beside.percent());
    let note = note(varied, disturbed);
    // The row's frames are given back first.
    drop(journey);
    let state = case.scenario.least_state(TRIES * repetitions * (1 + rounds));
    let mut limit = state.and_then(|state| cycles_per_packet(state, case.length, (repetitions, rounds), cycles));
    if let Some(mut raw) = case.cipher() {
        raw.round(cycles);
        let costs = (0..repetitions * rounds).map(|_| waiting.undisturbed(TRIES, || raw.round(cycles)).0);
        limit = Spread::of(costs.collect()).map(|spread| spread.value);
    }
    let mut row = Row::new(&case.id, case.what() + &note, spread, CYCLES_PER_PACKET)
        .with_limit(limit)
        .with_core_cycles(Spread::of(core).map(|core| core.value));
    row.target = limit.and_then(|limit| case.target(limit)).or(row.target);
    show(arguments, &row, cycles)?;
    Ok(row)
}

/// What is to be said about a row that somebody disturbed.
fn note(varied: f64, rounds: usize) -> String {
    match (varied > QUIET_PERCENT, rounds) {
        (false, 0) => String::new(),
        (false, _) => format!(" [disturbed: {rounds} rounds waited for their core]"),
        (true, _) => format!(" [disturbed: reference loop ±{varied:.0} %, {rounds} rounds waited for their core]"),
    }
}

fn show(arguments: &Arguments, row: &Row, cycles: &Cycles) -> Result<()> {
    if !arguments.lines {
        report::line(&mut stdout(), row, cycles.per_second())?;
    }
    Ok(())
}

/// The counter's frequency: with it a report's cycles become time.
fn tsc(cycles: &Cycles) -> Row {
    let what = format!("time-stamp counter of {}; AEAD: {}", processor(), Provider::chosen());
    Row::new("tsc", what, Spread::once(cycles.per_second() / 1e9), "GHz")
}

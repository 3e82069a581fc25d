//! `journey`: cycles per packet of whole journeys, in memory, on one core.

#![forbid(unsafe_code)]

use anyhow::{Context, Result};
use clap::Parser;
use std::fs;
use std::path::PathBuf;
use tombolo_perf::clock::Cycles;
use tombolo_perf::measure::{Spread, reference};
use tombolo_perf::report::{self, CYCLES_PER_PACKET, Row};
use tombolo_perf::scenarios::{ALL, LENGTHS, Scenario};

/// Rounds that are not counted.
const WARM_UP: usize = 4;
/// A reference loop that varies by more, in percent, means that somebody else had the core.
const QUIET_PERCENT: f64 = 5.0;

/// Measures whole journeys in memory, on one core: TSC cycles per packet from receive to emit.
#[derive(Parser)]
struct Arguments {
    /// Measure only rows whose name begins so (may be given several times).
    #[arg(long, value_name = "PREFIX")]
    only: Vec<String>,
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
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    pin(arguments.core);
    let cycles = Cycles::new();
    println!(
        "{}, TSC {:.3} GHz, AEAD: ring\n",
        processor(),
        cycles.per_second() / 1e9
    );
    report::head(&mut std::io::stdout())?;
    let mut rows = vec![tsc(&cycles)];
    let mut references = Vec::new();
    for (scenario, length) in ALL
        .iter()
        .flat_map(|scenario| LENGTHS.map(|length| (*scenario, length)))
    {
        let id = scenario.id(length);
        if arguments.only.is_empty() || arguments.only.iter().any(|prefix| id.starts_with(prefix)) {
            rows.push(measure(scenario, length, &arguments, &cycles, &mut references).with_context(|| id)?);
        }
    }
    if let Some(spread) = Spread::of(references) {
        let what = "a loop that always does the same, beside every repetition of every row";
        rows.push(Row::new("reference", what, spread, "TSC cycles/step"));
        println!(
            "\nreference loop: {:.3} cycles per step, from {:.3} to {:.3}",
            spread.value, spread.min, spread.max
        );
    }
    if let Some(file) = &arguments.json {
        fs::write(file, serde_json::to_vec_pretty(&rows)?).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

/// One row: every repetition is some rounds, with the reference loop before it.
fn measure(
    scenario: Scenario,
    length: usize,
    arguments: &Arguments,
    cycles: &Cycles,
    references: &mut Vec<f64>,
) -> Result<Row> {
    let (repetitions, rounds) = (usize::from(arguments.repetitions), usize::from(arguments.rounds));
    let mut journey = scenario.journey(length, WARM_UP + repetitions * rounds, cycles)?;
    for _ in 0..WARM_UP {
        journey.round(cycles)?;
    }
    let (mut samples, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..repetitions {
        beside.push(reference(cycles));
        let mut sum = 0.0;
        for _ in 0..rounds {
            sum += journey.round(cycles)?;
        }
        samples.push(sum / rounds as f64);
    }
    references.extend(&beside);
    let spread = Spread::of(samples).context("no repetition")?;
    let row = Row::new(scenario.id(length), scenario.what(length), spread, CYCLES_PER_PACKET);
    let varied = Spread::of(beside).map_or(0.0, |beside| (beside.max / beside.min - 1.0) * 100.0);
    let disturbed = (varied > QUIET_PERCENT).then_some(varied);
    report::line(&mut std::io::stdout(), &row, cycles.per_second(), disturbed)?;
    Ok(row)
}

/// The counter's frequency: with it a report's cycles become time.
fn tsc(cycles: &Cycles) -> Row {
    let gigahertz = cycles.per_second() / 1e9;
    let spread = Spread {
        value: gigahertz,
        min: gigahertz,
        max: gigahertz,
    };
    Row::new("tsc", format!("time-stamp counter of {}", processor()), spread, "GHz")
}

/// As the kernel names it.
fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name"));
    name.map_or("unknown processor", |name| name.trim_start_matches([' ', '\t', ':']))
        .to_owned()
}

/// Stays on one core, so that caches and the counter are one core's.
fn pin(core: Option<usize>) {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let wanted = match core {
        Some(core) => cores.iter().find(|id| id.id == core),
        None => cores.last(),
    };
    let pinned = wanted.is_some_and(|core| core_affinity::set_for_current(*core));
    if !pinned {
        eprintln!("journey: not pinned to a core: expect more spread");
    }
}

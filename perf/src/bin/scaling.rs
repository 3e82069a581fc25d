//! `scaling`: how much two workers on two cores do beside one, in memory, with everything shared that the gateway shares.
//!
//! Both workers begin each round together. A round counts if both had their cores all the time.

#![forbid(unsafe_code)]

use anyhow::{Context, Result, ensure};
use clap::Parser;
use std::io::stdout;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use tombolo_perf::clock::Cycles;
use tombolo_perf::flows::{Flow, Frames};
use tombolo_perf::gateway::{Gateway, ROUND, Shared};
use tombolo_perf::journeys::{self, Journey, frames, shared};
use tombolo_perf::measure::{Spread, Waiting};
use tombolo_perf::pin::pin;
use tombolo_perf::random::Random;
use tombolo_perf::report::{Row, json_line};
use tombolo_perf::scenarios::TUNNEL_FLOWS;
use tombolo_perf::worlds;
use tombolo_sim::worlds::{DEV, PROD, Side, UPLINK};
use tombolo_wire::{Addresses, parse_frame};

/// Flows of each worker.
const FLOWS: u32 = 1 << 16;
/// Bytes of the IP packets in tunnels.
const SEALED: usize = 1400;
/// Packets of a round where both workers share an SA: those of two rounds fit into its replay window.
const WINDOW_ROUND: usize = 1024;
/// Rounds that are not counted; flows through tunnels are established in them.
const WARM_UP: usize = 16;

/// Measures two workers beside one; prints each row as a line of JSON.
#[derive(Parser)]
struct Arguments {
    /// Rounds of at most 8,192 packets per worker in one repetition.
    #[arg(long, default_value_t = 16)]
    rounds: usize,
    /// How often each case is measured, one worker and then two, at least 5.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(5..))]
    repetitions: u16,
    /// Measure only rows whose name begins so.
    #[arg(long, default_value = "scaling")]
    only: String,
}

/// Makes the journey of a worker, on its thread.
type Make<'a> = Box<dyn Fn() -> Journey + Send + Sync + 'a>;

/// What one worker does alone, and what two do together.
struct Case<'a> {
    name: &'static str,
    what: String,
    alone: Make<'a>,
    together: [Make<'a>; 2],
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let wanted = |name: &str| name.starts_with(&arguments.only);
    if wanted("scaling.flows") {
        let shared = shared(&worlds::policy(1000), 2 * FLOWS, 2);
        let side = |index: usize| -> Make<'_> {
            let first = index as u32 * FLOWS;
            let shared = &shared;
            Box::new(move || journeys::established(shared.worker(index), DEV, first..first + FLOWS, 64))
        };
        let what = format!("stateful policy, 1000 rules, {FLOWS} established flows of each worker's own, 64 bytes");
        let alone = journeys::shared(&worlds::policy(1000), 2 * FLOWS, 2);
        report(
            &arguments,
            Case {
                name: "scaling.flows",
                what,
                alone: Box::new(move || journeys::established(alone.worker(0), DEV, 0..FLOWS, 64)),
                together: [side(0), side(1)],
            },
        )?;
    }
    if wanted("scaling.nat") {
        nat(&arguments)?;
    }
    if wanted("scaling.seal") {
        let seal = |shared: Arc<Shared>, index: usize| -> Make<'static> {
            Box::new(move || {
                journeys::seal_on(shared.worker(index), SEALED, 9 + index as u64).in_rounds_of(WINDOW_ROUND)
            })
        };
        let [alone, both] = [(), ()].map(|()| Arc::new(shared(&worlds::tunnel(Side::A, SEALED), TUNNEL_FLOWS, 2)));
        report(
            &arguments,
            Case {
                name: "scaling.seal",
                what: format!(
                    "all workers seal on one SA whose peer has a wide window, {SEALED} bytes, {WINDOW_ROUND} frames in turn"
                ),
                alone: seal(alone, 0),
                together: [seal(both.clone(), 0), seal(both, 1)],
            },
        )?;
    }
    if wanted("scaling.open") {
        open(&arguments)?;
    }
    Ok(())
}

/// Outbound packets of one set of NATed flows on one worker, their answers on the other; alone: both by one, in turns.
fn nat(arguments: &Arguments) -> Result<()> {
    let [alone, both] = [(), ()].map(|()| shared(&worlds::nat(FLOWS as usize), FLOWS, 2));
    let answers = |shared: &Shared| -> Result<Arc<Vec<Flow>>> {
        let mut worker = shared.worker(1);
        let answers = bind(&mut worker)?;
        Ok(Arc::new(answers))
    };
    // The workers that bound the flows are gone: their slots are taken again below.
    let (answers_alone, answers_both) = (answers(&alone)?, answers(&both)?);
    report(
        arguments,
        Case {
            name: "scaling.nat",
            what: format!("{FLOWS} source-NATed flows, outbound on one worker, their answers on the other, 64 bytes"),
            alone: {
                let alone = &alone;
                Box::new(move || two_way(alone.worker(0), Arc::clone(&answers_alone)))
            },
            together: [
                Box::new(|| outbound(both.worker(0))),
                Box::new({
                    let both = &both;
                    move || inbound(both.worker(1), Arc::clone(&answers_both))
                }),
            ],
        },
    )
}

/// Every flow gets its mapping; the answers to them, as the internet would send them.
fn bind(gateway: &mut Gateway) -> Result<Vec<Flow>> {
    let (cycles, mut frames, mut answers) = (Cycles::new(), frames(64), Vec::new());
    let numbers: Vec<u32> = (0..FLOWS).collect();
    for chunk in numbers.chunks(ROUND) {
        for number in chunk {
            gateway.offer(PROD, frames.of(&journeys::flow(UPLINK, *number)));
        }
        gateway.run(&cycles);
        while let Some(frame) = gateway.take_sent(UPLINK) {
            answers.push(answer(&frame).context("a UDP packet left")?);
        }
    }
    ensure!(
        answers.len() == FLOWS as usize,
        "{} flows are bound: {:?}",
        answers.len(),
        gateway.drops()
    );
    Ok(answers)
}

fn answer(frame: &[u8]) -> Option<Flow> {
    let (_, headers) = parse_frame(frame).ok()?;
    let Addresses::V4 { source, destination } = headers.addresses else {
        return None;
    };
    Some(Flow {
        source: destination,
        destination: source,
        source_port: headers.destination_port,
        destination_port: headers.source_port,
    })
}

fn from_internet() -> Frames {
    Frames::new(Side::A.router_mac(), Side::A.mac(UPLINK), 64)
}

fn outbound(gateway: Gateway) -> Journey {
    journeys::established(gateway, UPLINK, 0..FLOWS, 64)
}

fn inbound(gateway: Gateway, answers: Arc<Vec<Flow>>) -> Journey {
    let (mut random, mut frames) = (Random::new(21), from_internet());
    let offer = move |gateway: &mut Gateway, count| {
        for _ in 0..count {
            gateway.offer(UPLINK, frames.of(&answers[random.below(answers.len())]));
        }
    };
    Journey::new(gateway, vec![PROD], Box::new(offer))
}

fn two_way(gateway: Gateway, answers: Arc<Vec<Flow>>) -> Journey {
    let (mut random, mut out, mut back) = (Random::new(23), frames(64), from_internet());
    let offer = move |gateway: &mut Gateway, count: usize| {
        for _ in 0..count / 2 {
            let number = random.below(FLOWS as usize) as u32;
            gateway.offer(PROD, out.of(&journeys::flow(UPLINK, number)));
            gateway.offer(UPLINK, back.of(&answers[random.below(answers.len())]));
        }
    };
    Journey::new(gateway, vec![PROD, UPLINK], Box::new(offer))
}

/// Both workers open what came on one SA. Each has a gateway of its own that seals for it, outside of what is measured; the two
/// take their numbers from one counter, so that the replay window sees one stream.
fn open(arguments: &Arguments) -> Result<()> {
    let pair = || [Side::A, Side::B].map(|side| Arc::new(shared(&worlds::tunnel(side, SEALED), TUNNEL_FLOWS, 2)));
    let open = |[sealers, openers]: [Arc<Shared>; 2], index: usize| -> Make<'static> {
        Box::new(move || {
            let (opener, sealer) = (openers.worker(index), sealers.worker(index));
            journeys::open_on(opener, sealer, SEALED, 11 + index as u64).in_rounds_of(WINDOW_ROUND)
        })
    };
    let both = pair();
    report(
        arguments,
        Case {
            name: "scaling.open",
            what: format!("all workers open what comes on one SA, {SEALED} bytes, {WINDOW_ROUND} frames in turn"),
            alone: open(pair(), 0),
            together: [open(both.clone(), 0), open(both, 1)],
        },
    )
}

/// Measures alone, together, alone, … and prints the row: what two do beside one that was measured just before, in memory that is new
/// each time. How fast this machine is changes more from minute to minute than from one moment to the next.
fn report(arguments: &Arguments, case: Case<'_>) -> Result<()> {
    let cores = core_affinity::get_core_ids().unwrap_or_default().len();
    if cores < 2 {
        let row = Row::unmeasured(
            case.name,
            format!("{}: not possible on one core", case.what),
            "times one worker",
        );
        return Ok(json_line(&mut stdout(), &row)?);
    }
    let (mut ratios, mut costs, mut quiet) = (Vec::new(), Vec::new(), 0);
    for _ in 0..arguments.repetitions {
        let (alone, _) = rate(&run(&[&case.alone], WARM_UP + arguments.rounds)?)?;
        let together = run(&[&case.together[0], &case.together[1]], WARM_UP + arguments.rounds)?;
        let (together, undisturbed) = rate(&together)?;
        ratios.push(together / alone);
        costs.push(1.0 / alone);
        quiet += undisturbed;
    }
    let of = arguments.rounds * usize::from(arguments.repetitions);
    let cost = Spread::of(costs).context("no round")?;
    let what = format!(
        "{}; one worker: {:.1} cycles/packet; {quiet} of {of} rounds undisturbed",
        case.what, cost.value
    );
    let spread = Spread::of(ratios).context("no round")?;
    Ok(json_line(
        &mut stdout(),
        &Row::new(case.name, what, spread, "times one worker"),
    )?)
}

/// Packets per cycle of all workers: the mean of the undisturbed rounds, and how many those are. Where none is, all have to do; the row
/// says so.
fn rate(measured: &[Round]) -> Result<(f64, usize)> {
    let quiet = measured.iter().filter(|round| round.undisturbed).count();
    let rates: Vec<f64> = measured
        .iter()
        .filter(|round| round.undisturbed || quiet == 0)
        .map(|round| round.costs.iter().map(|cost| 1.0 / cost).sum::<f64>())
        .collect();
    ensure!(!rates.is_empty(), "no round");
    Ok((rates.iter().sum::<f64>() / rates.len() as f64, quiet))
}

/// A round of all workers.
struct Round {
    /// Cycles per packet of each worker.
    costs: Vec<f64>,
    /// Whether all had their cores all the time.
    undisturbed: bool,
}

/// Each worker on a thread and core of its own.
fn run(makes: &[&Make<'_>], rounds: usize) -> Result<Vec<Round>> {
    let workers = makes.len();
    let ready = AtomicUsize::new(0);
    let measured: Vec<Result<Vec<(f64, bool)>>> = thread::scope(|scope| {
        let threads: Vec<_> = makes
            .iter()
            .enumerate()
            .map(|(index, make)| {
                scope.spawn({
                    let ready = &ready;
                    move || work(make, index, workers, rounds, ready)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    let measured = measured.into_iter().collect::<Result<Vec<_>>>()?;
    let round = |round: usize| Round {
        costs: measured.iter().map(|worker| worker[round].0).collect(),
        undisturbed: measured.iter().all(|worker| worker[round].1),
    };
    Ok((WARM_UP..rounds).map(round).collect())
}

/// One worker's rounds: cycles per packet, and whether it had its core.
fn work(make: &Make<'_>, index: usize, workers: usize, rounds: usize, ready: &AtomicUsize) -> Result<Vec<(f64, bool)>> {
    pin(Some(
        core_affinity::get_core_ids().unwrap_or_default().len() - 1 - index,
    ));
    let (cycles, waiting) = (Cycles::new(), Waiting::of_this_thread());
    let mut journey = make();
    journey.establish(&cycles)?;
    let mut measured = Vec::new();
    for round in 1..=rounds {
        journey.prepare();
        ready.fetch_add(1, Ordering::AcqRel);
        while ready.load(Ordering::Acquire) < round * workers {
            core::hint::spin_loop();
        }
        let before = waiting.nanoseconds();
        let cost = journey.finish(&cycles);
        if cost.is_err() {
            // The others must not wait for this one.
            ready.fetch_add(usize::MAX / 4, Ordering::AcqRel);
        }
        let cost = cost?;
        measured.push((cost, waiting.nanoseconds() == before));
    }
    Ok(measured)
}

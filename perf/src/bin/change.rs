//! `change`: packets lost and time added while control replaces what the packets go by, in memory.
//!
//! A worker moves packets on the last core, without a pause; control builds and publishes on the first one.

#![forbid(unsafe_code)]

use anyhow::{Context, Result};
use clap::Parser;
use std::io::stdout;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tombolo_perf::clock::Cycles;
use tombolo_perf::gateway::{ROUND, Shared};
use tombolo_perf::journeys::{self, Journey, ample};
use tombolo_perf::measure::Spread;
use tombolo_perf::pin::pin;
use tombolo_perf::random::Random;
use tombolo_perf::report::{Row, json_line};
use tombolo_perf::scenarios::TUNNEL_FLOWS;
use tombolo_perf::{growth, rules, worlds};
use tombolo_sim::worlds::{DEV, PROD, Side, move_epochs};
use tombolo_tables::build::World;
use tombolo_tables::fate::DropReason;
use tombolo_tables::layout::{SaRecord, SegmentIndex, sa_flag};
use tombolo_tables::state::Limits;

const ROUTES: usize = 10_000;
const RULES: usize = 10_000;
const TUNNELS: u32 = 500;
const FLOWS: u32 = 1 << 14;

/// Measures changes under load; prints each row as a line of JSON.
#[derive(Parser)]
struct Arguments {
    /// How often everything is replaced.
    #[arg(long, default_value_t = 20)]
    changes: usize,
    /// Length of the control run without a change, in seconds.
    #[arg(long, default_value_t = 2.0)]
    control: f64,
}

/// Rounds that the worker has finished.
static ROUNDS: AtomicUsize = AtomicUsize::new(0);

/// Between two changes, so that there are packets during each.
const PAUSE: Duration = Duration::from_millis(20);

/// A step of control's: makes a world current and waits until the worker uses it.
type Step<'a> = Box<dyn FnMut() -> Result<()> + 'a>;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // Before any thread is made, so that control is where the worker is not.
    pin(Some(0));
    routes(&arguments)?;
    policy(&arguments, "rules", 4 * FLOWS)?;
    policy(&arguments, "rules-full", FLOWS)?;
    associations(&arguments)?;
    rekey(&arguments)
}

/// Builds, publishes, waits.
fn replace(shared: &mut Shared, world: &World) -> Result<()> {
    let generation = shared.publish(&world.build().context("the world builds")?)?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while !shared.is_announced(generation) {
        anyhow::ensure!(
            Instant::now() < deadline,
            "the worker does not take generation {generation}"
        );
        thread::sleep(Duration::from_micros(50));
    }
    Ok(())
}

fn routes(arguments: &Arguments) -> Result<()> {
    let world = |seed| {
        worlds::forwarding(64, |hops| {
            let mut random = Random::new(seed);
            let mut all = rules::routes4(ROUTES, SegmentIndex(PROD), &rules::INTERNET4, hops, &mut random);
            all.push(worlds::default_route(hops[0]));
            all
        })
    };
    let worlds = [world(31), world(32)];
    let mut shared = Shared::new(&worlds[0], ample(64), 1, 4);
    let (worker, first) = (shared.worker(0), &worlds[0]);
    let make = move || journeys::forward_on(worker, first, 64);
    let mut turn = 0;
    let step = || {
        turn += 1;
        replace(&mut shared, &worlds[turn % 2])
    };
    measure(
        arguments,
        "routes",
        &format!("{ROUTES} IPv4 routes are replaced"),
        make,
        Box::new(step),
    )
}

/// Every flow is decided anew, and its session made anew while the old one cannot be reused yet: a table without room shows.
fn policy(arguments: &Arguments, name: &str, room: u32) -> Result<()> {
    let mut world = worlds::policy(RULES);
    let mut random = Random::new(33);
    let mut shared = Shared::new(&world, ample(room), 1, 4);
    let worker = shared.worker(0);
    let make = move || journeys::established(worker, DEV, 0..FLOWS, 64);
    let step = || {
        for rule in &mut world.policy_rules[..RULES - 1] {
            *rule = rules::rule(&mut random);
        }
        move_epochs(&mut world);
        replace(&mut shared, &world)
    };
    let what = format!(
        "{RULES} policy rules are replaced, all {FLOWS} established flows decided anew, room for {}",
        ample(room).sessions4
    );
    measure(arguments, name, &what, make, Box::new(step))
}

fn associations(arguments: &Arguments) -> Result<()> {
    let worlds = [0, 2 * TUNNELS].map(|first| worlds::tunnels(Side::A, TUNNELS, first));
    let limits = Limits {
        tunnels: TUNNELS + 1,
        sas: 4 * TUNNELS,
        ..ample(FLOWS)
    };
    let mut shared = Shared::new(&worlds[0], limits, 1, 4);
    (0..4 * TUNNELS as usize).for_each(|sa| shared.lend(sa));
    let worker = shared.worker(0);
    let make = move || growth::seal(worker, TUNNELS);
    let mut turn = 0;
    let step = || {
        turn += 1;
        replace(&mut shared, &worlds[turn % 2])
    };
    let what = format!("{} SAs are replaced, packets sealed on each of them", 2 * TUNNELS);
    measure(arguments, "sas", &what, make, Box::new(step))
}

/// Both gateways in turns on one thread; the new inbound SA is there before the new outbound one is used.
fn rekey(arguments: &Arguments) -> Result<()> {
    let base = [Side::A, Side::B].map(|side| worlds::tunnel(side, 64));
    let limits = Limits {
        sas: 8 + arguments.changes as u32,
        ..ample(TUNNEL_FLOWS)
    };
    let [mut sealers, mut openers] = [&base[0], &base[1]].map(|world| Shared::new(world, limits, 1, 4));
    let workers = (openers.worker(0), sealers.worker(0));
    let make = move || journeys::open_on(workers.0, workers.1, 64, 35);
    let [mut sealing, mut opening] = base.clone();
    let mut version = 1;
    let step = || {
        version += 1;
        // A place of its own each time, behind the four SAs of the two tunnels: a replay window is never used twice.
        let place = 4 + version as usize;
        let fresh = |old: SaRecord| SaRecord {
            key: [version as u8; 32],
            key_version: version,
            spi: 0x4000 + version,
            ..old
        };
        let inbound = |world: &World| {
            *world
                .sas
                .iter()
                .find(|sa| sa.flags & sa_flag::INBOUND != 0)
                .expect("one")
        };
        let empty = SaRecord {
            spi: 0,
            ..inbound(&base[1])
        };
        for world in [&mut sealing, &mut opening] {
            world.sas.resize(place + 1, empty);
        }
        opening.sas[place] = fresh(inbound(&base[1]));
        replace(&mut openers, &opening)?;
        sealing.sas[place] = fresh(base[0].sas[0]);
        sealing.tunnels[0].outbound = place as u32;
        sealers.lend(place);
        replace(&mut sealers, &sealing)?;
        // What was sealed with the old one has been opened when another round is over.
        let seen = ROUNDS.load(Ordering::Acquire);
        let deadline = Instant::now() + Duration::from_secs(10);
        while ROUNDS.load(Ordering::Acquire) < seen + 2 && Instant::now() < deadline {
            thread::sleep(Duration::from_micros(100));
        }
        let old = if version == 2 { 1 } else { place - 1 };
        opening.sas[old].spi = 0;
        replace(&mut openers, &opening)
    };
    let what = "the tunnel gets a new SA: inbound first, then outbound, then the old one goes";
    measure(arguments, "rekey", what, make, Box::new(step))
}

/// What the worker saw in one phase.
#[derive(Default)]
struct Phase {
    lost: usize,
    packets: usize,
    /// Microseconds that each turn of the worker took.
    turns: Vec<f64>,
    drops: Vec<(DropReason, u64)>,
}

/// A control run without a change, then the changes; three rows.
fn measure<M>(arguments: &Arguments, name: &str, what: &str, make: M, mut step: Step<'_>) -> Result<()>
where
    M: FnOnce() -> Journey + Send,
{
    let (phase, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (phases, times) = thread::scope(|scope| {
        let (seen, end) = (Arc::clone(&phase), Arc::clone(&ended));
        let worker = scope.spawn(move || work(make, &seen, &end));
        let wait = |wanted: usize| {
            while phase.load(Ordering::Acquire) < wanted && !worker.is_finished() {
                thread::sleep(Duration::from_millis(1));
            }
        };
        wait(1);
        thread::sleep(Duration::from_secs_f64(arguments.control));
        phase.store(2, Ordering::Release);
        let mut times = Vec::new();
        let mut outcome = Ok(());
        for _ in 0..arguments.changes {
            let start = Instant::now();
            outcome = step();
            if outcome.is_err() {
                break;
            }
            times.push(start.elapsed().as_secs_f64() * 1e3);
            thread::sleep(PAUSE);
        }
        ended.store(true, Ordering::Release);
        let phases = worker.join().expect("no panic");
        outcome.map(|()| (phases, times))
    })?;
    let [before, during] = phases?;
    let id = |part: &str| format!("change.{name}.{part}");
    let lost = format!(
        "{what}, {} times: packets lost of {}",
        arguments.changes, during.packets
    );
    let lost_before = format!(
        "{lost} ({:?}); {} lost of {} without a change",
        during.drops, before.lost, before.packets
    );
    json_line(
        &mut stdout(),
        &Row::new(id("lost"), lost_before, Spread::once(during.lost as f64), "packets"),
    )?;
    for (part, share, name) in [
        ("latency-median", 0.5, "median"),
        ("latency", 0.99, "99th percentile"),
        ("latency-p9999", 0.9999, "99.99th percentile"),
    ] {
        let added = quantile(&during.turns, share) - quantile(&before.turns, share);
        let latency = format!("{what}: time that a batch takes longer at the {name}");
        json_line(&mut stdout(), &Row::new(id(part), latency, Spread::once(added), "µs"))?;
    }
    let time = Spread::of(times).context("no change")?;
    let what = format!("{what}: until the worker goes by it");
    Ok(json_line(&mut stdout(), &Row::new(id("time"), what, time, "ms"))?)
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share) as usize;
    sorted
        .get(at.min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(0.0)
}

/// The worker's thread: phase 1 begins when the flows are established, phase 2 when control says so.
fn work<M: FnOnce() -> Journey>(make: M, phase: &AtomicUsize, ended: &AtomicBool) -> Result<[Phase; 2]> {
    pin(None);
    let cycles = Cycles::new();
    let mut journey = make();
    journey.establish(&cycles)?;
    let mut phases = [Phase::default(), Phase::default()];
    for _ in 0..4 {
        journey.watched_round(&mut || ());
    }
    phase.store(1, Ordering::Release);
    while !ended.load(Ordering::Acquire) {
        let current = &mut phases[phase.load(Ordering::Acquire) - 1];
        let mut last = None;
        current.lost += journey.watched_round(&mut || {
            let now = cycles.now();
            if let Some(last) = last.replace(now) {
                current.turns.push((now - last) as f64 / cycles.per_second() * 1e6);
            }
        });
        current.packets += ROUND;
        ROUNDS.fetch_add(1, Ordering::AcqRel);
    }
    for phase in &mut phases {
        phase.turns.sort_by(f64::total_cmp);
    }
    phases[1].drops = journey.gateway().drops();
    Ok(phases)
}

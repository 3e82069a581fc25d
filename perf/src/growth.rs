//! How cost grows: one kind of thing in some number, what a packet costs then, what it takes to build and publish it.

use crate::clock::Cycles;
use crate::flows::{Flow, Frames6};
use crate::gateway::{Gateway, ROUND, Shared, section_bytes};
use crate::journeys::{self, Journey, ample, established, frames, limits};
use crate::limits::{self as least, State};
use crate::measure::{Spread, Waiting};
use crate::random::Random;
use crate::report::{CYCLES_PER_PACKET, Row};
use crate::{rules, worlds};
use anyhow::{Context, Result};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Instant;
use tombolo_sim::worlds::{DEV, PROD, Side, UPLINK};
use tombolo_tables::build::{Change, Compiler, Route, World};
use tombolo_tables::layout::{NextHop, SaIndex, SegmentIndex, TunnelIndex};
use tombolo_tables::state::Limits;
use tombolo_worker::state::spec;

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Source-NATed sessions.
    Sessions,
    /// IPv4 routes.
    Routes4,
    /// IPv6 routes.
    Routes6,
    /// Rules, above established flows.
    RulesEstablished,
    /// Diverse rules that decide every packet.
    Rules,
    /// Security associations, two per tunnel: sealing.
    Sas,
    /// The same: opening.
    SasOpen,
}

/// Flows where the number of flows is not what grows.
const FLOWS: u32 = 1 << 16;
/// How often one more is added.
const ONE_MORE: u32 = 7;
/// The memory of a gateway.
const MEMORY: f64 = (8u64 << 30) as f64;

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Sessions => "sessions",
            Kind::Routes4 => "routes4",
            Kind::Routes6 => "routes6",
            Kind::RulesEstablished => "rules-established",
            Kind::Rules => "rules",
            Kind::Sas => "sas",
            Kind::SasOpen => "sas-open",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Kind::Sessions => "source-NATed sessions, random flow per packet",
            Kind::Routes4 => "IPv4 routes, lengths as in the internet's table, random destinations",
            Kind::Routes6 => "IPv6 routes, random destinations",
            Kind::RulesEstablished => "rules above 65536 established flows",
            Kind::Rules => "diverse overlapping rules, every packet decided anew",
            Kind::Sas => "security associations, a random one seals each packet",
            Kind::SasOpen => "security associations, a random one opens each packet",
        }
    }

    fn world(self, count: usize) -> World {
        match self {
            Kind::Sessions => worlds::nat(count),
            Kind::Routes4 => journeys::forwarding_world(count),
            Kind::Routes6 => worlds::forwarding(64, |hops| {
                let mut all = rules::routes6(count, SegmentIndex(PROD), hops, &mut Random::new(6));
                all.push(Route {
                    prefix: Ipv6Addr::UNSPECIFIED.into(),
                    v6: true,
                    ..worlds::default_route(hops[0])
                });
                all
            }),
            Kind::RulesEstablished => worlds::policy(count),
            Kind::Rules => worlds::stateless_policy(count),
            Kind::Sas => worlds::tunnels(Side::A, tunnels(count), 0),
            Kind::SasOpen => opener(tunnels(count)),
        }
    }

    fn limits(self, count: usize) -> Limits {
        match self {
            Kind::Sessions => ample(count as u32),
            Kind::RulesEstablished => ample(FLOWS),
            Kind::Routes4 | Kind::Routes6 | Kind::Rules => limits(64),
            Kind::Sas | Kind::SasOpen => Limits {
                tunnels: tunnels(count) + 1,
                sas: count as u32 + 2,
                ..ample(tunnels(count).max(64))
            },
        }
    }

    /// What state a packet needs at least; none where the cipher sets the limit.
    fn least_state(self, count: usize) -> Option<State> {
        match self {
            Kind::Sessions => Some(State::Sessions(count as u32)),
            Kind::RulesEstablished => Some(State::Sessions(FLOWS)),
            Kind::Routes4 => Some(State::of_routes(count)),
            Kind::Routes6 | Kind::Rules => Some(State::None),
            Kind::Sas | Kind::SasOpen => None,
        }
    }

    /// Rounds after which every SA has its key expanded.
    fn first_rounds(self, count: usize) -> usize {
        match self {
            Kind::SasOpen => (tunnels(count) as usize).div_ceil(ROUND),
            Kind::Sessions | Kind::Routes4 | Kind::Routes6 | Kind::RulesEstablished | Kind::Rules | Kind::Sas => 0,
        }
    }

    fn journey(self, gateway: Gateway, world: &World, count: usize) -> Journey {
        match self {
            Kind::Sessions => established(gateway, UPLINK, 0..count as u32, 64),
            Kind::Routes4 => journeys::forward_on(gateway, world, 64),
            Kind::Routes6 => forward6(gateway, world),
            Kind::RulesEstablished => established(gateway, DEV, 0..FLOWS, 64),
            Kind::Rules => journeys::stateless_on(gateway, world, 64),
            Kind::Sas => seal(gateway, tunnels(count)),
            Kind::SasOpen => {
                let sealer = Gateway::new(&worlds::tunnels(Side::A, tunnels(count), 0), self.limits(count));
                open(gateway, sealer, tunnels(count))
            }
        }
    }
}

fn tunnels(sas: usize) -> u32 {
    (sas as u32 / 2).max(1)
}

fn forward6(gateway: Gateway, world: &World) -> Journey {
    let mut random = Random::new(4);
    let longer = &world.routes[..world.routes.len() - 1];
    let destinations: Vec<u128> = (0..1 << 18).map(|_| rules::inside(longer, &mut random)).collect();
    let mut frames = Frames6::new(Side::A.host_mac(PROD, 2), Side::A.mac(PROD));
    let offer = move |gateway: &mut Gateway, count| {
        for _ in 0..count {
            gateway.offer(PROD, frames.to(destinations[random.below(destinations.len())]));
        }
    };
    Journey::new(gateway, vec![DEV], Box::new(offer))
}

/// The far ends of so many tunnels of side A: what comes out is for one stateless segment with one route, to a host.
fn opener(count: u32) -> World {
    let mut routes = worlds::one_route_tunnel(Side::B, 64).routes;
    routes.retain(|route| !matches!(route.next_hop, NextHop::Tunnel(_)));
    World {
        routes,
        ..worlds::stateless(worlds::tunnels(Side::B, count, 0))
    }
}

/// The flow to the host behind a tunnel.
fn flow(tunnel: u32) -> Flow {
    Flow {
        source: worlds::first_host(PROD).into(),
        destination: worlds::behind(tunnel).into(),
        source_port: 1024,
        destination_port: 443,
    }
}

/// Packets out of every tunnel, then out of random ones, which `sealer` sealed.
fn open(gateway: Gateway, sealer: Gateway, tunnels: u32) -> Journey {
    let (mut random, mut first) = (Random::new(23), 0..tunnels);
    let next = move || flow(first.next().unwrap_or_else(|| random.below(tunnels as usize) as u32));
    journeys::open_flows(gateway, sealer, 64, next)
}

/// A flow to the host behind each tunnel, random ones in turn.
pub fn seal(gateway: Gateway, tunnels: u32) -> Journey {
    let (mut random, mut frames) = (Random::new(19), frames(64));
    let offer = move |gateway: &mut Gateway, count| {
        for _ in 0..count {
            gateway.offer(PROD, frames.of(&flow(random.below(tunnels as usize) as u32)));
        }
    };
    Journey::new(gateway, vec![UPLINK], Box::new(offer)).after((0..tunnels).map(flow).collect())
}

/// 1000000 as 1m.
fn short(count: usize) -> String {
    match count {
        _ if count >= 1_000_000 => format!("{}m", count / 1_000_000),
        _ if count >= 1000 => format!("{}k", count / 1000),
        _ => count.to_string(),
    }
}

/// Builds and publishes; milliseconds.
fn put_in_force(shared: &mut Shared, world: &World) -> Result<f64> {
    let start = Instant::now();
    shared.publish(&world.build().context("the world builds")?)?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// The rows of `count` things.
pub fn rows(kind: Kind, count: usize, repetitions: usize, rounds: usize) -> Result<Vec<Row>> {
    let id = format!("growth.{}.{}", kind.name(), short(count));
    let world = kind.world(count);
    let mut shared = Shared::new(&world, kind.limits(count), 1, 4);
    let sections = world.build().context("the world builds")?;
    let mut rows = memory(kind, &id, count, &shared, section_bytes(&sections)).to_vec();
    drop(sections);
    // Sessions are in no table.
    if kind != Kind::Sessions {
        rows.push(publish(kind, &mut shared, &world, count)?);
        rows.extend(one_more(kind, &mut shared, &world, count)?);
    }
    let cycles = Cycles::new();
    let mut journey = kind.journey(shared.worker(0), &world, count);
    journey.establish(&cycles)?;
    for _ in 0..kind.first_rounds(count) {
        journey.round(&cycles)?;
    }
    let waiting = Waiting::of_this_thread();
    let mut samples = Vec::new();
    for repetition in 0..=repetitions {
        let mut sum = 0.0;
        for _ in 0..rounds {
            sum += journey.undisturbed_round(&waiting, &cycles)?.0;
        }
        // The first one warms up.
        if repetition > 0 {
            samples.push(sum / rounds as f64);
        }
    }
    let spread = Spread::of(samples).context("repetitions")?;
    // Its frames are given back first.
    drop(journey);
    let state = kind.least_state(count);
    let limit = state.and_then(|state| least::cycles_per_packet(state, 64, (repetitions, rounds), &cycles));
    let what = format!("{count} {}", kind.what());
    rows.push(Row::new(&id, what, spread, CYCLES_PER_PACKET).with_limit(limit));
    Ok(rows)
}

/// All of them, from the world to the published generation.
fn publish(kind: Kind, shared: &mut Shared, world: &World, count: usize) -> Result<Row> {
    let mut times = Vec::new();
    for _ in 0..if count > 100_000 { 3 } else { 5 } {
        // Other tables in between: sections that did not change would not be written again.
        put_in_force(shared, &kind.world(1))?;
        times.push(put_in_force(shared, world)?);
    }
    let what = format!("{count} {}: to build and publish the tables", kind.what());
    let id = format!("growth.{}.{}.publish", kind.name(), short(count));
    Ok(Row::new(id, what, Spread::of(times).context("repetitions")?, "ms"))
}

/// What it takes: the state for sessions and SAs, the tables for all others; and how many would fit beside a second generation, if
/// all of them took as much as these.
fn memory(kind: Kind, id: &str, count: usize, shared: &Shared, bytes: usize) -> [Row; 2] {
    let (bytes, copies) = match kind {
        Kind::Sessions | Kind::Sas | Kind::SasOpen => (spec(kind.limits(count)).bytes() + bytes, 1.0),
        Kind::Routes4 | Kind::Routes6 | Kind::RulesEstablished | Kind::Rules => (bytes, 2.0),
    };
    let fits = MEMORY / (bytes as f64 * copies / count as f64);
    let page = shared.state_bytes().1 >> 10;
    let what = format!(
        "{count} {}: bytes of state or tables (pages of {page} KiB)",
        kind.what()
    );
    let taken = Spread::once(bytes as f64 / (1 << 20) as f64);
    let most = format!(
        "{}: how many fit in 8 GiB if each takes as much as of {count}",
        kind.what()
    );
    [
        Row::new(format!("{id}.memory"), what, taken, "MiB"),
        Row::new(format!("{id}.fits"), most, Spread::once(fits.floor()), "in 8 GiB"),
    ]
}

/// One more of them, to the published generation, in two ways: from the changed world, of which control must find out what is
/// different, and from the change itself (rules have no such way). In the end the world is what it was.
fn one_more(kind: Kind, shared: &mut Shared, world: &World, count: usize) -> Result<Vec<Row>> {
    let mut compiler = Compiler::default();
    let (mut from_world, mut from_change) = (Vec::new(), Vec::new());
    let mut random = Random::new(41);
    shared.publish(compiler.build(world)?)?;
    for more in 1..=ONE_MORE {
        let larger = match kind {
            Kind::Rules | Kind::RulesEstablished => {
                let mut larger = world.clone();
                larger.policy_rules.insert(0, rules::rule(&mut random));
                larger
            }
            Kind::Sas => worlds::tunnels(Side::A, tunnels(count) + more, 0),
            Kind::SasOpen => opener(tunnels(count) + more),
            Kind::Routes4 => with_route(world, more),
            Kind::Sessions | Kind::Routes6 => kind.world(count + more as usize),
        };
        shared.rest();
        let start = Instant::now();
        shared.publish(compiler.build(&larger)?)?;
        from_world.push(start.elapsed().as_secs_f64() * 1e3);
        shared.publish(compiler.build(world)?)?;
        let changes = changes(world, &larger);
        if !changes.is_empty() {
            shared.rest();
            let start = Instant::now();
            shared.publish(compiler.change(&changes)?)?;
            from_change.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    put_in_force(shared, world)?;
    let (id, what) = (format!("growth.{}.{}", kind.name(), short(count)), kind.what());
    let row =
        |name: &str, what: String, times| Spread::of(times).map(|ms| Row::new(format!("{id}.{name}"), what, ms, "ms"));
    let rows = [
        row(
            "one-more-world",
            format!("{count} {what}: one more, from the changed world to what is published"),
            from_world,
        ),
        row(
            "one-more",
            format!("{count} {what}: one more, from the change to what is published"),
            from_change,
        ),
    ];
    Ok(rows.into_iter().flatten().collect())
}

/// The world with a route to one host more.
fn with_route(world: &World, more: u32) -> World {
    let mut larger = world.clone();
    larger.routes.push(Route {
        prefix: Ipv4Addr::from(0xc612_0000 + more).into(),
        length: 32,
        ..world.routes[0]
    });
    larger
}

/// What is more in `larger`: routes, and the records behind the last of `world`.
fn changes(world: &World, larger: &World) -> Vec<Change> {
    if larger.policy_rules.len() > world.policy_rules.len() {
        return Vec::new();
    }
    let routes = (larger.routes.iter().rev()).take(2 + larger.routes.len() - world.routes.len());
    let known = &world.routes[world.routes.len().saturating_sub(2)..];
    let routes = routes
        .filter(|route| !known.contains(route))
        .copied()
        .map(Change::Route);
    let tunnels = (0..)
        .map(TunnelIndex)
        .zip(larger.tunnels.iter().copied())
        .skip(world.tunnels.len());
    let sas = (0..).map(SaIndex).zip(larger.sas.iter().copied()).skip(world.sas.len());
    let tunnels = tunnels.map(|(index, record)| Change::Tunnel(index, record));
    tunnels
        .chain(sas.map(|(index, record)| Change::Sa(index, record)))
        .chain(routes)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn every_kind_has_its_rows_and_no_packet_is_lost() {
        for kind in Kind::value_variants() {
            for count in [1, 100] {
                let rows = rows(*kind, count, 5, 1).expect("all packets are sent");
                let last = rows.last().expect("rows");
                assert_eq!(last.id, format!("growth.{}.{count}", kind.name()));
                assert!(last.value.is_some_and(|cycles| cycles > 0.0));
            }
        }
    }

    #[test]
    fn names_of_numbers_are_short() {
        assert_eq!([1, 1000, 65_536, 1 << 22].map(short), ["1", "1k", "65k", "4m"]);
    }
}

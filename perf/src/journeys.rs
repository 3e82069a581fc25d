//! Each scenario in motion: a gateway in a world, the traffic offered to it, and where all of it is expected to leave.

use crate::clock::Cycles;
use crate::flows::{Flow, Frames};
use crate::gateway::{Gateway, ROUND, Shared};
use crate::measure::Waiting;
use crate::random::Random;
use crate::scenarios::TUNNEL_FLOWS;
use crate::{policies, rules, worlds};
use anyhow::{Result, ensure};
use std::net::Ipv4Addr;
use tombolo_sim::gateway::SMALL;
use tombolo_sim::worlds::{DEV, PROD, Side, UPLINK};
use tombolo_tables::build::World;
use tombolo_tables::layout::SegmentIndex;
use tombolo_tables::state::Limits;

/// A web server of the internet.
const WEB: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 80);
/// A host of the other cloud's prod segment.
const FAR: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 10);

/// How often a round is measured that had to wait for its core.
pub const TRIES: usize = 3;

/// Offers some frames to the gateway.
pub type Offer = Box<dyn FnMut(&mut Gateway, usize)>;

/// A scenario in motion.
pub struct Journey {
    gateway: Gateway,
    /// Ports where all of it leaves.
    egress: Vec<u16>,
    /// The first packet of each flow, if flows are to be established.
    first: Option<Vec<Flow>>,
    frames: Frames,
    offer: Offer,
    round: usize,
}

impl Journey {
    /// What `offer` offers to `gateway` is to leave through `egress`.
    pub fn new(gateway: Gateway, egress: Vec<u16>, offer: Offer) -> Self {
        Journey {
            gateway,
            egress,
            first: None,
            frames: frames(64),
            offer,
            round: ROUND,
        }
    }

    /// The same with fewer packets in a round.
    pub fn in_rounds_of(mut self, packets: usize) -> Self {
        self.round = packets;
        self
    }

    /// The same, after one packet of each of these flows of prod hosts.
    pub fn after(mut self, first: Vec<Flow>) -> Self {
        self.first = Some(first);
        self
    }

    /// One round: some frames, [`ROUND`] if nothing else was said, are offered, the worker is timed, what left is counted and discarded. Cycles per packet.
    pub fn round(&mut self, cycles: &Cycles) -> Result<f64> {
        self.prepare();
        self.finish(cycles)
    }

    /// A round that had its core all the time, after [`TRIES`] at most; its cost, and whether it had.
    pub fn undisturbed_round(&mut self, waiting: &Waiting, cycles: &Cycles) -> Result<(f64, bool)> {
        let mut left = TRIES;
        loop {
            left -= 1;
            self.prepare();
            let before = waiting.nanoseconds();
            let cost = self.finish(cycles)?;
            let had_its_core = waiting.nanoseconds() == before;
            if had_its_core || left == 0 {
                return Ok((cost, had_its_core));
            }
        }
    }

    /// The unmeasured half of a round.
    pub fn prepare(&mut self) {
        (self.offer)(&mut self.gateway, self.round);
    }

    /// The measured one.
    pub fn finish(&mut self, cycles: &Cycles) -> Result<f64> {
        let spent = self.gateway.run(cycles);
        self.check(self.round)?;
        Ok(spent as f64 / self.round as f64)
    }

    /// Both, with `after` called after every turn of the worker; how many packets were lost.
    pub fn watched_round(&mut self, after: &mut impl FnMut()) -> usize {
        self.prepare();
        self.gateway.run_watched(after);
        self.round - self.discard_sent()
    }

    /// Sends the first packet of every flow.
    pub fn establish(&mut self, cycles: &Cycles) -> Result<()> {
        for flows in self.first.take().unwrap_or_default().chunks(ROUND) {
            for flow in flows {
                self.gateway.offer(PROD, self.frames.of(flow));
            }
            self.gateway.run(cycles);
            self.check(flows.len())?;
        }
        Ok(())
    }

    /// The worker.
    pub fn gateway(&mut self) -> &mut Gateway {
        &mut self.gateway
    }

    fn discard_sent(&mut self) -> usize {
        self.egress.iter().map(|port| self.gateway.discard_sent(*port)).sum()
    }

    fn check(&mut self, expected: usize) -> Result<()> {
        let sent = self.discard_sent();
        ensure!(
            sent == expected,
            "{sent} of {expected} packets were sent; drops: {:?}",
            self.gateway.drops()
        );
        Ok(())
    }
}

/// Frames from the first host of gateway A's prod segment to the gateway.
pub fn frames(length: usize) -> Frames {
    Frames::new(Side::A.host_mac(PROD, 2), Side::A.mac(PROD), length)
}

/// Room for so many sessions, each with a mapping.
pub fn limits(flows: usize) -> Limits {
    Limits {
        workers: 3,
        sessions4: flows as u32,
        mappings: flows as u32,
        pool_addresses: 2 + worlds::pool_addresses(flows),
        ..SMALL
    }
}

/// Room for `flows` sessions and an eighth more.
pub fn ample(flows: u32) -> Limits {
    limits(flows as usize + flows as usize / 8)
}

/// One stateless segment with `routes` random routes, of which one covers every destination.
pub fn forwarding_world(routes: usize) -> World {
    let mut random = Random::new(3);
    match routes {
        1 => worlds::forwarding(1, |hops| vec![worlds::default_route(hops[0])]),
        _ => worlds::forwarding(64, |hops| {
            let lengths: &[u8] = if routes > 500_000 { &rules::INTERNET4 } else { &[24] };
            let mut all = rules::routes4(routes, SegmentIndex(PROD), lengths, hops, &mut random);
            all.push(worlds::default_route(hops[0]));
            all
        }),
    }
}

pub(crate) fn forward(length: usize, routes: usize) -> Journey {
    let world = forwarding_world(routes);
    forward_on(Gateway::new(&world, limits(64)), &world, length)
}

/// Random destinations inside the routes of `world`, on a worker that is in it.
pub fn forward_on(gateway: Gateway, world: &World, length: usize) -> Journey {
    let mut random = Random::new(4);
    let longer = &world.routes[..world.routes.len() - 1];
    let destination = |random: &mut Random| match longer {
        [] => rules::destination4(random),
        _ => (rules::inside(longer, random) >> 96) as u32,
    };
    let destinations: Vec<u32> = (0..1 << 18).map(|_| destination(&mut random)).collect();
    let mut frames = frames(length);
    let offer = move |gateway: &mut Gateway, count| {
        for _ in 0..count {
            let flow = Flow {
                source: u32::from(worlds::first_host(PROD)),
                destination: destinations[random.below(destinations.len())],
                source_port: random.bits() as u16,
                destination_port: 53,
            };
            gateway.offer(PROD, frames.of(&flow));
        }
    };
    Journey::new(gateway, vec![DEV], Box::new(offer))
}

/// Flow `number` of the prod hosts towards where the scenario's packets leave.
pub fn flow(egress: u16, number: u32) -> Flow {
    let server = match egress {
        DEV => Ipv4Addr::from(u32::from(worlds::first_host(DEV)) + number % 241 % worlds::HOSTS),
        PROD => FAR,
        _ => WEB,
    };
    Flow::of_clients(number, worlds::first_host(PROD), worlds::HOSTS, server, 443)
}

/// Random ones of the flows `numbers`, on a worker of `gateway`; each is established first.
pub fn established(gateway: Gateway, egress: u16, numbers: std::ops::Range<u32>, length: usize) -> Journey {
    let mut random = Random::new(5 + u64::from(numbers.start));
    let mut frames = frames(length);
    let first = numbers.clone().map(|number| flow(egress, number)).collect();
    let offer = move |gateway: &mut Gateway, count| {
        for _ in 0..count {
            let number = numbers.start + random.below(numbers.len()) as u32;
            gateway.offer(PROD, frames.of(&flow(egress, number)));
        }
    };
    Journey::new(gateway, vec![egress], Box::new(offer)).after(first)
}

pub(crate) fn policy(length: usize, flows: u32, rules: usize) -> Journey {
    let gateway = Gateway::new(&worlds::policy(rules), ample(flows));
    established(gateway, DEV, 0..flows, length)
}

pub(crate) fn nat(length: usize, flows: u32) -> Journey {
    let gateway = Gateway::new(&worlds::nat(flows as usize), ample(flows));
    established(gateway, UPLINK, 0..flows, length)
}

pub(crate) fn nat_new(length: usize, rounds: usize) -> Journey {
    let mut frames = frames(length);
    let mut fresh = 0..;
    let offer = move |gateway: &mut Gateway, count| {
        for number in fresh.by_ref().take(count) {
            gateway.offer(PROD, frames.of(&flow(UPLINK, number)));
        }
    };
    let flows = (rounds * ROUND).next_power_of_two();
    let gateway = Gateway::new(&worlds::nat(flows), limits(flows));
    Journey::new(gateway, vec![UPLINK], Box::new(offer))
}

pub(crate) fn stateless(length: usize, rules: usize) -> Journey {
    let world = worlds::stateless_policy(rules);
    stateless_on(Gateway::new(&world, limits(64)), &world, length)
}

/// Random packets that the rules of `world` speak of, each decided anew.
pub fn stateless_on(gateway: Gateway, world: &World, length: usize) -> Journey {
    let mut random = Random::new(13);
    let flows = policies::allowed(&world.policy_rules, &mut random);
    let mut frames = frames(length);
    let offer = move |gateway: &mut Gateway, count| {
        for _ in 0..count {
            gateway.offer(PROD, frames.of(&flows[random.below(flows.len())]));
        }
    };
    Journey::new(gateway, vec![DEV], Box::new(offer))
}

/// Flow `number` into the tunnel.
pub fn tunnel_flow(number: u32) -> Flow {
    flow(PROD, number % TUNNEL_FLOWS)
}

/// A flow to a random destination, as [`forward`] has them.
fn random_flow(random: &mut Random) -> Flow {
    Flow {
        source: worlds::first_host(PROD).into(),
        destination: rules::destination4(random),
        source_port: random.bits() as u16,
        destination_port: 53,
    }
}

pub(crate) fn seal(length: usize) -> Journey {
    let world = worlds::one_route_tunnel(Side::A, length);
    let mut random = Random::new(9);
    seal_flows(Gateway::new(&world, limits(64)), length, move || {
        random_flow(&mut random)
    })
}

pub(crate) fn seal_stateful(length: usize) -> Journey {
    let world = worlds::tunnel(Side::A, length);
    seal_on(Gateway::new(&world, ample(TUNNEL_FLOWS)), length, 9)
}

/// Random ones of the established flows into the tunnel, on a worker of side A.
pub fn seal_on(gateway: Gateway, length: usize, seed: u64) -> Journey {
    let mut random = Random::new(seed);
    seal_flows(gateway, length, move || tunnel_flow(random.bits() as u32))
        .after((0..TUNNEL_FLOWS).map(tunnel_flow).collect())
}

/// Packets of the flows that `next` names, into the tunnel.
fn seal_flows(gateway: Gateway, length: usize, mut next: impl FnMut() -> Flow + 'static) -> Journey {
    let mut frames = frames(length);
    let offer = move |gateway: &mut Gateway, count| {
        for _ in 0..count {
            gateway.offer(PROD, frames.of(&next()));
        }
    };
    Journey::new(gateway, vec![UPLINK], Box::new(offer))
}

pub(crate) fn open(length: usize) -> Journey {
    let worlds = [Side::A, Side::B].map(|side| worlds::one_route_tunnel(side, length));
    let [sealer, opener] = worlds.map(|world| Gateway::new(&world, limits(64)));
    let mut random = Random::new(11);
    open_flows(opener, sealer, length, move || random_flow(&mut random))
}

pub(crate) fn open_stateful(length: usize) -> Journey {
    let worlds = [Side::A, Side::B].map(|side| worlds::tunnel(side, length));
    let [sealer, opener] = worlds.map(|world| Gateway::new(&world, ample(TUNNEL_FLOWS)));
    open_on(opener, sealer, length, 11)
}

/// Established flows out of the tunnel.
pub fn open_on(opener: Gateway, sealer: Gateway, length: usize, seed: u64) -> Journey {
    let mut random = Random::new(seed);
    // The first frames establish every flow, the others are of random flows.
    let mut first = 0..TUNNEL_FLOWS;
    let next = move || tunnel_flow(first.next().unwrap_or_else(|| random.bits() as u32));
    open_flows(opener, sealer, length, next)
}

/// Gateway A seals packets of the flows that `next` names, outside of what is measured; gateway B opens. Each frame is sealed anew: none
/// can be opened twice.
pub fn open_flows(
    opener: Gateway,
    mut sealer: Gateway,
    length: usize,
    mut next: impl FnMut() -> Flow + 'static,
) -> Journey {
    let mut frames = frames(length);
    let offer = move |gateway: &mut Gateway, count| {
        for _ in 0..count {
            sealer.offer(PROD, frames.of(&next()));
        }
        sealer.run_beside();
        while let Some(mut sealed) = sealer.take_sent(UPLINK) {
            sealed[..6].copy_from_slice(&Side::B.mac(UPLINK));
            sealed[6..12].copy_from_slice(&Side::B.router_mac());
            gateway.offer(UPLINK, &sealed);
        }
    };
    Journey::new(opener, vec![PROD], Box::new(offer))
}

/// The workers of one gateway in `world`, with room for `flows` sessions.
pub fn shared(world: &World, flows: u32, workers: usize) -> Shared {
    Shared::new(world, ample(flows), workers, 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_far_host_is_the_other_gateways() {
        assert_eq!(std::net::IpAddr::V4(FAR), Side::B.host4(PROD, 10));
    }
}

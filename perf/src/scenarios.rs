//! The rows of the table: each a world, the traffic offered to it, and what is expected to leave.

use crate::clock::Cycles;
use crate::flows::{Flow, Frames};
use crate::gateway::{Gateway, ROUND};
use crate::random::Random;
use crate::{rules, worlds};
use anyhow::{Result, ensure};
use std::net::Ipv4Addr;
use tombolo_sim::gateway::SMALL;
use tombolo_sim::worlds::{DEV, PROD, Side, UPLINK};
use tombolo_tables::layout::SegmentIndex;
use tombolo_tables::state::Limits;

/// Lengths of the IP packet that comes in or, for `esp.open`, goes out: bytes.
pub const LENGTHS: [usize; 3] = [64, 576, 1400];

/// A web server of the internet.
const WEB: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 80);
/// A host of the other cloud's prod segment.
const FAR: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 10);

/// One kind of journey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// A stateless segment with so many routes.
    Forward { routes: usize },
    /// Established sessions between two segments under 1,000 rules.
    Policy { flows: u32 },
    /// Established sessions with a mapping each.
    Nat { flows: u32 },
    /// Every packet begins a session with a mapping.
    NatNew,
    /// Plain in, sealed out.
    Seal,
    /// Sealed in, plain out.
    Open,
}

/// All rows, in the order of the table.
pub const ALL: [Scenario; 8] = [
    Scenario::Forward { routes: 1 },
    Scenario::Forward { routes: 100_000 },
    Scenario::Policy { flows: 1 << 16 },
    Scenario::Nat { flows: 1 << 16 },
    Scenario::Nat { flows: 1 << 20 },
    Scenario::NatNew,
    Scenario::Seal,
    Scenario::Open,
];

/// Flows through a tunnel.
const TUNNEL_FLOWS: u32 = ROUND as u32;

impl Scenario {
    /// Name of the row for packets of `length` bytes. It never changes: reports are compared by it.
    pub fn id(self, length: usize) -> String {
        let name = match self {
            Scenario::Forward { routes: 1 } => "forward.one",
            Scenario::Forward { .. } => "forward.100k",
            Scenario::Policy { .. } => "policy.established",
            Scenario::Nat { flows } if flows == 1 << 16 => "nat.64k",
            Scenario::Nat { .. } => "nat.1m",
            Scenario::NatNew => "nat.new",
            Scenario::Seal | Scenario::Open => return format!("{}.{length}", self.tunnel_name()),
        };
        if length == 64 {
            name.to_owned()
        } else {
            format!("{name}.{length}")
        }
    }

    fn tunnel_name(self) -> &'static str {
        if self == Scenario::Open { "esp.open" } else { "esp.seal" }
    }

    /// What the row measures.
    pub fn what(self, length: usize) -> String {
        let journey = match self {
            Scenario::Forward { routes: 1 } => {
                "forward in a stateless segment, 1 route, random destinations".to_owned()
            }
            Scenario::Forward { routes } => {
                format!("forward in a stateless segment, {routes} /24 routes, 262144 random destinations")
            }
            Scenario::Policy { flows } => {
                format!("stateful policy, {flows} established UDP flows one way, random flow per packet, 1000 rules")
            }
            Scenario::Nat { flows } => {
                format!("source NAT, {flows} sessions with a mapping each, outbound, random flow per packet, 2 rules")
            }
            Scenario::NatNew => "first packet of a new source-NATed flow: session, mapping and port made".to_owned(),
            Scenario::Seal => format!("AES-256-GCM ESP tunnel, plain in, sealed out, {TUNNEL_FLOWS} established flows"),
            Scenario::Open => format!("AES-256-GCM ESP tunnel, sealed in, plain out, {TUNNEL_FLOWS} established flows"),
        };
        format!("{journey}, {length} bytes")
    }

    /// Sets the scenario up for a run of `rounds` rounds.
    pub fn journey(self, length: usize, rounds: usize, cycles: &Cycles) -> Result<Journey> {
        let mut journey = match self {
            Scenario::Forward { routes } => forward(length, routes),
            Scenario::Policy { flows } => established(length, worlds::policy(1000), DEV, flows),
            Scenario::Nat { flows } => established(length, worlds::nat(), UPLINK, flows),
            Scenario::NatNew => nat_new(length, rounds),
            Scenario::Seal => seal(length),
            Scenario::Open => open(length),
        };
        journey.establish(cycles)?;
        Ok(journey)
    }
}

/// Offers some frames to the gateway.
type Offer = Box<dyn FnMut(&mut Gateway, usize)>;

/// A scenario in motion.
pub struct Journey {
    gateway: Gateway,
    egress: u16,
    /// Offers every flow once, in rounds; done when it offered none.
    first: Option<Vec<Flow>>,
    frames: Frames,
    offer: Offer,
}

impl Journey {
    /// One round: [`ROUND`] frames are offered, the worker is timed, what left is counted and discarded. Cycles per packet.
    pub fn round(&mut self, cycles: &Cycles) -> Result<f64> {
        (self.offer)(&mut self.gateway, ROUND);
        let spent = self.gateway.run(cycles);
        self.check(ROUND)?;
        Ok(spent as f64 / ROUND as f64)
    }

    /// Whether the gateway's state lies on pages of this many bytes.
    pub fn page_size(&self) -> usize {
        self.gateway.page_size()
    }

    /// Sends the first packet of every flow.
    fn establish(&mut self, cycles: &Cycles) -> Result<()> {
        for flows in self.first.take().unwrap_or_default().chunks(ROUND) {
            for flow in flows {
                self.gateway.offer(PROD, self.frames.of(flow));
            }
            self.gateway.run(cycles);
            self.check(flows.len())?;
        }
        Ok(())
    }

    fn check(&mut self, expected: usize) -> Result<()> {
        let sent = self.gateway.discard_sent(self.egress);
        ensure!(
            sent == expected,
            "{sent} of {expected} packets were sent; drops: {:?}",
            self.gateway.drops()
        );
        Ok(())
    }
}

/// Frames from the first host of gateway A's prod segment to the gateway.
fn frames(length: usize) -> Frames {
    Frames::new(Side::A.host_mac(PROD, 2), Side::A.mac(PROD), length)
}

fn limits(flows: usize) -> Limits {
    Limits {
        workers: 2,
        sessions4: flows as u32,
        mappings: flows as u32,
        pool_addresses: 2 + worlds::POOL_ADDRESSES,
        ..SMALL
    }
}

fn forward(length: usize, routes: usize) -> Journey {
    let mut random = Random::new(3);
    let world = match routes {
        1 => worlds::forwarding(1, |hops| vec![worlds::default_route(hops[0])]),
        _ => worlds::forwarding(64, |hops| {
            let mut all = rules::routes4(routes, SegmentIndex(PROD), &[24], hops, &mut random);
            all.push(worlds::default_route(hops[0]));
            all
        }),
    };
    let destinations: Vec<u32> = match routes {
        1 => (0..1 << 18).map(|_| rules::destination4(&mut random)).collect(),
        _ => {
            let longer = &world.routes[..routes];
            (0..1 << 18)
                .map(|_| (rules::inside(longer, &mut random) >> 96) as u32)
                .collect()
        }
    };
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
    Journey {
        gateway: Gateway::new(&world, limits(64)),
        egress: DEV,
        first: None,
        frames: self::frames(length),
        offer: Box::new(offer),
    }
}

/// Flow `number` of the prod hosts towards where the scenario's packets leave.
fn flow(egress: u16, number: u32) -> Flow {
    let server = match egress {
        DEV => Ipv4Addr::from(u32::from(worlds::first_host(DEV)) + number % 241 % worlds::HOSTS),
        PROD => FAR,
        _ => WEB,
    };
    Flow::of_clients(number, worlds::first_host(PROD), worlds::HOSTS, server, 443)
}

fn established(length: usize, world: tombolo_tables::build::World, egress: u16, flows: u32) -> Journey {
    let mut random = Random::new(5);
    let mut frames = frames(length);
    let offer = move |gateway: &mut Gateway, count| {
        for _ in 0..count {
            let flow = flow(egress, random.below(flows as usize) as u32);
            gateway.offer(PROD, frames.of(&flow));
        }
    };
    Journey {
        gateway: Gateway::new(&world, limits(flows as usize + flows as usize / 8)),
        egress,
        first: Some((0..flows).map(|number| flow(egress, number)).collect()),
        frames: self::frames(length),
        offer: Box::new(offer),
    }
}

fn nat_new(length: usize, rounds: usize) -> Journey {
    let mut frames = frames(length);
    let mut fresh = 0..;
    let offer = move |gateway: &mut Gateway, count| {
        for number in fresh.by_ref().take(count) {
            gateway.offer(PROD, frames.of(&flow(UPLINK, number)));
        }
    };
    let flows = (rounds * ROUND).next_power_of_two();
    Journey {
        gateway: Gateway::new(&worlds::nat(), limits(flows)),
        egress: UPLINK,
        first: None,
        frames: self::frames(length),
        offer: Box::new(offer),
    }
}

/// Flow `number` into the tunnel.
fn tunnel_flow(number: u32) -> Flow {
    flow(PROD, number % TUNNEL_FLOWS)
}

fn seal(length: usize) -> Journey {
    let mut random = Random::new(9);
    let mut frames = frames(length);
    let offer = move |gateway: &mut Gateway, count| {
        for _ in 0..count {
            gateway.offer(PROD, frames.of(&tunnel_flow(random.bits() as u32)));
        }
    };
    Journey {
        gateway: Gateway::new(&worlds::tunnel(Side::A), limits(2 * TUNNEL_FLOWS as usize)),
        egress: UPLINK,
        first: Some((0..TUNNEL_FLOWS).map(tunnel_flow).collect()),
        frames: self::frames(length),
        offer: Box::new(offer),
    }
}

/// Gateway A seals, outside of what is measured; gateway B opens. Each frame is sealed anew: none can be opened twice.
fn open(length: usize) -> Journey {
    let mut random = Random::new(11);
    let mut frames = frames(length);
    let mut sealer = Gateway::new(&worlds::tunnel(Side::A), limits(2 * TUNNEL_FLOWS as usize));
    let unmeasured = Cycles::new();
    let mut next = 0;
    let offer = move |gateway: &mut Gateway, count| {
        for _ in 0..count {
            // The first frames establish every flow, the others are of random flows.
            let number = if next < TUNNEL_FLOWS {
                next
            } else {
                random.bits() as u32
            };
            next = next.saturating_add(1);
            sealer.offer(PROD, frames.of(&tunnel_flow(number)));
        }
        sealer.run(&unmeasured);
        while let Some(mut sealed) = sealer.take_sent(UPLINK) {
            sealed[..6].copy_from_slice(&Side::B.mac(UPLINK));
            sealed[6..12].copy_from_slice(&Side::B.router_mac());
            gateway.offer(UPLINK, &sealed);
        }
    };
    Journey {
        gateway: Gateway::new(&worlds::tunnel(Side::B), limits(2 * TUNNEL_FLOWS as usize)),
        egress: PROD,
        first: None,
        frames: self::frames(length),
        offer: Box::new(offer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_of_every_scenario_is_sent() {
        let cycles = Cycles::new();
        for scenario in ALL.into_iter().filter(|all| *all != Scenario::Nat { flows: 1 << 20 }) {
            let mut journey = scenario.journey(64, 3, &cycles).expect("it is established");
            for _ in 0..3 {
                let cost = journey.round(&cycles).expect("all packets are sent");
                assert!(cost > 0.0, "{scenario:?}");
            }
        }
    }

    #[test]
    fn no_two_rows_have_one_name() {
        let mut ids: Vec<_> = ALL
            .iter()
            .flat_map(|scenario| LENGTHS.map(|length| scenario.id(length)))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), ALL.len() * LENGTHS.len());
    }

    #[test]
    fn the_far_host_is_the_other_gateways() {
        assert_eq!(std::net::IpAddr::V4(FAR), Side::B.host4(PROD, 10));
    }
}

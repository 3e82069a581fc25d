//! The rows of the table: which journeys are measured, with packets of which length, and what they are called.

use crate::clock::Cycles;
use crate::gateway::ROUND;
use crate::journeys::{self, Journey};
use crate::limits::State;
use crate::raw_aead::{Direction, RawAead};
use anyhow::Result;

/// Flows through a tunnel.
pub const TUNNEL_FLOWS: u32 = ROUND as u32;

/// One kind of journey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// A stateless segment with so many IPv4 routes.
    Forward { routes: usize },
    /// Established sessions between two segments under so many rules.
    Policy { flows: u32, rules: usize },
    /// Every packet is decided by so many rules.
    Stateless { rules: usize },
    /// Established sessions with a mapping each.
    Nat { flows: u32 },
    /// Every packet begins a session with a mapping.
    NatNew,
    /// Plain in, sealed out, from a stateless segment with one route, as forwarders without a firewall are measured.
    Seal,
    /// The same from a segment with established sessions, among the demo's routes.
    SealStateful,
    /// Sealed in, plain out, into a stateless segment with one route.
    Open,
    /// The same into a segment with established sessions, among the demo's routes.
    OpenStateful,
}

/// Lengths of most rows.
pub const LENGTHS: [usize; 3] = [64, 576, 1400];

/// All rows in the order of the table: beginning of the name, journey, lengths of the IP packet that comes in or, for `esp.open`,
/// goes out, in bytes.
const ROWS: [(&str, Scenario, &[usize]); 12] = [
    ("forward.one", Scenario::Forward { routes: 1 }, &LENGTHS),
    ("forward.100k", Scenario::Forward { routes: 100_000 }, &LENGTHS),
    (
        "policy.established",
        Scenario::Policy {
            flows: 1 << 16,
            rules: 1000,
        },
        &LENGTHS,
    ),
    ("policy.stateless", Scenario::Stateless { rules: 1000 }, &[64]),
    ("nat.64k", Scenario::Nat { flows: 1 << 16 }, &LENGTHS),
    ("nat.1m", Scenario::Nat { flows: 1 << 20 }, &LENGTHS),
    ("nat.4m", Scenario::Nat { flows: 1 << 22 }, &[64]),
    ("nat.new", Scenario::NatNew, &LENGTHS),
    ("esp.seal", Scenario::Seal, &[64, 576, 1400, 8900]),
    ("esp.open", Scenario::Open, &[64, 576, 1400, 8900]),
    ("esp.stateful.seal", Scenario::SealStateful, &LENGTHS),
    ("esp.stateful.open", Scenario::OpenStateful, &LENGTHS),
];

/// A scenario with packets of one length.
#[derive(Clone, Debug)]
pub struct Case {
    /// Name of the row. It never changes: reports are compared by it.
    pub id: String,
    /// The journey.
    pub scenario: Scenario,
    /// Bytes of the IP packet.
    pub length: usize,
}

/// All rows.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, scenario, lengths) in ROWS {
        for length in lengths {
            cases.push(Case {
                id: match length {
                    64 if !name.starts_with("esp") => name.to_owned(),
                    _ => format!("{name}.{length}"),
                },
                scenario,
                length: *length,
            });
        }
    }
    cases
}

impl Case {
    /// What the row measures.
    pub fn what(&self) -> String {
        format!("{}, {} bytes", self.scenario.what(), self.length)
    }

    /// The cipher alone over the same frames; none where there is none.
    pub fn cipher(&self) -> Option<RawAead> {
        match self.scenario {
            Scenario::Seal | Scenario::SealStateful => Some(RawAead::new(Direction::Seal, self.length)),
            Scenario::Open | Scenario::OpenStateful => Some(RawAead::new(Direction::Open, self.length)),
            Scenario::Forward { .. }
            | Scenario::Policy { .. }
            | Scenario::Stateless { .. }
            | Scenario::Nat { .. }
            | Scenario::NatNew => None,
        }
    }

    /// The target of a row whose limit was measured with it: of long packets the cipher is nearly all.
    pub fn target(&self, limit: f64) -> Option<f64> {
        (self.length > 1400).then_some(1.1 * limit + 60.0)
    }
}

impl Scenario {
    /// What it measures.
    pub fn what(self) -> String {
        match self {
            Scenario::Forward { routes: 1 } => {
                "forward in a stateless segment, 1 route, random destinations".to_owned()
            }
            Scenario::Forward { routes } => {
                format!("forward in a stateless segment, {routes} /24 routes, 262144 random destinations")
            }
            Scenario::Policy { flows, rules } => {
                format!("stateful policy, {flows} established UDP flows one way, random flow per packet, {rules} rules")
            }
            Scenario::Stateless { rules } => {
                format!("stateless policy, {rules} diverse overlapping rules, every packet decided anew")
            }
            Scenario::Nat { flows } => {
                format!("source NAT, {flows} sessions with a mapping each, outbound, random flow per packet, 2 rules")
            }
            Scenario::NatNew => "first packet of a new source-NATed flow: session, mapping and port made".to_owned(),
            Scenario::Seal => {
                "AES-256-GCM ESP tunnel, plain in, sealed out, from a stateless segment, 1 route, random destinations, no policy"
                    .to_owned()
            }
            Scenario::Open => {
                "AES-256-GCM ESP tunnel, sealed in, plain out, into a stateless segment, 1 route, random destinations, no policy"
                    .to_owned()
            }
            Scenario::SealStateful => format!(
                "AES-256-GCM ESP tunnel, plain in, sealed out, {TUNNEL_FLOWS} established flows, random flow per packet, 6 routes, no policy within a segment"
            ),
            Scenario::OpenStateful => format!(
                "AES-256-GCM ESP tunnel, sealed in, plain out, {TUNNEL_FLOWS} established flows, random flow per packet, 6 routes, no policy within a segment"
            ),
        }
    }

    /// What state a packet needs at least; none if it is the cipher that sets the limit.
    pub fn least_state(self, rounds: usize) -> Option<State> {
        match self {
            Scenario::Forward { routes } => Some(State::of_routes(routes)),
            Scenario::Stateless { .. } => Some(State::None),
            Scenario::Policy { flows, .. } | Scenario::Nat { flows } => Some(State::Sessions(flows)),
            Scenario::NatNew => Some(State::New((rounds * ROUND) as u32)),
            Scenario::Seal | Scenario::SealStateful | Scenario::Open | Scenario::OpenStateful => None,
        }
    }

    /// Sets the scenario up for a run of at most `rounds` rounds.
    pub fn journey(self, length: usize, rounds: usize, cycles: &Cycles) -> Result<Journey> {
        let mut journey = match self {
            Scenario::Forward { routes } => journeys::forward(length, routes),
            Scenario::Policy { flows, rules } => journeys::policy(length, flows, rules),
            Scenario::Stateless { rules } => journeys::stateless(length, rules),
            Scenario::Nat { flows } => journeys::nat(length, flows),
            Scenario::NatNew => journeys::nat_new(length, rounds),
            Scenario::Seal => journeys::seal(length),
            Scenario::SealStateful => journeys::seal_stateful(length),
            Scenario::Open => journeys::open(length),
            Scenario::OpenStateful => journeys::open_stateful(length),
        };
        journey.establish(cycles)?;
        Ok(journey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_of_every_scenario_is_sent() {
        let cycles = Cycles::new();
        let many = |scenario: &Scenario| matches!(scenario, Scenario::Nat { flows } if *flows > 1 << 16);
        for (_, scenario, _) in ROWS.iter().filter(|(_, scenario, _)| !many(scenario)) {
            let mut journey = scenario.journey(64, 3, &cycles).expect("it is established");
            for _ in 0..3 {
                let cost = journey.round(&cycles).expect("all packets are sent");
                assert!(cost > 0.0, "{scenario:?}");
            }
        }
    }

    #[test]
    fn no_two_rows_have_one_name() {
        let cases = all();
        let mut ids: Vec<_> = cases.iter().map(|case| &case.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), cases.len());
    }

    #[test]
    fn packets_of_a_jumbo_mtu_are_sealed_and_opened() {
        let cycles = Cycles::new();
        for scenario in [Scenario::Seal, Scenario::Open] {
            let mut journey = scenario.journey(8900, 3, &cycles).expect("it is established");
            assert!(
                journey.round(&cycles).expect("all packets are sent") > 0.0,
                "{scenario:?}"
            );
        }
    }
}

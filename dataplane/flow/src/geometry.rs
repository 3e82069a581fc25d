//! From a gateway's limits to the sizes and views of the parts that hold flows.

use crate::state::{FlowLimits, FlowParts};
use tombolo_tables::state::{Limits, State, StatePart, StateSpec};
use tombolo_tables::{capture, events, port_status, sa_counters};

/// What the flow tables must hold. Mappings and inside hosts share a table; IPv6 source NAT is rare, so its table has a
/// quarter of the IPv4 one's room, and both have some.
pub fn flow_limits(limits: &Limits) -> FlowLimits {
    let at_least = |count: u32| count.max(64) as usize;
    let mappings = limits.mappings.saturating_add(limits.hosts);
    FlowLimits {
        sessions4: at_least(limits.sessions4),
        sessions6: at_least(limits.sessions6),
        mappings4: at_least(mappings),
        mappings6: at_least(mappings / 4),
        pool_addresses: at_least(limits.pool_addresses),
    }
}

/// Words of each part that holds flows.
pub fn flow_parts(limits: &Limits) -> [(StatePart, usize); 5] {
    let words = flow_limits(limits).words();
    [
        (StatePart::Sessions4, words.sessions4),
        (StatePart::Sessions6, words.sessions6),
        (StatePart::Mappings4, words.mappings4),
        (StatePart::Mappings6, words.mappings6),
        (StatePart::PoolPorts, words.ports),
    ]
}

/// The parts of a state region that hold flows.
pub fn parts_of(state: &State) -> FlowParts<'_> {
    FlowParts {
        sessions4: state.part(StatePart::Sessions4),
        sessions6: state.part(StatePart::Sessions6),
        mappings4: state.part(StatePart::Mappings4),
        mappings6: state.part(StatePart::Mappings6),
        ports: state.part(StatePart::PoolPorts),
    }
}

/// Words that one SA takes, as the tunnel crate says (`sequence::WORDS_PER_SEQUENCE`, `replay::WORDS_PER_WINDOW`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaWords {
    /// Of its sequence numbers.
    pub sequence: usize,
    /// Of its replay window.
    pub window: usize,
}

/// Words of a tunnel's endpoint record.
const ENDPOINT_WORDS: usize = 8;

/// Everything that a gateway of these limits keeps in its state region.
pub fn state_spec(limits: Limits, sa: SaWords) -> StateSpec {
    let (workers, ports) = (limits.workers as usize, limits.ports as usize);
    let (sas, tunnels) = (limits.sas as usize, limits.tunnels as usize);
    let spec = StateSpec::new(limits)
        .with(StatePart::Sequences, sas.saturating_mul(sa.sequence))
        .with(StatePart::Replay, sas.saturating_mul(sa.window))
        .with(StatePart::Endpoints, tunnels.saturating_mul(ENDPOINT_WORDS))
        .with(StatePart::TunnelMtu, tunnels)
        .with(StatePart::SaCounters, sa_counters::words(workers, sas))
        .with(StatePart::PortStatus, port_status::words(ports))
        .with(StatePart::Events, events::event_words(workers))
        .with(StatePart::CaptureRing, capture::capture_words(workers));
    flow_parts(&limits)
        .into_iter()
        .fold(spec, |spec, (part, words)| spec.with(part, words))
}

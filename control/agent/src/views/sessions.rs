//! Sessions, read while workers change them: each is whole, the list is of no one moment.

use super::{protocol_name, segment_name};
use rustix::time::{ClockId, clock_gettime};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tombolo_api::{Endpoints, Session, Sessions};
use tombolo_flow::{Key4, Key6, Phase, SessionKey, SessionView};
use tombolo_tables::build::World;
use tombolo_tables::state::{State, StatePart};

/// IPv4 and IPv6 sessions there are now. Reads the whole index: not for every packet.
pub fn session_count(state: &State) -> (u64, u64) {
    (
        count::<Key4>(state, StatePart::Sessions4),
        count::<Key6>(state, StatePart::Sessions6),
    )
}

/// A part that no worker has laid out yet holds none.
fn count<K: SessionKey>(state: &State, part: StatePart) -> u64 {
    // Each session has a slot per direction.
    tombolo_flow::Sessions::<K>::open(state.part(part)).map_or(0, |table| table.occupancy().0 as u64 / 2)
}

/// At most `limit` sessions, IPv4 first.
pub fn sessions(world: &World, state: &State, limit: usize) -> Sessions {
    let now = monotonic_seconds();
    let mut sessions = Vec::new();
    let v4 = |key: &Key4| {
        (
            key.segment,
            IpAddr::from(Ipv4Addr::from(key.source)),
            IpAddr::from(Ipv4Addr::from(key.destination)),
            key.source_port,
            key.destination_port,
            key.protocol,
        )
    };
    let v6 = |key: &Key6| {
        (
            key.segment,
            IpAddr::from(Ipv6Addr::from(key.source)),
            IpAddr::from(Ipv6Addr::from(key.destination)),
            key.source_port,
            key.destination_port,
            key.protocol,
        )
    };
    list(world, state, StatePart::Sessions4, limit, now, &mut sessions, v4);
    list(world, state, StatePart::Sessions6, limit, now, &mut sessions, v6);
    let (total4, total6) = session_count(state);
    Sessions {
        total: total4 + total6,
        sessions,
    }
}

/// Segment, source, destination, source port, destination port, protocol.
type Tuple = (u16, IpAddr, IpAddr, u16, u16, u8);

fn list<K: SessionKey>(
    world: &World,
    state: &State,
    part: StatePart,
    limit: usize,
    now: u32,
    sessions: &mut Vec<Session>,
    tuple: impl Fn(&K) -> Tuple,
) {
    let Ok(table) = tombolo_flow::Sessions::<K>::open(state.part(part)) else {
        return;
    };
    let views = (0..table.entries()).filter_map(|entry| table.view(entry));
    for view in views.take(limit.saturating_sub(sessions.len())) {
        sessions.push(show(world, &view, now, &tuple));
    }
}

fn show<K>(world: &World, view: &SessionView<K>, now: u32, tuple: &impl Fn(&K) -> Tuple) -> Session {
    let (forward, reverse) = (tuple(&view.forward), tuple(&view.reverse));
    let mirrored = (forward.1, forward.2, forward.3, forward.4) == (reverse.2, reverse.1, reverse.4, reverse.3);
    Session {
        protocol: protocol_name(forward.5),
        forward: endpoints(world, forward),
        reverse: endpoints(world, reverse),
        translated: !mirrored,
        state: phase_name(view.phase).into(),
        idle_seconds: u64::from(now.saturating_sub(view.last_seen)),
    }
}

fn endpoints(world: &World, (segment, source, destination, source_port, destination_port, _): Tuple) -> Endpoints {
    Endpoints {
        segment: segment_name(world, segment),
        source: source.to_string(),
        source_port,
        destination: destination.to_string(),
        destination_port,
    }
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Unreplied => "unreplied",
        Phase::Replied => "replied",
        Phase::SynSent => "syn-sent",
        Phase::SynReceived => "syn-received",
        Phase::Established => "established",
        Phase::FinForward | Phase::FinReverse => "half-closed",
        Phase::FinBoth => "closed",
        Phase::Reset => "reset",
    }
}

/// The clock of `last_seen`: the same in every process of the machine.
fn monotonic_seconds() -> u32 {
    u32::try_from(clock_gettime(ClockId::Monotonic).tv_sec).unwrap_or(u32::MAX)
}

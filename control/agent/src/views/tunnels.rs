//! Tunnels and SAs; keys are left out here, and `tombolo-api` could not hold them.

use super::{segment_name, text};
use crate::ike::followed::followed;
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use tombolo_api::{Ike, Sa, Tunnel};
use tombolo_tables::build::World;
use tombolo_tables::layout::{SaIndex, SaRecord, TunnelRecord, cipher, encapsulation, sa_flag, tunnel_flag, wildcard};
use tombolo_tables::sa_counters;
use tombolo_tables::state::{State, StatePart};
use tombolo_tunnel::replay::Window;
use tombolo_tunnel::sequence::Sequence;

/// Why tunnels are down, by name, as far as control knows.
pub type TunnelNotes = BTreeMap<String, String>;

/// Tunnels with both their SAs.
pub fn tunnels(world: &World, state: &State, notes: &TunnelNotes, ike: &BTreeMap<String, Ike>) -> Vec<Tunnel> {
    let used = (0..)
        .zip(&world.tunnels)
        .filter(|(_, record): &(u32, _)| record.flags & tunnel_flag::ENABLED != 0);
    used.map(|(index, record)| tunnel(world, state, notes, ike.get(&text(&record.name)), (index, record)))
        .collect()
}

fn tunnel(
    world: &World,
    state: &State,
    notes: &TunnelNotes,
    ike: Option<&Ike>,
    (index, record): (u32, &TunnelRecord),
) -> Tunnel {
    let name = text(&record.name);
    let sas = (0..)
        .zip(&world.sas)
        .filter(|(_, sa)| sa.spi != 0 && sa.tunnel == index);
    let lent = record.outbound != wildcard::NONE && lends(state, record.outbound, world);
    let reason = notes.get(&name).cloned().or_else(|| {
        (!lent).then(|| match ike {
            Some(_) => "IKE has not negotiated it".into(),
            None => "no sequence number is leased".into(),
        })
    });
    Tunnel {
        up: lent && !notes.contains_key(&name),
        reason,
        segment: segment_name(world, record.segment),
        local: record.local.to_string(),
        remote: followed(state, index as usize, record)
            .map_or(record.remote, |(address, _)| address)
            .to_string(),
        encapsulation: match record.encapsulation {
            encapsulation::ESP => "none".into(),
            encapsulation::ESP_UDP => "udp".into(),
            other => format!("#{other}"),
        },
        mtu: u32::from(record.mtu),
        sas: sas.map(|(index, record)| sa(state, index, record)).collect(),
        ike: ike.cloned(),
        name,
    }
}

fn lends(state: &State, sa: u32, world: &World) -> bool {
    let esn = world
        .sas
        .get(sa as usize)
        .is_some_and(|record| record.flags & sa_flag::ESN != 0);
    Sequence::at(state.part(StatePart::Sequences), sa as usize).is_some_and(|sequence| sequence.remaining(esn) > 0)
}

fn sa(state: &State, index: usize, record: &SaRecord) -> Sa {
    let inbound = record.flags & sa_flag::INBOUND != 0;
    let esn = record.flags & sa_flag::ESN != 0;
    let sequence = Sequence::at(state.part(StatePart::Sequences), index);
    let window = Window::at(state.part(StatePart::Replay), index, u64::from(record.replay_window));
    let counters = sa_counters::sum(state, SaIndex(index as u32));
    let checked = inbound && record.flags & sa_flag::NO_REPLAY_CHECK == 0;
    Sa {
        direction: if inbound { "inbound".into() } else { "outbound".into() },
        spi: record.spi,
        cipher: match record.cipher {
            cipher::AES_128_GCM => "aes-128-gcm".into(),
            cipher::AES_256_GCM => "aes-256-gcm".into(),
            cipher::CHACHA20_POLY1305 => "chacha20-poly1305".into(),
            other => format!("#{other}"),
        },
        esn,
        sequence: if inbound {
            window.map_or(0, |window| window.highest())
        } else {
            sequence.map_or(0, |sequence| sequence.next())
        },
        leased: (!inbound && record.flags & sa_flag::NEGOTIATED == 0)
            .then(|| sequence.map_or(0, |sequence| sequence.next() + sequence.remaining(esn))),
        replay_window: inbound.then_some(record.replay_window),
        packets: counters.packets,
        bytes: counters.bytes,
        idle_seconds: (counters.last_ms != 0).then(|| now_ms().saturating_sub(counters.last_ms) / 1000),
        authentic: inbound.then_some(counters.authentic),
        // Without a replay check nobody keeps the highest number.
        lost: checked.then(|| window.map_or(0, |window| counters.lost(window.highest()))),
        reordered: checked.then_some(counters.late),
    }
}

/// The clock of `last_ms`: the same in every process of the machine.
fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec * 1000 + now.tv_nsec / 1_000_000).unwrap_or(0)
}

//! The whole state: its size, and a crash between any two steps of a translated session's life.

use super::*;
use crate::mapping::{Inside, PoolView};
use crate::session::{Inserted, NewSession};
use crate::sync::crash::stop_at;
use crate::tcp::protocol;

const LIMITS: FlowLimits = FlowLimits {
    sessions4: 16,
    sessions6: 1,
    mappings4: 16,
    mappings6: 1,
    pool_addresses: 1,
};

#[test]
fn two_million_translated_sessions_fit_in_400_mib() {
    // Every session with a mapping of its own, from half a million hosts, on 64 outside addresses.
    let words = FlowLimits {
        sessions4: 2_000_000,
        sessions6: 1,
        mappings4: 2_500_000,
        mappings6: 1,
        pool_addresses: 64,
    }
    .words();
    let mib = (words.sessions4 + words.mappings4 + words.ports) * 8 / (1 << 20);
    assert!(mib < 400, "{mib} MiB");
}

fn translated(state: &FlowState<'_>, local: &mut WorkerLocal, port: u16, now: u32) {
    let pool = PoolView {
        first: 0xcb00_7101,
        count: 1,
        port_first: 1_024,
        port_last: 2_000,
        sessions_per_host_max: 0,
        row: 0,
    };
    let inside = Inside {
        segment: 1,
        protocol: protocol::UDP,
        address: 0x0a00_0001,
        port,
        pool: 0,
    };
    let binding = state.mappings4.bind(&state.ports, local, &inside, &pool, now).unwrap();
    let forward = Key4 {
        source: inside.address,
        destination: 0xc633_6401,
        source_port: port,
        destination_port: 53,
        protocol: protocol::UDP,
        segment: 1,
    };
    let reverse = Key4 {
        destination: binding.address,
        destination_port: binding.port,
        segment: 2,
        ..forward.swapped()
    };
    let new = NewSession {
        forward,
        reverse,
        next_hop: [1, 2],
        epochs: [1, 1],
        mapping: binding.mapping,
        rule: 0,
        flags: 0,
        tcp_flags: 0,
        adopt: false,
    };
    match state.sessions4.insert(local, &new, now) {
        Ok(Inserted::New(_)) => {}
        Ok(Inserted::Existing(_)) | Err(_) => state.mappings4.release(binding.mapping, now),
    }
}

fn sessions_and_references(state: &FlowState<'_>) -> (u32, u32) {
    let sessions = (0..state.sessions4.entries())
        .filter(|entry| state.sessions4.view(*entry).is_some())
        .count();
    let mappings = (0..state.mappings4.entries()).filter_map(|entry| state.mappings4.view(entry));
    let references = mappings
        .filter(|view| view.inside.protocol != 0)
        .map(|view| view.sessions)
        .sum();
    (sessions as u32, references)
}

#[test]
fn a_stop_at_any_step_keeps_references_equal_to_sessions() {
    for expires in [false, true] {
        let mut at = 0;
        loop {
            let words = LIMITS.words();
            let zeroed = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
            let (sessions4, sessions6) = (zeroed(words.sessions4), zeroed(words.sessions6));
            let (mappings4, mappings6) = (zeroed(words.mappings4), zeroed(words.mappings6));
            let ports = zeroed(words.ports);
            let parts = FlowParts {
                sessions4: &sessions4,
                sessions6: &sessions6,
                mappings4: &mappings4,
                mappings6: &mappings6,
                ports: &ports,
            };
            let state = FlowState::format(parts, &LIMITS, [1, 2]).unwrap();
            let mut local = WorkerLocal::new(0, 1, 1);
            translated(&state, &mut local, 1, 0);
            translated(&state, &mut local, 2, 1_000);
            let finished = stop_at(at, || {
                if expires {
                    state.maintain(&mut local, 1_000, &Timers::default(), 64, |_| None);
                } else {
                    translated(&state, &mut local, 3, 1_000);
                }
            });
            let state = FlowState::open(parts).unwrap();
            let report = state.scrub(1_000);
            let (sessions, references) = sessions_and_references(&state);
            assert_eq!((sessions, references), (report.sessions, sessions), "step {at}");
            assert_eq!(report.orphans, 0);
            assert_eq!(state.scrub(1_000), ScrubReport { sessions, ..report });
            // Everything ends in time, and nothing is left behind.
            let mut local = WorkerLocal::new(0, 1, 1);
            for now in (2_000..2_100).step_by(20) {
                state.maintain(&mut local, now, &Timers::default(), 1_000, |_| None);
            }
            assert_eq!(sessions_and_references(&state), (0, 0));
            assert_eq!(state.ports.taken(0, protocol::UDP), 0);
            if finished.is_some() {
                break;
            }
            at += 1;
        }
        assert!(at >= 4, "{at}");
    }
}

//! Rows of the state region that go with a plan: brought into the state that new records expect, before these are published.

use super::sequences;
use std::sync::atomic::{AtomicU64, Ordering};
use tombolo_planner::{Action, Numbering, Plan};
use tombolo_tables::build::World;
use tombolo_tables::layout::{Address, SaIndex};
use tombolo_tables::sa_counters;
use tombolo_tables::state::{State, StatePart};
use tombolo_tunnel::endpoint::Endpoint;
use tombolo_tunnel::replay::Window;

/// Whether a plan has new SAs. Then no worker may be busy with a generation older than the current one.
pub(super) fn starts_any(plan: &Plan) -> bool {
    plan.actions.iter().any(|action| match action {
        Action::StartOutbound { .. } | Action::StartInbound { .. } => true,
        Action::ResetTunnel { .. } => false,
    })
}

/// Does what the plan asks for. Rows of records in use are not touched: a plan that wants to is refused as a whole, with the reason.
pub(super) fn prepare(state: &State, current: &World, plan: &Plan) -> Result<(), String> {
    for action in &plan.actions {
        if let Action::StartOutbound { sa, tunnel, .. } | Action::StartInbound { sa, tunnel } = action
            && is_in_use(current, &plan.world, *sa)
        {
            return Err(format!("the key of tunnel {tunnel} cannot be replaced in place"));
        }
    }
    plan.actions
        .iter()
        .for_each(|action| perform(state, &plan.world, action));
    Ok(())
}

/// Whether workers may use a row with another key than the new world's: they may still reserve from it, or show it numbers.
fn is_in_use(current: &World, new: &World, sa: SaIndex) -> bool {
    let of = |world: &World| world.sas.get(sa.usize()).copied().filter(|record| record.spi != 0);
    match (of(current), of(new)) {
        (Some(old), Some(new)) => sequences::fingerprint(&old) != sequences::fingerprint(&new),
        (Some(_), None) | (None, _) => false,
    }
}

fn perform(state: &State, new: &World, action: &Action) {
    match action {
        Action::StartOutbound { sa, numbering, .. } => {
            sa_counters::reset(state, *sa);
            match numbering {
                Numbering::Leased => sequences::stop(state, sa.usize()),
                Numbering::FromOne => sequences::start_from_one(state, sa.usize()),
            }
        }
        Action::StartInbound { sa, tunnel: _ } => {
            sa_counters::reset(state, *sa);
            if let Some(window) = Window::at(state.part(StatePart::Replay), sa.usize(), 64) {
                window.reset();
            }
        }
        Action::ResetTunnel { tunnel } => {
            zero(state.part(StatePart::TunnelMtu), tunnel.usize(), 1);
            let record = new.tunnels.get(tunnel.usize());
            if let Some(endpoint) = Endpoint::at(state.part(StatePart::Endpoints), tunnel.usize()) {
                // Where workers have followed the peer already is where they stay.
                let seen = endpoint.read().map(|seen| (Address(seen.address), seen.port));
                if seen.is_none() || seen != record.map(|record| (record.remote, record.remote_port)) {
                    endpoint.write(None);
                }
            }
        }
    }
}

fn zero(part: &[AtomicU64], row: usize, words: usize) {
    let start = row.saturating_mul(words);
    for word in part.get(start..start.saturating_add(words)).unwrap_or_default() {
        word.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ike::followed::followed;
    use std::collections::BTreeMap;
    use std::net::IpAddr;
    use tombolo_config::sa_file::Cipher;
    use tombolo_planner::{Learned, Link, Negotiated, NegotiatedSa, OuterPath, SaSecret, SelectorPair, UdpPorts, plan};
    use tombolo_tables::layout::tunnel_flag;
    use tombolo_tables::region::{HugePages, Region};
    use tombolo_tunnel::endpoint::Seen;
    use tombolo_tunnel::sequence::Sequence;

    const GATEWAY: &str = include_str!("../../../config/examples/gw-a.yaml");

    fn sa(number: u8) -> NegotiatedSa {
        let (first, last): (IpAddr, IpAddr) = ([0; 4].into(), [255; 4].into());
        NegotiatedSa {
            child: "net".into(),
            worker: None,
            spi: 0x1000 + u32::from(number),
            secret: SaSecret::new(Cipher::Aes128Gcm, &[number; 16], [number; 4]).unwrap(),
            esn: false,
            selectors: vec![SelectorPair {
                local: (first, last),
                remote: (first, last),
            }],
        }
    }

    fn planned(previous: &Plan, inbound: &[u8], outbound: u8) -> Plan {
        let path = OuterPath {
            local: [192, 0, 2, 1].into(),
            remote: [198, 51, 100, 1].into(),
            udp: None,
            follow: false,
        };
        planned_to(path, previous, inbound, outbound)
    }

    fn planned_to(path: OuterPath, previous: &Plan, inbound: &[u8], outbound: u8) -> Plan {
        let desired = tombolo_config::parse(GATEWAY, "tombolo.yaml").expect("the example is right");
        let negotiated = Negotiated {
            path,
            inbound: inbound.iter().copied().map(sa).collect(),
            outbound: vec![sa(outbound)],
        };
        let learned = Learned {
            links: BTreeMap::<String, Link>::new(),
            negotiated: BTreeMap::from([("prod-to-b".to_owned(), negotiated)]),
            ..Learned::default()
        };
        plan(&desired, &learned, &previous.indices).expect("it follows")
    }

    fn state() -> State {
        let desired = tombolo_config::parse(GATEWAY, "tombolo.yaml").expect("the example is right");
        let spec = crate::regions::spec(crate::regions::limits(&desired));
        State::create(Region::create("test", spec.bytes(), HugePages::Never).unwrap(), &spec).unwrap()
    }

    fn row(plan: &Plan, spi: u32) -> SaIndex {
        plan.sas.iter().find(|sa| sa.spi == spi).expect("it was planned").sa
    }

    fn window(state: &State, sa: SaIndex) -> Window<'_> {
        Window::at(state.part(StatePart::Replay), sa.usize(), 64).unwrap()
    }

    fn sequence(state: &State, sa: SaIndex) -> Sequence<'_> {
        Sequence::at(state.part(StatePart::Sequences), sa.usize()).unwrap()
    }

    #[test]
    fn a_rekey_starts_new_rows_and_leaves_old_ones_alone() {
        let state = state();
        let before = planned(&Plan::default(), &[1], 101);
        prepare(&state, &World::default(), &before).unwrap();
        let (old_in, old_out) = (row(&before, 0x1001), row(&before, 0x1065));
        assert!(window(&state, old_in).accept(40));
        assert_eq!(sequence(&state, old_out).reserve(3, false), 1..4);
        let steps = [(vec![1, 2], 101), (vec![1, 2], 102), (vec![2], 102)];
        let mut last = before;
        for (inbound, outbound) in steps {
            let next = planned(&last, &inbound, outbound);
            prepare(&state, &last.world, &next).unwrap();
            last = next;
        }
        assert!(!window(&state, old_in).accept(40), "seen before");
        assert_eq!(sequence(&state, old_out).next(), 4);
        let (new_in, new_out) = (row(&last, 0x1002), row(&last, 0x1066));
        assert!(window(&state, new_in).accept(1));
        assert_eq!(sequence(&state, new_out).reserve(1, false), 1..2);
        assert_eq!(sequence(&state, new_out).remaining(false), (1 << 32) - 2);
    }

    #[test]
    fn a_row_in_use_is_nobody_elses() {
        let state = state();
        let before = planned(&Plan::default(), &[1], 101);
        prepare(&state, &World::default(), &before).unwrap();
        sequence(&state, row(&before, 0x1065)).reserve(5, false);
        window(&state, row(&before, 0x1001)).accept(9);
        // Planned as if nothing were there: the same rows for other keys.
        let clash = planned(&Plan::default(), &[2], 102);
        assert_eq!(row(&clash, 0x1066), row(&before, 0x1065));
        assert!(
            prepare(&state, &before.world, &clash)
                .unwrap_err()
                .contains("prod-to-b")
        );
        assert_eq!(sequence(&state, row(&before, 0x1065)).next(), 6, "nothing was touched");
        assert_eq!(window(&state, row(&before, 0x1001)).highest(), 9);
    }

    /// Brings the state into a plan's with the peer behind that UDP port, and says where workers are to seal for.
    fn publish(state: &State, last: &mut Plan, remote_port: u16) -> Option<(Address, u16)> {
        let path = OuterPath {
            local: [192, 0, 2, 1].into(),
            remote: [198, 51, 100, 1].into(),
            udp: Some(UdpPorts {
                local: 4500,
                remote: remote_port,
            }),
            follow: true,
        };
        let next = planned_to(path, last, &[1], 101);
        prepare(state, &last.world, &next).unwrap();
        *last = next;
        followed(state, 0, &last.world.tunnels[0])
    }

    #[test]
    fn where_workers_followed_a_peer_to_outlives_plans_that_know_it_or_nothing_new() {
        let (state, mut last) = (state(), Plan::default());
        let endpoint = Endpoint::at(state.part(StatePart::Endpoints), 0).unwrap();
        let seen = |port| Seen {
            address: Address::from(IpAddr::from([198, 51, 100, 1])).0,
            port,
        };
        assert_eq!(publish(&state, &mut last, 4500), None);
        endpoint.write(Some(seen(31_000)));
        let there = Some((Address(seen(1).address), 31_000));
        assert_eq!(publish(&state, &mut last, 4500), there, "nothing new");
        assert_eq!(publish(&state, &mut last, 31_000), None, "the plan knows it");
        assert_eq!(endpoint.read(), Some(seen(31_000)), "and leaves it");
        assert_eq!(
            publish(&state, &mut last, 32_000),
            None,
            "the key exchange knows better"
        );
        assert_eq!(endpoint.read(), None);
        endpoint.write(Some(seen(33_000)));
        let mut still = last.world.tunnels[0];
        still.flags &= !tunnel_flag::FOLLOWS;
        assert_eq!(followed(&state, 0, &still), None);
    }
}

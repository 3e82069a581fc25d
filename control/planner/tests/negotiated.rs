//! Tunnels that IKEv2 keys: what each list leads to, and what a rekey leaves alone.

mod support;

use core::net::IpAddr;
use std::collections::BTreeMap;
use support::{GATEWAY_A, address, first, next};
use tombolo_config::sa_file::Cipher;
use tombolo_planner::{
    Action, Indices, Negotiated, NegotiatedSa, Numbering, OuterPath, Plan, PlannedSa, SaSecret, SelectorPair, UdpPorts,
};
use tombolo_tables::layout::{NextHop, SaIndex, SaRecord, encapsulation, sa_flag, tunnel_flag, wildcard};

const TUNNEL: &str = "prod-to-b";

fn all() -> Vec<SelectorPair> {
    let pair = |first: &str, last: &str| {
        let ends = (address(first), address(last));
        SelectorPair {
            local: ends,
            remote: ends,
        }
    };
    vec![
        pair("0.0.0.0", "255.255.255.255"),
        pair("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ]
}

/// An SA whose key and SPI depend on `number` alone.
fn sa(number: u8) -> NegotiatedSa {
    NegotiatedSa {
        child: "net".into(),
        worker: None,
        spi: 0x1000 + u32::from(number),
        secret: SaSecret::new(Cipher::Aes256Gcm, &[number; 32], [number; 4]).unwrap(),
        esn: true,
        selectors: all(),
    }
}

fn path(remote: &str, udp: Option<u16>) -> OuterPath {
    OuterPath {
        local: address("192.0.2.1"),
        remote: address(remote),
        udp: udp.map(|remote| UdpPorts { local: 4500, remote }),
        follow: udp.is_some(),
    }
}

fn negotiated(inbound: &[u8], outbound: &[u8]) -> Negotiated {
    Negotiated {
        path: path("198.51.100.1", None),
        inbound: inbound.iter().copied().map(sa).collect(),
        outbound: outbound.iter().copied().map(sa).collect(),
    }
}

fn plan(previous: &Plan, negotiated: &Negotiated) -> Plan {
    let plan = next(GATEWAY_A, previous, |learned| {
        learned.negotiated.insert(TUNNEL.into(), negotiated.clone());
    });
    plan.world.build().expect("what is planned can be built");
    plan
}

/// The records of the tunnel, by direction and SPI.
fn records(plan: &Plan) -> BTreeMap<(bool, u32), (SaIndex, SaRecord)> {
    let of = |sa: &PlannedSa| ((sa.inbound, sa.spi), (sa.sa, plan.world.sas[sa.sa.usize()]));
    plan.sas.iter().filter(|sa| sa.tunnel == TUNNEL).map(of).collect()
}

fn outbound_spi(plan: &Plan) -> Option<u32> {
    let outbound = plan.world.tunnels[0].outbound;
    (outbound != wildcard::NONE).then(|| plan.world.sas[outbound as usize].spi)
}

#[test]
fn a_negotiated_tunnel_begins_at_one_and_its_file_is_not_used() {
    let before = first(GATEWAY_A);
    let plan = plan(&before, &negotiated(&[1], &[101]));
    let records = records(&plan);
    assert_eq!(records.keys().collect::<Vec<_>>(), [&(false, 0x1065), &(true, 0x1001)]);
    let (outbound, inbound) = (records[&(false, 0x1065)], records[&(true, 0x1001)]);
    let flags = sa_flag::ESN | sa_flag::NEGOTIATED | sa_flag::WIDE_PEER_WINDOW;
    assert_eq!(
        (outbound.1.flags, inbound.1.flags),
        (flags, flags | sa_flag::INBOUND),
        "neither is leased"
    );
    assert_eq!(
        plan.actions,
        [
            Action::StartOutbound {
                sa: outbound.0,
                tunnel: TUNNEL.into(),
                numbering: Numbering::FromOne
            },
            Action::StartInbound {
                sa: inbound.0,
                tunnel: TUNNEL.into()
            },
        ]
    );
    assert_eq!(plan.warnings, Vec::<String>::new());
}

#[test]
fn a_rekey_is_make_before_break_and_leaves_alone_what_stays() {
    let mut plans = vec![plan(&first(GATEWAY_A), &negotiated(&[1], &[101]))];
    let steps = [
        negotiated(&[1, 2], &[101]),
        negotiated(&[1, 2], &[102]),
        negotiated(&[2], &[102]),
        negotiated(&[2, 3], &[102]),
        negotiated(&[2, 3], &[103]),
        negotiated(&[3], &[103]),
        negotiated(&[3, 4], &[104]),
        negotiated(&[4], &[104]),
    ];
    for step in steps {
        let before = plans.last().unwrap();
        let after = plan(before, &step);
        let (old, new) = (records(before), records(&after));
        for (sa, record) in &new {
            match old.get(sa) {
                Some(known) => assert!(known == record, "{sa:?} stays as it was"),
                None => {
                    let row = record.0;
                    let free = before.world.sas.get(row.usize()).is_none_or(|record| record.spi == 0);
                    assert!(free, "{sa:?} takes no row that is in use");
                    let starts = |action: &&Action| match action {
                        Action::StartOutbound { sa, .. } | Action::StartInbound { sa, .. } => *sa == row,
                        Action::ResetTunnel { .. } => false,
                    };
                    assert_eq!(after.actions.iter().filter(starts).count(), 1);
                }
            }
        }
        let started = new.keys().filter(|sa| !old.contains_key(sa)).count();
        assert_eq!(after.actions.len(), started, "{:?}", after.actions);
        assert_eq!(outbound_spi(&after), step.outbound.first().map(|sa| sa.spi));
        assert_eq!(new.len(), step.inbound.len() + step.outbound.len());
        let (a, b) = (support::epochs(before), support::epochs(&after));
        assert_eq!(a, b, "a rekey makes nothing stale");
        plans.push(after);
    }
}

#[test]
fn an_outbound_key_that_was_gone_for_a_moment_goes_on_where_it_was() {
    let up = plan(&first(GATEWAY_A), &negotiated(&[1], &[101]));
    let down = plan(&up, &negotiated(&[1], &[]));
    assert_eq!(outbound_spi(&down), None);
    let names = down.world.names.clone();
    let mut restarted = down.clone();
    restarted.indices = Indices::from_names(&names).unwrap();
    for previous in [&down, &restarted] {
        let again = plan(previous, &negotiated(&[1], &[101]));
        assert_eq!(again.world.tunnels[0].outbound, up.world.tunnels[0].outbound);
        assert_eq!(again.actions, [], "its numbers are not started again");
    }
}

#[test]
fn without_sas_the_tunnel_is_down_and_its_routes_stay() {
    let up = plan(&first(GATEWAY_A), &negotiated(&[1], &[101]));
    let down = plan(&up, &negotiated(&[], &[]));
    assert_eq!(outbound_spi(&down), None);
    assert_eq!(down.world.routes, up.world.routes);
    assert_eq!(records(&down).len(), 0);
}

#[test]
fn the_learned_path_is_the_tunnels() {
    let mut learned = negotiated(&[1], &[101]);
    let here = plan(&first(GATEWAY_A), &learned);
    learned.path = path("203.0.113.7", Some(31_000));
    let there = plan(&here, &learned);
    let tunnel = there.world.tunnels[0];
    assert_eq!(IpAddr::from(tunnel.remote), address("203.0.113.7"));
    assert_eq!(
        (tunnel.encapsulation, tunnel.local_port, tunnel.remote_port),
        (encapsulation::ESP_UDP, 4500, 31_000)
    );
    assert!(matches!(
        NextHop::from_bits(tunnel.underlay_next_hop),
        NextHop::Neighbour(_)
    ));
    assert_ne!(tunnel.flags & tunnel_flag::FOLLOWS, 0);
    assert_eq!(here.world.tunnels[0].flags & tunnel_flag::FOLLOWS, 0);
    assert!(tunnel.mtu < here.world.tunnels[0].mtu, "UDP takes room");
    assert!(
        matches!(there.actions[..], [Action::ResetTunnel { .. }]),
        "{:?}",
        there.actions
    );
    assert!(records(&there) == records(&here), "the SAs stay");
    // On the uplink's own link: a neighbour that is to be resolved.
    learned.path = path("192.0.2.77", Some(4500));
    let near = plan(&there, &learned);
    let NextHop::Neighbour(host) = NextHop::from_bits(near.world.tunnels[0].underlay_next_hop) else {
        panic!("a neighbour")
    };
    assert_eq!(
        IpAddr::from(near.world.neighbours[host.usize()].address),
        address("192.0.2.77")
    );
    assert!(
        near.kernel
            .neighbours
            .iter()
            .any(|host| host.address == address("192.0.2.77")),
        "the kernel is asked to find it"
    );
}

#[test]
fn what_cannot_be_right_is_left_out_with_a_warning_and_takes_nothing_with_it() {
    let before = first(GATEWAY_A);
    let good = negotiated(&[1], &[101]);
    let check = |change: &dyn Fn(&mut Negotiated), left: usize, says: &str| {
        let mut list = good.clone();
        change(&mut list);
        let plan = plan(&before, &list);
        assert_eq!(records(&plan).len(), left, "{says}");
        assert!(
            plan.warnings.iter().any(|warning| warning.contains(says)),
            "{says}: {:?}",
            plan.warnings
        );
        let other = plan.world.tunnels[1].outbound;
        assert_ne!(other, wildcard::NONE, "the other tunnel is up");
    };
    check(&|list| list.path.local = address("192.0.2.9"), 0, "none of its port's");
    check(&|list| list.path.remote = address("2001:db8::9"), 0, "two families");
    check(&|list| list.path.remote = address("0.0.0.0"), 0, "nobody's");
    check(&|list| list.inbound[0].spi = 255, 1, "is reserved");
    check(&|list| list.inbound.push(sa(1)), 2, "another inbound SA's");
    check(
        &|list| {
            let mut twin = sa(101);
            twin.spi += 1;
            list.outbound.push(twin);
        },
        2,
        "the key of another outbound SA",
    );
    check(
        &|list| list.inbound[0].selectors[0].local.0 = address("::"),
        1,
        "two families in one pair",
    );
    check(
        &|list| list.outbound[0].selectors[0].local = (address("10.0.0.2"), address("10.0.0.1")),
        1,
        "none between their ends",
    );
}

#[test]
fn with_no_room_what_is_there_stays_and_what_is_new_is_missing() {
    let text = format!("{GATEWAY_A}\nlimits: {{ tunnels: 2 }}\n");
    let room = support::gateway(&text).limits.sas as usize;
    let list = |inbound: u8| negotiated(&(1..=inbound).collect::<Vec<_>>(), &[101]);
    let plan = |previous: &Plan, list: &Negotiated| {
        let plan = next(&text, previous, |learned| {
            learned.sa_keys.clear();
            learned.negotiated.insert(TUNNEL.into(), list.clone());
        });
        plan.world.build().expect("what is planned can be built");
        plan
    };
    let full = plan(&first(&text), &list(room as u8 - 5));
    let over = plan(&full, &list(room as u8 + 3));
    assert!(over.world.sas.len() <= room);
    let (old, new) = (records(&full), records(&over));
    assert!(old.iter().all(|(sa, record)| new.get(sa) == Some(record)));
    assert!(new.len() < room + 4);
    assert!(
        over.warnings.iter().any(|warning| warning.contains("no free SA")),
        "{:?}",
        over.warnings
    );
    assert_eq!(outbound_spi(&over), Some(sa(101).spi));
    // No row passes from one key to another in one step, even where there is no other.
    let swapped = plan(&over, &negotiated(&[201, 202], &[203]));
    for (sa, (row, _)) in records(&swapped) {
        let taken = over.world.sas.get(row.usize()).is_some_and(|old| old.spi != 0);
        assert!(!taken, "{sa:?}");
    }
    let later = plan(&swapped, &negotiated(&[201, 202], &[203]));
    assert_eq!(records(&later).len(), 3, "{:?}", later.warnings);
}

#[test]
fn several_outbound_sas_are_tried_child_by_child_and_a_workers_own_first() {
    let number = |number: u8, child: &str, worker: Option<u16>| NegotiatedSa {
        child: child.into(),
        worker,
        ..sa(number)
    };
    let mut list = negotiated(&[1], &[]);
    list.outbound = vec![
        number(101, "one", None),
        number(102, "two", None),
        number(103, "one", Some(1)),
        number(104, "one", Some(0)),
    ];
    let plan = plan(&first(GATEWAY_A), &list);
    let tunnel = plan.world.tunnels[0];
    assert_ne!(tunnel.flags & tunnel_flag::CHOOSES, 0);
    let mut next = tunnel.outbound;
    let mut order = Vec::new();
    while next != wildcard::NONE {
        let record = plan.world.sas[next as usize];
        let own = record.flags & sa_flag::OWN_WORKER != 0;
        order.push((record.spi - 0x1000, own.then_some(record.sealing_worker)));
        next = record.next;
    }
    assert_eq!(order, [(103, Some(1)), (104, Some(0)), (101, None), (102, None)]);
}

#[test]
fn one_sa_for_everything_is_not_chosen_and_a_narrow_one_is() {
    let mut list = negotiated(&[1], &[101]);
    let before = first(GATEWAY_A);
    let chooses = |list: &Negotiated| plan(&before, list).world.tunnels[0].flags & tunnel_flag::CHOOSES != 0;
    assert!(!chooses(&list));
    list.outbound[0].selectors.pop();
    assert!(chooses(&list), "IPv6 has no way");
    list = negotiated(&[1], &[101]);
    list.outbound[0].selectors[0].remote.1 = address("10.255.255.255");
    assert!(chooses(&list));
    list = negotiated(&[1], &[101]);
    list.outbound[0].worker = Some(0);
    assert!(chooses(&list), "the other workers have none");
}

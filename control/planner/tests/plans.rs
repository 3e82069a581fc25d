//! What must and must not follow from a change.

mod support;

use core::net::Ipv6Addr;
use support::{GATEWAY_A, address, epochs, first, gateway, learned, link, next};
use tombolo_planner::{Action, Indices, Learned, Neighbour, Plan, neighbour_changes, plan};
use tombolo_tables::build::{Compiler, Route};
use tombolo_tables::layout::{Address, NextHop, PortIndex, SegmentIndex, neighbour_state, wildcard};

fn route(plan: &Plan, segment: u16, to: &str) -> NextHop {
    let (address, length) = to.split_once('/').unwrap();
    let (prefix, length): (Address, u8) = (self::address(address).into(), length.parse().unwrap());
    let matches =
        |route: &&Route| route.segment == SegmentIndex(segment) && route.prefix == prefix && route.length == length;
    plan.world
        .routes
        .iter()
        .find(matches)
        .map(|route| route.next_hop)
        .unwrap()
}

#[test]
fn same_arguments_same_plan_and_a_second_plan_changes_nothing() {
    let (one, two) = (first(GATEWAY_A), first(GATEWAY_A));
    assert!(one.world.build().unwrap() == two.world.build().unwrap());
    assert_eq!(one.warnings, Vec::<String>::new());
    let again = next(GATEWAY_A, &one, |_| {});
    assert!(
        one.world.build().unwrap() == again.world.build().unwrap(),
        "the same world must be the same generation"
    );
    assert_eq!((again.actions.len(), &again.indices), (0, &one.indices));
}

#[test]
fn routes_lead_where_the_configuration_says() {
    let plan = first(GATEWAY_A);
    assert_eq!(route(&plan, 0, "10.1.0.1/32"), NextHop::Local(PortIndex(0)));
    assert_eq!(route(&plan, 0, "10.1.0.0/24"), NextHop::OnLink(PortIndex(0)));
    assert!(matches!(route(&plan, 0, "10.2.0.0/24"), NextHop::Tunnel(index) if index.0 == 0));
    assert_eq!(route(&plan, 0, "10.1.1.0/24"), NextHop::Segment(SegmentIndex(1)));
    let NextHop::Neighbour(router) = route(&plan, 2, "0.0.0.0/0") else {
        panic!("a router")
    };
    let record = plan.world.neighbours[router.usize()];
    assert_eq!(
        (record.state, record.mac),
        (neighbour_state::REACHABLE, [2, 0, 0, 0, 0, 0xfe])
    );
    let tunnel = plan.world.tunnels[0];
    assert_eq!(NextHop::from_bits(tunnel.underlay_next_hop), NextHop::Neighbour(router));
    assert_eq!(
        plan.world.tunnels.iter().map(|tunnel| tunnel.mtu).collect::<Vec<_>>(),
        [1446, 1418]
    );
}

#[test]
fn a_tunnel_without_keys_stays_and_seals_nothing() {
    let before = first(GATEWAY_A);
    let after = next(GATEWAY_A, &before, |learned| drop(learned.sa_keys.remove("prod-to-b")));
    assert!(matches!(route(&after, 0, "10.2.0.0/24"), NextHop::Tunnel(index) if index.0 == 0));
    assert_eq!(after.world.tunnels[0].outbound, wildcard::NONE);
    assert!(after.warnings.iter().any(|warning| warning.contains("prod-to-b")));
    assert_eq!(epochs(&after), epochs(&before));
    assert!(after.world.build().is_ok());
}

#[test]
fn keys_used_twice_take_the_second_tunnel_down() {
    let plan = next(GATEWAY_A, &first(GATEWAY_A), |learned| {
        drop(learned.sa_keys.insert("dev-to-b".into(), support::keys(1)));
    });
    let up: Vec<bool> = plan
        .world
        .tunnels
        .iter()
        .map(|tunnel| tunnel.outbound != wildcard::NONE)
        .collect();
    assert_eq!(up, [true, false], "one nonce would be used twice");
    assert!(plan.world.build().is_ok());
}

#[test]
fn a_new_key_gets_a_new_row_and_the_tunnel_keeps_its_index() {
    let before = first(GATEWAY_A);
    let after = next(GATEWAY_A, &before, |learned| {
        drop(learned.sa_keys.insert("prod-to-b".into(), support::keys(77)))
    });
    let (old, new) = (before.world.tunnels[0].outbound, after.world.tunnels[0].outbound);
    assert_ne!(old, new);
    let started = |action: &Action| matches!(action, Action::StartOutbound { sa, tunnel, .. } if sa.0 == new && tunnel == "prod-to-b");
    assert!(after.actions.iter().any(started));
    assert_eq!(
        after.actions.len(),
        2,
        "both directions of one tunnel, and nothing else: {:?}",
        after.actions
    );
    assert_eq!(epochs(&after), epochs(&before), "a rekey makes nothing stale");
}

#[test]
fn neighbours_and_links_move_no_epoch() {
    let before = first(GATEWAY_A);
    let after = next(GATEWAY_A, &before, |learned| {
        learned.links.insert("prod0".into(), link(40));
        learned.links.remove("dev0");
        learned.neighbours.clear();
        let host = ("cloud-prod".to_owned(), address("10.1.0.10"));
        learned.requested.insert(host.clone());
        learned.neighbours.insert(host, Neighbour::Failed);
    });
    assert_eq!(epochs(&after), epochs(&before));
    let states: Vec<u8> = after.world.neighbours.iter().map(|record| record.state).collect();
    assert_eq!(
        states,
        [
            neighbour_state::UNRESOLVED,
            neighbour_state::UNRESOLVED,
            neighbour_state::FAILED
        ]
    );
    assert!(after.world.build().is_ok());
}

#[test]
fn answers_of_neighbours_change_a_world_as_a_plan_would() {
    let host = ("cloud-prod".to_owned(), address("10.1.0.10"));
    let ask = |learned: &mut Learned| {
        learned.requested.insert(host.clone());
    };
    let mut before = next(GATEWAY_A, &first(GATEWAY_A), ask);
    let router = ("uplink".to_owned(), address("192.0.2.254"));
    let answers = [
        vec![(&host, Neighbour::Reachable([2, 0, 0, 0, 0, 1]))],
        vec![
            (&host, Neighbour::Reachable([2, 0, 0, 0, 0, 2])),
            (&router, Neighbour::Failed),
        ],
        vec![(&host, Neighbour::Failed)],
        vec![],
    ];
    let mut compiler = Compiler::default();
    compiler.build(&before.world).unwrap();
    for answers in answers {
        let mut learned = None;
        let after = next(GATEWAY_A, &before, |all| {
            ask(all);
            all.neighbours = answers
                .into_iter()
                .map(|(host, answer)| (host.clone(), answer))
                .collect();
            learned = Some(all.clone());
        });
        let changes = neighbour_changes(&before.world, &learned.unwrap());
        assert!(!changes.is_empty());
        assert_eq!(after.indices, before.indices);
        assert_eq!((&after.kernel, &after.actions), (&before.kernel, &vec![]));
        let changed = compiler.change(&changes).unwrap();
        assert!(*changed == *Compiler::default().build(&after.world).unwrap());
        before = after;
    }
}

#[test]
fn policy_moves_the_epochs_of_its_segments_only() {
    let before = first(GATEWAY_A);
    let text = GATEWAY_A.replace("  - { name: dev-out, from: dev, to: internet, action: allow }\n", "");
    assert_ne!(text, GATEWAY_A);
    let (old, new) = (epochs(&before), epochs(&next(&text, &before, |_| {})));
    assert_eq!(old["prod"], new["prod"]);
    assert_eq!((old["dev"] + 1, old["internet"] + 1), (new["dev"], new["internet"]));
}

#[test]
fn routes_and_nat_ranges_move_epochs() {
    let before = first(GATEWAY_A);
    let route = GATEWAY_A.replace("\"fd00:2::/64\", segment", "\"fd00:2::/65\", segment");
    assert_ne!(route, GATEWAY_A);
    let (old, new) = (epochs(&before), epochs(&next(&route, &before, |_| {})));
    assert_eq!(
        (old["prod"], old["dev"] + 1, old["internet"]),
        (new["prod"], new["dev"], new["internet"])
    );
    let nat = GATEWAY_A.replace("nat-ports: 20000-29999", "nat-ports: 20000-29998");
    let after = next(&nat, &before, |_| {});
    assert!(epochs(&after).iter().all(|(name, epoch)| *epoch == old[name] + 1));
    // What still maps through the old range names the old index: nobody else's may have it at once.
    let used = |plan: &Plan| -> Vec<usize> {
        let pools = plan.world.pools.iter().enumerate();
        pools
            .filter(|(_, pool)| pool.first != Ipv6Addr::UNSPECIFIED.into())
            .map(|(index, _)| index)
            .collect()
    };
    let (old, new) = (used(&before), used(&after));
    assert_eq!((old.len(), new.len()), (2, 2));
    assert!(new.iter().all(|index| !old.contains(index)), "{old:?} {new:?}");
    // The ports of the address that it holds are free in no other pool.
    let rows = |plan: &Plan, used: &[usize]| -> Vec<u32> { used.iter().map(|at| plan.world.pools[*at].row).collect() };
    assert_eq!(rows(&after, &new), rows(&before, &old));
}

/// Gateway A with a pool for prod besides the ports' own addresses.
fn with_pool(range: &str) -> String {
    let text = GATEWAY_A.replacen(
        "    - { from: prod, to: internet, address: port }",
        &format!("    - {{ from: prod, to: internet, address: {range} }}"),
        1,
    );
    assert_ne!(text, GATEWAY_A);
    text
}

fn pool(plan: &Plan, first: &str) -> (usize, u32) {
    let first = Address::from(address(first));
    let found = plan.world.pools.iter().position(|pool| pool.first == first);
    let at = found.unwrap_or_else(|| panic!("no pool from {first} on"));
    (at, plan.world.pools[at].row)
}

#[test]
fn a_pools_place_is_given_on_when_its_mappings_are_gone_and_not_before() {
    let before = first(&with_pool("203.0.113.8-203.0.113.47"));
    let own = pool(&before, "192.0.2.1");
    let (old, row) = pool(&before, "203.0.113.8");
    let without = next(GATEWAY_A, &before, |_| {});
    assert_eq!(pool(&without, "192.0.2.1"), own);
    assert_eq!(without.indices.resting_pools().collect::<Vec<_>>(), [old as u32]);
    let other = with_pool("198.18.0.8-198.18.0.47");
    let desired = gateway(&other);
    let refused = |previous: &Indices| {
        plan(&desired, &learned(&desired), previous)
            .err()
            .map(|refused| refused.to_string())
    };
    for indices in [
        &before.indices,
        &without.indices,
        &Indices::from_names(&without.world.names).unwrap(),
    ] {
        let why = refused(indices).expect("two times 40 of 64");
        assert!(
            why.contains("198.18.0.8") && why.contains("limits: { pool-addresses"),
            "{why}"
        );
    }
    let drained = |learned: &mut tombolo_planner::Learned| learned.drained_pools = [old as u32].into();
    let given = next(&other, &without, drained);
    assert_eq!(pool(&given, "198.18.0.8"), (old, row));
    assert_eq!(pool(&given, "192.0.2.1"), own);
    let back = next(&with_pool("203.0.113.8-203.0.113.47"), &without, |_| {});
    assert_eq!(pool(&back, "203.0.113.8"), (old, row));
    assert!(back.world.build().is_ok());
}

#[test]
fn indices_outlive_the_process_and_segments_keep_theirs() {
    let before = first(GATEWAY_A);
    assert_eq!(Indices::from_names(&before.world.names).as_ref(), Ok(&before.indices));
    assert!(Indices::from_names("{}").is_err());
    let reordered = GATEWAY_A.replace(
        "{ prod: {}, dev: {}, internet: {} }",
        "{ internet: {}, dev: {}, prod: {}, more: {} }",
    );
    let after = next(&reordered, &before, |_| {});
    assert_eq!(epochs(&after).len(), 4);
    for (index, segment) in before.world.segments.iter().enumerate() {
        assert_eq!(after.world.segments[index].name, segment.name);
        assert_eq!(after.world.segments[index].epoch, segment.epoch);
    }
}

#[test]
fn a_removed_port_leaves_a_world_that_builds() {
    let before = first(GATEWAY_A);
    let text = "gateway: gw-a\nsegments: { internet: {} }\nports: { uplink: { device: up0, segment: internet, underlay: true, addresses: [192.0.2.1/24] } }";
    let after = next(text, &before, |_| {});
    assert_eq!(after.world.ports.len(), 3, "the uplink keeps its index");
    assert_eq!(after.world.ports[0].ifindex, 0);
    assert!(after.world.build().is_ok());
}

#[test]
fn strangers_cannot_fill_the_table_of_neighbours() {
    let desired = gateway(&GATEWAY_A.replace("workers: 2", "workers: 2\nlimits: { neighbours: 64 }"));
    let mut learned = learned(&desired);
    for host in 2..255 {
        learned
            .requested
            .insert(("cloud-prod".into(), address(&format!("10.1.0.{host}"))));
        learned
            .requested
            .insert(("cloud-prod".into(), address(&format!("172.16.0.{host}"))));
        learned
            .requested
            .insert(("nowhere".into(), address(&format!("10.1.0.{host}"))));
    }
    let plan = plan(&desired, &learned, &Indices::default()).unwrap();
    assert_eq!(plan.world.neighbours.len(), 64);
    let foreign = |entry: &&tombolo_planner::kernel::ManagedNeighbour| entry.address.to_string().starts_with("172.");
    assert_eq!(plan.kernel.neighbours.iter().find(foreign), None);
    assert!(
        matches!(route(&plan, 2, "0.0.0.0/0"), NextHop::Neighbour(_)),
        "routers come first"
    );
}

#[test]
fn kernel_replies_of_a_cloud_port_go_through_its_tap_and_those_of_the_uplink_do_not() {
    let plan = first(GATEWAY_A);
    let table = |source: &str| {
        plan.kernel
            .rules
            .iter()
            .find(|rule| rule.source == address(source))
            .unwrap()
            .table
    };
    let devices = |table: u32| -> Vec<&str> {
        plan.kernel
            .routes
            .iter()
            .filter(|route| route.table == table)
            .map(|route| route.device.as_str())
            .collect()
    };
    assert_eq!(devices(table("10.1.0.1")), ["tombolo0", "tombolo0"]);
    assert_eq!(devices(table("fd00:1:1::1")), ["tombolo1", "tombolo1"]);
    assert!(devices(table("192.0.2.1")).iter().all(|device| *device == "up0"));
    assert_eq!(devices(table("192.0.2.1")).len(), 4);
}

#[test]
fn the_kernels_side_of_a_vlan_port_is_a_tap_of_its_own() {
    let text = GATEWAY_A.replacen("device: prod0,", "device: prod0, vlan: 100,", 1);
    assert_ne!(text, GATEWAY_A);
    let plan = next(&text, &first(GATEWAY_A), |learned| {
        learned.links.insert("tombolo0.100".into(), link(9));
    });
    let bears = |device: &str| plan.kernel.addresses.iter().any(|own| own.device == device);
    assert!(bears("tombolo0.100") && bears("dev0") && !bears("prod0") && !bears("prod0.100"));
    assert!(
        plan.kernel.up.contains("prod0"),
        "the trunk itself is set up: {:?}",
        plan.kernel.up
    );
    let tap = |device: &str| plan.kernel.taps.iter().find(|tap| tap.device == device).unwrap();
    let (own_link, journey) = (tap("tombolo0.100"), tap("tombolo0"));
    assert_eq!((own_link.arp, journey.arp), (true, false));
    assert_eq!((own_link.mac, own_link.mtu), (link(2).mac, 1500));
    let own = |address: &str| {
        let own = plan.world.own_addresses.iter();
        own.filter(|own| own.port == 0)
            .any(|own| own.address.to_string() == address)
    };
    assert!(own("fe80::ff:fe00:9"), "its link-local address is the TAP's");
    assert!(!own("fe80::ff:fe00:2"), "not the trunk's");
}

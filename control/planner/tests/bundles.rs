//! Tunnels to AWS in plans: bundles, who carries what, and whose flows are decided again when that changes; addresses inside tunnels.

mod support;

use std::collections::BTreeMap;
use support::{address, epochs, first, next};
use tombolo_config::sa_file::Cipher;
use tombolo_planner::{Learned, Negotiated, NegotiatedSa, OuterPath, Plan, SaSecret, SelectorPair};
use tombolo_tables::build::Route;
use tombolo_tables::layout::{BUNDLE_SHARES, BundleIndex, NextHop, PortIndex, TunnelIndex, tunnel_flag};

const AWS: &str = include_str!("../../config/examples/ipsec-aws.yaml");

fn keyed(learned: &mut Learned, tunnel: &str, number: u8, remote: &str) {
    let sa = |number: u8| NegotiatedSa {
        child: "net".into(),
        worker: None,
        spi: 0x1000 + u32::from(number),
        secret: SaSecret::new(Cipher::Aes256Gcm, &[number; 32], [number; 4]).unwrap(),
        esn: false,
        selectors: vec![SelectorPair {
            local: (address("0.0.0.0"), address("255.255.255.255")),
            remote: (address("0.0.0.0"), address("255.255.255.255")),
        }],
    };
    let negotiated = Negotiated {
        path: OuterPath {
            local: address("192.0.2.1"),
            remote: address(remote),
            udp: None,
            follow: false,
        },
        inbound: vec![sa(number)],
        outbound: vec![sa(number + 100)],
    };
    learned.negotiated.insert(tunnel.into(), negotiated);
}

fn with(previous: &Plan, text: &str, up: &[u8]) -> Plan {
    let plan = next(text, previous, |learned| {
        learned.sa_keys.clear();
        for number in up {
            let remote = format!("203.0.113.{number}0");
            keyed(learned, &format!("to-aws-{number}"), *number, &remote);
        }
    });
    plan.world.build().expect("what is planned can be built");
    plan
}

/// Shares by the tunnel's name.
fn shares(plan: &Plan) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for member in plan.world.bundles[0].shares {
        let name = plan.world.tunnels[member as usize].name;
        let name = String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned();
        *shares.entry(name).or_insert(0) += 1;
    }
    shares
}

fn carried(of: [(&str, usize); 2]) -> BTreeMap<String, usize> {
    of.into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| (name.to_owned(), count))
        .collect()
}

#[test]
fn a_route_leads_into_the_bundle_and_who_is_up_carries_the_flows() {
    let half = BUNDLE_SHARES / 2;
    let both = with(&first(AWS), AWS, &[1, 2]);
    let into = both
        .world
        .routes
        .iter()
        .filter(|route| route.next_hop == NextHop::Bundle(BundleIndex(0)));
    assert_eq!(into.count(), 1);
    assert_eq!(shares(&both), carried([("to-aws-1", half), ("to-aws-2", half)]));
    let bundled = |plan: &Plan| {
        let members = plan.world.tunnels.iter();
        members
            .filter(|tunnel| tunnel.flags & tunnel_flag::BUNDLED != 0 && tunnel.bundle == 0)
            .count()
    };
    assert_eq!(bundled(&both), 2);
    let one = with(&both, AWS, &[2]);
    assert_eq!(shares(&one), carried([("to-aws-1", 0), ("to-aws-2", BUNDLE_SHARES)]));
    let none = with(&one, AWS, &[]);
    assert_eq!(
        shares(&none),
        shares(&both),
        "what is sent is dropped in its own tunnel"
    );
    assert_eq!(with(&none, AWS, &[1, 2]).world.bundles, both.world.bundles);
}

#[test]
fn flows_are_decided_again_when_shares_move_and_only_in_their_segment() {
    let both = with(&first(AWS), AWS, &[1, 2]);
    let again = with(&both, AWS, &[1, 2]);
    assert_eq!(epochs(&both), epochs(&again));
    let one = with(&again, AWS, &[1]);
    assert_ne!(epochs(&one)["prod"], epochs(&again)["prod"]);
    assert_eq!(epochs(&one)["internet"], epochs(&again)["internet"]);
}

#[test]
fn inside_addresses_are_ours_and_the_rest_of_their_networks_is_the_tunnels() {
    let plan = with(&first(AWS), AWS, &[1, 2]);
    let find = |prefix: &str, length| {
        let is = |route: &&Route| route.prefix == address(prefix).into() && (route.length, route.v6) == (length, false);
        plan.world.routes.iter().find(is).map(|route| route.next_hop)
    };
    assert_eq!(find("169.254.10.2", 32), Some(NextHop::Local(PortIndex(0))));
    assert_eq!(find("169.254.10.0", 30), Some(NextHop::Tunnel(TunnelIndex(0))));
    assert_eq!(find("169.254.20.2", 32), Some(NextHop::Local(PortIndex(0))));
    assert_eq!(find("169.254.20.0", 30), Some(NextHop::Tunnel(TunnelIndex(1))));
    for inside in ["169.254.10.2", "169.254.20.2"].map(address) {
        let mut addresses = plan.kernel.addresses.iter();
        let own = addresses.find(|own| own.address == inside).expect("the kernel has it");
        assert_eq!((own.device.as_str(), own.prefix_length), ("eth1", 32));
        let rule = plan
            .kernel
            .rules
            .iter()
            .find(|rule| rule.source == inside)
            .expect("and answers");
        let cloud = plan.kernel.rules.iter().find(|rule| rule.source == address("10.1.0.1"));
        assert_eq!(
            Some(rule.table),
            cloud.map(|rule| rule.table),
            "by the TAP of the segment's port"
        );
    }
}

#[test]
fn without_a_port_in_the_segment_nobody_answers_inside_and_nothing_leaks() {
    let alone = AWS.replace(
        "  cloud: { device: eth1, segment: prod, addresses: [10.1.0.1/24] }\n",
        "",
    );
    let plan = with(&first(&alone), &alone, &[1, 2]);
    assert!(
        plan.warnings
            .iter()
            .any(|warning| warning.contains("nobody answers on 169.254.10.2")),
        "{:?}",
        plan.warnings
    );
    assert!(
        plan.kernel
            .addresses
            .iter()
            .all(|own| own.address == address("192.0.2.1"))
    );
}

//! The demo's gateways with everything learned that there is to learn.

use core::net::IpAddr;
use std::collections::BTreeMap;
use tombolo_config::sa_file::{Cipher, SaPair};
use tombolo_config::{Gateway, parse};
use tombolo_planner::{Indices, Learned, Link, Neighbour, Plan, plan};
use tombolo_tables::layout::SegmentRecord;

/// The example of gateway A.
#[allow(dead_code, reason = "not every test binary needs it")]
pub(crate) const GATEWAY_A: &str = include_str!("../../../config/examples/gw-a.yaml");
/// The example of gateway B.
#[allow(dead_code, reason = "not every test binary needs it")]
pub(crate) const GATEWAY_B: &str = include_str!("../../../config/examples/gw-b.yaml");

/// Parses a configuration that must be right.
pub(crate) fn gateway(text: &str) -> Gateway {
    parse(text, "tombolo.yaml").unwrap_or_else(|problems| {
        panic!(
            "{}",
            problems
                .iter()
                .map(|problem| format!("{problem}\n"))
                .collect::<String>()
        )
    })
}

/// Keys that depend on `seed` alone.
pub(crate) fn keys(seed: u8) -> SaPair {
    let mut next = seed;
    let fill = |out: &mut [u8]| -> Result<(), ()> {
        for byte in out {
            next = next.wrapping_mul(5).wrapping_add(seed | 1);
            *byte = next;
        }
        Ok(())
    };
    SaPair::generate(Cipher::Aes256Gcm, true, fill)
        .map(|(pair, _)| pair)
        .unwrap()
}

/// A device.
pub(crate) fn link(ifindex: u32) -> Link {
    Link {
        ifindex,
        mac: [2, 0, 0, 0, 0, ifindex as u8],
        mtu: 1500,
        queues: 2,
        up: true,
        link_local: Some(format!("fe80::ff:fe00:{ifindex:x}").parse().unwrap()),
    }
}

/// Links, TAPs, one router's MAC address and all keys.
pub(crate) fn learned(gateway: &Gateway) -> Learned {
    let devices = ["prod0", "dev0", "up0", "tombolo0", "tombolo1", "tombolo2"];
    let tunnels = gateway.tunnels.iter().zip(1..);
    let router = gateway.routes.iter().find_map(|route| {
        if let tombolo_config::RouteTarget::Via { address, .. } = route.target {
            Some(address)
        } else {
            None
        }
    });
    let router = router.map(|address| {
        (
            ("uplink".to_owned(), address),
            Neighbour::Reachable([2, 0, 0, 0, 0, 0xfe]),
        )
    });
    Learned {
        links: devices
            .into_iter()
            .zip(2..)
            .map(|(name, index)| (name.to_owned(), link(index)))
            .collect(),
        neighbours: router.into_iter().collect(),
        sa_keys: tunnels
            .map(|(tunnel, seed)| (tunnel.name.to_string(), keys(seed)))
            .collect(),
        ..Learned::default()
    }
}

/// A first plan of `text` with everything learned.
#[allow(dead_code, reason = "not every test binary needs it")]
pub(crate) fn first(text: &str) -> Plan {
    let desired = gateway(text);
    plan(&desired, &learned(&desired), &Indices::default()).unwrap()
}

/// A plan after `previous`, of another configuration or with other news.
#[allow(dead_code, reason = "not every test binary needs it")]
pub(crate) fn next(text: &str, previous: &Plan, change: impl FnOnce(&mut Learned)) -> Plan {
    let desired = gateway(text);
    let mut learned = learned(&desired);
    change(&mut learned);
    plan(&desired, &learned, &previous.indices).unwrap()
}

/// Epochs by segment name.
#[allow(dead_code, reason = "not every test binary needs it")]
pub(crate) fn epochs(plan: &Plan) -> BTreeMap<String, u32> {
    let name = |segment: &SegmentRecord| String::from_utf8_lossy(&segment.name).trim_end_matches('\0').to_owned();
    plan.world
        .segments
        .iter()
        .map(|segment| (name(segment), segment.epoch))
        .filter(|(name, _)| !name.is_empty())
        .collect()
}

/// An address.
#[allow(dead_code, reason = "not every test binary needs it")]
pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

//! The one table of packets that both forms of the steering rule face.

mod build;
mod errors;
mod link;
mod local;
mod tunnels;

use build::MAC;
use tombolo_bpf::{Service, SteerConfig, SteerPort, VLAN_NONE, Verdict};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ESP: u8 = 50;
const ICMPV6: u8 = 58;
const OWN: &str = "192.0.2.1";
const OWN6: &str = "2001:db8:a::1";
const LINK_LOCAL: &str = "fe80::1";
const FAR: &str = "203.0.113.5";
const FAR6: &str = "2001:db8:c::5";

pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) frame: Vec<u8>,
    pub(crate) expected: Verdict,
}

/// One device with an untagged port (NAT on 20000–29999) and a VLAN 7 port.
pub(crate) fn config(ifindex: u32) -> SteerConfig {
    let port = |index, vlan, nat_ports, own: [&str; 2]| SteerPort {
        index,
        ifindex,
        vlan,
        socket_row: 0,
        mac: MAC,
        nat_ports,
        own_addresses: own.iter().map(|text| text.parse().expect("an address")).collect(),
    };
    SteerConfig {
        ports: vec![
            port(0, VLAN_NONE, Some((20000, 29999)), [OWN, OWN6]),
            port(1, 7, None, ["10.1.0.1", "fd00:1::1"]),
        ],
        services: vec![
            Service {
                protocol: TCP,
                port: 9100,
            },
            Service {
                protocol: UDP,
                port: 3784,
            },
        ],
        wireguard_ports: vec![51820],
        host_ports: (32768, 60999),
    }
}

pub(crate) fn table() -> Vec<Case> {
    let mut table = Vec::new();
    for cases in [
        link::link(),
        link::group(),
        local::kernel(),
        tunnels::tunnels(),
        local::nat(),
        errors::errors(),
        errors::transit_and_malformed(),
    ] {
        table.extend(cases);
    }
    table
}

fn cases<const N: usize>(cases: [(&str, Vec<u8>, Verdict); N]) -> Vec<Case> {
    cases
        .into_iter()
        .map(|(name, frame, expected)| Case {
            name: name.to_owned(),
            frame,
            expected,
        })
        .collect()
}

/// Seeded mutations of the table's frames: bytes changed, cut, lengthened.
pub(crate) fn mutations(count: usize) -> impl Iterator<Item = Vec<u8>> {
    let table = table();
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    (0..count).map(move |_| {
        let mut frame = table[next(table.len())].frame.clone();
        for _ in 0..next(4) {
            // Headers, where the decisions are, more often than payload.
            let reach = [24, 48, 90][next(3)];
            let at = next(frame.len().min(reach));
            let random = next(256) as u8;
            let flipped = frame[at] ^ 1 << next(8);
            frame[at] = [0, 1, 6, 17, 44, 50, 58, 0xff, flipped, random][next(10)];
        }
        match next(8) {
            0 => frame.truncate(14 + next(frame.len() - 13)),
            1 => {
                let filler = next(256) as u8;
                frame.resize(frame.len() + next(40), filler);
            }
            _ => {}
        }
        frame
    })
}

//! Records for tests, valid and as plain as can be.
#![allow(dead_code, unreachable_pub)]

use std::net::IpAddr;
use tombolo_tables::build::{Route, Sections, World};
use tombolo_tables::layout::*;
use tombolo_tables::view::Tables;

pub fn address(text: &str) -> Address {
    text.parse::<IpAddr>().unwrap().into()
}

pub fn name<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    bytes
}

pub fn segment(text: &str) -> SegmentRecord {
    SegmentRecord {
        name: name(text),
        epoch: 1,
        flags: 0,
        mss_max: 0,
        root4: 0,
        root6: 0,
    }
}

pub fn port(text: &str, segment: u16) -> PortRecord {
    PortRecord {
        name: name(text),
        device: name(text),
        ifindex: 2,
        tap_ifindex: 0,
        mac: [2, 0, 0, 0, 0, 1, 0, 0],
        mtu: 1500,
        segment,
        flags: port_flag::UP,
        vlan: 0,
        queues: 2,
        nat_port_first: 0,
        nat_port_last: 0,
        reserved: 0,
    }
}

pub fn neighbour(text: &str, port: u16) -> NeighbourRecord {
    let state = neighbour_state::REACHABLE;
    NeighbourRecord {
        address: address(text),
        mac: [2, 0, 0, 0, 0, 9],
        port,
        state,
        reserved: [0; 7],
    }
}

/// `prefix` as "10.0.0.0/8" or "fd00::/16".
pub fn route(segment: u16, prefix: &str, next_hop: NextHop) -> Route {
    let (text, length) = prefix.split_once('/').unwrap();
    let v6 = text.contains(':');
    Route {
        segment: SegmentIndex(segment),
        prefix: address(text),
        length: length.parse().unwrap(),
        v6,
        next_hop,
    }
}

/// A world of so many segments and one port in each.
pub fn world(segments: u16) -> World {
    World {
        segments: (0..segments).map(|at| segment(&format!("segment-{at}"))).collect(),
        ports: (0..segments).map(|at| port(&format!("port-{at}"), at)).collect(),
        ..World::default()
    }
}

pub fn tables(sections: &Sections) -> Tables<'_> {
    Tables::from_sections(sections.all()).expect("what was built is valid")
}

/// An enabled tunnel out of segment 0 through segment 1, without an SA.
pub fn tunnel(text: &str, local: &str) -> TunnelRecord {
    TunnelRecord {
        name: name(text),
        local: address(local),
        remote: address("198.51.100.1"),
        underlay_next_hop: NextHop::OnLink(PortIndex(1)).to_bits(),
        outbound: wildcard::NONE,
        local_port: 0,
        remote_port: 0,
        segment: 0,
        underlay_segment: 1,
        mtu: 1438,
        flags: tunnel_flag::ENABLED,
        encapsulation: encapsulation::ESP,
        reserved: [0; 3],
    }
}

/// An SA whose key bytes are all 0xab.
pub fn sa(spi: u32, tunnel: u32, flags: u8) -> SaRecord {
    SaRecord {
        key: [0xab; 32],
        salt: [0xab; 4],
        spi,
        tunnel,
        selector_first: 0,
        selector_count: 0,
        key_version: 1,
        cipher: cipher::AES_256_GCM,
        flags,
        replay_window: 4096,
        sealing_worker: 0,
        reserved: 0,
    }
}

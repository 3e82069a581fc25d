//! Records for tests, valid and as plain as can be.
#![allow(dead_code, unreachable_pub)]

pub mod rules;

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
        reserved: 0,
        bundle: 0,
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
        next: wildcard::NONE,
        selector_count: 0,
        key_version: 1,
        cipher: cipher::AES_256_GCM,
        flags,
        replay_window: 4096,
        sealing_worker: 0,
    }
}

/// A small world with something in every section.
pub fn full_world() -> World {
    let mut world = world(2);
    world.ports[1].flags |= port_flag::UNDERLAY;
    (world.ports[1].nat_port_first, world.ports[1].nat_port_last) = (20000, 29999);
    let own = |text: &str, port, prefix_length| OwnAddressRecord {
        address: address(text),
        port,
        prefix_length,
        reserved: [0; 5],
    };
    world.own_addresses = vec![own("10.1.0.1", 0, 24), own("192.0.2.1", 1, 24), own("fd00:1::1", 0, 64)];
    world.segments[0].flags = segment_flag::STATELESS;
    let (inside, uplink) = (PortIndex(0), PortIndex(1));
    world.routes = vec![
        route(0, "10.1.0.0/24", NextHop::OnLink(inside)),
        route(0, "10.1.0.1/32", NextHop::Local(inside)),
        route(0, "10.2.0.0/16", NextHop::Tunnel(TunnelIndex(0))),
        route(0, "10.2.9.0/24", NextHop::Discard),
        route(0, "0.0.0.0/0", NextHop::Segment(SegmentIndex(1))),
        route(0, "fd00:2::/64", NextHop::Tunnel(TunnelIndex(0))),
        route(1, "192.0.2.0/24", NextHop::OnLink(uplink)),
        route(1, "0.0.0.0/0", NextHop::Neighbour(NeighbourIndex(1))),
    ];
    let free = NeighbourRecord {
        state: neighbour_state::FREE,
        ..neighbour("::", 0)
    };
    world.neighbours = vec![neighbour("10.1.0.10", 0), neighbour("192.0.2.254", 1), free];
    world.policy_rules = vec![
        PolicyRuleRecord {
            destination: address("10.1.0.0"),
            destination_length: 120,
            from: 1,
            to: 0,
            destination_port_first: 80,
            destination_port_last: 81,
            protocol: 6,
            family: 4,
            ..policy_rule(rule_action::ALLOW)
        },
        PolicyRuleRecord {
            source: address("fd00:1::"),
            source_length: 64,
            ..policy_rule(rule_action::REJECT)
        },
        policy_rule(rule_action::DENY),
    ];
    world.pools = vec![PoolRecord {
        first: address("192.0.2.1"),
        count: 1,
        port_first: 20000,
        port_last: 29999,
        sessions_per_host_max: 0,
        port: 1,
        reserved: 0,
        row: 0,
        reserved2: 0,
    }];
    world.nat_rules = vec![
        NatRuleRecord {
            match_destination: address("192.0.2.1"),
            match_destination_length: 128,
            to_address: address("10.1.0.10"),
            from: 1,
            match_port_first: 8080,
            match_port_last: 8080,
            to_port_first: 80,
            protocol: 6,
            ..nat_rule(nat_kind::DESTINATION, 4)
        },
        NatRuleRecord {
            from: 0,
            to: 1,
            ..nat_rule(nat_kind::SOURCE_PORT_ADDRESS, 4)
        },
    ];
    world.tunnels = vec![TunnelRecord {
        outbound: 1,
        flags: tunnel_flag::ENABLED | tunnel_flag::DF_SET,
        ..tunnel("to-b", "192.0.2.1")
    }];
    world.bundles = vec![BundleRecord {
        name: name("both"),
        shares: [0; BUNDLE_SHARES],
    }];
    let inbound = SaRecord {
        next: wildcard::NONE,
        selector_count: 1,
        ..sa(0x1001, 0, sa_flag::INBOUND | sa_flag::ESN)
    };
    world.sas = vec![inbound, sa(0x2002, 0, sa_flag::ESN), SaRecord { spi: 0, ..sa(0, 0, 0) }];
    world.selectors = vec![SelectorRecord {
        remote_first: address("10.2.0.0"),
        remote_last: address("10.2.255.255"),
        local_first: address("10.1.0.0"),
        local_last: address("10.1.0.255"),
    }];
    world.names = "{}".into();
    world.capture = 2;
    world
}

/// A rule for everything.
pub fn policy_rule(action: u8) -> PolicyRuleRecord {
    PolicyRuleRecord {
        source: Address::default(),
        destination: Address::default(),
        from: wildcard::SEGMENT,
        to: wildcard::SEGMENT,
        source_port_first: 0,
        source_port_last: u16::MAX,
        destination_port_first: 0,
        destination_port_last: u16::MAX,
        source_length: 0,
        destination_length: 0,
        protocol: wildcard::PROTOCOL,
        action,
        family: 0,
        reserved: [0; 7],
    }
}

/// A rule for everything of the family; a source rule takes pool 0.
pub fn nat_rule(kind: u8, family: u8) -> NatRuleRecord {
    NatRuleRecord {
        match_source: Address::default(),
        match_destination: Address::default(),
        to_address: address(if family == 4 { "10.0.0.9" } else { "::9" }),
        from: wildcard::SEGMENT,
        to: wildcard::SEGMENT,
        match_port_first: 0,
        match_port_last: u16::MAX,
        to_port_first: 0,
        match_source_length: 0,
        match_destination_length: 0,
        protocol: wildcard::PROTOCOL,
        kind,
        family,
        reserved: 0,
        pool: if kind == nat_kind::SOURCE_POOL {
            0
        } else {
            wildcard::NONE
        },
        reserved2: 0,
    }
}

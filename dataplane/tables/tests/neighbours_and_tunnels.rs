//! The two hash indices: neighbours by (port, address), inbound SAs by (SPI, local address).

mod common;

use common::{address, neighbour, route, sa, tables, tunnel, world};
use std::net::{Ipv4Addr, Ipv6Addr};
use tombolo_tables::build::{BuildError, Kind, World};
use tombolo_tables::layout::*;

#[test]
fn every_neighbour_is_found_on_its_port_and_nowhere_else() {
    let mut world = world(2);
    for at in 0..5000u32 {
        let address = if at % 3 == 0 {
            Ipv4Addr::from(0x0a00_0000 + at).into()
        } else {
            Ipv6Addr::from((0xfe80 << 112) + u128::from(at)).into()
        };
        world.neighbours.push(NeighbourRecord {
            address,
            ..neighbour("::", (at % 2) as u16)
        });
    }
    world.neighbours[77].state = neighbour_state::FREE;
    let sections = world.build().unwrap();
    let tables = tables(&sections);
    for (at, record) in world.neighbours.iter().enumerate() {
        let expected = (at != 77).then_some(NeighbourIndex(at as u32));
        assert_eq!(tables.find_neighbour(PortIndex(record.port), record.address), expected);
        assert_eq!(tables.find_neighbour(PortIndex(1 - record.port), record.address), None);
        assert_eq!(tables.neighbour(NeighbourIndex(at as u32)).is_some(), at != 77);
    }
    assert_eq!(tables.neighbour(NeighbourIndex(5000)), None);
    let slots = (sections.get(SectionId::NeighbourIndex).len() - 64) / 4;
    assert!(
        (2 * 4999..=4 * 4999).contains(&slots),
        "load is at most a half, {slots} slots"
    );
}

#[test]
fn no_neighbours_cost_nothing() {
    let sections = world(1).build().unwrap();
    assert!(sections.get(SectionId::NeighbourIndex).is_empty());
    assert_eq!(
        tables(&sections).find_neighbour(PortIndex(0), address("10.0.0.1")),
        None
    );
}

#[test]
fn two_neighbours_with_one_address_on_a_port_are_refused() {
    let twice = |ports: [u16; 2]| World {
        neighbours: ports.map(|port| neighbour("10.0.0.1", port)).to_vec(),
        ..world(2)
    };
    assert!(twice([0, 1]).build().is_ok());
    let expected = BuildError::Duplicate {
        kind: Kind::Neighbour,
        first: 0,
        second: 1,
    };
    assert_eq!(twice([1, 1]).build().unwrap_err(), expected);
}

/// Tunnel 0 with SAs 0 (inbound) and 1 (outbound), tunnel 1 with SA 3 (inbound, same SPI); SA 2 is a free slot.
fn tunnels() -> World {
    let mut world = World {
        tunnels: vec![tunnel("one", "192.0.2.1"), tunnel("two", "192.0.2.2")],
        ..world(2)
    };
    world.tunnels[0].outbound = 1;
    let free = SaRecord {
        spi: 0,
        ..sa(0, 0, sa_flag::INBOUND)
    };
    world.sas = vec![
        sa(0x100, 0, sa_flag::INBOUND),
        sa(0x200, 0, 0),
        free,
        sa(0x100, 1, sa_flag::INBOUND),
    ];
    let range = |first: &str, last: &str| SelectorRecord {
        remote_first: address(first),
        remote_last: address(last),
        local_first: address(first),
        local_last: address(last),
    };
    world.selectors = vec![
        range("10.0.0.0", "10.0.0.255"),
        range("fd00::", "fd00::ffff"),
        range("0.0.0.0", "255.255.255.255"),
    ];
    (world.sas[3].selector_first, world.sas[3].selector_count) = (1, 2);
    world
}

#[test]
fn an_inbound_sa_is_found_by_spi_and_local_address() {
    let sections = tunnels().build().unwrap();
    let tables = tables(&sections);
    let find = |spi, local| tables.find_inbound_sa(spi, address(local));
    assert_eq!(find(0x100, "192.0.2.1"), Some(SaIndex(0)));
    assert_eq!(find(0x100, "192.0.2.2"), Some(SaIndex(3)));
    assert_eq!(find(0x100, "192.0.2.3"), None);
    assert_eq!(find(0x200, "192.0.2.1"), None, "outbound");
    assert_eq!(find(0, "192.0.2.1"), None, "free slot");
    assert!(tables.sa(SaIndex(2)).is_none() && tables.sa(SaIndex(4)).is_none());
    assert_eq!(tables.selectors(tables.sa(SaIndex(3)).unwrap()).len(), 2);
    assert_eq!(tables.selectors(tables.sa(SaIndex(0)).unwrap()).len(), 0);
}

#[test]
fn a_disabled_tunnel_is_not_there() {
    let mut world = tunnels();
    world.tunnels[1].flags &= !tunnel_flag::ENABLED;
    let sections = world.build().unwrap();
    let tables = tables(&sections);
    assert!(tables.tunnel(TunnelIndex(0)).is_some() && tables.tunnel(TunnelIndex(1)).is_none());
    assert_eq!(tables.find_inbound_sa(0x100, address("192.0.2.2")), None);
}

#[test]
fn contradictions_of_tunnels_are_refused() {
    let refused = |change: fn(&mut World)| {
        let mut world = tunnels();
        change(&mut world);
        world.build().unwrap_err()
    };
    let same_spi = refused(|world| world.tunnels[1].local = world.tunnels[0].local);
    assert_eq!(
        same_spi,
        BuildError::Duplicate {
            kind: Kind::Sa,
            first: 0,
            second: 3
        }
    );
    let inbound = refused(|world| world.tunnels[0].outbound = 0);
    let field = "outbound SA: inbound, or another tunnel's";
    assert_eq!(
        inbound,
        BuildError::Field {
            by: Kind::Tunnel,
            at: 0,
            field
        }
    );
    let free = refused(|world| world.tunnels[0].outbound = 2);
    assert_eq!(
        free,
        BuildError::Unknown {
            by: Kind::Tunnel,
            at: 0,
            kind: Kind::Sa,
            index: 2
        }
    );
    let no_selectors = refused(|world| world.sas[3].selector_count = 3);
    assert_eq!(
        no_selectors,
        BuildError::Unknown {
            by: Kind::Sa,
            at: 3,
            kind: Kind::Selector,
            index: 3
        }
    );
    let no_bundle = refused(|world| {
        world.tunnels[0].flags |= tunnel_flag::BUNDLED;
        world.tunnels[0].bundle = 1;
    });
    assert_eq!(
        no_bundle,
        BuildError::Unknown {
            by: Kind::Tunnel,
            at: 0,
            kind: Kind::Bundle,
            index: 1
        }
    );
    let no_member = refused(|world| {
        let shares = [99; BUNDLE_SHARES];
        world.bundles = vec![BundleRecord { name: [0; 32], shares }];
    });
    assert_eq!(
        no_member,
        BuildError::Unknown {
            by: Kind::Bundle,
            at: 0,
            kind: Kind::Tunnel,
            index: 99
        }
    );
    let no_route = refused(|world| {
        let to = NextHop::Bundle(BundleIndex(0));
        world.routes.push(route(0, "10.9.0.0/16", to));
    });
    assert!(matches!(no_route, BuildError::Unknown { kind: Kind::Bundle, .. }));
    let window = refused(|world| world.sas[0].replay_window = 100);
    assert_eq!(
        window,
        BuildError::Field {
            by: Kind::Sa,
            at: 0,
            field: "replay window"
        }
    );
}

#[test]
fn own_addresses_are_own_in_their_segment() {
    let own = |text: &str, port| OwnAddressRecord {
        address: address(text),
        port,
        prefix_length: 24,
        reserved: [0; 5],
    };
    let own_addresses = vec![
        own("10.0.0.1", 0),
        own("10.0.0.1", 1),
        own("10.0.0.2", 1),
        own("fd00::1", 1),
    ];
    let sections = World {
        own_addresses,
        ..world(3)
    }
    .build()
    .unwrap();
    let tables = tables(&sections);
    assert_eq!(
        tables.own_port(SegmentIndex(1), address("10.0.0.1")),
        Some(PortIndex(1))
    );
    assert!(
        tables.is_own(SegmentIndex(1), address("10.0.0.2")) && !tables.is_own(SegmentIndex(0), address("10.0.0.2"))
    );
    assert!(!tables.is_own(SegmentIndex(2), address("10.0.0.1")));
    assert_eq!(tables.port_address(PortIndex(1), false), Some(address("10.0.0.1")));
    assert_eq!(tables.port_address(PortIndex(1), true), Some(address("fd00::1")));
    assert_eq!(tables.port_address(PortIndex(0), true), None);
}

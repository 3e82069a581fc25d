//! An outside address and port is one flow's, over every change of the pools.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;
use tombolo_sim::gateway::{SMALL, SimGateway};
use tombolo_sim::lab::{ends, from_host, parsed};
use tombolo_sim::packets::Trip;
use tombolo_sim::worlds::{NAT_PORTS, PROD, Side, TunnelKind, UPLINK, WEB6, demo, move_epochs};
use tombolo_tables::build::World;
use tombolo_tables::layout::PoolRecord;

/// The demo's pools, IPv4 and IPv6, with 128 ports each.
fn narrow() -> World {
    let mut world = demo(Side::A, TunnelKind::PLAIN);
    for pool in &mut world.pools {
        pool.port_last = NAT_PORTS.0 + 127;
    }
    world
}

/// Outside ports of new or known IPv6 flows of a host in prod, one for each source port.
fn out(a: &mut SimGateway, host: u8, sources: Range<u16>) -> Vec<u16> {
    for port in sources {
        let mut trip: Trip = from_host(Side::A, PROD, WEB6);
        trip.from.ip = Side::A.host6(PROD, host);
        a.arrive(0, PROD as u8, &trip.udp(port, 53, b"?"));
    }
    a.run();
    a.sent(UPLINK as u8)
        .iter()
        .map(|frame| parsed(frame).source_port)
        .collect()
}

#[test]
fn what_becomes_of_one_pool_does_not_touch_the_ports_of_another() {
    let larger = |pool: &mut PoolRecord| pool.count += 3;
    let gone = |pool: &mut PoolRecord| {
        *pool = PoolRecord {
            first: Ipv6Addr::UNSPECIFIED.into(),
            count: 1,
            port: u16::MAX,
            ..*pool
        }
    };
    let changes: [fn(&mut PoolRecord); 2] = [larger, gone];
    for change in changes {
        let mut world = narrow();
        world.pools[0].count = 2;
        // Far enough that the first pool can grow, and nowhere near the sum of what stands before it.
        world.pools[1].row = 6;
        let mut a = SimGateway::new(&world, SMALL, 1);
        let first = out(&mut a, 10, 1000..1064);
        assert_eq!(first.len(), 64, "{:?}", a.drops());
        change(&mut world.pools[0]);
        move_epochs(&mut world);
        a.publish(&world);
        assert_eq!(out(&mut a, 10, 1000..1064), first, "flows keep what they have");
        let second = out(&mut a, 11, 3000..3064);
        assert_eq!(second.len(), 64, "{:?}", a.drops());
        let ports: BTreeSet<u16> = first.iter().chain(&second).copied().collect();
        assert_eq!(ports.len(), 128, "one outside port for two flows");
    }
}

#[test]
fn other_addresses_under_a_pools_index_are_given_to_its_hosts() {
    let mut world = narrow();
    world.pools[1].row = 6;
    let mut a = SimGateway::new(&world, SMALL, 1);
    assert_eq!(out(&mut a, 10, 1000..1008).len(), 8);
    let new: Ipv6Addr = "2001:db8:f::7".parse().unwrap();
    world.pools[1].first = new.into();
    world.pools[1].row = 7;
    move_epochs(&mut world);
    a.publish(&world);
    let mut trip: Trip = from_host(Side::A, PROD, WEB6);
    trip.from.ip = Side::A.host6(PROD, 10);
    let frames = a.pass(PROD as u8, &trip.udp(2000, 53, b"?"), UPLINK as u8);
    assert_eq!(frames.len(), 1, "{:?}", a.drops());
    assert_eq!(
        ends(&parsed(&frames[0])).0,
        IpAddr::V6(new),
        "not the host's old address"
    );
    let old = out(&mut a, 10, 1000..1001);
    assert_eq!(
        old.len(),
        0,
        "a flow has its old mapping until that ends, and may not use it"
    );
}

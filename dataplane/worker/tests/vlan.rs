//! A trunk with two VLAN ports: what the kernel gets of them and sends on them, and that its way makes no difference to the
//! journey.

use tombolo_sim::gateway::{SMALL, SimGateway};
use tombolo_sim::packets::{Station, Trip};
use tombolo_sim::worlds::{DEV, PROD, Side, TunnelKind, UPLINK, WEB4, demo};
use tombolo_tables::fate::Counter;
use tombolo_wire::parse_frame;

const SIDE: Side = Side::A;
const TRUNK: u8 = 0;
const PROD_TAP: u8 = 2;
const PROD_LINK: u8 = 3;
const DEV_LINK: u8 = 5;
const TAGS: [u16; 2] = [100, 200];

/// The demo's gateway with both clouds on one device.
fn gateway() -> SimGateway {
    let mut world = demo(SIDE, TunnelKind::PLAIN);
    for port in [PROD, DEV] {
        let record = &mut world.ports[usize::from(port)];
        record.vlan = TAGS[usize::from(port)];
        record.ifindex = 1;
        record.mac[..6].copy_from_slice(&SIDE.mac(PROD));
    }
    SimGateway::new(&world, SMALL, 1)
}

fn tagged(frame: &[u8], port: u16) -> Vec<u8> {
    let tag = TAGS[usize::from(port)].to_be_bytes();
    [&frame[..12], &[0x81, 0x00], &tag, &frame[12..]].concat()
}

fn from_host(port: u16, to: std::net::IpAddr) -> Trip {
    Trip {
        from: Station {
            mac: SIDE.host_mac(port, 10),
            ip: if to.is_ipv6() {
                SIDE.host6(port, 10)
            } else {
                SIDE.host4(port, 10)
            },
        },
        via: SIDE.mac(PROD),
        to,
        ttl: 64,
    }
}

fn arp(destination: [u8; 6], source: [u8; 6]) -> Vec<u8> {
    [&destination[..], &source, &[8, 6], &[7; 28]].concat()
}

#[test]
fn what_speaks_to_the_link_or_to_own_addresses_goes_untagged_to_the_ports_link() {
    let mut gateway = gateway();
    let request = arp([0xff; 6], SIDE.host_mac(PROD, 10));
    let ping4 = from_host(PROD, SIDE.host4(PROD, 1)).echo(false, 7, b"four");
    let ping6 = from_host(PROD, SIDE.host6(PROD, 1)).echo(false, 7, b"six");
    for frame in [&request, &ping4, &ping6] {
        gateway.arrive(0, TRUNK, &tagged(frame, PROD));
        gateway.run();
        assert_eq!(gateway.punted(PROD_LINK), std::slice::from_ref(frame));
        gateway.arrive(0, TRUNK, &tagged(frame, DEV));
        gateway.run();
        let expected: &[Vec<u8>] = if *frame == request {
            std::slice::from_ref(&request)
        } else {
            &[]
        };
        assert_eq!(
            gateway.punted(DEV_LINK),
            expected,
            "an own address of the other VLAN is none here"
        );
    }
    assert_eq!(gateway.counter(PROD, Counter::Punted), 3);
    assert_eq!(gateway.counter(DEV, Counter::Punted), 1);
    gateway.arrive(
        0,
        TRUNK,
        &tagged(&arp(SIDE.host_mac(PROD, 9), SIDE.host_mac(PROD, 10)), PROD),
    );
    gateway.run();
    assert_eq!(gateway.punted(PROD_LINK), [] as [Vec<u8>; 0], "another station's");
    gateway.assert_books();
}

#[test]
fn what_the_kernel_sends_on_the_link_leaves_with_the_tag_as_it_is() {
    let mut gateway = gateway();
    let reply = arp(SIDE.host_mac(PROD, 10), SIDE.mac(PROD));
    let longest = [&reply[..14], &[9; 1500]].concat();
    for frame in [&reply, &longest] {
        gateway.from_kernel(PROD_LINK, frame);
        gateway.from_kernel(DEV_LINK, frame);
        gateway.run();
        assert_eq!(gateway.sent(TRUNK), [tagged(frame, PROD), tagged(frame, DEV)]);
    }
    for port in [PROD, DEV] {
        for counter in [Counter::Originated, Counter::Sent, Counter::Transmitted] {
            assert_eq!(gateway.counter(port, counter), 2, "{counter:?} of port {port}");
        }
    }
    gateway.from_kernel(PROD_LINK, &reply[..13]);
    gateway.run();
    assert_eq!(gateway.sent(TRUNK), [] as [Vec<u8>; 0], "no frame");
    gateway.assert_books();
}

#[test]
fn transit_and_the_kernels_routed_packets_take_the_journey() {
    let mut gateway = gateway();
    let out = from_host(PROD, WEB4).udp(1000, 53, b"question");
    let sent = {
        gateway.arrive(0, TRUNK, &tagged(&out, PROD));
        gateway.run();
        gateway.sent(1)
    };
    assert_eq!(sent.len(), 1, "{:?}", gateway.drops());
    assert_eq!(gateway.counter(UPLINK, Counter::Transmitted), 1);
    let mut own = from_host(PROD, SIDE.host4(PROD, 10));
    own.from = Station {
        mac: SIDE.mac(PROD),
        ip: SIDE.host4(PROD, 1),
    };
    gateway.from_kernel(PROD_TAP, &own.udp(179, 40000, b"answer"));
    gateway.run();
    let sent = gateway.sent(TRUNK);
    assert_eq!(sent.len(), 1, "{:?}", gateway.drops());
    assert_eq!(sent[0][..6], SIDE.host_mac(PROD, 10), "the station was found");
    assert_eq!(parse_frame(&sent[0]).unwrap().0.vlan, Some(TAGS[usize::from(PROD)]));
    gateway.assert_books();
}

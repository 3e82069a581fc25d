//! A gateway under attack: it takes any bytes, and after each of them the laws must hold.

use crate::gateway::{SMALL, SimGateway};
use crate::lab::{ends, fix_header_checksum, sealed_by};
use crate::worlds::{DEV, PROD, Side, TunnelKind, UPLINK, demo, move_epochs, port_forward, rule};
use std::net::IpAddr;
use tombolo_tables::build::World;
use tombolo_tables::layout::rule_action;
use tombolo_wire::{L4, parse_frame};

/// Longest frame that is fed: what an Ethernet link without jumbo frames carries.
const FRAME_MAX: usize = 1514;

/// How a frame arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// In clear, from the wire of a port.
    Wire(u8),
    /// From the kernel, through the TAP of a port.
    Kernel(u8),
    /// As the inner packet of what the peer sealed: the bytes behind the link header.
    Sealed,
}

/// Gateway A of the demo, with a port forward, and what it must never do.
pub struct Prey {
    world: World,
    gateway: SimGateway,
    sequence: u64,
}

impl Prey {
    /// A gateway that has seen nothing yet.
    pub fn new(kind: TunnelKind) -> Self {
        let mut world = demo(Side::A, kind);
        world
            .nat_rules
            .insert(0, port_forward(Side::A, 8080, Side::A.host4(PROD, 10), 80));
        world.policy_rules.push(rule(UPLINK, PROD, rule_action::ALLOW));
        let gateway = SimGateway::new(&world, SMALL, 1);
        Prey {
            world,
            gateway,
            sequence: 1,
        }
    }

    /// The gateway itself.
    pub fn gateway(&mut self) -> &mut SimGateway {
        &mut self.gateway
    }

    /// Control changes something in every segment.
    pub fn change(&mut self) {
        move_epochs(&mut self.world);
        self.gateway.publish(&self.world);
    }

    /// Feeds `bytes` and asserts every law.
    pub fn bite(&mut self, arrival: Arrival, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(FRAME_MAX)];
        match arrival {
            Arrival::Wire(port) => self.gateway.arrive(0, port, bytes),
            Arrival::Kernel(port) => self.gateway.from_kernel(port, bytes),
            Arrival::Sealed => {
                let inner = bytes.get(14..).unwrap_or(&[]);
                if inner.is_empty() {
                    return;
                }
                let sealed = sealed_by(Side::B, PROD, self.sequence, inner);
                self.sequence += 1;
                self.gateway.arrive(0, UPLINK as u8, &sealed);
            }
        }
        self.gateway.run();
        for frame in self.gateway.sent(UPLINK as u8) {
            check_underlay(arrival, &frame);
        }
        for cloud in [PROD, DEV] {
            for frame in self.gateway.sent(cloud as u8) {
                check_cloud(arrival, bytes, &frame);
            }
        }
        for port in [PROD, DEV, UPLINK] {
            self.gateway.punted(port as u8);
        }
        self.gateway.assert_books();
    }

    /// The same with the frame's destination MAC address and IPv4 header checksum made right, so that it gets further.
    pub fn bite_deep(&mut self, arrival: Arrival, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        if let Arrival::Wire(port) = arrival
            && bytes.len() >= 14
        {
            bytes[..6].copy_from_slice(&Side::A.mac(port.into()));
        }
        if bytes.len() >= 34 && bytes[12..15] == [8, 0, 0x45] {
            fix_header_checksum(&mut bytes);
        }
        self.bite(arrival, &bytes);
    }
}

/// Whether an address is of the other cloud: behind a tunnel.
fn is_protected(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets()[..3] == [10, 2, 0] || v4.octets()[..3] == [10, 2, 1],
        IpAddr::V6(v6) => v6.segments()[..2] == [0xfd00, 2] && v6.segments()[2] <= 1 && v6.segments()[3] == 0,
    }
}

fn check_underlay(arrival: Arrival, frame: &[u8]) {
    let (_, headers) = parse_frame(frame).expect("what leaves is a packet");
    let (source, destination) = ends(&headers);
    // What the gateway's own kernel sends in the underlay's segment is of the underlay's realm, whatever its addresses.
    assert!(
        matches!(arrival, Arrival::Kernel(_)) || (!is_protected(source) && !is_protected(destination)),
        "{arrival:?}: a protected prefix in clear on the underlay: {source} to {destination}"
    );
    let ours = [Side::A.outside4(), Side::A.outside6()].contains(&source);
    match arrival {
        Arrival::Wire(port) if u16::from(port) != UPLINK => assert!(ours, "untranslated: {source} to {destination}"),
        Arrival::Sealed => assert!(ours, "untranslated: {source} to {destination}"),
        Arrival::Wire(_) | Arrival::Kernel(_) => {}
    }
}

fn check_cloud(arrival: Arrival, bitten: &[u8], frame: &[u8]) {
    let (_, headers) = parse_frame(frame).expect("what leaves is a packet");
    let (source, _) = ends(&headers);
    let is_esp = parse_frame(bitten).is_ok_and(|(_, headers)| matches!(headers.l4_kind, L4::Esp { .. }));
    if arrival == Arrival::Wire(UPLINK as u8) && !is_esp {
        assert!(
            !is_protected(source),
            "{source} was believed in clear from the underlay: {bitten:02x?}"
        );
    }
}

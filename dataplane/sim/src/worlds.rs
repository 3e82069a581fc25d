//! Worlds for tests: the two gateways of the demo, small enough to read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tombolo_tables::build::{Route, World};
use tombolo_tables::layout::{
    Address, NatRuleRecord, NeighbourIndex, NeighbourRecord, NextHop, OwnAddressRecord, PolicyRuleRecord, PoolRecord,
    PortIndex, PortRecord, SaRecord, SegmentIndex, SegmentRecord, SelectorRecord, TunnelIndex, TunnelRecord, cipher,
    encapsulation, nat_kind, neighbour_state, port_flag, rule_action, sa_flag, tunnel_flag, wildcard,
};

/// Ports of a gateway, and their segments, by index.
pub const PROD: u16 = 0;
/// See [`PROD`].
pub const DEV: u16 = 1;
/// See [`PROD`]; the underlay's.
pub const UPLINK: u16 = 2;
/// NAT range of the uplink.
pub const NAT_PORTS: (u16, u16) = (20_000, 29_999);

/// Which of the two gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Cloud A: 10.1.x, 192.0.2.1.
    A,
    /// Cloud B: 10.2.x, 198.51.100.1.
    B,
}

impl Side {
    /// 1 or 2, as it shows in addresses.
    pub fn number(self) -> u8 {
        match self {
            Side::A => 1,
            Side::B => 2,
        }
    }

    /// The one at the other end of the tunnels.
    pub fn other(self) -> Side {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }

    /// MAC address of a port of the gateway.
    pub fn mac(self, port: u16) -> [u8; 6] {
        [2, 0, 0, 0, self.number(), port as u8]
    }

    /// IPv4 address of host `host` on a cloud port (1 is the gateway).
    pub fn host4(self, port: u16, host: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, self.number(), port as u8, host))
    }

    /// IPv6 address of host `host` on a cloud port.
    pub fn host6(self, port: u16, host: u8) -> IpAddr {
        IpAddr::V6(Ipv6Addr::new(
            0xfd00,
            self.number().into(),
            port,
            0,
            0,
            0,
            0,
            host.into(),
        ))
    }

    /// MAC address of host `host` on a port.
    pub fn host_mac(self, port: u16, host: u8) -> [u8; 6] {
        [2, 1, 0, self.number(), port as u8, host]
    }

    /// The gateway's address on the underlay.
    pub fn outside4(self) -> IpAddr {
        match self {
            Side::A => IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
            Side::B => IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)),
        }
    }

    /// The same for IPv6.
    pub fn outside6(self) -> IpAddr {
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, self.number().into(), 0, 0, 0, 0, 1))
    }

    /// The router of the underlay that the gateway sends to.
    pub fn router4(self) -> IpAddr {
        match self {
            Side::A => IpAddr::V4(Ipv4Addr::new(192, 0, 2, 254)),
            Side::B => IpAddr::V4(Ipv4Addr::new(198, 51, 100, 254)),
        }
    }

    /// The same for IPv6.
    pub fn router6(self) -> IpAddr {
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, self.number().into(), 0, 0, 0, 0, 0xfe))
    }

    /// The router's MAC address.
    pub fn router_mac(self) -> [u8; 6] {
        [2, 2, 0, 0, 0, self.number()]
    }
}

/// A web server of the internet.
pub const WEB4: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 80));
/// The same for IPv6.
pub const WEB6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 0x80));

/// Which tunnel between the gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelKind {
    /// `layout::cipher`.
    pub cipher: u8,
    /// Extended sequence numbers.
    pub esn: bool,
    /// UDP encapsulation.
    pub udp: bool,
    /// IPv6 outside.
    pub v6: bool,
}

impl TunnelKind {
    /// AES-256-GCM with ESN, straight in IPv4.
    pub const PLAIN: TunnelKind = TunnelKind {
        cipher: cipher::AES_256_GCM,
        esn: true,
        udp: false,
        v6: false,
    };
}

/// A padded name.
pub fn name<const N: usize>(text: &str) -> [u8; N] {
    let mut padded = [0; N];
    padded[..text.len()].copy_from_slice(text.as_bytes());
    padded
}

/// A gateway of the demo: segments prod, dev and internet on a port each, a tunnel per cloud segment, source NAT, and policy
/// that lets the clouds out and nothing else across.
pub fn demo(side: Side, tunnels: TunnelKind) -> World {
    let mut world = World {
        ports: vec![
            port(side, PROD, 0),
            port(side, DEV, 0),
            port(side, UPLINK, port_flag::UNDERLAY),
        ],
        segments: ["prod", "dev", "internet"].map(segment).to_vec(),
        own_addresses: own_addresses(side),
        neighbours: neighbours(side),
        ..World::default()
    };
    for cloud in [PROD, DEV] {
        let index = TunnelIndex(world.tunnels.len() as u32);
        world.tunnels.push(tunnel(side, cloud, tunnels));
        world.sas.push(sa(side, cloud, index, tunnels, false));
        world.sas.push(sa(side, cloud, index, tunnels, true));
        cloud_routes(&mut world, side, cloud, index);
        world.policy_rules.push(rule(cloud, UPLINK, rule_action::ALLOW));
        for family in [4, 6] {
            world.nat_rules.push(source_nat(cloud, family));
        }
    }
    world.selectors = vec![any_selector(side.router4().into()), any_selector(side.router6().into())];
    for (first, port) in [(side.outside4(), UPLINK), (side.outside6(), UPLINK)] {
        world.pools.push(pool(first.into(), port, world.pools.len() as u32));
    }
    uplink_routes(&mut world);
    world
}

fn port(side: Side, index: u16, flags: u16) -> PortRecord {
    let mut mac = [0; 8];
    mac[..6].copy_from_slice(&side.mac(index));
    let (nat_port_first, nat_port_last) = if index == UPLINK { NAT_PORTS } else { (0, 0) };
    PortRecord {
        name: name(["prod", "dev", "uplink"][usize::from(index)]),
        device: name(["prod0", "dev0", "up0"][usize::from(index)]),
        ifindex: u32::from(index) + 1,
        tap_ifindex: 0,
        mac,
        mtu: 1500,
        segment: index,
        flags: flags | port_flag::UP,
        vlan: 0,
        queues: 1,
        nat_port_first,
        nat_port_last,
        reserved: 0,
    }
}

fn segment(text: &str) -> SegmentRecord {
    SegmentRecord {
        name: name(text),
        epoch: 1,
        flags: 0,
        mss_max: 0,
        root4: 0,
        root6: 0,
    }
}

fn own_addresses(side: Side) -> Vec<OwnAddressRecord> {
    let own = |address: IpAddr, port, prefix_length| OwnAddressRecord {
        address: address.into(),
        port,
        prefix_length,
        reserved: [0; 5],
    };
    let cloud = |port| [own(side.host4(port, 1), port, 24), own(side.host6(port, 1), port, 64)];
    let mut own_addresses: Vec<_> = [PROD, DEV].into_iter().flat_map(cloud).collect();
    own_addresses.extend([own(side.outside4(), UPLINK, 24), own(side.outside6(), UPLINK, 64)]);
    own_addresses
}

/// Host 10 of each cloud, and the router, in both families.
fn neighbours(side: Side) -> Vec<NeighbourRecord> {
    let neighbour = |address: IpAddr, port, mac| NeighbourRecord {
        address: address.into(),
        mac,
        port,
        state: neighbour_state::REACHABLE,
        reserved: [0; 7],
    };
    let mut neighbours = vec![
        neighbour(side.router4(), UPLINK, side.router_mac()),
        neighbour(side.router6(), UPLINK, side.router_mac()),
    ];
    for port in [PROD, DEV] {
        neighbours.push(neighbour(side.host4(port, 10), port, side.host_mac(port, 10)));
        neighbours.push(neighbour(side.host6(port, 10), port, side.host_mac(port, 10)));
    }
    neighbours
}

const ROUTER4: NextHop = NextHop::Neighbour(NeighbourIndex(0));
const ROUTER6: NextHop = NextHop::Neighbour(NeighbourIndex(1));

fn route(segment: u16, address: IpAddr, length: u8, next_hop: NextHop) -> Route {
    let v6 = address.is_ipv6();
    let prefix = match address {
        IpAddr::V4(v4) if length < 32 => Address::from(Ipv4Addr::from(
            u32::from(v4) & !u32::MAX.checked_shr(length.into()).unwrap_or(0),
        )),
        IpAddr::V6(v6) if length < 128 => Address::from(Ipv6Addr::from(
            u128::from(v6) & !u128::MAX.checked_shr(length.into()).unwrap_or(0),
        )),
        IpAddr::V4(_) | IpAddr::V6(_) => address.into(),
    };
    Route {
        segment: SegmentIndex(segment),
        prefix,
        length,
        v6,
        next_hop,
    }
}

fn cloud_routes(world: &mut World, side: Side, cloud: u16, tunnel: TunnelIndex) {
    let other_cloud = 1 - cloud;
    let far = side.other();
    let internet = NextHop::Segment(SegmentIndex(UPLINK));
    let aside = NextHop::Segment(SegmentIndex(other_cloud));
    let own = NextHop::Local(PortIndex(cloud));
    let link = NextHop::OnLink(PortIndex(cloud));
    world.routes.extend([
        route(cloud, side.host4(cloud, 1), 32, own),
        route(cloud, side.host6(cloud, 1), 128, own),
        route(cloud, side.host4(cloud, 0), 24, link),
        route(cloud, side.host6(cloud, 0), 64, link),
        route(cloud, far.host4(cloud, 0), 24, NextHop::Tunnel(tunnel)),
        route(cloud, far.host6(cloud, 0), 64, NextHop::Tunnel(tunnel)),
        route(cloud, side.host4(other_cloud, 0), 24, aside),
        route(cloud, side.host6(other_cloud, 0), 64, aside),
        route(cloud, far.host4(other_cloud, 0), 24, aside),
        route(cloud, far.host6(other_cloud, 0), 64, aside),
        route(cloud, IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0, internet),
        route(cloud, IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0, internet),
    ]);
}

fn uplink_routes(world: &mut World) {
    let own: Vec<_> = world
        .own_addresses
        .iter()
        .filter(|own| own.port == UPLINK)
        .copied()
        .collect();
    for record in own {
        let address: IpAddr = record.address.into();
        let whole = if address.is_ipv6() { 128 } else { 32 };
        world
            .routes
            .push(route(UPLINK, address, whole, NextHop::Local(PortIndex(UPLINK))));
        world.routes.push(route(
            UPLINK,
            address,
            record.prefix_length,
            NextHop::OnLink(PortIndex(UPLINK)),
        ));
    }
    world
        .routes
        .push(route(UPLINK, IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0, ROUTER4));
    world
        .routes
        .push(route(UPLINK, IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0, ROUTER6));
}

fn tunnel(side: Side, cloud: u16, kind: TunnelKind) -> TunnelRecord {
    let (local, remote, hop) = if kind.v6 {
        (side.outside6(), side.other().outside6(), ROUTER6)
    } else {
        (side.outside4(), side.other().outside4(), ROUTER4)
    };
    TunnelRecord {
        name: name(["prod", "dev"][usize::from(cloud)]),
        local: local.into(),
        remote: remote.into(),
        underlay_next_hop: hop.to_bits(),
        outbound: u32::from(cloud) * 2,
        local_port: 4500,
        remote_port: 4500,
        segment: cloud,
        underlay_segment: UPLINK,
        mtu: tombolo_wire::mtu::esp_inner_mtu(
            tombolo_wire::mtu::Outer {
                mtu: 1500,
                v6: kind.v6,
                udp: kind.udp,
            },
            tombolo_wire::mtu::AEAD,
        ),
        flags: tunnel_flag::ENABLED | tunnel_flag::DF_SET | tunnel_flag::DSCP_COPY,
        encapsulation: if kind.udp {
            encapsulation::ESP_UDP
        } else {
            encapsulation::ESP
        },
        reserved: 0,
        bundle: 0,
    }
}

/// Each direction has its own key and SPI, the same on both sides.
fn sa(side: Side, cloud: u16, tunnel: TunnelIndex, kind: TunnelKind, inbound: bool) -> SaRecord {
    let sender = if inbound { side.other() } else { side };
    let number = sender.number() * 16 + cloud as u8;
    let mut flags = sa_flag::WIDE_PEER_WINDOW;
    if kind.esn {
        flags |= sa_flag::ESN;
    }
    if inbound {
        flags |= sa_flag::INBOUND;
    }
    SaRecord {
        key: [number; 32],
        salt: [number; 4],
        spi: 0x1000 + u32::from(number),
        tunnel: tunnel.0,
        selector_first: 0,
        next: wildcard::NONE,
        selector_count: 2,
        key_version: 1,
        cipher: kind.cipher,
        flags,
        replay_window: 4096,
        sealing_worker: 0,
    }
}

/// Every address of the family of `example`.
fn any_selector(example: Address) -> SelectorRecord {
    let (first, last): (Address, Address) = if example.is_v4() {
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into())
    } else {
        (Address([0; 16]), Address([0xff; 16]))
    };
    SelectorRecord {
        remote_first: first,
        remote_last: last,
        local_first: first,
        local_last: last,
    }
}

/// A rule for all traffic from one segment to another.
pub fn rule(from: u16, to: u16, action: u8) -> PolicyRuleRecord {
    PolicyRuleRecord {
        source: Address::default(),
        destination: Address::default(),
        from,
        to,
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

fn source_nat(from: u16, family: u8) -> NatRuleRecord {
    NatRuleRecord {
        match_source: Address::default(),
        match_destination: Address::default(),
        to_address: Address::default(),
        from,
        to: UPLINK,
        match_port_first: 0,
        match_port_last: u16::MAX,
        to_port_first: 0,
        match_source_length: 0,
        match_destination_length: 0,
        protocol: wildcard::PROTOCOL,
        kind: nat_kind::SOURCE_PORT_ADDRESS,
        family,
        reserved: 0,
        pool: wildcard::NONE,
        reserved2: 0,
    }
}

/// Makes host `host` of a cloud port known.
pub fn add_host(world: &mut World, side: Side, port: u16, host: u8) {
    for address in [side.host4(port, host), side.host6(port, host)] {
        world.neighbours.push(NeighbourRecord {
            address: address.into(),
            mac: side.host_mac(port, host),
            port,
            state: neighbour_state::REACHABLE,
            reserved: [0; 7],
        });
    }
}

/// A decision of every segment is out of date.
pub fn move_epochs(world: &mut World) {
    for segment in &mut world.segments {
        segment.epoch += 1;
    }
}

/// A port forward: `port` of the uplink's address becomes `to_port` of a prod host.
pub fn port_forward(side: Side, port: u16, to: IpAddr, to_port: u16) -> NatRuleRecord {
    NatRuleRecord {
        match_destination: side.outside4().into(),
        match_destination_length: 128,
        to_address: to.into(),
        from: UPLINK,
        to: PROD,
        match_port_first: port,
        match_port_last: port,
        to_port_first: to_port,
        protocol: 6,
        kind: nat_kind::DESTINATION,
        ..source_nat(UPLINK, 4)
    }
}

fn pool(first: Address, port: u16, row: u32) -> PoolRecord {
    PoolRecord {
        first,
        count: 1,
        port_first: NAT_PORTS.0,
        port_last: NAT_PORTS.1,
        sessions_per_host_max: 0,
        port,
        reserved: 0,
        row,
        reserved2: 0,
    }
}

//! Ports, segments, routes, neighbours.

use super::{port_name, segment_name, text};
use std::net::IpAddr;
use tombolo_api::{Neighbour, Port, Route, Segment};
use tombolo_tables::build::World;
use tombolo_tables::layout::{NextHop, PortRecord, neighbour_state, port_flag, segment_flag};

/// Ports, without what only the dataplane knows (`xdp`, `copy`, `error`, `tap`).
pub fn ports(world: &World) -> Vec<Port> {
    let port = |(index, record): (u16, &PortRecord)| {
        let own = world.own_addresses.iter().filter(|own| own.port == index);
        Port {
            name: text(&record.name),
            device: text(&record.device),
            segment: segment_name(world, record.segment),
            up: record.flags & port_flag::UP != 0,
            underlay: record.flags & port_flag::UNDERLAY != 0,
            mac: mac(&record.mac),
            mtu: u32::from(record.mtu),
            vlan: (record.vlan != 0).then_some(record.vlan),
            queues: u32::from(record.queues),
            xdp: "detached".into(),
            copy: None,
            addresses: own
                .map(|own| format!("{}/{}", own.address, own.prefix_length))
                .collect(),
            tap: None,
            error: None,
        }
    };
    (0..).zip(&world.ports).map(port).collect()
}

/// Segments.
pub fn segments(world: &World) -> Vec<Segment> {
    let segment = |(index, record): (u16, &tombolo_tables::layout::SegmentRecord)| Segment {
        name: text(&record.name),
        epoch: record.epoch,
        stateless: record.flags & segment_flag::STATELESS != 0,
        mss_max: (record.mss_max != 0).then_some(record.mss_max),
        ports: world
            .ports
            .iter()
            .filter(|port| port.segment == index)
            .map(|port| text(&port.name))
            .collect(),
        routes: world.routes.iter().filter(|route| route.segment.0 == index).count() as u64,
    };
    (0..).zip(&world.segments).map(segment).collect()
}

/// Routes by segment, then by prefix.
pub fn routes(world: &World) -> Vec<Route> {
    let mut sorted: Vec<_> = world.routes.iter().collect();
    sorted.sort_by_key(|route| (route.segment, route.v6, route.prefix, route.length));
    let show = |route: &tombolo_tables::build::Route| Route {
        segment: segment_name(world, route.segment.0),
        prefix: format!("{}/{}", IpAddr::from(route.prefix), route.length),
        next_hop: next_hop(world, route.next_hop),
    };
    sorted.into_iter().map(show).collect()
}

fn next_hop(world: &World, hop: NextHop) -> String {
    match hop {
        NextHop::Unreachable => "unreachable".into(),
        NextHop::Discard => "discard".into(),
        NextHop::Neighbour(index) => match world.neighbours.get(index.usize()) {
            Some(neighbour) => format!("via {} on {}", neighbour.address, port_name(world, neighbour.port)),
            None => format!("via neighbour #{}", index.0),
        },
        NextHop::OnLink(port) => format!("on-link {}", port_name(world, port.0)),
        NextHop::Tunnel(index) => match world.tunnels.get(index.usize()) {
            Some(tunnel) => format!("tunnel {}", text(&tunnel.name)),
            None => format!("tunnel #{}", index.0),
        },
        NextHop::Local(port) => format!("local {}", port_name(world, port.0)),
        NextHop::Segment(segment) => format!("segment {}", segment_name(world, segment.0)),
        NextHop::Bundle(index) => match world.bundles.get(index.usize()) {
            Some(bundle) => format!("bundle {}", text(&bundle.name)),
            None => format!("bundle #{}", index.0),
        },
    }
}

/// Neighbours that the gateway uses.
pub fn neighbours(world: &World) -> Vec<Neighbour> {
    let used = world
        .neighbours
        .iter()
        .filter(|neighbour| neighbour.state != neighbour_state::FREE);
    used.map(|neighbour| Neighbour {
        port: port_name(world, neighbour.port),
        address: neighbour.address.to_string(),
        mac: (neighbour.state == neighbour_state::REACHABLE).then(|| mac(&neighbour.mac)),
        state: match neighbour.state {
            neighbour_state::UNRESOLVED => "unresolved".into(),
            neighbour_state::REACHABLE => "reachable".into(),
            neighbour_state::FAILED => "failed".into(),
            other => format!("#{other}"),
        },
    })
    .collect()
}

fn mac(bytes: &[u8]) -> String {
    bytes
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .join(":")
}

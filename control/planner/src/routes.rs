//! Routes and the neighbours that they lead to.

use crate::indices::Wanted;
use crate::learned::Neighbour;
use crate::{Draft, Learned, inside, links, tunnels};
use core::net::{IpAddr, Ipv6Addr};
use std::collections::{BTreeMap, BTreeSet};
use tombolo_config::{Gateway, PortId, Prefix, Reach, RouteIndex, RouteTarget, Tunnel};
use tombolo_tables::build::{Change, Route, World};
use tombolo_tables::layout::{
    Address, BundleIndex, NeighbourIndex, NeighbourRecord, NextHop, SegmentIndex, neighbour_state,
};
use zerocopy::FromZeros;

/// `fe80::/10`.
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0);

/// A host on a link.
pub(crate) type Host = (PortId, IpAddr);

/// Where the outer packets of a tunnel whose far end is `remote` go; none while that is not known (unspecified).
pub(crate) fn tunnel_hop(desired: &Gateway, reach: &RouteIndex, tunnel: &Tunnel, remote: IpAddr) -> Option<Host> {
    if remote.is_unspecified() {
        return None;
    }
    match reach.lookup(desired.port(tunnel.port).segment, remote) {
        Some(Reach::OnLink(port)) => Some((port, remote)),
        Some(Reach::Route(RouteTarget::Via { port, address })) => Some((port, address)),
        Some(Reach::Own(_) | Reach::Route(_)) | None => None,
    }
}

/// Routers, and the ends of tunnels that are on a link: always kept resolved.
pub(crate) fn gateways(desired: &Gateway, learned: &Learned, reach: &RouteIndex) -> BTreeSet<Host> {
    let routers = desired.routes.iter().filter_map(|route| match route.target {
        RouteTarget::Via { port, address } => Some((port, address)),
        RouteTarget::Tunnel(_)
        | RouteTarget::Bundle(_)
        | RouteTarget::Segment(_)
        | RouteTarget::Discard
        | RouteTarget::Unreachable => None,
    });
    let peers = desired
        .tunnels
        .iter()
        .filter_map(|tunnel| tunnel_hop(desired, reach, tunnel, tunnels::path(desired, learned, tunnel).remote));
    routers.chain(peers).collect()
}

/// Hosts that workers asked for, as far as they can be on the port's link.
pub(crate) fn requested(desired: &Gateway, learned: &Learned) -> BTreeSet<Host> {
    let ids: BTreeMap<&str, PortId> = desired
        .port_ids()
        .map(|id| (desired.port(id).name.as_str(), id))
        .collect();
    let host = |(port, address): &(String, IpAddr)| {
        let id = *ids.get(port.as_str())?;
        let addresses = &desired.port(id).addresses;
        let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let on_link = addresses
            .iter()
            .any(|own| own.prefix().contains(*address) && own.address() != *address);
        (on_link || link_local).then_some((id, *address))
    };
    learned.requested.iter().filter_map(host).collect()
}

pub(crate) fn fill(draft: &mut Draft<'_>) {
    draft.neighbours = neighbours(draft);
    let mut routes = Vec::new();
    for id in draft.desired.port_ids() {
        connected(draft, id, &mut routes);
    }
    // Link-local destinations are never forwarded (RFC 4291 §2.5.6); a default route would.
    for segment in &draft.segments {
        let prefix = Address::from(LINK_LOCAL);
        routes.push(Route {
            segment: *segment,
            prefix,
            length: 10,
            v6: true,
            next_hop: NextHop::Discard,
        });
    }
    for route in &draft.desired.routes {
        let next_hop = match route.target {
            RouteTarget::Via { port, address } => draft
                .neighbours
                .get(&(port, address))
                .map_or(NextHop::Unreachable, |index| NextHop::Neighbour(*index)),
            RouteTarget::Tunnel(tunnel) => NextHop::Tunnel(draft.tunnel(tunnel)),
            RouteTarget::Bundle(bundle) => NextHop::Bundle(BundleIndex(bundle.usize() as u32)),
            RouteTarget::Segment(segment) => NextHop::Segment(draft.segment(segment)),
            RouteTarget::Discard => NextHop::Discard,
            RouteTarget::Unreachable => NextHop::Unreachable,
        };
        routes.push(entry(draft.segment(route.segment), route.to, next_hop));
    }
    inside::routes(draft, &mut routes);
    draft.plan.world.routes = routes;
}

pub(crate) fn entry(segment: SegmentIndex, to: Prefix, next_hop: NextHop) -> Route {
    Route {
        segment,
        prefix: to.address().into(),
        length: to.length(),
        v6: to.is_v6(),
        next_hop,
    }
}

/// Networks of a port and the gateway's own addresses in them. A link-local address of its own is local as well.
fn connected(draft: &Draft<'_>, id: PortId, routes: &mut Vec<Route>) {
    let port = draft.desired.port(id);
    let (segment, index) = (draft.segment(port.segment), draft.port(id));
    let mut add = |to: Prefix, next_hop| {
        let route = entry(segment, to, next_hop);
        let known = |other: &&Route| {
            (other.segment, other.prefix, other.length, other.v6) == (segment, route.prefix, route.length, route.v6)
        };
        if !routes.iter().any(|other| known(&other)) {
            routes.push(route);
        }
    };
    for own in &port.addresses {
        add(Prefix::host(own.address()), NextHop::Local(index));
    }
    for own in &port.addresses {
        add(own.prefix(), NextHop::OnLink(index));
    }
    if let Some(address) = links::link_local(draft.learned, port, index) {
        add(Prefix::host(address.into()), NextHop::Local(index));
    }
}

/// Fills the table of neighbours; gateways come first when room is short.
fn neighbours(draft: &mut Draft<'_>) -> BTreeMap<Host, NeighbourIndex> {
    let desired = draft.desired;
    let gateways = gateways(desired, draft.learned, &draft.reach);
    let requested = requested(desired, draft.learned);
    let hosts: Vec<Host> = gateways
        .iter()
        .chain(requested.difference(&gateways))
        .copied()
        .collect();
    let name = |(port, address): &Host| format!("{} {address}", desired.port(*port).name);
    let wanted: Vec<Wanted> = hosts.iter().map(|host| Wanted::name(name(host))).collect();
    let given = draft
        .plan
        .indices
        .neighbours
        .assign(&wanted, desired.limits.neighbours as usize);
    let mut indices = BTreeMap::new();
    let mut records = vec![NeighbourRecord::new_zeroed(); draft.plan.indices.neighbours.used()];
    for (host, given) in hosts.iter().zip(given) {
        match given {
            Some(given) => {
                records[given.index as usize] = record(draft, host);
                indices.insert(*host, NeighbourIndex(given.index));
            }
            None if gateways.contains(host) => {
                draft.warn(format!("no room for neighbour {}: raise limits.neighbours", name(host)))
            }
            None => {}
        }
    }
    draft.plan.world.neighbours = records;
    indices
}

fn record(draft: &Draft<'_>, (port, address): &Host) -> NeighbourRecord {
    let name = draft.desired.port(*port).name.to_string();
    let (state, mac) = answer(draft.learned.neighbours.get(&(name, *address)));
    NeighbourRecord {
        address: (*address).into(),
        mac,
        port: draft.port(*port).0,
        state,
        reserved: [0; 7],
    }
}

fn answer(known: Option<&Neighbour>) -> (u8, [u8; 6]) {
    match known {
        Some(Neighbour::Reachable(mac)) => (neighbour_state::REACHABLE, *mac),
        Some(Neighbour::Failed) => (neighbour_state::FAILED, [0; 6]),
        None => (neighbour_state::UNRESOLVED, [0; 6]),
    }
}

/// What becomes of the neighbours of a planned world by what is learned now, as long as nothing else is new: a plan would say the same.
pub fn neighbour_changes(world: &World, learned: &Learned) -> Vec<Change> {
    let port_name = |index: u16| {
        let name = world.ports.get(usize::from(index)).map_or(&[][..], |port| &port.name);
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        String::from_utf8_lossy(&name[..end]).into_owned()
    };
    let change = |(index, record): (u32, &NeighbourRecord)| {
        let (state, mac) = answer(learned.neighbours.get(&(port_name(record.port), record.address.into())));
        let fresh = NeighbourRecord { state, mac, ..*record };
        (fresh != *record).then_some(Change::Neighbour(NeighbourIndex(index), fresh))
    };
    let all = (0..).zip(&world.neighbours);
    all.filter(|(_, record)| record.state != neighbour_state::FREE)
        .filter_map(change)
        .collect()
}

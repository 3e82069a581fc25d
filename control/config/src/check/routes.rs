//! Static routes.

use super::{NOWHERE, Scope, ipsec};
use crate::lookup::{Reach, RouteIndex};
use crate::model::{Gateway, Port, PortId, Route, RouteTarget, SegmentId};
use crate::problem::{Place, Problems};
use crate::raw::{RawGateway, RawRoute};
use crate::reader::At;
use crate::scalars::RouteAction;
use core::net::IpAddr;
use std::collections::HashMap;

pub(super) fn resolve(raw: &RawGateway, scope: &Scope<'_>, ports: &[Port], problems: &mut Problems) -> Vec<Route> {
    let mut routes = Vec::new();
    for (name, list) in raw.routes.iter().flat_map(|routes| &routes.0) {
        let segment = scope.segment(name, problems);
        for route in list {
            let link_local = route.to.value.length() >= 10 && is_link_local(route.to.value.address());
            if link_local {
                problems.add(route.to.place, "link-local addresses are never routed");
            }
            let target = target(route, segment, scope, ports, problems);
            routes.push(Route {
                segment,
                to: route.to.value,
                target,
            });
        }
    }
    routes
}

fn target(
    raw: &RawRoute,
    segment: SegmentId,
    scope: &Scope<'_>,
    ports: &[Port],
    problems: &mut Problems,
) -> RouteTarget {
    let stated = [
        raw.via.is_some(),
        raw.tunnel.is_some(),
        raw.bundle.is_some(),
        raw.segment.is_some(),
        raw.action.is_some(),
    ]
    .iter()
    .filter(|s| **s)
    .count();
    if stated != 1 {
        let message = if stated == 0 {
            "the route leads nowhere"
        } else {
            "the route leads to several places"
        };
        problems.hint(
            raw.place,
            message,
            "give one of via, tunnel, bundle, segment, and action: discard or unreachable",
        );
        return RouteTarget::Unreachable;
    }
    if let (Some(port), None) = (&raw.port, &raw.via) {
        problems.hint(
            port.place,
            "'port' goes with 'via' only",
            "a connected network needs no route",
        );
    }
    if let Some(address) = &raw.via {
        return via(raw, address, segment, scope, ports, problems);
    }
    if let Some(tunnel) = &raw.tunnel {
        return RouteTarget::Tunnel(scope.tunnel(tunnel, problems));
    }
    if let Some(bundle) = &raw.bundle {
        return RouteTarget::Bundle(scope.bundle(bundle, problems));
    }
    if let Some(other) = &raw.segment {
        return RouteTarget::Segment(scope.segment(other, problems));
    }
    match raw.action.as_ref().map(|at| at.value) {
        Some(RouteAction::Discard) => RouteTarget::Discard,
        Some(RouteAction::Unreachable) | None => RouteTarget::Unreachable,
    }
}

fn via(
    raw: &RawRoute,
    router: &At<IpAddr>,
    segment: SegmentId,
    scope: &Scope<'_>,
    ports: &[Port],
    problems: &mut Problems,
) -> RouteTarget {
    let address = router.value;
    if address.is_ipv6() != raw.to.value.is_v6() {
        problems.add(
            router.place,
            format!("{address} is of another address family than {}", raw.to.value),
        );
    }
    let named = raw.port.as_ref().map(|port| scope.port(port, problems));
    let port = match named {
        Some(named) => Some(named),
        None => on_link(address, segment, ports),
    };
    let target = |port| RouteTarget::Via { port, address };
    // A port or segment that was refused before says nothing about this router.
    if segment.0 == NOWHERE || named.is_some_and(|id| id.0 == NOWHERE) || ports.iter().any(|p| p.segment.0 == NOWHERE) {
        return target(PortId(NOWHERE));
    }
    let Some(id) = port else {
        let hint = if is_link_local(address) {
            "a link-local router needs `port: NAME`".to_owned()
        } else {
            "a router must be in a network of one of the segment's ports".to_owned()
        };
        problems.hint(
            router.place,
            format!("{address} is on the link of no port of this segment"),
            hint,
        );
        return target(PortId(NOWHERE));
    };
    let port = &ports[id.usize()];
    if port.segment != segment {
        problems.add(router.place, format!("port '{}' belongs to another segment", port.name));
    } else if !is_link_local(address) && !port.addresses.iter().any(|own| own.prefix().contains(address)) {
        problems.add(
            router.place,
            format!("{address} is not in a network of port '{}'", port.name),
        );
    } else if port.addresses.iter().any(|own| own.address() == address) {
        problems.add(router.place, format!("{address} is the gateway's own address"));
    }
    target(id)
}

fn on_link(address: IpAddr, segment: SegmentId, ports: &[Port]) -> Option<PortId> {
    let holds =
        |port: &Port| port.segment == segment && port.addresses.iter().any(|own| own.prefix().contains(address));
    ports.iter().position(holds).map(|index| PortId(index as u32))
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

pub(super) fn relate(raw: &RawGateway, gateway: &Gateway, index: &RouteIndex, problems: &mut Problems) {
    let statements = raw
        .routes
        .iter()
        .flat_map(|routes| &routes.0)
        .flat_map(|(_, list)| list);
    let mut seen: HashMap<_, Place> = HashMap::new();
    for (statement, route) in statements.zip(&gateway.routes) {
        let place = statement.to.place;
        if let Some(first) = seen.insert((route.segment, route.to), place) {
            problems.add(
                place,
                format!("a second route to {}; the first is in line {}", route.to, first.line),
            );
        }
        connected(gateway, route, place, problems);
        ipsec::route(gateway, route, place, problems);
        match route.target {
            RouteTarget::Tunnel(tunnel) => {
                let place = statement.tunnel.as_ref().map_or(place, |at| at.place);
                let tunnel = gateway.tunnel(tunnel);
                other_segment(
                    gateway,
                    route,
                    &format!("tunnel '{}'", tunnel.name),
                    tunnel.segment,
                    place,
                    problems,
                );
            }
            RouteTarget::Bundle(bundle) => {
                let place = statement.bundle.as_ref().map_or(place, |at| at.place);
                let bundle = gateway.bundle(bundle);
                other_segment(
                    gateway,
                    route,
                    &format!("bundle '{}'", bundle.name),
                    bundle.segment,
                    place,
                    problems,
                );
            }
            RouteTarget::Segment(other) => {
                let place = statement.segment.as_ref().map_or(place, |at| at.place);
                segment_change(gateway, index, route, other, place, problems);
            }
            RouteTarget::Via { .. } | RouteTarget::Discard | RouteTarget::Unreachable => {}
        }
    }
}

/// A tunnel or bundle takes packets of its own segment only.
fn other_segment(
    gateway: &Gateway,
    route: &Route,
    what: &str,
    segment: SegmentId,
    place: Place,
    problems: &mut Problems,
) {
    if segment == route.segment {
        return;
    }
    let (ends, here) = (&gateway.segment(segment).name, &gateway.segment(route.segment).name);
    let hint = format!("route to segment '{ends}' instead, and allow the flow by policy");
    problems.hint(place, format!("{what} is in segment '{ends}', not '{here}'"), hint);
}

fn connected(gateway: &Gateway, route: &Route, place: Place, problems: &mut Problems) {
    for port in gateway.ports.iter().filter(|port| port.segment == route.segment) {
        for own in &port.addresses {
            if own.prefix() == route.to || crate::Prefix::host(own.address()) == route.to {
                let message = format!("{} is connected to port '{}' and needs no route", route.to, port.name);
                problems.add(place, message);
            }
        }
    }
}

/// Workers follow one change of segment, so the second lookup must end in its own segment.
fn segment_change(
    gateway: &Gateway,
    index: &RouteIndex,
    route: &Route,
    other: SegmentId,
    place: Place,
    problems: &mut Problems,
) {
    let name = &gateway.segment(other).name;
    if other == route.segment {
        problems.add(place, format!("the route leads from segment '{name}' into itself"));
        return;
    }
    if let Some(Reach::Route(RouteTarget::Segment(third))) = index.lookup_covering(other, route.to) {
        let third = &gateway.segment(third).name;
        let message = format!(
            "segment '{name}' sends {} on to segment '{third}'; only one change is followed",
            route.to
        );
        problems.hint(place, message, format!("route to segment '{third}' directly"));
    }
}

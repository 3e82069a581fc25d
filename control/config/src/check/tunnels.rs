//! Tunnels: both ends, keys, selectors.

use super::{NOWHERE, Scope, ipsec};
use crate::lookup::{Reach, RouteIndex};
use crate::model::{
    DontFragment, Dscp, ESP_UDP_PORT, Encapsulation, Gateway, Keying, ManualKeys, Port, PortId, RouteTarget, Selector,
    Tunnel, TunnelId,
};
use crate::problem::{Place, Problems};
use crate::raw::{RawEspTunnel, RawGateway, RawTunnel};
use crate::reader::At;
use crate::scalars::EncapsulationType;
use crate::value::{Name, Prefix, special};
use core::net::IpAddr;
use std::collections::{HashMap, HashSet};

/// A window is kept in blocks of so many packets.
pub(super) const WINDOW_BLOCK: u16 = 64;
/// Most selectors of one tunnel.
const SELECTORS_MAX: usize = 64;
/// Default of both windows, in packets.
const WINDOW_DEFAULT: u16 = 4096;

pub(super) fn resolve(raw: &RawGateway, scope: &Scope<'_>, ports: &[Port], problems: &mut Problems) -> Vec<Tunnel> {
    let statements = raw.tunnels.iter().flat_map(|tunnels| &tunnels.0);
    statements
        .filter_map(|(name, tunnel)| match tunnel {
            RawTunnel::Esp(esp) => Some(resolve_tunnel(name, esp, scope, ports, problems)),
            RawTunnel::Ipsec(ipsec) => ipsec::resolve(name, ipsec, scope, ports, problems),
        })
        .collect()
}

fn resolve_tunnel(
    name: &At<Name>,
    raw: &RawEspTunnel,
    scope: &Scope<'_>,
    ports: &[Port],
    problems: &mut Problems,
) -> Tunnel {
    let replay_window = raw.replay_window.as_ref().map_or(WINDOW_DEFAULT, |at| at.value.u16());
    if let Some(window) = &raw.replay_window
        && !replay_window.is_multiple_of(WINDOW_BLOCK)
    {
        problems.add(window.place, format!("a replay window is a multiple of {WINDOW_BLOCK}"));
    }
    if raw.local.value.is_ipv6() != raw.remote.value.is_ipv6() {
        problems.add(raw.remote.place, "both ends of a tunnel are of one address family");
    } else if let Some(what) = special(raw.remote.value) {
        problems.add(
            raw.remote.place,
            format!("{} cannot be the end of a tunnel: it is {what}", raw.remote.value),
        );
    }
    if let (Some(df), IpAddr::V6(_)) = (&raw.df, raw.local.value) {
        problems.add(df.place, "IPv6 has no DF; leave it away");
    }
    Tunnel {
        name: name.value.clone(),
        segment: scope.segment(&raw.segment, problems),
        port: local_port(&raw.local, ports, problems),
        local: raw.local.value,
        keying: Keying::Manual(ManualKeys {
            remote: raw.remote.value,
            encapsulation: encapsulation(raw, problems),
            keys: raw.keys.value.clone(),
        }),
        selectors: selectors(raw, problems),
        mtu: raw.mtu.as_ref().map(|at| at.value.u16()),
        dont_fragment: raw.df.as_ref().map_or(DontFragment::Set, |at| at.value),
        dscp: raw.dscp.as_ref().map_or(Dscp::Copy, |at| at.value),
        replay_window,
        peer_window: raw.peer_window.as_ref().map_or(WINDOW_DEFAULT, |at| at.value.u16()),
    }
}

pub(super) fn local_port(local: &At<IpAddr>, ports: &[Port], problems: &mut Problems) -> PortId {
    let bears = |port: &&Port| port.addresses.iter().any(|own| own.address() == local.value);
    let underlay: Vec<usize> = (0..ports.len())
        .filter(|i| ports[*i].underlay && bears(&&ports[*i]))
        .collect();
    match (underlay.as_slice(), ports.iter().find(bears)) {
        ([port], _) => return PortId(*port as u32),
        ([], Some(port)) => {
            let message = format!(
                "{} belongs to port '{}', which is no underlay port",
                local.value, port.name
            );
            problems.hint(
                local.place,
                message,
                "add `underlay: true` to the port that faces the peer",
            );
        }
        ([], None) => {
            let own = ports
                .iter()
                .filter(|port| port.underlay)
                .flat_map(|port| &port.addresses);
            let own: Vec<String> = own.map(|address| address.address().to_string()).collect();
            let hint = match own.as_slice() {
                [] => "no port is marked `underlay: true`".to_owned(),
                own => format!("underlay ports have {}", own.join(", ")),
            };
            problems.hint(
                local.place,
                format!("{} is not an address of this gateway", local.value),
                hint,
            );
        }
        ([_, ..], _) => {
            problems.add(
                local.place,
                format!("{} is an address of several underlay ports", local.value),
            );
        }
    }
    PortId(NOWHERE)
}

fn encapsulation(raw: &RawEspTunnel, problems: &mut Problems) -> Encapsulation {
    match raw.encapsulation.as_ref().map(|at| at.value) {
        None | Some(EncapsulationType::None) => {
            for port in [&raw.local_port, &raw.remote_port].into_iter().flatten() {
                problems.hint(port.place, "ESP without UDP has no ports", "add `encapsulation: udp`");
            }
            Encapsulation::None
        }
        Some(EncapsulationType::Udp) => Encapsulation::Udp {
            local_port: raw.local_port.as_ref().map_or(ESP_UDP_PORT, |at| at.value.u16()),
            remote_port: raw.remote_port.as_ref().map_or(ESP_UDP_PORT, |at| at.value.u16()),
        },
    }
}

fn selectors(raw: &RawEspTunnel, problems: &mut Problems) -> Vec<Selector> {
    let stated = raw.selectors.as_deref().unwrap_or_default();
    if stated.is_empty() {
        return [false, true]
            .map(|v6| Selector {
                local: Prefix::all(v6),
                remote: Prefix::all(v6),
            })
            .to_vec();
    }
    if stated.len() > SELECTORS_MAX {
        problems.add(raw.place, format!("a tunnel has at most {SELECTORS_MAX} selectors"));
    }
    for selector in stated {
        if selector.local.value.is_v6() != selector.remote.value.is_v6() {
            problems.add(
                selector.remote.place,
                "both sides of a selector are of one address family",
            );
        }
    }
    stated
        .iter()
        .map(|s| Selector {
            local: s.local.value,
            remote: s.remote.value,
        })
        .collect()
}

pub(super) fn relate(
    raw: &RawGateway,
    gateway: &Gateway,
    index: &RouteIndex,
    problems: &mut Problems,
    warnings: &mut Problems,
) {
    let statements = raw
        .tunnels
        .as_ref()
        .map(|tunnels| tunnels.0.as_slice())
        .unwrap_or_default();
    ipsec::relate(statements, gateway, problems, warnings);
    let mut keys: HashMap<&str, &Name> = HashMap::new();
    let tunnels_of = |route: &crate::Route| match route.target {
        RouteTarget::Tunnel(id) => vec![id],
        RouteTarget::Bundle(id) => gateway.bundle(id).tunnels.clone(),
        RouteTarget::Via { .. } | RouteTarget::Segment(_) | RouteTarget::Discard | RouteTarget::Unreachable => {
            Vec::new()
        }
    };
    let used: HashSet<usize> = gateway
        .routes
        .iter()
        .flat_map(tunnels_of)
        .map(TunnelId::usize)
        .collect();
    for (i, ((name, statement), tunnel)) in statements.iter().zip(&gateway.tunnels).enumerate() {
        if let (RawTunnel::Esp(raw), Some(manual)) = (statement, tunnel.manual()) {
            // Two tunnels with one key would use the same nonces.
            if let Some(other) = keys.insert(manual.keys.as_str(), &tunnel.name) {
                let message = format!("tunnel '{other}' has the same keys");
                problems.hint(
                    raw.keys.place,
                    message,
                    "every tunnel needs keys of its own: `tombolo sa generate`",
                );
            }
        }
        nat_ports(gateway, statement, tunnel, problems);
        if let Some(address) = tunnel.remote() {
            remote(gateway, index, statement.remote_place(), tunnel, address, problems);
        }
        if !used.contains(&i) {
            let hint = format!(
                "add a route with `tunnel: {}` to segment '{}'",
                name.value,
                gateway.segment(tunnel.segment).name
            );
            warnings.hint(name.place, format!("no route leads into tunnel '{}'", name.value), hint);
        }
    }
}

/// The outer packet must find its way, on the port that bears its source.
fn remote(
    gateway: &Gateway,
    index: &RouteIndex,
    place: Place,
    tunnel: &Tunnel,
    remote: IpAddr,
    problems: &mut Problems,
) {
    let port = gateway.port(tunnel.port);
    let underlay = &gateway.segment(port.segment).name;
    let mut refuse = |message: String, hint: &str| problems.hint(place, message, hint);
    match index.lookup(port.segment, remote) {
        Some(Reach::OnLink(_) | Reach::Route(RouteTarget::Via { .. })) => {}
        Some(Reach::Own(_)) => refuse(
            format!("{remote} is the gateway's own address"),
            "name the peer's address",
        ),
        Some(Reach::Route(RouteTarget::Tunnel(_) | RouteTarget::Bundle(_))) => {
            refuse(
                format!("{remote} would itself go through a tunnel"),
                "the outer packet must leave through a router or a link",
            );
        }
        Some(Reach::Route(RouteTarget::Segment(_) | RouteTarget::Discard | RouteTarget::Unreachable)) | None => {
            let message = format!("segment '{underlay}' has no route to {remote} through a router or a link");
            refuse(message, "add a route with `via` to that segment");
        }
    }
}

/// NAT would hand the tunnel's own UDP port out.
fn nat_ports(gateway: &Gateway, raw: &RawTunnel, tunnel: &Tunnel, problems: &mut Problems) {
    let port = gateway.port(tunnel.port);
    let Some(range) = port.nat_ports else { return };
    for own in tunnel.udp_ports().into_iter().filter(|own| range.contains(*own)) {
        let stated = match raw {
            RawTunnel::Esp(esp) => esp.local_port.as_ref().map(|at| at.place),
            RawTunnel::Ipsec(_) => None,
        };
        problems.add(
            stated.unwrap_or(raw.local().place),
            format!("UDP port {own} lies in nat-ports {range} of port '{}'", port.name),
        );
    }
}

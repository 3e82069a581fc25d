//! Tunnels and their SAs. A tunnel without keys keeps its place and has no outbound SA: what is routed into it is dropped.

use crate::indices::Wanted;
use crate::sas::Outbound;
use crate::{Action, Draft, Learned, OuterPath, UdpPorts, links, padded, routes, sas};
use tombolo_config::{DontFragment, Dscp, ESP_UDP_PORT, Encapsulation, Gateway, Keying, Prefix, Tunnel};
use tombolo_tables::layout::{NextHop, TunnelIndex, TunnelRecord, encapsulation, tunnel_flag};
use zerocopy::FromZeros;

/// Gives every tunnel its index. Comes before the routes, which name them.
pub(crate) fn assign(draft: &mut Draft<'_>) {
    let (desired, learned) = (draft.desired, draft.learned);
    let wanted = |tunnel: &Tunnel| Wanted {
        name: tunnel.name.to_string(),
        detail: format!("{:?}", path(desired, learned, tunnel)),
    };
    let wanted: Vec<Wanted> = desired.tunnels.iter().map(wanted).collect();
    let given = draft
        .plan
        .indices
        .tunnels
        .assign(&wanted, desired.limits.tunnels as usize);
    for given in given {
        let given = given.expect("a configuration has no more tunnels than its limit");
        let tunnel = TunnelIndex(given.index);
        draft.tunnels.push(tunnel);
        if given.fresh {
            draft.plan.actions.push(Action::ResetTunnel { tunnel });
        }
    }
}

/// Fills the tables of tunnels, SAs and selectors.
pub(crate) fn fill(draft: &mut Draft<'_>) {
    let outbound = sas::fill(draft);
    draft.plan.world.tunnels = vec![TunnelRecord::new_zeroed(); draft.plan.indices.tunnels.used()];
    for (at, outbound) in outbound.into_iter().enumerate() {
        let index = draft.tunnels[at];
        draft.plan.world.tunnels[index.usize()] = tunnel_record(draft, at, outbound);
    }
}

/// The way of a tunnel's outer packets: as negotiated, else as far as the configuration says it. The far end is unspecified where
/// nobody knows it yet.
pub(crate) fn path(desired: &Gateway, learned: &Learned, tunnel: &Tunnel) -> OuterPath {
    let negotiated = learned.negotiated.get(tunnel.name.as_str());
    match negotiated.filter(|negotiated| wrong_path(desired, tunnel, &negotiated.path).is_none()) {
        Some(negotiated) => negotiated.path,
        None => OuterPath {
            local: tunnel.local,
            remote: tunnel.remote().unwrap_or(Prefix::all(tunnel.local.is_ipv6()).address()),
            udp: udp_ports(tunnel),
            follow: false,
        },
    }
}

/// Ports of ESP in UDP as configured; none for ESP straight in IP.
fn udp_ports(tunnel: &Tunnel) -> Option<UdpPorts> {
    let ports = |local, remote| Some(UdpPorts { local, remote });
    match &tunnel.keying {
        Keying::Manual(manual) => match manual.encapsulation {
            Encapsulation::None => None,
            Encapsulation::Udp {
                local_port,
                remote_port,
            } => ports(local_port, remote_port),
        },
        Keying::Ike(ike) if ike.force_udp || ike.start_on_4500 => ports(ESP_UDP_PORT, ESP_UDP_PORT),
        Keying::Ike(_) => None,
    }
}

/// Why outer packets cannot travel as it was negotiated.
pub(crate) fn wrong_path(desired: &Gateway, tunnel: &Tunnel, path: &OuterPath) -> Option<&'static str> {
    let port = desired.port(tunnel.port);
    if !port.addresses.iter().any(|own| own.address() == path.local) {
        Some("the address at our end is none of its port's")
    } else if path.local.is_ipv4() != path.remote.is_ipv4() {
        Some("its ends have addresses of two families")
    } else if path.remote.is_unspecified() || path.remote.is_multicast() {
        Some("the peer's address is nobody's")
    } else {
        None
    }
}

fn tunnel_record(draft: &Draft<'_>, at: usize, outbound: Outbound) -> TunnelRecord {
    let tunnel = &draft.desired.tunnels[at];
    let path = path(draft.desired, draft.learned, tunnel);
    let hop = routes::tunnel_hop(draft.desired, &draft.reach, tunnel, path.remote);
    let underlay_next_hop = hop
        .and_then(|host| draft.neighbours.get(&host))
        .map(|index| NextHop::Neighbour(*index));
    let egress = draft.desired.port(hop.map_or(tunnel.port, |(port, _)| port));
    let outer_mtu = links::mtu(egress, draft.learned.links.get(egress.device.as_str()));
    let udp = path.udp.is_some();
    TunnelRecord {
        name: padded(tunnel.name.as_str()),
        local: path.local.into(),
        remote: path.remote.into(),
        underlay_next_hop: underlay_next_hop.unwrap_or(NextHop::Unreachable).to_bits(),
        outbound: outbound.first,
        local_port: path.udp.map_or(0, |ports| ports.local),
        remote_port: path.udp.map_or(0, |ports| ports.remote),
        segment: draft.segment(tunnel.segment).0,
        underlay_segment: draft.segment(draft.desired.port(tunnel.port).segment).0,
        mtu: tunnel.inner_mtu(outer_mtu, udp),
        flags: flags(tunnel)
            | if outbound.chooses { tunnel_flag::CHOOSES } else { 0 }
            | if path.follow && udp { tunnel_flag::FOLLOWS } else { 0 },
        encapsulation: if udp {
            encapsulation::ESP_UDP
        } else {
            encapsulation::ESP
        },
        reserved: 0,
        bundle: 0,
    }
}

fn flags(tunnel: &Tunnel) -> u16 {
    let dont_fragment = match tunnel.dont_fragment {
        DontFragment::Set => tunnel_flag::DF_SET,
        DontFragment::Copy => tunnel_flag::DF_COPY,
        DontFragment::Clear => 0,
    };
    let dscp = match tunnel.dscp {
        Dscp::Copy => tunnel_flag::DSCP_COPY,
        Dscp::Zero => 0,
    };
    dont_fragment | dscp | tunnel_flag::ENABLED
}

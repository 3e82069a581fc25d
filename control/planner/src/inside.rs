//! Addresses of the gateway inside tunnels: the clouds give each tunnel a small network, ping our end of it and speak BGP with it.
//!
//! The gateway's kernel answers, as for any own address, through the TAP of a port of the tunnel's segment; the rest of the network
//! is through the tunnel. A port of the underlay will not do: what its kernel sends leaves in clear.

use crate::kernel::{KernelAddress, KernelRoute, KernelRule, KernelTarget, RULE_PRIORITIES, TABLE_FIRST};
use crate::{Draft, links};
use tombolo_config::{InterfaceAddress, PortId, Prefix, Tunnel};
use tombolo_tables::build::Route;
use tombolo_tables::layout::NextHop;

/// An inside address, its tunnel by its place, and the port whose TAP answers for it.
struct Inside {
    tunnel: usize,
    own: InterfaceAddress,
    port: Option<PortId>,
}

fn all(draft: &Draft<'_>) -> Vec<Inside> {
    let port_of = |tunnel: &Tunnel| {
        let answers = |id: &PortId| {
            let port = draft.desired.port(*id);
            port.segment == tunnel.segment && !port.underlay
        };
        draft.desired.port_ids().find(answers)
    };
    let mut all = Vec::new();
    for (at, tunnel) in draft.desired.tunnels.iter().enumerate() {
        let own = tunnel.ike().map(|ike| ike.inside.as_slice()).unwrap_or(&[]);
        all.extend(own.iter().map(|own| Inside {
            tunnel: at,
            own: *own,
            port: port_of(tunnel),
        }));
    }
    all
}

/// Adds the routes to our end and to the peer's; the operator's own routes to the same networks count more.
pub(crate) fn routes(draft: &mut Draft<'_>, routes: &mut Vec<Route>) {
    for inside in all(draft) {
        let tunnel = &draft.desired.tunnels[inside.tunnel];
        let segment = draft.segment(tunnel.segment);
        let mut add = |to: Prefix, next_hop| {
            let route = crate::routes::entry(segment, to, next_hop);
            let place = |route: &Route| (route.segment, route.prefix, route.length, route.v6);
            if !routes.iter().any(|known| place(known) == place(&route)) {
                routes.push(route);
            }
        };
        match inside.port {
            Some(port) => add(Prefix::host(inside.own.address()), NextHop::Local(draft.port(port))),
            None => {
                let (name, own) = (&tunnel.name, inside.own.address());
                draft.warn(format!(
                    "tunnel {name}: nobody answers on {own}: its segment has no port beside the underlay's"
                ));
                continue;
            }
        }
        if inside.own.prefix() != Prefix::host(inside.own.address()) {
            add(inside.own.prefix(), NextHop::Tunnel(draft.tunnels[inside.tunnel]));
        }
    }
}

/// The kernel has the addresses, and what it sends from them goes into the TAP.
pub(crate) fn kernel(draft: &mut Draft<'_>) {
    for Inside { own, port, .. } in all(draft) {
        let Some(id) = port else { continue };
        let (port, address) = (draft.desired.port(id), own.address());
        let host = Prefix::host(address);
        let table = TABLE_FIRST + u32::from(draft.port(id).0);
        draft.plan.kernel.addresses.push(KernelAddress {
            device: links::device(port, draft.port(id)),
            address,
            prefix_length: host.length(),
        });
        draft.plan.kernel.up.insert(port.device.to_string());
        draft.plan.kernel.rules.push(KernelRule {
            priority: *RULE_PRIORITIES.start(),
            source: address,
            source_length: host.length(),
            table,
        });
        let of_family = |other: &InterfaceAddress| other.address().is_ipv6() == address.is_ipv6();
        if let Some(tap) = links::tap(draft.learned, port, draft.port(id))
            && !port.addresses.iter().any(of_family)
        {
            let everything = Prefix::all(address.is_ipv6());
            draft.plan.kernel.routes.push(KernelRoute {
                table,
                prefix: everything.address(),
                prefix_length: everything.length(),
                device: tap.device.clone(),
                target: KernelTarget::OnLink,
                source: None,
            });
        }
    }
}

//! The kernel's side. It answers ARP, ND and ping for the gateway's own addresses and carries the sockets of the gateway
//! itself; it forwards nothing.
//!
//! What the kernel sends from an own address is looked up in a table of the port that bears the address:
//! * an underlay port's table has the port's networks and routers on the device itself: key exchange and other sockets of
//!   the host reach the underlay whether or not the dataplane runs;
//! * any other port's table leads into the port's TAP, where a worker routes the packet as its segment says (through a
//!   tunnel, if need be). So segments with the same prefixes stay apart. Without a dataplane the TAP and its routes are gone
//!   and the main table's connected networks answer.
//!
//! A VLAN port's device is a TAP of the dataplane that stands for the VLAN (`links::device`): it speaks ARP and ND, and a
//! worker puts the tag in and takes it out. Its addresses are there, so without a dataplane they are gone.
//!
//! An address that two segments both have can be told apart by nobody here: the first port's table counts (the
//! configuration warned).

use crate::kernel::{
    DesiredTap, KernelAddress, KernelRoute, KernelRule, KernelTarget, ManagedNeighbour, RULE_PRIORITIES, Sysctl,
    TABLE_FIRST,
};
use crate::{Draft, inside, links, routes};
use std::collections::BTreeSet;
use tombolo_config::{PortId, Prefix, RouteTarget};

/// What the host's own connections use; NAT ranges stay outside (see the configuration's checks).
const HOST_PORTS: &str = "32768\t60999";

pub(crate) fn fill(draft: &mut Draft<'_>) {
    sysctls(draft);
    let mut addressed = BTreeSet::new();
    for id in draft.desired.port_ids() {
        let port = draft.desired.port(id);
        let table = TABLE_FIRST + u32::from(draft.port(id).0);
        for own in &port.addresses {
            let (address, prefix_length) = (own.address(), own.length());
            draft.plan.kernel.addresses.push(KernelAddress {
                device: links::device(port, draft.port(id)),
                address,
                prefix_length,
            });
            if addressed.insert(address) {
                let (priority, source_length) = (*RULE_PRIORITIES.start(), Prefix::host(address).length());
                draft.plan.kernel.rules.push(KernelRule {
                    priority,
                    source: address,
                    source_length,
                    table,
                });
            }
        }
        if port.underlay {
            underlay_routes(draft, id, table);
        } else {
            tap_routes(draft, id, table);
        }
        taps(draft, id);
        if !port.addresses.is_empty() {
            draft.plan.kernel.up.insert(port.device.to_string());
        }
    }
    inside::kernel(draft);
    neighbours(draft);
    let kernel = &mut draft.plan.kernel;
    kernel.addresses.sort();
    kernel.rules.sort();
    kernel.rules.dedup();
    kernel.routes.sort();
    kernel.routes.dedup();
    kernel.taps.sort();
}

fn underlay_routes(draft: &mut Draft<'_>, id: PortId, table: u32) {
    let desired = draft.desired;
    let port = desired.port(id);
    let device = links::device(port, draft.port(id));
    let source = |v6: bool| {
        port.addresses
            .iter()
            .map(|own| own.address())
            .find(|own| own.is_ipv6() == v6)
    };
    let mut route = |prefix: Prefix, target| {
        draft.plan.kernel.routes.push(KernelRoute {
            table,
            prefix: prefix.address(),
            prefix_length: prefix.length(),
            device: device.clone(),
            target,
            source: source(prefix.is_v6()),
        });
    };
    for own in &port.addresses {
        route(own.prefix(), KernelTarget::OnLink);
    }
    for wanted in desired.routes.iter().filter(|route| route.segment == port.segment) {
        if let RouteTarget::Via { port, address } = wanted.target
            && port == id
        {
            route(wanted.to, KernelTarget::Via(address));
        }
    }
}

fn tap_routes(draft: &mut Draft<'_>, id: PortId, table: u32) {
    let port = draft.desired.port(id);
    let Some(tap) = links::tap(draft.learned, port, draft.port(id)) else {
        return;
    };
    for v6 in [false, true] {
        let Some(own) = port.addresses.iter().find(|own| own.address().is_ipv6() == v6) else {
            continue;
        };
        let all = Prefix::all(v6);
        draft.plan.kernel.routes.push(KernelRoute {
            table,
            prefix: all.address(),
            prefix_length: all.length(),
            device: tap.device.clone(),
            target: KernelTarget::OnLink,
            source: Some(own.address()),
        });
    }
}

fn taps(draft: &mut Draft<'_>, id: PortId) {
    let port = draft.desired.port(id);
    let index = draft.port(id);
    let Some(link) = draft.learned.links.get(port.device.as_str()) else {
        return;
    };
    let mut tap = |device, arp| {
        draft.plan.kernel.taps.push(DesiredTap {
            port: port.name.to_string(),
            device,
            mac: link.mac,
            mtu: links::mtu(port, Some(link)),
            arp,
        });
    };
    tap(tombolo_tables::layout::tap_name(index), false);
    if port.vlan.is_some() {
        tap(links::device(port, index), true);
    }
}

fn neighbours(draft: &mut Draft<'_>) {
    let hosts = routes::gateways(draft.desired, draft.learned, &draft.reach);
    let requested = routes::requested(draft.desired, draft.learned);
    let managed = hosts.union(&requested).map(|(port, address)| ManagedNeighbour {
        device: links::device(draft.desired.port(*port), draft.port(*port)),
        address: *address,
    });
    let mut managed: Vec<ManagedNeighbour> = managed.collect();
    managed.sort();
    draft.plan.kernel.neighbours = managed;
}

fn sysctls(draft: &mut Draft<'_>) {
    let mut devices: BTreeSet<String> = BTreeSet::new();
    let mut taps: BTreeSet<String> = BTreeSet::new();
    for id in draft.desired.port_ids() {
        let port = draft.desired.port(id);
        let own = [port.device.to_string(), links::device(port, draft.port(id))];
        let there = |device: &String| draft.learned.links.contains_key(device);
        devices.extend(own.into_iter().filter(there));
        taps.extend(links::tap(draft.learned, port, draft.port(id)).map(|tap| tap.device));
    }
    let mut set = |path: String, value: &str| {
        draft.plan.kernel.sysctls.push(Sysctl {
            path,
            value: value.to_owned(),
        })
    };
    // Writing these resets settings of single devices, so they come first.
    set("net/ipv4/ip_forward".into(), "0");
    set("net/ipv6/conf/all/forwarding".into(), "0");
    set("net/ipv4/ip_local_port_range".into(), HOST_PORTS);
    // The greater of `all` and the device counts.
    set("net/ipv4/conf/all/rp_filter".into(), "0");
    for device in devices.union(&taps) {
        let v4 = |name: &str| format!("net/ipv4/conf/{device}/{name}");
        let v6 = |name: &str| format!("net/ipv6/conf/{device}/{name}");
        set(v4("forwarding"), "0");
        set(v4("rp_filter"), "0");
        // Strict: an address answers on its own device only, and ARP asks with the device's own address.
        set(v4("arp_ignore"), "1");
        set(v4("arp_announce"), "2");
        set(v6("forwarding"), "0");
        set(v6("accept_ra"), "0");
        set(v6("autoconf"), "0");
    }
}

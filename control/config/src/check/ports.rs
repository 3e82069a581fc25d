//! Ports: devices, addresses, NAT ranges.

use super::Scope;
use crate::model::{Gateway, Port};
use crate::problem::{Place, Problems};
use crate::raw::{RawGateway, RawPort};
use crate::reader::At;
use crate::value::{InterfaceAddress, Name, PortRange};

/// Bytes of the longest port name.
const PORT_NAME_LENGTH_MAX: usize = 15;
/// Most addresses of one port.
const ADDRESSES_MAX: usize = 32;
/// Ports below belong to services.
const NAT_PORT_MIN: u16 = 1024;
/// What the kernel gives to the host's own connections (`ip_local_port_range` as tombolod sets it).
pub(super) const HOST_PORTS: PortRange = PortRange::new(32_768, 60_999);
/// Fewer would be used up at once: ports are handed out in blocks of 64.
const NAT_PORTS_MIN: u16 = 256;

pub(super) fn resolve(raw: &RawGateway, scope: &Scope<'_>, problems: &mut Problems) -> Vec<Port> {
    raw.ports
        .0
        .iter()
        .map(|(name, port)| resolve_port(name, port, scope, problems))
        .collect()
}

fn resolve_port(name: &At<Name>, raw: &RawPort, scope: &Scope<'_>, problems: &mut Problems) -> Port {
    if name.value.as_str().len() > PORT_NAME_LENGTH_MAX {
        problems.add(
            name.place,
            format!("the name of a port has at most {PORT_NAME_LENGTH_MAX} characters"),
        );
    }
    let addresses = raw.addresses.as_deref().unwrap_or_default();
    if addresses.len() > ADDRESSES_MAX {
        problems.add(name.place, format!("a port has at most {ADDRESSES_MAX} addresses"));
    }
    if let Some(nat_ports) = &raw.nat_ports {
        check_nat_ports(nat_ports, problems);
        if addresses.is_empty() {
            problems.add(
                nat_ports.place,
                "a port without addresses has nothing that NAT could use",
            );
        }
    }
    let underlay = raw.underlay.as_ref().is_some_and(|at| at.value);
    if underlay && addresses.is_empty() {
        problems.add(
            raw.place,
            "an underlay port needs an address, or no tunnel can end here",
        );
    }
    Port {
        name: name.value.clone(),
        device: raw.device.value.clone(),
        segment: scope.segment(&raw.segment, problems),
        vlan: raw.vlan.as_ref().map(|at| at.value.u16()),
        underlay,
        generic: raw.generic.as_ref().is_some_and(|at| at.value),
        addresses: addresses.iter().map(|at| at.value).collect(),
        nat_ports: raw.nat_ports.as_ref().map(|at| at.value),
        mtu: raw.mtu.as_ref().map(|at| at.value.u16()),
    }
}

fn check_nat_ports(nat_ports: &At<PortRange>, problems: &mut Problems) {
    let range = nat_ports.value;
    let hint = "take a range within 1024-32767 or 61000-65535, for example 20000-29999";
    if range.first() < NAT_PORT_MIN {
        problems.hint(nat_ports.place, format!("{range} contains well-known ports"), hint);
    } else if range.overlaps(HOST_PORTS) {
        let message = format!("{range} overlaps {HOST_PORTS}, which the host's own connections use");
        problems.hint(nat_ports.place, message, hint);
    } else if range.last() - range.first() < NAT_PORTS_MIN - 1 {
        problems.hint(
            nat_ports.place,
            format!("{range} has fewer than {NAT_PORTS_MIN} ports"),
            hint,
        );
    }
}

/// An address with its place, its port's place in the list, and its segment.
struct Own {
    place: Place,
    address: InterfaceAddress,
    port: usize,
}

pub(super) fn relate(raw: &RawGateway, gateway: &Gateway, problems: &mut Problems, warnings: &mut Problems) {
    devices(raw, gateway, problems);
    let statements = raw.ports.0.iter().enumerate();
    let own: Vec<Own> = statements
        .flat_map(|(port, (_, statement))| {
            let addresses = statement.addresses.iter().flatten();
            addresses.map(move |at| Own {
                place: at.place,
                address: at.value,
                port,
            })
        })
        .collect();
    for (i, later) in own.iter().enumerate() {
        for earlier in &own[..i] {
            addresses(gateway, earlier, later, problems, warnings);
        }
    }
}

fn addresses(gateway: &Gateway, earlier: &Own, later: &Own, problems: &mut Problems, warnings: &mut Problems) {
    let (a, b) = (&gateway.ports[earlier.port], &gateway.ports[later.port]);
    let same = earlier.address.address() == later.address.address();
    if a.segment != b.segment {
        if same {
            let message = format!("{} is also an address of port '{}'", later.address.address(), a.name);
            let hint = "both are forwarded, but the kernel can answer ping and SSH for one of them only";
            warnings.hint(later.place, message, hint);
        }
        return;
    }
    if same {
        problems.add(
            later.place,
            format!("{} is already an address of port '{}'", later.address.address(), a.name),
        );
        return;
    }
    let (first, second) = (earlier.address.prefix(), later.address.prefix());
    if first.overlaps(second) && !(earlier.port == later.port && first == second) {
        let message = format!("{second} overlaps {first} of port '{}' in the same segment", a.name);
        problems.hint(
            later.place,
            message,
            "a destination must be on the link of one port; use two segments or other prefixes",
        );
    }
}

fn devices(raw: &RawGateway, gateway: &Gateway, problems: &mut Problems) {
    for (i, (_, statement)) in raw.ports.0.iter().enumerate() {
        let port = &gateway.ports[i];
        for other in &gateway.ports[..i] {
            if port.device != other.device {
                continue;
            }
            if port.vlan == other.vlan {
                let message = format!("device '{}' is already port '{}'", port.device, other.name);
                problems.hint(
                    statement.device.place,
                    message,
                    "two ports on one device need different vlan tags",
                );
            } else if port.generic != other.generic {
                let message = format!("'generic' differs from port '{}' on the same device", other.name);
                problems.add(statement.place, message);
            }
        }
    }
}

//! What the steering rule is told, from the tables: the same for the program in the kernel and for a replay.

use crate::ports::ServedPort;
use tombolo_tables::layout::PortIndex;
use tombolo_tables::view::Tables;
use tombolo_wire::steer::{SteerConfig, SteerPort};

/// Ports that the host's own connections use when the kernel does not say (`net.ipv4.ip_local_port_range`).
pub const HOST_PORTS: (u16, u16) = (32_768, 60_999);

/// The steering configuration of the `served` ports, on a host whose own connections use `host_ports`.
pub fn config(tables: Tables<'_>, served: &[ServedPort], host_ports: (u16, u16)) -> SteerConfig {
    let ports = served.iter().filter_map(|served| {
        let record = tables.port(served.port)?;
        let own = tables
            .own_addresses()
            .iter()
            .filter(|own| PortIndex(own.port) == served.port);
        let mac = &record.mac;
        Some(SteerPort {
            index: served.port.0,
            ifindex: record.ifindex,
            vlan: record.vlan,
            socket_row: u16::from(served.slot.0),
            mac: [mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]],
            nat_ports: (record.nat_port_first != 0).then_some((record.nat_port_first, record.nat_port_last)),
            own_addresses: own.map(|own| own.address.into()).collect(),
        })
    });
    SteerConfig {
        ports: ports.collect(),
        // SSH, BGP, IKE, DHCP, ARP, neighbour discovery and what answers the host are in the rule itself. Whatever else listens
        // on an own address is reached through a worker and the port's TAP; a configuration names nothing that must work
        // without workers, and no WireGuard.
        services: Vec::new(),
        wireguard_ports: Vec::new(),
        host_ports,
    }
}

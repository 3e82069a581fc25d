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

/// Own addresses of a port that [`Rule`] has room for; what is beyond is not kept, so that a worker never allocates.
const OWN_ADDRESSES_MAX: usize = 64;

/// The rule as a worker keeps it for its VLAN ports, in memory taken once.
pub struct Rule {
    config: SteerConfig,
    vlans: Vec<ServedPort>,
}

impl Rule {
    /// Room for the VLAN ports among `served`.
    pub fn new(served: &[ServedPort]) -> Self {
        let vlans: Vec<_> = served.iter().filter(|served| served.vlan != 0).copied().collect();
        let port = |served: &ServedPort| SteerPort {
            index: served.port.0,
            ifindex: 0,
            vlan: served.vlan,
            socket_row: served.slot.0.into(),
            mac: [0; 6],
            nat_ports: None,
            own_addresses: Vec::with_capacity(OWN_ADDRESSES_MAX),
        };
        Rule {
            config: SteerConfig {
                ports: vlans.iter().map(port).collect(),
                services: Vec::new(),
                wireguard_ports: Vec::new(),
                host_ports: HOST_PORTS,
            },
            vlans,
        }
    }

    /// Learns a new generation.
    pub fn renew(&mut self, tables: &Tables<'_>) {
        for (port, served) in self.config.ports.iter_mut().zip(&self.vlans) {
            port.own_addresses.clear();
            let Some(record) = tables.port(served.port) else {
                continue;
            };
            let mac = &record.mac;
            port.ifindex = record.ifindex;
            port.mac = [mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]];
            port.nat_ports = (record.nat_port_first != 0).then_some((record.nat_port_first, record.nat_port_last));
            let own = tables
                .own_addresses()
                .iter()
                .filter(|own| PortIndex(own.port) == served.port);
            port.own_addresses.extend(
                own.take(OWN_ADDRESSES_MAX)
                    .map(|own| core::net::IpAddr::from(own.address)),
            );
        }
    }

    /// As the steering rule reads it.
    #[inline]
    pub fn config(&self) -> &SteerConfig {
        &self.config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_without_vlans_keeps_no_rule() {
        let untagged = ServedPort {
            port: PortIndex(0),
            slot: tombolo_packet_io::PortSlot(0),
            vlan: 0,
        };
        let tagged = ServedPort { vlan: 100, ..untagged };
        assert!(Rule::new(&[untagged]).config().ports.is_empty());
        assert_eq!(Rule::new(&[untagged, tagged]).config().ports.len(), 1);
    }
}

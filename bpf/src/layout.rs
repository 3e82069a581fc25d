//! The maps' keys and values as bytes: the structures of `maps.h`, native endian.

use std::net::IpAddr;
use tombolo_wire::steer::{SteerConfig, SteerPort};

/// Queues of one device that steering can tell apart.
pub const QUEUES_MAX: u32 = 64;
/// Devices with sockets.
pub const SOCKET_ROWS_MAX: u16 = 256;
pub(crate) const PORT_UNKNOWN: u32 = 255;
pub(crate) const COUNTERS: usize = 32;

const LOCAL_SERVICE: u8 = 1;
const LOCAL_WIREGUARD: u8 = 2;

pub(crate) type Entry = (Vec<u8>, Vec<u8>);

/// `struct port_key` → `struct port`.
pub(crate) fn port(port: &SteerPort) -> Entry {
    let mut key = port.ifindex.to_ne_bytes().to_vec();
    key.extend(port.vlan.to_ne_bytes());
    key.extend([0; 2]);
    let (nat_first, nat_last) = port.nat_ports.unwrap_or((1, 0));
    let mut value = Vec::new();
    for field in [port.index, port.socket_row, nat_first, nat_last] {
        value.extend(field.to_ne_bytes());
    }
    value.extend(port.mac);
    value.extend([0; 2]);
    (key, value)
}

/// `struct own_key` → nothing, for each own address of the port.
pub(crate) fn own_addresses(port: &SteerPort) -> impl Iterator<Item = Entry> {
    port.own_addresses.iter().map(|address| {
        let bytes = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let mut key = u32::from(port.index).to_ne_bytes().to_vec();
        key.extend(bytes);
        (key, vec![1])
    })
}

/// `struct local_key` → kind. WireGuard comes last: it wins over a service on the same port.
pub(crate) fn local_ports(config: &SteerConfig) -> impl Iterator<Item = Entry> {
    let entry = |protocol: u16, port: u16, kind| {
        let mut key = protocol.to_ne_bytes().to_vec();
        key.extend(port.to_ne_bytes());
        (key, vec![kind])
    };
    let services = config
        .services
        .iter()
        .map(move |s| entry(s.protocol.into(), s.port, LOCAL_SERVICE));
    services.chain(
        config
            .wireguard_ports
            .iter()
            .map(move |&port| entry(17, port, LOCAL_WIREGUARD)),
    )
}

/// Index 0 → `struct host`.
pub(crate) fn host(config: &SteerConfig) -> Entry {
    let mut value = config.host_ports.0.to_ne_bytes().to_vec();
    value.extend(config.host_ports.1.to_ne_bytes());
    (0u32.to_ne_bytes().to_vec(), value)
}

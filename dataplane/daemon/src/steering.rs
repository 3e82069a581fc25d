//! What the steering program is told: what the tables say, and what only this host knows.

use crate::ports::Served;
use tombolo_bpf::SteerConfig;
use tombolo_tables::view::Tables;
use tombolo_worker::steering::{self, HOST_PORTS};

/// The steering configuration of the served ports.
pub fn config(tables: Tables<'_>, served: &Served) -> SteerConfig {
    steering::config(tables, &served.ports, host_ports().unwrap_or(HOST_PORTS))
}

fn host_ports() -> Option<(u16, u16)> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut numbers = text.split_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

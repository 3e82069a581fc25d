//! What the rule knows: ports, their own addresses, and the ports of local services.

use super::{Action, Verdict};
use core::net::IpAddr;

/// `SteerPort::vlan` of a port that takes untagged (or priority-tagged) frames.
pub const VLAN_NONE: u16 = 0;

/// Everything the rule reads beside the frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SteerConfig {
    /// All ports of the gateway.
    pub ports: Vec<SteerPort>,
    /// Services beyond SSH and BGP that the kernel gets without a worker's help, on every port. A gateway's configuration
    /// names none.
    pub services: Vec<Service>,
    /// UDP ports on which WireGuard listens. None as long as a configuration has no WireGuard tunnels.
    pub wireguard_ports: Vec<u16>,
    /// Inclusive range of ports that the host's own connections use (`net.ipv4.ip_local_port_range`).
    pub host_ports: (u16, u16),
}

/// A port as steering sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SteerPort {
    /// `PortIndex`: names the port's counters. Below 255.
    pub index: u16,
    /// Kernel interface index of the device.
    pub ifindex: u32,
    /// 802.1Q id, or [`VLAN_NONE`].
    pub vlan: u16,
    /// Row of the XSKMAP with the device's sockets; ports (VLANs) of one device share it, since a socket is bound to a
    /// device. Below 256.
    pub socket_row: u16,
    /// Own MAC address.
    pub mac: [u8; 6],
    /// Inclusive range of ports and ICMP ids that NAT uses on the port's own addresses.
    pub nat_ports: Option<(u16, u16)>,
    /// Own addresses of this port.
    pub own_addresses: Vec<IpAddr>,
}

/// A listening port of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// IP protocol: 6 or 17.
    pub protocol: u8,
    /// Port number.
    pub port: u16,
}

impl SteerConfig {
    /// The port that takes frames of `vlan` on the device `ifindex`.
    pub fn port(&self, ifindex: u32, vlan: u16) -> Option<&SteerPort> {
        self.ports
            .iter()
            .find(|port| port.ifindex == ifindex && port.vlan == vlan)
    }
}

impl SteerPort {
    /// Whether NAT owns this port or ICMP id on the port's own addresses.
    pub fn is_nat_port(&self, number: u16) -> bool {
        self.nat_ports
            .is_some_and(|(first, last)| (first..=last).contains(&number))
    }

    /// What XDP does with a frame of this port. The kernel gets nothing of a VLAN port by itself: a worker takes the tag off
    /// and hands it what `Pass` means.
    pub fn action(&self, verdict: Verdict) -> Action {
        match verdict.action() {
            Action::Pass if self.vlan != VLAN_NONE => Action::Work,
            action @ (Action::Pass | Action::Work | Action::Drop) => action,
        }
    }
}

/// A small gateway on the devices 1 (untagged and VLAN 7) and 2, for fuzzing and tests.
pub(super) fn example() -> SteerConfig {
    let port = |index, ifindex, vlan, nat_ports, own: [&str; 2]| SteerPort {
        index,
        ifindex,
        vlan,
        socket_row: ifindex as u16,
        mac: [2, 0, 0, 0, 0, ifindex as u8],
        nat_ports,
        own_addresses: own.iter().flat_map(|text| text.parse()).collect(),
    };
    SteerConfig {
        ports: vec![
            port(0, 1, VLAN_NONE, Some((20000, 29999)), ["192.0.2.1", "2001:db8:a::1"]),
            port(1, 1, 7, None, ["10.1.0.1", "fd00:1::1"]),
            port(2, 2, VLAN_NONE, None, ["10.1.1.1", "fd00:1:1::1"]),
        ],
        services: vec![
            Service {
                protocol: 6,
                port: 9100,
            },
            Service {
                protocol: 17,
                port: 3784,
            },
        ],
        wireguard_ports: vec![51820],
        host_ports: (32768, 60999),
    }
}

//! What the kernel shall look like, as plain data: the agent compares it with what is there and changes the difference.

use core::net::IpAddr;
use std::collections::BTreeSet;

/// Everything wanted of the kernel. Lists are sorted and without duplicates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelDesired {
    /// Devices of ports with addresses: to be up.
    pub up: BTreeSet<String>,
    /// Addresses on the ports' devices.
    pub addresses: Vec<KernelAddress>,
    /// Settings below `/proc/sys`; in this order.
    pub sysctls: Vec<Sysctl>,
    /// Routes.
    pub routes: Vec<KernelRoute>,
    /// Policy-routing rules.
    pub rules: Vec<KernelRule>,
    /// Neighbours to keep resolved: gateways, and those that workers asked for.
    pub neighbours: Vec<ManagedNeighbour>,
    /// TAPs that the dataplane makes and the kernel side of which the agent sets up.
    pub taps: Vec<DesiredTap>,
}

/// An address on a device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelAddress {
    /// Kernel device.
    pub device: String,
    /// The address.
    pub address: IpAddr,
    /// Length of its network.
    pub prefix_length: u8,
}

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sysctl {
    /// Path below `/proc/sys`, for example `net/ipv4/conf/up0/arp_ignore`.
    pub path: String,
    /// What shall stand there.
    pub value: String,
}

/// Where a kernel route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KernelTarget {
    /// To a router on the device's link.
    Via(IpAddr),
    /// To the hosts of the link itself.
    OnLink,
}

/// A route of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelRoute {
    /// Kernel table.
    pub table: u32,
    /// Network.
    pub prefix: IpAddr,
    /// Its length.
    pub prefix_length: u8,
    /// Kernel device.
    pub device: String,
    /// Where it leads.
    pub target: KernelTarget,
    /// Source that own sockets take, if not the kernel's choice.
    pub source: Option<IpAddr>,
}

/// A policy-routing rule: packets from an address look into a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelRule {
    /// Rules are tried in this order; all lie in [`RULE_PRIORITIES`].
    pub priority: u32,
    /// Source address; its family is the rule's.
    pub source: IpAddr,
    /// Length of the source prefix.
    pub source_length: u8,
    /// Kernel table.
    pub table: u32,
}

/// Priorities of the rules that this planner makes; the agent removes no others.
pub const RULE_PRIORITIES: core::ops::RangeInclusive<u32> = 8400..=8499;
/// Kernel tables that this planner uses: `TABLE_FIRST` + port index.
pub const TABLE_FIRST: u32 = 8400;

/// A neighbour to keep resolved.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ManagedNeighbour {
    /// Kernel device.
    pub device: String,
    /// Its address.
    pub address: IpAddr,
}

/// A TAP of a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DesiredTap {
    /// Name of the port.
    pub port: String,
    /// Kernel device.
    pub device: String,
    /// MAC address: the port's own, so that what is punted is addressed to it.
    pub mac: [u8; 6],
    /// Largest IP packet in bytes.
    pub mtu: u16,
    /// Whether it speaks ARP and ND: the one that is a VLAN's link does; the other does not (IFF_NOARP), since a worker takes
    /// whatever its routes lead to.
    pub arp: bool,
}

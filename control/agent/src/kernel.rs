//! Makes the kernel look as the plan wants it: compares with what is there and changes the difference.
//!
//! Only what tombolod put there itself is ever removed: addresses that an earlier plan wanted, routes with our protocol number,
//! rules in our range of priorities.

use crate::netlink::{InterfaceAddress, KernelRoute, KernelRule, Netlink, NetlinkError, RouteKind, RouteTarget};
use crate::sysctl;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use tombolo_planner::kernel::{KernelDesired, KernelTarget, RULE_PRIORITIES};

/// The kernel's side of the gateway.
pub struct Kernel {
    netlink: Netlink,
    /// Addresses that this process put on devices.
    addresses: BTreeSet<InterfaceAddress>,
    /// Neighbours that the kernel keeps fresh for us.
    managed: BTreeSet<(u32, IpAddr)>,
    applied: Option<(KernelDesired, BTreeMap<String, u32>)>,
}

impl Kernel {
    /// With nothing done so far.
    pub fn new(netlink: Netlink) -> Kernel {
        Kernel {
            netlink,
            addresses: BTreeSet::new(),
            managed: BTreeSet::new(),
            applied: None,
        }
    }

    /// Forgets what is known to be done, so that the next [`apply`](Self::apply) looks at everything again.
    pub fn distrust(&mut self) {
        self.applied = None;
    }

    /// Makes the kernel look like `desired`. `devices` has the interface index of every device. What fails is told and
    /// the rest is done; a device that does not exist is left out, the plan has already said so.
    pub async fn apply(&mut self, desired: &KernelDesired, devices: &BTreeMap<String, u32>) -> Vec<String> {
        let goal = (desired.clone(), devices.clone());
        if self.applied.as_ref() == Some(&goal) {
            return Vec::new();
        }
        let mut failures = Vec::new();
        for sysctl in &desired.sysctls {
            if let Err(error) = sysctl::set(&sysctl.path, &sysctl.value) {
                failures.push(format!("/proc/sys/{}: {error}", sysctl.path));
            }
        }
        let steps = [
            self.apply_links(desired).await,
            self.apply_taps(desired).await,
            self.apply_addresses(desired, devices).await,
            self.apply_routes(desired, devices).await,
            self.apply_rules(desired).await,
            self.apply_neighbours(desired, devices).await,
        ];
        failures.extend(steps.into_iter().flatten().map(|error| error.to_string()));
        self.applied = failures.is_empty().then_some(goal);
        failures
    }

    async fn apply_links(&self, desired: &KernelDesired) -> Vec<NetlinkError> {
        let links = match self.netlink.links().await {
            Ok(links) => links,
            Err(error) => return vec![error],
        };
        let mut failures = Vec::new();
        for link in links.iter().filter(|link| !link.enabled) {
            if desired.up.contains(&link.name)
                && let Err(error) = self.netlink.set_up(link.index).await
            {
                failures.push(error);
            }
        }
        failures
    }

    /// The kernel's ends of the TAPs: up, with the port's MAC address and MTU.
    async fn apply_taps(&self, desired: &KernelDesired) -> Vec<NetlinkError> {
        let links = match self.netlink.links().await {
            Ok(links) => links,
            Err(error) => return vec![error],
        };
        let mut failures = Vec::new();
        for wanted in &desired.taps {
            let Some(link) = links.iter().find(|link| link.name == wanted.device) else {
                continue;
            };
            let (mac, mtu) = (wanted.mac, u32::from(wanted.mtu));
            if (link.mac, link.mtu, link.enabled, link.arp) != (mac, mtu, true, wanted.arp) {
                failures.extend(self.netlink.set_up_tap(link.index, mac, mtu, wanted.arp).await.err());
            }
        }
        failures
    }

    async fn apply_addresses(&mut self, desired: &KernelDesired, devices: &BTreeMap<String, u32>) -> Vec<NetlinkError> {
        let present: BTreeSet<InterfaceAddress> = match self.netlink.addresses().await {
            Ok(present) => present.into_iter().collect(),
            Err(error) => return vec![error],
        };
        let mut failures = Vec::new();
        let mut wanted = BTreeSet::new();
        for address in &desired.addresses {
            if let Some(&index) = devices.get(&address.device) {
                let (address, prefix_length) = (address.address, address.prefix_length);
                wanted.insert(InterfaceAddress {
                    index,
                    address,
                    prefix_length,
                });
            }
        }
        for address in self
            .addresses
            .difference(&wanted)
            .filter(|address| present.contains(address))
        {
            failures.extend(self.netlink.delete_address(address).await.err());
        }
        for address in wanted.difference(&present) {
            failures.extend(self.netlink.add_address(address).await.err());
        }
        self.addresses = wanted;
        failures
    }

    async fn apply_routes(&self, desired: &KernelDesired, devices: &BTreeMap<String, u32>) -> Vec<NetlinkError> {
        let present: BTreeSet<KernelRoute> = match self.netlink.own_routes().await {
            Ok(present) => present.into_iter().collect(),
            Err(error) => return vec![error],
        };
        let to_kernel = |route: &tombolo_planner::kernel::KernelRoute| {
            Some(KernelRoute {
                table: route.table,
                prefix: route.prefix,
                prefix_length: route.prefix_length,
                index: *devices.get(&route.device)?,
                target: match route.target {
                    KernelTarget::Via(router) => RouteTarget::Via(router),
                    KernelTarget::OnLink => RouteTarget::OnLink,
                },
                source: route.source,
                kind: RouteKind::Unicast,
            })
        };
        let wanted: BTreeSet<KernelRoute> = desired.routes.iter().filter_map(to_kernel).collect();
        let mut failures = Vec::new();
        for route in wanted.difference(&present) {
            failures.extend(self.netlink.add_route(route).await.err());
        }
        let slot = |route: &KernelRoute| (route.table, route.prefix, route.prefix_length);
        for route in present.difference(&wanted) {
            // One to the same prefix was already replaced, at least for IPv4.
            let replaced = route.prefix.is_ipv4() && wanted.iter().any(|other| slot(other) == slot(route));
            if !replaced {
                failures.extend(self.netlink.delete_route(route).await.err());
            }
        }
        failures
    }

    async fn apply_rules(&self, desired: &KernelDesired) -> Vec<NetlinkError> {
        let present: BTreeSet<KernelRule> = match self.netlink.rules(RULE_PRIORITIES).await {
            Ok(present) => present.into_iter().collect(),
            Err(error) => return vec![error],
        };
        let to_kernel = |rule: &tombolo_planner::kernel::KernelRule| KernelRule {
            priority: rule.priority,
            v6: rule.source.is_ipv6(),
            input_device: None,
            output_device: None,
            source: Some((rule.source, rule.source_length)),
            table: rule.table,
        };
        let wanted: BTreeSet<KernelRule> = desired.rules.iter().map(to_kernel).collect();
        let mut failures = Vec::new();
        for rule in wanted.difference(&present) {
            failures.extend(self.netlink.add_rule(rule).await.err());
        }
        for rule in present.difference(&wanted) {
            failures.extend(self.netlink.delete_rule(rule).await.err());
        }
        failures
    }

    async fn apply_neighbours(
        &mut self,
        desired: &KernelDesired,
        devices: &BTreeMap<String, u32>,
    ) -> Vec<NetlinkError> {
        let place = |wanted: &tombolo_planner::kernel::ManagedNeighbour| {
            devices.get(&wanted.device).map(|&index| (index, wanted.address))
        };
        let wanted: BTreeSet<(u32, IpAddr)> = desired.neighbours.iter().filter_map(place).collect();
        let mut failures = Vec::new();
        for &(index, address) in wanted.difference(&self.managed) {
            failures.extend(self.netlink.manage_neighbour(index, address).await.err());
        }
        for &(index, address) in self.managed.difference(&wanted) {
            failures.extend(self.netlink.forget_neighbour(index, address).await.err());
        }
        self.managed = wanted;
        failures
    }

    /// Asks again for every managed neighbour that the kernel does not keep: it was removed behind our back, or the device
    /// went down and came up.
    pub async fn refresh_neighbours(&mut self) -> Vec<NetlinkError> {
        let present = match self.netlink.neighbours().await {
            Ok(present) => present,
            Err(error) => return vec![error],
        };
        let kept = |index: u32, address: IpAddr| {
            present
                .iter()
                .any(|entry| (entry.index, entry.address, entry.managed) == (index, address, true))
        };
        let mut failures = Vec::new();
        for &(index, address) in self.managed.iter().filter(|(index, address)| !kept(*index, *address)) {
            let failure = self.netlink.manage_neighbour(index, address).await.err();
            // A device that is gone is no failure: the plan that follows knows it.
            failures.extend(failure.filter(|error| error.errno != libc::ENODEV));
        }
        failures
    }
}

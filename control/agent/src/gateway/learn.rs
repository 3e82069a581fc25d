//! What the planner may know about the outside: links, TAPs and neighbours as the kernel says, keys as their files say.

use crate::netlink::{KernelNeighbour, Link, Netlink, NetlinkError, Reachability};
use crate::paths::Paths;
use crate::secret_files;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tombolo_config::Gateway as Desired;
use tombolo_config::sa_file::SaPair;
use tombolo_planner as planner;
use tombolo_tables::build::World;
use tombolo_tables::layout::{PortIndex, PortRecord, tap_name, vlan_link_name};

/// How long a neighbour that does not answer is remembered. Afterwards the next packet for it asks again.
const FAILED_TIME: Duration = Duration::from_secs(10);

/// Links and neighbours at one moment.
pub(super) struct Kernel {
    links: Vec<Link>,
    neighbours: Vec<KernelNeighbour>,
    link_locals: BTreeMap<u32, std::net::Ipv6Addr>,
}

impl Kernel {
    pub(super) async fn read(netlink: &Netlink) -> Result<Kernel, NetlinkError> {
        Ok(Kernel {
            links: netlink.links().await?,
            neighbours: netlink.neighbours().await?,
            link_locals: netlink.link_locals().await?,
        })
    }

    /// Interface index by device name.
    pub(super) fn devices(&self) -> BTreeMap<String, u32> {
        self.links.iter().map(|link| (link.name.clone(), link.index)).collect()
    }

    pub(super) fn links(&self) -> BTreeMap<String, planner::Link> {
        let link = |link: &Link| planner::Link {
            ifindex: link.index,
            mac: link.mac,
            mtu: link.mtu,
            queues: u16::try_from(link.receive_queues).unwrap_or(u16::MAX),
            up: link.up,
            link_local: self.link_locals.get(&link.index).copied(),
        };
        self.links
            .iter()
            .map(|known| (known.name.clone(), link(known)))
            .collect()
    }

    /// TAPs that the dataplane made for the ports of the current world.
    pub(super) fn taps(&self, world: &World) -> BTreeMap<String, planner::Tap> {
        let tap = |(index, port): (u16, &PortRecord)| {
            let device = tap_name(PortIndex(index));
            let ifindex = self.links.iter().find(|link| link.name == device)?.index;
            Some((crate::views::text(&port.name), planner::Tap { device, ifindex }))
        };
        (0..).zip(&world.ports).filter_map(tap).collect()
    }

    /// Neighbours by port, as far as the port is in the current world.
    pub(super) fn neighbours(
        &self,
        desired: &Desired,
        world: &World,
    ) -> BTreeMap<(String, IpAddr), planner::Neighbour> {
        let names: BTreeMap<u32, &str> = self.links.iter().map(|link| (link.index, link.name.as_str())).collect();
        let mut ports: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for port in &desired.ports {
            let name = port.name.to_string();
            if let Some(device) = device(world, &name, port.device.as_str(), port.vlan) {
                ports.entry(device).or_default().push(name);
            }
        }
        let mut known = BTreeMap::new();
        for neighbour in &self.neighbours {
            let state = match neighbour.reachability {
                Reachability::Known(mac) => planner::Neighbour::Reachable(mac),
                Reachability::Failed => planner::Neighbour::Failed,
                Reachability::Resolving => continue,
            };
            let on_device = names.get(&neighbour.index).and_then(|device| ports.get(*device));
            for port in on_device.into_iter().flatten() {
                known.insert((port.clone(), neighbour.address), state);
            }
        }
        known
    }
}

/// The kernel's device of a port: a VLAN port has one of its own, called by the port's index.
fn device(world: &World, name: &str, device: &str, vlan: Option<u16>) -> Option<String> {
    let Some(vlan) = vlan else {
        return Some(device.to_owned());
    };
    let index = (0..).zip(&world.ports);
    let (index, _) = index
        .into_iter()
        .find(|(_, port)| crate::views::text(&port.name) == name)?;
    Some(vlan_link_name(PortIndex(index), vlan))
}

/// Neighbours that workers asked for. Bounded, since strangers can make workers ask.
#[derive(Default)]
pub(super) struct Requested {
    failed_since: BTreeMap<(String, IpAddr), Option<Instant>>,
}

impl Requested {
    /// Remembers a request; true if it is new. A full list takes no more.
    pub(super) fn add(&mut self, port: String, address: IpAddr, limit: usize) -> bool {
        if self.failed_since.len() >= limit || self.failed_since.contains_key(&(port.clone(), address)) {
            return false;
        }
        self.failed_since.insert((port, address), None);
        true
    }

    /// Notes who does not answer, and lets go of those that have not answered for a while.
    pub(super) fn age(&mut self, known: &BTreeMap<(String, IpAddr), planner::Neighbour>, now: Instant) {
        self.failed_since.retain(|key, failed_since| {
            if known.get(key) != Some(&planner::Neighbour::Failed) {
                *failed_since = None;
                return true;
            }
            now.duration_since(*failed_since.get_or_insert(now)) < FAILED_TIME
        });
    }

    pub(super) fn names(&self) -> BTreeSet<(String, IpAddr)> {
        self.failed_since.keys().cloned().collect()
    }

    /// Whether somebody's time is over, so that the list must be looked at again.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.failed_since
            .values()
            .flatten()
            .any(|since| now.duration_since(*since) >= FAILED_TIME)
    }
}

/// The manual keys of tunnels, and why the others have none.
pub(super) fn keys(desired: &Desired, paths: &Paths) -> (BTreeMap<String, SaPair>, BTreeMap<String, String>) {
    let mut keys = BTreeMap::new();
    let mut refused = BTreeMap::new();
    for (tunnel, manual) in desired
        .tunnels
        .iter()
        .filter_map(|tunnel| Some((tunnel, tunnel.manual()?)))
    {
        match secret_files::manual_keys(&paths.secrets, manual) {
            Ok(pair) => drop(keys.insert(tunnel.name.to_string(), pair)),
            Err(error) => drop(refused.insert(tunnel.name.to_string(), error)),
        }
    }
    (keys, refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_bounded_and_the_dead_are_forgotten() {
        let mut requested = Requested::default();
        let address = |n: u8| IpAddr::from([10, 0, 0, n]);
        assert!(requested.add("a".into(), address(1), 2));
        assert!(!requested.add("a".into(), address(1), 2), "known");
        assert!(requested.add("a".into(), address(2), 2));
        assert!(!requested.add("a".into(), address(3), 2), "full");
        let now = Instant::now();
        let known = BTreeMap::from([(("a".to_owned(), address(1)), planner::Neighbour::Failed)]);
        requested.age(&known, now);
        assert_eq!(requested.names().len(), 2);
        requested.age(&known, now + FAILED_TIME);
        assert_eq!(requested.names(), BTreeSet::from([("a".to_owned(), address(2))]));
    }
}

//! Hosts on links: what the kernel knows of their MAC addresses, and entries that it must keep fresh.

use super::{Netlink, NetlinkError, failure, outcome};
use futures::TryStreamExt;
use rtnetlink::packet_core::DefaultNla;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use std::net::IpAddr;

/// `NDA_FLAGS_EXT` of linux/neighbour.h.
const FLAGS_EXT: u16 = 15;
/// `NTF_EXT_MANAGED`: the kernel resolves the entry at once and again whenever it grows stale (Linux 5.16).
const MANAGED: u32 = 1;

/// What the kernel knows of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reachability {
    /// Its MAC address is known (fresh, stale or being verified).
    Known([u8; 6]),
    /// Being resolved for the first time.
    Resolving,
    /// It did not answer.
    Failed,
}

/// One entry of the kernel's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelNeighbour {
    /// Interface index.
    pub index: u32,
    /// IP address.
    pub address: IpAddr,
    /// What is known.
    pub reachability: Reachability,
    /// The kernel keeps it fresh because it was asked to.
    pub managed: bool,
}

impl Netlink {
    /// The kernel's neighbour table, both families, multicast entries left out.
    pub async fn neighbours(&self) -> Result<Vec<KernelNeighbour>, NetlinkError> {
        let stream = self.handle.neighbours().get().execute();
        let messages: Vec<NeighbourMessage> = stream
            .try_collect()
            .await
            .map_err(|e| failure("list neighbours".into(), &e))?;
        Ok(messages.into_iter().filter_map(parse).collect())
    }

    /// Asks the kernel to resolve a host now and to keep the entry fresh. A kernel without managed entries is asked to probe
    /// once; the caller repeats that.
    pub async fn manage_neighbour(&self, index: u32, address: IpAddr) -> Result<(), NetlinkError> {
        let mut request = self
            .handle
            .neighbours()
            .add(index, address)
            .replace()
            .state(NeighbourState::None);
        let flags = DefaultNla::new(FLAGS_EXT, MANAGED.to_ne_bytes().to_vec());
        request.message_mut().attributes.push(NeighbourAttribute::Other(flags));
        match request.execute().await {
            Ok(()) => Ok(()),
            Err(error) if super::errno_of(&error) == libc::EINVAL => self.probe_neighbour(index, address).await,
            Err(error) => Err(failure(format!("resolve {address} on interface {index}"), &error)),
        }
    }

    /// Asks the kernel to resolve or verify a host once.
    pub async fn probe_neighbour(&self, index: u32, address: IpAddr) -> Result<(), NetlinkError> {
        let request = self.handle.neighbours().add(index, address).replace();
        let result = request
            .state(NeighbourState::None)
            .flags(NeighbourFlags::Use)
            .execute()
            .await;
        outcome(result, &[], || format!("probe {address} on interface {index}"))
    }

    /// Drops an entry, so that the kernel stops keeping it fresh.
    pub async fn forget_neighbour(&self, index: u32, address: IpAddr) -> Result<(), NetlinkError> {
        let message = self.handle.neighbours().add(index, address).message_mut().clone();
        let result = self.handle.neighbours().del(message).execute().await;
        outcome(result, &[libc::ENOENT, libc::ENODEV], || {
            format!("forget {address} on interface {index}")
        })
    }
}

fn parse(message: NeighbourMessage) -> Option<KernelNeighbour> {
    let mut address = None;
    let mut mac = None;
    let mut managed = false;
    for attribute in &message.attributes {
        if let NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) = attribute {
            address = Some(IpAddr::V4(*v4));
        } else if let NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) = attribute {
            address = Some(IpAddr::V6(*v6));
        } else if let NeighbourAttribute::LinkLocalAddress(bytes) = attribute {
            mac = <[u8; 6]>::try_from(bytes.as_slice()).ok();
        } else if let NeighbourAttribute::Other(other) = attribute {
            managed |= is_managed(other);
        }
    }
    let reachability = match (message.header.state, mac) {
        (NeighbourState::Noarp, _) => return None,
        (NeighbourState::Failed, _) => Reachability::Failed,
        (NeighbourState::Incomplete | NeighbourState::None, _) | (_, None) => Reachability::Resolving,
        (_, Some(mac)) => Reachability::Known(mac),
    };
    Some(KernelNeighbour {
        index: message.header.ifindex,
        address: address?,
        reachability,
        managed,
    })
}

fn is_managed(attribute: &DefaultNla) -> bool {
    use rtnetlink::packet_core::Nla;
    if attribute.kind() != FLAGS_EXT || attribute.value_len() != 4 {
        return false;
    }
    let mut value = [0; 4];
    attribute.emit_value(&mut value);
    u32::from_ne_bytes(value) & MANAGED != 0
}

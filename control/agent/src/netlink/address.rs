//! Addresses on devices.

use super::{Netlink, NetlinkError, failure, outcome};
use futures::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope,
};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

/// An address on a device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InterfaceAddress {
    /// Interface index.
    pub index: u32,
    /// The address.
    pub address: IpAddr,
    /// Prefix length of the link's network.
    pub prefix_length: u8,
}

impl Netlink {
    /// All addresses but link-local and loopback ones.
    pub async fn addresses(&self) -> Result<Vec<InterfaceAddress>, NetlinkError> {
        let stream = self.handle.address().get().execute();
        let messages: Vec<AddressMessage> = stream
            .try_collect()
            .await
            .map_err(|e| failure("list addresses".into(), &e))?;
        Ok(messages.into_iter().filter_map(parse).collect())
    }

    /// The IPv6 link-local address of each device that has one which may be used.
    pub async fn link_locals(&self) -> Result<BTreeMap<u32, Ipv6Addr>, NetlinkError> {
        let stream = self.handle.address().get().execute();
        let messages: Vec<AddressMessage> = stream
            .try_collect()
            .await
            .map_err(|e| failure("list addresses".into(), &e))?;
        let link_local = |message: &AddressMessage| {
            let usable = !message.header.flags.contains(AddressHeaderFlags::Tentative);
            let mut attributes = message.attributes.iter();
            let address = attributes.find_map(|attribute| {
                if let AddressAttribute::Address(IpAddr::V6(address)) = attribute {
                    Some(*address)
                } else {
                    None
                }
            });
            address
                .filter(|a| usable && a.is_unicast_link_local())
                .map(|a| (message.header.index, a))
        };
        Ok(messages.iter().filter_map(link_local).collect())
    }

    /// Puts an address on a device; it is usable at once (no duplicate address detection), and no prefix route or other
    /// address follows from it than the kernel's own.
    pub async fn add_address(&self, wanted: &InterfaceAddress) -> Result<(), NetlinkError> {
        let mut request = self
            .handle
            .address()
            .add(wanted.index, wanted.address, wanted.prefix_length)
            .replace();
        // DAD would keep an IPv6 address tentative for a second, and workers answer for it meanwhile.
        request
            .message_mut()
            .attributes
            .push(AddressAttribute::Flags(AddressFlags::Nodad));
        request.message_mut().header.scope = AddressScope::Universe;
        outcome(request.execute().await, &[libc::EEXIST], || describe(wanted))
    }

    /// Takes an address off a device.
    pub async fn delete_address(&self, unwanted: &InterfaceAddress) -> Result<(), NetlinkError> {
        let mut message = AddressMessage::default();
        message.header.index = unwanted.index;
        message.header.prefix_len = unwanted.prefix_length;
        message.header.family = match unwanted.address {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        message.attributes.push(AddressAttribute::Local(unwanted.address));
        message.attributes.push(AddressAttribute::Address(unwanted.address));
        let result = self.handle.address().del(message).execute().await;
        outcome(result, &[libc::EADDRNOTAVAIL, libc::ENODEV], || {
            format!("remove {}", describe(unwanted))
        })
    }
}

fn describe(address: &InterfaceAddress) -> String {
    format!(
        "address {}/{} on interface {}",
        address.address, address.prefix_length, address.index
    )
}

fn parse(message: AddressMessage) -> Option<InterfaceAddress> {
    if !matches!(message.header.scope, AddressScope::Universe | AddressScope::Site) {
        return None;
    }
    let find = |local: bool| {
        message.attributes.iter().find_map(|attribute| {
            if let AddressAttribute::Local(address) = attribute {
                local.then_some(*address)
            } else if let AddressAttribute::Address(address) = attribute {
                (!local).then_some(*address)
            } else {
                None
            }
        })
    };
    let address = find(true).or_else(|| find(false))?;
    Some(InterfaceAddress {
        index: message.header.index,
        address,
        prefix_length: message.header.prefix_len,
    })
}

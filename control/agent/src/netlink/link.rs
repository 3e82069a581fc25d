//! Devices.

use super::{Netlink, NetlinkError, failure, outcome};
use futures::TryStreamExt;
use rtnetlink::LinkUnspec;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage, State};

/// A kernel device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Device name.
    pub name: String,
    /// MAC address, zero for devices without one.
    pub mac: [u8; 6],
    /// Largest IP packet in bytes.
    pub mtu: u32,
    /// Receive queues.
    pub receive_queues: u32,
    /// Administratively up and with carrier.
    pub up: bool,
    /// Administratively up.
    pub enabled: bool,
    /// Speaks ARP and ND.
    pub arp: bool,
}

impl Netlink {
    /// All devices of the namespace.
    pub async fn links(&self) -> Result<Vec<Link>, NetlinkError> {
        let mut handle = self.handle.link();
        let messages: Vec<LinkMessage> = handle
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(|e| failure("list devices".into(), &e))?;
        Ok(messages.into_iter().map(parse).collect())
    }

    /// Sets a device administratively up.
    pub async fn set_up(&self, index: u32) -> Result<(), NetlinkError> {
        let message = LinkUnspec::new_with_index(index).up().build();
        let result = self.handle.link().set(message).execute().await;
        outcome(result, &[], || format!("set interface {index} up"))
    }
}

impl Netlink {
    /// Sets the kernel's end of a TAP up, with ARP and ND or without.
    pub async fn set_up_tap(&self, index: u32, mac: [u8; 6], mtu: u32, arp: bool) -> Result<(), NetlinkError> {
        let builder = LinkUnspec::new_with_index(index)
            .address(mac.to_vec())
            .mtu(mtu)
            .arp(arp)
            .up();
        let result = self.handle.link().set(builder.build()).execute().await;
        outcome(result, &[], || format!("set up the TAP with interface index {index}"))
    }
}

fn parse(message: LinkMessage) -> Link {
    let enabled = message.header.flags.contains(LinkFlags::Up);
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mac: [0; 6],
        mtu: 0,
        receive_queues: 1,
        up: enabled && message.header.flags.contains(LinkFlags::LowerUp),
        enabled,
        arp: !message.header.flags.contains(LinkFlags::Noarp),
    };
    for attribute in message.attributes {
        if let LinkAttribute::IfName(name) = attribute {
            link.name = name;
        } else if let LinkAttribute::Address(bytes) = attribute {
            link.mac = bytes.try_into().unwrap_or_default();
        } else if let LinkAttribute::Mtu(mtu) = attribute {
            link.mtu = mtu;
        } else if let LinkAttribute::NumRxQueues(queues) = attribute {
            link.receive_queues = queues;
        } else if let LinkAttribute::OperState(State::Down | State::LowerLayerDown) = attribute {
            link.up = false;
        }
    }
    link
}

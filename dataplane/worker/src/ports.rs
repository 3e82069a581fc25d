//! From a slot of the packet I/O (a device) and a VLAN tag to a port, and back.

use tombolo_packet_io::PortSlot;
use tombolo_tables::layout::PortIndex;

/// One port that the worker serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServedPort {
    /// Index in the tables.
    pub port: PortIndex,
    /// Device in the packet I/O.
    pub slot: PortSlot,
    /// 802.1Q tag, 0 = untagged.
    pub vlan: u16,
}

/// The ports of one worker.
#[derive(Clone, Debug, Default)]
pub struct PortMap {
    served: Vec<ServedPort>,
}

impl PortMap {
    /// A map of `served` ports.
    pub fn new(served: Vec<ServedPort>) -> Self {
        PortMap { served }
    }

    /// One port per slot, in the order of the tables, untagged.
    pub fn in_order(ports: usize) -> Self {
        let served = |port| ServedPort {
            port: PortIndex(port as u16),
            slot: PortSlot(port as u8),
            vlan: 0,
        };
        PortMap {
            served: (0..ports).map(served).collect(),
        }
    }

    /// The port of what arrives on `slot` with tag `vlan`.
    #[inline]
    pub fn port(&self, slot: PortSlot, vlan: u16) -> Option<PortIndex> {
        self.served
            .iter()
            .find(|served| served.slot == slot && served.vlan == vlan)
            .map(|served| served.port)
    }

    /// Where `port` sends and with which tag.
    #[inline]
    pub fn place(&self, port: PortIndex) -> Option<ServedPort> {
        self.served.iter().find(|served| served.port == port).copied()
    }

    /// All served ports.
    pub fn all(&self) -> &[ServedPort] {
        &self.served
    }
}

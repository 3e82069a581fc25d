//! From a slot of the packet I/O (a device) and a VLAN tag to a port, and back; and the TAPs of VLAN ports, slots as well.

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

/// The ways of a VLAN port into the kernel. An untagged port needs none of its own: its device is its link, and the device's
/// slot has its TAP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanTaps {
    /// The port.
    pub port: PortIndex,
    /// The port's TAP: punts go there, and what the kernel sends through it takes the journey.
    pub tap: PortSlot,
    /// The TAP that is the VLAN's link to the kernel: it gets untagged what the kernel would get of an untagged port by
    /// itself, and what it sends is tagged and goes straight out.
    pub link: PortSlot,
}

impl VlanTaps {
    /// Those of the VLAN ports among `served`, on slots behind the `devices` of the packet I/O, in order.
    pub fn behind(devices: usize, served: &[ServedPort]) -> Vec<VlanTaps> {
        let vlans = served.iter().filter(|served| served.vlan != 0);
        vlans
            .zip((devices..).step_by(2))
            .map(|(served, slot)| VlanTaps {
                port: served.port,
                tap: PortSlot(slot as u8),
                link: PortSlot(slot as u8 + 1),
            })
            .collect()
    }
}

/// The ports of one worker.
#[derive(Clone, Debug, Default)]
pub struct PortMap {
    served: Vec<ServedPort>,
    vlans: Vec<VlanTaps>,
}

impl PortMap {
    /// A map of `served` ports; VLAN ports without TAPs of their own share their device's.
    pub fn new(served: Vec<ServedPort>) -> Self {
        PortMap {
            served,
            vlans: Vec::new(),
        }
    }

    /// Gives the VLAN ports their TAPs.
    #[must_use]
    pub fn with_taps(mut self, vlans: Vec<VlanTaps>) -> Self {
        self.vlans = vlans;
        self
    }

    /// One port per slot, in the order of the tables, untagged.
    pub fn in_order(ports: usize) -> Self {
        let served = |port| ServedPort {
            port: PortIndex(port as u16),
            slot: PortSlot(port as u8),
            vlan: 0,
        };
        PortMap::new((0..ports).map(served).collect())
    }

    /// The port of what arrives on `slot` with tag `vlan`, or through the TAP on that slot.
    #[inline]
    pub fn port(&self, slot: PortSlot, vlan: u16) -> Option<PortIndex> {
        let of_device = |served: &&ServedPort| served.slot == slot && served.vlan == vlan;
        match self.served.iter().find(of_device) {
            Some(served) => Some(served.port),
            None => self.of_tap(slot).filter(|_| vlan == 0),
        }
    }

    #[cold]
    fn of_tap(&self, slot: PortSlot) -> Option<PortIndex> {
        let vlan = self.vlans.iter().find(|vlan| vlan.tap == slot);
        vlan.map(|vlan| vlan.port)
    }

    /// Where `port` sends and with which tag.
    #[inline]
    pub fn place(&self, port: PortIndex) -> Option<ServedPort> {
        self.served.iter().find(|served| served.port == port).copied()
    }

    /// The slot with the TAP of `port`.
    pub fn tap(&self, port: PortIndex) -> Option<PortSlot> {
        let place = self.place(port)?;
        Some(self.taps(port).map_or(place.slot, |vlan| vlan.tap))
    }

    /// The TAPs of a VLAN port.
    pub fn taps(&self, port: PortIndex) -> Option<VlanTaps> {
        self.vlans.iter().find(|vlan| vlan.port == port).copied()
    }

    /// The VLAN port whose link to the kernel is the TAP on `slot`.
    pub fn of_link(&self, slot: PortSlot) -> Option<ServedPort> {
        let vlan = self.vlans.iter().find(|vlan| vlan.link == slot)?;
        self.place(vlan.port)
    }

    /// All served ports.
    pub fn all(&self) -> &[ServedPort] {
        &self.served
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vlan_ports_have_two_taps_each_behind_the_devices() {
        let served = |port, slot, vlan| ServedPort {
            port: PortIndex(port),
            slot: PortSlot(slot),
            vlan,
        };
        let ports = vec![served(0, 0, 0), served(1, 1, 100), served(5, 1, 200)];
        let map = PortMap::new(ports.clone()).with_taps(VlanTaps::behind(2, &ports));
        let tap = |port| map.tap(PortIndex(port)).map(|slot| slot.0);
        assert_eq!([0, 1, 5, 7].map(tap), [Some(0), Some(2), Some(4), None]);
        let link = |slot| map.of_link(PortSlot(slot)).map(|served| (served.port.0, served.slot.0));
        assert_eq!([0, 2, 3, 5].map(link), [None, None, Some((1, 1)), Some((5, 1))]);
        let port = |slot, vlan| map.port(PortSlot(slot), vlan).map(|port| port.0);
        assert_eq!((port(1, 200), port(4, 0), port(4, 200)), (Some(5), Some(5), None));
        assert_eq!((port(1, 0), port(5, 0), port(0, 0)), (None, None, Some(0)));
    }
}

//! Indices into sections, and addresses: newtypes, so that a port is never taken for a segment.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

macro_rules! index {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
        )]
        #[repr(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// As a subscript of the section that holds the record.
            #[inline]
            pub fn usize(self) -> usize {
                self.0 as usize
            }
        }
    };
}

index!(/// A port of the gateway: [`super::PortRecord`].
    PortIndex(u16));
index!(/// An isolated routing domain: [`super::SegmentRecord`].
    SegmentIndex(u16));
index!(/// A host on a link: [`super::NeighbourRecord`]. Stable for as long as anything names it.
    NeighbourIndex(u32));
index!(/// A tunnel: [`super::TunnelRecord`]. Stable across rekeys.
    TunnelIndex(u32));
index!(/// Several tunnels used as one: [`super::BundleRecord`].
    BundleIndex(u32));
index!(/// A security association: [`super::SaRecord`], and its slot of sequence number or replay window in the state region.
    SaIndex(u32));
index!(/// A pool of addresses that source NAT hands out: [`super::PoolRecord`].
    PoolIndex(u32));
index!(/// Moves when policy, NAT or routes of a segment change; a stored decision of an older epoch is taken again.
    Epoch(u32));

/// An IPv4 or IPv6 address as the tables hold it: 16 bytes in network order, IPv4 as `::ffff:a.b.c.d`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Default)]
#[repr(transparent)]
pub struct Address(pub [u8; 16]);

impl Address {
    /// Whether this is an IPv4 address in its mapped form.
    #[inline]
    pub fn is_v4(self) -> bool {
        self.0[..12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]
    }

    /// The four bytes of an IPv4 address (network order); meaningless for IPv6.
    #[inline]
    pub fn v4_bytes(self) -> [u8; 4] {
        [self.0[12], self.0[13], self.0[14], self.0[15]]
    }
}

impl From<Ipv4Addr> for Address {
    #[inline]
    fn from(v4: Ipv4Addr) -> Self {
        Address(v4.to_ipv6_mapped().octets())
    }
}

impl From<Ipv6Addr> for Address {
    #[inline]
    fn from(v6: Ipv6Addr) -> Self {
        Address(v6.octets())
    }
}

impl From<IpAddr> for Address {
    #[inline]
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => v6.into(),
        }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        Ipv6Addr::from(address.0).to_canonical()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Name of the TAP device of a port: the dataplane makes it, control sets it up.
pub fn tap_name(port: PortIndex) -> String {
    format!("tombolo{}", port.0)
}

/// Name of the TAP device that is a VLAN port's link to the kernel: its addresses are there. Made and set up as the other.
pub fn vlan_link_name(port: PortIndex, vlan: u16) -> String {
    format!("{}.{vlan}", tap_name(port))
}

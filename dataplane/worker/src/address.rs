//! Between a packet's addresses and the tables' form of them.

use core::net::Ipv4Addr;
use tombolo_tables::layout::Address;
use tombolo_wire::Addresses;

/// Source and destination as the tables hold addresses.
#[inline]
pub fn of(addresses: &Addresses) -> (Address, Address) {
    match *addresses {
        Addresses::V4 { source, destination } => (Ipv4Addr::from(source).into(), Ipv4Addr::from(destination).into()),
        Addresses::V6 { source, destination } => (Address(source), Address(destination)),
    }
}

/// A pair of the tables' addresses, which are of one family, as a packet's.
#[inline]
pub fn pair(source: Address, destination: Address) -> Addresses {
    if source.is_v4() {
        Addresses::V4 {
            source: u32::from_be_bytes(source.v4_bytes()),
            destination: u32::from_be_bytes(destination.v4_bytes()),
        }
    } else {
        Addresses::V6 {
            source: source.0,
            destination: destination.0,
        }
    }
}

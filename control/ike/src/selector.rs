//! Traffic selectors: which packets a child SA carries (RFC 7296 §2.9, §3.13).

use core::net::IpAddr;
use serde::{Deserialize, Serialize};

/// A range of addresses, protocol and ports. Both ends are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Selector {
    /// First address.
    pub first: IpAddr,
    /// Last address, inclusive.
    pub last: IpAddr,
    /// IP protocol, 0 = any.
    pub protocol: u8,
    /// First port.
    pub first_port: u16,
    /// Last port, inclusive.
    pub last_port: u16,
}

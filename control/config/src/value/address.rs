//! Addresses, networks and ranges.

use super::port::number;
use super::{Refused, shorten};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address with the length of its network: host bits are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceAddress {
    address: IpAddr,
    length: u8,
}

impl InterfaceAddress {
    /// The address itself.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// Prefix length in the address's own family.
    pub fn length(self) -> u8 {
        self.length
    }

    /// Its network.
    pub fn prefix(self) -> Prefix {
        Prefix {
            address: mask(self.address, self.length),
            length: self.length,
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Refused> {
        let (address, length) = address_and_length(text)?;
        let network = mask(address, length);
        let whole = length == width(address);
        let bad = match address {
            IpAddr::V4(v4) => {
                let edges = !whole && length < 31 && (address == network || v4 == broadcast(v4, length));
                if edges {
                    Some("the network's own or its broadcast address")
                } else {
                    special(address)
                }
            }
            IpAddr::V6(v6) if v6.is_unicast_link_local() => {
                Some("link-local, which the kernel derives from the MAC address by itself")
            }
            IpAddr::V6(_) => special(address),
        };
        match bad {
            Some(what) => Err(Refused::new(format!(
                "{address}/{length} cannot be an own address: it is {what}"
            ))),
            None => Ok(InterfaceAddress { address, length }),
        }
    }
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// A network: no host bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// First address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// Length in the prefix's own family: 0–32 or 0–128.
    pub fn length(self) -> u8 {
        self.length
    }

    /// Whether this is an IPv6 prefix.
    pub fn is_v6(self) -> bool {
        self.address.is_ipv6()
    }

    /// Last address.
    pub fn last(self) -> IpAddr {
        match self.address {
            IpAddr::V4(v4) => IpAddr::V4(broadcast(v4, self.length)),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(
                v6.to_bits() | u128::MAX.checked_shr(self.length.into()).unwrap_or(0),
            )),
        }
    }

    /// Whether `address` lies in it; never so for the other family.
    pub fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && mask(address, self.length) == self.address
    }

    /// Whether both have an address in common.
    pub fn overlaps(self, other: Prefix) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// Every address of a family.
    pub fn all(v6: bool) -> Prefix {
        let address = if v6 {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        } else {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        };
        Prefix { address, length: 0 }
    }

    /// The network of `length` bits (at most the family's) around `address`.
    pub(crate) fn around(address: IpAddr, length: u8) -> Prefix {
        Prefix {
            address: mask(address, length),
            length,
        }
    }

    /// One address.
    pub fn host(address: IpAddr) -> Prefix {
        Prefix {
            address,
            length: width(address),
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Refused> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Prefix::host(reject_mapped(address)?));
        }
        let (address, length) = address_and_length(text)?;
        let network = mask(address, length);
        if network != address {
            let message = format!("{address}/{length} has bits set behind its prefix length");
            return Err(Refused::with_hint(message, format!("did you mean {network}/{length}?")));
        }
        Ok(Prefix { address, length })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// One address, or several that follow on one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

/// Most addresses in one range.
const ADDRESS_RANGE_MAX: u128 = 4096;

impl AddressRange {
    /// First address.
    pub fn first(self) -> IpAddr {
        self.first
    }

    /// Last address.
    pub fn last(self) -> IpAddr {
        self.last
    }

    /// How many addresses.
    pub fn count(self) -> u32 {
        (bits(self.last) - bits(self.first) + 1) as u32
    }

    /// Whether `address` is one of them.
    pub fn contains(self, address: IpAddr) -> bool {
        self.first.is_ipv4() == address.is_ipv4() && self.first <= address && address <= self.last
    }

    /// Whether both have an address in common.
    pub fn overlaps(self, other: AddressRange) -> bool {
        self.contains(other.first) || other.contains(self.first)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Refused> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let first = parse_address(first.trim())?;
        let last = parse_address(last.trim())?;
        if first.is_ipv4() != last.is_ipv4() {
            return Err(Refused::new("a range starts and ends in one address family"));
        }
        if last < first {
            return Err(Refused::with_hint(
                "the range ends before it starts",
                format!("did you mean {last}-{first}?"),
            ));
        }
        if let Some(what) = special(first).or(special(last)) {
            return Err(Refused::new(format!("NAT cannot use these addresses: one is {what}")));
        }
        if bits(last) - bits(first) >= ADDRESS_RANGE_MAX {
            return Err(Refused::new(format!(
                "a range has at most {ADDRESS_RANGE_MAX} addresses"
            )));
        }
        Ok(AddressRange { first, last })
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

pub(crate) fn parse_address(text: &str) -> Result<IpAddr, Refused> {
    match text.parse::<IpAddr>() {
        Ok(address) => reject_mapped(address),
        Err(_) if text.contains('/') => Err(Refused::with_hint(
            format!("'{}' is not an address", shorten(text)),
            "leave the prefix length away",
        )),
        Err(_) => Err(Refused::new(format!(
            "'{}' is not an IPv4 or IPv6 address",
            shorten(text)
        ))),
    }
}

/// Tables hold IPv4 in mapped form, so a mapped address would be taken for IPv4.
fn reject_mapped(address: IpAddr) -> Result<IpAddr, Refused> {
    match address {
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => Err(Refused::with_hint(
                format!("{v6} is an IPv4-mapped address"),
                format!("write {v4}"),
            )),
            None => Ok(address),
        },
        IpAddr::V4(_) => Ok(address),
    }
}

fn address_and_length(text: &str) -> Result<(IpAddr, u8), Refused> {
    let Some((address, length)) = text.split_once('/') else {
        let message = format!("'{}' lacks a prefix length", shorten(text));
        return Err(Refused::with_hint(
            message,
            "write ADDRESS/LENGTH, for example 192.0.2.1/24 or 2001:db8::1/64",
        ));
    };
    let address = parse_address(address)?;
    match number(length) {
        Some(value) if value <= u64::from(width(address)) => Ok((address, value as u8)),
        Some(_) | None => Err(Refused::new(format!(
            "'{}' is not a prefix length: an {} prefix has 0 to {} bits",
            shorten(length),
            if address.is_ipv4() { "IPv4" } else { "IPv6" },
            width(address)
        ))),
    }
}

/// What makes an address unfit for a host, if anything.
pub(crate) fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        _ if address.is_unspecified() => Some("the unspecified address"),
        _ if address.is_loopback() => Some("a loopback address"),
        _ if address.is_multicast() => Some("a multicast address"),
        IpAddr::V4(v4) if v4.octets()[0] >= 240 || v4.octets()[0] == 0 => Some("reserved"),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// Bits of an address of this family.
pub(crate) fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn mask(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let hosts = u32::MAX.checked_shr(length.into()).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & !hosts))
        }
        IpAddr::V6(v6) => {
            let hosts = u128::MAX.checked_shr(length.into()).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !hosts))
        }
    }
}

fn broadcast(address: Ipv4Addr, length: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(address.to_bits() | u32::MAX.checked_shr(length.into()).unwrap_or(0))
}

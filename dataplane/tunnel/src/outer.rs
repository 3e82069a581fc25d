//! The headers in front of ESP: IPv4 or IPv6, and UDP (RFC 3948) where the tunnel asks for it.
//!
//! The template comes from the tables; TOS and DF from the inner packet that was sealed. Nothing here is untrusted.

use core::fmt;
use tombolo_wire::Addresses;
use tombolo_wire::checksum::Sum;
use tombolo_wire::ecn::{self, Dscp};

/// IP protocol of ESP.
pub const PROTOCOL_ESP: u8 = 50;
const PROTOCOL_UDP: u8 = 17;
const IPV4_BYTES: usize = 20;
const IPV6_BYTES: usize = 40;
const UDP_BYTES: usize = 8;
const DONT_FRAGMENT: u16 = 0x4000;

/// How ESP travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encapsulation {
    /// Straight in IP, protocol 50.
    Ip,
    /// In UDP (RFC 3948), ports in host order.
    Udp {
        /// Own port, usually 4500.
        source_port: u16,
        /// The peer's port, as the last authentic packet showed it.
        destination_port: u16,
    },
}

/// Where the outer IPv4 header's DF bit comes from (RFC 4301 §8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DontFragment {
    /// Always set.
    Set,
    /// From the inner IPv4 header; an inner IPv6 packet counts as set.
    Copy,
    /// Never set.
    Clear,
}

/// What is the same for every packet of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OuterTemplate {
    /// Our address as source, the peer's as destination.
    pub addresses: Addresses,
    /// With or without UDP.
    pub encapsulation: Encapsulation,
    /// Where the DSCP comes from (RFC 2983).
    pub dscp: Dscp,
    /// Where DF comes from.
    pub dont_fragment: DontFragment,
    /// TTL or hop limit.
    pub ttl: u8,
}

/// What of the inner packet shows outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner {
    /// TOS or traffic class.
    pub tos: u8,
    /// DF of IPv4; true for IPv6, which routers never fragment.
    pub dont_fragment: bool,
}

/// Why no outer header was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OuterError {
    /// The frame ends before the ESP packet does.
    NoRoom,
    /// The outer packet exceeds 65,535 bytes.
    TooLong,
}

impl fmt::Display for OuterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OuterError::NoRoom => "the frame is too small for the outer packet",
            OuterError::TooLong => "the outer packet exceeds 65,535 bytes",
        })
    }
}

impl core::error::Error for OuterError {}

impl OuterTemplate {
    /// Bytes in front of ESP: 20, 28, 40 or 48. ESP is to be sealed at `l3 + header_length()`.
    #[inline]
    pub fn header_length(&self) -> usize {
        self.ip_bytes() + self.udp_bytes()
    }

    #[inline]
    fn ip_bytes(&self) -> usize {
        match self.addresses {
            Addresses::V4 { .. } => IPV4_BYTES,
            Addresses::V6 { .. } => IPV6_BYTES,
        }
    }

    #[inline]
    fn udp_bytes(&self) -> usize {
        match self.encapsulation {
            Encapsulation::Ip => 0,
            Encapsulation::Udp { .. } => UDP_BYTES,
        }
    }

    #[inline]
    fn protocol(&self) -> u8 {
        match self.encapsulation {
            Encapsulation::Ip => PROTOCOL_ESP,
            Encapsulation::Udp { .. } => PROTOCOL_UDP,
        }
    }
}

/// Writes the headers at `frame[l3..]` in front of an ESP packet of `esp_length` bytes that was sealed at
/// `l3 + template.header_length()`; returns the frame offset of the outer packet's end.
///
/// ESP must be there already: over IPv6 the UDP checksum covers it. `identification` goes into an IPv4 header without DF
/// and must not repeat soon (RFC 6864 §4.3); with DF the field is 0.
#[inline]
pub fn write_outer(
    frame: &mut [u8],
    l3: usize,
    template: &OuterTemplate,
    esp_length: usize,
    inner: Inner,
    identification: u16,
) -> Result<usize, OuterError> {
    let ip_bytes = template.ip_bytes();
    let payload = template.udp_bytes().saturating_add(esp_length);
    let total = u16::try_from(ip_bytes.saturating_add(payload)).map_err(|_| OuterError::TooLong)?;
    let end = l3.checked_add(usize::from(total)).ok_or(OuterError::NoRoom)?;
    let packet = frame.get_mut(l3..end).ok_or(OuterError::NoRoom)?;
    let (ip, datagram) = packet.split_at_mut(ip_bytes);
    let tos = ecn::encapsulate(inner.tos, template.dscp);
    match template.addresses {
        Addresses::V4 { source, destination } => {
            let dont_fragment = match template.dont_fragment {
                DontFragment::Set => true,
                DontFragment::Copy => inner.dont_fragment,
                DontFragment::Clear => false,
            };
            let fragment = if dont_fragment {
                (0, DONT_FRAGMENT)
            } else {
                (identification, 0)
            };
            write_ipv4(ip, template, tos, total, fragment, source, destination);
        }
        Addresses::V6 { source, destination } => {
            write_ipv6(ip, template, tos, total - IPV6_BYTES as u16, &source, &destination);
        }
    }
    if let Encapsulation::Udp {
        source_port,
        destination_port,
    } = template.encapsulation
    {
        write_udp(datagram, &template.addresses, source_port, destination_port);
    }
    Ok(end)
}

/// In three stores, its checksum from the very numbers: nothing is read back.
#[inline]
fn write_ipv4(
    ip: &mut [u8],
    template: &OuterTemplate,
    tos: u8,
    total: u16,
    (identification, flags): (u16, u16),
    source: u32,
    destination: u32,
) {
    let Some(ip) = ip.first_chunk_mut::<IPV4_BYTES>() else {
        return;
    };
    let version_tos = 0x4500 | u16::from(tos);
    let ttl_protocol = u16::from_be_bytes([template.ttl, template.protocol()]);
    let addresses = u64::from(source) << 32 | u64::from(destination);
    let words = [version_tos, total, identification, flags, ttl_protocol];
    let sum: u32 = words.into_iter().map(u32::from).sum();
    let sum = u64::from(sum)
        + (addresses >> 48)
        + (addresses >> 32 & 0xffff)
        + (addresses >> 16 & 0xffff)
        + (addresses & 0xffff);
    // Two folds bring nine 16-bit words below 2¹⁶.
    let sum = (sum & 0xffff) + (sum >> 16);
    let checksum = !((sum + (sum >> 16)) as u16);
    let fragment = u32::from(identification) << 16 | u32::from(flags);
    let first = u64::from(version_tos) << 48 | u64::from(total) << 32 | u64::from(fragment);
    let middle = u32::from(ttl_protocol) << 16 | u32::from(checksum);
    ip[..8].copy_from_slice(&first.to_be_bytes());
    ip[8..12].copy_from_slice(&middle.to_be_bytes());
    ip[12..].copy_from_slice(&addresses.to_be_bytes());
}

fn write_ipv6(
    ip: &mut [u8],
    template: &OuterTemplate,
    tos: u8,
    payload: u16,
    source: &[u8; 16],
    destination: &[u8; 16],
) {
    // Version, traffic class, flow label 0.
    ip[..4].copy_from_slice(&[0x60 | tos >> 4, tos << 4, 0, 0]);
    ip[4..6].copy_from_slice(&payload.to_be_bytes());
    ip[6..8].copy_from_slice(&[template.protocol(), template.ttl]);
    ip[8..24].copy_from_slice(source);
    ip[24..40].copy_from_slice(destination);
}

/// The UDP header of `datagram`. Its checksum is zero over IPv4 (RFC 3948 §2.1 SHOULD) and computed over IPv6, where ESP
/// has no leave to send zero (RFC 8200 §8.1, RFC 6935).
fn write_udp(datagram: &mut [u8], addresses: &Addresses, source_port: u16, destination_port: u16) {
    let length = datagram.len();
    let header = u64::from(source_port) << 48 | u64::from(destination_port) << 32 | u64::from(length as u16) << 16;
    datagram[..UDP_BYTES].copy_from_slice(&header.to_be_bytes());
    if let Addresses::V6 { .. } = addresses {
        let checksum = Sum::default()
            .pseudo_header(addresses, PROTOCOL_UDP, length)
            .bytes(datagram)
            .finish_udp();
        datagram[6..8].copy_from_slice(&checksum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests;

//! What is known about a packet once its headers were read: offsets, addresses, ports. Made by `parse` and
//! `icmp::quoted`; trusted by the edits.

use std::fmt;

/// IP protocol numbers that the gateway looks into.
pub mod protocol {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ESP (RFC 4303).
    pub const ESP: u8 = 50;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
}

/// Bits of the TCP flags byte (RFC 9293 §3.1).
pub mod tcp_flag {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronize sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// The acknowledgment field counts.
    pub const ACK: u8 = 0x10;
}

/// Source and destination of an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Addresses {
    /// IPv4, host byte order.
    V4 {
        /// Source address.
        source: u32,
        /// Destination address.
        destination: u32,
    },
    /// IPv6, network byte order.
    V6 {
        /// Source address.
        source: [u8; 16],
        /// Destination address.
        destination: [u8; 16],
    },
}

impl Addresses {
    /// Whether this is the IPv6 variant.
    #[inline]
    pub fn is_v6(&self) -> bool {
        match self {
            Addresses::V4 { .. } => false,
            Addresses::V6 { .. } => true,
        }
    }

    /// The same pair seen from the other side.
    #[inline]
    #[must_use]
    pub fn reversed(&self) -> Self {
        match *self {
            Addresses::V4 { source, destination } => Addresses::V4 {
                source: destination,
                destination: source,
            },
            Addresses::V6 { source, destination } => Addresses::V6 {
                source: destination,
                destination: source,
            },
        }
    }

    /// Whether the destination is a group (224.0.0.0/4, ff00::/8).
    #[inline]
    pub fn destination_is_multicast(&self) -> bool {
        match *self {
            Addresses::V4 { destination, .. } => destination >> 28 == 0xe,
            Addresses::V6 { destination, .. } => destination[0] == 0xff,
        }
    }

    /// Whether either end is an IPv6 link-local unicast address: a router must not forward such a packet
    /// (RFC 4291 §2.5.6). Always false for IPv4, whose 169.254.0.0/16 clouds use inside tunnels.
    #[inline]
    pub fn is_link_local_v6(&self) -> bool {
        let link_local = |address: &[u8; 16]| address[0] == 0xfe && address[1] & 0xc0 == 0x80;
        match self {
            Addresses::V4 { .. } => false,
            Addresses::V6 { source, destination } => link_local(source) || link_local(destination),
        }
    }
}

/// Which piece of a packet this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fragment {
    /// A whole packet, also an IPv6 atomic fragment (RFC 6946).
    None,
    /// The piece at offset 0; its L4 header is complete.
    First,
    /// A later piece; nothing of L4 can be seen.
    Later,
}

/// What follows the IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum L4 {
    /// TCP.
    Tcp {
        /// `tcp_flag` bits; 0 in a quote that ends before them.
        flags: u8,
    },
    /// UDP, whatever it carries.
    Udp,
    /// ICMP or ICMPv6 echo; both port fields hold the identifier.
    Echo {
        /// An echo reply, not a request.
        reply: bool,
    },
    /// An ICMP error that quotes a packet: unreachable, packet too big, time exceeded, parameter problem, source quench.
    /// `destination_port` is type << 8 | code, `source_port` 0.
    IcmpError,
    /// Any other ICMP; ports as for `IcmpError`.
    IcmpOther,
    /// ESP straight in IP; ports are 0.
    Esp {
        /// Security parameters index.
        spi: u32,
    },
    /// Another protocol; ports are 0.
    Other,
    /// A later fragment; ports are 0.
    Unseen,
}

/// A packet's headers. Offsets count from the start of the frame in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Source and destination.
    pub addresses: Addresses,
    /// Protocol behind the IP header and its extension headers.
    pub protocol: u8,
    /// Offset of the IP header.
    pub l3: u16,
    /// Offset of what follows the IP header and its extension headers.
    pub l4: u16,
    /// End of the IP packet by its own length field; the frame may be longer (Ethernet padding). In a quote it is where the
    /// quote ends, if that comes first.
    pub end: u16,
    /// IPv4 TOS or IPv6 traffic class.
    pub tos: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// IPv4 DF bit; always true for IPv6, which routers never fragment.
    pub dont_fragment: bool,
    /// Which piece this is.
    pub fragment: Fragment,
    /// See [`L4`].
    pub source_port: u16,
    /// See [`L4`].
    pub destination_port: u16,
    /// What follows the IP header.
    pub l4_kind: L4,
}

impl Headers {
    /// Bytes of the IP packet, its header included.
    #[inline]
    pub fn ip_len(&self) -> usize {
        usize::from(self.end) - usize::from(self.l3)
    }
}

/// Why a frame is refused; each has its drop reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParseError {
    /// Shorter than its Ethernet or VLAN header.
    LinkTruncated,
    /// Not IP, or more than one VLAN tag.
    NotIp,
    /// IP version, header length, total length or fragment field is impossible.
    IpMalformed,
    /// IPv4 header checksum is wrong.
    IpChecksum,
    /// IPv4 options or an IPv6 hop-by-hop header.
    IpOptions,
    /// IPv6 extension headers too many, repeated, truncated, or a routing header with segments left.
    ExtensionHeaders,
    /// TCP, UDP, ICMP or ESP header truncated or impossible.
    L4Malformed,
    /// An address that may not be forwarded.
    AddressInvalid,
    /// A fragment that could hide a header (RFC 1858, RFC 3128, RFC 7112).
    FragmentOverlap,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ParseError::LinkTruncated => "frame shorter than its link header",
            ParseError::NotIp => "neither IPv4 nor IPv6",
            ParseError::IpMalformed => "impossible IP version, length or fragment field",
            ParseError::IpChecksum => "wrong IPv4 header checksum",
            ParseError::IpOptions => "IPv4 options or IPv6 hop-by-hop header",
            ParseError::ExtensionHeaders => "unusable chain of IPv6 extension headers",
            ParseError::L4Malformed => "truncated or impossible TCP, UDP, ICMP or ESP header",
            ParseError::AddressInvalid => "address that may not be forwarded",
            ParseError::FragmentOverlap => "fragment that could hide a header",
        })
    }
}

impl std::error::Error for ParseError {}

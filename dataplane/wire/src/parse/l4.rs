//! First bytes of TCP, UDP, ICMP, ICMPv6 and ESP: ports, flags, and whether the header is whole.

use crate::headers::{Fragment, L4, ParseError, protocol};

/// What L4 tells about a flow; see `L4` for what the ports hold.
pub(crate) struct Upper {
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) kind: L4,
}

const TCP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;

/// ICMP types (RFC 792) and ICMPv6 types (RFC 4443).
pub(crate) mod icmp_type {
    pub(crate) const V4_ECHO_REPLY: u8 = 0;
    pub(crate) const V4_UNREACHABLE: u8 = 3;
    pub(crate) const V4_SOURCE_QUENCH: u8 = 4;
    pub(crate) const V4_REDIRECT: u8 = 5;
    pub(crate) const V4_ECHO: u8 = 8;
    pub(crate) const V4_TIME_EXCEEDED: u8 = 11;
    pub(crate) const V4_PARAMETER_PROBLEM: u8 = 12;
    pub(crate) const V6_UNREACHABLE: u8 = 1;
    pub(crate) const V6_PACKET_TOO_BIG: u8 = 2;
    pub(crate) const V6_TIME_EXCEEDED: u8 = 3;
    pub(crate) const V6_PARAMETER_PROBLEM: u8 = 4;
    /// Lowest type that is not an error (RFC 4443 §2.1).
    pub(crate) const V6_INFORMATION_FIRST: u8 = 128;
    pub(crate) const V6_ECHO: u8 = 128;
    pub(crate) const V6_ECHO_REPLY: u8 = 129;
    pub(crate) const V6_REDIRECT: u8 = 137;
}

const NO_PORTS: Upper = Upper {
    source_port: 0,
    destination_port: 0,
    kind: L4::Other,
};

/// Reads the L4 header at the start of `segment`, which ends with the IP packet.
///
/// # Errors
/// `L4Malformed`, or `FragmentOverlap` when a first fragment is too small to hold the header (RFC 1858 §3, RFC 7112 §5).
#[inline(always)]
pub(super) fn parse(segment: &[u8], protocol: u8, fragment: Fragment, v6: bool) -> Result<Upper, ParseError> {
    let short = match fragment {
        Fragment::Later => {
            return Ok(Upper {
                kind: L4::Unseen,
                ..NO_PORTS
            });
        }
        Fragment::First => ParseError::FragmentOverlap,
        Fragment::None => ParseError::L4Malformed,
    };
    match protocol {
        protocol::TCP => tcp(segment, short),
        protocol::UDP => udp(segment, short, fragment),
        protocol::ICMP if !v6 => Ok(icmp(segment.first_chunk().ok_or(short)?, v6)),
        protocol::ICMPV6 if v6 => Ok(icmp(segment.first_chunk().ok_or(short)?, v6)),
        protocol::ESP => Ok(esp(segment.first_chunk().ok_or(short)?)),
        _ => Ok(NO_PORTS),
    }
}

#[inline]
fn tcp(segment: &[u8], short: ParseError) -> Result<Upper, ParseError> {
    let header: &[u8; TCP_HEADER] = segment.first_chunk().ok_or(short)?;
    let header_len = usize::from(header[12] >> 4) * 4;
    if header_len < TCP_HEADER {
        return Err(ParseError::L4Malformed);
    }
    if header_len > segment.len() {
        return Err(short);
    }
    Ok(Upper {
        kind: L4::Tcp { flags: header[13] },
        ..ports(header[0], header[1], header[2], header[3])
    })
}

#[inline]
fn udp(segment: &[u8], short: ParseError, fragment: Fragment) -> Result<Upper, ParseError> {
    let header: &[u8; UDP_HEADER] = segment.first_chunk().ok_or(short)?;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    // The length is that of the whole datagram, which is longer than its first fragment.
    if length < UDP_HEADER || (length > segment.len() && fragment == Fragment::None) {
        return Err(ParseError::L4Malformed);
    }
    Ok(Upper {
        kind: L4::Udp,
        ..ports(header[0], header[1], header[2], header[3])
    })
}

#[inline]
fn ports(source0: u8, source1: u8, destination0: u8, destination1: u8) -> Upper {
    Upper {
        source_port: u16::from_be_bytes([source0, source1]),
        destination_port: u16::from_be_bytes([destination0, destination1]),
        kind: L4::Other,
    }
}

/// Reads an ICMP or ICMPv6 header.
#[inline]
pub(crate) fn icmp(header: &[u8; 8], v6: bool) -> Upper {
    let kind = icmp_kind(header[0], v6);
    match kind {
        L4::Echo { .. } => Upper {
            kind,
            ..ports(header[4], header[5], header[4], header[5])
        },
        L4::IcmpError | L4::IcmpOther => Upper {
            kind,
            ..ports(0, 0, header[0], header[1])
        },
        L4::Tcp { .. } | L4::Udp | L4::Esp { .. } | L4::Other | L4::Unseen => NO_PORTS,
    }
}

#[inline]
fn icmp_kind(kind: u8, v6: bool) -> L4 {
    use icmp_type::*;
    match (v6, kind) {
        (false, V4_ECHO) | (true, V6_ECHO) => L4::Echo { reply: false },
        (false, V4_ECHO_REPLY) | (true, V6_ECHO_REPLY) => L4::Echo { reply: true },
        (false, V4_UNREACHABLE | V4_SOURCE_QUENCH | V4_TIME_EXCEEDED | V4_PARAMETER_PROBLEM)
        | (true, V6_UNREACHABLE | V6_PACKET_TOO_BIG | V6_TIME_EXCEEDED | V6_PARAMETER_PROBLEM) => L4::IcmpError,
        (_, _) => L4::IcmpOther,
    }
}

#[inline]
fn esp(header: &[u8; 8]) -> Upper {
    let [spi0, spi1, spi2, spi3, ..] = *header;
    Upper {
        kind: L4::Esp {
            spi: u32::from_be_bytes([spi0, spi1, spi2, spi3]),
        },
        ..NO_PORTS
    }
}

/// Reads the L4 header of a packet quoted in an ICMP error, of which perhaps only 8 bytes are there (RFC 792).
pub(crate) fn parse_quoted(segment: &[u8], protocol: u8, fragment: Fragment, v6: bool) -> Option<Upper> {
    if fragment == Fragment::Later {
        return Some(Upper {
            kind: L4::Unseen,
            ..NO_PORTS
        });
    }
    let flags = segment.get(13).copied().unwrap_or(0);
    let first: Option<&[u8; 8]> = segment.first_chunk();
    Some(match protocol {
        protocol::TCP => first.map(|h| Upper {
            kind: L4::Tcp { flags },
            ..ports(h[0], h[1], h[2], h[3])
        })?,
        protocol::UDP => first.map(|h| Upper {
            kind: L4::Udp,
            ..ports(h[0], h[1], h[2], h[3])
        })?,
        protocol::ICMP if !v6 => icmp(first?, v6),
        protocol::ICMPV6 if v6 => icmp(first?, v6),
        protocol::ESP => esp(first?),
        _ => NO_PORTS,
    })
}

//! Errors that the gateway sends itself (RFC 792, RFC 1812 §4.3, RFC 4443). Rate limits are the caller's.

use super::ERROR_HEADER;
use crate::checksum::{self, Sum};
use crate::headers::{Addresses, Fragment, Headers, L4, protocol};
use crate::parse::l4::icmp_type;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What to tell the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IcmpErrorKind {
    /// TTL or hop limit reached zero.
    TimeExceeded,
    /// No route to the destination.
    NoRoute,
    /// The next hop does not answer.
    HostUnreachable,
    /// Nothing listens there.
    PortUnreachable,
    /// Policy forbids it.
    AdministrativelyProhibited,
    /// Fragmentation needed (IPv4) or packet too big (IPv6).
    TooBig {
        /// Largest IP packet that would pass, in bytes. IPv6 senders are told at least 1280, which they may always send
        /// (RFC 2473 §7.1).
        mtu: u32,
    },
}

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
/// Largest IPv4 error (RFC 1812 §4.3.2.3).
const IPV4_ERROR_MAX: usize = 576;
/// Largest IPv6 error: the minimum IPv6 MTU (RFC 4443 §3).
const IPV6_ERROR_MAX: usize = 1280;
const IPV6_MTU_MIN: u32 = 1280;
const HOPS: u8 = 64;
/// Precedence 6, internetwork control (RFC 1812 §4.3.2.5).
const TOS_INTERNETWORK_CONTROL: u8 = 0xc0;
const DONT_FRAGMENT: u16 = 0x4000;

/// Builds an error about `offending_frame` as an IP packet at `out[l3..]`, sent by `from` to the offender's source. Returns
/// its end in `out`; the link header is the caller's. `None` if no error may be sent (RFC 1122 §3.2.2, RFC 4443 §2.4 e:
/// about errors and redirects, later fragments, packets to groups), if `from` is of the other family, or if `out` has no
/// room for a quote of 8 bytes behind the quoted IP header.
pub fn build_error(
    kind: IcmpErrorKind,
    offending_frame: &[u8],
    headers: &Headers,
    from: IpAddr,
    out: &mut [u8],
    l3: usize,
) -> Option<usize> {
    if !may_be_answered(headers) {
        return None;
    }
    let offender = offending_frame.get(usize::from(headers.l3)..usize::from(headers.end))?;
    let out_packet = out.get_mut(l3..)?;
    let quote_min = (usize::from(headers.l4) - usize::from(headers.l3) + 8).min(offender.len());
    let length = match (headers.addresses, from) {
        (Addresses::V4 { source, .. }, IpAddr::V4(from)) => {
            let quote = fit(offender, quote_min, IPV4_HEADER, IPV4_ERROR_MAX, out_packet)?;
            write_v4(kind, quote, from, source, out_packet)
        }
        (Addresses::V6 { source, .. }, IpAddr::V6(from)) => {
            let quote = fit(offender, quote_min, IPV6_HEADER, IPV6_ERROR_MAX, out_packet)?;
            write_v6(kind, quote, from, source, out_packet)
        }
        (Addresses::V4 { .. }, IpAddr::V6(_)) | (Addresses::V6 { .. }, IpAddr::V4(_)) => return None,
    };
    Some(l3 + length)
}

fn may_be_answered(headers: &Headers) -> bool {
    let icmp_type = (headers.destination_port >> 8) as u8;
    let about_icmp_error = match headers.l4_kind {
        L4::IcmpError => true,
        L4::IcmpOther if headers.addresses.is_v6() => {
            icmp_type < icmp_type::V6_INFORMATION_FIRST || icmp_type == icmp_type::V6_REDIRECT
        }
        L4::IcmpOther => icmp_type == icmp_type::V4_REDIRECT,
        L4::Tcp { .. } | L4::Udp | L4::Echo { .. } | L4::Esp { .. } | L4::Other | L4::Unseen => false,
    };
    !about_icmp_error && headers.fragment != Fragment::Later && !headers.addresses.destination_is_multicast()
}

/// As much of the offender as the error may quote and `out` can hold.
fn fit<'a>(offender: &'a [u8], min: usize, ip_header: usize, max: usize, out: &[u8]) -> Option<&'a [u8]> {
    let room = max.min(out.len()).checked_sub(ip_header + ERROR_HEADER)?;
    let length = offender.len().min(room);
    if length < min { None } else { Some(&offender[..length]) }
}

fn write_v4(kind: IcmpErrorKind, quote: &[u8], from: Ipv4Addr, to: u32, out: &mut [u8]) -> usize {
    let total = IPV4_HEADER + ERROR_HEADER + quote.len();
    let (ip, icmp) = out[..total].split_at_mut(IPV4_HEADER);
    let (kind, code, rest) = v4_fields(kind);
    write_icmp(icmp, kind, code, rest, quote);
    let checksum = checksum::internet(icmp);
    icmp[2..4].copy_from_slice(&checksum.to_be_bytes());

    ip.fill(0);
    ip[0] = 0x45;
    ip[1] = TOS_INTERNETWORK_CONTROL;
    ip[2..4].copy_from_slice(&(total as u16).to_be_bytes());
    // Small and never fragmented, so its identification may be anything (RFC 6864 §4.1).
    ip[6..8].copy_from_slice(&DONT_FRAGMENT.to_be_bytes());
    ip[8] = HOPS;
    ip[9] = protocol::ICMP;
    ip[12..16].copy_from_slice(&from.octets());
    ip[16..20].copy_from_slice(&to.to_be_bytes());
    let checksum = checksum::internet(ip);
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    total
}

fn write_v6(kind: IcmpErrorKind, quote: &[u8], from: Ipv6Addr, to: [u8; 16], out: &mut [u8]) -> usize {
    let total = IPV6_HEADER + ERROR_HEADER + quote.len();
    let (ip, icmp) = out[..total].split_at_mut(IPV6_HEADER);
    let (kind, code, rest) = v6_fields(kind);
    write_icmp(icmp, kind, code, rest, quote);
    let addresses = Addresses::V6 {
        source: from.octets(),
        destination: to,
    };
    let sum = Sum::default()
        .pseudo_header(&addresses, protocol::ICMPV6, icmp.len())
        .bytes(icmp);
    icmp[2..4].copy_from_slice(&sum.finish().to_be_bytes());

    ip.fill(0);
    ip[0] = 0x60;
    ip[4..6].copy_from_slice(&(icmp.len() as u16).to_be_bytes());
    ip[6] = protocol::ICMPV6;
    ip[7] = HOPS;
    ip[8..24].copy_from_slice(&from.octets());
    ip[24..40].copy_from_slice(&to);
    total
}

fn write_icmp(icmp: &mut [u8], kind: u8, code: u8, rest: u32, quote: &[u8]) {
    icmp[..4].copy_from_slice(&[kind, code, 0, 0]);
    icmp[4..8].copy_from_slice(&rest.to_be_bytes());
    icmp[ERROR_HEADER..].copy_from_slice(quote);
}

/// Type, code and the four bytes behind the checksum (RFC 792, RFC 1191 §4, RFC 1812 §5.2.7.1).
fn v4_fields(kind: IcmpErrorKind) -> (u8, u8, u32) {
    match kind {
        IcmpErrorKind::TimeExceeded => (icmp_type::V4_TIME_EXCEEDED, 0, 0),
        IcmpErrorKind::NoRoute => (icmp_type::V4_UNREACHABLE, 0, 0),
        IcmpErrorKind::HostUnreachable => (icmp_type::V4_UNREACHABLE, 1, 0),
        IcmpErrorKind::PortUnreachable => (icmp_type::V4_UNREACHABLE, 3, 0),
        IcmpErrorKind::AdministrativelyProhibited => (icmp_type::V4_UNREACHABLE, 13, 0),
        IcmpErrorKind::TooBig { mtu } => (icmp_type::V4_UNREACHABLE, 4, mtu.min(u32::from(u16::MAX))),
    }
}

/// As `v4_fields` (RFC 4443 §3).
fn v6_fields(kind: IcmpErrorKind) -> (u8, u8, u32) {
    match kind {
        IcmpErrorKind::TimeExceeded => (icmp_type::V6_TIME_EXCEEDED, 0, 0),
        IcmpErrorKind::NoRoute => (icmp_type::V6_UNREACHABLE, 0, 0),
        IcmpErrorKind::HostUnreachable => (icmp_type::V6_UNREACHABLE, 3, 0),
        IcmpErrorKind::PortUnreachable => (icmp_type::V6_UNREACHABLE, 4, 0),
        IcmpErrorKind::AdministrativelyProhibited => (icmp_type::V6_UNREACHABLE, 1, 0),
        IcmpErrorKind::TooBig { mtu } => (icmp_type::V6_PACKET_TOO_BIG, 0, mtu.max(IPV6_MTU_MIN)),
    }
}

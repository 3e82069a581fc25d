//! One pass over a stranger's IP header and the first bytes of L4: either [`Headers`] whose offsets lie inside the frame
//! and in order (l3 < l4 ≤ end ≤ frame length), or the reason for refusal. Reads headers only, never payload.

mod ipv4;
mod ipv6;
pub(crate) mod l4;

use crate::headers::{Addresses, Fragment, Headers, ParseError, protocol};
use crate::link::{Link, ethertype, parse_link};
pub(crate) use ipv6::walk_quoted;

/// Longest TCP header part that a later fragment must not reach: the header without options.
const TCP_HEADER: usize = 20;
/// Fragment offsets count in units of this many bytes.
pub(crate) const FRAGMENT_UNIT: usize = 8;

/// Reads link and IP headers of a frame that must carry IP.
///
/// # Errors
/// Those of [`parse_link`] and [`parse_ip`]; `NotIp` for another EtherType; `IpMalformed` if EtherType and IP version differ.
#[inline]
pub fn parse_frame(frame: &[u8]) -> Result<(Link, Headers), ParseError> {
    let link = parse_link(frame)?;
    let l3 = usize::from(link.l3);
    let headers = match (link.ethertype, version(frame, l3)) {
        (ethertype::IPV4, Some(4)) => ipv4::parse(frame, l3),
        (ethertype::IPV6, Some(6)) => ipv6::parse(frame, l3),
        (ethertype::IPV4 | ethertype::IPV6, _) => return Err(ParseError::IpMalformed),
        (_, _) => return Err(ParseError::NotIp),
    };
    headers.map(|headers| (link, headers))
}

#[inline]
fn version(frame: &[u8], l3: usize) -> Option<u8> {
    frame.get(l3).map(|byte| byte >> 4)
}

/// Reads the IP packet that begins at `l3` in `frame`. Checks version, lengths, the IPv4 header checksum, the chain of IPv6
/// extension headers, fragment fields, addresses that nobody may forward, and that the L4 header is there.
///
/// # Errors
/// The first [`ParseError`] met, never `LinkTruncated` or `NotIp`.
#[inline]
pub fn parse_ip(frame: &[u8], l3: usize) -> Result<Headers, ParseError> {
    match version(frame, l3) {
        Some(4) => ipv4::parse(frame, l3),
        Some(6) => ipv6::parse(frame, l3),
        Some(_) | None => Err(ParseError::IpMalformed),
    }
}

/// Judges a fragment field: `offset` and `length` in bytes, `limit` = most bytes a reassembled packet may hold behind the
/// header that is repeated in each fragment.
#[inline]
fn judge_fragment(offset: usize, more: bool, length: usize, limit: usize, upper: u8) -> Result<Fragment, ParseError> {
    if offset == 0 && !more {
        return Ok(Fragment::None);
    }
    if (more && !length.is_multiple_of(FRAGMENT_UNIT)) || length == 0 || offset + length > limit {
        return Err(ParseError::IpMalformed);
    }
    if offset == 0 {
        return Ok(Fragment::First);
    }
    // A first fragment holds the whole TCP header here, so one that reaches into it can only mean to overwrite it
    // (RFC 3128 §3; RFC 1858 §3.2.2 asks for offset 1 only).
    if upper == protocol::TCP && offset < TCP_HEADER {
        return Err(ParseError::FragmentOverlap);
    }
    Ok(Fragment::Later)
}

/// Offset as `Headers` keeps it. `parse` checks that the packet's end fits, and everything else lies before the end.
#[inline]
fn offset(at: usize) -> u16 {
    at as u16
}

/// Refuses addresses that may be forwarded by nobody (RFC 1122 §3.2.1.3, RFC 4291 §2.5).
#[inline]
fn check_addresses(addresses: &Addresses) -> Result<(), ParseError> {
    let invalid = match addresses {
        Addresses::V4 { source, destination } => {
            ipv4::is_invalid_source(*source) || ipv4::is_invalid_destination(*destination)
        }
        Addresses::V6 { source, destination } => {
            source[0] == 0xff || ipv6::is_never_on_the_wire(source) || ipv6::is_never_on_the_wire(destination)
        }
    };
    if invalid {
        Err(ParseError::AddressInvalid)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;

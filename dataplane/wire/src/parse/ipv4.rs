//! The IPv4 header (RFC 791).

use super::{FRAGMENT_UNIT, check_addresses, judge_fragment, l4, offset};
use crate::checksum;
use crate::headers::{Addresses, Headers, ParseError};

const HEADER: usize = 20;
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

/// Inlined always, as `ipv6::parse` and `l4::parse`: so the headers are built where the caller keeps them. Copied, their
/// narrow stores meet wide loads, which took a third of the time.
#[inline(always)]
pub(super) fn parse(frame: &[u8], l3: usize) -> Result<Headers, ParseError> {
    let header: &[u8; HEADER] = frame
        .get(l3..)
        .and_then(<[u8]>::first_chunk)
        .ok_or(ParseError::IpMalformed)?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let end = l3 + total_len;
    if header_len < HEADER || total_len < header_len || end > frame.len() || end > usize::from(u16::MAX) {
        return Err(ParseError::IpMalformed);
    }
    if header_len > HEADER {
        return Err(options_error(&frame[l3..l3 + header_len]));
    }
    if !checksum::ipv4_header_valid(header) {
        return Err(ParseError::IpChecksum);
    }
    let addresses = Addresses::V4 {
        source: u32::from_be_bytes([header[12], header[13], header[14], header[15]]),
        destination: u32::from_be_bytes([header[16], header[17], header[18], header[19]]),
    };
    check_addresses(&addresses)?;

    let protocol = header[9];
    let word = u16::from_be_bytes([header[6], header[7]]);
    let fragment_offset = usize::from(word & OFFSET_MASK) * FRAGMENT_UNIT;
    let payload = total_len - HEADER;
    let limit = usize::from(u16::MAX) - HEADER;
    let fragment = judge_fragment(fragment_offset, word & MORE_FRAGMENTS != 0, payload, limit, protocol)?;
    let upper = l4::parse(&frame[l3 + HEADER..end], protocol, fragment, false)?;
    Ok(Headers {
        addresses,
        protocol,
        l3: offset(l3),
        l4: offset(l3 + HEADER),
        end: offset(end),
        tos: header[1],
        ttl: header[8],
        dont_fragment: word & DONT_FRAGMENT != 0,
        fragment,
        source_port: upper.source_port,
        destination_port: upper.destination_port,
        l4_kind: upper.kind,
    })
}

/// A damaged header is a damaged header, even if the damage looks like options.
#[cold]
fn options_error(header: &[u8]) -> ParseError {
    if checksum::internet(header) == 0 {
        ParseError::IpOptions
    } else {
        ParseError::IpChecksum
    }
}

/// "This" network, loopback, groups, class E and broadcast.
#[inline]
pub(super) fn is_invalid_source(address: u32) -> bool {
    let first = address >> 24;
    first == 0 || first == 127 || first >= 224
}

/// "This" network, loopback and the limited broadcast, which no router forwards (RFC 1812 §5.3.5.1).
#[inline]
pub(super) fn is_invalid_destination(address: u32) -> bool {
    let first = address >> 24;
    first == 0 || first == 127 || address == u32::MAX
}

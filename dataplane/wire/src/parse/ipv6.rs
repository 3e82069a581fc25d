//! The IPv6 header and its chain of extension headers (RFC 8200 §4). Walked are destination options, routing headers that
//! have done their work and one fragment header; AH and everything unknown end the chain as the upper protocol.

use super::{FRAGMENT_UNIT, check_addresses, judge_fragment, l4, offset};
use crate::headers::{Addresses, Fragment, Headers, ParseError};

const HEADER: usize = 40;
const FRAGMENT_HEADER: usize = 8;
/// More extension headers than this serve no purpose but to hide what follows.
const EXTENSION_HEADERS_MAX: usize = 8;

mod next_header {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const DESTINATION_OPTIONS: u8 = 60;
}

/// Where the chain ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    pub(crate) protocol: u8,
    /// Offset of the upper header in the frame.
    pub(crate) l4: usize,
    pub(crate) fragment: Fragment,
}

#[inline(always)]
pub(super) fn parse(frame: &[u8], l3: usize) -> Result<Headers, ParseError> {
    let header: &[u8; HEADER] = frame
        .get(l3..)
        .and_then(<[u8]>::first_chunk)
        .ok_or(ParseError::IpMalformed)?;
    let end = l3 + HEADER + usize::from(u16::from_be_bytes([header[4], header[5]]));
    if end > frame.len() || end > usize::from(u16::MAX) {
        return Err(ParseError::IpMalformed);
    }
    let addresses = addresses(header);
    check_addresses(&addresses)?;
    let chain = walk(&frame[..end], l3 + HEADER, header[6], Some(end))?;
    let upper = l4::parse(&frame[chain.l4..end], chain.protocol, chain.fragment, true)?;
    Ok(Headers {
        addresses,
        protocol: chain.protocol,
        l3: offset(l3),
        l4: offset(chain.l4),
        end: offset(end),
        tos: header[0] << 4 | header[1] >> 4,
        ttl: header[7],
        dont_fragment: true,
        fragment: chain.fragment,
        source_port: upper.source_port,
        destination_port: upper.destination_port,
        l4_kind: upper.kind,
    })
}

/// Walks the chain of a packet quoted in an ICMPv6 error: the quote may end before the packet, so lengths prove nothing.
pub(crate) fn walk_quoted(quote: &[u8], l3: usize) -> Option<(Chain, Addresses)> {
    let header: &[u8; HEADER] = quote.get(l3..)?.first_chunk()?;
    let chain = walk(quote, l3 + HEADER, header[6], None).ok()?;
    Some((chain, addresses(header)))
}

fn addresses(header: &[u8; HEADER]) -> Addresses {
    let mut source = [0; 16];
    let mut destination = [0; 16];
    source.copy_from_slice(&header[8..24]);
    destination.copy_from_slice(&header[24..40]);
    Addresses::V6 { source, destination }
}

/// Walks from `start`, whose header is of type `next`. `packet_end` is where the packet ends, `None` when that is unknown
/// because this is a quote: then fragment lengths are not judged and `bytes` ends with the quote.
#[inline]
fn walk(bytes: &[u8], start: usize, mut next: u8, packet_end: Option<usize>) -> Result<Chain, ParseError> {
    let mut at = start;
    let mut fragment = None;
    for _ in 0..=EXTENSION_HEADERS_MAX {
        match next {
            next_header::HOP_BY_HOP if at == start => return Err(ParseError::IpOptions),
            next_header::HOP_BY_HOP => return Err(ParseError::ExtensionHeaders),
            next_header::ROUTING | next_header::DESTINATION_OPTIONS => {
                let (length, following) = options_header(bytes, at, next)?;
                at += length;
                next = following;
            }
            next_header::FRAGMENT if fragment.is_some() => return Err(ParseError::ExtensionHeaders),
            next_header::FRAGMENT => {
                let kind = fragment_header(bytes, start, at, packet_end)?;
                next = bytes[at];
                at += FRAGMENT_HEADER;
                fragment = Some(kind);
                if kind == Fragment::Later {
                    return Ok(Chain {
                        protocol: next,
                        l4: at,
                        fragment: kind,
                    });
                }
            }
            protocol => {
                return Ok(Chain {
                    protocol,
                    l4: at,
                    fragment: fragment.unwrap_or(Fragment::None),
                });
            }
        }
    }
    Err(ParseError::ExtensionHeaders)
}

/// Length and next header of a routing or destination options header.
fn options_header(bytes: &[u8], at: usize, kind: u8) -> Result<(usize, u8), ParseError> {
    let &[next, units, _, segments_left] = bytes
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .ok_or(ParseError::ExtensionHeaders)?;
    let length = (usize::from(units) + 1) * 8;
    // While segments are left, the destination is not the packet's true one: policy would judge the wrong address
    // (and RFC 5095 forbids type 0 altogether).
    let unfinished_routing = kind == next_header::ROUTING && segments_left != 0;
    if unfinished_routing || at + length > bytes.len() {
        return Err(ParseError::ExtensionHeaders);
    }
    Ok((length, next))
}

/// Judges the fragment header at `at`; the extension headers begin at `start`.
fn fragment_header(bytes: &[u8], start: usize, at: usize, packet_end: Option<usize>) -> Result<Fragment, ParseError> {
    let &[upper, _, field0, field1, _, _, _, _]: &[u8; FRAGMENT_HEADER] = bytes
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .ok_or(ParseError::ExtensionHeaders)?;
    let field = u16::from_be_bytes([field0, field1]);
    let more = field & 1 != 0;
    let fragment_offset = usize::from(field >> 3) * FRAGMENT_UNIT;
    match packet_end {
        Some(end) => {
            let length = end - at - FRAGMENT_HEADER;
            let limit = usize::from(u16::MAX).saturating_sub(at - start);
            judge_fragment(fragment_offset, more, length, limit, upper)
        }
        None if fragment_offset != 0 => Ok(Fragment::Later),
        None if more => Ok(Fragment::First),
        None => Ok(Fragment::None),
    }
}

/// Unspecified, loopback, and IPv4-mapped addresses: the last never belong on a wire, and tables keep IPv4 in that form.
#[inline]
pub(super) fn is_never_on_the_wire(address: &[u8; 16]) -> bool {
    let value = u128::from_be_bytes(*address);
    value <= 1 || value >> 32 == 0xffff
}

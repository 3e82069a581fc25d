//! The packet that an ICMP error quotes: its beginning, as some router saw it. Its lengths may exceed the quote and its
//! checksums may be wrong, so little is checked; the session that it must match is the real test (RFC 5927).

use super::ERROR_HEADER;
use crate::headers::{Addresses, Fragment, Headers, L4};
use crate::parse::l4::{self, icmp_type};
use crate::parse::walk_quoted;

const IPV4_HEADER: usize = 20;
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;
/// Code of "fragmentation needed and DF set".
const FRAGMENTATION_NEEDED: u16 = 4;

/// Headers of the packet quoted by the error whose headers are `outer`; addresses and ports are as that packet had them,
/// so its source is whom the error is for. `None` if `outer` is no error, or the quote is of the other family or too short
/// (IP header and 8 bytes, where the protocol has ports). TCP flags are 0 if the quote ends before them.
pub fn quoted(frame: &[u8], outer: &Headers) -> Option<Headers> {
    if outer.l4_kind != L4::IcmpError {
        return None;
    }
    let quote = frame.get(..usize::from(outer.end))?;
    let l3 = usize::from(outer.l4) + ERROR_HEADER;
    match (quote.get(l3)? >> 4, outer.addresses.is_v6()) {
        (4, false) => quoted_v4(quote, l3),
        (6, true) => quoted_v6(quote, l3),
        (_, _) => None,
    }
}

/// The MTU that a fragmentation-needed or packet-too-big error tells, in bytes. `None` for other errors and for the 0 of
/// routers older than RFC 1191.
pub fn quoted_mtu(frame: &[u8], outer: &Headers) -> Option<u32> {
    if outer.l4_kind != L4::IcmpError {
        return None;
    }
    let header: &[u8; ERROR_HEADER] = frame.get(usize::from(outer.l4)..)?.first_chunk()?;
    let [_, _, _, _, mtu0, mtu1, mtu2, mtu3] = *header;
    let mtu = if outer.addresses.is_v6() {
        let too_big = outer.destination_port >> 8 == u16::from(icmp_type::V6_PACKET_TOO_BIG);
        too_big.then(|| u32::from_be_bytes([mtu0, mtu1, mtu2, mtu3]))?
    } else {
        let needed = outer.destination_port == u16::from(icmp_type::V4_UNREACHABLE) << 8 | FRAGMENTATION_NEEDED;
        needed.then(|| u32::from(u16::from_be_bytes([mtu2, mtu3])))?
    };
    (mtu != 0).then_some(mtu)
}

fn quoted_v4(quote: &[u8], l3: usize) -> Option<Headers> {
    let header: &[u8; IPV4_HEADER] = quote.get(l3..)?.first_chunk()?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header_len < IPV4_HEADER || total_len < header_len {
        return None;
    }
    let word = u16::from_be_bytes([header[6], header[7]]);
    let fragment = match (word & OFFSET_MASK, word & MORE_FRAGMENTS) {
        (0, 0) => Fragment::None,
        (0, _) => Fragment::First,
        (_, _) => Fragment::Later,
    };
    let addresses = Addresses::V4 {
        source: u32::from_be_bytes([header[12], header[13], header[14], header[15]]),
        destination: u32::from_be_bytes([header[16], header[17], header[18], header[19]]),
    };
    let l4 = l3 + header_len;
    let end = (l3 + total_len).min(quote.len());
    let upper = l4::parse_quoted(quote.get(l4..end)?, header[9], fragment, false)?;
    Some(Headers {
        addresses,
        protocol: header[9],
        l3: l3 as u16,
        l4: l4 as u16,
        end: end as u16,
        tos: header[1],
        ttl: header[8],
        dont_fragment: word & DONT_FRAGMENT != 0,
        fragment,
        source_port: upper.source_port,
        destination_port: upper.destination_port,
        l4_kind: upper.kind,
    })
}

fn quoted_v6(quote: &[u8], l3: usize) -> Option<Headers> {
    let (chain, addresses) = walk_quoted(quote, l3)?;
    let header: &[u8; 8] = quote.get(l3..)?.first_chunk()?;
    let payload = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let end = (l3 + 40 + payload).min(quote.len());
    let upper = l4::parse_quoted(quote.get(chain.l4..end)?, chain.protocol, chain.fragment, true)?;
    Some(Headers {
        addresses,
        protocol: chain.protocol,
        l3: l3 as u16,
        l4: chain.l4 as u16,
        end: end as u16,
        tos: header[0] << 4 | header[1] >> 4,
        ttl: header[7],
        dont_fragment: true,
        fragment: chain.fragment,
        source_port: upper.source_port,
        destination_port: upper.destination_port,
        l4_kind: upper.kind,
    })
}

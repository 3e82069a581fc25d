//! Edits in place: addresses, ports, TTL, TOS, MSS, link header. Checksums follow incrementally (RFC 1624), so a packet
//! that came in damaged leaves damaged and its receiver notices.
//!
//! `headers` must be those parsed from `frame`, and the frame unchanged in length since; then no edit can panic.

use crate::checksum::Delta;
use crate::headers::{Addresses, Headers, L4};
use crate::link::{ETHERNET_LEN, TAGGED_LEN, ethertype};
pub use crate::mss::clamp_mss;

/// What a packet shall carry after translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// New addresses, of the same family as the old.
    pub addresses: Addresses,
    /// New source port; the new identifier of an ICMP echo request. Ignored where there are no ports.
    pub source_port: u16,
    /// New destination port; the new identifier of an ICMP echo reply. Ignored where there are no ports.
    pub destination_port: u16,
}

/// Offset of the checksum in an IPv4 header.
const IPV4_CHECKSUM: usize = 10;
/// Offset of the checksum in a TCP header.
pub(crate) const TCP_CHECKSUM: usize = 16;
/// Offset of the checksum in a UDP header.
const UDP_CHECKSUM: usize = 6;
/// Offset of the checksum in an ICMP or ICMPv6 header.
pub(crate) const ICMP_CHECKSUM: usize = 2;
/// Offset of the identifier in an ICMP or ICMPv6 echo.
const ECHO_IDENTIFIER: usize = 4;

/// Writes addresses and ports (or the echo identifier) and corrects the IPv4 header checksum and the L4 checksum. Of
/// fragments the first gets all that, later ones only addresses. A UDP checksum of zero ("none") stays.
///
/// # Panics
/// If `to` is of the other address family: a packet must never leave untranslated.
#[inline]
pub fn rewrite(frame: &mut [u8], headers: &Headers, to: &Rewrite) {
    let addresses = rewrite_addresses(frame, headers, &to.addresses);
    let l4 = usize::from(headers.l4);
    let end = usize::from(headers.end);
    match headers.l4_kind {
        L4::Tcp { .. } => {
            let delta = addresses.and(rewrite_ports(frame, l4, to));
            patch(&mut frame[..end], l4 + TCP_CHECKSUM, delta);
        }
        L4::Udp => {
            let delta = addresses.and(rewrite_ports(frame, l4, to));
            patch_udp(&mut frame[..end], l4 + UDP_CHECKSUM, delta);
        }
        L4::Echo { reply } => {
            let identifier = if reply { to.destination_port } else { to.source_port };
            let old = replace_u16(frame, l4 + ECHO_IDENTIFIER, identifier);
            let delta = covered_by_icmp(headers, addresses).u16(old, identifier);
            patch(&mut frame[..end], l4 + ICMP_CHECKSUM, delta);
            // The one message that can sum to zero, an echo reply of nothing but zeros: its checksum is the other zero, which
            // no update finds (RFC 1624 §3).
            if reply && frame[l4..end].iter().all(|byte| *byte == 0) {
                put_u16(frame, l4 + ICMP_CHECKSUM, 0xffff);
            }
        }
        L4::IcmpError | L4::IcmpOther => {
            patch(
                &mut frame[..end],
                l4 + ICMP_CHECKSUM,
                covered_by_icmp(headers, addresses),
            );
        }
        L4::Esp { .. } | L4::Other | L4::Unseen => {}
    }
}

/// Lowers TTL or hop limit by one. False, and nothing is changed, if it would reach zero.
#[inline]
#[must_use]
pub fn decrement_ttl(frame: &mut [u8], headers: &Headers) -> bool {
    let l3 = usize::from(headers.l3);
    if headers.ttl <= 1 {
        return false;
    }
    match headers.addresses {
        Addresses::V4 { .. } => {
            let old = u16_at(frame, l3 + 8);
            // TTL is the upper byte of its word.
            let new = old.wrapping_sub(0x0100);
            put_u16(frame, l3 + 8, new);
            patch(frame, l3 + IPV4_CHECKSUM, Delta::default().u16(old, new));
        }
        Addresses::V6 { .. } => frame[l3 + 7] = headers.ttl - 1,
    }
    true
}

/// Writes the TOS or traffic class byte.
#[inline]
pub fn write_tos(frame: &mut [u8], headers: &Headers, tos: u8) {
    let l3 = usize::from(headers.l3);
    let old = u16_at(frame, l3);
    match headers.addresses {
        Addresses::V4 { .. } => {
            let new = old & 0xff00 | u16::from(tos);
            put_u16(frame, l3, new);
            patch(frame, l3 + IPV4_CHECKSUM, Delta::default().u16(old, new));
        }
        Addresses::V6 { .. } => put_u16(frame, l3, old & 0xf00f | u16::from(tos) << 4),
    }
}

/// Writes the link header at the start of the frame, with an 802.1Q tag (priority 0) if `vlan` is given. Returns its
/// length: the IP packet must begin there.
///
/// # Panics
/// If the frame is shorter than the link header.
#[inline]
pub fn write_link(frame: &mut [u8], destination: [u8; 6], source: [u8; 6], ethertype: u16, vlan: Option<u16>) -> usize {
    frame[..6].copy_from_slice(&destination);
    frame[6..12].copy_from_slice(&source);
    match vlan {
        None => {
            put_u16(frame, 12, ethertype);
            ETHERNET_LEN
        }
        Some(identifier) => {
            put_u16(frame, 12, ethertype::VLAN);
            put_u16(frame, 14, identifier & 0x0fff);
            put_u16(frame, 16, ethertype);
            TAGGED_LEN
        }
    }
}

/// Writes the addresses and the IPv4 header checksum; returns what changed, for the L4 checksum.
#[inline]
pub(crate) fn rewrite_addresses(frame: &mut [u8], headers: &Headers, to: &Addresses) -> Delta {
    let l3 = usize::from(headers.l3);
    match (headers.addresses, to) {
        (Addresses::V4 { .. }, Addresses::V4 { source, destination }) => {
            let delta = Delta::default()
                .u32(replace_u32(frame, l3 + 12, *source), *source)
                .u32(replace_u32(frame, l3 + 16, *destination), *destination);
            patch(frame, l3 + IPV4_CHECKSUM, delta);
            delta
        }
        (Addresses::V6 { .. }, Addresses::V6 { source, destination }) => {
            let old_source = replace_v6(frame, l3 + 8, source);
            let old_destination = replace_v6(frame, l3 + 24, destination);
            Delta::default()
                .v6(&old_source, source)
                .v6(&old_destination, destination)
        }
        (Addresses::V4 { .. }, Addresses::V6 { .. }) | (Addresses::V6 { .. }, Addresses::V4 { .. }) => {
            panic!("a rewrite keeps the address family")
        }
    }
}

/// ICMPv6 sums a pseudo-header, ICMP does not.
#[inline]
pub(crate) fn covered_by_icmp(headers: &Headers, addresses: Delta) -> Delta {
    if headers.addresses.is_v6() {
        addresses
    } else {
        Delta::default()
    }
}

#[inline]
fn rewrite_ports(frame: &mut [u8], l4: usize, to: &Rewrite) -> Delta {
    let new = u32::from(to.source_port) << 16 | u32::from(to.destination_port);
    Delta::default().u32(replace_u32(frame, l4, new), new)
}

/// Corrects the checksum at `at`; does nothing where a quote ends before it.
#[inline]
pub(crate) fn patch(frame: &mut [u8], at: usize, delta: Delta) {
    if let Some(field) = frame.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<2>) {
        *field = delta.apply(u16::from_be_bytes(*field)).to_be_bytes();
    }
}

/// As `patch`, for UDP: 0 means "no checksum" and stays, a computed 0 is sent as 0xffff (RFC 768).
#[inline]
fn patch_udp(frame: &mut [u8], at: usize, delta: Delta) {
    if let Some(field) = frame.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<2>) {
        let old = u16::from_be_bytes(*field);
        if old != 0 {
            let new = delta.apply(old);
            *field = (if new == 0 { 0xffff } else { new }).to_be_bytes();
        }
    }
}

#[inline]
fn u16_at(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

#[inline]
fn put_u16(frame: &mut [u8], at: usize, value: u16) {
    frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

#[inline]
fn replace_u16(frame: &mut [u8], at: usize, value: u16) -> u16 {
    let old = u16_at(frame, at);
    put_u16(frame, at, value);
    old
}

#[inline]
fn replace_u32(frame: &mut [u8], at: usize, value: u32) -> u32 {
    let field = &mut frame[at..at + 4];
    let old = u32::from_be_bytes([field[0], field[1], field[2], field[3]]);
    field.copy_from_slice(&value.to_be_bytes());
    old
}

#[inline]
fn replace_v6(frame: &mut [u8], at: usize, value: &[u8; 16]) -> [u8; 16] {
    let field = &mut frame[at..at + 16];
    let mut old = [0; 16];
    old.copy_from_slice(field);
    field.copy_from_slice(value);
    old
}

#[cfg(test)]
mod tests;

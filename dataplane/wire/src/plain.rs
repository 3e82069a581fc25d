//! The packet that nearly every packet is: untagged IPv4 without options, whole, TCP (no SYN) or UDP, with time to live. It is
//! read and edited within the first cache line of its frame, by loads and stores at fixed places.
//!
//! [`read`] is as strict as [`parse_ip`](crate::parse_ip): what it takes, that takes too and sees the same; what it leaves is not
//! thereby wrong. The edits write the very bytes that those of [`edit`](crate::edit) would.

use crate::headers::{protocol, tcp_flag};

pub mod columns;

/// Bytes of a frame that are looked at: Ethernet, IPv4 and TCP headers end before them.
pub const HEAD: usize = 64;

const LINK: usize = 14;
const IPV4: usize = 20;
const L4: usize = LINK + IPV4;
/// EtherType IPv4 and the byte of version 4 and header length 5, as a little-endian load at offset 12 shows them.
const IPV4_PLAIN: u32 = 0x0045_0008;
/// Lower 48 bits: the destination MAC address of a little-endian load at offset 0.
const MAC: u64 = 0x0000_ffff_ffff_ffff;

/// What is known of a plain packet. Addresses and ports are those of the packet, source in the upper half, destination in the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// Source and destination address.
    pub addresses: u64,
    /// Source and destination port.
    pub ports: u32,
    /// Bytes of the IP packet.
    pub ip_length: u16,
    /// `protocol::TCP` or `protocol::UDP`.
    pub protocol: u8,
    /// Of TCP; 0 for UDP.
    pub tcp_flags: u8,
}

/// A MAC address as [`is_for`] compares it.
#[inline]
pub fn station(mac: &[u8; 6]) -> u64 {
    let [a, b, c, d, e, f] = *mac;
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}

/// Whether the frame is for this station and carries IPv4 without tag and options.
#[inline(always)]
pub fn is_for(head: &[u8; HEAD], station: u64) -> bool {
    let link = (load64::<0>(head) ^ station) & MAC;
    link | u64::from((load32::<12>(head) ^ IPV4_PLAIN) & 0x00ff_ffff) == 0
}

/// Whether a packet that [`is_for`] let pass may be ESP, bare or in UDP.
#[inline(always)]
pub fn may_be_sealed(head: &[u8; HEAD], udp_port: u16) -> bool {
    match head[LINK + 9] {
        protocol::ESP => true,
        protocol::UDP => be16::<{ L4 + 2 }>(head) == udp_port,
        _ => false,
    }
}

/// Bytes of a plain IPv4 packet.
#[inline(always)]
pub fn ip_length(head: &[u8; HEAD]) -> u16 {
    be16::<16>(head)
}

/// Reads the IPv4 packet at offset 14 of a frame of `length` bytes; none if it is not plain.
#[inline(always)]
pub fn read(head: &[u8; HEAD], length: usize) -> Option<Plain> {
    let ip_length = be16::<16>(head);
    let whole = be16::<20>(head) & 0x3fff == 0;
    let protocol = head[LINK + 9];
    let addresses = be64::<26>(head);
    let fits = LINK + usize::from(ip_length) <= length;
    let alive = head[LINK + 8] > 1;
    let version = head[LINK] == 0x45;
    if !(version & whole & fits & alive & may_be_forwarded(addresses) & header_sum_is_right(head)) {
        return None;
    }
    let payload = usize::from(ip_length).wrapping_sub(IPV4);
    let tcp_flags = match protocol {
        protocol::TCP => {
            let header = usize::from(head[L4 + 12] >> 4) * 4;
            let flags = head[L4 + 13];
            if payload > usize::from(u16::MAX) || header < 20 || header > payload || flags & tcp_flag::SYN != 0 {
                return None;
            }
            flags
        }
        protocol::UDP => {
            let datagram = usize::from(be16::<{ L4 + 4 }>(head));
            if payload > usize::from(u16::MAX) || datagram < 8 || datagram > payload {
                return None;
            }
            0
        }
        _ => return None,
    };
    Some(Plain {
        addresses,
        ports: be32::<L4>(head),
        ip_length,
        protocol,
        tcp_flags,
    })
}

/// What is known of a plain ESP packet: whole, straight in IPv4 without options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainEsp {
    /// Where the packet ends in the frame. ESP begins at [`ESP_AT`].
    pub end: u16,
    /// TOS byte.
    pub tos: u8,
}

/// Where ESP begins in the frame.
pub const ESP_AT: usize = L4;

/// The plain ESP packets of one SA, told from all others by a few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EspOf {
    station: u64,
    /// Destination address and SPI, as a little-endian load shows them.
    destination_spi: u64,
}

impl EspOf {
    /// Those for the station with this destination address and SPI.
    #[inline]
    pub fn new(station: u64, destination: u32, spi: u32) -> Self {
        EspOf {
            station,
            destination_spi: (u64::from(destination) << 32 | u64::from(spi)).swap_bytes(),
        }
    }

    /// Reads the packet of a frame of `length` bytes; none if it is not plain, or another's.
    #[inline(always)]
    pub fn read(&self, head: &[u8; HEAD], length: usize) -> Option<PlainEsp> {
        let link = (load64::<0>(head) ^ self.station) & MAC;
        let version = u64::from(load32::<12>(head) ^ IPV4_PLAIN) & 0x00ff_ffff;
        let other = load64::<30>(head) ^ self.destination_spi;
        let fragment = u64::from(load32::<20>(head)) & 0xff3f;
        let protocol = u64::from(head[LINK + 9] ^ protocol::ESP);
        let ip_length = be16::<16>(head);
        let end = LINK + usize::from(ip_length);
        let fits = (end <= length) & (ip_length >= (IPV4 + 8) as u16);
        let plain = (link | version | other | fragment | protocol == 0) & fits;
        let addresses = u64::from(head[26]) << 56 | u64::from(head[30]) << 24;
        (plain && may_be_forwarded(addresses) && header_sum_is_right(head)).then(|| PlainEsp {
            end: end as u16,
            tos: head[LINK + 1],
        })
    }
}

/// Neither source nor destination is one that may be forwarded by nobody; groups are left to others, too.
#[inline(always)]
fn may_be_forwarded(addresses: u64) -> bool {
    let usual = |first: u64| (first.wrapping_sub(1) < 223) & (first != 127);
    usual(addresses >> 56) & usual((addresses >> 24) & 0xff)
}

/// RFC 1071 over the five words of the header, in the machine's byte order (§2 B).
#[inline(always)]
fn header_sum_is_right(head: &[u8; HEAD]) -> bool {
    let (sum, carry) = load64::<14>(head).overflowing_add(load64::<22>(head));
    let sum = (sum >> 32) + (sum & 0xffff_ffff) + u64::from(carry) + u64::from(load32::<30>(head));
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    (sum >> 16) + (sum & 0xffff) == 0xffff
}

/// Takes one from the time to live of a plain packet.
#[inline(always)]
pub fn decrement_ttl(head: &mut [u8; HEAD]) {
    head[LINK + 8] = head[LINK + 8].wrapping_sub(1);
    // ~old + new of the word whose upper byte fell by one.
    let checksum = apply(be16::<24>(head), 0xfeff);
    put16::<24>(head, checksum);
}

/// Takes one from the time to live and gives the packet that was read as `plain` other addresses and ports.
#[inline(always)]
pub fn translate(head: &mut [u8; HEAD], plain: &Plain, addresses: u64, ports: u32) {
    head[LINK + 8] = head[LINK + 8].wrapping_sub(1);
    let moved = halves(!plain.addresses) + halves(addresses);
    let header_checksum = apply(be16::<24>(head), 0xfeff + moved);
    put16::<24>(head, header_checksum);
    put64::<26>(head, addresses);
    let delta = moved + u64::from(!plain.ports) + u64::from(ports);
    put32::<L4>(head, ports);
    if plain.protocol == protocol::TCP {
        let checksum = apply(be16::<{ L4 + 16 }>(head), delta);
        put16::<{ L4 + 16 }>(head, checksum);
    } else {
        let old = be16::<{ L4 + 6 }>(head);
        if old != 0 {
            // A computed 0 is sent as 0xffff (RFC 768).
            let new = apply(old, delta);
            put16::<{ L4 + 6 }>(head, if new == 0 { 0xffff } else { new });
        }
    }
}

/// Takes one from the time to live and gives a UDP packet from the address and port `from` those of `to`.
#[inline(always)]
pub fn translate_udp_source(head: &mut [u8; HEAD], from: (u32, u16), to: (u32, u16)) {
    head[LINK + 8] = head[LINK + 8].wrapping_sub(1);
    let moved = halves16(!from.0) + halves16(to.0);
    let header_checksum = apply_few(be16::<24>(head), 0xfeff + moved);
    put16::<24>(head, header_checksum);
    put32::<26>(head, to.0);
    put16::<L4>(head, to.1);
    let old = be16::<{ L4 + 6 }>(head);
    if old != 0 {
        // A computed 0 is sent as 0xffff (RFC 768).
        let new = apply_few(old, moved + u32::from(!from.1) + u32::from(to.1));
        put16::<{ L4 + 6 }>(head, if new == 0 { 0xffff } else { new });
    }
}

/// Both halves of a word.
#[inline(always)]
fn halves16(word: u32) -> u32 {
    (word >> 16) + (word & 0xffff)
}

/// [`apply`] for the sum of a few halves: below 2²⁰.
#[inline(always)]
fn apply_few(checksum: u16, delta: u32) -> u16 {
    let sum = halves16(u32::from(!checksum) + delta);
    !((sum >> 16) + sum) as u16
}

/// Destination and source MAC address, as they stand in a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stations([u8; 12]);

impl Stations {
    /// From nobody to nobody.
    pub const NOBODY: Stations = Stations([0; 12]);

    /// From `source` to `destination`.
    #[inline]
    pub fn new(destination: [u8; 6], source: [u8; 6]) -> Self {
        let mut both = [0; 12];
        both[..6].copy_from_slice(&destination);
        both[6..].copy_from_slice(&source);
        Stations(both)
    }

    /// Writes both; the EtherType stays.
    #[inline(always)]
    pub fn write(&self, head: &mut [u8; HEAD]) {
        head[..12].copy_from_slice(&self.0);
    }
}

/// The checksum after a change of `delta` (RFC 1624 §3, equation 3).
#[inline(always)]
fn apply(checksum: u16, delta: u64) -> u16 {
    !fold(u64::from(!checksum) + delta)
}

/// Folds a sum below 2⁴⁸ to 16 bits with end-around carry.
#[inline(always)]
fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + sum) as u16
}

#[inline(always)]
fn halves(word: u64) -> u64 {
    (word >> 32) + (word & 0xffff_ffff)
}

#[inline(always)]
fn chunk<const AT: usize, const N: usize>(head: &[u8; HEAD]) -> [u8; N] {
    const { assert!(AT + N <= HEAD) };
    let mut bytes = [0; N];
    bytes.copy_from_slice(&head[AT..AT + N]);
    bytes
}

#[inline(always)]
fn load32<const AT: usize>(head: &[u8; HEAD]) -> u32 {
    u32::from_le_bytes(chunk::<AT, 4>(head))
}

#[inline(always)]
fn load64<const AT: usize>(head: &[u8; HEAD]) -> u64 {
    u64::from_le_bytes(chunk::<AT, 8>(head))
}

#[inline(always)]
fn be16<const AT: usize>(head: &[u8; HEAD]) -> u16 {
    u16::from_be_bytes(chunk::<AT, 2>(head))
}

#[inline(always)]
fn be32<const AT: usize>(head: &[u8; HEAD]) -> u32 {
    u32::from_be_bytes(chunk::<AT, 4>(head))
}

#[inline(always)]
fn be64<const AT: usize>(head: &[u8; HEAD]) -> u64 {
    u64::from_be_bytes(chunk::<AT, 8>(head))
}

#[inline(always)]
fn put16<const AT: usize>(head: &mut [u8; HEAD], value: u16) {
    head[AT..AT + 2].copy_from_slice(&value.to_be_bytes());
}

#[inline(always)]
fn put32<const AT: usize>(head: &mut [u8; HEAD], value: u32) {
    head[AT..AT + 4].copy_from_slice(&value.to_be_bytes());
}

#[inline(always)]
fn put64<const AT: usize>(head: &mut [u8; HEAD], value: u64) {
    head[AT..AT + 8].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests;

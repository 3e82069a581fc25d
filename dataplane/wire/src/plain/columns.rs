//! Plain packets side by side: what [`read`](super::read) and the edits of [`edit`](crate::edit) do to one, done to sixteen at a time
//! by arithmetic without a branch, which the compiler turns into vector instructions.
//!
//! A packet is a *lane*: one place in every column. Columns are words of the frame's first line as they were loaded (little
//! endian), so that a packet is edited by storing four words. Which of a lane's conditions fails does not matter: each leaves
//! something in `bad`.

use super::{HEAD, IPV4_PLAIN, LINK, MAC, Plain, chunk};
use crate::headers::{protocol, tcp_flag};

/// Packets side by side.
pub const LANES: usize = 16;

/// One word of each packet.
pub type Column = [u64; LANES];

const EMPTY: Column = [0; LANES];
/// EtherType IPv4 as the checksum's sum over bytes 12 to 34 shows it when that of the header is right.
const ETHERTYPE_SUM: u64 = 0x0008;
const HALF: u64 = 0xffff_ffff;
const SIXTEENTH: u64 = 0xffff;

/// The first lines of up to [`LANES`] frames.
#[repr(align(64))]
pub struct Columns {
    /// Bytes 0 to 8: the destination MAC address.
    link: Column,
    /// Bytes 12 to 20: EtherType, version, TOS, length, identification.
    kind: Column,
    /// Bytes 20 to 28: fragment, time to live, protocol, checksum, half of the source.
    life: Column,
    /// Bytes 26 to 34: source and destination.
    addresses: Column,
    /// Bytes 34 to 42: ports; of UDP length and checksum.
    ports: Column,
    /// Bytes 44 to 52: of TCP header length, flags, checksum.
    tcp: Column,
    /// Bytes of the frame.
    frame: Column,
    /// Not 0: no plain packet.
    bad: Column,
    host_addresses: Column,
    ports_and_protocol: Column,
    ip_length: Column,
    tcp_flags: Column,
}

impl Default for Columns {
    fn default() -> Self {
        Columns {
            link: EMPTY,
            kind: EMPTY,
            life: EMPTY,
            addresses: EMPTY,
            ports: EMPTY,
            tcp: EMPTY,
            frame: EMPTY,
            bad: EMPTY,
            host_addresses: EMPTY,
            ports_and_protocol: EMPTY,
            ip_length: EMPTY,
            tcp_flags: EMPTY,
        }
    }
}

impl Columns {
    /// Puts a frame of `length` bytes into a lane.
    #[inline(always)]
    pub fn load(&mut self, lane: usize, head: &[u8; HEAD], length: usize) {
        let lane = lane % LANES;
        self.link[lane] = word::<0>(head);
        self.kind[lane] = word::<12>(head);
        self.life[lane] = word::<20>(head);
        self.addresses[lane] = word::<26>(head);
        self.ports[lane] = word::<34>(head);
        self.tcp[lane] = word::<44>(head);
        self.frame[lane] = length as u64;
    }

    /// Leaves a lane without a packet.
    #[inline(always)]
    pub fn leave_out(&mut self, lane: usize) {
        self.frame[lane % LANES] = 0;
    }

    /// The frame in a lane is for whoever `station` is, and IPv4: it came out of a tunnel, and its link header means nothing.
    #[inline(always)]
    pub fn accept(&mut self, lane: usize, station: u64) {
        let lane = lane % LANES;
        self.link[lane] = station;
        self.kind[lane] = self.kind[lane] & !SIXTEENTH | ETHERTYPE_SUM;
    }

    /// Reads all lanes: [`is_for`](super::is_for) `station`, then [`read`](super::read).
    #[inline(always)]
    pub fn read(&mut self, station: u64) {
        for lane in 0..LANES {
            let (kind, life, addresses) = (self.kind[lane], self.life[lane], self.addresses[lane]);
            let (ports, tcp) = (self.ports[lane], self.tcp[lane]);
            let link = (self.link[lane] ^ station) & MAC | (kind ^ IPV4_PLAIN as u64) & 0x00ff_ffff;
            let ip_length = be16(kind >> 32);
            let fragment = life & 0xff3f;
            let dying = sign(((life >> 16) & 0xff).wrapping_sub(2));
            let cut = sign(self.frame[lane].wrapping_sub(ip_length + LINK as u64));
            let sum = halves(kind) + halves(life) + halves(addresses & !SIXTEENTH);
            let unsound = fold(sum) ^ ETHERTYPE_SUM;
            let unusual = unusual(addresses & 0xff) | unusual((addresses >> 32) & 0xff);
            let of = (life >> 24) & 0xff;
            let payload = ip_length.wrapping_sub(20);
            let (segment, datagram) = (wrong_segment(tcp, payload), wrong_datagram(ports, payload));
            let (is_tcp, is_udp) = (mask(of, protocol::TCP), mask(of, protocol::UDP));
            let l4 = segment & is_tcp | datagram & is_udp | !(is_tcp | is_udp);
            self.bad[lane] = link | fragment | dying | cut | unsound | unusual | l4;
            self.host_addresses[lane] = addresses.swap_bytes();
            self.ports_and_protocol[lane] = ports.swap_bytes() & !HALF | of << 8;
            self.ip_length[lane] = ip_length;
            self.tcp_flags[lane] = (tcp >> 24) & 0xff & is_tcp;
        }
    }

    /// Whether the lane holds a plain packet for the station.
    #[inline(always)]
    pub fn is_plain(&self, lane: usize) -> bool {
        self.bad[lane % LANES] == 0
    }

    /// The lane's packet is not to be taken for plain.
    #[inline(always)]
    pub fn spoil(&mut self, lane: usize) {
        self.bad[lane % LANES] = 1;
    }

    /// None is.
    pub fn spoil_all(&mut self) {
        self.bad = [1; LANES];
    }

    /// Source (upper half) and destination address.
    #[inline(always)]
    pub fn addresses(&self, lane: usize) -> u64 {
        self.host_addresses[lane % LANES]
    }

    /// Ports in the upper half, source first, and the protocol in bits 8 to 16: a session's second key word without its segment.
    #[inline(always)]
    pub fn ports_and_protocol(&self, lane: usize) -> u64 {
        self.ports_and_protocol[lane % LANES]
    }

    /// Bytes of the IP packet.
    #[inline(always)]
    pub fn ip_length(&self, lane: usize) -> u16 {
        self.ip_length[lane % LANES] as u16
    }

    /// Of TCP; 0 for UDP.
    #[inline(always)]
    pub fn tcp_flags(&self, lane: usize) -> u8 {
        self.tcp_flags[lane % LANES] as u8
    }

    /// The same of all lanes.
    #[inline(always)]
    pub fn all_tcp_flags(&self) -> &Column {
        &self.tcp_flags
    }

    /// All that is known of a lane's packet.
    #[inline(always)]
    pub fn packet(&self, lane: usize) -> Plain {
        let rest = self.ports_and_protocol(lane);
        Plain {
            addresses: self.addresses(lane),
            ports: (rest >> 32) as u32,
            ip_length: self.ip_length(lane),
            protocol: (rest >> 8) as u8,
            tcp_flags: self.tcp_flags(lane),
        }
    }

    /// Takes one from the time to live of all lanes, as [`decrement_ttl`](crate::edit::decrement_ttl) does.
    #[inline(always)]
    pub fn decrement_ttls(&mut self) {
        for life in &mut self.life {
            *life = aged(*life, 0);
        }
    }

    /// The same, and gives those lanes other addresses and ports whose `translated` is all ones, as
    /// [`rewrite`](crate::edit::rewrite) does; for the others it is 0 and the rest does not matter.
    #[inline(always)]
    pub fn translate(&mut self, addresses: &Column, ports: &Column, translated: &Column) {
        for lane in 0..LANES {
            let translated = translated[lane];
            let (old, old_ports) = (self.addresses[lane], self.ports[lane]);
            let new = choose(translated, addresses[lane].swap_bytes(), old);
            let new_ports = choose(translated, (ports[lane] << 32).swap_bytes(), old_ports & HALF);
            let moved = halves(!old) + halves(new);
            let delta = moved + (!old_ports & HALF) + new_ports;
            let of = (self.life[lane] >> 24) & 0xff;
            let (is_tcp, is_udp) = (mask(of, protocol::TCP), mask(of, protocol::UDP));
            self.life[lane] = aged(self.life[lane], moved);
            self.addresses[lane] = new;
            // A checksum of 0 is none, and a computed 0 is sent as 0xffff (RFC 768).
            let (datagram, segment) = (old_ports >> 48, self.tcp[lane] >> 48);
            let summed = !mask_of_zero(datagram) & is_udp & translated;
            let new_datagram = sum_after(datagram, delta);
            let new_datagram = new_datagram | mask_of_zero(new_datagram) & SIXTEENTH;
            let datagram = choose(summed, new_datagram, datagram);
            let segment = choose(is_tcp & translated, sum_after(segment, delta), segment);
            self.ports[lane] = new_ports | old_ports & 0x0000_ffff_0000_0000 | datagram << 48;
            self.tcp[lane] = self.tcp[lane] & !(SIXTEENTH << 48) | segment << 48;
        }
    }

    /// Writes what was edited back to the lane's frame; the link header stays.
    #[inline(always)]
    pub fn write(&self, lane: usize, head: &mut [u8; HEAD]) {
        let lane = lane % LANES;
        put::<20>(head, self.life[lane]);
        put::<26>(head, self.addresses[lane]);
        put::<34>(head, self.ports[lane]);
        put::<44>(head, self.tcp[lane]);
    }

    /// The same where only the time to live was changed.
    #[inline(always)]
    pub fn write_ttl(&self, lane: usize, head: &mut [u8; HEAD]) {
        put::<20>(head, self.life[lane % LANES]);
    }
}

/// The word at bytes 20 to 28 with one less to live, and with the header's sum moved by `moved`.
#[inline(always)]
fn aged(life: u64, moved: u64) -> u64 {
    // ~old + new of the word whose lower byte falls by one.
    let checksum = sum_after((life >> 32) & SIXTEENTH, 0xfffe + moved);
    (life.wrapping_sub(1 << 16)) & !(SIXTEENTH << 32) | checksum << 32
}

/// The checksum after a change of `delta` (RFC 1624 §3, equation 3). One's complement sums do not mind the order of bytes
/// (RFC 1071 §2 B).
#[inline(always)]
fn sum_after(checksum: u64, delta: u64) -> u64 {
    !fold((!checksum & SIXTEENTH) + delta) & SIXTEENTH
}

/// Folds a sum below 2⁴⁰ to 16 bits with end-around carry.
#[inline(always)]
fn fold(sum: u64) -> u64 {
    let sum = (sum >> 16) + (sum & SIXTEENTH);
    let sum = (sum >> 16) + (sum & SIXTEENTH);
    (sum >> 16) + (sum & SIXTEENTH)
}

#[inline(always)]
fn halves(word: u64) -> u64 {
    (word >> 32) + (word & HALF)
}

/// What is not 0 if a TCP header in a payload of so many bytes is not plain.
#[inline(always)]
fn wrong_segment(tcp: u64, payload: u64) -> u64 {
    let header = ((tcp >> 20) & 0xf) * 4;
    let syn = (tcp >> 24) & tcp_flag::SYN as u64;
    sign(header.wrapping_sub(20)) | sign(payload.wrapping_sub(header)) | sign(payload) | syn
}

/// What is not 0 if a UDP header in a payload of so many bytes is wrong.
#[inline(always)]
fn wrong_datagram(ports: u64, payload: u64) -> u64 {
    let datagram = be16(ports >> 32);
    sign(datagram.wrapping_sub(8)) | sign(payload.wrapping_sub(datagram)) | sign(payload)
}

/// Not 0 for the first byte of an address that may not be forwarded, or is a group's.
#[inline(always)]
fn unusual(first: u64) -> u64 {
    sign(first.wrapping_sub(1)) | sign(223_u64.wrapping_sub(first)) | mask(first, 127)
}

/// 1 if a difference is below 0.
#[inline(always)]
fn sign(difference: u64) -> u64 {
    difference >> 63
}

/// All ones where the word is that byte.
#[inline(always)]
fn mask(word: u64, byte: u8) -> u64 {
    mask_of_zero(word ^ byte as u64)
}

#[inline(always)]
fn mask_of_zero(word: u64) -> u64 {
    if word == 0 { u64::MAX } else { 0 }
}

#[inline(always)]
fn choose(mask: u64, yes: u64, no: u64) -> u64 {
    yes & mask | no & !mask
}

/// The first two bytes of a word, as the network writes them.
#[inline(always)]
fn be16(word: u64) -> u64 {
    (word & 0xff) << 8 | (word >> 8) & 0xff
}

#[inline(always)]
fn word<const AT: usize>(head: &[u8; HEAD]) -> u64 {
    u64::from_le_bytes(chunk::<AT, 8>(head))
}

#[inline(always)]
fn put<const AT: usize>(head: &mut [u8; HEAD], word: u64) {
    const { assert!(AT + 8 <= HEAD) };
    head[AT..AT + 8].copy_from_slice(&word.to_le_bytes());
}

#[cfg(test)]
mod tests;

//! The Internet checksum: full (RFC 1071) and incremental (RFC 1624, equation 3). All values are host order.

use crate::headers::{Addresses, Fragment, Headers, L4};

/// A one's complement sum in the making.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds bytes that begin at an even offset of the summed data; an odd last byte is padded with zero.
    #[inline]
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        // The one's complement sum does not mind byte order (RFC 1071 §2 B): native words, one swap at the end.
        let (words, rest) = bytes.as_chunks::<4>();
        let mut native = 0u64;
        for word in words {
            native += u64::from(u32::from_ne_bytes(*word));
        }
        let mut tail = [0u8; 4];
        for (to, from) in tail.iter_mut().zip(rest) {
            *to = *from;
        }
        native += u64::from(u32::from_ne_bytes(tail));
        Sum(self.0 + u64::from(u16::from_be(fold(native))))
    }

    /// Adds a 16-bit word.
    #[inline]
    #[must_use]
    pub fn u16(self, word: u16) -> Self {
        Sum(self.0 + u64::from(word))
    }

    /// Adds two 16-bit words.
    #[inline]
    #[must_use]
    pub fn u32(self, words: u32) -> Self {
        Sum(self.0 + u64::from(words))
    }

    /// Adds the pseudo-header of an L4 segment of `length` bytes (RFC 9293 §3.1, RFC 8200 §8.1).
    #[inline]
    #[must_use]
    pub fn pseudo_header(self, addresses: &Addresses, protocol: u8, length: usize) -> Self {
        let sum = match addresses {
            Addresses::V4 { source, destination } => self.u32(*source).u32(*destination),
            Addresses::V6 { source, destination } => self.bytes(source).bytes(destination),
        };
        Sum(sum.0 + length as u64).u16(u16::from(protocol))
    }

    /// The checksum: complement of the sum. 0 when the summed data held its own right checksum.
    #[inline]
    pub fn finish(self) -> u16 {
        !fold(self.0)
    }

    /// The checksum as UDP sends it: a computed 0 goes as 0xffff, since 0 means "none" (RFC 768).
    #[inline]
    pub fn finish_udp(self) -> u16 {
        match self.finish() {
            0 => 0xffff,
            checksum => checksum,
        }
    }
}

/// Checksum of `bytes`.
#[inline]
pub fn internet(bytes: &[u8]) -> u16 {
    Sum::default().bytes(bytes).finish()
}

/// Whether a 20-byte IPv4 header holds its right checksum.
#[inline]
pub fn ipv4_header_valid(header: &[u8; 20]) -> bool {
    let mut sum = 0u64;
    for word in header.as_chunks::<4>().0 {
        sum += u64::from(u32::from_ne_bytes(*word));
    }
    fold(sum) == 0xffff
}

/// Whether the L4 checksum is right: TCP, UDP, ICMP, ICMPv6. True where there is none to check: other protocols, fragments,
/// UDP without a checksum.
pub fn transport_valid(frame: &[u8], headers: &Headers) -> bool {
    if headers.fragment != Fragment::None {
        return true;
    }
    let Some(segment) = frame.get(usize::from(headers.l4)..usize::from(headers.end)) else {
        return false;
    };
    let pseudo = |length| Sum::default().pseudo_header(&headers.addresses, headers.protocol, length);
    match headers.l4_kind {
        L4::Tcp { .. } => pseudo(segment.len()).bytes(segment).finish() == 0,
        L4::Udp => udp_valid(segment, pseudo),
        L4::Echo { .. } | L4::IcmpError | L4::IcmpOther if headers.addresses.is_v6() => {
            pseudo(segment.len()).bytes(segment).finish() == 0
        }
        L4::Echo { .. } | L4::IcmpError | L4::IcmpOther => internet(segment) == 0,
        L4::Esp { .. } | L4::Other | L4::Unseen => true,
    }
}

/// The UDP checksum ends where the UDP length says, which may be before the IP packet does.
fn udp_valid(segment: &[u8], pseudo: impl Fn(usize) -> Sum) -> bool {
    let Some(&[_, _, _, _, length0, length1, checksum0, checksum1]) = segment.first_chunk() else {
        return false;
    };
    let length = usize::from(u16::from_be_bytes([length0, length1]));
    if [checksum0, checksum1] == [0, 0] {
        return true;
    }
    segment
        .get(..length)
        .is_some_and(|datagram| pseudo(length).bytes(datagram).finish() == 0)
}

/// A change of summed data: Σ(~old + new), to be applied to each checksum that covers it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delta(u64);

impl Delta {
    /// A 16-bit word at an even offset became another.
    #[inline]
    #[must_use]
    pub fn u16(self, old: u16, new: u16) -> Self {
        Delta(self.0 + u64::from(!old) + u64::from(new))
    }

    /// Two words at once.
    #[inline]
    #[must_use]
    pub fn u32(self, old: u32, new: u32) -> Self {
        Delta(self.0 + u64::from(!old) + u64::from(new))
    }

    /// An IPv6 address became another.
    #[inline]
    #[must_use]
    pub fn v6(self, old: &[u8; 16], new: &[u8; 16]) -> Self {
        let mut delta = self;
        for (old, new) in old.as_chunks::<4>().0.iter().zip(new.as_chunks::<4>().0) {
            delta = delta.u32(u32::from_be_bytes(*old), u32::from_be_bytes(*new));
        }
        delta
    }

    /// A stretch of data that summed to `old` now sums to `new`.
    #[inline]
    #[must_use]
    pub fn sums(self, old: Sum, new: Sum) -> Self {
        self.u16(fold(old.0), fold(new.0))
    }

    /// Both changes.
    #[inline]
    #[must_use]
    pub fn and(self, other: Delta) -> Self {
        Delta(self.0 + other.0)
    }

    /// The checksum after the change (RFC 1624 §3, equation 3).
    #[inline]
    pub fn apply(self, checksum: u16) -> u16 {
        !fold(u64::from(!checksum) + self.0)
    }
}

/// Folds a sum to 16 bits with end-around carry.
#[inline]
fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}

#[cfg(test)]
mod tests;

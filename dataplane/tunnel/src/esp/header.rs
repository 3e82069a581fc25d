//! What can be read of an ESP packet before it is authenticated. Untrusted: good for finding the SA, nothing else.

use super::HEADER_BYTES;

/// SPI and the low half of the sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EspHeader {
    /// Names the SA together with the outer destination.
    pub spi: u32,
    /// Low 32 bits; [`crate::replay::Window::esn_high`] infers the others.
    pub sequence_low: u32,
}

impl EspHeader {
    /// Reads the first 8 bytes of an ESP packet; `None` when there are fewer.
    #[inline]
    pub fn parse(esp: &[u8]) -> Option<Self> {
        let (header, _) = esp.split_first_chunk::<HEADER_BYTES>()?;
        let [a, b, c, d, s0, s1, s2, s3] = *header;
        Some(EspHeader {
            spi: u32::from_be_bytes([a, b, c, d]),
            sequence_low: u32::from_be_bytes([s0, s1, s2, s3]),
        })
    }
}

/// What a UDP datagram on a port for encapsulated ESP carries (RFC 3948 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UdpPayload {
    /// The single byte 0xFF (§2.3): consumed.
    Keepalive,
    /// Four zero bytes and then IKE (§2.2): for the kernel and `tombolod`.
    Ike,
    /// ESP from the first byte on (§2.1).
    Esp,
    /// Too short for any of them.
    Malformed,
}

/// Tells the three kinds of datagram apart by their first bytes.
#[inline]
pub fn classify_udp(payload: &[u8]) -> UdpPayload {
    match payload {
        [0xff] => UdpPayload::Keepalive,
        [0, 0, 0, 0, ..] => UdpPayload::Ike,
        [_, _, _, _, _, ..] => UdpPayload::Esp,
        [] | [_] | [_, _] | [_, _, _] | [_, _, _, _] => UdpPayload::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_read_in_network_order_and_needs_eight_bytes() {
        let bytes = [0, 0, 0x10, 1, 0, 0, 0, 9, 0xee];
        assert_eq!(
            EspHeader::parse(&bytes),
            Some(EspHeader {
                spi: 0x1001,
                sequence_low: 9
            })
        );
        for length in 0..8 {
            assert_eq!(EspHeader::parse(&bytes[..length]), None);
        }
    }

    #[test]
    fn datagrams_are_told_apart() {
        assert_eq!(classify_udp(&[0xff]), UdpPayload::Keepalive);
        assert_eq!(classify_udp(&[0, 0, 0, 0]), UdpPayload::Ike);
        assert_eq!(classify_udp(&[0, 0, 0, 0, 1]), UdpPayload::Ike);
        assert_eq!(classify_udp(&[0, 0, 0, 1, 1]), UdpPayload::Esp);
        assert_eq!(classify_udp(&[0xff, 0xff, 0xff, 0xff, 0xff]), UdpPayload::Esp);
        for short in [&[][..], &[0], &[0xfe], &[0, 0, 0], &[1, 2, 3, 4]] {
            assert_eq!(classify_udp(short), UdpPayload::Malformed);
        }
    }
}

//! What tells IKE from ESP on UDP port 4500 (RFC 3948 §2.2, §2.3).

/// UDP port of IKE.
pub const PORT: u16 = 500;
/// UDP port of IKE and ESP behind a NAT.
pub const PORT_NAT: u16 = 4500;
/// Four zero bytes where ESP has its SPI.
const NON_ESP_MARKER: [u8; 4] = [0; 4];
/// The one byte that keeps a NAT's mapping.
pub const KEEPALIVE: [u8; 1] = [0xff];
/// Bytes of an IKE header (RFC 7296 §3.1): what is shorter is nothing.
const HEADER_BYTES: usize = 28;

/// A datagram as it came to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrived<'a> {
    /// An IKE message, without the marker; at least as long as a header.
    Ike(&'a [u8]),
    /// Somebody keeps its NAT's mapping.
    Keepalive,
    /// Nothing for IKE.
    Other,
}

/// What the bytes are that came to a port of ours.
pub fn arrived(port: u16, bytes: &[u8]) -> Arrived<'_> {
    let message = match port == PORT_NAT {
        true if bytes == KEEPALIVE => return Arrived::Keepalive,
        true => bytes.strip_prefix(&NON_ESP_MARKER),
        false => Some(bytes),
    };
    match message {
        Some(message) if message.len() >= HEADER_BYTES => Arrived::Ike(message),
        Some(_) | None => Arrived::Other,
    }
}

/// The bytes that leave from a port of ours for an IKE message.
pub fn leaving(port: u16, message: &[u8]) -> Vec<u8> {
    let marker: &[u8] = if port == PORT_NAT { &NON_ESP_MARKER } else { &[] };
    [marker, message].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_is_added_and_taken_off_on_4500_alone() {
        let message: Vec<u8> = (1..=40).collect();
        assert_eq!(leaving(PORT, &message), message);
        assert_eq!(leaving(PORT_NAT, &message), [&[0; 4][..], &message].concat());
        for port in [PORT, PORT_NAT] {
            assert_eq!(arrived(port, &leaving(port, &message)), Arrived::Ike(&message));
        }
        assert_eq!(arrived(PORT_NAT, &message), Arrived::Other, "ESP");
    }

    #[test]
    fn what_is_too_short_is_nothing() {
        assert_eq!(arrived(PORT_NAT, &KEEPALIVE), Arrived::Keepalive);
        assert_eq!(arrived(PORT, &KEEPALIVE), Arrived::Other);
        for length in 0..28 {
            assert_eq!(arrived(PORT, &vec![0; length]), Arrived::Other);
            assert_eq!(arrived(PORT_NAT, &vec![0; length + 4]), Arrived::Other);
        }
        for length in 0..4 {
            assert_eq!(arrived(PORT_NAT, &vec![0; length]), Arrived::Other);
        }
        assert_eq!(arrived(PORT_NAT, &[0; 32]), Arrived::Ike(&[0; 28]));
    }
}

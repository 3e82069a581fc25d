//! ESP in tunnel mode (RFC 4303), combined-mode ciphers only.
//!
//! ```text
//! | SPI 4 | sequence 4 | IV 8 | inner packet … padding 0–3, pad length 1, next header 1 | ICV 16 |
//!                             └──────────────────── encrypted ───────────────────────┘
//! ```
//! The IV is the whole 64-bit sequence number, so that a number that is never reused is a nonce that is never reused
//! (RFC 4106 §3.1). The associated data are SPI and sequence number, with ESN its high 32 bits between them (RFC 4106 §5,
//! RFC 7634 §2.1); those are never sent.

mod header;
mod open;
mod seal;

pub use header::{EspHeader, UdpPayload, classify_udp};
pub use open::{OpenError, Opened, open};
pub use seal::{SealError, seal, sealed_length};

use crate::aead::{ICV_BYTES, IV_BYTES};

/// Bytes of SPI and sequence number.
pub const HEADER_BYTES: usize = 8;
/// Bytes of pad length and next header.
pub const TRAILER_BYTES: usize = 2;
/// Bytes that ESP adds to an inner packet when no padding is needed.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + IV_BYTES + TRAILER_BYTES + ICV_BYTES;
/// Encrypted bytes come in multiples of this (RFC 4303 §2.4: the ICV begins on a 4-byte boundary).
pub const ALIGNMENT: usize = 4;

/// Next header of an IPv4 packet (RFC 4303 §2.6).
pub const NEXT_HEADER_IPV4: u8 = 4;
/// Next header of an IPv6 packet.
pub const NEXT_HEADER_IPV6: u8 = 41;
/// Next header of a dummy packet, to be discarded without a word (RFC 4303 §2.6).
pub const NEXT_HEADER_DUMMY: u8 = 59;

/// Associated data of one packet: 8 bytes, with ESN 12 (RFC 4106 §5).
struct Associated {
    bytes: [u8; 12],
    length: usize,
}

impl Associated {
    #[inline]
    fn new(spi: u32, sequence: u64, esn: bool) -> Self {
        let [a, b, c, d] = spi.to_be_bytes();
        let [h0, h1, h2, h3, l0, l1, l2, l3] = sequence.to_be_bytes();
        if esn {
            Associated {
                bytes: [a, b, c, d, h0, h1, h2, h3, l0, l1, l2, l3],
                length: 12,
            }
        } else {
            Associated {
                bytes: [a, b, c, d, l0, l1, l2, l3, 0, 0, 0, 0],
                length: 8,
            }
        }
    }

    #[inline]
    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

#[cfg(test)]
mod tests;

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
pub use open::{OpenError, Opened, decrypt, open, strip_trailer};
pub use seal::{Label, SealError, TRAILER_ROOM, seal, seal_behind, seal_from, sealed_length};

use crate::aead::{ICV_BYTES, IV_BYTES};
use tombolo_ipsec_mb::Block;

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
    block: Block,
    length: usize,
}

impl Associated {
    #[inline]
    fn new(spi: u32, sequence: u64, esn: bool) -> Self {
        let spi = u64::from(u32::from_le_bytes(spi.to_be_bytes()));
        let [high, low] = [(sequence >> 32) as u32, sequence as u32].map(|half| u64::from(half.swap_bytes()));
        if esn {
            Associated {
                block: Block::new(spi | high << 32, low),
                length: 12,
            }
        } else {
            Associated {
                block: Block::new(spi | low << 32, 0),
                length: 8,
            }
        }
    }

    #[inline]
    fn as_slice(&self) -> &[u8] {
        &self.block.bytes()[..self.length]
    }
}

#[cfg(test)]
mod tests;

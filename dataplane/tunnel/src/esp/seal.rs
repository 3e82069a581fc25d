//! Seal: an inner packet becomes an ESP packet in another buffer.

use super::{ALIGNMENT, Associated, HEADER_BYTES, TRAILER_BYTES};
use crate::aead::{ICV_BYTES, IV_BYTES, SaKeys};
use core::fmt;

/// Why a packet was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// The destination holds fewer than [`sealed_length`] bytes.
    NoRoom,
    /// The number is 0, or needs more than 32 bits on an SA without ESN (RFC 4303 §3.3.3: it must not cycle).
    Sequence,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SealError::NoRoom => "the destination buffer is too small for the sealed packet",
            SealError::Sequence => "the sequence number is zero or beyond what the SA may count to",
        })
    }
}

impl core::error::Error for SealError {}

/// Bytes from the ESP header to the end of the ICV for an inner packet of `inner` bytes.
#[inline]
pub const fn sealed_length(inner: usize) -> usize {
    let encrypted = (inner + TRAILER_BYTES).next_multiple_of(ALIGNMENT);
    HEADER_BYTES + IV_BYTES + encrypted + ICV_BYTES
}

/// Copies `inner` behind an ESP header at the start of `out` and encrypts it there; returns the bytes written.
///
/// `sequence` must come from [`crate::sequence::Sequence::reserve`] and be used once: it is the nonce. `next_header` is
/// [`super::NEXT_HEADER_IPV4`] or [`super::NEXT_HEADER_IPV6`] for a packet, [`super::NEXT_HEADER_DUMMY`] for a dummy.
#[inline]
pub fn seal(
    keys: &SaKeys,
    spi: u32,
    sequence: u64,
    esn: bool,
    next_header: u8,
    inner: &[u8],
    out: &mut [u8],
) -> Result<usize, SealError> {
    if sequence == 0 || (!esn && sequence > u64::from(u32::MAX)) {
        return Err(SealError::Sequence);
    }
    let length = sealed_length(inner.len());
    let out = out.get_mut(..length).ok_or(SealError::NoRoom)?;
    let iv = sequence.to_be_bytes();
    let [_, _, _, _, low @ ..] = iv;

    let (header, sealed) = out.split_at_mut(HEADER_BYTES + IV_BYTES);
    header[..4].copy_from_slice(&spi.to_be_bytes());
    header[4..8].copy_from_slice(&low);
    header[8..].copy_from_slice(&iv);

    let (encrypted, icv) = sealed.split_at_mut(sealed.len() - ICV_BYTES);
    let (packet, trailer) = encrypted.split_at_mut(inner.len());
    packet.copy_from_slice(inner);
    write_trailer(trailer, next_header);
    let tag = keys.seal_in_place(iv, Associated::new(spi, sequence, esn).as_slice(), encrypted);
    icv.copy_from_slice(&tag.ok_or(SealError::NoRoom)?);
    Ok(length)
}

/// Padding 1, 2, 3 (RFC 4303 §2.4), its length, the next header. `trailer` has 2 to 5 bytes.
#[inline]
fn write_trailer(trailer: &mut [u8], next_header: u8) {
    let padding = trailer.len() - TRAILER_BYTES;
    for (place, value) in trailer.iter_mut().zip(1..=padding as u8) {
        *place = value;
    }
    trailer[padding] = padding as u8;
    trailer[padding + 1] = next_header;
}

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
    HEADER_BYTES + IV_BYTES + encrypted_length(inner) + ICV_BYTES
}

/// Bytes of inner packet and trailer.
#[inline]
const fn encrypted_length(inner: usize) -> usize {
    (inner + TRAILER_BYTES).next_multiple_of(ALIGNMENT)
}

/// Bytes behind an inner packet that [`seal_from`] writes to: a trailer of 2 to 5 bytes in one store.
pub const TRAILER_ROOM: usize = 8;

/// What a sealed packet says in clear, and what it seals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Names the SA.
    pub spi: u32,
    /// From [`crate::sequence::Sequence::reserve`], and used once: it is the nonce.
    pub sequence: u64,
    /// Whether the SA's sequence numbers have 64 bits.
    pub esn: bool,
    /// [`super::NEXT_HEADER_IPV4`] or [`super::NEXT_HEADER_IPV6`] for a packet, [`super::NEXT_HEADER_DUMMY`] for a dummy.
    pub next_header: u8,
}

/// Copies `inner` behind an ESP header at the start of `out` and encrypts it there; returns the bytes written.
///
/// See [`Label`] for what the numbers must be. [`seal_from`] spares the copy.
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
    let label = Label {
        spi,
        sequence,
        esn,
        next_header,
    };
    let room = sealed_trailer(inner.len(), out).ok_or(SealError::NoRoom)?;
    write_trailer(room, inner.len(), next_header);
    let (encrypted, icv) = write_header(label, inner.len(), out)?;
    encrypted[..inner.len()].copy_from_slice(inner);
    let tag = keys.seal_in_place(iv(label), associated(label).as_slice(), encrypted);
    *icv = tag.ok_or(SealError::NoRoom)?;
    Ok(sealed_length(inner.len()))
}

/// Seals `source[..length]` into `out`, one pass from frame to frame; returns the bytes written to `out`.
///
/// The trailer is written behind the inner packet, so that `source` must go on for [`TRAILER_ROOM`] bytes, which are lost; if
/// it does not, this is [`seal`].
#[inline]
pub fn seal_from(
    keys: &SaKeys,
    label: Label,
    source: &mut [u8],
    length: usize,
    out: &mut [u8],
) -> Result<usize, SealError> {
    let Some((_, behind)) = source.split_at_mut_checked(length) else {
        return Err(SealError::NoRoom);
    };
    let Some(room) = behind.first_chunk_mut() else {
        return seal(
            keys,
            label.spi,
            label.sequence,
            label.esn,
            label.next_header,
            &source[..length],
            out,
        );
    };
    write_trailer(room, length, label.next_header);
    check_sequence(label)?;
    let (header, behind) = out.split_first_chunk_mut().ok_or(SealError::NoRoom)?;
    *header = numbers(label);
    let source = &source[..encrypted_length(length)];
    let sealed = keys.seal(iv(label), associated(label).as_slice(), source, behind);
    sealed.ok_or(SealError::NoRoom)?;
    Ok(sealed_length(length))
}

/// As [`seal_from`], but `behind` begins behind SPI, sequence number and IV, which the caller writes
/// ([`Envelope`](crate::envelope::Envelope)).
#[inline(always)]
pub fn seal_behind(
    keys: &SaKeys,
    label: Label,
    source: &mut [u8],
    length: usize,
    behind: &mut [u8],
) -> Result<(), SealError> {
    check_sequence(label)?;
    let whole = source.get_mut(..length + TRAILER_ROOM).ok_or(SealError::NoRoom)?;
    let room = whole.last_chunk_mut().ok_or(SealError::NoRoom)?;
    write_trailer(room, length, label.next_header);
    let source = whole.get(..encrypted_length(length)).ok_or(SealError::NoRoom)?;
    keys.seal(iv(label), associated(label).as_slice(), source, behind)
        .ok_or(SealError::NoRoom)
}

/// The place behind an inner packet in `out`; what the trailer does not need of it is the ICV's.
#[inline]
fn sealed_trailer(inner: usize, out: &mut [u8]) -> Option<&mut [u8; TRAILER_ROOM]> {
    out.get_mut(..sealed_length(inner))?;
    out.get_mut(HEADER_BYTES + IV_BYTES + inner..)?.first_chunk_mut()
}

#[inline]
fn iv(label: Label) -> [u8; IV_BYTES] {
    label.sequence.to_be_bytes()
}

#[inline]
fn associated(label: Label) -> Associated {
    Associated::new(label.spi, label.sequence, label.esn)
}

#[inline]
fn check_sequence(label: Label) -> Result<(), SealError> {
    if label.sequence == 0 || (!label.esn && label.sequence > u64::from(u32::MAX)) {
        return Err(SealError::Sequence);
    }
    Ok(())
}

/// SPI, sequence number and IV.
#[inline]
fn numbers(label: Label) -> [u8; HEADER_BYTES + IV_BYTES] {
    let sequence = label.sequence;
    let numbers = (u128::from(label.spi) << 96) | (u128::from(sequence as u32) << 64) | u128::from(sequence);
    numbers.to_be_bytes()
}

/// Writes SPI, sequence number and IV; returns the places of what is to be encrypted and of the ICV.
#[inline]
fn write_header(label: Label, inner: usize, out: &mut [u8]) -> Result<(&mut [u8], &mut [u8; ICV_BYTES]), SealError> {
    check_sequence(label)?;
    let out = out.get_mut(..sealed_length(inner)).ok_or(SealError::NoRoom)?;
    let (header, sealed) = out.split_first_chunk_mut().ok_or(SealError::NoRoom)?;
    *header = numbers(label);
    sealed.split_last_chunk_mut::<ICV_BYTES>().ok_or(SealError::NoRoom)
}

/// Writes padding 1, 2, 3 (RFC 4303 §2.4), its length and the next header behind an inner packet of `inner` bytes, and zeros
/// behind those. One store of always the same size: a loop over two to five bytes costs 25 cycles, since the cipher's wide
/// load has to wait for every one of them.
#[inline]
fn write_trailer(place: &mut [u8; TRAILER_ROOM], inner: usize, next_header: u8) {
    const PADDING: [u64; ALIGNMENT] = [0x00, 0x01_01, 0x02_02_01, 0x03_03_02_01];
    let padding = (inner + TRAILER_BYTES).wrapping_neg() % ALIGNMENT;
    let trailer = PADDING[padding] | u64::from(next_header) << (8 * (padding + 1));
    *place = trailer.to_le_bytes();
}

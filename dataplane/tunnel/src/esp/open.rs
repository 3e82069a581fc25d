//! Open: an ESP packet becomes its inner packet, in the same frame, shifted to where the caller wants it.
//!
//! Everything here comes from strangers until the ICV was checked, and from the peer after that: padding, next header and
//! inner packet are still checked.

use super::{
    Associated, EspHeader, HEADER_BYTES, NEXT_HEADER_DUMMY, NEXT_HEADER_IPV4, NEXT_HEADER_IPV6, TRAILER_BYTES,
};
use crate::aead::{ICV_BYTES, IV_BYTES, SaKeys};
use core::fmt;
use core::ops::Range;

/// Why a packet was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// Shorter than header, IV, trailer and ICV; or the place for the inner packet lies outside the frame or behind the
    /// ciphertext.
    TooShort,
    /// The ICV is wrong: forged, damaged, another key, or another high half of the sequence number.
    Auth,
    /// The pad length exceeds the packet, or padding is not 1, 2, 3, … (RFC 4303 §2.4).
    Padding,
    /// A dummy packet (RFC 4303 §2.6): authentic, and to be discarded.
    Dummy,
    /// Next header is neither IPv4 nor IPv6, or the inner packet's version is another.
    NextHeader,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OpenError::TooShort => "shorter than an ESP header, IV, trailer and ICV",
            OpenError::Auth => "the ICV is wrong",
            OpenError::Padding => "the padding is impossible",
            OpenError::Dummy => "a dummy packet",
            OpenError::NextHeader => "the next header is not that of an IPv4 or IPv6 packet",
        })
    }
}

impl core::error::Error for OpenError {}

/// An authentic inner packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Where it lies in the frame; begins at `inner_at`. May end in traffic-flow padding (RFC 4303 §2.7): the packet's
    /// own length field says where it ends.
    pub inner: Range<usize>,
    /// [`NEXT_HEADER_IPV4`] or [`NEXT_HEADER_IPV6`], as the packet's version field says too.
    pub next_header: u8,
}

const FIXED_BYTES: usize = HEADER_BYTES + IV_BYTES;

/// Authenticates and decrypts `frame[esp]` (SPI to ICV); the inner packet lands at `frame[inner_at..]`.
///
/// `inner_at` may lie anywhere up to the ciphertext, `esp.start + 16`: a frame whose start cannot move gets its inner packet
/// right behind a link header at offset 14. `sequence_high` is ignored without `esn`. Once the header was read, an error
/// leaves the frame's bytes from `inner_at` on undefined; the packet is to be dropped.
///
/// With `Ok`, `Padding`, `Dummy` and `NextHeader` the packet was authentic, so its sequence number must be accepted into the
/// window (RFC 4303 §3.4.3); [`OpenError::authentic`] says which.
#[inline]
pub fn open(
    keys: &SaKeys,
    frame: &mut [u8],
    esp: Range<usize>,
    inner_at: usize,
    sequence_high: u32,
    esn: bool,
) -> Result<Opened, OpenError> {
    let packet = frame.get(esp.clone()).ok_or(OpenError::TooShort)?;
    let header = EspHeader::parse(packet).ok_or(OpenError::TooShort)?;
    let sequence = (u64::from(sequence_high) << 32) | u64::from(header.sequence_low);
    let length = decrypt(keys, frame, esp, inner_at, sequence, esn)?;
    let (inner, next_header) = strip_trailer(&frame[inner_at..inner_at + length])?;
    Ok(Opened {
        inner: inner_at..inner_at + inner,
        next_header,
    })
}

/// The first half of [`open`]: authenticates and decrypts `frame[esp]` whose whole number is `sequence`. The plaintext lands at
/// `frame[inner_at..]`; returns its length. What of it is the inner packet, [`strip_trailer`] says: best some packets later, since what
/// was just stored in wide pieces cannot be read in narrow ones at once.
#[inline(always)]
pub fn decrypt(
    keys: &SaKeys,
    frame: &mut [u8],
    esp: Range<usize>,
    inner_at: usize,
    sequence: u64,
    esn: bool,
) -> Result<usize, OpenError> {
    let packet = frame.get(esp.clone()).ok_or(OpenError::TooShort)?;
    let Some((fixed, rest)) = packet.split_first_chunk::<FIXED_BYTES>() else {
        return Err(OpenError::TooShort);
    };
    if rest.len() < TRAILER_BYTES + ICV_BYTES || inner_at > esp.start + FIXED_BYTES {
        return Err(OpenError::TooShort);
    }
    let [s0, s1, s2, s3, _, _, _, _, iv @ ..] = *fixed;
    let associated = Associated::new(u32::from_be_bytes([s0, s1, s2, s3]), sequence, esn);
    let ciphertext_at = esp.start + FIXED_BYTES - inner_at;
    keys.open_shifting(
        iv,
        associated.as_slice(),
        &mut frame[inner_at..esp.end],
        ciphertext_at..,
    )
    .map_err(|_| OpenError::Auth)
}

impl OpenError {
    /// Whether the packet was the peer's all the same, so that its sequence number counts as received.
    #[inline]
    pub fn authentic(self) -> bool {
        match self {
            OpenError::TooShort | OpenError::Auth => false,
            OpenError::Padding | OpenError::Dummy | OpenError::NextHeader => true,
        }
    }
}

/// How the plaintext of an IPv4 packet ends, by the length of its padding, as a big-endian load of the last eight bytes shows it: these
/// bits are these.
const USUAL_ENDS: [[u64; 2]; 4] = [
    [0xffff, 0x00_04],
    [0xff_ffff, 0x01_01_04],
    [0xffff_ffff, 0x01_02_02_04],
    [0xff_ffff_ffff, 0x01_02_03_03_04],
];

/// The second half of [`open`]: the inner packet's length and next header of a decrypted payload.
#[inline(always)]
pub fn strip_trailer(plaintext: &[u8]) -> Result<(usize, u8), OpenError> {
    if let (Some(end), Some(first)) = (plaintext.last_chunk(), plaintext.first()) {
        let end = u64::from_be_bytes(*end);
        let padding = (end >> 8) as usize & 0xff;
        if let Some([mask, usual]) = USUAL_ENDS.get(padding)
            && (end & mask == *usual) & (first >> 4 == 4)
        {
            return Ok((plaintext.len() - TRAILER_BYTES - padding, NEXT_HEADER_IPV4));
        }
    }
    strip_any_trailer(plaintext)
}

#[inline(never)]
fn strip_any_trailer(plaintext: &[u8]) -> Result<(usize, u8), OpenError> {
    let [payload @ .., padding, next_header] = plaintext else {
        return Err(OpenError::Padding);
    };
    if *next_header == NEXT_HEADER_DUMMY {
        return Err(OpenError::Dummy);
    }
    let inner = payload
        .len()
        .checked_sub(usize::from(*padding))
        .ok_or(OpenError::Padding)?;
    let (packet, pad) = payload.split_at(inner);
    if !pad.iter().zip(1..=u8::MAX).all(|(byte, expected)| *byte == expected) {
        return Err(OpenError::Padding);
    }
    let version = packet.first().map(|byte| byte >> 4);
    match (*next_header, version) {
        (NEXT_HEADER_IPV4, Some(4)) | (NEXT_HEADER_IPV6, Some(6)) => Ok((inner, *next_header)),
        _ => Err(OpenError::NextHeader),
    }
}

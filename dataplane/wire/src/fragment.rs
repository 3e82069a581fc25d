//! IPv4 fragmentation (RFC 791 §3.2) of one parsed packet, also of a packet that is a fragment itself. IPv6 is never
//! fragmented by a router (RFC 8200 §5).

use crate::checksum;
use crate::headers::{Addresses, Headers};
use std::fmt;

const HEADER: usize = 20;
const UNIT: usize = 8;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

/// Why a packet was not, or not wholly, fragmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FragmentError {
    /// IPv6, or an IPv4 header with options, which `parse_ip` refuses.
    NotFragmentable,
    /// The MTU leaves no room for 8 bytes behind the header.
    MtuTooSmall,
    /// The callback took no more; earlier pieces were handed to it.
    Refused,
}

impl fmt::Display for FragmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FragmentError::NotFragmentable => "not an IPv4 packet that may be fragmented",
            FragmentError::MtuTooSmall => "MTU leaves no room for a fragment",
            FragmentError::Refused => "no buffer for a fragment",
        })
    }
}

impl std::error::Error for FragmentError {}

/// One fragment to be written.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    header: &'a [u8; HEADER],
    payload: &'a [u8],
    /// Fragment field: flags and offset.
    field: u16,
}

impl Piece<'_> {
    /// Bytes of this IP packet: the room that [`Piece::write`] needs behind `l3`.
    #[inline]
    pub fn ip_len(&self) -> usize {
        HEADER + self.payload.len()
    }

    /// Writes the fragment as an IP packet at `out[l3..]` and returns its end, `None` if `out` is too short. The link header
    /// is the caller's.
    #[must_use]
    pub fn write(&self, out: &mut [u8], l3: usize) -> Option<usize> {
        let end = l3.checked_add(self.ip_len())?;
        let (header, payload) = out.get_mut(l3..end)?.split_at_mut(HEADER);
        header.copy_from_slice(self.header);
        header[2..4].copy_from_slice(&(self.ip_len() as u16).to_be_bytes());
        header[6..8].copy_from_slice(&self.field.to_be_bytes());
        header[10..12].fill(0);
        let checksum = checksum::internet(header);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        payload.copy_from_slice(self.payload);
        Some(end)
    }
}

/// Cuts the packet into pieces of at most `mtu` bytes each and gives them to `each` in order, which finds a buffer and has the
/// piece written into it; it answers false to stop. Returns the number of pieces; a packet that fits is one piece. The
/// identification is kept and DF is cleared: whether a packet with DF may be fragmented is the caller's decision.
///
/// # Errors
/// [`FragmentError`]; only after `Refused` may `each` have been called.
pub fn fragment(
    frame: &[u8],
    headers: &Headers,
    mtu: usize,
    mut each: impl FnMut(&Piece<'_>) -> bool,
) -> Result<usize, FragmentError> {
    let (header, payload) = split(frame, headers).ok_or(FragmentError::NotFragmentable)?;
    let room = mtu.saturating_sub(HEADER);
    if room < UNIT {
        return Err(FragmentError::MtuTooSmall);
    }
    let original = u16::from_be_bytes([header[6], header[7]]);
    let unit_offset = original & OFFSET_MASK;
    let step = if payload.len() <= room {
        payload.len().max(1)
    } else {
        room - room % UNIT
    };
    let count = payload.len().div_ceil(step).max(1);
    for index in 0..count {
        let start = index * step;
        let last = index + 1 == count;
        let end = if last { payload.len() } else { start + step };
        // Within 13 bits: `parse_ip` checked that offset and length end inside a packet's largest size.
        let offset = unit_offset + (start / UNIT) as u16;
        let more = if last {
            original & MORE_FRAGMENTS
        } else {
            MORE_FRAGMENTS
        };
        let piece = Piece {
            header,
            payload: &payload[start..end],
            field: more | offset & OFFSET_MASK,
        };
        if !each(&piece) {
            return Err(FragmentError::Refused);
        }
    }
    Ok(count)
}

fn split<'a>(frame: &'a [u8], headers: &Headers) -> Option<(&'a [u8; HEADER], &'a [u8])> {
    match headers.addresses {
        Addresses::V4 { .. } if usize::from(headers.l4) == usize::from(headers.l3) + HEADER => frame
            .get(usize::from(headers.l3)..usize::from(headers.end))?
            .split_first_chunk(),
        Addresses::V4 { .. } | Addresses::V6 { .. } => None,
    }
}

#[cfg(test)]
mod tests;

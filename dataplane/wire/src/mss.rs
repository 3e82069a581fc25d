//! The MSS option of TCP SYNs (RFC 9293 §3.7.1), lowered to what the path carries. The options are a stranger's bytes.

use crate::checksum::Delta;
use crate::edit::{TCP_CHECKSUM, patch};
use crate::headers::{Headers, L4, tcp_flag};

const TCP_HEADER: usize = 20;

mod option {
    pub(super) const END: u8 = 0;
    pub(super) const NO_OPERATION: u8 = 1;
    pub(super) const MAXIMUM_SEGMENT_SIZE: u8 = 2;
    pub(super) const MAXIMUM_SEGMENT_SIZE_LEN: usize = 4;
}

/// Lowers the MSS option of a SYN or SYN-ACK to `mss` and corrects the TCP checksum. Leaves a smaller MSS, a SYN without the
/// option and malformed options as they are.
#[inline]
pub fn clamp_mss(frame: &mut [u8], headers: &Headers, mss: u16) {
    let L4::Tcp { flags } = headers.l4_kind else { return };
    if flags & tcp_flag::SYN == 0 {
        return;
    }
    if let Some(segment) = frame.get_mut(usize::from(headers.l4)..usize::from(headers.end)) {
        clamp_options(segment, mss);
    }
}

/// Bounded by the 40 bytes that options can have: each turn moves on by at least one byte.
fn clamp_options(segment: &mut [u8], mss: u16) {
    let Some(&data_offset) = segment.get(12) else { return };
    let header_len = usize::from(data_offset >> 4) * 4;
    let mut at = TCP_HEADER;
    while at < header_len {
        let Some(&[kind, length]) = segment.get(at..).and_then(<[u8]>::first_chunk) else {
            return;
        };
        let length = match kind {
            option::END => return,
            option::NO_OPERATION => 1,
            _ => usize::from(length),
        };
        if length == 0 || (length == 1 && kind != option::NO_OPERATION) || at + length > header_len {
            return;
        }
        if kind == option::MAXIMUM_SEGMENT_SIZE && length == option::MAXIMUM_SEGMENT_SIZE_LEN {
            lower(segment, at + 2, mss);
        }
        at += length;
    }
}

/// Lowers the value at `at`, an offset from the start of the TCP header.
fn lower(segment: &mut [u8], at: usize, mss: u16) {
    let Some(field) = segment.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<2>) else {
        return;
    };
    let old = u16::from_be_bytes(*field);
    if old <= mss {
        return;
    }
    *field = mss.to_be_bytes();
    // Behind an odd number of NOPs the value straddles two summed words; its sum is then that of the swapped value
    // (RFC 1071 §2 B).
    let delta = if at.is_multiple_of(2) {
        Delta::default().u16(old, mss)
    } else {
        Delta::default().u16(old.swap_bytes(), mss.swap_bytes())
    };
    patch(segment, TCP_CHECKSUM, delta);
}

#[cfg(test)]
mod tests;

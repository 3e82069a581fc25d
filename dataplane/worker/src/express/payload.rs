//! Asking for a packet's bytes ahead of the cipher, which reads them all.
//!
//! Only the first kilobyte, and into the second-level cache: seeing its lines come one after the other, the processor fetches the
//! rest of the frame by itself, and more requests than the first level keeps on their way would have others wait.

use tombolo_packet_io::{FRAME_HEAD, Frame, FrameBatch};
use tombolo_tables::region_prefetch::prefetch_near;

const CACHE_LINE: usize = 64;
/// Bytes of a packet that are asked for.
const ASKED: usize = 16 * CACHE_LINE;
const PAGE: usize = 4096;
const PAGE_LINES: usize = 6;

/// How many packets ahead of the one that is sealed or opened.
pub(super) const AHEAD_PAYLOAD: usize = 4;

/// Asks for what lies behind the head of the frame at `place`; whoever reads packets asked for heads before. For `more` bytes behind the
/// packet, too, which are to be written.
#[inline(always)]
pub(super) fn ask_payload(frames: &mut FrameBatch, place: usize, more: usize) {
    let Some(frame) = frames.get_mut(place) else { return };
    let end = frame.len() + more;
    let asked = frame.buffer_mut().get(FRAME_HEAD..end.min(ASKED)).unwrap_or(&[]);
    let (lines, rest) = asked.as_chunks::<CACHE_LINE>();
    for line in lines {
        prefetch_near(line);
    }
    if let Some(rest) = rest.first() {
        prefetch_near(rest);
    }
    if end > ASKED {
        ask_pages(frame, end);
    }
}

/// The processor fetches ahead within a page: of every further page its first lines are asked for.
#[inline(never)]
fn ask_pages(frame: &mut Frame, end: usize) {
    let behind = frame.buffer_mut().get(ASKED..end).unwrap_or(&[]);
    let mut page = behind.as_ptr().addr().wrapping_neg() % PAGE;
    while page < behind.len() {
        for line in 0..PAGE_LINES {
            if let Some(byte) = behind.get(page + line * CACHE_LINE) {
                prefetch_near(byte);
            }
        }
        page += PAGE;
    }
}

//! Asking for a packet's bytes ahead of the cipher, which reads them all.
//!
//! Only the first kilobyte, and into the second-level cache: seeing its lines come one after the other, the processor fetches the
//! rest of the frame by itself, and more requests than the first level keeps on their way would have others wait.

use tombolo_packet_io::{FRAME_HEAD, FrameBatch};
use tombolo_tables::region_prefetch::prefetch_near;

const CACHE_LINE: usize = 64;
/// Bytes of a packet that are asked for.
const ASKED: usize = 16 * CACHE_LINE;

/// How many packets ahead of the one that is sealed or opened.
pub(super) const AHEAD_PAYLOAD: usize = 4;

/// Asks for what lies behind the head of the frame at `place`; whoever reads packets asked for heads before.
#[inline(always)]
pub(super) fn ask_payload(frames: &FrameBatch, place: usize) {
    let Some(frame) = frames.get(place) else { return };
    let packet = frame.packet();
    let asked = packet.get(FRAME_HEAD..packet.len().min(ASKED)).unwrap_or(&[]);
    for line in asked.chunks(CACHE_LINE) {
        prefetch_near(&line[0]);
    }
}

//! Frames in ordinary memory, for the backends without a device.

use crate::frame::{FRAME_CAPACITY, FRAME_HEADROOM, FRAME_SIZE, Frame};
use std::ptr::NonNull;

/// A packet at rest: its frame and its length in bytes.
pub(crate) type Resting = (u32, u16);

/// Memory cut into frames, the pool of free ones, and a count of those handed out.
pub(crate) struct Arena {
    base: NonNull<u8>,
    bytes: usize,
    free: Vec<u32>,
    outside: usize,
}

// SAFETY: the arena owns its memory; only frames, which are exclusive tokens, point into it.
unsafe impl Send for Arena {}

impl Arena {
    pub(crate) fn new(frames: usize) -> Self {
        let bytes = frames * FRAME_SIZE;
        let memory = Box::leak(vec![0u8; bytes].into_boxed_slice());
        let count = u32::try_from(frames).expect("the caller asks for fewer than 2^32 frames");
        Self {
            base: NonNull::from(memory).cast(),
            bytes,
            free: (0..count).rev().collect(),
            outside: 0,
        }
    }

    pub(crate) fn total(&self) -> usize {
        self.bytes / FRAME_SIZE
    }

    pub(crate) fn free(&self) -> usize {
        self.free.len()
    }

    pub(crate) fn outside(&self) -> usize {
        self.outside
    }

    /// Takes a free frame out, to rest in a queue.
    pub(crate) fn take_free(&mut self) -> Option<u32> {
        self.free.pop()
    }

    /// Puts a frame that rested in a queue back.
    pub(crate) fn put_free(&mut self, index: u32) {
        self.free.push(index);
    }

    /// Hands a resting frame out.
    pub(crate) fn hand_out(&mut self, (index, len): Resting) -> Frame {
        self.outside += 1;
        // SAFETY: each index is in exactly one place (pool, queue or token), so the token is the only access; the
        // memory is freed only when no token is outside (`drop`).
        unsafe { Frame::new(self.start(index), index, len, FRAME_CAPACITY as u16) }
    }

    /// Takes a frame back to rest in a queue.
    pub(crate) fn take_back(&mut self, frame: Frame) -> Resting {
        let (start, index, len) = frame.into_parts();
        assert!(
            (index as usize) < self.total() && self.start(index) == start,
            "a frame goes back to its own arena"
        );
        self.outside -= 1;
        (index, len)
    }

    /// Copies `packet` into a free frame that then rests in a queue; none when the pool is empty or it does not fit.
    pub(crate) fn store(&mut self, packet: &[u8]) -> Option<Resting> {
        if packet.len() > FRAME_CAPACITY {
            return None;
        }
        let index = self.take_free()?;
        let mut frame = self.hand_out((index, 0));
        frame.fill(packet);
        Some(self.take_back(frame))
    }

    /// Shows a resting packet.
    pub(crate) fn look<R>(&mut self, resting: Resting, with: impl FnOnce(&[u8]) -> R) -> R {
        let frame = self.hand_out(resting);
        let result = with(frame.packet());
        self.take_back(frame);
        result
    }

    fn start(&self, index: u32) -> NonNull<u8> {
        let offset = index as usize * FRAME_SIZE + FRAME_HEADROOM;
        assert!(offset < self.bytes, "frame indices stay inside the arena");
        // SAFETY: `offset` was just checked to lie inside the allocation.
        unsafe { self.base.add(offset) }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if self.outside > 0 {
            return; // tokens still point into the memory: it stays
        }
        let memory = NonNull::slice_from_raw_parts(self.base, self.bytes);
        // SAFETY: `new` leaked exactly this box, and no token points into it.
        drop(unsafe { Box::from_raw(memory.as_ptr()) });
    }
}

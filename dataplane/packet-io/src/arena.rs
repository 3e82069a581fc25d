//! Frames in ordinary memory, for the backends without a device.

use crate::frame::{FRAME_CAPACITY, FRAME_HEADROOM, FRAME_SIZE, Frame};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use std::ptr::NonNull;

/// Bytes from one frame to the next. One cache line more than a page: at a page's distance the first lines of all frames would
/// share one set of the cache, which holds a dozen of them.
const STRIDE: usize = FRAME_SIZE + 64;
/// Frames are a page apart: on ordinary pages each would need an entry of its own in the TLB.
const HUGE_PAGE: usize = 2 << 20;

/// A packet at rest: its frame and its length in bytes.
pub(crate) type Resting = (u32, u16);

/// Memory cut into frames, the pool of free ones, and a count of those handed out.
pub(crate) struct Arena {
    base: NonNull<u8>,
    bytes: usize,
    /// Length of the mapping: `bytes`, rounded up to its pages.
    mapped: usize,
    free: Vec<u32>,
    outside: usize,
}

// SAFETY: the arena owns its memory; only frames, which are exclusive tokens, point into it.
unsafe impl Send for Arena {}

impl Arena {
    /// An arena of `frames` frames, on huge pages where the administrator reserved some, as a UMEM is.
    pub(crate) fn new(frames: usize) -> Self {
        let count = u32::try_from(frames).expect("the caller asks for fewer than 2^32 frames");
        let bytes = frames * STRIDE;
        let (base, mapped) = map(bytes);
        Self {
            base,
            bytes,
            mapped,
            free: (0..count).rev().collect(),
            outside: 0,
        }
    }

    pub(crate) fn total(&self) -> usize {
        self.bytes / STRIDE
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
        let offset = index as usize * STRIDE + FRAME_HEADROOM;
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
        // SAFETY: `new` mapped exactly this range, and no token points into it.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.mapped) };
        debug_assert!(unmapped.is_ok(), "a mapping of our own can be unmapped");
    }
}

/// Zeroed memory for at least `bytes` bytes, and how many were mapped.
fn map(bytes: usize) -> (NonNull<u8>, usize) {
    let huge = bytes.next_multiple_of(HUGE_PAGE).max(HUGE_PAGE);
    let ordinary = bytes.max(FRAME_SIZE);
    let attempts = [
        (huge, MapFlags::HUGETLB | MapFlags::HUGE_2MB),
        (ordinary, MapFlags::empty()),
    ];
    for (length, pages) in attempts {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory that exists.
        let mapped = unsafe { mmap_anonymous(std::ptr::null_mut(), length, access, MapFlags::PRIVATE | pages) };
        let Some(base) = mapped.ok().and_then(|address| NonNull::new(address.cast::<u8>())) else {
            continue;
        };
        // SAFETY: the range is the mapping just made; the advice changes no content. A kernel may refuse it.
        let _ = unsafe { madvise(base.as_ptr().cast(), length, Advice::LinuxHugepage) };
        return (base, length);
    }
    panic!("no memory for {bytes} bytes of frames");
}

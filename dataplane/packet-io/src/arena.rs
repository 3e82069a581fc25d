//! Frames in ordinary memory, for the backends without a device.

use crate::frame::{FRAME_HEADROOM, FRAME_SIZE, Frame, Parts, ask};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use std::ptr::NonNull;
use std::slice;

/// Bytes between one frame and the next. At the distance of whole pages the first lines of all frames would share one set of the cache,
/// which holds a dozen of them.
const GAP: usize = 64;
/// Frames are a page apart: on ordinary pages each would need an entry of its own in the TLB.
const HUGE_PAGE: usize = 2 << 20;

/// A packet at rest in a queue or in the pool: its frame's token, taken apart.
///
/// The law that makes this sound: each is in exactly one place, as it is or as a [`Frame`]. So it is copied only to move it.
#[derive(Clone, Copy)]
pub(crate) struct Resting(Parts);

impl Resting {
    /// The packet.
    pub(crate) fn packet(&self) -> &[u8] {
        // SAFETY: the memory is mapped as long as the arena lives, whose queues this is in, and no token of it is outside.
        unsafe { slice::from_raw_parts(self.0.start.as_ptr(), usize::from(self.0.len)) }
    }

    /// Asks memory for its first line.
    #[inline(always)]
    pub(crate) fn ask(&self) {
        ask(self.0.start);
    }
}

/// Memory cut into frames, the pool of free ones, and a count of those handed out.
///
/// The tokens of all frames are made once and move between pool, queues and the worker: no packet needs its address worked out.
pub(crate) struct Arena {
    base: NonNull<u8>,
    /// Length of the mapping: that of all frames, rounded up to its pages.
    mapped: usize,
    total: usize,
    free: Vec<Resting>,
    outside: usize,
}

// SAFETY: the arena owns its memory; only frames, which are exclusive tokens, point into it.
unsafe impl Send for Arena {}

impl Arena {
    /// An arena of `frames` frames of `size` bytes, on huge pages where the administrator reserved some, as a UMEM is.
    pub(crate) fn new(frames: usize, size: usize) -> Self {
        assert!((FRAME_SIZE..=1 << 16).contains(&size), "a frame's capacity has 16 bits");
        let (stride, capacity) = (size + GAP, (size - FRAME_HEADROOM) as u16);
        let count = u32::try_from(frames).expect("the caller asks for fewer than 2^32 frames");
        let (base, mapped) = map(frames * stride);
        let token = |index: u32| {
            let offset = index as usize * stride + FRAME_HEADROOM;
            // SAFETY: the frame lies inside the mapping that was just made.
            let start = unsafe { base.add(offset) };
            // SAFETY: the bytes are zeroed and stay mapped as long as a token is outside (`drop`); each index gets one token, so
            // that is the only access.
            Resting(unsafe { Frame::new(start, index, 0, capacity) }.into_parts())
        };
        Self {
            base,
            mapped,
            total: frames,
            free: (0..count).rev().map(token).collect(),
            outside: 0,
        }
    }

    pub(crate) fn total(&self) -> usize {
        self.total
    }

    pub(crate) fn free(&self) -> usize {
        self.free.len()
    }

    pub(crate) fn outside(&self) -> usize {
        self.outside
    }

    /// Takes a free frame out, to rest in a queue.
    pub(crate) fn take_free(&mut self) -> Option<Resting> {
        self.free.pop()
    }

    /// Puts a frame that rested in a queue back.
    pub(crate) fn put_free(&mut self, resting: Resting) {
        self.free.push(resting);
    }

    /// Hands a resting frame out.
    #[inline(always)]
    pub(crate) fn hand_out(&mut self, resting: Resting) -> Frame {
        self.outside += 1;
        // SAFETY: the caller took it out of the one place where it was, so the token is the only access; the memory is freed only
        // when no token is outside (`drop`).
        unsafe { Frame::from_parts(resting.0) }
    }

    /// Takes a frame back to rest in a queue.
    #[inline(always)]
    pub(crate) fn take_back(&mut self, frame: Frame) -> Resting {
        let parts = frame.into_parts();
        let offset = parts.start.addr().get().wrapping_sub(self.base.addr().get());
        assert!(offset < self.mapped, "a frame goes back to its own arena");
        self.outside -= 1;
        Resting(parts)
    }

    /// Copies `packet` into a free frame that then rests in a queue; none when the pool is empty or it does not fit.
    pub(crate) fn store(&mut self, packet: &[u8]) -> Option<Resting> {
        let free = self.take_free()?;
        let mut frame = self.hand_out(free);
        let fits = frame.fill(packet);
        let resting = self.take_back(frame);
        if fits {
            return Some(resting);
        }
        self.put_free(resting);
        None
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

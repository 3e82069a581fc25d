//! One frame of memory as a token: whoever holds it may read and write the packet, nobody else can.

use std::fmt;
use std::mem;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a frame, unless its backend was told otherwise; all that AF_XDP has on pages of 4 KiB.
pub const FRAME_SIZE: usize = 4096;
/// Bytes of a frame that holds a packet of any usual jumbo MTU: of the memory backend. AF_XDP has chunks above a page since Linux 6.6, in
/// a UMEM on huge pages only; and native XDP on veth takes packets of one buffer, 3,506 bytes, whatever the chunk.
pub const JUMBO_FRAME_SIZE: usize = 16_384;
/// Bytes ahead of the packet that the kernel keeps for itself (`XDP_PACKET_HEADROOM`). The packet's start cannot move.
pub const FRAME_HEADROOM: usize = 256;
/// Longest packet that a frame of [`FRAME_SIZE`] can hold, link header included, in bytes.
pub const FRAME_CAPACITY: usize = FRAME_SIZE - FRAME_HEADROOM;
/// Bytes that every frame has from the packet's start on, however short its packet is: one cache line.
pub const FRAME_HEAD: usize = 64;

/// Frames dropped without being given back; a release build counts them, a debug build panics.
static LEAKED: AtomicU64 = AtomicU64::new(0);

/// Frames of this process that were dropped without being given back to their [`crate::PacketIo`]. Stays 0 in a correct
/// program.
pub fn leaked_frames() -> u64 {
    LEAKED.load(Ordering::Relaxed)
}

/// Asks memory for the line where a packet starts; waits for nothing.
#[inline(always)]
pub(crate) fn ask(start: NonNull<u8>) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch is a hint: it reads nothing that the program sees, and faults on no address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(start.as_ptr().cast_const().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = start;
}

/// A token for one frame of an arena. The packet starts at a fixed place in the frame.
///
/// Give it back with [`crate::PacketIo::transmit`] or [`crate::PacketIo::release`] of the backend that handed it out.
/// Dropping it otherwise is a broken law: debug builds panic, release builds count it in [`leaked_frames`].
pub struct Frame {
    start: NonNull<u8>,
    index: u32,
    len: u16,
    capacity: u16,
}

/// What a token consists of.
#[derive(Clone, Copy)]
pub(crate) struct Parts {
    /// Where the packet starts.
    pub(crate) start: NonNull<u8>,
    /// Which frame of its arena it is.
    pub(crate) index: u32,
    /// Bytes of the packet.
    pub(crate) len: u16,
    capacity: u16,
}

// SAFETY: parts stand for a frame at rest, which is the only access to its bytes as the frame is.
unsafe impl Send for Parts {}

const _: () = assert!(mem::size_of::<Option<Frame>>() == 16);

// SAFETY: a frame is the only access to its bytes; nothing in it is tied to a thread.
unsafe impl Send for Frame {}

impl Frame {
    /// A token for `capacity` bytes from `start`, of which `len` hold a packet.
    ///
    /// # Safety
    /// Until the token is taken apart by [`Frame::into_parts`], or for ever if it never is, the bytes must stay mapped,
    /// be initialised, and be touched by nothing else.
    pub(crate) unsafe fn new(start: NonNull<u8>, index: u32, len: u16, capacity: u16) -> Self {
        assert!(
            len <= capacity && usize::from(capacity) >= FRAME_HEAD,
            "a packet fits into its frame"
        );
        Self {
            start,
            index,
            len,
            capacity,
        }
    }

    /// Ends the token's life.
    #[inline(always)]
    pub(crate) fn into_parts(self) -> Parts {
        let parts = Parts {
            start: self.start,
            index: self.index,
            len: self.len,
            capacity: self.capacity,
        };
        mem::forget(self);
        parts
    }

    /// The token that was taken apart.
    ///
    /// # Safety
    /// As for [`Frame::new`], which made the token that the parts are of; no other is made of them.
    #[inline(always)]
    pub(crate) unsafe fn from_parts(parts: Parts) -> Self {
        Frame {
            start: parts.start,
            index: parts.index,
            len: parts.len,
            capacity: parts.capacity,
        }
    }

    /// The packet.
    #[inline]
    pub fn packet(&self) -> &[u8] {
        // SAFETY: `new` was promised `capacity` ≥ `len` bytes that only this token can reach.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), usize::from(self.len)) }
    }

    /// The packet, to write.
    #[inline]
    pub fn packet_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `packet`; the exclusive borrow of the token makes the access exclusive.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), usize::from(self.len)) }
    }

    /// The first bytes of the frame's memory: a short packet ends before they do, and behind it lies whatever was there before.
    #[inline(always)]
    pub fn head(&self) -> &[u8; FRAME_HEAD] {
        // SAFETY: `new` was promised `capacity` ≥ `FRAME_HEAD` bytes that only this token can reach.
        unsafe { self.start.cast::<[u8; FRAME_HEAD]>().as_ref() }
    }

    /// The same, to write.
    #[inline(always)]
    pub fn head_mut(&mut self) -> &mut [u8; FRAME_HEAD] {
        // SAFETY: as in `head`; the exclusive borrow of the token makes the access exclusive.
        unsafe { self.start.cast::<[u8; FRAME_HEAD]>().as_mut() }
    }

    /// The whole capacity from the packet's start on; bytes beyond [`Frame::len`] hold whatever was there before.
    #[inline]
    pub fn buffer_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `packet_mut`, up to the capacity that `new` was promised.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), usize::from(self.capacity)) }
    }

    /// Length of the packet in bytes.
    #[inline]
    #[allow(clippy::len_without_is_empty)] // a frame is never asked whether it is empty
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Sets the length of the packet.
    ///
    /// # Panics
    /// If `len` exceeds the capacity: callers size their output from [`Frame::buffer_mut`].
    #[inline]
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= usize::from(self.capacity), "a packet fits into its frame");
        self.len = len as u16;
    }

    /// Longest packet the frame can hold, in bytes.
    #[inline]
    pub fn capacity(&self) -> usize {
        usize::from(self.capacity)
    }

    /// Copies `packet` in and sets the length; false (and nothing changed) when it is too long.
    #[inline]
    pub fn fill(&mut self, packet: &[u8]) -> bool {
        let Some(place) = self.buffer_mut().get_mut(..packet.len()) else {
            return false;
        };
        place.copy_from_slice(packet);
        self.set_len(packet.len());
        true
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        LEAKED.fetch_add(1, Ordering::Relaxed);
        if cfg!(debug_assertions) && !std::thread::panicking() {
            panic!("frame {} was dropped without being given back", self.index);
        }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("index", &self.index)
            .field("len", &self.len)
            .finish()
    }
}

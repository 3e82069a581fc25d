//! The frames of one UMEM: which are free, how many are outside, and the step between descriptor and [`Frame`].
//!
//! The law that makes the unsafe blocks sound: a frame's index is in exactly one place — the pool, one ring of one port,
//! or one `Frame` — and whoever takes it out of that place puts it into the next.

use crate::frame::{FRAME_CAPACITY, FRAME_HEADROOM, FRAME_SIZE, Frame, Parts, ask};
use crate::packet_io::FrameCensus;
use std::mem;
use std::ptr::{self, NonNull};
use xsk_rs::{FrameDesc, Umem};

pub(super) struct Pool {
    umem: Umem,
    /// Where the packet of frame 0 starts; the others follow at equal distances.
    first: NonNull<u8>,
    /// One descriptor per frame, at the packet's fixed start.
    descriptors: Vec<FrameDesc>,
    free: Vec<u32>,
    outside: usize,
}

// SAFETY: the pool owns its share of the UMEM; only frames, which are exclusive tokens, point into it.
unsafe impl Send for Pool {}

impl Pool {
    /// `descriptors` are those that came with `umem`, all of them.
    pub(super) fn new(umem: Umem, mut descriptors: Vec<FrameDesc>) -> Self {
        for (index, descriptor) in descriptors.iter().enumerate() {
            assert_eq!(
                descriptor.addr(),
                index * FRAME_SIZE + FRAME_HEADROOM,
                "frames lie in order"
            );
        }
        let free = (0..descriptors.len() as u32).rev().collect();
        let first = descriptors.first_mut().expect("at least one frame");
        // SAFETY: the descriptor is of this UMEM; the slice is turned into a pointer at once, before any frame is used.
        let mut data = unsafe { umem.data_mut(first) };
        data.cursor().set_pos(FRAME_CAPACITY);
        let first = NonNull::from(data.contents_mut()).cast();
        Self {
            umem,
            first,
            descriptors,
            free,
            outside: 0,
        }
    }

    pub(super) fn umem(&self) -> &Umem {
        &self.umem
    }

    pub(super) fn allocate(&mut self) -> Option<Frame> {
        let index = self.free.pop()?;
        Some(self.hand_out(index, 0))
    }

    pub(super) fn release(&mut self, frame: Frame) {
        let (index, _) = self.take_back(frame);
        self.free.push(index);
    }

    /// A free frame's descriptor, for a fill ring.
    pub(super) fn take_free(&mut self) -> Option<FrameDesc> {
        let index = self.free.pop()?;
        Some(self.descriptors[index as usize])
    }

    /// A descriptor that left a ring, back into the pool.
    pub(super) fn put_free(&mut self, descriptor: &FrameDesc) {
        self.free.push(index_of(descriptor));
    }

    /// A received packet as a frame.
    pub(super) fn received(&mut self, descriptor: &FrameDesc) -> Frame {
        let index = index_of(descriptor);
        let len = descriptor.lengths().data();
        let offset = descriptor.addr() % FRAME_SIZE;
        if offset == FRAME_HEADROOM {
            return self.hand_out(index, len as u16);
        }
        self.received_elsewhere(descriptor, index)
    }

    /// Asks memory for the first line of a received packet.
    #[inline]
    pub(super) fn ask(&self, descriptor: &FrameDesc) {
        ask(self.start(index_of(descriptor)));
    }

    /// Drivers that put metadata ahead of a packet move its start; the packet goes back to the fixed place.
    #[cold]
    fn received_elsewhere(&mut self, descriptor: &FrameDesc, index: u32) -> Frame {
        let fits = descriptor.lengths().data().min(FRAME_CAPACITY);
        // SAFETY: the frame just left the receive ring and has no token yet, so nothing else reaches its bytes.
        let elsewhere = unsafe { self.umem.data(descriptor) }.contents().as_ptr();
        let start = self.start(index);
        // SAFETY: both places lie in this frame with at least `fits` bytes behind them; they may overlap.
        unsafe { ptr::copy(elsewhere, start.as_ptr(), fits) };
        self.hand_out(index, fits as u16)
    }

    /// A frame's descriptor with its packet's length, for a transmit ring.
    pub(super) fn descriptor_to_send(&mut self, frame: Frame) -> FrameDesc {
        let (index, len) = self.take_back(frame);
        let descriptor = &mut self.descriptors[index as usize];
        // SAFETY: the descriptor is of this UMEM, and the token that was the only access to the frame is gone.
        let mut data = unsafe { self.umem.data_mut(descriptor) };
        data.cursor().set_pos(usize::from(len));
        *descriptor
    }

    /// The pool's share of the census.
    pub(super) fn census(&self) -> FrameCensus {
        FrameCensus {
            free: self.free.len(),
            outside: self.outside,
            total: self.descriptors.len(),
            ..FrameCensus::default()
        }
    }

    #[inline]
    fn hand_out(&mut self, index: u32, len: u16) -> Frame {
        let start = self.start(index);
        self.outside += 1;
        // SAFETY: the index just left the pool or a ring, so this token is the only access; the UMEM stays mapped while
        // a token is outside (`drop`).
        unsafe { Frame::new(start, index, len, FRAME_CAPACITY as u16) }
    }

    fn take_back(&mut self, frame: Frame) -> (u32, u16) {
        let Parts { start, index, len, .. } = frame.into_parts();
        assert!(self.start(index) == start, "a frame goes back to its own arena");
        self.outside -= 1;
        (index, len)
    }

    /// Where the packet of a frame starts. Counted, not read from its descriptor: all of them are more than the nearest cache holds.
    #[inline]
    fn start(&self, index: u32) -> NonNull<u8> {
        assert!(
            (index as usize) < self.descriptors.len(),
            "frame indices stay inside the UMEM"
        );
        // SAFETY: the UMEM is one mapping in which frames lie in order (`new`), and the index was just checked to be one of them.
        unsafe { self.first.add(index as usize * FRAME_SIZE) }
    }
}

#[inline]
fn index_of(descriptor: &FrameDesc) -> u32 {
    (descriptor.addr() / FRAME_SIZE) as u32
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.outside > 0 {
            mem::forget(self.umem.clone()); // tokens still point into the memory: it stays
        }
    }
}

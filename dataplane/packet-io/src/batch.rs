//! Up to 64 frames on their way through a worker, without allocation.

use crate::frame::Frame;

/// Most frames a worker handles at a time.
pub const BATCH: usize = 64;

/// A stack of at most [`BATCH`] frames. Dropping it with frames inside breaks the same law as dropping a [`Frame`].
pub struct FrameBatch {
    slots: [Option<Frame>; BATCH],
    len: usize,
    /// How many [`FrameBatch::take`] left.
    gaps: usize,
}

impl Default for FrameBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl FrameBatch {
    /// An empty batch.
    pub const fn new() -> Self {
        Self {
            slots: [const { None }; BATCH],
            len: 0,
            gaps: 0,
        }
    }

    /// Puts a frame on top.
    ///
    /// # Panics
    /// When the batch is full: callers ask [`FrameBatch::room`] first, or use [`FrameBatch::try_push`].
    #[inline]
    pub fn push(&mut self, frame: Frame) {
        if let Err(frame) = self.try_push(frame) {
            // Not a leak of the frame's owner: the panic that follows is the report.
            std::mem::forget(frame);
            panic!("a batch holds at most {BATCH} frames");
        }
    }

    /// Puts a frame on top, or gives it back when the batch is full.
    #[inline]
    pub fn try_push(&mut self, frame: Frame) -> Result<(), Frame> {
        match self.slots.get_mut(self.len) {
            Some(slot) => {
                fill(slot, frame);
                self.len += 1;
                Ok(())
            }
            None => Err(frame),
        }
    }

    /// Puts the frames that `next` gives on top.
    ///
    /// # Panics
    /// When there is no room for so many.
    #[inline]
    pub(crate) fn push_each(&mut self, next: impl ExactSizeIterator<Item = Frame>) {
        let until = self.len + next.len();
        for (slot, frame) in self.slots[self.len..until].iter_mut().zip(next) {
            fill(slot, frame);
        }
        self.len = until;
    }

    /// Takes the frame on top.
    #[inline]
    pub fn pop(&mut self) -> Option<Frame> {
        self.len = self.len.checked_sub(1)?;
        self.slots[self.len].take()
    }

    /// Takes the frame at `position` of a batch without gaps, for [`FrameBatch::close_first`] to follow.
    ///
    /// # Panics
    /// When there is none.
    #[inline(always)]
    pub(crate) fn take_first(&mut self, position: usize) -> Frame {
        let frame = self.slots[position].take();
        frame.expect("a batch without gaps has a frame there")
    }

    /// The first `count` frames were taken: moves the others together.
    #[inline(always)]
    pub(crate) fn close_first(&mut self, count: usize) {
        self.gaps = count;
        self.close_gaps();
    }

    /// Takes the frame at `position` out and leaves a gap: [`FrameBatch::close_gaps`] is to follow before anything else.
    #[inline]
    pub fn take(&mut self, position: usize) -> Option<Frame> {
        let frame = self.slots.get_mut(position)?.take()?;
        self.gaps += 1;
        Some(frame)
    }

    /// Puts a frame back that [`FrameBatch::take`] took from `position`.
    ///
    /// # Panics
    /// When there is no gap.
    pub fn put_back(&mut self, position: usize, frame: Frame) {
        let gap = self.slots[..self.len].get_mut(position).filter(|slot| slot.is_none());
        *gap.expect("a frame was taken from here") = Some(frame);
        self.gaps -= 1;
    }

    /// Moves the frames together that [`FrameBatch::take`] left, in their order
    #[inline]
    pub fn close_gaps(&mut self) {
        if self.gaps == self.len {
            self.len = 0;
        } else if self.gaps > 0 {
            self.close_up();
        }
        self.gaps = 0;
    }

    fn close_up(&mut self) {
        let mut kept = 0;
        for position in 0..self.len {
            if let Some(frame) = self.slots[position].take() {
                self.slots[kept] = Some(frame);
                kept += 1;
            }
        }
        self.len = kept;
    }

    /// Takes all frames, in the order in which they were pushed. What the caller leaves in the iterator stays in the
    /// batch.
    pub fn drain(&mut self) -> Drain<'_> {
        Drain { next: 0, batch: self }
    }

    /// How many frames it holds.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many more fit.
    #[inline]
    pub fn room(&self) -> usize {
        BATCH - self.len
    }

    /// The frame at `position`, counted from the first pushed.
    #[inline]
    pub fn get(&self, position: usize) -> Option<&Frame> {
        self.slots.get(position)?.as_ref()
    }

    /// The frame at `position`, to write.
    #[inline]
    pub fn get_mut(&mut self, position: usize) -> Option<&mut Frame> {
        self.slots.get_mut(position)?.as_mut()
    }

    /// The sixteen places from `16 × group` on; whatever is not there, and not in the batch, is None.
    #[inline(always)]
    pub fn sixteen(&self, group: usize) -> &[Option<Frame>; 16] {
        &self.slots.as_chunks().0[group % (BATCH / 16)]
    }

    /// Bytes of all frames, gaps aside.
    #[inline]
    pub fn bytes(&self) -> u64 {
        let lengths = self.slots[..self.len].iter().flatten().map(|frame| frame.len() as u64);
        lengths.sum()
    }

    /// All frames, in the order in which they were pushed.
    pub fn iter(&self) -> impl Iterator<Item = &Frame> {
        self.slots[..self.len].iter().flatten()
    }

    /// All frames, to write.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Frame> {
        self.slots[..self.len].iter_mut().flatten()
    }
}

/// Puts a frame into a place that holds none: that there is nothing to drop need not be looked up.
#[inline(always)]
fn fill(slot: &mut Option<Frame>, frame: Frame) {
    let before = slot.replace(frame);
    debug_assert!(before.is_none(), "a place above the top is empty");
    std::mem::forget(before);
}

/// See [`FrameBatch::drain`].
pub struct Drain<'a> {
    next: usize,
    batch: &'a mut FrameBatch,
}

impl Iterator for Drain<'_> {
    type Item = Frame;

    #[inline]
    fn next(&mut self) -> Option<Frame> {
        if self.next == self.batch.len {
            return None;
        }
        self.next += 1;
        self.batch.slots[self.next - 1].take()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.batch.len - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Drain<'_> {}

impl Drop for Drain<'_> {
    fn drop(&mut self) {
        let left = self.batch.len - self.next;
        if left > 0 {
            self.batch.slots[..self.batch.len].rotate_left(self.next);
        }
        self.batch.len = left;
    }
}

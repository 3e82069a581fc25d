//! Packets at rest in the order in which they came. Allocates once: no more rest than there are frames.

use crate::arena::Resting;

/// Taken from the front, added to the end; what was taken is forgotten when the queue is empty, or when its place is needed.
#[derive(Default)]
pub(crate) struct Queue {
    packets: Vec<Resting>,
    first: usize,
}

impl Queue {
    /// Room for `frames` packets.
    pub(crate) fn new(frames: usize) -> Self {
        Queue {
            packets: Vec::with_capacity(frames),
            first: 0,
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.packets.len() - self.first
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub(crate) fn push_back(&mut self, packet: Resting) {
        if self.packets.len() == self.packets.capacity() {
            self.forget_taken();
        }
        self.packets.push(packet);
    }

    /// Adds packets, given by their number; the room for them is looked for once.
    #[inline]
    pub(crate) fn push_each(&mut self, count: usize, mut packet: impl FnMut(usize) -> Resting) {
        if self.packets.len() + count > self.packets.capacity() {
            self.forget_taken();
        }
        let from = self.packets.len();
        for (number, place) in self.packets.spare_capacity_mut()[..count].iter_mut().enumerate() {
            place.write(packet(number));
        }
        // SAFETY: so many places behind the end were just written.
        unsafe { self.packets.set_len(from + count) };
    }

    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<Resting> {
        self.take_first(1).first().copied()
    }

    /// The oldest packets, at most `count`, which are taken.
    #[inline]
    pub(crate) fn take_first(&mut self, count: usize) -> &[Resting] {
        if self.is_empty() {
            self.packets.clear();
            self.first = 0;
            return &[];
        }
        let from = self.first;
        self.first = from.saturating_add(count).min(self.packets.len());
        &self.packets[from..self.first]
    }

    /// The oldest packets, at most `count`, which stay.
    #[inline]
    pub(crate) fn peek(&self, count: usize) -> &[Resting] {
        let waiting = &self.packets[self.first..];
        &waiting[..waiting.len().min(count)]
    }

    /// Moves all packets of `other` to the end.
    pub(crate) fn append(&mut self, other: &mut Queue) {
        if self.packets.len() + other.len() > self.packets.capacity() {
            self.forget_taken();
        }
        self.packets.extend_from_slice(&other.packets[other.first..]);
        other.packets.clear();
        other.first = 0;
    }

    #[cold]
    fn forget_taken(&mut self) {
        self.packets.drain(..self.first);
        self.first = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;

    #[test]
    fn what_comes_first_goes_first_and_nothing_is_allocated() {
        let mut arena = Arena::new(5, crate::FRAME_SIZE);
        let mut queue = Queue::new(4);
        let (mut next, mut expected) = (0, 0);
        for round in 0..100 {
            while queue.len() < 4 {
                queue.push_back(arena.store(&[next]).expect("a free frame"));
                next += 1;
            }
            for taken in queue.take_first(1 + round % 3).to_vec() {
                assert_eq!(taken.packet(), [expected]);
                expected += 1;
                arena.put_free(taken);
            }
        }
        assert_eq!(queue.packets.capacity(), 4);
        let mut other = Queue::new(4);
        while queue.len() > 3 {
            arena.put_free(queue.pop_front().expect("one"));
        }
        other.push_back(arena.store(b"last").expect("a free frame"));
        queue.append(&mut other);
        assert!(other.is_empty());
        let last = queue.take_first(9).last().expect("four");
        assert_eq!(last.packet(), b"last");
        assert!(queue.pop_front().is_none());
        assert_eq!(queue.packets.capacity(), 4);
    }
}

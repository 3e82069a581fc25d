//! Descriptors that left a ring and were not handed out yet: known early enough to ask memory for what they name.

use crate::batch::BATCH;

/// At most a batch of them, in the order of the ring.
pub(super) struct Ahead<D> {
    descriptors: [D; BATCH],
    first: usize,
    end: usize,
}

impl<D: Copy + Default> Ahead<D> {
    pub(super) fn new() -> Self {
        Ahead {
            descriptors: [D::default(); BATCH],
            first: 0,
            end: 0,
        }
    }

    /// Hands out at most `room` descriptors, of what is ahead and of the ring behind it, which `consume` reads; returns how many.
    ///
    /// Only then it looks ahead: whoever gets nothing may go to sleep until the ring has something, and must not leave packets here,
    /// also if they arrive meanwhile.
    pub(super) fn hand_out(
        &mut self,
        room: usize,
        mut consume: impl FnMut(&mut [D]) -> usize,
        mut to: impl FnMut(&D),
    ) -> usize {
        let mut count = 0;
        while count < room && self.look(&mut consume) {
            let taken = self.waiting().len().min(room - count);
            self.waiting()[..taken].iter().for_each(&mut to);
            self.first += taken;
            count += taken;
        }
        if count > 0 {
            self.look(&mut consume);
        }
        count
    }

    /// What is handed out next.
    #[inline]
    pub(super) fn waiting(&self) -> &[D] {
        &self.descriptors[self.first..self.end]
    }

    /// Whether anything is ahead; reads the ring if nothing was.
    fn look(&mut self, consume: &mut impl FnMut(&mut [D]) -> usize) -> bool {
        if self.first == self.end {
            self.first = 0;
            self.end = consume(&mut self.descriptors);
        }
        self.first < self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a ring holds each time it is read.
    fn ring(reads: &[std::ops::Range<u32>]) -> impl FnMut(&mut [u32]) -> usize {
        let mut reads: std::collections::VecDeque<_> = reads.iter().cloned().collect();
        move |into| {
            let read: Vec<_> = reads.pop_front().unwrap_or_default().collect();
            into[..read.len()].copy_from_slice(&read);
            read.len()
        }
    }

    #[test]
    fn all_are_handed_out_once_in_order_and_the_next_are_known() {
        let (mut ahead, mut seen) = (Ahead::new(), Vec::new());
        let mut ring = ring(&[0..64, 64..100, 0..0]);
        assert_eq!(ahead.hand_out(BATCH, &mut ring, |number| seen.push(*number)), 64);
        assert_eq!(ahead.waiting(), (64..100).collect::<Vec<_>>());
        assert_eq!(ahead.hand_out(10, &mut ring, |number| seen.push(*number)), 10);
        assert_eq!(ahead.hand_out(BATCH, &mut ring, |number| seen.push(*number)), 26);
        assert!(ahead.waiting().is_empty());
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn who_gets_nothing_leaves_nothing_behind_even_if_packets_arrive_meanwhile() {
        let mut ahead = Ahead::new();
        let mut ring = ring(&[0..0, 0..3]);
        assert_eq!(
            ahead.hand_out(BATCH, &mut ring, |_: &u32| panic!("the ring was empty")),
            0
        );
        assert!(ahead.waiting().is_empty(), "the worker may sleep now");
        assert_eq!(ahead.hand_out(BATCH, &mut ring, |_| {}), 3);
    }
}

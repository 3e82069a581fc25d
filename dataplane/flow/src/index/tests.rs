//! The index as full as its table gets, and while keys come and go for long: it always has room, and lookups stay short.

use super::*;
use crate::hash::HashKey;

/// A place of the index for each of `slots` keys; `keys[n]` is the key that now has entry `n`.
struct Full<'a> {
    index: Index<'a>,
    hash_key: HashKey,
    keys: Vec<u64>,
}

impl Full<'_> {
    fn slot(&self, entry: usize) -> (u64, Slot) {
        let hash = self.hash_key.hash(&[self.keys[entry]]);
        (hash, Slot::new(hash, false, entry as u32))
    }

    fn place(&self, entry: usize) {
        let (hash, slot) = self.slot(entry);
        assert!(self.index.place(hash, slot).is_ok(), "key {}", self.keys[entry]);
    }

    /// Another key takes the entry over.
    fn replace(&mut self, entry: usize) {
        let (hash, slot) = self.slot(entry);
        assert!(self.index.remove(hash, slot));
        self.keys[entry] += self.keys.len() as u64;
        self.place(entry);
    }

    /// Lines that a lookup of one of the keys reads at most: on average, and of the worst.
    fn lines(&self) -> (f64, usize) {
        let reach = |entry| {
            let (hash, _) = self.slot(entry);
            let head = &self.index.bucket(self.index.position(hash))[HEAD];
            1 + (head.load(Ordering::Relaxed) & REACH_MASK)
        };
        let sum: u64 = (0..self.keys.len()).map(reach).sum();
        (sum as f64 / self.keys.len() as f64, self.index.occupancy().1)
    }
}

#[test]
fn a_full_index_has_room_and_short_ways_however_long_keys_come_and_go() {
    for (fill, slots, mean_max, worst_max) in [
        (Fill::Half, 1usize, 1.0, 1),
        (Fill::Half, 50_000, 1.25, 5),
        (Fill::Full, 1, 1.0, 1),
        (Fill::Full, 100, 2.5, 4),
        (Fill::Full, 8_000, 2.5, 8),
        (Fill::Full, 50_000, 2.5, 20),
        (Fill::Full, 100_000, 2.5, 20),
    ] {
        let part: Vec<_> = (0..fill.words(slots)).map(|_| AtomicU64::new(0)).collect();
        let mut full = Full {
            index: Index::new(&part, fill, slots).unwrap(),
            hash_key: HashKey::new([7, 99]),
            keys: (0..slots as u64).collect(),
        };
        for entry in 0..slots {
            full.place(entry);
        }
        let mut random = 0x9e37_79b9_7f4a_7c15u64;
        for _ in 0..slots * 12 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            full.replace((random % slots as u64) as usize);
        }
        let (mean, worst) = full.lines();
        assert_eq!(full.index.occupancy().0, slots);
        assert!(
            mean <= mean_max && worst <= worst_max,
            "{fill:?}, {slots} keys: {mean:.2} lines, {worst} of the worst"
        );
    }
}

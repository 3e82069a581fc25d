//! The first passes of a lookup, for a caller that keeps a whole batch under way: between two passes it does the same pass for the
//! other packets, and meanwhile the cache lines arrive.

use super::{SessionKey, Sessions};
use crate::index::{Index, Slot};
use crate::sync::touch;

/// Where a key may be, if anywhere: made by [`Sessions::candidate`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Candidate(pub(super) u64);

impl Candidate {
    #[inline(always)]
    pub(super) fn slot(self) -> Option<Slot> {
        (self.0 != 0).then_some(Slot(self.0))
    }
}

impl<'a, K: SessionKey> Sessions<'a, K> {
    /// First pass: the hash of a key. Its bucket is on its way.
    #[inline(always)]
    pub fn aim(&self, key: &K::Words) -> u64 {
        let hash = self.hash(key);
        self.table.index.ask(hash);
        hash
    }

    /// Second pass: the first slot that may be the key's. Its entry and counters are on their way.
    #[inline(always)]
    pub fn candidate(&self, hash: u64) -> Candidate {
        let bucket = self.table.index.bucket(self.table.index.position(hash));
        let slot = Slot(Index::first_match(bucket, Slot::tag(hash)));
        if slot.0 == 0 {
            return Candidate(0);
        }
        let entry = self.table.entry(slot.entry());
        touch(&entry[0]);
        if K::ENTRY_WORDS > 8 {
            touch(&entry[K::ENTRY_WORDS - 1]);
        }
        touch(&self.counter(slot.direction(), slot.entry())[0]);
        Candidate(slot.0)
    }
}

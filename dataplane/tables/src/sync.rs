//! What the lock-free protocols ask of an atomic word, so that the same code runs on shared memory and inside a model
//! checker (the tests implement [`Word`] for the checker's own atomics).

use core::sync::atomic::{AtomicU64, Ordering, fence};

/// A 64-bit atomic word and the fence that goes with it.
pub trait Word {
    /// As `AtomicU64::load`.
    fn load(&self, order: Ordering) -> u64;
    /// As `AtomicU64::store`.
    fn store(&self, value: u64, order: Ordering);
    /// As `AtomicU64::compare_exchange`.
    fn compare_exchange(&self, current: u64, new: u64, success: Ordering, failure: Ordering) -> Result<u64, u64>;
    /// As `core::sync::atomic::fence`.
    fn fence(order: Ordering);
}

impl Word for AtomicU64 {
    #[inline]
    fn load(&self, order: Ordering) -> u64 {
        AtomicU64::load(self, order)
    }

    #[inline]
    fn store(&self, value: u64, order: Ordering) {
        AtomicU64::store(self, value, order);
    }

    #[inline]
    fn compare_exchange(&self, current: u64, new: u64, success: Ordering, failure: Ordering) -> Result<u64, u64> {
        AtomicU64::compare_exchange(self, current, new, success, failure)
    }

    #[inline]
    fn fence(order: Ordering) {
        fence(order);
    }
}

//! Atomics, from `core` or, under `cfg(loom)`, from the model checker; and the step hook of the crash tests.

#[cfg(not(loom))]
pub use core::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU64, Ordering, fence};

/// Asks for a cache line and waits for nothing.
#[inline(always)]
pub(crate) fn touch(word: &AtomicU64) {
    #[cfg(not(loom))]
    tombolo_tables::region_prefetch::prefetch(word);
    let _ = word;
}

/// Stands between placing one's own slots in an index and looking at those of others: of two workers at least one sees the other's
/// slot.
///
/// The exchanges that place and the loads that look are sequentially consistent, and one order of all such operations says it already.
/// The model checker knows that order of fences alone, so it gets one.
#[inline(always)]
pub(crate) fn placed_before_looking() {
    #[cfg(loom)]
    fence(Ordering::SeqCst);
}

/// A place between two writes to shared memory. Nothing, except in unit tests, where a test may stop the program here.
#[inline(always)]
pub(crate) fn step() {
    #[cfg(all(test, not(loom)))]
    crash::step();
}

/// Stops an operation midway, as a crash would: the n-th step panics and the test catches it.
#[cfg(all(test, not(loom)))]
pub(crate) mod crash {
    use std::cell::Cell;

    thread_local!(static LEFT: Cell<Option<u32>> = const { Cell::new(None) });

    /// The panic payload of a planned stop.
    pub(crate) struct Stopped;

    pub(crate) fn step() {
        LEFT.with(|left| match left.get() {
            None => {}
            Some(0) => {
                left.set(None);
                std::panic::resume_unwind(Box::new(Stopped));
            }
            Some(more) => left.set(Some(more - 1)),
        });
    }

    /// Runs `work`, stopping at its step number `at`. `None` if it was stopped.
    pub(crate) fn stop_at<T>(at: u32, work: impl FnOnce() -> T) -> Option<T> {
        LEFT.with(|left| left.set(Some(at)));
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        LEFT.with(|left| left.set(None));
        match done {
            Ok(value) => Some(value),
            Err(payload) if payload.is::<Stopped>() => None,
            Err(payload) => std::panic::resume_unwind(payload),
        }
    }
}

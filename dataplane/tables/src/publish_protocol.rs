//! How a generation becomes visible and when an older one can no longer be looked at: the few loads, stores and fences on
//! which that rests, generic over the atomics so that `tests/loom_publish.rs` checks this very code.
//!
//! Words: `root` holds the current generation (control writes it). Each worker's `announced` holds the oldest generation
//! that it may look at, or [`PARKED`].
//!
//! * Control writes free memory, stores `root` (release), fences. It reuses the memory of generation *g* once every
//!   `announced` is greater than *g*; [`PARKED`] is greater than all.
//! * A running worker loads `root` (acquire) and then announces what it found. Until it does, the older announcement protects the newer
//!   generation too, so that nothing needs to be read twice.
//! * A worker that wakes has announced nothing that protects anything. It stores [`UNKNOWN`], which is less than all, fences, and only
//!   then loads `root`. Of the two fences one comes first: either control sees `UNKNOWN` and waits, or the worker
//!   sees the newest `root`, whose memory control does not touch.

use crate::sync::Word;
use core::sync::atomic::Ordering;

/// Announced by a worker that looks at no generation: asleep, or not running.
pub const PARKED: u64 = u64::MAX;
/// Announced by a worker that does not know yet which generation it will look at: holds back all reuse.
pub const UNKNOWN: u64 = 0;

/// Control: makes `generation` the current one. Everything written before is visible to whoever loads it.
#[inline]
pub fn publish<W: Word>(root: &W, generation: u64) {
    root.store(generation, Ordering::Release);
    W::fence(Ordering::SeqCst);
}

/// The current generation. The load is relaxed and followed by a fence, because workers map `root` read-only and only relaxed loads of
/// read-only memory are sure to compile to loads.
#[inline]
pub fn current<W: Word>(root: &W) -> u64 {
    let generation = root.load(Ordering::Relaxed);
    W::fence(Ordering::Acquire);
    generation
}

/// Worker: from now on nothing older than `generation` is looked at.
#[inline]
pub fn announce<W: Word>(announced: &W, generation: u64) {
    announced.store(generation, Ordering::Release);
}

/// Worker: from now on nothing is looked at.
#[inline]
pub fn park<W: Word>(announced: &W) {
    announced.store(PARKED, Ordering::Release);
}

/// Worker: about to look again. Load the current generation after this, then announce it.
#[inline]
pub fn unpark<W: Word>(announced: &W) {
    announced.store(UNKNOWN, Ordering::Relaxed);
    W::fence(Ordering::SeqCst);
}

/// Control, after [`publish`]: everything older than the result is out of use.
#[inline]
pub fn oldest_in_use<'w, W: Word + 'w>(announced: impl Iterator<Item = &'w W>) -> u64 {
    announced
        .map(|word| word.load(Ordering::Acquire))
        .min()
        .unwrap_or(PARKED)
}

/// Worker: counts a batch. The fence orders the count before every look at a shared table, so that a remover who reads the
/// older count after unlinking an entry knows that this batch can no longer find it.
#[inline]
pub fn begin_batch<W: Word>(batches: &W) {
    let next = batches.load(Ordering::Relaxed).wrapping_add(1);
    batches.store(next, Ordering::Release);
    W::fence(Ordering::SeqCst);
}

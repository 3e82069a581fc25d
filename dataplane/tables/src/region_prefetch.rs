//! Asking for a cache line ahead of its use: a batch's lookups then wait for memory once, not once each.

/// Brings the line that holds `place` towards the core; waits for nothing and changes nothing.
#[inline(always)]
pub fn prefetch<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch is a hint: it reads nothing that the program sees, and faults on no address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(place).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// The same, but only as far as the second-level cache: for what is used some packets later. The first level keeps about a dozen
/// requests on their way; whoever fills it with lines of payloads has what is needed next wait behind them.
#[inline(always)]
pub fn prefetch_near<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: as in `prefetch`.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(core::ptr::from_ref(place).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// Brings the line that holds `place` to the core to be written: where others write it, too, it moves once, instead of first to be read
/// and then to be written.
#[inline(always)]
pub fn prefetch_to_write<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        // SAFETY: as in `prefetch`.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(core::ptr::from_ref(place).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// Every line of something large, as [`prefetch_near`].
#[inline(always)]
pub fn prefetch_whole<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        let first = core::ptr::from_ref(place).cast::<i8>();
        for line in (0..size_of::<T>()).step_by(64) {
            // SAFETY: as in `prefetch`.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(first.wrapping_add(line)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

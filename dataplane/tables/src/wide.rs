//! Work on arrays that the compiler turns into vector instructions: into AVX-512 where the processor has it.
//!
//! The build is for processors with AVX2. A function that asks for more must not be called on those without it, so it is compiled
//! twice and chosen here.

/// Something to do. `run` must be `#[inline(always)]`, and so must what it calls: only what is inlined is compiled twice.
pub trait Work {
    /// Does it.
    fn run(self);
}

/// Does the work with the widest vectors that there are.
#[inline(always)]
pub fn widest(work: impl Work) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if std::is_x86_feature_detected!("avx512f")
        && std::is_x86_feature_detected!("avx512bw")
        && std::is_x86_feature_detected!("avx512dq")
        && std::is_x86_feature_detected!("avx512vl")
    {
        // SAFETY: the processor was just asked whether it has them.
        return unsafe { avx512(work) };
    }
    work.run();
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512(work: impl Work) {
    work.run();
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Add<'a>(&'a mut [u64; 64], u64);

    impl Work for Add<'_> {
        #[inline(always)]
        fn run(self) {
            self.0.iter_mut().for_each(|word| *word = word.wrapping_add(self.1));
        }
    }

    #[test]
    fn the_work_is_done_once() {
        let mut words = core::array::from_fn(|place| place as u64);
        widest(Add(&mut words, u64::MAX));
        assert_eq!(words, core::array::from_fn(|place| (place as u64).wrapping_sub(1)));
    }
}

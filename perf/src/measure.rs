//! Repetitions, their spread, and a loop that tells a quiet run from a disturbed one.

use crate::clock::Cycles;
use std::hint::black_box;

/// Median, least and most of some repetitions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Median.
    pub value: f64,
    /// Least.
    pub min: f64,
    /// Most.
    pub max: f64,
}

impl Spread {
    /// Of at least one sample.
    pub fn of(mut samples: Vec<f64>) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        Some(Spread {
            value: *samples.get(samples.len() / 2)?,
            min: *samples.first()?,
            max: *samples.last()?,
        })
    }
}

/// Steps of the reference loop: some 2 ms.
const REFERENCE_STEPS: u64 = 1 << 20;

/// Cycles per step of a loop that always does the same and touches no memory. It only varies when somebody else had the core, or
/// when the core's clock changed.
pub fn reference(cycles: &Cycles) -> f64 {
    let start = cycles.now();
    let mut word = black_box(1u64);
    for _ in 0..REFERENCE_STEPS {
        word = (word ^ (word >> 7)).wrapping_mul(0x2545_f491_4f6c_dd1d);
    }
    black_box(word);
    (cycles.now() - start) as f64 / REFERENCE_STEPS as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let spread = Spread::of(vec![5.0, 1.0, 3.0, 100.0, 2.0]).expect("samples");
        assert_eq!((spread.value, spread.min, spread.max), (3.0, 1.0, 100.0));
        assert_eq!(Spread::of(Vec::new()), None);
    }
}

//! The words that a store lies in. A trait, so that a test can stop them after any write.

use core::sync::atomic::Ordering;
use tombolo_tables::region::RegionError;
use tombolo_tables::region_secrets::SecretRegion;

/// Words that outlive their writer. There is one writer.
pub trait Memory {
    /// Words that there are.
    fn words(&self) -> usize;

    /// A word; 0 where there is none.
    fn load(&self, word: usize) -> u64;

    /// Writes a word, after all that were written before it. Does nothing where there is none.
    fn store(&self, word: usize, value: u64);

    /// Makes it at least so many words long; new ones are 0.
    fn grow(&self, words: usize) -> Result<(), RegionError>;
}

impl Memory for &SecretRegion {
    fn words(&self) -> usize {
        SecretRegion::words(self).len()
    }

    fn load(&self, word: usize) -> u64 {
        SecretRegion::words(self)
            .get(word)
            .map_or(0, |word| word.load(Ordering::Acquire))
    }

    fn store(&self, word: usize, value: u64) {
        let words = SecretRegion::words(self);
        debug_assert!(word < words.len());
        if let Some(word) = words.get(word) {
            // A killed process has done all that stands before this in the program's order: that is what release keeps.
            word.store(value, Ordering::Release);
        }
    }

    fn grow(&self, words: usize) -> Result<(), RegionError> {
        SecretRegion::grow(self, words.saturating_mul(8))
    }
}

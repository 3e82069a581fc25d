//! Entries for fuzzing what control reads from workers' memory. They must not panic, whatever the words.

use crate::capture::read_captured;
use crate::events::{EVENT_WORDS, Event};
use crate::ring::Ring;
use crate::sync::Word;
use core::sync::atomic::{AtomicU64, Ordering};

fn words(data: &[u8]) -> Vec<AtomicU64> {
    let whole = data.as_chunks::<8>().0;
    whole
        .iter()
        .map(|word| AtomicU64::new(u64::from_le_bytes(*word)))
        .collect()
}

/// Takes `data` for a ring of events, positions included. What is read must survive the trip back.
pub fn fuzz_events(data: &[u8]) {
    drain(&words(data), EVENT_WORDS, |record| {
        let words = core::array::from_fn(|at| record[at].load(Ordering::Relaxed));
        if let Some(event) = Event::from_words(words) {
            assert_eq!(event.to_words(), words);
        }
    });
}

/// Takes `data` for one record of a capture ring; what `data` does not reach is zero.
pub fn fuzz_captured(data: &[u8]) {
    let mut record = words(data);
    record.resize_with(crate::capture::RECORD_WORDS, || AtomicU64::new(0));
    if let Some(captured) = read_captured(&record) {
        assert!(captured.bytes.len() <= captured.header.length as usize);
    }
}

/// Empties the ring: it may hold any number of records, but never yields more than fit before it is empty or lost.
fn drain<W: Word>(words: &[W], record_words: usize, mut read: impl FnMut(&[W])) {
    let Some(ring) = Ring::new(words, record_words) else {
        return;
    };
    for _ in 0..ring.capacity() {
        if ring.pop(&mut read).is_none() {
            break;
        }
    }
    assert!(ring.pop(|_| ()).is_none(), "more records than fit");
}

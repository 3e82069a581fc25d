//! Every interleaving of reservations. Run as `loom_replay.rs` says.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;
use loom::thread;
use tombolo_tunnel::sequence::{Sequence, WORDS};

#[test]
fn no_number_is_reserved_twice_or_beyond_the_limit() {
    loom::model(|| {
        let words: Arc<Vec<AtomicU64>> = Arc::new((0..WORDS).map(|_| AtomicU64::new(0)).collect());
        Sequence::new(&words).expect("a whole slot").start(1, 6);
        let worker = {
            let words = Arc::clone(&words);
            thread::spawn(move || Sequence::new(&words).expect("a whole slot").reserve(3, true))
        };
        let control = {
            let words = Arc::clone(&words);
            thread::spawn(move || Sequence::new(&words).expect("a whole slot").raise_limit(7))
        };
        let mine = Sequence::new(&words).expect("a whole slot").reserve(3, true);
        let theirs = worker.join().expect("no panic");
        control.join().expect("no panic");
        assert!(
            mine.end <= theirs.start || theirs.end <= mine.start,
            "{mine:?} and {theirs:?}"
        );
        assert!(mine.end.max(theirs.end) <= 7);
        assert!((mine.clone().count() + theirs.clone().count()) >= 5);
    });
}

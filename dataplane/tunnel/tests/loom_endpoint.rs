//! Every interleaving of two writers and a reader of one record. Run as `loom_replay.rs` says.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;
use loom::thread;
use tombolo_tunnel::endpoint::{Endpoint, Seen, WORDS};

fn seen(byte: u8) -> Seen {
    Seen {
        address: [byte; 16],
        port: u16::from_be_bytes([byte; 2]),
    }
}

#[test]
fn who_reads_a_record_reads_one_that_was_written_and_the_last_one_stays() {
    loom::model(|| {
        let words: Arc<Vec<AtomicU64>> = Arc::new((0..WORDS).map(|_| AtomicU64::new(0)).collect());
        let writers: Vec<_> = [1, 2]
            .into_iter()
            .map(|byte| {
                let words = Arc::clone(&words);
                thread::spawn(move || Endpoint::new(&words).expect("a whole record").write(Some(seen(byte))))
            })
            .collect();
        let whole = [None, Some(seen(1)), Some(seen(2))];
        let endpoint = Endpoint::new(&words).expect("a whole record");
        assert!(whole.contains(&endpoint.read()), "two records in one");
        for writer in writers {
            writer.join().expect("no panic");
        }
        assert!(whole[1..].contains(&endpoint.read()), "a record that nobody completed");
    });
}

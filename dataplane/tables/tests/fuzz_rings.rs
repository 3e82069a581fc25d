//! Replays the fuzz corpora of what control reads from workers' memory, each file as it is and with seeded mutations.

use std::path::Path;
use tombolo_tables::fuzz::{fuzz_captured, fuzz_events};

/// xorshift64*: the same mutations in every run.
fn next(state: &mut u64) -> usize {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize
}

fn replay(target: &str, entry: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .expect("the corpus is committed")
        .map(|file| file.expect("a readable directory").path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 6, "only {} files", paths.len());
    let mut seed = 0x746f_6d62_6f6c_6f22;
    for path in paths {
        let file = std::fs::read(path).expect("a readable file");
        entry(&file);
        for _ in 0..1000 {
            let mut bytes = file.clone();
            for _ in 0..1 + next(&mut seed) % 4 {
                let at = next(&mut seed) % bytes.len();
                bytes[at] = [0, 1, 0xff, bytes[at] ^ 1 << (next(&mut seed) % 8)][next(&mut seed) % 4];
            }
            entry(&bytes);
        }
    }
}

#[test]
fn events() {
    replay("events", fuzz_events);
}

#[test]
fn captured_packets() {
    replay("captured", fuzz_captured);
}

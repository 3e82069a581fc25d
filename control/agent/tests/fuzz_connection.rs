//! Replays the fuzz corpus of the control socket, each file as it is, cut at every length, and with seeded mutations.

use std::path::Path;
use tombolo_agent::http::fuzz::fuzz_connection;

/// xorshift64*: the same mutations in every run.
fn next(state: &mut u64) -> usize {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize
}

#[test]
fn connections_near_the_corpus_are_answered_or_closed() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/connection");
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .expect("the corpus is committed")
        .map(|file| file.expect("a readable directory").path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 10, "only {} files", paths.len());
    let mut seed = 0x746f_6d62_6f6c_6f23;
    for path in paths {
        let file = std::fs::read(path).expect("a readable file");
        for length in 0..=file.len() {
            fuzz_connection(&file[..length]);
        }
        for _ in 0..200 {
            let mut bytes = file.clone();
            for _ in 0..1 + next(&mut seed) % 4 {
                let at = next(&mut seed) % bytes.len();
                match next(&mut seed) % 3 {
                    0 => bytes[at] = b" \r\n:/?&=%\0\xff9"[next(&mut seed) % 12],
                    1 => drop(bytes.drain(at..(at + 4).min(bytes.len() - 1).max(at))),
                    _ => bytes.insert(at, next(&mut seed) as u8),
                }
            }
            fuzz_connection(&bytes);
        }
    }
}

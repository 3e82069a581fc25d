//! Replays the fuzz corpus, each file as it is and with seeded random mutations.

use std::fs;
use std::path::Path;
use tombolo_wire::fuzz;

const MUTATIONS_PER_FILE: u32 = 400;

/// xorshift64*: the same mutations at every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize
    }

    /// One to four edits: a byte set, a bit flipped, the end cut, a stretch copied elsewhere.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.next() % 4 {
            if bytes.is_empty() {
                return;
            }
            // Headers are where it matters.
            let reach = if self.next().is_multiple_of(4) {
                bytes.len()
            } else {
                bytes.len().min(80)
            };
            let at = self.next() % reach;
            match self.next() % 5 {
                0 => bytes[at] = self.next() as u8,
                1 | 2 => bytes[at] ^= 1 << (self.next() % 8),
                3 => bytes.truncate(at),
                _ => {
                    let length = (self.next() % 16).min(bytes.len() - at);
                    let to = self.next() % (bytes.len() - length + 1);
                    bytes.copy_within(at..at + length, to);
                }
            }
        }
    }
}

fn replay(target: &str, entry: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<_> = fs::read_dir(&directory)
        .expect("the corpus directory exists")
        .map(|entry| entry.expect("a readable directory").path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 10, "{} holds {} files", directory.display(), paths.len());
    let mut random = Random(0x746f_6d62_6f6c_6f00);
    for path in paths {
        let bytes = fs::read(&path).expect("a readable corpus file");
        entry(&bytes);
        for _ in 0..MUTATIONS_PER_FILE {
            let mut mutated = bytes.clone();
            random.mutate(&mut mutated);
            entry(&mutated);
        }
    }
    for length in 0..200 {
        let noise: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        entry(&noise);
    }
}

#[test]
fn frames() {
    replay("fuzz_frame", fuzz::fuzz_frame);
}

#[test]
fn packets() {
    replay("fuzz_packet", fuzz::fuzz_packet);
}

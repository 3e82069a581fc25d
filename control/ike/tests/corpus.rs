//! Replays the fuzz corpus, each file as it is and with seeded random mutations.

use std::fs;
use std::path::Path;
use tombolo_ike::fuzz;

const MUTATIONS_PER_FILE: u32 = 2_000;

/// xorshift64*: the same mutations at every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize
    }

    /// One to four edits: a byte set, a bit flipped, the end cut, a byte put in.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.next() % 4 {
            let at = self.next() % (bytes.len() + 1);
            match self.next() % 6 {
                0 if at < bytes.len() => bytes[at] = self.next() as u8,
                1..=3 if at < bytes.len() => bytes[at] ^= 1 << (self.next() % 8),
                4 => bytes.truncate(at),
                _ => bytes.insert(at, self.next() as u8),
            }
        }
    }
}

fn replay(target: &str, entry: fn(&[u8]), mend: fn(&mut Vec<u8>)) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&directory).expect("the corpus is committed");
    let mut paths: Vec<_> = entries
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
            mend(&mut mutated);
            entry(&mutated);
        }
    }
}

/// Makes the header's length right, so that mutations reach what lies behind it.
fn mend_length(message: &mut [u8]) {
    let length = (message.len() as u32).to_be_bytes();
    if let Some(field) = message.get_mut(24..28) {
        field.copy_from_slice(&length);
    }
}

#[test]
fn message() {
    replay("message", fuzz::fuzz_message, |message| mend_length(message));
}

#[test]
fn inside() {
    replay("inside", fuzz::fuzz_inside, |_| {});
}

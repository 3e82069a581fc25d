//! Replays the fuzz corpus, each file as it is and with seeded random mutations.

mod lab;

use std::fs;
use std::path::Path;
use tombolo_ike::fuzz;

const MUTATIONS_PER_FILE: u32 = 2_000;
/// A story with two gateways takes longer than a parser.
const MUTATIONS_PER_STORY: u32 = 20;

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

/// Says which input it was that failed.
fn run(entry: fn(&[u8]), path: &Path, bytes: &[u8]) {
    if let Err(panic) = std::panic::catch_unwind(|| entry(bytes)) {
        eprintln!("{}, or made from it: {bytes:02x?}", path.display());
        std::panic::resume_unwind(panic);
    }
}

fn replay(target: &str, mutations: u32, entry: fn(&[u8]), mend: Option<fn(&mut [u8])>) {
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
        run(entry, &path, &bytes);
        for _ in 0..mutations {
            let mut mutated = bytes.clone();
            random.mutate(&mut mutated);
            run(entry, &path, &mutated);
            if let Some(mend) = mend {
                mend(&mut mutated);
                run(entry, &path, &mutated);
            }
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
    replay("message", MUTATIONS_PER_FILE, fuzz::fuzz_message, Some(mend_length));
}

#[test]
fn inside() {
    replay("inside", MUTATIONS_PER_FILE, fuzz::fuzz_inside, None);
}

#[test]
fn machine() {
    replay("machine", MUTATIONS_PER_STORY, lab::program::tell, None);
}

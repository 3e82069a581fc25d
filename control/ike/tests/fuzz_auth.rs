//! Replays the committed corpora of certificates, signatures and names and seeded mutations of them through the fuzz entries. The
//! committed ones are accepted; of the mutations no chain and no signature is.

use std::fs;
use std::path::Path;
use tombolo_ike::auth::fuzz::{fuzz_authentication, fuzz_certificate, fuzz_name};

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&directory).expect("the corpus is committed");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("a readable directory").path())
        .collect();
    files.sort();
    assert!(files.len() >= 5, "{} files in {}", files.len(), directory.display());
    let name = |file: &Path| file.file_name().expect("a name").to_string_lossy().into_owned();
    files
        .iter()
        .map(|file| (name(file), fs::read(file).expect("a readable file")))
        .collect()
}

/// Gives each mutation to `check`, with the file that it came from.
fn mutations(target: &str, rounds: usize, mut check: impl FnMut(&[u8], &[u8])) {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize
    };
    for (_, file) in corpus(target) {
        for _ in 0..rounds {
            let mut data = file.clone();
            for _ in 0..1 + next() % 4 {
                match next() % 4 {
                    0 if !data.is_empty() => {
                        let at = next() % data.len();
                        data[at] = next() as u8;
                    }
                    1 => data.truncate(next() % (data.len() + 1)),
                    2 => data.push(next() as u8),
                    _ => data.insert(next() % (data.len() + 1), next() as u8),
                }
            }
            check(&file, &data);
        }
    }
}

fn accepted(target: &str, entry: fn(&[u8]) -> bool) {
    for (name, file) in corpus(target) {
        // What a fuzzer found may be anything.
        assert!(
            entry(&file) || name.starts_with("found-"),
            "{target}/{name} is not accepted"
        );
    }
}

#[test]
fn certificates() {
    accepted("certificate", fuzz_certificate);
    mutations("certificate", 1000, |file, data| {
        let taken = fuzz_certificate(data);
        // Behind the certificates, bytes that are no certificate lead nowhere and are ignored.
        let same = data.starts_with(file) || data.first().is_none_or(|choice| choice % 4 != 0);
        let leaf = file
            .get(..3)
            .map(|head| 3 + usize::from(u16::from_be_bytes([head[1], head[2]])));
        let own_is_same = leaf.is_some_and(|end| data.len() >= end && data.get(1..end) == file.get(1..end));
        assert!(
            !taken || same || own_is_same,
            "a changed certificate is accepted: {data:02x?}"
        );
    });
}

#[test]
fn authentications() {
    accepted("authentication", fuzz_authentication);
    mutations("authentication", 1000, |file, data| {
        // The first byte only chooses a key, modulo 4.
        let same = data.get(1..) == file.get(1..);
        assert!(
            !fuzz_authentication(data) || same,
            "a changed signature verifies: {data:02x?}"
        );
    });
}

#[test]
fn names() {
    accepted("name", fuzz_name);
    mutations("name", 5000, |_, data| {
        fuzz_name(data);
    });
}

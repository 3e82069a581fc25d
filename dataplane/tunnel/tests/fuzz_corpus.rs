//! Replays the committed corpus and a few thousand seeded mutations of it through the fuzz entries.

use std::fs;
use std::path::Path;
use tombolo_tunnel::esp::seal;
use tombolo_tunnel::fuzz::{KEY, SALT, fuzz_open, fuzz_window};
use tombolo_tunnel::{Cipher, SaKeys};

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&directory).expect("the corpus is committed");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("a readable directory").path())
        .collect();
    files.sort();
    assert!(files.len() >= 4, "{} files in {}", files.len(), directory.display());
    files
        .into_iter()
        .map(|file| fs::read(file).expect("a readable file"))
        .collect()
}

fn replay(target: &str, entry: fn(&[u8])) {
    let corpus = corpus(target);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize
    };
    for file in &corpus {
        entry(file);
        for _ in 0..2_000 {
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
            entry(&data);
        }
    }
}

#[test]
fn open() {
    replay("open", fuzz_open);
}

#[test]
fn window() {
    replay("window", fuzz_window);
}

/// The corpus holds packets that open, so that mutations start behind the ICV check. Writes it anew with
/// `TOMBOLO_WRITE_CORPUS=1`, else checks it.
#[test]
fn corpus_is_what_seal_makes() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/open");
    for (number, cipher) in Cipher::ALL.into_iter().enumerate() {
        for esn in [false, true] {
            let keys = SaKeys::new(cipher, &KEY[..cipher.key_bytes()], SALT).expect("the cipher's key length");
            let inner = [0x45, 0, 0, 21, 0, 1, 0, 0, 64, 255, 0, 0, 10, 1, 0, 10, 10, 2, 0, 10, 9];
            let mut packet = [0; 80];
            let length = seal(&keys, 0x1000, 5, esn, 4, &inner, &mut packet).expect("it fits");
            let data = [&[number as u8 | u8::from(esn) << 7, 0, 3], &packet[..length]].concat();
            let file = directory.join(format!("{cipher:?}-{}", if esn { "esn" } else { "short" }).to_lowercase());
            if std::env::var_os("TOMBOLO_WRITE_CORPUS").is_some() {
                fs::write(&file, &data).expect("a writable corpus");
            }
            assert_eq!(fs::read(&file).expect("a readable corpus"), data, "{}", file.display());
        }
    }
}

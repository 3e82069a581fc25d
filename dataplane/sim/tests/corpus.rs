//! Replays the fuzz corpus of the journey, each file as it is and with seeded random mutations.

use std::fs;
use std::path::{Path, PathBuf};
use tombolo_sim::frames::every_kind;
use tombolo_sim::fuzz::{fuzz_journey, record};
use tombolo_sim::prey::Prey;
use tombolo_sim::random::Random;
use tombolo_sim::worlds::TunnelKind;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/journey")
}

fn corpus() -> Vec<Vec<u8>> {
    let mut names: Vec<_> = fs::read_dir(directory())
        .expect("the corpus is committed")
        .map(|entry| entry.expect("a readable directory").path())
        .collect();
    names.sort();
    names
        .iter()
        .map(|name| fs::read(name).expect("a readable file"))
        .collect()
}

#[test]
fn the_corpus_and_ten_thousand_mutations_of_it() {
    let files = corpus();
    assert!(files.len() >= 20, "only {} files", files.len());
    for file in &files {
        fuzz_journey(file);
    }
    let mut random = Random::new(0x636f_7270);
    for _ in 0..10_000 {
        let mut data = files[random.below(files.len())].clone();
        match random.below(4) {
            0 => data.truncate(random.below(data.len() + 1)),
            1 => data.extend_from_slice(&files[random.below(files.len())]),
            2 | 3 => {}
            other => unreachable!("{other} is not below 4"),
        }
        for _ in 0..random.below(6) {
            if data.is_empty() {
                break;
            }
            let place = random.below(data.len());
            data[place] = if random.once_in(2) {
                random.bits() as u8
            } else {
                data[place] ^ (1 << random.below(8))
            };
        }
        fuzz_journey(&data);
    }
}

/// The corpus has a file for every kind of frame that the sim knows; TOMBOLO_WRITE_CORPUS=1 writes the missing ones.
#[test]
fn every_kind_of_frame_has_its_file() {
    let mut prey = Prey::new(TunnelKind::PLAIN);
    let kinds = every_kind(prey.gateway());
    let write = std::env::var_os("TOMBOLO_WRITE_CORPUS").is_some();
    for (number, kind) in kinds.iter().enumerate() {
        let name = format!("{number:02}-{}", kind.name.to_lowercase().replace(' ', "-"));
        let path = directory().join(name);
        if write {
            // As it comes, out of a tunnel, and again after a change and some time.
            let mut data = record(kind.port | 8, &kind.frame);
            data.extend(record(0x80, &kind.frame));
            data.extend(record(kind.port | 0x68, &kind.frame));
            fs::create_dir_all(directory()).expect("a directory");
            fs::write(&path, data).expect("a file");
        }
        assert!(path.exists(), "no corpus file {}", path.display());
    }
}

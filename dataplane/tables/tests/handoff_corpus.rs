//! The fuzz corpus of the handoff messages, replayed, and seeded mutations of it.

use std::path::Path;
use tombolo_tables::handoff::{Message, PortError, fuzz_message};

fn corpus() -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/handoff_message");
    let files = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    files.collect()
}

/// xorshift64*: the same mutations in every run.
fn next(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

#[test]
fn nothing_in_the_corpus_or_near_it_panics() {
    let corpus = corpus();
    assert!(corpus.len() >= 7, "the corpus has a file per message kind");
    let mut seed = 0x746f_6d62_6f6c_6f21;
    for file in &corpus {
        fuzz_message(file);
        for _ in 0..3000 {
            let mut bytes = file.clone();
            for _ in 0..1 + next(&mut seed) % 4 {
                let at = next(&mut seed) as usize % bytes.len();
                match next(&mut seed) % 4 {
                    0 => bytes[at] = next(&mut seed) as u8,
                    1 => bytes[at] ^= 1 << (next(&mut seed) % 8),
                    2 => bytes.truncate(at.max(1)),
                    _ => bytes.insert(at, next(&mut seed) as u8),
                }
            }
            fuzz_message(&bytes);
        }
    }
}

#[test]
fn every_kind_of_message_is_in_the_corpus() {
    let read = |bytes: &Vec<u8>| Message::from_bytes(&bytes[1..], usize::from(bytes[0])).ok();
    let found: Vec<Message> = corpus().iter().filter_map(read).collect();
    for message in examples() {
        assert!(
            found.contains(&message),
            "{message:?} is missing or has another layout than the corpus"
        );
    }
}

/// One message of each kind: a change of their bytes is a change of the protocol.
fn examples() -> Vec<Message> {
    let errors = vec![PortError {
        port: 3,
        text: "no such device".into(),
    }];
    vec![
        Message::Hello {
            layout_version: 1,
            layout_hash: 2,
        },
        Message::Offer { pid: 7, workers: None },
        Message::Offer {
            pid: 7,
            workers: Some(2),
        },
        Message::Regions { workers: 2 },
        Message::Ready { workers: 2 },
        Message::Published { generation: 9 },
        Message::Applied { generation: 9, errors },
        Message::Refused {
            layout_version: 1,
            layout_hash: 2,
        },
    ]
}

//! Whatever the text: no panic, and a refusal always says where and why.

use proptest::prelude::*;
use std::path::Path;
use tombolo_config::fuzz::{fuzz_parse, fuzz_sa_file};

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "the corpus is gone");
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// A generator good enough to spoil bytes, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }

    /// Changes, removes or repeats a few places, or inserts what YAML or JSON take for syntax.
    fn spoil(&mut self, bytes: &mut Vec<u8>) {
        const SYNTAX: &[u8] = b"{}[]:,-#&*!|>'\"%@`? \n\t\\0a/\xc3";
        for _ in 0..1 + self.below(4) {
            let at = self.below(bytes.len() + 1);
            let end = (at + self.below(12)).min(bytes.len());
            match self.below(4) {
                0 if at < bytes.len() => bytes[at] = SYNTAX[self.below(SYNTAX.len())],
                1 => drop(bytes.drain(at..end)),
                2 => {
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
                _ => bytes.insert(at, SYNTAX[self.below(SYNTAX.len())]),
            }
        }
    }
}

fn replay(target: &str, rounds: usize, run: fn(&[u8])) {
    let mut random = Random(7);
    for seed in corpus(target) {
        run(&seed);
        for _ in 0..rounds {
            let mut bytes = seed.clone();
            random.spoil(&mut bytes);
            run(&bytes);
        }
    }
}

#[test]
fn spoilt_configurations() {
    replay("parse", 600, fuzz_parse);
}

#[test]
fn spoilt_key_files() {
    replay("sa_file", 1000, fuzz_sa_file);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        fuzz_parse(text.as_bytes());
    }

    #[test]
    fn any_scalar_in_any_place(scalar in "[-0-9a-f./:,{}\\[\\]\"' ]{0,24}", place in 0usize..64) {
        let text = include_str!("../examples/gw-a.yaml");
        let places: Vec<usize> = text.match_indices(": ").map(|(at, _)| at + 2).collect();
        let at = places[place % places.len()];
        let end = at + text[at..].find([' ', ',', '}', '\n']).unwrap_or(0);
        let spoilt = format!("{}{scalar}{}", &text[..at], &text[end..]);
        fuzz_parse(spoilt.as_bytes());
    }
}

#[test]
fn a_large_configuration_is_read_in_seconds() {
    let mut text = include_str!("../examples/gw-a.yaml").to_owned();
    let mut routes = String::from("routes:\n  internet:\n");
    for number in 0..30_000u32 {
        let (high, low) = (number >> 8, number & 255);
        routes += &format!("    - {{ to: 100.{high}.{low}.0/24, via: 192.0.2.254 }}\n");
    }
    text = text.replace("routes:\n  internet:\n", &routes);
    let start = std::time::Instant::now();
    let gateway = tombolo_config::parse(&text, "large.yaml").unwrap();
    assert!(gateway.routes.len() > 30_000);
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    eprintln!("{} bytes in {:?}", text.len(), start.elapsed());
}

#[test]
fn syntax_without_end_is_refused_in_seconds() {
    for part in [
        "- ", "? ", "[", "{a: ", "a: |\n", "'", "&a ", "!t ", "a: b: ", "\t", "# \n", "--- ", "a,", "[a]: ",
        "\u{feff}", "*a ",
    ] {
        let start = std::time::Instant::now();
        fuzz_parse(part.repeat((1 << 20) / part.len()).as_bytes());
        assert!(start.elapsed().as_secs() < 10, "{part:?}: {:?}", start.elapsed());
    }
}

//! Whatever the bytes of the sections are: making a view of them and asking it everything never panics and always ends.
//! `TOMBOLO_BLESS=1` writes the corpus anew.

mod common;

use common::{full_world, policy_rule, route, world};
use std::fs;
use std::path::{Path, PathBuf};
use tombolo_tables::build::{Sections, World};
use tombolo_tables::layout::*;
use tombolo_tables::view::fuzz::{fuzz_view, to_bytes};
use tombolo_tables::view::{InvalidTables, Tables};
use zerocopy::{FromBytes, IntoBytes};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/view")
}

fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let truncated = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    let full = to_bytes(&full_world().build().unwrap());
    let empty = to_bytes(&World::default().build().unwrap());
    let defaults = World {
        routes: vec![
            route(0, "0.0.0.0/0", NextHop::Discard),
            route(1, "::/0", NextHop::Local(PortIndex(0))),
        ],
        policy_rules: vec![policy_rule(rule_action::DENY)],
        ..world(2)
    };
    vec![
        ("truncated", truncated(&full)),
        ("full", full),
        ("empty", empty),
        ("defaults", to_bytes(&defaults.build().unwrap())),
    ]
}

#[test]
fn the_corpus_is_what_the_builder_makes_now() {
    for (name, bytes) in seeds() {
        let file = corpus().join(name);
        if std::env::var_os("TOMBOLO_BLESS").is_some() {
            fs::create_dir_all(corpus()).unwrap();
            fs::write(&file, &bytes).unwrap();
        }
        assert!(fs::read(&file).unwrap() == bytes, "{name} is stale");
        assert_eq!(fuzz_view(&bytes), name != "truncated", "{name}");
    }
}

/// A xorshift sequence: the same mutations in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    /// Overwrites a few bytes or words, not the lengths, so that most results are still views.
    fn mutate(&mut self, bytes: &mut [u8]) {
        let lengths = 4 * SECTION_COUNT;
        for _ in 0..1 + self.below(16) {
            let at = lengths + self.below(bytes.len() - lengths);
            match self.below(4) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = self.below(256) as u8,
                2 => bytes[at..].iter_mut().take(4).for_each(|byte| *byte = 0xff),
                _ => bytes[at] = bytes[lengths + self.below(bytes.len() - lengths)],
            }
        }
    }
}

#[test]
fn mutations_of_the_corpus_are_harmless() {
    let mut random = Random(0x1234_5678_9abc_def1);
    let mut views = 0;
    for entry in fs::read_dir(corpus()).unwrap() {
        let seed = fs::read(entry.unwrap().path()).unwrap();
        if seed.len() <= 4 * SECTION_COUNT {
            continue;
        }
        for _ in 0..4000 {
            let mut bytes = seed.clone();
            random.mutate(&mut bytes);
            views += usize::from(fuzz_view(&bytes));
        }
    }
    assert!(
        views > 5000,
        "only {views} of the mutations were views, the rest was refused"
    );
}

#[test]
fn every_truncation_is_harmless() {
    let (_, full) = seeds().into_iter().find(|(name, _)| *name == "full").unwrap();
    for length in (0..full.len()).step_by(7) {
        fuzz_view(&full[..length]);
    }
}

/// Records are what a planner that went wrong could hand over: any bytes at all.
#[test]
fn a_world_of_broken_records_is_refused_or_built() {
    let mut random = Random(7);
    let (mut built, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut world = full_world();
        let mut route = world.routes[random.below(8)];
        route.length = route.length.wrapping_add(random.below(4) as u8 * 32);
        route.v6 ^= random.below(8) == 0;
        world.routes.push(route);
        for _ in 0..1 + random.below(3) {
            match random.below(10) {
                0 => scramble(&mut world.ports, &mut random),
                1 => scramble(&mut world.own_addresses, &mut random),
                2 => scramble(&mut world.neighbours, &mut random),
                3 => scramble(&mut world.policy_rules, &mut random),
                4 => scramble(&mut world.nat_rules, &mut random),
                5 => scramble(&mut world.pools, &mut random),
                6 => scramble(&mut world.tunnels, &mut random),
                7 => scramble(&mut world.sas, &mut random),
                8 => scramble(&mut world.bundles, &mut random),
                _ => scramble(&mut world.selectors, &mut random),
            }
        }
        match world.build() {
            Ok(sections) => {
                assert!(
                    fuzz_view(&to_bytes(&sections)),
                    "the view accepts what the builder makes"
                );
                built += 1;
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
        }
    }
    assert!(built > 1000 && refused > 1000, "built {built}, refused {refused}");
}

/// Overwrites one byte or flips one bit of the records.
fn scramble<T: IntoBytes + FromBytes>(records: &mut [T], random: &mut Random) {
    let bytes = records.as_mut_bytes();
    let at = random.below(bytes.len());
    match random.below(2) {
        0 => bytes[at] = random.below(256) as u8,
        _ => bytes[at] ^= 1 << random.below(8),
    }
}

/// The routes of a segment with a direct table, and of one with blocks behind it, their bytes overwritten at random.
#[test]
fn broken_direct_tables_and_tries_are_harmless() {
    broken_routes_are_harmless(1100);
    broken_routes_are_harmless(8300);
}

fn broken_routes_are_harmless(routes: u32) {
    let mut world = world(1);
    for at in 0..routes {
        let prefix = std::net::Ipv4Addr::from(0x0a00_0000 + (at << 7));
        world.routes.push(route(0, &format!("{prefix}/25"), NextHop::Discard));
    }
    let sections = world.build().unwrap();
    let mut random = Random(99);
    for _ in 0..300 {
        let mut bytes = sections.get(SectionId::Routes4).to_vec();
        for _ in 0..2000 {
            let at = 64 + random.below(bytes.len() - 64);
            bytes[at] = random.below(256) as u8;
        }
        let aligned = Aligned::new(&bytes);
        let mut all = sections.all();
        all[SectionId::Routes4 as usize] = aligned.get();
        let tables = Tables::from_sections(all).unwrap();
        let to: Vec<u32> = (0..200).map(|_| 0x0a00_0000 | random.below(1 << 24) as u32).collect();
        let mut batch = vec![0; to.len()];
        tables.routes4_batch(SegmentIndex(0), &to, &mut batch);
        for (&to, hop) in to.iter().zip(batch) {
            assert_eq!(tables.route4(SegmentIndex(0), to), NextHop::from_bits(hop));
        }
    }
}

/// Bytes at an 8-byte boundary.
struct Aligned(Vec<u64>, usize);

impl Aligned {
    fn new(bytes: &[u8]) -> Self {
        let words = bytes.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_ne_bytes(word)
        });
        Aligned(words.collect(), bytes.len())
    }

    fn get(&self) -> &[u8] {
        &self.0.as_slice().as_bytes()[..self.1]
    }
}

#[test]
fn what_cannot_be_tables_is_refused_with_its_reason() {
    let sections: Sections = full_world().build().unwrap();
    let refused = |id: SectionId, bytes: &[u8]| {
        let mut all = sections.all();
        all[id as usize] = bytes;
        Tables::from_sections(all).err()
    };
    for id in SectionId::ALL {
        let bytes = sections.get(id);
        assert_eq!(refused(id, bytes), None);
        assert_eq!(refused(id, &[]), None, "an empty section is an empty table");
        if id == SectionId::Names {
            continue;
        }
        let short = &bytes[..bytes.len() - 1];
        assert!(matches!(
            refused(id, short),
            Some(InvalidTables::Length { .. } | InvalidTables::Header(_))
        ));
        if !matches!(id, SectionId::OwnAddresses) {
            let copy = Aligned::new(&[&[0], bytes].concat());
            let refusal = refused(id, &copy.get()[1..]);
            let byte_records = [SectionId::Selectors];
            assert_eq!(
                refusal,
                (!byte_records.contains(&id)).then_some(InvalidTables::Misaligned(id)),
                "{id:?}"
            );
        }
    }
}

/// Rules in lists of every length, some of them in chunks since the lists are full, their bytes overwritten at random.
#[test]
fn broken_lists_and_chunks_of_rules_are_harmless() {
    let rule = |at: u32| PolicyRuleRecord {
        source: std::net::Ipv4Addr::from(0x0a01_0000 + at % 7).into(),
        source_length: [0, 112, 128][at as usize % 3],
        destination: std::net::Ipv4Addr::from(0x0a01_0000 + at * 77 % 256).into(),
        destination_length: [112, 120, 128, 0][at as usize % 4],
        destination_port_first: at as u16,
        destination_port_last: at as u16 + 80,
        protocol: 6,
        family: 4,
        ..policy_rule(rule_action::ALLOW)
    };
    let world = World {
        policy_rules: (0..600).map(rule).collect(),
        ..world(2)
    };
    let sections = world.build().unwrap();
    let whole = to_bytes(&sections);
    let index = sections.get(SectionId::PolicyIndex);
    let begins = whole.windows(64).position(|window| window == &index[..64]).unwrap();
    let mut random = Random(77);
    for _ in 0..300 {
        let mut bytes = whole.clone();
        for _ in 0..5000 {
            // Not the counts.
            let at = begins + 64 + random.below(index.len() - 64);
            bytes[at] = [0, 1, 0xff, random.below(256) as u8][random.below(4)];
        }
        assert!(fuzz_view(&bytes));
    }
}

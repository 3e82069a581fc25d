//! The dump of a world with something in every section. `TOMBOLO_BLESS=1` writes the golden file anew.

mod common;

use common::full_world;
use tombolo_tables::dump;

#[test]
fn the_full_world_reads_as_recorded() {
    let text = dump::world(&full_world()).unwrap();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/full_world.txt");
    if std::env::var_os("TOMBOLO_BLESS").is_some() {
        std::fs::write(golden, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(golden).unwrap());
}

#[test]
fn no_text_shows_a_key() {
    let world = full_world();
    let sections = world.build().unwrap();
    for text in [
        dump::world(&world).unwrap(),
        format!("{world:?}"),
        format!("{sections:?}"),
    ] {
        let lower = text.to_lowercase();
        assert!(
            !["abab", "ab, ab", "171, 171", "0xab"]
                .iter()
                .any(|key| lower.contains(key)),
            "{text}"
        );
    }
}

//! What the configuration's checks accept, the tables can be built from: with anything learned, after any plan.

mod support;

use proptest::prelude::*;
use support::{GATEWAY_A, learned};
use tombolo_config::parse;
use tombolo_planner::{Indices, plan};

/// Values to put where others stood, besides those of the example.
const OTHERS: &[&str] = &[
    "any",
    "keep",
    "port",
    "icmp",
    "udp",
    "esp",
    "true",
    "discard",
    "0.0.0.0/0",
    "\"::/0\"",
    "10.0.0.0/8",
    "\"fd00::/8\"",
    "10.1.0.0/16",
    "192.0.2.77",
    "203.0.113.8-203.0.113.9",
    "\"2001:db8:f::5\"",
    "64000-64999",
    "1280",
    "{}",
    "[]",
    "",
];

fn words(text: &str) -> Vec<(usize, usize)> {
    let ends = |at: usize| at + text[at..].find([' ', ',', '}', ']', '\n']).unwrap_or(text.len() - at);
    text.match_indices(": ")
        .map(|(at, _)| (at + 2, ends(at + 2)))
        .filter(|(at, end)| at < end)
        .collect()
}

fn varied(base: &str, changes: &[(usize, usize)]) -> String {
    let mut text = base.to_owned();
    for (place, value) in changes {
        let places = words(&text);
        let (at, end) = places[place % places.len()];
        let (from, to) = places[value % places.len()];
        let with = if value % 2 == 0 {
            text[from..to].to_owned()
        } else {
            OTHERS[value % OTHERS.len()].to_owned()
        };
        text.replace_range(at..end, &with);
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn accepted_configurations_can_be_built(
        steps in prop::collection::vec(prop::collection::vec((0usize..500, 0usize..500), 1..3), 1..4),
        known in any::<u8>(),
    ) {
        let mut previous = Indices::default();
        for (step, changes) in steps.iter().enumerate() {
            let text = varied(GATEWAY_A, changes);
            let Ok(desired) = parse(&text, "varied.yaml") else { continue };
            let mut learned = learned(&desired);
            if known >> (2 * step) & 1 == 0 {
                learned.links.clear();
            }
            if known >> (2 * step) & 2 == 0 {
                learned.sa_keys.clear();
            }
            let plan = match plan(&desired, &learned, &previous) {
                Ok(plan) => plan,
                Err(refused) => {
                    let first = plan(&desired, &learned, &Indices::default());
                    prop_assert!(first.is_ok(), "only what went before can be in the way: {refused}\n{text}");
                    continue;
                }
            };
            let built = plan.world.build();
            prop_assert!(built.is_ok(), "{:?}\n{text}", built.err());
            previous = plan.indices.clone();
        }
    }
}

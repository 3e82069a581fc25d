//! Loss, duplicates, reordering, delay, rekeying on both sides at once and processes killed anywhere: when the network heals, both sides have
//! one IKE SA and one child SA, the same.

mod lab;

use lab::network::Hostility;
use lab::{Lab, Seed, short_lived};
use tombolo_ike::endpoint::Command;

/// Seeds that an ordinary test run goes through; `TOMBOLO_IKE_SEEDS` asks for more.
const SEEDS: u64 = 300;

fn seeds() -> std::ops::Range<u64> {
    let text = std::env::var("TOMBOLO_IKE_SEEDS").unwrap_or_default();
    match text.split_once("..") {
        Some((first, last)) => first.parse().unwrap()..last.parse().unwrap(),
        None => 0..text.parse().unwrap_or(SEEDS),
    }
}

/// One story from one seed.
fn story(seed: u64) -> Result<(), String> {
    let mut dice = Seed(seed ^ 0x5eed);
    let hostility = Hostility {
        loss: dice.next() % 400,
        duplicates: dice.next() % 300,
        delay_ms: dice.next() % 800,
        late: dice.next() % 100,
    };
    let mut connections = [0, 1].map(|side| {
        let (ike, child) = (20_000 + dice.next() % 60_000, 5_000 + dice.next() % 30_000);
        vec![short_lived(side, ike, child)]
    });
    connections[1][0].initiate = dice.permille(500);
    let kills = if dice.permille(500) { dice.next() % 60 } else { 0 };
    let mut lab = Lab::new(seed, connections, hostility);
    lab.kill_permille = kills;
    for _ in 0..20 {
        lab.run(lab.now + dice.next() % 6000);
        // Both at once, often within each other's flight time.
        for side in 0..2 {
            if dice.permille(400) {
                lab.command(side, Command::Rekey);
            }
        }
        for side in 0..2 {
            lab.packet(side);
        }
    }
    heal(&mut lab)
}

fn heal(lab: &mut Lab) -> Result<(), String> {
    lab.network.hostility = Hostility {
        delay_ms: 20,
        ..Hostility::default()
    };
    lab.kill_permille = 0;
    // What is under way ends: late datagrams, dead peers, pauses, leftovers that the other side should have deleted.
    lab.run(lab.now + 200_000);
    let mut last = String::new();
    for _ in 0..400 {
        lab.run(lab.now + 100);
        match lab.is_single() {
            Ok(()) => return Ok(()),
            Err(why) => last = why,
        }
    }
    Err(last)
}

#[test]
fn every_story_ends_with_one_set_of_sas() {
    let range = seeds();
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let failed: Vec<(u64, String)> = std::thread::scope(|scope| {
        let part = |thread: u64| {
            let range = range.clone();
            move || -> Vec<(u64, String)> {
                let mine = range.filter(|seed| seed % threads == thread);
                mine.filter_map(|seed| {
                    let told = std::panic::catch_unwind(|| story(seed));
                    match told {
                        Ok(Ok(())) => None,
                        Ok(Err(why)) => Some((seed, why)),
                        Err(_) => Some((seed, "panicked".into())),
                    }
                })
                .collect()
            }
        };
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(part(thread))).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(
        failed.is_empty(),
        "{} of {} stories: {:?}",
        failed.len(),
        range.end - range.start,
        &failed[..failed.len().min(5)]
    );
}

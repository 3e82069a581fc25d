//! Loss, duplicates, reordering, delay, rekeying on both sides at once and processes killed anywhere: when the network heals, both sides have
//! one IKE SA and one child SA, the same.

mod lab;

use lab::network::Hostility;
use lab::{Lab, Seed, short_lived};
use tombolo_ike::What;
use tombolo_ike::connection::Connection;
use tombolo_ike::endpoint::Command;

/// Seeds that an ordinary test run goes through; `TOMBOLO_IKE_SEEDS` asks for more.
const SEEDS: u64 = 200;
/// Stories that once ended badly are always told.
const OF_OLD: [u64; 7] = [1782, 2635, 13541, 13573, 26505, 34009, 75506];

fn seeds() -> Vec<u64> {
    let text = std::env::var("TOMBOLO_IKE_SEEDS").unwrap_or_default();
    match text.split_once("..") {
        Some((first, last)) => (first.parse().unwrap()..last.parse().unwrap()).collect(),
        None => (0..text.parse().unwrap_or(SEEDS)).chain(OF_OLD).collect(),
    }
}

/// What happened in a story.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    stories: u64,
    kills: u64,
    ike_rekeyed: u64,
    children_rekeyed: u64,
    ended: u64,
    packets: u64,
}

impl Tally {
    fn of(lab: &Lab) -> Tally {
        let news = || lab.hosts.iter().flat_map(|host| &host.news);
        let count = |wanted: fn(&What) -> bool| news().filter(|news| wanted(&news.what)).count() as u64;
        Tally {
            stories: 1,
            kills: lab.hosts.iter().map(|host| host.kills).sum(),
            ike_rekeyed: count(|what| *what == What::IkeRekeyed),
            children_rekeyed: count(|what| matches!(what, What::ChildRekeyed { .. })),
            ended: count(|what| matches!(what, What::Ended { .. })),
            packets: 0,
        }
    }

    fn add(self, other: Tally) -> Tally {
        Tally {
            stories: self.stories + other.stories,
            kills: self.kills + other.kills,
            ike_rekeyed: self.ike_rekeyed + other.ike_rekeyed,
            children_rekeyed: self.children_rekeyed + other.children_rekeyed,
            ended: self.ended + other.ended,
            packets: self.packets + other.packets,
        }
    }
}

fn connections(dice: &mut Seed) -> [Vec<Connection>; 2] {
    let mut connections = [0, 1].map(|side| {
        let (ike, child) = (20_000 + dice.next() % 60_000, 5_000 + dice.next() % 30_000);
        vec![short_lived(side, ike, child)]
    });
    connections[1][0].initiate = dice.permille(500);
    let is_hybrid = dice.permille(250);
    if is_hybrid {
        connections = connections.map(|all| all.into_iter().map(lab::hybrid).collect());
    }
    if dice.permille(250) {
        for side in &mut connections {
            side[0].per_worker_children = 1 + (dice.next() % 3) as u16;
        }
    }
    // Child SAs without a key exchange of their own are rekeyed with one exchange less to go wrong, and quickly.
    if !is_hybrid && dice.permille(400) {
        connections
            .iter_mut()
            .for_each(|side| side[0].children[0].proposals[0].groups = vec![None]);
    }
    connections
}

/// Time passes, both sides replace SAs, packets fly. Gives the number of packets that had to arrive and did.
fn live(lab: &mut Lab, dice: &mut Seed) -> Result<u64, String> {
    let with_traffic = dice.permille(700);
    let mut packets = 0;
    for _ in 0..20 {
        let until = lab.now + dice.next() % 6000;
        for part in [2, 1, 1] {
            lab.run(lab.now + (until - lab.now) / part);
            for side in 0..2 {
                if lab.is_broken && lab.is_single().is_ok() {
                    lab.is_broken = false;
                }
                let is_broken = lab.is_broken;
                let arrived = if with_traffic {
                    lab.packet(side)
                } else {
                    lab.would_arrive(side)
                };
                packets += u64::from(!is_broken);
                if !is_broken && arrived != Some(true) {
                    return Err(format!(
                        "a packet of side {side} was lost at {} ms: {arrived:?}",
                        lab.now
                    ));
                }
            }
        }
        // Both at once, often within each other's flight time.
        for side in 0..2 {
            if dice.permille(400) {
                let what = [Command::Rekey, Command::RekeyIke, Command::RekeyChildren];
                lab.command(side, what[(dice.next() % 3) as usize]);
            }
        }
    }
    Ok(packets)
}

/// One story from one seed.
fn story(seed: u64) -> Result<Tally, String> {
    let mut dice = Seed(seed ^ 0x5eed);
    let hostility = Hostility {
        loss: dice.next() % 400,
        duplicates: dice.next() % 300,
        delay_ms: dice.next() % 800,
        late: dice.next() % 100,
    };
    let connections = connections(&mut dice);
    let mut lab = Lab::new(seed, connections, hostility);
    lab.kill_permille = if dice.permille(500) { dice.next() % 60 } else { 0 };
    let packets = live(&mut lab, &mut dice)?;
    lab.heal()?;
    Ok(Tally {
        packets,
        ..Tally::of(&lab)
    })
}

/// A network that only delays and reorders: processes are killed, SAs are replaced by both sides at once, and no IKE SA ends.
fn story_of_kills(seed: u64) -> Result<Tally, String> {
    let mut dice = Seed(seed ^ 0xdead);
    let mut connections = connections(&mut dice);
    // A peer whose processes are killed before each of five answers is not dead.
    connections.iter_mut().for_each(|side| side[0].dpd_timeout_ms = 600_000);
    let mut lab = Lab::new(seed, connections, Hostility::default());
    lab.run(lab.now + 60_000);
    let both_up = (0..200).any(|_| {
        lab.run(lab.now + 100);
        lab.is_single().is_ok()
    });
    if !both_up {
        return Err("not up".into());
    }
    lab.is_broken = false;
    lab.network.hostility.delay_ms = dice.next() % 300;
    lab.kill_permille = dice.next() % 200;
    let before = Tally::of(&lab).ended;
    let packets = live(&mut lab, &mut dice)?;
    let tally = Tally {
        packets,
        ..Tally::of(&lab)
    };
    if lab.is_broken || tally.ended > before {
        return Err(format!(
            "an IKE SA ended: {:?}",
            lab.hosts.each_ref().map(|host| &host.news)
        ));
    }
    lab.heal()?;
    Ok(tally)
}

/// Tells a story of every seed, on all cores.
fn tell(story: fn(u64) -> Result<Tally, String>) -> Tally {
    let seeds = seeds();
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let told: Vec<(u64, Result<Tally, String>)> = std::thread::scope(|scope| {
        let part = |thread: u64| {
            let mine = seeds.iter().copied().filter(move |seed| seed % threads == thread);
            move || -> Vec<_> {
                let one = |seed| std::panic::catch_unwind(|| story(seed)).unwrap_or_else(|_| Err("panicked".into()));
                mine.map(|seed| (seed, one(seed))).collect()
            }
        };
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(part(thread))).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let mut tally = Tally::default();
    let mut failed = Vec::new();
    for (seed, told) in told {
        match told {
            Ok(one) => tally = tally.add(one),
            Err(why) => failed.push((seed, why)),
        }
    }
    println!("{tally:?}");
    let count = seeds.len();
    assert!(
        failed.is_empty(),
        "{} of {count} stories: {:?}",
        failed.len(),
        &failed[..failed.len().min(5)]
    );
    tally
}

#[test]
fn every_story_ends_with_one_set_of_sas() {
    let tally = tell(story);
    let often = tally.stories;
    assert!(
        tally.kills > often && tally.ike_rekeyed > 5 * often && tally.children_rekeyed > 5 * often,
        "the stories are about nothing: {tally:?}"
    );
    assert!(tally.packets > 50 * often && tally.ended > 0, "{tally:?}");
}

#[test]
fn processes_that_are_killed_lose_nothing() {
    let tally = tell(story_of_kills);
    assert!(
        tally.kills > 10 * tally.stories && tally.packets > 100 * tally.stories,
        "{tally:?}"
    );
}

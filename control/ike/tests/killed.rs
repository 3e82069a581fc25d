//! A process is killed once: before or after each commit, each publication and each datagram of each exchange, one point after the other, while
//! the peer replaces SAs, too. No packet is lost, the peer notices nothing, and both sides end with the same SAs.

mod lab;

use lab::network::Hostility;
use lab::{Lab, connection, hybrid};
use tombolo_ike::What;
use tombolo_ike::endpoint::Command;

/// What is going on while the process is killed.
#[derive(Clone, Copy, Debug)]
struct Scene {
    is_hybrid: bool,
    workers: u16,
    /// What each side is told at once, the second one so many milliseconds later.
    commands: [Option<Command>; 2],
    later: u64,
}

fn begun(scene: Scene) -> Lab {
    let connections = [0, 1].map(|side| {
        let mut connection = connection(side);
        if scene.is_hybrid {
            connection = hybrid(connection);
        }
        connection.per_worker_children = scene.workers;
        vec![connection]
    });
    let hostility = Hostility {
        delay_ms: 4,
        ..Hostility::default()
    };
    Lab::new(11, connections, hostility)
}

/// Plays the scene with a kill at that point; how many points there are.
fn play(scene: Scene, kill_at: Option<u64>) -> u64 {
    let mut lab = begun(scene);
    lab.run(lab.now + 15_000);
    lab.is_single().unwrap();
    let established = |lab: &Lab| {
        let news = lab.hosts.iter().flat_map(|host| &host.news);
        news.filter(|news| matches!(news.what, What::Established { .. } | What::Ended { .. }))
            .count()
    };
    let before = established(&lab);
    (lab.points, lab.kill_at) = (0, kill_at);
    if let Some(command) = scene.commands[0] {
        lab.command(0, command);
    }
    lab.run(lab.now + scene.later);
    if let Some(command) = scene.commands[1] {
        lab.command(1, command);
    }
    for _ in 0..60 {
        for side in 0..2 {
            assert_eq!(
                lab.packet(side),
                Some(true),
                "{scene:?}, killed at {kill_at:?}: a packet of side {side}"
            );
        }
        lab.run(lab.now + 2);
    }
    let points = lab.points;
    // Leftovers that the other side should have deleted.
    lab.run(lab.now + 200_000);
    lab.is_single()
        .unwrap_or_else(|why| panic!("{scene:?}, killed at {kill_at:?}: {why}"));
    assert_eq!(
        established(&lab),
        before,
        "{scene:?}, killed at {kill_at:?}: nothing began anew"
    );
    points
}

fn at_every_point(scene: Scene) -> u64 {
    let points = play(scene, None);
    for point in 1..=points {
        play(scene, Some(point));
    }
    points
}

const REKEYS: [Option<Command>; 4] = [
    None,
    Some(Command::RekeyChildren),
    Some(Command::RekeyIke),
    Some(Command::Rekey),
];

fn every_pair_of_commands(is_hybrid: bool) {
    let mut points = 0;
    for ours in REKEYS {
        for theirs in REKEYS {
            for later in [0, 3, 6] {
                let scene = Scene {
                    is_hybrid,
                    workers: 0,
                    commands: [ours, theirs],
                    later,
                };
                if ours.is_some() || theirs.is_some() {
                    points += at_every_point(scene);
                }
            }
        }
    }
    assert!(points > 1000, "{points}");
}

#[test]
fn while_sas_are_replaced() {
    every_pair_of_commands(false);
}

#[test]
fn while_sas_are_replaced_with_additional_key_exchanges() {
    every_pair_of_commands(true);
}

#[test]
fn while_sas_of_single_workers_are_replaced() {
    for commands in [[REKEYS[1], None], [REKEYS[3], REKEYS[1]], [REKEYS[2], REKEYS[1]]] {
        let scene = Scene {
            is_hybrid: false,
            workers: 2,
            commands,
            later: 1,
        };
        at_every_point(scene);
    }
}

/// The handshake: whoever is killed, wherever, the tunnel comes up.
#[test]
fn while_the_first_sas_are_made() {
    for (is_hybrid, workers) in [(false, 0), (true, 0), (false, 2)] {
        let scene = Scene {
            is_hybrid,
            workers,
            commands: [None, None],
            later: 0,
        };
        let up = |kill_at: Option<u64>| {
            let mut lab = begun(scene);
            lab.kill_at = kill_at;
            lab.run(lab.now + 5000);
            let points = lab.points;
            lab.run(lab.now + 300_000);
            lab.is_single()
                .unwrap_or_else(|why| panic!("{scene:?}, killed at {kill_at:?}: {why}"));
            points
        };
        for point in 1..=up(None) {
            up(Some(point));
        }
    }
}

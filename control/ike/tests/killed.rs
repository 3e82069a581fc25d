//! A process is killed once: before or after each commit, each publication and each datagram of each exchange, one point after the other, while
//! the peer replaces SAs, too. No packet is lost, the peer notices nothing, and both sides end with the same SAs.

mod lab;

use lab::network::Hostility;
use lab::{Lab, hybrid};
use tombolo_ike::What;
use tombolo_ike::connection;
use tombolo_ike::endpoint::Command;
use tombolo_ike::secret::Secret;
use tombolo_ike::transform::Group;

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
        let mut connection = lab::connection(side);
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

/// What a handshake may need beyond the usual.
#[derive(Clone, Copy, Debug)]
enum Handshake {
    Usual,
    AdditionalKeyExchange,
    PerWorker,
    Cookie,
    OtherGroup,
    CookieAndOtherGroup,
    Fragments,
    Ppk,
    BothBegin,
}

use Handshake::{
    AdditionalKeyExchange, BothBegin, Cookie, CookieAndOtherGroup, Fragments, OtherGroup, PerWorker, Ppk, Usual,
};

const HANDSHAKES: [Handshake; 9] = [
    Usual,
    AdditionalKeyExchange,
    PerWorker,
    Cookie,
    OtherGroup,
    CookieAndOtherGroup,
    Fragments,
    Ppk,
    BothBegin,
];

fn first_sas(handshake: Handshake) -> Lab {
    let connections = [0, 1].map(|side| {
        let mut connection = lab::connection(side);
        match handshake {
            Usual | Cookie => {}
            AdditionalKeyExchange => connection = hybrid(connection),
            PerWorker => connection.per_worker_children = 2,
            OtherGroup | CookieAndOtherGroup if side == 0 => {
                connection.ike_proposals[0].groups = vec![Group::Ecp256, Group::Curve25519];
            }
            OtherGroup | CookieAndOtherGroup => {}
            Fragments => connection.fragment_bytes = 200,
            Ppk => {
                connection.ppk = Some(connection::Ppk {
                    id: b"one".to_vec(),
                    key: Secret::new(vec![7; 32]),
                    required: true,
                });
            }
            BothBegin => connection.initiate = true,
        }
        vec![connection]
    });
    let hostility = Hostility {
        delay_ms: 4,
        ..Hostility::default()
    };
    let mut lab = Lab::new(11, connections, hostility);
    if matches!(handshake, Cookie | CookieAndOtherGroup) {
        lab.hosts[1].limits.cookies_from = 0;
        lab.kill(1);
    }
    lab
}

/// The handshake: whoever is killed, wherever, the tunnel comes up.
#[test]
fn while_the_first_sas_are_made() {
    for handshake in HANDSHAKES {
        let up = |kill_at: Option<u64>| {
            let mut lab = first_sas(handshake);
            lab.kill_at = kill_at.map(|point| lab.points + point);
            let before = lab.points;
            lab.run(lab.now + 5000);
            let points = lab.points - before;
            lab.run(lab.now + 300_000);
            lab.is_single()
                .unwrap_or_else(|why| panic!("{handshake:?}, killed at {kill_at:?}: {why}"));
            (points, lab.hosts[1].endpoint.dropped().cookies)
        };
        let (points, cookies) = up(None);
        let asks = matches!(handshake, Cookie | CookieAndOtherGroup);
        assert_eq!(cookies > 0, asks, "{handshake:?}");
        for point in 1..=points {
            up(Some(point));
        }
    }
}

/// An order that was obeyed before the process was killed is obeyed after it, and the peer hears of it.
#[test]
fn while_a_tunnel_is_taken_down() {
    let play = |side: usize, kill_at: Option<u64>| {
        let mut lab = first_sas(Usual);
        lab.run(lab.now + 15_000);
        lab.is_single().unwrap();
        (lab.points, lab.kill_at) = (0, kill_at);
        lab.command(side, Command::Down);
        let points = lab.points;
        lab.run(lab.now + 40_000);
        let is_down = |lab: &Lab| lab.hosts[side].endpoint.tunnels().next().unwrap().is_down;
        if !is_down(&lab) {
            // Killed before it could be stored: the operator was not told that it was done.
            assert_eq!(kill_at, Some(1));
            lab.command(side, Command::Down);
            lab.run(lab.now + 40_000);
        }
        assert!(
            is_down(&lab) && lab.hosts.iter().all(|host| host.installed.is_empty()),
            "killed at {kill_at:?}"
        );
        lab.command(side, Command::Up);
        lab.run(lab.now + 300_000);
        lab.is_single()
            .unwrap_or_else(|why| panic!("killed at {kill_at:?}: {why}"));
        points
    };
    for side in 0..2 {
        for point in 1..=play(side, None) {
            play(side, Some(point));
        }
    }
}

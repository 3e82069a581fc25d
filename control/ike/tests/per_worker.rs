//! Child SAs for single workers (RFC 9611).

mod lab;

use lab::network::Hostility;
use lab::{Installed, Lab, connection, hybrid};
use tombolo_ike::connection::Connection;
use tombolo_ike::endpoint::Command;
use tombolo_ike::{What, Workers};

fn begun(workers: [u16; 2], change: fn(Connection) -> Connection) -> Lab {
    let connections = [0, 1].map(|side| {
        let mut connection = change(connection(side));
        connection.per_worker_children = workers[side];
        vec![connection]
    });
    let hostility = Hostility {
        delay_ms: 5,
        ..Hostility::default()
    };
    let mut lab = Lab::new(7, connections, hostility);
    lab.run(lab.now + 30_000);
    lab
}

fn up(workers: [u16; 2], change: fn(Connection) -> Connection) -> Lab {
    let lab = begun(workers, change);
    lab.is_single().unwrap();
    lab
}

fn same(connection: Connection) -> Connection {
    connection
}

/// Who seals on this side, in order, and how many SAs nobody seals with.
fn seats(lab: &Lab, side: usize) -> (Vec<Option<u16>>, usize) {
    let installed = &lab.hosts[side].installed;
    let seat = |sa: &Installed| match sa.workers {
        Workers::All => Some(None),
        Workers::Only(worker) => Some(Some(worker)),
        Workers::Spare(_) => None,
    };
    let mut seats: Vec<_> = installed.iter().filter(|sa| sa.sends).filter_map(seat).collect();
    seats.sort_unstable();
    (seats, installed.iter().filter(|sa| !sa.sends).count())
}

#[test]
fn each_worker_of_both_sides_has_one_and_there_is_one_for_all() {
    for (workers, sas) in [([2, 2], 3), ([3, 2], 4), ([2, 5], 6)] {
        for change in [same as fn(_) -> _, hybrid] {
            let lab = up(workers, change);
            for side in 0..2 {
                let (seats, spare) = seats(&lab, side);
                let own = (0..workers[side]).map(Some);
                assert_eq!(
                    seats,
                    core::iter::once(None).chain(own).collect::<Vec<_>>(),
                    "{workers:?}"
                );
                assert_eq!(spare, sas - 1 - usize::from(workers[side]), "{workers:?}, side {side}");
            }
            let ups = lab.hosts.iter().map(|host| {
                let is_up = |news: &&tombolo_ike::News| matches!(news.what, What::ChildUp { .. });
                host.news.iter().filter(is_up).count()
            });
            assert_eq!(ups.collect::<Vec<_>>(), [1, 1], "operators hear of one child");
        }
    }
}

#[test]
fn workers_of_one_number_share_an_sa() {
    let lab = up([2, 2], same);
    let [a, b] = &lab.hosts;
    for x in &a.installed {
        let y = b.installed.iter().find(|y| y.inbound == x.outbound).unwrap();
        assert_eq!(x.workers, y.workers, "the number is a hint, and both have that worker");
    }
}

#[test]
fn a_side_that_has_one_worker_gets_one_sa() {
    for workers in [[4, 1], [0, 4], [1, 1]] {
        let lab = up(workers, same);
        assert_eq!(
            (lab.hosts[0].installed.len(), lab.hosts[1].installed.len()),
            (1, 1),
            "{workers:?}"
        );
    }
}

#[test]
fn all_are_replaced_each_by_one_for_the_same_worker_and_no_packet_is_lost() {
    for side in 0..2 {
        for command in [Command::RekeyChildren, Command::RekeyIke, Command::Rekey] {
            let mut lab = up([2, 3], same);
            let before: Vec<u32> = lab.hosts[0].installed.iter().map(|sa| sa.inbound).collect();
            lab.command(side, command);
            for _ in 0..400 {
                lab.run(lab.now + 1);
                for side in 0..2 {
                    assert_eq!(lab.packet(side), Some(true));
                }
            }
            lab.run(lab.now + 70_000);
            lab.is_single().unwrap();
            let kept = lab.hosts[0]
                .installed
                .iter()
                .filter(|sa| before.contains(&sa.inbound))
                .count();
            assert_eq!(kept, if command == Command::RekeyIke { before.len() } else { 0 });
        }
    }
}

#[test]
fn what_a_restarted_process_knows_is_the_same() {
    let mut lab = up([2, 2], same);
    let before = lab.hosts[0].installed.clone();
    lab.kill(0);
    lab.kill(1);
    lab.run(lab.now + 5000);
    lab.is_single().unwrap();
    assert_eq!(lab.hosts[0].installed, before);
}

/// A peer that has no end of resources.
#[test]
fn a_peer_gets_no_more_than_enough_and_stops_asking() {
    let mut lab = begun([200, 2], same);
    let count = lab.hosts[1].installed.len();
    assert_eq!(count, 1 + 64);
    let sent = lab.network.sent;
    lab.run(lab.now + 100_000);
    // Signs of life, and no further requests.
    assert!(lab.network.sent - sent < 60, "{}", lab.network.sent - sent);
}

//! Two gateways on a good network: every kind of exchange once.

mod lab;

use lab::network::Hostility;
use lab::{Lab, connection, short_lived};
use tombolo_ike::endpoint::Command;
use tombolo_ike::transform::Group;

fn quiet() -> Hostility {
    Hostility {
        delay_ms: 5,
        ..Hostility::default()
    }
}

#[test]
fn an_initiator_and_a_responder_come_up_with_the_same_keys() {
    let mut lab = Lab::new(1, [vec![connection(0)], vec![connection(1)]], quiet());
    lab.run(lab.now + 1000);
    lab.is_single().unwrap();
    assert_eq!(lab.network.sent, 4, "two exchanges");
}

#[test]
fn both_may_begin_at_once() {
    for seed in 0..50 {
        let mut both = connection(1);
        both.initiate = true;
        let mut lab = Lab::new(seed, [vec![connection(0)], vec![both]], quiet());
        lab.run(lab.now + 60_000);
        lab.is_single().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

#[test]
fn operators_may_rekey_delete_and_begin_again() {
    let mut lab = Lab::new(2, [vec![connection(0)], vec![connection(1)]], quiet());
    lab.run(lab.now + 1000);
    let first = lab.hosts[0].endpoint.ike_spis();
    for side in [0, 1, 0] {
        lab.command(side, Command::Rekey);
        lab.run(lab.now + 60_000);
        lab.is_single().unwrap();
    }
    assert_ne!(lab.hosts[0].endpoint.ike_spis(), first);
    lab.command(1, Command::Down);
    lab.run(lab.now + 500);
    assert!(lab.hosts[1].installed.is_empty(), "{:?}", lab.hosts[1].installed);
    lab.command(1, Command::Up);
    lab.run(lab.now + 120_000);
    lab.is_single().unwrap();
}

#[test]
fn rekeying_loses_no_packet() {
    for seed in 0..40 {
        let connections = [vec![short_lived(0, 30_000, 9_000)], vec![short_lived(1, 34_000, 8_000)]];
        let mut lab = Lab::new(seed, connections, quiet());
        lab.run(lab.now + 1000);
        lab.is_single().unwrap();
        for _ in 0..12_000 {
            lab.run(lab.now + 10);
            for side in 0..2 {
                assert_eq!(lab.packet(side), Some(true), "seed {seed} at {} ms", lab.now);
            }
        }
    }
}

#[test]
fn ml_kem_is_mixed_in_by_ike_intermediate() {
    let hybrid = |side| {
        let mut connection = connection(side);
        connection.ike_proposals[0].additional = vec![vec![Some(Group::MlKem768)]];
        connection
    };
    let mut lab = Lab::new(3, [vec![hybrid(0)], vec![hybrid(1)]], quiet());
    lab.run(lab.now + 1000);
    lab.is_single().unwrap();
    let suite = lab.hosts[0].endpoint.tunnels().next().unwrap().suite.unwrap().clone();
    assert_eq!(suite.additional, [Group::MlKem768]);
    lab.command(0, Command::Rekey);
    lab.run(lab.now + 60_000);
    lab.is_single().unwrap();
}

#[test]
fn a_dead_peer_is_noticed_and_taken_back() {
    let mut lab = Lab::new(4, [vec![connection(0)], vec![connection(1)]], quiet());
    lab.run(lab.now + 1000);
    lab.network.hostility.loss = 1000;
    lab.run(lab.now + 45_000);
    assert!(
        lab.hosts[0].installed.is_empty(),
        "after 10 s of silence and 30 s without answer"
    );
    lab.network.hostility.loss = 0;
    lab.run(lab.now + 120_000);
    lab.is_single().unwrap();
}

#[test]
fn another_group_is_taken_when_the_responder_asks_for_it() {
    let mut first = connection(0);
    first.ike_proposals[0].groups = vec![Group::Ecp256, Group::Curve25519];
    first.children[0].proposals[0].groups = vec![Some(Group::Ecp256), Some(Group::Curve25519)];
    let mut second = connection(1);
    second.children[0].proposals[0].groups = vec![Some(Group::Curve25519)];
    let mut lab = Lab::new(5, [vec![first], vec![second]], quiet());
    lab.run(lab.now + 1000);
    lab.is_single().unwrap();
    lab.command(0, Command::Rekey);
    lab.run(lab.now + 60_000);
    lab.is_single().unwrap();
}

#[test]
fn without_a_nat_both_sides_know_that_there_is_none() {
    let mut lab = Lab::new(6, [vec![connection(0)], vec![connection(1)]], quiet());
    lab.run(lab.now + 1000);
    for host in &lab.hosts {
        let nat = host.endpoint.tunnels().next().unwrap().nat.unwrap();
        assert!(!nat.any(), "{nat:?}");
        let child = host.endpoint.children().next().unwrap();
        assert!(!child.udp, "ESP straight in IP");
        assert_eq!(child.path.local.port(), 500);
    }
}

#[test]
fn encapsulation_may_be_forced_by_one_side() {
    let mut forced = connection(0);
    forced.force_udp = true;
    let mut lab = Lab::new(7, [vec![forced], vec![connection(1)]], quiet());
    lab.run(lab.now + 1000);
    lab.is_single().unwrap();
    for host in &lab.hosts {
        let child = host.endpoint.children().next().unwrap();
        assert!(child.udp, "both encapsulate");
        assert_eq!(child.path.local.port(), 4500);
    }
}

#[test]
fn an_answer_to_ike_intermediate_may_be_lost() {
    let hybrid = |side| {
        let mut connection = connection(side);
        connection.ike_proposals[0].additional = vec![vec![Some(Group::MlKem768)]];
        connection
    };
    for seed in 0..30 {
        let mut lab = Lab::new(seed, [vec![hybrid(0)], vec![hybrid(1)]], quiet());
        // The third datagram is the request, the fourth its answer.
        lab.run_until_sent(4);
        lab.network.lose_all();
        lab.run(lab.now + 10_000);
        lab.is_single().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        assert_eq!(
            lab.hosts[0]
                .endpoint
                .tunnels()
                .next()
                .unwrap()
                .suite
                .unwrap()
                .additional
                .len(),
            1
        );
    }
}

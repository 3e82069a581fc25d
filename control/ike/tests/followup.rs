//! Additional key exchanges when SAs are replaced (RFC 9370 §2.2.4): CREATE_CHILD_SA, then IKE_FOLLOWUP_KE.

mod lab;

use lab::network::Hostility;
use lab::{Lab, connection, hybrid};
use tombolo_ike::What;
use tombolo_ike::endpoint::Command;
use tombolo_ike::failure::Failure;
use tombolo_ike::wire::{Exchange, Notify, Payload, notify};

const IKE_FOLLOWUP_KE: u8 = 44;
const CREATE_CHILD_SA: u8 = 36;

fn up(seed: u64) -> Lab {
    let hostility = Hostility {
        delay_ms: 5,
        ..Hostility::default()
    };
    let connections = [0, 1].map(|side| vec![hybrid(connection(side))]);
    let mut lab = Lab::new(seed, connections, hostility);
    lab.run(lab.now + 1000);
    lab.is_single().unwrap();
    lab
}

/// Kinds of the exchanges of the requests that `side` sends within a second, in order.
fn requests(lab: &mut Lab, side: usize) -> Vec<u8> {
    let mut seen = lab.network.requests_from(lab::address(side));
    for _ in 0..1000 {
        let before = lab.network.sent;
        lab.run(lab.now + 1);
        if lab.network.sent > before {
            seen.extend(lab.network.requests_from(lab::address(side)));
        }
    }
    seen.dedup();
    seen
}

#[test]
fn a_child_is_replaced_with_both_key_exchanges() {
    for side in 0..2 {
        let mut lab = up(1);
        let before = lab.hosts[0].installed.clone();
        lab.command(side, Command::RekeyChildren);
        let sent = requests(&mut lab, side);
        assert_eq!(sent[..2], [CREATE_CHILD_SA, IKE_FOLLOWUP_KE], "{sent:?}");
        lab.run(lab.now + 70_000);
        lab.is_single().unwrap();
        assert_ne!(lab.hosts[0].installed, before);
        let suite = &lab.hosts[side].endpoint.children().next().unwrap().child.suite;
        assert_eq!(suite.additional.len(), 1, "ML-KEM took part");
    }
}

#[test]
fn an_ike_sa_is_replaced_with_both_key_exchanges() {
    for side in 0..2 {
        let mut lab = up(2);
        let before = lab.hosts[0].endpoint.ike_spis();
        lab.command(side, Command::RekeyIke);
        let sent = requests(&mut lab, side);
        assert_eq!(sent[..2], [CREATE_CHILD_SA, IKE_FOLLOWUP_KE], "{sent:?}");
        lab.run(lab.now + 70_000);
        lab.is_single().unwrap();
        assert_ne!(lab.hosts[0].endpoint.ike_spis(), before);
        let suite = lab.hosts[side].endpoint.tunnels().next().unwrap().suite.unwrap();
        assert_eq!(suite.additional.len(), 1, "ML-KEM took part");
    }
}

#[test]
fn both_may_replace_the_same_at_once() {
    for seed in 0..60 {
        for command in [Command::RekeyIke, Command::RekeyChildren, Command::Rekey] {
            let mut lab = up(seed);
            lab.network.hostility.delay_ms = 3 * (seed % 20);
            lab.command(0, command);
            lab.run(lab.now + seed % 13);
            lab.command(1, command);
            for _ in 0..100 {
                lab.run(lab.now + 10);
                for side in 0..2 {
                    assert_eq!(lab.would_arrive(side), Some(true), "seed {seed}, {command:?}");
                }
            }
            lab.run(lab.now + 260_000);
            lab.is_single()
                .unwrap_or_else(|why| panic!("seed {seed}, {command:?}: {why}"));
            let broken = |host: &lab::Host| host.news.iter().any(|news| matches!(news.what, What::Ended { .. }));
            assert!(!lab.hosts.iter().any(broken), "seed {seed}, {command:?}");
        }
    }
}

#[test]
fn the_last_answer_may_be_lost() {
    for command in [Command::RekeyIke, Command::RekeyChildren] {
        for lost in 1..=4 {
            let mut lab = up(3);
            let sent = lab.network.sent;
            lab.command(0, command);
            lab.run_until_sent(sent + lost);
            lab.network.lose_all();
            lab.run(lab.now + 200_000);
            lab.is_single()
                .unwrap_or_else(|why| panic!("{command:?}, {lost}: {why}"));
        }
    }
}

/// A peer that does not know any more what IKE_FOLLOWUP_KE is about (STATE_NOT_FOUND): it came too late.
#[test]
fn what_the_peer_has_forgotten_is_tried_again() {
    for command in [Command::RekeyIke, Command::RekeyChildren] {
        let mut lab = up(4);
        let before = (lab.hosts[0].endpoint.ike_spis(), lab.hosts[0].installed.clone());
        let sent = lab.network.sent;
        lab.command(0, command);
        // Request, answer, IKE_FOLLOWUP_KE: held back for longer than the responder keeps what it continues. Nobody is silent long
        // enough to be dead.
        lab.run_until_sent(sent + 3);
        assert!(!lab.network.take_all().is_empty());
        for host in &mut lab.hosts {
            host.connections[0].dpd_timeout_ms = 1_000_000;
        }
        for side in 0..2 {
            lab.configure(side);
        }
        lab.network.hostility.loss = 1000;
        lab.run(lab.now + 200_000);
        lab.network.hostility.loss = 0;
        lab.run(lab.now + 300_000);
        lab.is_single().unwrap_or_else(|why| panic!("{command:?}: {why}"));
        let after = (lab.hosts[0].endpoint.ike_spis(), lab.hosts[0].installed.clone());
        if command == Command::RekeyIke {
            assert_ne!(before.0, after.0);
        } else {
            assert_ne!(before.1, after.1);
        }
        let ended = |host: &lab::Host| host.news.iter().any(|news| matches!(news.what, What::Ended { .. }));
        assert!(!lab.hosts.iter().any(ended));
    }
}

/// The first gateway replaces its child SA, and hears that the peer has forgotten what it continues.
fn is_forgotten(lab: &mut Lab) {
    lab.command(0, Command::RekeyChildren);
    for _ in 0..10_000 {
        if lab.network.requests_from(lab::address(0)).contains(&IKE_FOLLOWUP_KE) {
            break;
        }
        lab.run(lab.now + 1);
    }
    let state_not_found = Notify::new(notify::STATE_NOT_FOUND, &[]);
    let said = vec![Payload::Notify(state_not_found)];
    lab.hears(0, &lab::forged(Exchange::IkeFollowupKe, true, said));
    lab.run(lab.now + 100);
}

/// RFC 9370 §2.2.4: a peer that forgets again and again is left.
#[test]
fn a_peer_that_forgets_five_times_in_a_row_is_left() {
    let ended = |lab: &Lab| {
        let mut news = lab.hosts[0].news.iter();
        news.any(|news| matches!(news.what, What::Ended { .. }))
    };
    let mut lab = up(6);
    for _ in 0..4 {
        is_forgotten(&mut lab);
    }
    // One that succeeds: the count begins anew.
    lab.run(lab.now + 20_000);
    for _ in 0..4 {
        is_forgotten(&mut lab);
    }
    assert!(!ended(&lab));
    is_forgotten(&mut lab);
    lab.run(lab.now + 1000);
    assert!(ended(&lab), "five in a row");
    lab.run(lab.now + 120_000);
    lab.is_single().unwrap();
}

#[test]
fn a_peer_that_goes_without_is_told_so() {
    let mut lab = up(5);
    // The second gateway is configured anew without ML-KEM in its child; its IKE SA stays.
    lab.hosts[1].connections[0].children[0].proposals[0].additional.clear();
    let now = lab.clock();
    lab.hosts[1].restart(now);
    lab.settle(1);
    lab.command(0, Command::RekeyChildren);
    lab.run(lab.now + 3000);
    let refused = lab.hosts[0].news.iter().any(|news| {
        matches!(&news.what, What::ChildFailed { why: Failure::Refused { notify, .. }, .. } if *notify == notify::NO_PROPOSAL_CHOSEN)
    });
    assert!(refused, "{:?}", lab.hosts[0].news);
    assert_eq!(lab.packet(0), Some(true), "the old one serves on");
}

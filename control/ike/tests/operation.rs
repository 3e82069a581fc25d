//! What operators do and see: tunnels removed, restarts, refusals in words, what an idle SA costs.

mod lab;

use lab::network::Hostility;
use lab::{Lab, connection};
use std::collections::BTreeSet;
use tombolo_ike::What;
use tombolo_ike::connection::{Connection, PeerProof};
use tombolo_ike::endpoint::Command;
use tombolo_ike::identity::Identity;
use tombolo_ike::secret::Secret;
use tombolo_ike::transform::{Encryption, Group};

fn quiet() -> Hostility {
    Hostility {
        delay_ms: 5,
        ..Hostility::default()
    }
}

fn up(first: Connection, second: Connection) -> Lab {
    let mut lab = Lab::new(1, [vec![first], vec![second]], quiet());
    lab.run(lab.now + 3000);
    lab
}

/// Why IKE SAs of this side ended, as the log says it.
fn ends(lab: &Lab, side: usize) -> Vec<String> {
    let news = lab.hosts[side].news.iter();
    news.filter_map(|news| match &news.what {
        What::Ended { why } => Some(why.to_string()),
        What::Established { .. }
        | What::IkeRekeyed
        | What::RekeyFailed { .. }
        | What::ChildUp { .. }
        | What::ChildRekeyed { .. }
        | What::ChildFailed { .. }
        | What::Moved { .. } => None,
    })
    .collect()
}

#[test]
fn a_tunnel_that_is_removed_says_goodbye() {
    let mut lab = up(connection(0), connection(1));
    lab.is_single().unwrap();
    let now = lab.clock();
    lab.hosts[1].endpoint.configure(now, Vec::<Connection>::new());
    lab.settle(1);
    lab.run(lab.now + 100);
    assert!(lab.hosts.iter().all(|host| host.endpoint.ike_spis().is_empty()));
    assert_eq!(ends(&lab, 0), ["the peer closed it"]);
}

#[test]
fn a_tunnel_that_is_removed_while_the_process_is_down_says_goodbye_too() {
    let mut lab = up(connection(0), connection(1));
    lab.is_single().unwrap();
    lab.hosts[1].connections.clear();
    let now = lab.clock();
    lab.hosts[1].restart(now);
    lab.settle(1);
    lab.run(lab.now + 100);
    assert!(lab.hosts.iter().all(|host| host.endpoint.ike_spis().is_empty()));
    assert!(lab.hosts[1].installed.is_empty() && lab.hosts[1].store.is_empty());
}

#[test]
fn a_responder_for_any_peer_waits_when_its_peer_is_gone() {
    let mut any = connection(1);
    (any.remote, any.initiate) = (None, false);
    let mut lab = up(connection(0), any);
    lab.is_single().unwrap();
    lab.network.hostility.loss = 1000;
    lab.run(lab.now + 60_000);
    assert!(lab.hosts[1].installed.is_empty());
    let next = lab.hosts[1].endpoint.poll_timeout();
    assert!(
        next.is_none_or(|at| at.0 > lab.now),
        "nothing to do until the peer comes"
    );
    lab.network.hostility.loss = 0;
    lab.run(lab.now + 120_000);
    lab.is_single().unwrap();
}

#[test]
fn an_idle_ike_sa_is_small() {
    let lab = up(connection(0), connection(1));
    for host in &lab.hosts {
        let bytes: usize = host.store.values().map(Vec::len).sum();
        assert!((300..4096).contains(&bytes), "{bytes} bytes");
    }
}

#[test]
fn refusals_are_told_in_words() {
    let told = |change: fn(&mut Connection)| {
        let mut second = connection(1);
        change(&mut second);
        let lab = up(connection(0), second);
        assert!(lab.hosts.iter().all(|host| host.installed.is_empty()));
        [ends(&lab, 0), ends(&lab, 1)].map(|ends| ends.first().cloned().unwrap_or_default())
    };
    let [_, wrong_key] =
        told(|c| c.peer.proof = PeerProof::Psk(Secret::new(b"another pre-shared key of twenty bytes".to_vec())));
    assert!(wrong_key.contains("pre-shared key"), "{wrong_key}");
    let [_, wrong_identity] = told(|c| c.peer.identity = Some(Identity::Name("b.example".into())));
    assert!(
        wrong_identity.contains("192.0.2.1") && wrong_identity.contains("b.example"),
        "{wrong_identity}"
    );
    let [refused, nothing_in_common] = told(|c| {
        c.ike_proposals[0].encryption = vec![Encryption::AesGcm16(128)];
        c.ike_proposals[0].groups = vec![Group::Ecp256];
    });
    assert!(refused.contains("offered"), "{refused}");
    assert!(
        nothing_in_common.contains("128") && nothing_in_common.contains("256"),
        "{nothing_in_common}"
    );
}

#[test]
fn a_tunnel_whose_secret_cannot_be_read_for_a_moment_keeps_its_ike_sa() {
    let mut lab = up(connection(0), connection(1));
    let before = lab.hosts[1].endpoint.ike_spis();
    let (now, connections) = (lab.clock(), lab.hosts[1].connections.clone());
    let endpoint = &mut lab.hosts[1].endpoint;
    endpoint.set_unready(["t".to_owned()].into());
    endpoint.configure(now, Vec::<Connection>::new());
    lab.settle(1);
    lab.run(lab.now + 1000);
    lab.is_single().unwrap();
    let now = lab.clock();
    lab.hosts[1].endpoint.set_unready(Default::default());
    lab.hosts[1].endpoint.configure(now, connections);
    lab.settle(1);
    lab.run(lab.now + 1000);
    lab.is_single().unwrap();
    assert_eq!(lab.hosts[1].endpoint.ike_spis(), before);
}

#[test]
fn what_could_not_be_stored_is_in_the_next_commit() {
    let mut lab = up(connection(0), connection(1));
    let now = lab.clock();
    let endpoint = &mut lab.hosts[0].endpoint;
    assert!(endpoint.command(now, "t", tombolo_ike::endpoint::Command::RekeyIke));
    let failed = endpoint.take_commit().unwrap();
    assert!(!failed.put.is_empty());
    endpoint.uncommitted(&failed);
    let again = endpoint.take_commit().unwrap();
    let ids = |commit: &tombolo_ike::endpoint::Commit| commit.put.iter().map(|record| record.id).collect::<Vec<_>>();
    assert_eq!(ids(&again), ids(&failed));
    assert!(endpoint.take_commit().is_none());
}

#[test]
fn an_answer_from_elsewhere_moves_no_tunnel() {
    let mut lab = Lab::new(3, [vec![connection(0)], vec![connection(1)]], quiet());
    lab.run_until_sent(4);
    let answers = lab.network.take_all();
    let [(path, answer)] = answers.as_slice() else {
        panic!("{} datagrams are under way", answers.len());
    };
    let mut seen = lab::seen_from_there(*path);
    seen.remote = "203.0.113.66:500".parse().unwrap();
    let now = lab.clock();
    lab.hosts[0].endpoint.handle_datagram(now, seen, answer);
    lab.settle(0);
    let child = lab.hosts[0]
        .endpoint
        .children()
        .next()
        .expect("the answer is authentic");
    assert_eq!(child.path.remote.ip(), lab::address(1));
}

#[test]
fn a_record_of_another_format_is_refused() {
    let lab = up(connection(0), connection(1));
    let (id, mut bytes) = lab.hosts[0]
        .store
        .iter()
        .next()
        .map(|(id, bytes)| (*id, bytes.clone()))
        .unwrap();
    bytes[0] ^= 0x80;
    let mut fresh = lab::Host::new(vec![connection(0)], 9);
    let errors = fresh.endpoint.restore(lab.clock(), [(id, bytes.into())]);
    assert_eq!(errors.len(), 1);
    assert!(fresh.endpoint.ike_spis().is_empty());
}

#[test]
fn a_tunnel_that_is_taken_down_while_its_ike_sa_is_replaced_stays_down() {
    for first in 0..2 {
        for form in [|c| c, lab::hybrid] {
            let mut lab = up(form(connection(0)), form(connection(1)));
            lab.is_single().unwrap();
            lab.command(first, Command::RekeyIke);
            lab.command(1 - first, Command::RekeyIke);
            lab.command(0, Command::Down);
            lab.run(lab.now + 20_000);
            assert!(lab.hosts.iter().all(|host| host.installed.is_empty()));
        }
    }
}

/// What is sealed for a peer that is about to forget the keys would be lost: workers drop it, or take another tunnel of the bundle.
#[test]
fn a_tunnel_that_is_taken_down_seals_nothing_more() {
    for side in 0..2 {
        let mut lab = Lab::new(9, [0, 1].map(|side| vec![connection(side)]), Hostility::default());
        lab.network.hostility.delay_ms = 20;
        lab.run(lab.now + 2000);
        lab.is_single().unwrap();
        lab.command(side, Command::Down);
        assert_eq!(
            lab.packet(side),
            None,
            "nothing seals, and the Delete has yet to arrive"
        );
        assert_eq!(lab.packet(1 - side), Some(true), "what the peer has sealed is opened");
        lab.run(lab.now + 20_000);
        assert!(lab.hosts[side].installed.is_empty(), "whoever begins anew");
        lab.command(side, Command::Up);
        lab.run(lab.now + 120_000);
        lab.is_single().unwrap();
    }
}

#[test]
fn what_cannot_be_asked_for_is_not_asked_for_all_the_time() {
    // A second child with more ciphers than a proposal can hold: no message with it can be written.
    let mut too_much = connection(0).children.remove(0);
    too_much.name = "more".into();
    too_much.proposals[0].encryption = vec![Encryption::AesGcm16(256); 300];
    let with = |side| {
        let mut connection = connection(side);
        connection.children.push(too_much.clone());
        connection
    };
    let mut lab = up(with(0), with(1));
    lab.run(lab.now + 60_000);
    assert_eq!(lab.packet(0), Some(true), "the first one serves");
    // And one of which not even the first message can be written.
    let mut nothing = connection(0);
    nothing.ike_proposals[0].encryption = vec![Encryption::AesGcm16(256); 300];
    let mut lab = up(nothing, connection(1));
    lab.run(lab.now + 60_000);
    let told = ends(&lab, 0);
    assert!((3..20).contains(&told.len()), "{told:?}");
    assert!(told[0].contains("too large"), "{told:?}");
}

/// Whose an IKE SA is shows only in IKE_AUTH where two tunnels have the same addresses: the one that was taken down stays down.
#[test]
fn a_tunnel_that_is_down_is_not_reached_by_way_of_another() {
    let mut other = connection(1);
    other.name = "other".into();
    other.peer.identity = Some(Identity::Name("other.example".into()));
    let mut lab = Lab::new(
        4,
        [vec![connection(0)], vec![connection(1), other]],
        Hostility::default(),
    );
    lab.run(lab.now + 2000);
    assert_eq!(lab.packet(0), Some(true));
    lab.command(1, Command::Down);
    for _ in 0..600 {
        lab.run(lab.now + 100);
        assert_eq!(lab.packet(1), None, "nothing is sealed for it");
    }
    lab.command(1, Command::Up);
    lab.run(lab.now + 300_000);
    assert_eq!(lab.packet(1), Some(true));
}

#[test]
fn a_tunnel_that_is_down_stays_down_beyond_restarts() {
    for side in 0..2 {
        let mut lab = up(connection(0), connection(1));
        lab.command(side, Command::Down);
        lab.run(lab.now + 20_000);
        for _ in 0..3 {
            lab.kill(0);
            lab.kill(1);
            lab.settle(0);
            lab.settle(1);
            lab.run(lab.now + 100_000);
            assert!(lab.hosts[side].installed.is_empty());
        }
        assert_eq!(lab.hosts[side].endpoint.tunnels().next().unwrap().phase, "taken down");
        lab.command(side, Command::Up);
        lab.kill(side);
        lab.settle(side);
        lab.run(lab.now + 120_000);
        lab.is_single().unwrap();
    }
}

#[test]
fn a_tunnel_whose_secret_cannot_be_read_can_be_taken_down() {
    let mut lab = up(connection(0), connection(1));
    lab.is_single().unwrap();
    let unready = |lab: &mut Lab, is_unready: bool| {
        let (now, endpoint) = (lab.clock(), &mut lab.hosts[0].endpoint);
        endpoint.set_unready(is_unready.then(|| "t".to_owned()).into_iter().collect());
        let ready = if is_unready { Vec::new() } else { vec![connection(0)] };
        endpoint.configure(now, ready);
        lab.settle(0);
    };
    unready(&mut lab, true);
    lab.run(lab.now + 20_000);
    assert_eq!(lab.packet(0), Some(true), "it goes on");
    let now = lab.clock();
    assert!(!lab.hosts[0].endpoint.command(now, "t", Command::Up), "not now");
    lab.command(0, Command::Down);
    lab.run(lab.now + 20_000);
    assert!(lab.hosts.iter().all(|host| host.installed.is_empty()));
    assert_eq!(ends(&lab, 1), ["the peer closed it"]);
    unready(&mut lab, false);
    lab.run(lab.now + 60_000);
    assert!(lab.hosts[0].installed.is_empty(), "it stays down");
    lab.command(0, Command::Up);
    lab.run(lab.now + 60_000);
    lab.is_single().unwrap();
}

/// While its settings cannot be read a tunnel is served with those that it was negotiated with, even rekeyed; after a restart, when they are not known
/// at all, it goes on as it is.
#[test]
fn a_tunnel_whose_settings_cannot_be_read_goes_on() {
    let short = |side| {
        let mut connection = lab::short_lived(side, 3_600_000, 60_000);
        connection.force_udp = true;
        connection
    };
    let mut lab = up(short(0), short(1));
    lab.is_single().unwrap();
    let unready = |lab: &mut Lab| {
        let (now, endpoint) = (lab.clock(), &mut lab.hosts[0].endpoint);
        endpoint.set_unready(["t".to_owned()].into());
        endpoint.configure(now, Vec::<Connection>::new());
        lab.settle(0);
    };
    unready(&mut lab);
    let before = lab.hosts[0].installed[0].outbound;
    for _ in 0..200 {
        lab.run(lab.now + 1000);
        assert_eq!(lab.packet(0), Some(true));
    }
    assert_ne!(lab.hosts[0].installed[0].outbound, before, "rekeyed");
    // A restarted process has nothing but what was stored.
    let ready = core::mem::take(&mut lab.hosts[0].connections);
    let now = lab.clock();
    lab.hosts[0].restart_unready(now, "t");
    lab.settle(0);
    assert!(lab.hosts[0].installed.iter().all(|sa| sa.udp), "as it was negotiated");
    for _ in 0..50 {
        lab.run(lab.now + 1000);
        assert_eq!(lab.packet(0), Some(true));
    }
    // And when they are there again, nothing is begun anew.
    lab.hosts[0].endpoint.set_unready(BTreeSet::new());
    lab.hosts[0].connections = ready;
    lab.configure(0);
    lab.run(lab.now + 200_000);
    lab.is_single().unwrap();
    assert_eq!([ends(&lab, 0), ends(&lab, 1)], [Vec::<String>::new(), Vec::new()]);
}

#[test]
fn a_tunnel_that_fails_while_its_settings_cannot_be_read_is_begun_when_they_can() {
    let mut lab = up(connection(0), connection(1));
    let now = lab.clock();
    lab.hosts[0].endpoint.set_unready(["t".to_owned()].into());
    lab.hosts[0].endpoint.configure(now, Vec::<Connection>::new());
    lab.settle(0);
    lab.command(1, Command::Down);
    lab.run(lab.now + 10_000);
    assert!(lab.hosts.iter().all(|host| host.installed.is_empty()));
    lab.command(1, Command::Up);
    lab.run(lab.now + 60_000);
    assert!(lab.hosts[0].endpoint.ike_spis().is_empty(), "not before");
    lab.hosts[0].endpoint.set_unready(BTreeSet::new());
    lab.configure(0);
    lab.run(lab.now + 60_000);
    lab.is_single().unwrap();
}

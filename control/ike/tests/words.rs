//! Why a tunnel is not up, or not wholly, as its operator reads it; and that it goes when it is no longer so.

mod lab;

use core::net::SocketAddr;
use lab::network::Hostility;
use lab::{Lab, connection};
use tombolo_ike::connection::{Connection, Path};
use tombolo_ike::endpoint::Command;
use tombolo_ike::transform::{Encryption, Group};
use tombolo_ike::wire::{Exchange, Flags, Header, Message, Notify, Payload, notify};

const POLICY: &str = "for the other: set what is offered here";

fn lab(first: Connection, second: Connection) -> Lab {
    Lab::new(1, [vec![first], vec![second]], Hostility::default())
}

/// What `show tunnels` says of the side's tunnel.
fn failure(lab: &Lab, side: usize) -> String {
    let tunnel = lab.hosts[side].endpoint.tunnels().next().expect("a tunnel");
    tunnel.failure.unwrap_or_default()
}

fn assert_says(lab: &Lab, side: usize, parts: &[&str]) {
    let said = failure(lab, side);
    for part in parts {
        assert!(said.contains(part), "side {side} says: {said}");
    }
}

fn path(side: usize) -> Path {
    Path {
        local: SocketAddr::new(lab::address(side), 500),
        remote: SocketAddr::new(lab::address(1 - side), 500),
    }
}

/// `side` hears this from its peer.
fn hears(lab: &mut Lab, side: usize, bytes: &[u8]) {
    let now = lab.clock();
    lab.hosts[side].endpoint.handle_datagram(now, path(side), bytes);
    lab.settle(side);
}

#[test]
fn without_a_common_proposal_for_ike_both_name_the_policy() {
    let mut other = connection(1);
    other.ike_proposals[0].encryption = vec![Encryption::AesCbc(256)];
    let mut lab = lab(connection(0), other);
    lab.run(lab.now + 3000);
    assert_says(&lab, 0, &["accepts none of the proposals", POLICY]);
    assert_says(
        &lab,
        1,
        &["no common proposal for the IKE SA", "the other offers", POLICY],
    );
    // Set right: it goes.
    lab.hosts[1].connections = vec![connection(1)];
    lab.configure(1);
    lab.run(lab.now + 120_000);
    lab.is_single().unwrap();
    assert_eq!([failure(&lab, 0), failure(&lab, 1)], ["", ""]);
}

#[test]
fn without_a_common_proposal_for_esp_both_say_so_though_the_ike_sa_is_up() {
    let mut other = connection(1);
    other.children[0].proposals[0].encryption = vec![Encryption::ChaCha20Poly1305];
    let mut lab = lab(connection(0), other);
    lab.run(lab.now + 3000);
    assert_eq!(lab.hosts[0].endpoint.tunnels().next().unwrap().phase, "up, no child SA");
    assert_says(&lab, 0, &["child SA all: ", "accepts none of the proposals", POLICY]);
    assert_says(&lab, 1, &["child SA all: no common proposal for the child SA", POLICY]);
}

#[test]
fn a_child_sa_that_cannot_be_replaced_is_told_of_while_it_serves() {
    // The first child SA has no key exchange of its own: that the sides differ in PFS shows when it is replaced.
    let mut without = connection(1);
    without.children[0].proposals[0].groups = vec![None];
    let mut with = connection(0);
    with.children[0].proposals[0].groups = vec![Some(Group::Curve25519)];
    let mut lab = lab(with, without);
    lab.run(lab.now + 3000);
    lab.is_single().unwrap();
    assert_eq!([failure(&lab, 0), failure(&lab, 1)], ["", ""]);
    lab.command(0, Command::RekeyChildren);
    lab.run(lab.now + 1000);
    assert_says(&lab, 0, &["child SA all: ", POLICY]);
    assert_says(&lab, 1, &["child SA", "no common proposal for the child SA", POLICY]);
    assert_eq!(lab.packet(0), Some(true));
    // The other way round it fits: what is wanted here is what the peer can.
    lab.hosts[0].connections[0].children[0].proposals[0].groups = vec![None];
    let now = lab.clock();
    lab.hosts[0].restart(now);
    lab.settle(0);
    lab.command(1, Command::RekeyChildren);
    lab.run(lab.now + 1000);
    assert_eq!([failure(&lab, 0), failure(&lab, 1)], ["", ""]);
}

#[test]
fn an_ike_sa_that_cannot_be_replaced_is_told_of_while_it_serves() {
    let mut lab = lab(connection(0), connection(1));
    lab.run(lab.now + 3000);
    lab.command(0, Command::RekeyIke);
    let refused = Notify::new(notify::NO_PROPOSAL_CHOSEN, &[]);
    let said = vec![Payload::Notify(refused)];
    lab.hears(0, &lab::forged(Exchange::CreateChildSa, true, said));
    assert_says(&lab, 0, &["accepts none of the proposals", POLICY]);
    // The peer said nothing of the kind, and both find together again.
    lab.run(lab.now + 300_000);
    lab.is_single().unwrap();
    assert_eq!(failure(&lab, 0), "");
}

/// An answer to a first message, without keys.
fn answer(request: &[u8], said: Notify) -> Vec<u8> {
    let request = Header::parse(request).unwrap();
    let flags = Flags {
        initiator: false,
        response: true,
    };
    let header = Header::new(request.initiator_spi, 0, Exchange::IkeSaInit, flags, 0);
    let payloads = vec![Payload::Notify(said)];
    Message { header, payloads }.encode().unwrap()
}

#[test]
fn a_peer_that_insists_on_a_group_that_is_not_offered_is_named_with_it() {
    // Azure's default policy asks for group 2.
    let mut lab = lab(connection(0), connection(1));
    let (_, first) = lab.network.take_one().unwrap();
    let wants = Notify::new(notify::INVALID_KE_PAYLOAD, &2_u16.to_be_bytes());
    hears(&mut lab, 0, &answer(&first, wants));
    lab.network.hostility.loss = 1000;
    lab.run(lab.now + 1600);
    assert_says(&lab, 0, &["insists on group 2", "we offered", POLICY]);
}

/// A message of another version about no IKE SA of ours.
fn of_version(version: u8, is_response: bool) -> Vec<u8> {
    let flags = Flags {
        initiator: true,
        response: is_response,
    };
    let header = Header::new(7, 0, Exchange::IkeSaInit, flags, 0);
    let payloads = Vec::new();
    let mut bytes = Message { header, payloads }.encode().unwrap();
    bytes[17] = version << 4;
    bytes
}

#[test]
fn a_peer_that_speaks_ikev1_is_told_of_and_not_answered() {
    let mut lab = lab(connection(0), connection(1));
    lab.network.hostility.loss = 1000;
    lab.network.lose_all();
    let sent = lab.network.sent;
    hears(&mut lab, 1, &of_version(1, false));
    assert_eq!(lab.network.sent, sent);
    assert_says(&lab, 1, &["speaks IKE version 1", POLICY]);
}

#[test]
fn other_versions_mean_nothing_to_a_tunnel_that_is_up() {
    let mut lab = lab(connection(0), connection(1));
    lab.run(lab.now + 3000);
    hears(&mut lab, 1, &of_version(1, false));
    assert_eq!(failure(&lab, 1), "");
}

#[test]
fn a_later_version_is_answered_now_and_then() {
    let mut lab = lab(connection(0), connection(1));
    lab.run(lab.now + 3000);
    let sent = lab.network.sent;
    hears(&mut lab, 1, &of_version(3, true));
    assert_eq!(lab.network.sent, sent, "an answer is not answered");
    hears(&mut lab, 1, &of_version(3, false));
    let answers = lab.network.datagrams_from(lab::address(1));
    let answer = Message::parse(answers.last().unwrap()).unwrap();
    assert!(
        matches!(answer.payloads.as_slice(), [Payload::Notify(said)] if said.kind == notify::INVALID_MAJOR_VERSION)
    );
    for _ in 0..1000 {
        hears(&mut lab, 1, &of_version(3, false));
    }
    assert!(lab.network.sent - sent <= 20);
}

#[test]
fn where_the_peer_may_be_one_of_several_tunnels_each_says_why() {
    let mut chacha = connection(1);
    chacha.ike_proposals[0].encryption = vec![Encryption::ChaCha20Poly1305];
    let mut second = chacha.clone();
    second.name = "u".into();
    let mut lab = Lab::new(1, [vec![connection(0)], vec![chacha, second]], Hostility::default());
    lab.run(lab.now + 1000);
    let tunnels = lab.hosts[1].endpoint.tunnels();
    let failures: Vec<String> = tunnels.map(|tunnel| tunnel.failure.unwrap_or_default()).collect();
    assert_eq!(failures.len(), 2);
    assert!(
        failures.iter().all(|why| why.contains("no common proposal")),
        "{failures:?}"
    );
}

//! Two IKE SAs of one tunnel, INITIAL_CONTACT, messages and packets for SAs that are not here (RFC 7296 §1.5, §2.4).

mod lab;

use core::net::SocketAddr;
use lab::network::Hostility;
use lab::{Lab, connection};
use tombolo_ike::What;
use tombolo_ike::connection::Path;
use tombolo_ike::endpoint::Command;
use tombolo_ike::wire::{Exchange, Header, Message, Notify, Payload, notify};

const IKE_AUTH: u8 = 35;

fn quiet() -> Hostility {
    Hostility {
        delay_ms: 5,
        ..Hostility::default()
    }
}

fn lab(both: bool) -> Lab {
    let mut second = connection(1);
    second.initiate = both;
    Lab::new(1, [vec![connection(0)], vec![second]], quiet())
}

/// Bytes of the first IKE_AUTH request of a side.
fn auth_bytes(lab: &mut Lab, side: usize) -> usize {
    for _ in 0..3000 {
        let sent = lab.network.datagrams_from(lab::address(side));
        let is_auth = |bytes: &&Vec<u8>| bytes[18] == IKE_AUTH && bytes[19] & 0x20 == 0;
        if let Some(bytes) = sent.iter().find(is_auth) {
            return bytes.len();
        }
        lab.run(lab.now + 1);
    }
    panic!("no IKE_AUTH");
}

#[test]
fn initial_contact_is_not_said_to_a_peer_that_has_begun_itself() {
    let alone = auth_bytes(&mut lab(false), 0);
    let mut both = lab(true);
    let not_alone = auth_bytes(&mut both, 0);
    // An empty notification has 8 bytes.
    assert_eq!(alone - not_alone, 8);
    both.run(both.now + 60_000);
    both.is_single().unwrap();
}

#[test]
fn initial_contact_is_not_said_while_another_ike_sa_is_up() {
    let mut lab = lab(false);
    let alone = auth_bytes(&mut lab, 0);
    lab.run(lab.now + 1000);
    lab.is_single().unwrap();
    // A second tunnel between the same identities, as a bundle has it.
    for side in 0..2 {
        let mut second = lab.hosts[side].connections[0].clone();
        second.name = "u".into();
        lab.hosts[side].connections.push(second);
        lab.configure(side);
    }
    assert_eq!(alone - auth_bytes(&mut lab, 0), 8);
}

#[test]
fn who_is_slower_gives_its_own_up() {
    let mut lab = lab(false);
    // What it sends first is lost.
    lab.network.lose_all();
    lab.run(lab.now + 500);
    lab.command(1, Command::Up);
    lab.run(lab.now + 200);
    lab.is_single().unwrap();
    let before = lab.hosts[0].endpoint.ike_spis();
    lab.run(lab.now + 60_000);
    lab.is_single().unwrap();
    assert_eq!(lab.hosts[0].endpoint.ike_spis(), before);
    let ended = |host: &lab::Host| host.news.iter().any(|news| matches!(news.what, What::Ended { .. }));
    assert!(!lab.hosts.iter().any(ended));
}

fn at(side: usize) -> Path {
    Path {
        local: SocketAddr::new(lab::address(side), 500),
        remote: SocketAddr::new(lab::address(1 - side), 500),
    }
}

/// What the second gateway answers at once.
fn answers(lab: &mut Lab, path: Path, bytes: &[u8]) -> Vec<Vec<u8>> {
    let now = lab.clock();
    lab.hosts[1].endpoint.handle_datagram(now, path, bytes);
    let transmits = lab.hosts[1].endpoint.take_transmits();
    transmits.into_iter().map(|transmit| transmit.bytes).collect()
}

/// A request, and a response, for an IKE SA that nobody has.
fn stray(is_response: bool) -> Vec<u8> {
    let flags = tombolo_ike::wire::Flags {
        initiator: true,
        response: is_response,
    };
    let header = Header::new(7, 9, Exchange::Informational, flags, 5);
    let payloads = Vec::new();
    Message { header, payloads }.encode().unwrap()
}

#[test]
fn a_request_for_no_ike_sa_is_told_so_now_and_then_and_an_answer_never() {
    let mut lab = lab(false);
    lab.run(lab.now + 1000);
    let told = answers(&mut lab, at(1), &stray(false));
    let [answer] = told.as_slice() else {
        panic!("{} answers", told.len())
    };
    let answer = Message::parse(answer).unwrap();
    let header = &answer.header;
    assert_eq!(
        (header.initiator_spi, header.responder_spi, header.message_id),
        (7, 9, 5)
    );
    assert!(header.flags.response && !header.flags.initiator && header.exchange == Exchange::Informational);
    assert!(matches!(answer.payloads.as_slice(), [Payload::Notify(told)] if told.kind == notify::INVALID_IKE_SPI));
    assert!(
        answers(&mut lab, at(1), &stray(true)).is_empty(),
        "no answer to an answer"
    );
    let many: usize = (0..1000).map(|_| answers(&mut lab, at(1), &stray(false)).len()).sum();
    assert_eq!(many, 19, "20 in a second");
    lab.run(lab.now + 1000);
    assert_eq!(answers(&mut lab, at(1), &stray(false)).len(), 1);
    let mut elsewhere = at(1);
    elsewhere.remote = "203.0.113.9:500".parse().unwrap();
    assert!(
        answers(&mut lab, elsewhere, &stray(false)).is_empty(),
        "no tunnel leads there"
    );
    lab.is_single().unwrap();
}

#[test]
fn a_peer_whose_packets_have_no_sa_here_is_told_inside_its_ike_sa() {
    let mut lab = lab(false);
    lab.run(lab.now + 20_000);
    lab.is_single().unwrap();
    let sent_before = lab.hosts[0].installed[0].outbound;
    let (now, peer) = (lab.clock(), lab::address(0));
    let before = lab.network.sent;
    lab.hosts[1]
        .endpoint
        .handle_unknown_spi(now, "203.0.113.9".parse().unwrap(), 4711);
    lab.hosts[1].endpoint.handle_unknown_spi(now, peer, sent_before);
    lab.settle(1);
    assert_eq!(lab.network.sent, before, "a stranger, and an SPI that is known");
    for _ in 0..100 {
        let now = lab.clock();
        lab.hosts[1].endpoint.handle_unknown_spi(now, peer, 4711);
        lab.settle(1);
        lab.run(lab.now + 10);
    }
    assert_eq!(lab.network.sent, before + 2, "told once, and answered");
    lab.is_single().unwrap();
    assert_eq!(lab.hosts[0].installed[0].outbound, sent_before, "4711 is nothing to it");
}

/// The first gateway hears from its peer that it has no SA for this SPI.
fn hears_of(lab: &mut Lab, spi: u32) {
    let told = Payload::Notify(Notify::new(notify::INVALID_SPI, &spi.to_be_bytes()));
    lab.hears(0, &lab::forged(Exchange::Informational, false, vec![told]));
    lab.run(lab.now + 1000);
}

#[test]
fn a_child_sa_that_the_peer_lacks_is_replaced() {
    let mut lab = lab(false);
    lab.run(lab.now + 1000);
    let first = lab.hosts[0].installed[0].outbound;
    let sends = |lab: &Lab, spi: u32| lab.hosts[0].installed.iter().any(|sa| sa.sends && sa.outbound == spi);
    hears_of(&mut lab, first);
    assert!(sends(&lab, first), "a fresh one may be unknown for a moment");
    lab.run(lab.now + 9000);
    hears_of(&mut lab, 4711);
    assert!(sends(&lab, first), "none of ours");
    hears_of(&mut lab, first);
    assert!(!sends(&lab, first));
    assert_eq!(lab.packet(0), Some(true));
}

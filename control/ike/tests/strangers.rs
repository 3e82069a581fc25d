//! What strangers cost: floods of first messages leave little behind, and nobody who is known has to wait for them.

mod lab;

use core::net::{IpAddr, SocketAddr};
use lab::network::Hostility;
use lab::{Lab, connection};
use tombolo_ike::connection::{Connection, Path};
use tombolo_ike::endpoint::{Command, Limits};
use tombolo_ike::transform::{Encryption, Group};
use tombolo_ike::wire::{Message, Payload, notify};

/// Both sides up; the second takes any peer.
fn gateways() -> Lab {
    let mut any = connection(1);
    (any.remote, any.initiate) = (None, false);
    let mut lab = Lab::new(1, [vec![connection(0)], vec![any]], Hostility::default());
    lab.run(lab.now + 3000);
    lab.is_single().unwrap();
    lab
}

/// The first message of a peer with this configuration.
fn first_message(peer: Connection) -> Vec<u8> {
    let mut lab = Lab::new(5, [vec![peer], Vec::new()], Hostility::default());
    lab.network.take_all().remove(0).1
}

/// The same from another one: its SPI is its own.
fn of(message: &[u8], stranger: u64) -> Vec<u8> {
    let mut message = message.to_vec();
    message[..8].copy_from_slice(&(0x5000_0000_0000_0000 | stranger).to_be_bytes());
    message
}

fn from(source: IpAddr) -> Path {
    Path {
        local: SocketAddr::new(lab::address(1), 500),
        remote: SocketAddr::new(source, 500),
    }
}

fn spoofed(stranger: u64) -> IpAddr {
    IpAddr::from([100, 64, (stranger >> 8) as u8, stranger as u8])
}

/// Lets the second gateway have it; what it answers.
fn deliver(lab: &mut Lab, path: Path, message: &[u8]) -> Vec<Vec<u8>> {
    let now = lab.clock();
    lab.hosts[1].endpoint.handle_datagram(now, path, message);
    let transmits = lab.hosts[1].endpoint.take_transmits();
    transmits.into_iter().map(|transmit| transmit.bytes).collect()
}

fn has_notify(answer: &[u8], kind: u16) -> bool {
    let message = Message::parse(answer).unwrap();
    message
        .payloads
        .iter()
        .any(|payload| matches!(payload, Payload::Notify(notify) if notify.kind == kind))
}

#[test]
fn a_flood_of_first_messages_is_asked_for_cookies_and_hurts_nobody() {
    let mut lab = gateways();
    let message = first_message(connection(0));
    let mut cookies = 0;
    for stranger in 0..20_000 {
        let answers = deliver(&mut lab, from(spoofed(stranger)), &of(&message, stranger));
        cookies += answers
            .iter()
            .filter(|answer| has_notify(answer, notify::COOKIE))
            .count();
    }
    let half_open = lab.hosts[1].endpoint.ike_spis().len() - 1;
    assert_eq!(half_open, Limits::default().cookies_from);
    assert_eq!(cookies, 20_000 - half_open, "everybody else has to show an address");
    // The established peer rekeys as ever, and one that comes back gets in, with a cookie.
    lab.command(0, Command::Rekey);
    lab.run(lab.now + 2000);
    assert!(lab.packet(0) == Some(true) && lab.packet(1) == Some(true));
    lab.command(0, Command::Down);
    lab.run(lab.now + 500);
    assert!(lab.hosts[0].installed.is_empty());
    lab.command(0, Command::Up);
    lab.run(lab.now + 3000);
    assert_eq!(lab.packet(0), Some(true));
    lab.run(lab.now + 60_000);
    lab.is_single().unwrap();
}

#[test]
fn one_source_gets_so_far_and_no_further() {
    let mut lab = gateways();
    let message = first_message(connection(0));
    let limits = Limits::default();
    let mut without = 0;
    for stranger in 0..1500 {
        // A host of IPv6 has all addresses of its /64, and with the right cookie it does get further than strangers.
        let source = IpAddr::from([100, 64, 0, 1]);
        let mut first = of(&message, stranger);
        let mut answers = deliver(&mut lab, from(source), &first);
        if let Some(answer) = answers.iter().find(|answer| has_notify(answer, notify::COOKIE)) {
            first = with_cookie(&first, answer);
            answers = deliver(&mut lab, from(source), &first);
        } else {
            without += usize::from(!answers.is_empty());
        }
        drop(answers);
    }
    let half_open = lab.hosts[1].endpoint.ike_spis().len() - 1;
    assert_eq!(half_open, limits.half_open_per_source_max);
    assert_eq!(without, limits.cookies_per_source_from);
}

fn with_cookie(message: &[u8], answer: &[u8]) -> Vec<u8> {
    let cookie = Message::parse(answer).unwrap().payloads.remove(0);
    let mut message = Message::parse(message).unwrap();
    message.payloads.insert(0, cookie);
    message.encode().unwrap()
}

#[test]
fn what_is_refused_brings_cookies_too() {
    let mut lab = gateways();
    let mut other = connection(0);
    other.ike_proposals[0].encryption = vec![Encryption::ChaCha20Poly1305];
    let message = first_message(other);
    let mut refusals = 0;
    for stranger in 0..1000 {
        let answers = deliver(&mut lab, from(spoofed(stranger)), &of(&message, stranger));
        refusals += answers
            .iter()
            .filter(|answer| has_notify(answer, notify::NO_PROPOSAL_CHOSEN))
            .count();
    }
    assert_eq!(refusals, Limits::default().cookies_from, "within a second");
    assert_eq!(lab.hosts[1].endpoint.ike_spis().len(), 1, "they left nothing");
}

#[test]
fn a_first_message_of_many_kilobytes_is_not_kept() {
    let mut lab = gateways();
    let mut message = Message::parse(&first_message(connection(0))).unwrap();
    message.payloads.push(Payload::VendorId(vec![0x41; 60_000]));
    let long = message.encode().unwrap();
    let before = lab.hosts[1].endpoint.dropped().garbage;
    assert!(deliver(&mut lab, from(spoofed(1)), &of(&long, 1)).is_empty());
    assert_eq!(lab.hosts[1].endpoint.dropped().garbage, before + 1);
    assert_eq!(lab.hosts[1].endpoint.ike_spis().len(), 1);
}

#[test]
fn garbage_is_counted_and_nothing_else() {
    let mut lab = gateways();
    let message = first_message(connection(0));
    for length in 0..message.len() {
        assert!(
            deliver(&mut lab, from(spoofed(1)), &message[..length]).is_empty(),
            "{length} bytes"
        );
    }
    for at in 0..message.len() {
        let mut bent = of(&message, at as u64);
        bent[at] ^= 0xff;
        deliver(&mut lab, from(spoofed(at as u64)), &bent);
    }
    lab.command(0, Command::Rekey);
    lab.run(lab.now + 2000);
    assert!(lab.packet(0) == Some(true) && lab.packet(1) == Some(true));
}

/// What a stranger leaves behind does not grow with the number of tunnels that it might be the peer of.
#[test]
fn a_half_open_ike_sa_costs_no_more_beside_many_tunnels() {
    let message = first_message(connection(0));
    let stored = |tunnels: usize| {
        let any = |number: usize| {
            let mut any = connection(1);
            any.name = format!("any-{number}");
            (any.remote, any.initiate) = (None, false);
            any
        };
        let mut lab = Lab::new(1, [Vec::new(), (0..tunnels).map(any).collect()], Hostility::default());
        assert_eq!(deliver(&mut lab, from(spoofed(1)), &message).len(), 1);
        let commit = lab.hosts[1]
            .endpoint
            .take_commit()
            .expect("a half-open IKE SA is stored");
        commit.put.iter().map(|record| record.bytes.len()).sum::<usize>()
    };
    let (one, many) = (stored(1), stored(500));
    // Numbers are stored in as few bytes as they need.
    assert!(many < one + 64, "{one} bytes beside one tunnel, {many} beside 500");
}

/// A gateway under load asks for a cookie, and then for another group: both are followed, one after the other.
#[test]
fn a_cookie_and_another_group_may_be_asked_for_together() {
    let mut lab = gateways();
    let message = first_message(connection(0));
    for stranger in 0..100 {
        deliver(&mut lab, from(spoofed(stranger)), &of(&message, stranger));
    }
    let mut first = connection(0);
    first.ike_proposals[0].groups = vec![Group::Ecp256, Group::Curve25519];
    let now = lab.clock();
    // The tunnel begins anew with the wrong group.
    lab.hosts[0].connections = vec![first.clone()];
    lab.hosts[0].endpoint.configure(now, vec![first]);
    lab.settle(0);
    let before = lab.hosts[1].endpoint.dropped().cookies;
    lab.run(lab.now + 4000);
    assert!(
        lab.hosts[1].endpoint.dropped().cookies > before,
        "a cookie was asked for"
    );
    let suite = lab.hosts[0].endpoint.tunnels().next().unwrap().suite.unwrap().clone();
    assert_eq!(suite.group, Group::Curve25519);
    assert_eq!(lab.packet(0), Some(true));
}

//! What one side may not do now, or not at all (RFC 7296 §2.25): TEMPORARY_FAILURE, CHILD_SA_NOT_FOUND, NO_ADDITIONAL_SAS, as the side that asks and
//! as the side that answers. Nothing ends for it.

mod lab;

use lab::network::Hostility;
use lab::{Lab, connection};
use tombolo_ike::What;
use tombolo_ike::connection::Path;
use tombolo_ike::endpoint::{Command, Heard};
use tombolo_ike::fuzz::read;
use tombolo_ike::proposal::{offer_esp, offer_ike};
use tombolo_ike::wire::{Exchange, KeyExchange, Nonce, Notify, Payload, TrafficSelector, notify};

const IKE_SA_INIT: u8 = 34;

fn up() -> Lab {
    let mut lab = Lab::new(1, [vec![connection(0)], vec![connection(1)]], Hostility::default());
    lab.run(lab.now + 12_000);
    lab.is_single().unwrap();
    lab
}

/// The first gateway hears this from its peer; what it answers.
fn hears(lab: &mut Lab, is_response: bool, payloads: Vec<Payload>) -> Vec<Payload> {
    let answers = lab.network.datagrams_from(lab::address(0)).len();
    lab.hears(0, &lab::forged(Exchange::CreateChildSa, is_response, payloads));
    let answers = lab.network.datagrams_from(lab::address(0)).split_off(answers);
    let read = |bytes: &Vec<u8>| read(&lab.hosts[0].endpoint, bytes);
    answers.iter().find_map(read).unwrap_or_default()
}

fn told(kind: u16) -> Vec<Payload> {
    vec![Payload::Notify(Notify::new(kind, &[]))]
}

fn says(payloads: &[Payload], kind: u16) -> bool {
    payloads
        .iter()
        .any(|payload| matches!(payload, Payload::Notify(notify) if notify.kind == kind))
}

/// Begins it, and hears that it is refused: whether the first gateway asks again within `least..most` milliseconds.
fn asks_again(lab: &mut Lab, command: Command, refusal: u16, least: u64, most: u64) {
    lab.command(0, command);
    hears(lab, true, told(refusal));
    lab.network.lose_all();
    let requests = |lab: &Lab| lab.network.requests_from(lab::address(0)).len();
    lab.run(lab.now + least);
    assert_eq!(requests(lab), 0, "{command:?} again too early");
    let begun = (least..most).any(|_| {
        lab.run(lab.now + 1);
        requests(lab) > 0
    });
    assert!(begun, "{command:?} was not tried again");
}

fn assert_nothing_ended(lab: &Lab) {
    for host in &lab.hosts {
        let ended = host.news.iter().find(|news| matches!(news.what, What::Ended { .. }));
        assert!(ended.is_none(), "{ended:?}");
    }
}

#[test]
fn what_is_refused_for_now_is_asked_again_soon() {
    for command in [Command::RekeyChildren, Command::RekeyIke] {
        let mut lab = up();
        // The peer knows nothing of our request: what it gets next must have the message id that it waits for.
        asks_again(&mut lab, command, notify::TEMPORARY_FAILURE, 990, 2100);
        assert_nothing_ended(&lab);
        assert_eq!(
            lab.hosts[0].installed.iter().filter(|sa| sa.sends).count(),
            1,
            "the old one serves"
        );
    }
}

#[test]
fn a_child_sa_that_the_peer_does_not_find_is_made_anew() {
    let mut lab = up();
    let before = lab.hosts[0].installed[0].outbound;
    lab.command(0, Command::RekeyChildren);
    hears(&mut lab, true, told(notify::CHILD_SA_NOT_FOUND));
    let asks = lab.network.datagrams_from(lab::address(0));
    let asks: Vec<_> = asks
        .iter()
        .filter_map(|bytes| read(&lab.hosts[0].endpoint, bytes))
        .collect();
    let anew = |payloads: &&Vec<Payload>| {
        let has = |wanted: fn(&Payload) -> bool| payloads.iter().any(wanted);
        has(|payload| matches!(payload, Payload::SecurityAssociation(_))) && !says(payloads, notify::REKEY_SA)
    };
    assert!(asks.iter().any(|payloads| anew(&payloads)), "{asks:?}");
    assert!(
        !lab.hosts[0]
            .installed
            .iter()
            .any(|sa| sa.sends && sa.outbound == before)
    );
    assert_nothing_ended(&lab);
}

#[test]
fn a_peer_that_makes_no_more_child_sas_is_not_asked_all_the_time() {
    let mut lab = up();
    asks_again(
        &mut lab,
        Command::RekeyChildren,
        notify::NO_ADDITIONAL_SAS,
        9_900,
        21_000,
    );
    assert_nothing_ended(&lab);
    let why = lab.hosts[0]
        .endpoint
        .tunnels()
        .next()
        .unwrap()
        .failure
        .unwrap_or_default();
    assert!(why.contains("takes no further child SA"), "{why}");
}

/// What a peer asks for when it replaces the child SA with this outbound SPI.
fn rekey_child(old: u32) -> Vec<Payload> {
    let theirs = connection(1);
    let all = || {
        theirs.children[0]
            .local
            .iter()
            .copied()
            .map(TrafficSelector::Range)
            .collect()
    };
    vec![
        Payload::Notify(Notify::of_child(notify::REKEY_SA, old)),
        Payload::SecurityAssociation(offer_esp(&theirs.children[0].proposals, 0x1234, true)),
        Payload::Nonce(Nonce::new(vec![7; 32]).unwrap()),
        exchange(),
        Payload::SelectorsInitiator(all()),
        Payload::SelectorsResponder(all()),
    ]
}

fn rekey_ike() -> Vec<Payload> {
    vec![
        Payload::SecurityAssociation(offer_ike(&connection(1).ike_proposals, Some(0x1234))),
        Payload::Nonce(Nonce::new(vec![7; 32]).unwrap()),
        exchange(),
    ]
}

fn exchange() -> Payload {
    let data = vec![9; 32];
    Payload::KeyExchange(KeyExchange { group: 31, data })
}

#[test]
fn a_peer_that_replaces_what_is_not_here_is_told_so() {
    let mut lab = up();
    let answer = hears(&mut lab, false, rekey_child(4711));
    let [Payload::Notify(said)] = answer.as_slice() else {
        panic!("{answer:?}")
    };
    // RFC 7296 §2.25: the answer names the SPI.
    assert_eq!((said.kind, said.child_spi()), (notify::CHILD_SA_NOT_FOUND, Some(4711)));
    assert_nothing_ended(&lab);
}

#[test]
fn while_the_ike_sa_is_replaced_no_child_sa_is() {
    let mut lab = up();
    let old = lab.hosts[0].installed[0].outbound;
    lab.command(0, Command::RekeyIke);
    let answer = hears(&mut lab, false, rekey_child(old));
    assert!(says(&answer, notify::TEMPORARY_FAILURE), "{answer:?}");
}

#[test]
fn while_a_child_sa_is_replaced_the_ike_sa_is_not() {
    let mut lab = up();
    lab.command(0, Command::RekeyChildren);
    let answer = hears(&mut lab, false, rekey_ike());
    assert!(says(&answer, notify::TEMPORARY_FAILURE), "{answer:?}");
}

#[test]
fn a_peer_cannot_have_child_sas_without_end() {
    let mut lab = up();
    let mut made = 0;
    for _ in 0..1000 {
        let mut ask = rekey_child(0);
        ask.remove(0);
        let answer = hears(&mut lab, false, ask);
        if says(&answer, notify::NO_ADDITIONAL_SAS) {
            break;
        }
        made += 1;
    }
    assert!((2..300).contains(&made), "{made}");
    assert!(lab.hosts[0].installed.len() <= 256);
}

/// The moments at which a gateway begins an IKE SA while nobody answers, in milliseconds after the first.
fn begins(seed: u64, count: usize) -> Vec<u64> {
    let mut one = connection(0);
    one.dpd_timeout_ms = 1000;
    let mut lab = Lab::new(seed, [vec![one], Vec::new()], Hostility::default());
    let (mut seen, mut at) = (Vec::new(), Vec::new());
    let first = lab.now;
    while at.len() < count {
        for bytes in lab.network.datagrams_from(lab::address(0)) {
            if bytes[18] == IKE_SA_INIT && !seen.contains(&bytes[..8].to_vec()) {
                seen.push(bytes[..8].to_vec());
                at.push(lab.now - first);
            }
        }
        lab.run(lab.now + 1);
    }
    at
}

#[test]
fn attempts_come_with_growing_pauses_and_jitter() {
    let stories: Vec<_> = (1..4).map(|seed| begins(seed, 11)).collect();
    for story in &stories {
        // A second of waiting for an answer is part of each.
        let pauses: Vec<u64> = story.windows(2).map(|two| two[1] - two[0] - 1000).collect();
        for (number, pause) in pauses.iter().enumerate() {
            let wanted = (1000 << number.min(6)).min(60_000);
            assert!(
                (wanted / 2..wanted * 3 / 2 + 20).contains(pause),
                "{number}: {pauses:?}"
            );
        }
    }
    assert!(
        stories[0] != stories[1] && stories[1] != stories[2],
        "no jitter: {stories:?}"
    );
}

#[test]
fn who_chose_4500_begins_there() {
    let at = |start_on_4500: bool| {
        let mut one = connection(0);
        one.start_on_4500 = start_on_4500;
        let mut lab = Lab::new(1, [vec![one], Vec::new()], Hostility::default());
        let (path, _): (Path, _) = lab.network.take_one().unwrap();
        (path.local.port(), path.remote.port())
    };
    assert_eq!([at(false), at(true)], [(500, 500), (4500, 4500)]);
}

#[test]
fn padding_for_traffic_flow_confidentiality_is_declined_by_both() {
    // RFC 7296 §1.3.1.
    let mut lab = Lab::new(1, [vec![connection(0)], vec![connection(1)]], Hostility::default());
    let mut said = [false; 2];
    for _ in 0..1000 {
        for (side, said) in said.iter_mut().enumerate() {
            for bytes in lab.network.datagrams_from(lab::address(side)) {
                let payloads = read(&lab.hosts[side].endpoint, &bytes).unwrap_or_default();
                *said |= says(&payloads, notify::ESP_TFC_PADDING_NOT_SUPPORTED);
            }
        }
        lab.run(lab.now + 1);
    }
    assert_eq!(said, [true; 2]);
}

/// Packets of the first gateway's peer arrive until then, each second, whatever happens to IKE.
fn packets_until(lab: &mut Lab, until: u64, is_new: bool) {
    while lab.now < until {
        lab.run(lab.now + 1000);
        let (now, heard) = (
            lab.clock(),
            Heard {
                is_new,
                ..lab::heard(lab.now)
            },
        );
        let spi = lab.hosts[0].installed.first().map_or(0, |sa| sa.inbound);
        lab.hosts[0].endpoint.handle_traffic(now, spi, Some(heard), 1, 1);
        lab.settle(0);
    }
}

#[test]
fn packets_are_the_sign_of_life_that_was_asked_for() {
    let mut lab = up();
    // Nothing came for ten seconds: a sign of life is asked for, and lost.
    lab.network.hostility.loss = 1000;
    lab.run(lab.now + 15_000);
    let until = lab.now + 120_000;
    packets_until(&mut lab, until, true);
    assert_eq!(lab.hosts[0].installed.len(), 1, "loss of IKE alone");
    // And then nothing at all.
    lab.run(lab.now + 29_000);
    assert_eq!(lab.hosts[0].installed.len(), 1);
    lab.run(lab.now + 2_000);
    assert!(lab.hosts[0].installed.is_empty(), "the DPD time is over");
}

/// Without a check for replays anybody could keep a dead peer alive with old packets.
#[test]
fn packets_that_may_be_old_are_no_sign_of_life() {
    let mut lab = up();
    lab.network.hostility.loss = 1000;
    let until = lab.now + 45_000;
    packets_until(&mut lab, until, false);
    assert!(
        lab.hosts[0].installed.is_empty(),
        "asked after 10 seconds, dead after 30"
    );
}

#[test]
fn an_ike_sa_whose_time_is_up_says_goodbye() {
    let mut short = connection(0);
    short.ike_lifetime.hard_ms = 50_000;
    let mut lab = Lab::new(1, [vec![short], vec![connection(1)]], Hostility::default());
    lab.run(lab.now + 49_000);
    let before = lab.hosts[1].endpoint.ike_spis();
    lab.is_single().unwrap();
    lab.run(lab.now + 1100);
    let closed = |side: usize| {
        let news = &lab.hosts[side].news;
        news.iter()
            .filter(|news| matches!(news.what, What::Ended { .. }))
            .count()
    };
    assert_eq!([closed(0), closed(1)], [1, 1], "the peer does not seal into nothing");
    lab.run(lab.now + 10_000);
    lab.is_single().unwrap();
    assert_ne!(lab.hosts[1].endpoint.ike_spis(), before);
}

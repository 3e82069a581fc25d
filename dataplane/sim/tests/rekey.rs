//! SAs that come and go under traffic, what they tell of the way, and where their numbers end. All with the express lane and without.

use std::collections::BTreeMap;
use tombolo_sim::gateway::{SMALL, SimGateway};
use tombolo_sim::lab::{Lab, from_host, from_internet, sealed_by};
use tombolo_sim::worlds::{PROD, Side, TunnelKind, UPLINK, WEB4, demo};
use tombolo_tables::build::World;
use tombolo_tables::fate::DropReason;
use tombolo_tables::layout::{Address, SaIndex, SaRecord, SelectorRecord, wildcard};
use tombolo_tables::sa_counters::{self, SaCounters};
use tombolo_tables::state::StatePart;
use tombolo_tunnel::sequence::{END_WITHOUT_ESN, Sequence};

/// A port that does not exist: nothing is copied, and yet somebody captures, so everything takes the general journey.
const CAPTURE_NOTHING: u64 = 1 << 63;
const LANES: [bool; 2] = [true, false];
/// Of the tunnel of prod: inbound and outbound.
const INBOUND: SaIndex = SaIndex(1);
const OUTBOUND: SaIndex = SaIndex(0);

fn world(side: Side, kind: TunnelKind, lane: bool) -> World {
    let mut world = demo(side, kind);
    world.capture = if lane { 0 } else { CAPTURE_NOTHING };
    world
}

fn inner(number: u16) -> Vec<u8> {
    from_host(Side::B, PROD, Side::A.host4(PROD, 10)).udp(number, 2, b"numbered")[14..].to_vec()
}

/// The peer's packets with these numbers arrive as one batch; how many came out.
fn arrive(a: &mut SimGateway, numbers: &[u64]) -> usize {
    for number in numbers {
        a.arrive(
            0,
            UPLINK as u8,
            &sealed_by(Side::B, PROD, *number, &inner(*number as u16)),
        );
    }
    a.run();
    a.sent(PROD as u8).len()
}

fn counters(a: &SimGateway, sa: SaIndex) -> SaCounters {
    sa_counters::sum(a.state().region(), sa)
}

/// The key that takes the place of an SA's: known to both sides.
fn successor(old: &SaRecord, round: u8) -> SaRecord {
    SaRecord {
        key: [old.key[0] ^ round; 32],
        spi: old.spi + 0x100 * u32::from(round),
        key_version: old.key_version + u32::from(round),
        ..*old
    }
}

/// Both gateways rekey their tunnels of prod under traffic in both directions, step by step, each step on one side first.
#[test]
fn a_rekey_in_steps_loses_nothing() {
    for (lane, kind) in LANES.into_iter().flat_map(|lane| {
        let udp = TunnelKind {
            udp: true,
            esn: false,
            ..TunnelKind::PLAIN
        };
        [(lane, TunnelKind::PLAIN), (lane, udp)]
    }) {
        let mut worlds = [Side::A, Side::B].map(|side| world(side, kind, lane));
        for world in &mut worlds {
            // Rows for the successors: nobody has them yet.
            world.sas.resize(12, zeroed());
        }
        let mut lab = Lab {
            a: SimGateway::new(&worlds[0], SMALL, 1),
            b: SimGateway::new(&worlds[1], SMALL, 1),
        };
        let mut passed = 0;
        for round in 1..=3u8 {
            for step in 0..3 {
                // The initiator of the rekey goes ahead with what it may receive, the other follows (RFC 7296 §2.8).
                for first in 0..2 {
                    let who = (first + usize::from(round)) % 2;
                    rekey(&mut worlds[who], round, step);
                    let side = [Side::A, Side::B][who];
                    lab.gateway(side).publish(&worlds[who]);
                    passed += exchange(&mut lab, passed);
                }
            }
        }
        assert_eq!(passed, 3 * 3 * 2 * 40, "lane {lane}");
        assert_eq!((lab.a.drops(), lab.b.drops()), (BTreeMap::new(), BTreeMap::new()));
        lab.assert_books();
    }
}

fn zeroed() -> SaRecord {
    let mut free = demo(Side::A, TunnelKind::PLAIN).sas[0];
    (free.spi, free.key, free.tunnel) = (0, [0; 32], 0);
    free
}

/// A step of rekeying prod: a new inbound SA, the new outbound SA in place of the old one, the old inbound SA gone.
fn rekey(world: &mut World, round: u8, step: usize) {
    let (old, new) = (row(round - 1), row(round));
    match step {
        0 => world.sas[new + 1] = successor(&world.sas[old + 1], round),
        1 => {
            world.sas[new] = successor(&world.sas[old], round);
            world.sas[old] = zeroed();
            world.tunnels[0].outbound = new as u32;
        }
        _ => world.sas[old + 1] = zeroed(),
    }
}

/// Rows of prod's SAs in a round; those of dev lie between.
fn row(round: u8) -> usize {
    if round == 0 { 0 } else { 2 + 2 * usize::from(round) }
}

/// Forty packets each way; how many arrived.
fn exchange(lab: &mut Lab, from: usize) -> usize {
    let mut arrived = 0;
    for side in [Side::A, Side::B] {
        for number in 0..20 {
            let frame = from_host(side, PROD, side.other().host4(PROD, 10)).udp(number, from as u16, b"payload");
            lab.gateway(side).arrive(0, PROD as u8, &frame);
        }
        lab.gateway(side).run();
        lab.carry(side);
        arrived += lab.gateway(side.other()).sent(PROD as u8).len();
    }
    arrived
}

#[test]
fn an_sa_without_esn_sends_its_last_number_and_then_nothing() {
    for lane in LANES {
        let kind = TunnelKind {
            esn: false,
            ..TunnelKind::PLAIN
        };
        let mut a = SimGateway::new(&world(Side::A, kind, lane), SMALL, 1);
        let sequence = Sequence::at(a.state().region().part(StatePart::Sequences), OUTBOUND.usize()).expect("a row");
        sequence.start(END_WITHOUT_ESN - 3, u64::MAX);
        for number in 0..8 {
            let frame = from_host(Side::A, PROD, Side::B.host4(PROD, 10)).udp(number, 1, b"canary-in-clear");
            a.arrive(0, PROD as u8, &frame);
        }
        a.run();
        let sent = a.sent(UPLINK as u8);
        let numbers: Vec<u32> = sent
            .iter()
            .map(|frame| u32::from_be_bytes([frame[38], frame[39], frame[40], frame[41]]))
            .collect();
        assert_eq!(numbers, [u32::MAX - 2, u32::MAX - 1, u32::MAX], "lane {lane}");
        assert_eq!(a.drops(), BTreeMap::from([(DropReason::SequenceExhausted, 5)]));
        assert_eq!(counters(&a, OUTBOUND).packets, 3);
        a.assert_books();
    }
}

#[test]
fn loss_and_lateness_are_told_by_sequence_numbers() {
    for lane in LANES {
        let mut a = SimGateway::new(&world(Side::A, TunnelKind::PLAIN, lane), SMALL, 1);
        assert_eq!(arrive(&mut a, &[1, 2, 3, 4]), 4);
        assert_eq!((counters(&a, INBOUND).authentic, counters(&a, INBOUND).lost(4)), (4, 0));
        // 5 to 8 are missing; 9 overtook 7 and 8 by one and two at once, 6 comes a batch later; 5 never.
        assert_eq!(arrive(&mut a, &[9, 8, 7, 10]), 4);
        assert_eq!(counters(&a, INBOUND).late, [1, 1, 0, 0, 0, 0, 0, 0], "lane {lane}");
        assert_eq!(arrive(&mut a, &[6, 11]), 2);
        assert_eq!(arrive(&mut a, &[311, 12]), 2);
        let seen = counters(&a, INBOUND);
        assert_eq!(seen.late, [1, 1, 1, 0, 0, 0, 0, 1], "lane {lane}");
        assert_eq!((seen.first, seen.authentic), (1, 12));
        assert_eq!(seen.lost(311), 311 - 12);
        // A replay is nothing new.
        assert_eq!(arrive(&mut a, &[12, 311, 7]), 0);
        assert_eq!(counters(&a, INBOUND), seen);
        a.assert_books();
    }
}

#[test]
fn a_sign_of_life_is_what_is_authentic_and_new_whatever_is_in_it() {
    for lane in LANES {
        let mut a = SimGateway::new(&world(Side::A, TunnelKind::PLAIN, lane), SMALL, 1);
        assert_eq!(arrive(&mut a, &[1]), 1);
        let first = counters(&a, INBOUND).last_ms;
        assert_ne!(first, 0);
        a.sleep(1000);
        assert_eq!(arrive(&mut a, &[1]), 0, "a replay");
        let mut forged = sealed_by(Side::B, PROD, 2, &inner(2));
        forged[60] ^= 1;
        a.arrive(0, UPLINK as u8, &forged);
        a.run();
        assert_eq!(counters(&a, INBOUND).last_ms, first, "lane {lane}");
        // A dummy, and one that the selectors refuse: the peer lives.
        for (number, packet) in [(3, vec![0; 20]), (4, inner(4))] {
            let narrow = narrow(world(Side::A, TunnelKind::PLAIN, lane));
            a.publish(&narrow);
            a.sleep(1000);
            let before = counters(&a, INBOUND);
            a.arrive(0, UPLINK as u8, &sealed_by(Side::B, PROD, number, &packet));
            a.run();
            assert!(a.sent(PROD as u8).is_empty());
            let after = counters(&a, INBOUND);
            assert_eq!(
                after.last_ms,
                before.last_ms.max(first) + if number == 3 { 2000 } else { 1000 }
            );
            assert_eq!((after.authentic, after.packets), (before.authentic + 1, before.packets));
        }
        assert_eq!(a.drops()[&DropReason::EspSelectors], 1);
        a.assert_books();
    }
}

/// The peer's side is one host that does not speak.
fn narrow(mut world: World) -> World {
    let host = Address::from(Side::B.host4(PROD, 99));
    let any: SelectorRecord = world.selectors[0];
    for selector in &mut world.selectors {
        *selector = SelectorRecord {
            remote_first: host,
            remote_last: host,
            ..any
        };
    }
    world
}

/// Default route and source NAT beside a tunnel without any SA: law 1.
#[test]
fn before_the_first_sa_and_after_the_last_nothing_leaves_in_clear() {
    for lane in LANES {
        let full = world(Side::A, TunnelKind::PLAIN, lane);
        let mut none = full.clone();
        none.tunnels[0].outbound = wildcard::NONE;
        (none.sas[0], none.sas[1]) = (zeroed(), zeroed());
        let mut inbound_only = none.clone();
        inbound_only.sas[1] = full.sas[1];
        let mut a = SimGateway::new(&none, SMALL, 1);
        let steps = [
            (&none, 0),
            (&inbound_only, 0),
            (&full, 20),
            (&inbound_only, 0),
            (&none, 0),
            (&full, 20),
        ];
        for (step, (world, sealed)) in steps.into_iter().enumerate() {
            a.publish(world);
            for number in 0..20 {
                for to in [Side::B.host4(PROD, 10), WEB4] {
                    let frame = from_host(Side::A, PROD, to).udp(number, 53, b"canary-in-clear");
                    a.arrive(0, PROD as u8, &frame);
                }
            }
            // What pretends to come from the tunnel is not taken in either.
            let forged = from_internet(Side::A, Side::B.host4(PROD, 10), Side::A.host4(PROD, 10)).udp(53, 1, b"forged");
            a.arrive(0, UPLINK as u8, &forged);
            a.run();
            let (esp, clear): (Vec<_>, Vec<_>) = a.sent(UPLINK as u8).into_iter().partition(|frame| frame[23] == 50);
            assert_eq!(esp.len(), sealed, "lane {lane}, step {step}");
            assert_eq!(
                clear.len(),
                20,
                "the internet is there, and the demo translates into it"
            );
            for frame in esp
                .iter()
                .chain(clear.iter().filter(|frame| frame[30..34] != [203, 0, 113, 80]))
            {
                let leaks = frame.windows(15).any(|bytes| bytes == b"canary-in-clear");
                assert!(!leaks, "lane {lane}, step {step}: in clear");
            }
            assert!(
                clear.iter().all(|frame| frame[30..34] == [203, 0, 113, 80]),
                "to the web server alone"
            );
            assert!(a.sent(PROD as u8).is_empty());
        }
        let drops = a.drops();
        assert_eq!(drops[&DropReason::TunnelDown], 4 * 20);
        a.assert_books();
    }
}

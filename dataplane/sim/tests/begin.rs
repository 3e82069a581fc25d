//! New flows in the express lane against the general journey: two gateways see the same batches, one of them without the lane (somebody
//! captures there). What they send, punt, count, and remember of sessions and mappings must be the same, but for the outside ports, which
//! each picks by chance.

use std::collections::BTreeMap;
use std::net::IpAddr;
use tombolo_flow::{Key4, NO_MAPPING};
use tombolo_sim::gateway::{SMALL, SimGateway};
use tombolo_sim::lab::{from_host, parsed};
use tombolo_sim::packets::{Station, TcpFlags, Trip};
use tombolo_sim::random::Random;
use tombolo_sim::worlds::{DEV, PROD, Side, TunnelKind, UPLINK, WEB4, add_host, demo, move_epochs, port_forward, rule};
use tombolo_tables::build::World;
use tombolo_tables::counters::Counters;
use tombolo_tables::layout::{NatRuleRecord, PortIndex, nat_kind, rule_action, wildcard};
use tombolo_wire::{Addresses, Headers, parse_frame};

/// A port that does not exist: nothing is copied, and yet somebody captures.
const CAPTURE_NOTHING: u64 = 1 << 63;
const BATCHES: usize = 120;
const UDP: u8 = 17;
const ICMP: u8 = 1;

/// A session as both gateways should know it: without its outside port, and what it counted.
type Session = (Key4, Key4, [u32; 2], [u32; 2], bool, u32, u8, u32, [(u64, u64); 2]);

/// What is known after a batch, and what came of it.
struct Seen {
    /// Frames that left, by port and flow, in order within a flow.
    sent: BTreeMap<(u16, Vec<u8>), Vec<Vec<u8>>>,
    punted: Vec<Vec<u8>>,
    counters: BTreeMap<(u16, usize), u64>,
    sessions: Vec<Session>,
    /// Segment, protocol, address, port inside; address outside; sessions.
    mappings: Vec<(u16, u8, u32, u16, u32, u32)>,
}

impl Seen {
    /// Names the first thing that differs.
    fn compare(&self, other: &Seen, name: &str) {
        same(&self.sessions, &other.sessions, name);
        same(&self.mappings, &other.mappings, name);
        same(&self.counters, &other.counters, name);
        same(&self.sent, &other.sent, name);
        same(&self.punted, &other.punted, name);
    }
}

fn same<T: core::fmt::Debug + PartialEq>(
    with: impl IntoIterator<Item = T>,
    without: impl IntoIterator<Item = T>,
    name: &str,
) {
    let (mut with, mut without) = (with.into_iter(), without.into_iter());
    loop {
        match (with.next(), without.next()) {
            (None, None) => return,
            (with, without) => assert!(with == without, "{name}: {with:?}\nwithout the lane {without:?}"),
        }
    }
}

struct Twin {
    gateway: SimGateway,
    capture: u64,
}

impl Twin {
    fn new(world: &World, capture: u64) -> Self {
        let world = World {
            capture,
            ..world.clone()
        };
        Twin {
            gateway: SimGateway::new(&world, SMALL, 1),
            capture,
        }
    }

    fn publish(&mut self, world: &World) {
        let capture = self.capture;
        self.gateway.publish(&World {
            capture,
            ..world.clone()
        });
    }

    fn show(&mut self, batch: &[(u16, Vec<u8>)], wait_ms: u64) -> Seen {
        self.gateway.sleep(wait_ms);
        for (port, frame) in batch {
            self.gateway.arrive(0, *port as u8, frame);
        }
        self.gateway.run();
        self.gateway.assert_books();
        let sessions = self.sessions();
        let mut sent: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for port in [PROD, DEV, UPLINK] {
            for frame in self.gateway.sent(port as u8) {
                let frame = self.comparable(frame);
                let flow = frame[..frame.len().min(38)].to_vec();
                sent.entry((port, flow)).or_default().push(frame);
            }
        }
        let counters = Counters::new(self.gateway.state().region());
        let counters = (0..counters.ports() as u16).flat_map(|port| {
            let row = counters.sum(PortIndex(port)).into_iter().enumerate();
            row.map(move |(word, value)| ((port, word), value)).collect::<Vec<_>>()
        });
        Seen {
            sent,
            punted: [PROD, DEV, UPLINK]
                .iter()
                .flat_map(|port| self.gateway.punted(*port as u8))
                .collect(),
            counters: counters.collect(),
            sessions,
            mappings: self.mappings(),
        }
    }

    fn sessions(&self) -> Vec<Session> {
        let sessions = self.gateway.state().sessions4();
        let view = |session| {
            let view = sessions.view(session)?;
            // Both of its keys find it.
            for key in [view.forward, view.reverse] {
                assert_eq!(sessions.lookup(&key).map(|hit| hit.session), Some(session));
            }
            let mapped = view.mapping != NO_MAPPING;
            let mut reverse = view.reverse;
            if mapped {
                reverse.destination_port = 0;
            }
            if mapped && reverse.protocol == ICMP {
                reverse.source_port = 0;
            }
            let counters = view.counters.map(|counter| (counter.packets, counter.bytes));
            let phase = view.phase as u8;
            Some((
                view.forward,
                reverse,
                view.next_hop,
                view.epochs,
                mapped,
                view.rule,
                view.flags << 4 | phase,
                view.last_seen,
                counters,
            ))
        };
        let mut all: Vec<_> = (0..sessions.entries()).filter_map(view).collect();
        all.sort();
        all
    }

    fn mappings(&self) -> Vec<(u16, u8, u32, u16, u32, u32)> {
        let mappings = &self.gateway.state().flows().mappings4;
        let view = |mapping| {
            let view = mappings.view(mapping)?;
            let inside = view.inside;
            if inside.protocol != 0 {
                let behind = mappings.behind(inside.protocol, view.address, view.port);
                assert_eq!(behind, Some(inside), "its outside endpoint finds it");
                let ports = &self.gateway.state().flows().ports;
                assert!(ports.taken(view.row, inside.protocol) > 0);
            }
            let protocol = inside.protocol;
            Some((
                inside.segment,
                protocol,
                inside.address,
                inside.port,
                view.address,
                view.sessions,
            ))
        };
        let mut all: Vec<_> = (0..mappings.entries()).filter_map(view).collect();
        all.sort();
        all
    }

    /// The inside endpoint in the place of the outside one, checksums not compared where they depend on it; of sealed packets only
    /// what is not different each time.
    fn comparable(&self, mut frame: Vec<u8>) -> Vec<u8> {
        let Ok((_, headers)) = parse_frame(&frame) else {
            return frame;
        };
        let Addresses::V4 { source, .. } = headers.addresses else {
            return frame;
        };
        if headers.protocol == 50 {
            frame[18..20].fill(0);
            frame[24..26].fill(0);
            frame[38..].fill(0);
            return frame;
        }
        let headers = parsed_if_whole(&frame).unwrap_or(headers);
        let mappings = &self.gateway.state().flows().mappings4;
        if let Some(inside) = mappings.behind(headers.protocol, source, headers.source_port) {
            let l4 = usize::from(headers.l4);
            let (port, checksum) = match headers.protocol {
                ICMP => (l4 + 4, l4 + 2),
                UDP => (l4, l4 + 6),
                _ => (l4, l4 + 16),
            };
            frame[port..port + 2].copy_from_slice(&inside.port.to_be_bytes());
            frame[24..26].fill(0);
            frame[26..30].copy_from_slice(&inside.address.to_be_bytes());
            if let Some(checksum) = frame.get_mut(checksum..checksum + 2) {
                checksum.fill(0);
            }
        }
        frame
    }
}

/// Headers of a packet that is no fragment: its checksum must be right.
fn parsed_if_whole(frame: &[u8]) -> Option<Headers> {
    let fragment = u16::from_be_bytes([frame[20], frame[21]]) & 0x3fff != 0;
    (!fragment).then(|| parsed(frame))
}

struct Traffic {
    random: Random,
    /// Only UDP that needs nothing unusual: where the order of flows decides who gets the last port.
    plain: bool,
}

impl Traffic {
    /// A frame from the cloud's hosts to somewhere; the same few flows again and again.
    fn frame(&mut self) -> (u16, Vec<u8>) {
        let random = &mut self.random;
        let to = if self.plain {
            WEB4
        } else {
            random.of(&[
                WEB4,
                WEB4,
                WEB4,
                [198, 51, 100, 77].into(),
                Side::B.host4(PROD, 10),
                Side::A.host4(DEV, 10),
                Side::A.host4(DEV, 77),
                Side::A.host4(PROD, 1),
                Side::A.host4(PROD, 11),
                Side::A.outside4(),
                IpAddr::from([203, 0, 113, 255]),
                IpAddr::from([10, 99, 0, 1]),
            ])
        };
        let host = random.of(&[10, 10, 11, 12]);
        let mut trip = Trip {
            from: Station {
                mac: Side::A.host_mac(PROD, host),
                ip: Side::A.host4(PROD, host),
            },
            ..from_host(Side::A, PROD, to)
        };
        let (source, destination) = (1000 + random.below(40) as u16, random.of(&[53, 53, 80, 4500]));
        if self.plain {
            return (PROD, trip.udp(source, destination, &[7; 20]));
        }
        if random.once_in(12) {
            let sources = [
                Side::A.host4(PROD, 1),
                Side::A.host4(DEV, 10),
                Side::B.host4(PROD, 10),
                WEB4,
            ];
            trip.from.ip = random.of(&sources);
        }
        if random.once_in(20) {
            trip.ttl = 1;
        }
        let length = random.of(&[0, 1, 20, 20, 20, 92, 93, 300, 1300, 1372, 1400, 1460]);
        let payload = vec![7; length];
        let mut frame = match random.below(12) {
            0 => trip.tcp(source, destination, TcpFlags::SYN, Some(1460), &[]),
            1 => trip.tcp(source, destination, TcpFlags::ACK, None, &payload[..length.min(1400)]),
            2 => trip.echo(false, source, &payload[..length.min(1400)]),
            _ => trip.udp(source, destination, &payload),
        };
        if random.once_in(30) {
            // More fragments follow.
            frame[20] |= 0x20;
            tombolo_sim::lab::fix_header_checksum(&mut frame);
        }
        (PROD, frame)
    }

    fn batch(&mut self) -> Vec<(u16, Vec<u8>)> {
        let count = self.random.of(&[1, 2, 7, 30, 64, 64]);
        let mut batch: Vec<_> = (0..count).map(|_| self.frame()).collect();
        if self.plain {
            // A second packet of a new flow counts as a session of its host until the first has its own. What found the quota full for that
            // reason is asked about again, behind the lane, when it is not any more.
            let mut known = std::collections::BTreeSet::new();
            batch.retain(|(_, frame)| known.insert(frame[26..38].to_vec()));
        }
        batch
    }
}

/// Shows both the same; returns how many sessions there were at most, and how many mappings.
fn alike(name: &str, plain: bool, seed: u64, change: impl Fn(&mut World)) -> (usize, usize) {
    let mut world = demo(Side::A, TunnelKind::PLAIN);
    for host in [11, 12] {
        add_host(&mut world, Side::A, PROD, host);
    }
    change(&mut world);
    let mut twins = [0, CAPTURE_NOTHING].map(|capture| Twin::new(&world, capture));
    let mut traffic = Traffic {
        random: Random::new(seed),
        plain,
    };
    let mut most = (0, 0);
    for number in 0..BATCHES {
        let batch = traffic.batch();
        // Now and then everything that is idle ends, or a decision is out of date.
        let wait_ms = if traffic.random.once_in(12) { 200_000 } else { 1_000 };
        if traffic.random.once_in(15) {
            move_epochs(&mut world);
            twins.iter_mut().for_each(|twin| twin.publish(&world));
        }
        let [with, without] = twins.each_mut().map(|twin| twin.show(&batch, wait_ms));
        with.compare(&without, &format!("{name}: batch {number}"));
        most = (most.0.max(with.sessions.len()), most.1.max(with.mappings.len()));
    }
    most
}

#[test]
fn in_the_demos_world() {
    let (sessions, mappings) = alike("demo", false, 1, |_| {});
    assert!(
        sessions > 100 && mappings > 50,
        "{sessions} sessions, {mappings} mappings"
    );
}

#[test]
fn where_rules_differ_between_flows() {
    let change = |world: &mut World| {
        world.ports[usize::from(DEV)].mtu = 120;
        world.policy_rules.insert(0, rule(PROD, DEV, rule_action::ALLOW));
        let mut refused = rule(PROD, UPLINK, rule_action::REJECT);
        (
            refused.protocol,
            refused.destination_port_first,
            refused.destination_port_last,
        ) = (UDP, 80, 80);
        world.policy_rules.insert(0, refused);
        // Nothing is translated to port 4500, nor for host 12.
        let template = world.nat_rules[0];
        let exempt = NatRuleRecord {
            kind: nat_kind::EXEMPT,
            ..template
        };
        let port = NatRuleRecord {
            match_port_first: 4500,
            match_port_last: 4500,
            ..exempt
        };
        let host = NatRuleRecord {
            match_source: Side::A.host4(PROD, 12).into(),
            match_source_length: 128,
            ..exempt
        };
        world.nat_rules.splice(0..0, [port, host]);
    };
    let (sessions, mappings) = alike("rules", false, 2, change);
    assert!(
        sessions > 100 && mappings > 50,
        "{sessions} sessions, {mappings} mappings"
    );
}

#[test]
fn where_something_is_forwarded() {
    let change = |world: &mut World| {
        let to = Side::A.host4(DEV, 10);
        let forward = NatRuleRecord {
            protocol: UDP,
            to: DEV,
            ..port_forward(Side::A, 80, to, 8080)
        };
        world.nat_rules.insert(0, forward);
        world.nat_rules.insert(
            0,
            NatRuleRecord {
                from: wildcard::SEGMENT,
                match_destination: WEB4.into(),
                ..forward
            },
        );
        world.policy_rules.insert(0, rule(PROD, DEV, rule_action::ALLOW));
        world.policy_rules.insert(0, rule(UPLINK, DEV, rule_action::ALLOW));
    };
    let (sessions, _) = alike("forwards", false, 3, change);
    assert!(sessions > 100, "{sessions} sessions");
}

#[test]
fn where_ports_run_out() {
    let change = |world: &mut World| world.pools[0].port_last = world.pools[0].port_first + 30;
    let (_, mappings) = alike("ports", true, 4, change);
    assert!((31..=34).contains(&mappings), "{mappings} mappings and hosts");
}

#[test]
fn where_a_host_has_too_many_sessions() {
    let change = |world: &mut World| world.pools[0].sessions_per_host_max = 12;
    let (sessions, _) = alike("quota", true, 5, change);
    assert_eq!(sessions, 36);
}

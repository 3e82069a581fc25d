//! A gateway with two workers against the reference model: random packets of random flows in random queues, policy that changes,
//! time that jumps. Every packet's fate and every counter must be the model's.

use std::collections::BTreeMap;
use std::net::IpAddr;
use tombolo_sim::gateway::{SMALL, SimGateway};
use tombolo_sim::lab::{ends, parsed, sealed_by};
use tombolo_sim::model::{FORWARDED, Model, Outcome, Place, SERVER_PORT, Tuple};
use tombolo_sim::packets::{Station, TcpFlags, Trip};
use tombolo_sim::random::Random;
use tombolo_sim::worlds::{
    DEV, NAT_PORTS, PROD, Side, TunnelKind, UPLINK, WEB4, WEB6, add_host, demo, move_epochs, port_forward, rule,
};
use tombolo_tables::build::World;
use tombolo_tables::fate::{Counter, DropReason};
use tombolo_tables::layout::rule_action;
use tombolo_wire::protocol::{ICMP, ICMPV6, TCP, UDP};

const PORTS: [u16; 3] = [PROD, DEV, UPLINK];

#[derive(Default)]
struct Books {
    received: [u64; 3],
    sent: [u64; 3],
    transmitted: [u64; 3],
    drops: BTreeMap<DropReason, u64>,
}

struct Scenario {
    random: Random,
    world: World,
    gateway: SimGateway,
    model: Model,
    books: Books,
    sequence: u64,
    workers: usize,
}

impl Scenario {
    fn new(seed: u64, workers: usize) -> Self {
        let mut world = demo(Side::A, TunnelKind::PLAIN);
        for cloud in [PROD, DEV] {
            add_host(&mut world, Side::A, cloud, 11);
        }
        let server = Side::A.host4(PROD, 11);
        world
            .nat_rules
            .insert(0, port_forward(Side::A, FORWARDED, server, SERVER_PORT));
        let mut model = Model::default();
        model.allowed.extend([(PROD, UPLINK), (DEV, UPLINK)]);
        Scenario {
            random: Random::new(seed),
            gateway: SimGateway::new(&world, SMALL, workers),
            world,
            model,
            books: Books::default(),
            sequence: 1,
            workers,
        }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0 => self.change_policy(),
            1 => {
                move_epochs(&mut self.world);
                self.gateway.publish(&self.world);
                self.model.change();
            }
            // Short enough for every flow to live until the next long pause.
            2..=5 => self.gateway.sleep(20),
            6..=60 => self.go_on(),
            _ => self.begin(),
        }
    }

    fn change_policy(&mut self) {
        let pair = self
            .random
            .of(&[(PROD, UPLINK), (DEV, UPLINK), (UPLINK, PROD), (PROD, DEV), (DEV, PROD)]);
        if !self.model.allowed.remove(&pair) {
            self.model.allowed.insert(pair);
        }
        let allow = |pair: &(u16, u16)| rule(pair.0, pair.1, rule_action::ALLOW);
        self.world.policy_rules = self.model.allowed.iter().map(allow).collect();
        move_epochs(&mut self.world);
        self.gateway.publish(&self.world);
        self.model.change();
    }

    /// Hours pass: every flow ends, and every worker has had time to clear up.
    fn long_pause(&mut self) {
        for _ in 0..12 {
            self.gateway.sleep(3_600_000);
            self.gateway.run();
        }
        self.model.forget();
        let state = self.gateway.state();
        let (v4, v6) = (state.sessions4(), state.sessions6());
        assert!((0..v4.entries()).all(|session| v4.view(session).is_none()));
        assert!((0..v6.entries()).all(|session| v6.view(session).is_none()));
    }

    /// A further packet of a flow that the model knows, either way.
    fn go_on(&mut self) {
        let (number, reply) = (self.random.below(1 << 20), self.random.once_in(2));
        if let Some((tuple, tunnel)) = self.model.some_flow(number, reply) {
            self.send(tuple, tunnel, false, reply);
        }
    }

    /// A packet of its own making: often of a new flow, sometimes of none.
    fn begin(&mut self) {
        let v6 = self.random.once_in(3);
        let host = |side: Side, port, number| {
            if v6 {
                side.host6(port, number)
            } else {
                side.host4(port, number)
            }
        };
        let number = self.random.of(&[10, 11]);
        let web = if v6 { WEB6 } else { WEB4 };
        let outside = if v6 { Side::A.outside6() } else { Side::A.outside4() };
        let cloud = self.random.of(&[PROD, DEV]);
        let inside_port = 1000 + self.random.below(12) as u16;
        let near = (host(Side::A, cloud, number), inside_port);
        let protocol = self.random.of(&[TCP, UDP, if v6 { ICMPV6 } else { ICMP }]);
        let far_port = self.random.of(&[53, 80, 443]);
        let stray = NAT_PORTS.0 + self.random.below(10_000) as u16;
        let mut tunnel = false;
        let (segment, protocol, source, destination) = match self.random.below(10) {
            0..=3 => (cloud, protocol, near, (web, far_port)),
            4 => (cloud, protocol, near, (host(Side::B, cloud, 10), far_port)),
            5 => (cloud, protocol, near, (host(Side::A, 1 - cloud, 10), far_port)),
            6 => {
                tunnel = true;
                let there = (host(Side::B, PROD, 10), inside_port);
                (PROD, protocol, there, (host(Side::A, PROD, number), far_port))
            }
            7 => (UPLINK, TCP, (WEB4, inside_port), (Side::A.outside4(), FORWARDED)),
            8 => {
                let asker = (Side::A.host4(cloud, 10), inside_port);
                (cloud, TCP, asker, (Side::A.outside4(), FORWARDED))
            }
            _ => (UPLINK, protocol, (web, far_port), (outside, stray)),
        };
        let echo = matches!(protocol, ICMP | ICMPV6);
        // An echo has one identifier; what strays in from outside is a reply.
        let reply = echo && segment == UPLINK;
        let (source, destination) = match (echo, reply) {
            (true, true) => ((source.0, destination.1), destination),
            (true, false) => (source, (destination.0, source.1)),
            (false, _) => (source, destination),
        };
        let tuple = Tuple {
            segment,
            protocol,
            source,
            destination,
        };
        let opens = self.random.below(4) != 0;
        self.send(tuple, tunnel, opens, reply);
    }

    fn send(&mut self, tuple: Tuple, tunnel: bool, opens: bool, reply: bool) {
        let frame = frame(&tuple, tunnel, opens, reply);
        let ingress = if tunnel { UPLINK } else { tuple.segment };
        let bytes = if tunnel {
            self.sequence += 1;
            sealed_by(Side::B, tuple.segment, self.sequence, &frame[14..])
        } else {
            frame
        };
        let expected = self.model.meet(tuple, tunnel, opens, reply);
        let worker = self.random.below(self.workers);
        self.gateway.arrive(worker, ingress as u8, &bytes);
        self.gateway.run();
        self.books.received[usize::from(ingress)] += 1;
        self.judge(&tuple, ingress, expected);
    }

    fn judge(&mut self, tuple: &Tuple, ingress: u16, expected: Outcome) {
        let mut left: Vec<(u16, Vec<u8>)> = Vec::new();
        for port in PORTS {
            left.extend(self.gateway.sent(port as u8).into_iter().map(|frame| (port, frame)));
            assert!(
                self.gateway.punted(port as u8).is_empty(),
                "{tuple:?} went to the kernel"
            );
        }
        let place = match expected {
            Outcome::Dropped(reason) => {
                assert!(left.is_empty(), "{tuple:?} left, and {reason:?} was due");
                *self.books.drops.entry(reason).or_default() += 1;
                return;
            }
            Outcome::Leaves(place, _, _) | Outcome::LeavesTranslated(place, _, _) => place,
        };
        assert_eq!(
            left.len(),
            1,
            "{tuple:?} should be {expected:?}; drops {:?}",
            self.gateway.drops()
        );
        let (port, frame) = &left[0];
        self.books.sent[usize::from(ingress)] += 1;
        self.books.transmitted[usize::from(*port)] += 1;
        let headers = parsed(frame);
        let (source, destination) = ends(&headers);
        let by = match place {
            Place::Tunnel => {
                assert_eq!((*port, headers.protocol), (UPLINK, 50), "{tuple:?} in clear");
                return;
            }
            Place::Port(segment) => segment,
        };
        assert_eq!(*port, by, "{tuple:?}");
        // The identifier of an echo is in both ports of the headers.
        let echo = matches!(tuple.protocol, ICMP | ICMPV6);
        match expected {
            Outcome::Leaves(_, from, to) => {
                let from_port = if echo { to.1 } else { from.1 };
                assert_eq!((source, destination), (from.0, to.0), "{tuple:?}");
                assert_eq!(
                    (headers.source_port, headers.destination_port),
                    (from_port, to.1),
                    "{tuple:?}"
                );
            }
            Outcome::LeavesTranslated(_, from, to) => {
                assert_eq!((source, destination), (from, to.0), "{tuple:?}");
                if !echo {
                    assert_eq!(headers.destination_port, to.1);
                }
                self.model.chose(headers.source_port);
            }
            Outcome::Dropped(reason) => unreachable!("{reason:?} left above"),
        }
    }

    fn compare(&mut self) {
        for port in PORTS {
            let at = usize::from(port);
            let of = |counter| self.gateway.counter(port, counter);
            assert_eq!(of(Counter::Received), self.books.received[at], "received on {port}");
            assert_eq!(of(Counter::Sent), self.books.sent[at], "sent from {port}");
            assert_eq!(
                of(Counter::Transmitted),
                self.books.transmitted[at],
                "transmitted on {port}"
            );
            for none in [
                Counter::Originated,
                Counter::Punted,
                Counter::HandedOver,
                Counter::TakenOver,
                Counter::Held,
            ] {
                assert_eq!(of(none), 0, "{none:?} on {port}");
            }
        }
        assert_eq!(self.gateway.drops(), self.books.drops);
        self.gateway.assert_books();
    }
}

/// The packet of a tuple, as its sender would send it.
fn frame(tuple: &Tuple, tunnel: bool, opens: bool, reply: bool) -> Vec<u8> {
    let mac = if tuple.segment == UPLINK {
        Side::A.router_mac()
    } else {
        Side::A.host_mac(tuple.segment, last(tuple.source.0))
    };
    let trip = Trip {
        from: Station {
            mac,
            ip: tuple.source.0,
        },
        via: Side::A.mac(if tunnel { UPLINK } else { tuple.segment }),
        to: tuple.destination.0,
        ttl: 64,
    };
    let flags = if opens { TcpFlags::SYN } else { TcpFlags::ACK };
    match tuple.protocol {
        TCP => trip.tcp(tuple.source.1, tuple.destination.1, flags, None, b"data"),
        UDP => trip.udp(tuple.source.1, tuple.destination.1, b"data"),
        _ => trip.echo(reply, tuple.source.1, b"data"),
    }
}

fn last(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(v4) => v4.octets()[3],
        IpAddr::V6(v6) => v6.octets()[15],
    }
}

fn play(seed: u64, workers: usize) {
    let mut scenario = Scenario::new(seed, workers);
    let mut most = 0;
    for _ in 0..4 {
        for _ in 0..2_000 {
            scenario.step();
            most = most.max(scenario.model.flows());
        }
        scenario.compare();
        scenario.long_pause();
        scenario.compare();
    }
    assert!(most > 100, "a scenario of {most} flows shows little");
    let drops = scenario.gateway.drops();
    for reason in [DropReason::PolicyDefaultDeny, DropReason::StateInvalid] {
        assert!(drops.contains_key(&reason), "{reason:?} never happened");
    }
}

#[test]
fn one_worker_does_what_the_model_says() {
    for seed in 1..=4 {
        play(seed, 1);
    }
}

#[test]
fn two_workers_do_what_the_model_says_whichever_a_packet_meets() {
    for seed in 11..=16 {
        play(seed, 2);
    }
}

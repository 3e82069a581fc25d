//! The express lane against the general journey: whatever arrives, both send, punt and count the same.
//!
//! One gateway sees each frame again and again, by turns with the lane and without it: while anybody captures, on whatever port,
//! everything takes the general journey.

use std::collections::BTreeMap;
use std::net::IpAddr;
use tombolo_sim::frames::every_kind;
use tombolo_sim::gateway::{SMALL, SimGateway};
use tombolo_sim::lab::{ends, fix_header_checksum, from_host, sealed_by};
use tombolo_sim::packets::TcpFlags;
use tombolo_sim::random::Random;
use tombolo_sim::worlds::{DEV, PROD, Side, TunnelKind, UPLINK, WEB4, demo, rule};
use tombolo_tables::build::World;
use tombolo_tables::counters::Counters;
use tombolo_tables::layout::{PortIndex, rule_action, segment_flag};
use tombolo_wire::parse_frame;

/// A port that does not exist: nothing is copied, and yet somebody captures.
const CAPTURE_NOTHING: u64 = 1 << 63;
/// Mutations of each frame.
const MUTATIONS: usize = 60;

/// What one frame led to.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// Frames that left, by port; of sealed ones only what is not different each time.
    sent: Vec<Vec<Vec<u8>>>,
    punted: Vec<Vec<Vec<u8>>>,
    /// What came out at the other gateway.
    delivered: Vec<Vec<Vec<u8>>>,
    counters: BTreeMap<(u16, usize), u64>,
    /// Packets and bytes on all sessions.
    traffic: (u64, u64),
}

struct Twins {
    world: World,
    a: SimGateway,
    b: SimGateway,
    sequence: u64,
    served: usize,
}

impl Twins {
    fn new(kind: TunnelKind, change: impl Fn(&mut World)) -> Self {
        let mut world = demo(Side::A, kind);
        change(&mut world);
        Twins {
            a: SimGateway::new(&world, SMALL, 1),
            b: SimGateway::new(&demo(Side::B, kind), SMALL, 1),
            world,
            sequence: 1,
            served: 0,
        }
    }

    fn counters(&self) -> BTreeMap<(u16, usize), u64> {
        let counters = Counters::new(self.a.state().region());
        let mut all = BTreeMap::new();
        for port in 0..counters.ports() as u16 {
            for (word, value) in counters.sum(PortIndex(port)).into_iter().enumerate() {
                all.insert((port, word), value);
            }
        }
        all
    }

    /// Packets and bytes of each session.
    fn traffic(&self) -> BTreeMap<(u32, u32), (u64, u64)> {
        let sessions = self.a.state().sessions4();
        let view = |session| {
            let view = sessions.view(session)?;
            let [forward, reverse] = view.counters;
            let sum = (forward.packets + reverse.packets, forward.bytes + reverse.bytes);
            Some(((session, view.version), sum))
        };
        (0..sessions.entries()).filter_map(view).collect()
    }

    /// Shows the gateway a frame, with the lane or without it.
    fn show(&mut self, lane: bool, arrive: &mut dyn FnMut(&mut SimGateway, &mut u64)) -> Seen {
        self.world.capture = if lane { 0 } else { CAPTURE_NOTHING };
        self.a.publish(&self.world);
        // What may be told and punted is limited in time.
        self.a.sleep(1_000);
        self.b.sleep(1_000);
        let (counters, traffic) = (self.counters(), self.traffic());
        arrive(&mut self.a, &mut self.sequence);
        self.a.run();
        let sent: Vec<_> = [PROD, DEV, UPLINK].map(|port| self.a.sent(port as u8)).into();
        for frame in &sent[usize::from(UPLINK)] {
            let mut frame = frame.clone();
            frame[..6].copy_from_slice(&Side::B.mac(UPLINK));
            frame[6..12].copy_from_slice(&Side::B.router_mac());
            self.b.arrive(0, UPLINK as u8, &frame);
        }
        self.b.run();
        let delivered: Vec<_> = [PROD, DEV].map(|port| self.b.sent(port as u8)).into();
        self.b.sent(UPLINK as u8);
        self.a.assert_books();
        let after = self.counters();
        let mut added = (0, 0);
        for (session, (packets, bytes)) in self.traffic() {
            let (packets_before, bytes_before) = traffic.get(&session).copied().unwrap_or_default();
            added = (added.0 + packets - packets_before, added.1 + bytes - bytes_before);
        }
        Seen {
            sent: sent
                .into_iter()
                .map(|port| port.into_iter().map(lasting).collect())
                .collect(),
            punted: [PROD, DEV, UPLINK].map(|port| self.a.punted(port as u8)).into(),
            delivered,
            counters: after
                .into_iter()
                .map(|(counter, value)| (counter, value.wrapping_sub(counters[&counter])))
                .filter(|(_, value)| *value != 0)
                .collect(),
            traffic: added,
        }
    }

    fn compare(&mut self, name: &str, mut arrive: impl FnMut(&mut SimGateway, &mut u64)) {
        // The first time it may begin a flow.
        self.show(false, &mut arrive);
        let with = self.show(true, &mut arrive);
        let without = self.show(false, &mut arrive);
        assert_eq!(with, without, "{name}");
        self.served += usize::from(with.traffic.0 > 0);
    }

    fn compare_frame(&mut self, name: &str, port: u8, frame: &[u8]) {
        self.compare(name, |a, _| a.arrive(0, port, frame));
    }

    /// The inner packet of `frame`, as the peer seals it: each time with a number of its own.
    fn compare_sealed(&mut self, name: &str, frame: &[u8]) {
        let inner = frame.get(14..).unwrap_or(&[]);
        if !inner.is_empty() && inner.len() < 1400 {
            self.compare(name, |a, sequence| {
                *sequence += 1;
                a.arrive(0, UPLINK as u8, &sealed_by(Side::B, PROD, *sequence, inner));
            });
        }
    }
}

/// Without what a sealed frame has anew each time: identification, header checksum, sequence number, ciphertext.
fn lasting(mut frame: Vec<u8>) -> Vec<u8> {
    let Ok((_, headers)) = parse_frame(&frame) else {
        return frame;
    };
    let ours = [Side::A.outside4(), Side::A.outside6()].contains(&ends(&headers).0);
    let sealed = headers.protocol == 50 || (headers.protocol == 17 && headers.destination_port == 4500);
    if ours && sealed {
        let l4 = usize::from(headers.l4);
        let spi = if headers.protocol == 50 { l4 } else { l4 + 8 };
        if let Some(sealed) = frame.get_mut(spi + 4..) {
            sealed.fill(0);
        }
        if headers.protocol == 17 {
            frame[l4 + 6..l4 + 8].fill(0);
        }
        if !headers.addresses.is_v6() {
            frame[18..20].fill(0);
            frame[24..26].fill(0);
        }
    }
    frame
}

fn is_sealed(frame: &[u8]) -> bool {
    parse_frame(frame).is_ok_and(|(_, headers)| headers.protocol == 50 || headers.destination_port == 4500)
}

fn mutated(random: &mut Random, frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    for _ in 0..=random.below(2) {
        let at = random.below(frame.len().min(60));
        frame[at] = if random.once_in(2) {
            frame[at] ^ 1 << random.below(8)
        } else {
            random.bits() as u8
        };
    }
    if random.once_in(4) {
        frame.truncate(14 + random.below(frame.len().saturating_sub(14).max(1)));
    }
    if frame.len() >= 34 && frame[12..15] == [8, 0, 0x45] && !random.once_in(4) {
        fix_header_checksum(&mut frame);
    }
    frame
}

fn all_alike(name: &str, mut twins: Twins) {
    let mut random = Random::new(0x1a9e);
    let kinds = every_kind(&mut twins.a);
    for kind in &kinds {
        if !is_sealed(&kind.frame) {
            twins.compare_frame(kind.name, kind.port, &kind.frame);
        }
        twins.compare_sealed(kind.name, &kind.frame);
        for number in 0..MUTATIONS {
            let frame = mutated(&mut random, &kind.frame);
            let what = format!("{name}: {} mutated ({number}): {frame:02x?}", kind.name);
            if !is_sealed(&frame) {
                twins.compare_frame(&what, kind.port, &frame);
            }
            twins.compare_sealed(&what, &frame);
        }
    }
    assert!(
        twins.served > 100,
        "{name}: only {} frames belonged to sessions",
        twins.served
    );
}

#[test]
fn in_the_demos_world() {
    all_alike("demo", Twins::new(TunnelKind::PLAIN, |_| {}));
}

#[test]
fn with_tunnels_in_udp() {
    all_alike(
        "in UDP",
        Twins::new(
            TunnelKind {
                udp: true,
                ..TunnelKind::PLAIN
            },
            |_| {},
        ),
    );
}

/// Packets of many lengths to everywhere, and their mutations.
fn lengths_alike(mut twins: Twins) -> usize {
    let mut random = Random::new(0x57a7);
    let to = [
        Side::A.host4(DEV, 10),
        Side::A.host4(DEV, 77),
        Side::B.host4(PROD, 10),
        Side::B.host4(DEV, 10),
        Side::A.host4(PROD, 1),
        WEB4,
        IpAddr::V4([203, 0, 113, 255].into()),
    ];
    for to in to {
        for length in [0, 1, 92, 93, 300, 1300, 1372, 1373, 1374, 1375, 1376, 1400, 1460] {
            let udp = from_host(Side::A, PROD, to).udp(1000, 53, &vec![7; length]);
            let tcp = |flags| from_host(Side::A, PROD, to).tcp(1000, 80, flags, None, &vec![7; length.min(1400)]);
            for frame in [udp, tcp(TcpFlags::SYN), tcp(TcpFlags::ACK)] {
                twins.compare_frame(&format!("{to}, {length} bytes"), PROD as u8, &frame);
                for _ in 0..6 {
                    let frame = mutated(&mut random, &frame);
                    twins.compare_frame(&format!("{to}: {frame:02x?}"), PROD as u8, &frame);
                }
            }
        }
    }
    twins.served
}

#[test]
fn between_segments_and_with_a_narrow_port() {
    let change = |world: &mut World| {
        world.policy_rules.insert(0, rule(PROD, DEV, rule_action::ALLOW));
        world.policy_rules.insert(0, rule(DEV, PROD, rule_action::ALLOW));
        world.ports[usize::from(DEV)].mtu = 120;
    };
    all_alike("open", Twins::new(TunnelKind::PLAIN, change));
    assert!(lengths_alike(Twins::new(TunnelKind::PLAIN, change)) > 100);
}

/// Batches of packets that all go to one place, or to several, some from an address of the gateway. Frames that leave are compared
/// without their order: the lane's are sooner.
fn batches_alike(mut twins: Twins) -> u64 {
    let mut random = Random::new(0xba7c);
    let to = [
        Side::A.host4(DEV, 10),
        WEB4,
        Side::B.host4(PROD, 10),
        Side::A.host4(PROD, 1),
        IpAddr::V4([203, 0, 113, 255].into()),
    ];
    let mut sent = 0;
    for number in 0..200 {
        let (first, kinds, count) = (random.below(to.len()), 1 + random.below(3), 1 + random.below(64));
        let frame = |_| {
            let to = to[(first + random.below(kinds)) % to.len()];
            let mut frame = from_host(Side::A, PROD, to).udp(1000, 53, &vec![7; random.below(110)]);
            let IpAddr::V4(own) = Side::A.host4([PROD, DEV][random.below(2)], 1) else {
                return frame;
            };
            match random.below(8) {
                0 => frame[26..30].copy_from_slice(&own.octets()),
                1..4 => frame[28..30].copy_from_slice(&(random.bits() as u16).to_be_bytes()),
                _ => {}
            }
            fix_header_checksum(&mut frame);
            frame
        };
        let frames: Vec<_> = (0..count).map(frame).collect();
        let mut show = |lane| {
            let mut seen = twins.show(lane, &mut |a, _| {
                frames.iter().for_each(|frame| a.arrive(0, PROD as u8, frame))
            });
            let frames = seen.sent.iter_mut().chain(&mut seen.delivered);
            frames.for_each(|port| port.sort());
            seen
        };
        let (with, without) = (show(true), show(false));
        sent += with.sent.iter().map(|port| port.len() as u64).sum::<u64>();
        assert_eq!(with, without, "batch {number}");
    }
    sent
}

/// Batches of what the peer sealed for a segment without sessions, the lane's frames sooner, too.
fn opened_alike(mut twins: Twins) -> u64 {
    let mut random = Random::new(0x0bed);
    let to = [
        Side::A.host4(PROD, 10),
        Side::A.host4(DEV, 10),
        Side::A.host4(PROD, 1),
        WEB4,
        Side::B.host4(PROD, 10),
    ];
    let mut sent = 0;
    for number in 0..200 {
        let (kinds, count) = (1 + random.below(to.len()), 1 + random.below(64));
        let frame = |_| {
            let mut frame =
                from_host(Side::B, PROD, to[random.below(kinds)]).udp(1000, 53, &vec![7; random.below(300)]);
            if random.once_in(8) {
                frame[26..30].copy_from_slice(&[10, 1, 0, 1]);
                fix_header_checksum(&mut frame);
            } else if random.once_in(8) {
                frame = mutated(&mut random, &frame);
            }
            frame
        };
        let inner: Vec<_> = (0..count).map(frame).collect();
        let mut show = |lane| {
            let mut seen = twins.show(lane, &mut |a, sequence| {
                for frame in inner.iter().filter(|frame| frame.len() > 14) {
                    *sequence += 1;
                    a.arrive(0, UPLINK as u8, &sealed_by(Side::B, PROD, *sequence, &frame[14..]));
                }
            });
            let frames = seen.sent.iter_mut().chain(&mut seen.delivered);
            frames.for_each(|port| port.sort());
            seen
        };
        // The first time some may wait for a next hop that nobody knows.
        show(false);
        let (with, without) = (show(true), show(false));
        sent += with.sent.iter().map(|port| port.len() as u64).sum::<u64>();
        assert_eq!(with, without, "opened batch {number}");
    }
    sent
}

#[test]
fn in_a_segment_without_sessions() {
    let twins = |open: bool| {
        Twins::new(TunnelKind::PLAIN, |world| {
            world.segments[usize::from(PROD)].flags |= segment_flag::STATELESS;
            world
                .nat_rules
                .retain(|rule| rule.from != PROD && rule.from != u16::MAX);
            if open {
                world.policy_rules.insert(0, rule(PROD, DEV, rule_action::ALLOW));
            }
            world.ports[usize::from(DEV)].mtu = 120;
        })
    };
    lengths_alike(twins(true));
    let opened = [false, true].map(|open| opened_alike(twins(open)));
    assert!(
        opened[0] > 1_000 && opened[1] > opened[0] + 200,
        "only {opened:?} opened frames left"
    );
    let sent = [false, true].map(|open| batches_alike(twins(open)));
    assert!(
        sent[0] > 1_000 && sent[1] > sent[0] + 500,
        "only {sent:?} frames left, without a rule between segments and with one"
    );
}

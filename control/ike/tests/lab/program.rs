//! A fuzzer's bytes as a story: what the network does, what operators ask for, when processes are killed, and what a peer says that has the keys
//! and means no good. Whatever it is, no law is broken; and once it is over, both sides have the same SAs again, if need be after an operator has
//! taken the tunnel down and up.

use super::network::Hostility;
use super::{Host, Lab, address, connection, everything, heard, hybrid, lifetime, short_lived};
use std::collections::BTreeMap;
use std::sync::OnceLock;
use tombolo_ike::SaId;
use tombolo_ike::connection::{Connection, Path};
use tombolo_ike::endpoint::Command;
use tombolo_ike::fuzz::{Forged, Inside};
use tombolo_ike::proposal::{offer_esp, offer_ike};
use tombolo_ike::wire::{Delete, Exchange, KeyExchange, Nonce, Notify, Payload, TrafficSelector, notify};

/// Nobody may have a gateway keep more IKE SAs than this, by whatever it says: those being replaced, and half-open ones of one source.
const IKE_SAS_MAX: usize = 100;
/// Child SAs of one IKE SA at most, and of the few IKE SAs that one replaces.
const CHILDREN_MAX: usize = 1024;
/// One step of a story makes at most so many datagrams: nobody gets an amplifier.
const DATAGRAMS_MAX: u64 = 64;
/// A story is not longer than this.
const STEPS_MAX: usize = 200;

/// What the first byte of a story says.
mod variant {
    pub(super) const HYBRID: u8 = 1;
    pub(super) const PER_WORKER: u8 = 2;
    pub(super) const FROM_NOTHING: u8 = 4;
    pub(super) const BOTH_INITIATE: u8 = 8;
    pub(super) const HEAL: u8 = 16;
    pub(super) const SHORT_LIVED: u8 = 32;
    pub(super) const DELAYED: u8 = 64;
}

/// Tells it.
pub(crate) fn tell(story: &[u8]) {
    let mut story = Story {
        left: story,
        was_forged: false,
    };
    let variant = story.byte();
    let mut lab = begin(variant);
    for _ in 0..STEPS_MAX {
        let Some(step) = story.next() else { break };
        let sent = lab.network.sent;
        let kills = lab.hosts.iter().map(|host| host.kills).sum::<u64>();
        let is_wait = tell_step(&mut lab, &mut story, step);
        let killed = lab.hosts.iter().map(|host| host.kills).sum::<u64>() > kills;
        if !is_wait && !killed {
            assert!(lab.network.sent - sent <= DATAGRAMS_MAX, "step {step} sends too much");
        }
        // What is due at once is done.
        lab.run(lab.now);
        check(&lab);
    }
    if variant & variant::HEAL != 0 {
        // What one side was told in the other's name they may not agree on ever after: they begin anew.
        for side in (0..2).filter(|_| story.was_forged) {
            lab.command(side, Command::Down);
            lab.run(lab.now + 60_000);
        }
        lab.command(0, Command::Up);
        lab.command(1, Command::Up);
        lab.heal()
            .unwrap_or_else(|why| panic!("not one set of SAs in the end: {why}"));
    }
}

struct Story<'a> {
    /// What is left of it.
    left: &'a [u8],
    /// Somebody spoke in a peer's name.
    was_forged: bool,
}

impl Story<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.left.split_first()?;
        self.left = rest;
        Some(*first)
    }

    /// 0 behind the end.
    fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }
}

fn connections(variant: u8) -> [Vec<Connection>; 2] {
    [0, 1].map(|side| {
        let mut one = match variant & variant::SHORT_LIVED {
            0 => connection(side),
            _ => short_lived(side, 60_000, 20_000),
        };
        if variant & variant::HYBRID != 0 {
            one = hybrid(one);
        }
        if variant & variant::PER_WORKER != 0 {
            one.per_worker_children = 2;
        }
        one.initiate = side == 0 || variant & variant::BOTH_INITIATE != 0;
        vec![one]
    })
}

fn hostility(variant: u8) -> Hostility {
    Hostility {
        delay_ms: if variant & variant::DELAYED != 0 { 50 } else { 0 },
        ..Hostility::default()
    }
}

/// Both sides up, or about to begin. The keys of the former are made once: most stories are about what comes then.
fn begin(variant: u8) -> Lab {
    type Stores = [BTreeMap<SaId, Vec<u8>>; 2];
    static STORES: [OnceLock<Stores>; 64] = [const { OnceLock::new() }; 64];
    let (connections, hostility) = (connections(variant), hostility(variant));
    if variant & variant::FROM_NOTHING != 0 {
        return Lab::new(1, connections, hostility);
    }
    let kinds = variant & (variant::HYBRID | variant::PER_WORKER | variant::BOTH_INITIATE | variant::SHORT_LIVED);
    let stores = STORES[usize::from(kinds)].get_or_init(|| {
        let mut lab = Lab::new(2, connections.clone(), Hostility::default());
        lab.run(lab.now + 3000);
        lab.is_single().expect("both are up after three seconds");
        lab.hosts.map(|host| host.store)
    });
    let mut lab = Lab::new(3, [Vec::new(), Vec::new()], hostility);
    lab.now += 3000;
    for (side, connections) in connections.into_iter().enumerate() {
        lab.hosts[side] = Host::new(connections, 7 + side as u64);
        lab.hosts[side].store.clone_from(&stores[side]);
        lab.kill(side);
        lab.settle(side);
    }
    lab
}

/// One step; whether time may have passed.
fn tell_step(lab: &mut Lab, story: &mut Story<'_>, step: u8) -> bool {
    let side = usize::from(step >> 7);
    match step & 15 {
        0 => {
            if let Some(next) = lab.network.next() {
                lab.run(next);
            }
            return true;
        }
        1 => drop(lab.network.take_one()),
        2 => {
            if let Some((path, bytes)) = lab.network.take_one() {
                lab.network.send(lab.now, path, bytes.clone());
                lab.network.send(lab.now + u64::from(story.byte()), path, bytes);
            }
        }
        3 => corrupt(lab, story),
        4 => {
            let pauses = [1, 20, 150, 1100, 5000, 11_000, 31_000, 190_000];
            lab.run(lab.now + pauses[usize::from(story.byte() & 7)]);
            return true;
        }
        5 => {
            use Command::{Down, Rekey, RekeyChildren, RekeyIke, Up};
            let commands = [Rekey, RekeyIke, RekeyChildren, Up, Down];
            lab.command(side, commands[usize::from(story.byte()) % 5]);
        }
        6 | 7 | 12 => {
            let forged = forged(lab, side, story, step & 15 == 6);
            lab.hears(side, &forged);
            story.was_forged = true;
        }
        8 => {
            lab.kill(side);
            lab.settle(side);
        }
        9 => drop(lab.packet(side)),
        10 => {
            let now = lab.clock();
            let spi = u32::from(story.byte()) << 8;
            lab.hosts[side].endpoint.handle_unknown_spi(now, address(1 - side), spi);
            lab.settle(side);
        }
        11 => {
            let now = lab.clock();
            let moved = core::net::SocketAddr::new(address(1 - side), u16::from(story.byte()) + 4400);
            let spi = spi_of(lab, side, story, |sa| sa.inbound);
            lab.hosts[side].endpoint.handle_moved(now, spi, moved);
            lab.settle(side);
        }
        13 => reconfigure(lab, side, story),
        14 => {
            let (now, count) = (lab.clock(), 1 << (story.byte() & 63));
            let outbound = spi_of(lab, side, story, |sa| sa.outbound);
            let inbound = spi_of(lab, side, story, |sa| sa.inbound);
            let endpoint = &mut lab.hosts[side].endpoint;
            endpoint.handle_sealed(now, "t", outbound, count, count);
            endpoint.handle_traffic(now, inbound, Some(heard(lab.now)), count, count);
            lab.settle(side);
        }
        _ => stranger(lab, side, story),
    }
    false
}

/// A datagram under way arrives changed.
fn corrupt(lab: &mut Lab, story: &mut Story<'_>) {
    if let Some((path, mut bytes)) = lab.network.take_one() {
        let at = usize::from(story.byte()) * 3 % bytes.len().max(1);
        bytes[at] ^= story.byte() | 1;
        lab.network.send(lab.now, path, bytes);
    }
}

/// A first message of somebody else, and one for an IKE SA that is not there.
fn stranger(lab: &mut Lab, side: usize, story: &mut Story<'_>) {
    let choice = story.byte();
    let source = core::net::IpAddr::from([100, 64, 0, choice & 15]);
    let path = Path {
        local: core::net::SocketAddr::new(address(side), 500),
        remote: core::net::SocketAddr::new(if choice & 16 != 0 { source } else { address(1 - side) }, 500),
    };
    let Some((_, mut bytes)) = lab.network.take_one() else {
        return;
    };
    if let Some(spi) = bytes.get_mut(..8).filter(|_| choice & 32 != 0) {
        spi.fill(choice);
    }
    if let Some(spi) = bytes.get_mut(8..16).filter(|_| choice & 64 != 0) {
        spi.fill(0);
    }
    let now = lab.clock();
    lab.hosts[side].endpoint.handle_datagram(now, path, &bytes);
    lab.settle(side);
}

/// An operator changes the tunnel.
fn reconfigure(lab: &mut Lab, side: usize, story: &mut Story<'_>) {
    let what = story.byte();
    let one = &mut lab.hosts[side].connections[0];
    match what % 6 {
        0 => one.initiate ^= side == 1,
        1 => one.dpd_delay_ms = 1000 + u64::from(what) * 100,
        2 => one.children[0].packets_max = u64::from(what),
        3 => one.ike_lifetime = lifetime(10_000 + u64::from(what) * 1000),
        4 => one.children[0].lifetime = lifetime(10_000 + u64::from(what) * 1000),
        _ => one.fragment_bytes = 600 + u16::from(what),
    }
    lab.configure(side);
}

/// Of one of the SAs that workers have.
fn spi_of(lab: &Lab, side: usize, story: &mut Story<'_>, spi: fn(&super::Installed) -> u32) -> u32 {
    let installed = &lab.hosts[side].installed;
    let at = usize::from(story.byte());
    installed.get(at % installed.len().max(1)).map_or(4711, spi)
}

/// What the other side of one of its IKE SAs tells `side`.
fn forged(lab: &Lab, side: usize, story: &mut Story<'_>, is_raw: bool) -> Forged {
    let how = story.byte();
    let exchanges = [
        Exchange::CreateChildSa,
        Exchange::Informational,
        Exchange::IkeFollowupKe,
        Exchange::IkeAuth,
        Exchange::IkeIntermediate,
        Exchange::IkeSaInit,
        Exchange::Other(200),
        Exchange::CreateChildSa,
    ];
    // Mostly with the message id that is due.
    let off = [0, 0, 0, 0, 0, 0, 1, -1][usize::from(how >> 5)];
    let inside = if is_raw {
        let (first, count) = (story.byte(), story.byte());
        Inside::Bytes(first, story.bytes(count.into()))
    } else {
        let count = 1 + story.byte() % 8;
        let lists = (0..count).map(|_| payloads(lab, side, story));
        Inside::Payloads(lists.flatten().collect())
    };
    Forged {
        which: usize::from(how >> 4 & 1),
        exchange: exchanges[usize::from(how & 7)],
        is_response: how & 8 != 0,
        off,
        inside,
    }
}

/// Payloads such as are sent; the first few are all that an exchange needs.
fn payloads(lab: &Lab, side: usize, story: &mut Story<'_>) -> Vec<Payload> {
    let ours = &lab.hosts[side].connections[0];
    let (kind, detail) = (story.byte(), story.byte());
    let spi = 0x1000 + u32::from(detail);
    let with_exchange = kind & 0x80 != 0;
    let esp = || Payload::SecurityAssociation(offer_esp(&ours.children[0].proposals, spi, with_exchange));
    let ike = || Payload::SecurityAssociation(offer_ike(&ours.ike_proposals, Some(u64::from(spi))));
    let nonce = || Payload::Nonce(Nonce::new(vec![detail; 32]).expect("32 bytes"));
    let exchange = |group: u16, bytes: usize| {
        let data = vec![detail | 1; bytes];
        Payload::KeyExchange(KeyExchange { group, data })
    };
    let all = || everything().into_iter().map(TrafficSelector::Range).collect::<Vec<_>>();
    let selectors = || [Payload::SelectorsInitiator(all()), Payload::SelectorsResponder(all())];
    let narrow = || {
        let mut one = everything()[0];
        one.first = [detail, 0, 0, 0].into();
        one.last = [detail, 255, 255, 255].into();
        vec![TrafficSelector::Range(one)]
    };
    let tell = |kind: u16, data: &[u8]| Payload::Notify(Notify::new(kind, data));
    match kind & 31 {
        // A child SA: new, and instead of another; an IKE SA instead of another.
        0 => [esp(), nonce(), exchange(31, 32)]
            .into_iter()
            .chain(selectors())
            .collect(),
        1 => {
            let old = spi_of(lab, side, story, |sa| sa.outbound);
            let rekey = Payload::Notify(Notify::of_child(notify::REKEY_SA, old));
            let what = [rekey, esp(), nonce(), exchange(31, 32)];
            what.into_iter().chain(selectors()).collect()
        }
        2 => vec![ike(), nonce(), exchange(31, 32)],
        3 => vec![esp()],
        4 => vec![ike()],
        5 => vec![nonce()],
        6 => vec![exchange(31, 32)],
        7 => vec![exchange(36, if detail & 1 == 0 { 1184 } else { 1088 })],
        8 => selectors().into(),
        9 => vec![
            Payload::SelectorsInitiator(narrow()),
            Payload::SelectorsResponder(all()),
        ],
        10 => vec![
            Payload::SelectorsInitiator(all()),
            Payload::SelectorsResponder(narrow()),
        ],
        11 => {
            let old = spi_of(lab, side, story, |sa| sa.outbound);
            vec![Payload::Notify(Notify::of_child(notify::REKEY_SA, old))]
        }
        12 => vec![Payload::Delete(Delete::Esp(vec![spi_of(lab, side, story, |sa| {
            sa.outbound
        })]))],
        13 => vec![Payload::Delete(Delete::Ike)],
        14 => {
            let every = lab.hosts[side].installed.iter().map(|sa| sa.outbound);
            vec![Payload::Delete(Delete::Esp(every.collect()))]
        }
        15 => {
            let lost = spi_of(lab, side, story, |sa| sa.outbound);
            vec![tell(notify::INVALID_SPI, &lost.to_be_bytes())]
        }
        16 => {
            let errors = [
                notify::TEMPORARY_FAILURE,
                notify::CHILD_SA_NOT_FOUND,
                notify::STATE_NOT_FOUND,
                notify::NO_PROPOSAL_CHOSEN,
                notify::TS_UNACCEPTABLE,
                notify::NO_ADDITIONAL_SAS,
                notify::AUTHENTICATION_FAILED,
                notify::INVALID_SYNTAX,
            ];
            vec![tell(errors[usize::from(detail & 7)], &[])]
        }
        17 => vec![tell(notify::INVALID_KE_PAYLOAD, &u16::from(detail).to_be_bytes())],
        18 => vec![tell(notify::ADDITIONAL_KEY_EXCHANGE, &[detail; 16])],
        19 => vec![tell(notify::SA_RESOURCE_INFO, &u32::from(detail).to_be_bytes())],
        20 => vec![tell(notify::COOKIE, &[detail; 16])],
        21 => vec![tell(notify::INITIAL_CONTACT, &[])],
        22 => {
            let kind = u16::from(story.byte()) << 8 | u16::from(detail);
            let count = story.byte() & 31;
            vec![tell(kind, &story.bytes(count.into()))]
        }
        // An empty list, too, can be said.
        _ => Vec::new(),
    }
}

/// What must hold after every step, beside the laws.
fn check(lab: &Lab) {
    for host in &lab.hosts {
        let count = host.endpoint.ike_spis().len();
        assert!(count <= IKE_SAS_MAX, "{count} IKE SAs");
        let count = host.installed.len();
        assert!(count <= CHILDREN_MAX, "{count} child SAs");
        let stored = host.store.keys().filter(|id| id.0 != 0).count();
        assert_eq!(
            stored,
            host.endpoint.ike_spis().len(),
            "what is stored is what there is"
        );
        assert!(host.endpoint.poll_timeout().is_none_or(|at| at.0 >= lab.now), "overdue");
    }
}

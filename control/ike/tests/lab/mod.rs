//! Two gateways' IKE in one thread: a virtual clock, a network that may be hostile, and processes that may be killed between any two
//! things that they do. Everything follows from one seed.
#![allow(dead_code)]

mod laws;
pub(crate) mod network;
pub(crate) mod program;

use laws::Laws;
use network::{Hostility, Network};
use std::collections::BTreeMap;
use tombolo_ike::connection::{Child, Connection, Lifetime, Own, OwnProof, Path, Peer, PeerProof};
use tombolo_ike::endpoint::{Command, Endpoint, Heard, Limits};
use tombolo_ike::fuzz::{Forged, Inside, forge};
use tombolo_ike::identity::Identity;
use tombolo_ike::now::{Milliseconds, Now};
use tombolo_ike::random::Random;
use tombolo_ike::secret::Secret;
use tombolo_ike::selector::Selector;
use tombolo_ike::transform::{Encryption, EspProposal, Group, IkeProposal, Prf};
use tombolo_ike::wire::{Exchange, Payload};
use tombolo_ike::{News, SaId, What, Workers};

/// SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Seed(pub u64);

impl Seed {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// True in `part` of 1000 cases.
    pub(crate) fn permille(&mut self, part: u64) -> bool {
        self.next() % 1000 < part
    }
}

impl Random for Seed {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

/// What a worker would have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Installed {
    pub(crate) connection: String,
    pub(crate) child: String,
    pub(crate) inbound: u32,
    pub(crate) outbound: u32,
    pub(crate) keys: (Vec<u8>, Vec<u8>),
    pub(crate) sends: bool,
    pub(crate) workers: Workers,
    pub(crate) path: Path,
    pub(crate) udp: bool,
    pub(crate) follows: bool,
}

/// One gateway.
pub(crate) struct Host {
    pub(crate) endpoint: Endpoint,
    pub(crate) limits: Limits,
    pub(crate) connections: Vec<Connection>,
    pub(crate) store: BTreeMap<SaId, Vec<u8>>,
    pub(crate) installed: Vec<Installed>,
    pub(crate) news: Vec<News>,
    seed: Seed,
    pub(crate) kills: u64,
}

impl Host {
    pub(crate) fn new(connections: Vec<Connection>, seed: u64) -> Host {
        let mut seed = Seed(seed);
        let own = Seed(seed.next());
        Host {
            endpoint: Endpoint::new(Limits::default(), Box::new(own)),
            limits: Limits::default(),
            connections,
            store: BTreeMap::new(),
            installed: Vec::new(),
            news: Vec::new(),
            seed,
            kills: 0,
        }
    }

    fn install(&mut self) {
        self.installed = self
            .endpoint
            .children()
            .map(|view| Installed {
                connection: view.connection.to_owned(),
                child: view.child.name.clone(),
                inbound: view.child.inbound.spi,
                outbound: view.child.outbound.spi,
                keys: (
                    view.child.inbound.key.expose().to_vec(),
                    view.child.outbound.key.expose().to_vec(),
                ),
                sends: view.sends,
                workers: view.child.workers,
                path: view.path,
                udp: view.udp,
                follows: view.follows,
            })
            .collect();
    }

    /// Killed with -9 and started again: only the store and the workers' memory are left.
    pub(crate) fn restart(&mut self, now: Now) {
        self.kills += 1;
        let own = Seed(self.seed.next());
        self.endpoint = Endpoint::new(self.limits, Box::new(own));
        let records = self.store.iter().map(|(id, bytes)| (*id, bytes.clone().into()));
        let errors = self.endpoint.restore(now, records);
        assert!(errors.is_empty(), "{errors:?}");
        self.endpoint.configure(now, self.connections.clone());
    }

    /// The same while the settings of its one tunnel cannot be read.
    pub(crate) fn restart_unready(&mut self, now: Now, tunnel: &str) {
        self.endpoint = Endpoint::new(self.limits, Box::new(Seed(self.seed.next())));
        let records = self.store.iter().map(|(id, bytes)| (*id, bytes.clone().into()));
        assert!(self.endpoint.restore(now, records).is_empty());
        self.endpoint.set_unready([tunnel.to_owned()].into());
        self.endpoint.configure(now, Vec::<Connection>::new());
    }
}

/// Both, and what is between them.
pub(crate) struct Lab {
    pub(crate) hosts: [Host; 2],
    pub(crate) now: u64,
    pub(crate) network: Network,
    pub(crate) seed: Seed,
    /// In 1000: that a process is killed at a point where it can be.
    pub(crate) kill_permille: u64,
    /// The one point, counted from here on, at which it is killed for certain; points passed so far.
    pub(crate) kill_at: Option<u64>,
    pub(crate) points: u64,
    laws: Laws,
    /// An IKE SA ended, or began anew, since both sides last had the same: packets may be lost.
    pub(crate) is_broken: bool,
}

impl Lab {
    pub(crate) fn new(seed: u64, connections: [Vec<Connection>; 2], hostility: Hostility) -> Lab {
        let mut seed = Seed(seed);
        let [a, b] = connections;
        let hosts = [Host::new(a, seed.next()), Host::new(b, seed.next())];
        let network = Network::new(hostility, Seed(seed.next()));
        let mut lab = Lab {
            hosts,
            now: 1_000_000,
            network,
            seed,
            kill_permille: 0,
            kill_at: None,
            points: 0,
            laws: Laws::default(),
            is_broken: true,
        };
        for side in 0..2 {
            lab.configure(side);
        }
        lab
    }

    pub(crate) fn clock(&self) -> Now {
        Now {
            monotonic: Milliseconds(self.now),
            unix: 1_800_000_000 + self.now / 1000,
        }
    }

    /// Whether the process is killed here; it is up again at once.
    fn is_killed(&mut self, side: usize) -> bool {
        self.points += 1;
        let killed =
            self.kill_at == Some(self.points) || self.kill_permille > 0 && self.seed.permille(self.kill_permille);
        if killed {
            let now = self.clock();
            // Told to nobody; the test has to know.
            self.take_news(side);
            self.hosts[side].restart(now);
        }
        killed
    }

    /// Kills the process of that side, which is up again at once.
    pub(crate) fn kill(&mut self, side: usize) {
        let now = self.clock();
        self.hosts[side].restart(now);
    }

    /// Commit, install, send, in this order, as the agent does; killed anywhere.
    pub(crate) fn settle(&mut self, side: usize) {
        loop {
            if self.is_killed(side) {
                continue;
            }
            let Some(commit) = self.hosts[side].endpoint.take_commit() else {
                break;
            };
            for record in commit.put {
                self.hosts[side].store.insert(record.id, record.bytes.to_vec());
            }
            for id in commit.removed {
                self.hosts[side].store.remove(&id);
            }
            if self.is_killed(side) {
                continue;
            }
            if self.hosts[side].endpoint.children_changed() {
                self.hosts[side].install();
                self.laws.check_installed(side, &self.hosts[side].installed);
            }
            if self.is_killed(side) {
                continue;
            }
            let transmits = self.hosts[side].endpoint.take_transmits();
            let mut killed = false;
            for transmit in transmits {
                self.laws.check_datagram(&self.hosts[side], &transmit.bytes);
                self.network.send(self.now, transmit.path, transmit.bytes);
                if self.is_killed(side) {
                    killed = true;
                    break;
                }
            }
            self.take_news(side);
            if !killed && !self.hosts[side].endpoint.has_commit() {
                break;
            }
        }
        // Replies without state need no commit.
        for transmit in self.hosts[side].endpoint.take_transmits() {
            self.laws.check_datagram(&self.hosts[side], &transmit.bytes);
            self.network.send(self.now, transmit.path, transmit.bytes);
        }
        self.take_news(side);
    }

    fn take_news(&mut self, side: usize) {
        let news = self.hosts[side].endpoint.take_news();
        self.is_broken |= news
            .iter()
            .any(|news| matches!(news.what, What::Ended { .. } | What::Established { .. }));
        self.hosts[side].news.extend(news);
    }

    /// Until `until`, event by event.
    pub(crate) fn run(&mut self, until: u64) {
        let mut rounds = 0;
        loop {
            let timers = self.hosts.iter().filter_map(|host| host.endpoint.poll_timeout());
            let timer = timers.map(|at| at.0).min().unwrap_or(u64::MAX);
            let next = timer.min(self.network.next().unwrap_or(u64::MAX)).max(self.now);
            if next > until {
                self.now = until;
                return;
            }
            rounds = if next == self.now { rounds + 1 } else { 0 };
            assert!(rounds < 10_000, "a deadline that nothing is done about");
            self.now = next;
            while let Some((side, path, bytes)) = self.network.arrive(self.now) {
                let now = self.clock();
                self.hosts[side].endpoint.handle_datagram(now, path, &bytes);
                self.settle(side);
            }
            for side in 0..2 {
                let now = self.clock();
                if self.hosts[side]
                    .endpoint
                    .poll_timeout()
                    .is_some_and(|at| at.0 <= self.now)
                {
                    self.hosts[side].endpoint.handle_timeout(now);
                    let next = self.hosts[side].endpoint.poll_timeout();
                    assert!(
                        next.is_none_or(|at| at > now.monotonic),
                        "what was due at {next:?} was not done at {now:?}"
                    );
                    self.settle(side);
                }
            }
        }
    }

    /// Until so many datagrams were sent in all.
    pub(crate) fn run_until_sent(&mut self, count: u64) {
        for _ in 0..10_000 {
            if self.network.sent >= count {
                return;
            }
            self.run(self.now + 1);
        }
        panic!("{} datagrams were sent, not {count}", self.network.sent);
    }

    /// What stands in `connections` of a side is its configuration from now on.
    pub(crate) fn configure(&mut self, side: usize) {
        let (now, connections) = (self.clock(), self.hosts[side].connections.clone());
        self.hosts[side].endpoint.configure(now, connections);
        self.settle(side);
    }

    /// `side` hears this in its peer's name; nothing, if it has no IKE SA with keys.
    pub(crate) fn hears(&mut self, side: usize, said: &Forged) {
        if let Some((path, bytes)) = forge(&self.hosts[side].endpoint, said) {
            let now = self.clock();
            self.hosts[side].endpoint.handle_datagram(now, path, &bytes);
            self.settle(side);
        }
    }

    pub(crate) fn command(&mut self, side: usize, command: Command) {
        let now = self.clock();
        assert!(self.hosts[side].endpoint.command(now, "t", command));
        self.settle(side);
    }

    /// A packet of each worker of `side` at this moment: whether the other side has the SAs that they are sealed with, and so is told that they
    /// came. None if it has nothing to seal with.
    pub(crate) fn packet(&mut self, side: usize) -> Option<bool> {
        let there = self.would_arrive(side)?;
        if there {
            let now = self.clock();
            let senders = self.hosts[side].installed.iter().filter(|sa| sa.sends);
            for sender in senders.map(|sa| sa.outbound).collect::<Vec<_>>() {
                self.hosts[1 - side]
                    .endpoint
                    .handle_traffic(now, sender, Some(heard(self.now)), 1, 1);
            }
            self.settle(1 - side);
        }
        Some(there)
    }

    /// The same, told to nobody.
    pub(crate) fn would_arrive(&self, side: usize) -> Option<bool> {
        let mut senders = self.hosts[side].installed.iter().filter(|sa| sa.sends).peekable();
        senders.peek()?;
        let there = &self.hosts[1 - side].installed;
        Some(senders.all(|sender| there.iter().any(|sa| sa.inbound == sender.outbound)))
    }

    /// The network heals and nobody is killed any more: after some minutes both sides have the same, or why not.
    pub(crate) fn heal(&mut self) -> Result<(), String> {
        self.network.hostility = Hostility {
            delay_ms: 20,
            ..Hostility::default()
        };
        self.kill_permille = 0;
        // What is replaced from now on lives long: SAs that come and go while nothing is hostile prove nothing.
        for side in 0..2 {
            let lasting = connection(side);
            for tunnel in &mut self.hosts[side].connections {
                tunnel.ike_lifetime = lasting.ike_lifetime;
                tunnel.children[0].lifetime = lasting.children[0].lifetime;
            }
            self.configure(side);
        }
        // What is under way ends: late datagrams, dead peers, pauses, leftovers that the other side should have deleted.
        self.run(self.now + 260_000);
        let mut last = String::new();
        for _ in 0..2500 {
            self.run(self.now + 100);
            match self.is_single() {
                Ok(()) => return Ok(()),
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    /// Exactly one IKE SA on both sides, and the same child SAs: one for all, and where both want it one for each worker.
    pub(crate) fn is_single(&self) -> Result<(), String> {
        let [a, b] = &self.hosts;
        let spis = |host: &Host| host.endpoint.ike_spis();
        let short = |host: &Host| -> Vec<_> {
            let all = host.installed.iter();
            all.map(|sa| (sa.inbound, sa.outbound, sa.sends, sa.workers)).collect()
        };
        let wrong = |what: &str| {
            Err(format!(
                "{what}: {:x?} {:x?}, IKE SAs {:x?} {:x?}",
                short(a),
                short(b),
                spis(a),
                spis(b)
            ))
        };
        if spis(a).len() != 1 || spis(a) != spis(b) {
            return wrong("not one IKE SA");
        }
        let workers = [a, b].map(|host| host.connections[0].per_worker_children);
        let each = if workers.iter().all(|workers| *workers > 1) {
            workers
        } else {
            [0, 0]
        };
        if a.installed.len() != b.installed.len() || a.installed.len() > usize::from(1 + each[0] + each[1]) {
            return wrong("too few or too many child SAs");
        }
        let crosses = |x: &Installed, y: &Installed| {
            let crossed = (y.outbound, y.inbound, &y.keys.1, &y.keys.0);
            (x.inbound, x.outbound, &x.keys.0, &x.keys.1) == crossed
        };
        if !a.installed.iter().all(|x| b.installed.iter().any(|y| crosses(x, y))) {
            return wrong("different child SAs");
        }
        for (host, each) in self.hosts.iter().zip(each) {
            let wanted = core::iter::once(Workers::All).chain((0..each).map(Workers::Only));
            let sends = |workers: Workers| {
                host.installed
                    .iter()
                    .filter(|sa| sa.sends && sa.workers == workers)
                    .count()
            };
            let all = host.installed.iter().filter(|sa| sa.sends).count();
            if wanted.clone().any(|workers| sends(workers) != 1) || all != wanted.count() {
                return wrong("not one child SA for each");
            }
        }
        Ok(())
    }
}

/// What a peer with the keys says, with the message id that is due.
pub(crate) fn forged(exchange: Exchange, is_response: bool, payloads: Vec<Payload>) -> Forged {
    Forged {
        which: 0,
        exchange,
        is_response,
        off: 0,
        inside: Inside::Payloads(payloads),
    }
}

/// A packet came then.
pub(crate) fn heard(at: u64) -> Heard {
    Heard {
        at: Milliseconds(at),
        is_new: true,
    }
}

/// All IPv4.
pub(crate) fn everything() -> Vec<Selector> {
    vec![Selector {
        first: "0.0.0.0".parse().unwrap(),
        last: "255.255.255.255".parse().unwrap(),
        protocol: 0,
        first_port: 0,
        last_port: 65535,
    }]
}

pub(crate) fn address(side: usize) -> core::net::IpAddr {
    ["192.0.2.1", "198.51.100.1"][side].parse().unwrap()
}

fn lifetime(rekey_ms: u64) -> Lifetime {
    Lifetime {
        rekey_ms,
        fuzz_ms: rekey_ms / 4,
        hard_ms: rekey_ms * 10 + 600_000,
    }
}

/// A tunnel of one side to the other.
pub(crate) fn connection(side: usize) -> Connection {
    let psk = || Secret::new(b"a pre-shared key of more than twenty bytes".to_vec());
    Connection {
        name: "t".into(),
        peer_kind: "the other",
        policy: "set what is offered here",
        local: address(side),
        remote: Some(address(1 - side)),
        initiate: side == 0,
        start_on_4500: false,
        force_udp: false,
        own: Own {
            identity: Identity::Address(address(side)),
            proof: OwnProof::Psk(psk()),
        },
        peer: Peer {
            identity: Some(Identity::Address(address(1 - side))),
            spiffe: None,
            proof: PeerProof::Psk(psk()),
        },
        ike_proposals: vec![IkeProposal {
            encryption: vec![Encryption::AesGcm16(256)],
            prf: vec![Prf::HmacSha256],
            groups: vec![Group::Curve25519],
            ..IkeProposal::default()
        }],
        children: vec![Child {
            name: "all".into(),
            proposals: vec![EspProposal {
                encryption: vec![Encryption::AesGcm16(256)],
                groups: vec![Some(Group::Curve25519), None],
                esn: vec![true, false],
                ..EspProposal::default()
            }],
            local: everything(),
            remote: everything(),
            lifetime: lifetime(3_600_000),
            bytes_max: 0,
            packets_max: 0,
        }],
        ike_lifetime: lifetime(14_400_000),
        dpd_delay_ms: 10_000,
        dpd_timeout_ms: 30_000,
        fragment_bytes: 1280,
        ppk: None,
        per_worker_children: 0,
    }
}

/// The same with ML-KEM-768 behind every key exchange: IKE_INTERMEDIATE at first, IKE_FOLLOWUP_KE when SAs are replaced.
pub(crate) fn hybrid(connection: Connection) -> Connection {
    let mut connection = connection;
    let additional = || vec![vec![Some(Group::MlKem768)]];
    connection.ike_proposals[0].additional = additional();
    connection.children[0].proposals[0].additional = additional();
    connection
}

/// The same with lifetimes in milliseconds.
pub(crate) fn short_lived(side: usize, ike_ms: u64, child_ms: u64) -> Connection {
    let mut connection = connection(side);
    connection.ike_lifetime = lifetime(ike_ms);
    connection.children[0].lifetime = lifetime(child_ms);
    connection
}

/// Where a datagram sent on a path arrives: the same path seen from the other side.
pub(crate) fn seen_from_there(path: Path) -> Path {
    Path {
        local: path.remote,
        remote: path.local,
    }
}

//! Which tunnels shall have an IKE SA: configuration, operators' commands, and new attempts with growing pauses.

use super::Endpoint;
use crate::connection::{Connection, Path};
use crate::failure::Failure;
use crate::now::{Milliseconds, Now};
use crate::random::Random;
use crate::sa::established::Standing;
use crate::sa::initiator::InitSent;
use crate::sa::nat::{IKE_PORT, NAT_PORT};
use crate::sa::step::Step;
use crate::sa::{IkeSa, SaId, State};
use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Pause after the first failure; it doubles.
const PAUSE_MS: u64 = 1000;
/// No pause is longer, jitter aside.
const PAUSE_MS_MAX: u64 = 60_000;

/// What is known of a tunnel beyond its IKE SAs.
#[derive(Debug, Default)]
pub(super) struct Tunnel {
    /// When to begin an IKE SA; none = the peer does, or there is one.
    pub(super) begin_at: Option<Milliseconds>,
    failures: u32,
    /// Why it failed last.
    pub(super) last: Option<Failure>,
    /// An operator took it down.
    pub(super) is_down: bool,
}

impl Tunnel {
    /// An IKE SA ended: another one is begun after a pause with jitter, so that a thousand tunnels do not come back at once.
    pub(super) fn failed(&mut self, now: Milliseconds, random: &mut dyn Random, why: &Failure) {
        let pause = (PAUSE_MS << self.failures.min(6)).min(PAUSE_MS_MAX);
        self.failures = self.failures.saturating_add(1);
        self.begin_at = Some(now.after(pause / 2 + random.below(pause)));
        if *why != Failure::Ours {
            self.last = Some(why.clone());
        }
    }

    /// It is up.
    pub(super) fn came_up(&mut self) {
        (self.failures, self.begin_at, self.last) = (0, None, None);
    }
}

/// What an operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Begin now, also where the peer usually does.
    Up,
    /// Delete, and stay down until Up.
    Down,
    /// Replace the IKE SA and its children now.
    Rekey,
    /// The IKE SA alone.
    RekeyIke,
    /// Its children alone.
    RekeyChildren,
}

impl Endpoint {
    /// Makes these the tunnels. IKE SAs of tunnels that are gone or changed in what was negotiated are deleted, with a message to the peer;
    /// new secrets, certificates and lifetimes count from the next negotiation on.
    pub fn configure(&mut self, now: Now, connections: Vec<Connection>) {
        let named = connections.into_iter().map(|c| (c.name.clone(), Arc::new(c)));
        let new: BTreeMap<String, Arc<Connection>> = named.collect();
        let kept = |name: &str, old: &Connection| new.get(name).is_some_and(|new| is_same_negotiation(old, new));
        let changed = self
            .connections
            .iter()
            .filter(|(name, old)| !kept(name, old))
            .map(|(name, _)| name.clone());
        // Also what an earlier process left of a tunnel that is configured no longer.
        let unknown = self
            .sas
            .values()
            .filter_map(IkeSa::connection)
            .filter(|name| !new.contains_key(*name));
        let gone: BTreeSet<String> = changed.chain(unknown.map(str::to_owned)).collect();
        for name in &gone {
            self.leave(name);
        }
        self.tunnels.retain(|name, _| new.contains_key(name));
        for name in new.keys() {
            self.tunnels.entry(name.clone()).or_default();
        }
        self.connections = new;
        self.touch_all(now);
        self.begin_wanted(now);
    }

    /// Carries out a command; false if there is no such tunnel.
    pub fn command(&mut self, now: Now, name: &str, command: Command) -> bool {
        let Some(tunnel) = self.tunnels.get_mut(name) else {
            return false;
        };
        tunnel.is_down = command == Command::Down;
        match command {
            Command::Up => tunnel.begin_at = Some(now.monotonic),
            Command::Down => self.leave(name),
            Command::Rekey | Command::RekeyIke | Command::RekeyChildren => {
                let (ike, children) = (command != Command::RekeyChildren, command != Command::RekeyIke);
                for sa in self.sas.values_mut() {
                    if let Some(state) = sa.established_mut().filter(|state| state.connection == name) {
                        state.rekey_now(now.monotonic, ike, children);
                    }
                }
            }
        }
        self.touch_all(now);
        self.begin_wanted(now);
        true
    }

    /// Ends all IKE SAs of a tunnel: established ones with a Delete.
    fn leave(&mut self, name: &str) {
        let mut ended = Vec::new();
        for sa in self.sas.values_mut().filter(|sa| sa.connection() == Some(name)) {
            match sa.established_mut() {
                Some(state) if state.standing == Standing::Current => state.standing = Standing::Leaving,
                Some(_) => {}
                None => {
                    sa.state = State::ended(Some(name), Failure::Ours);
                    ended.push(sa.id);
                }
            }
            self.dirty.insert(sa.id);
        }
        for id in ended {
            if let Some(sa) = self.sas.remove(&id) {
                self.forget(&sa);
            }
        }
    }

    /// Lets every IKE SA see what changed.
    fn touch_all(&mut self, now: Now) {
        for id in self.sas.keys().copied().collect::<Vec<_>>() {
            self.turn(now, id, |_, _| {});
        }
    }

    /// Begins IKE SAs for the tunnels that want one and have none.
    pub(super) fn begin_wanted(&mut self, now: Now) {
        for (name, connection) in self.connections.clone() {
            let has = self.has_sa(&name);
            let Some(tunnel) = self.tunnels.get_mut(&name) else {
                continue;
            };
            if has || tunnel.is_down {
                tunnel.begin_at = None;
                continue;
            }
            if connection.remote.is_none() || !(connection.initiate || tunnel.begin_at.is_some()) {
                continue;
            }
            let at = *tunnel.begin_at.get_or_insert(now.monotonic);
            if at <= now.monotonic {
                self.begin(now, &connection);
            }
        }
    }

    /// Whether a tunnel has an IKE SA, or is about to get one.
    fn has_sa(&self, name: &str) -> bool {
        self.sas
            .values()
            .any(|sa| sa.connection() == Some(name) && !sa.established().is_some_and(|s| s.is_going()))
    }

    fn begin(&mut self, now: Now, connection: &Connection) {
        let Some(remote) = connection.remote else { return };
        let port = if connection.start_on_4500 { NAT_PORT } else { IKE_PORT };
        let path = Path {
            local: SocketAddr::new(connection.local, port),
            remote: SocketAddr::new(remote, port),
        };
        let (mut spawned, mut bequests) = (Vec::new(), Vec::new());
        let mut step = Step {
            now,
            random: self.random.as_mut(),
            connections: &self.connections,
            child_spis: &mut self.child_spis,
            transmits: &mut self.transmits,
            news: &mut self.news,
            spawned: &mut spawned,
            bequests: &mut bequests,
            next_id: &mut self.next_id,
        };
        let sa: Option<IkeSa> = InitSent::begin(&mut step, connection, path);
        if let Some(tunnel) = self.tunnels.get_mut(&connection.name) {
            tunnel.begin_at = None;
        }
        if let Some(sa) = sa {
            let _: SaId = sa.id;
            self.insert(sa);
        }
    }
}

/// Whether an IKE SA that was negotiated for `old` serves `new` as well.
fn is_same_negotiation(old: &Connection, new: &Connection) -> bool {
    let negotiated = |c: &Connection| {
        let mut c = c.clone();
        c.own.proof = new.own.proof.clone();
        c.peer.proof = new.peer.proof.clone();
        c.ppk.clone_from(&new.ppk);
        c.ike_lifetime = new.ike_lifetime;
        c.dpd_delay_ms = new.dpd_delay_ms;
        c.dpd_timeout_ms = new.dpd_timeout_ms;
        c.initiate = new.initiate;
        for (child, other) in c.children.iter_mut().zip(&new.children) {
            (child.lifetime, child.bytes_max, child.packets_max) = (other.lifetime, other.bytes_max, other.packets_max);
        }
        c
    };
    negotiated(old) == *new
}

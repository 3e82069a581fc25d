//! Which tunnels shall have an IKE SA: configuration, operators' commands, and new attempts with growing pauses.

use super::{Endpoint, Made};
use crate::connection::{Connection, Path};
use crate::failure::Failure;
use crate::now::{Milliseconds, Now};
use crate::random::Random;
use crate::sa::established::{Standing, WANTED_BY_PEER};
use crate::sa::initiator::InitSent;
use crate::sa::nat::{IKE_PORT, NAT_PORT};
use crate::sa::step::{Step, What};
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
    /// Why it has no IKE SA, or could not replace it.
    pub(super) last: Option<Failure>,
    /// Why child SAs are missing, or could not be replaced, by name.
    pub(super) children: BTreeMap<String, Failure>,
    /// An operator wants it begun here, though the peer usually does.
    is_asked: bool,
}

impl Tunnel {
    /// An IKE SA ended: how long to wait, with jitter, so that a thousand tunnels do not come back at once.
    fn pause(&mut self, random: &mut dyn Random) -> u64 {
        let pause = (PAUSE_MS << self.failures.min(6)).min(PAUSE_MS_MAX);
        self.failures = self.failures.saturating_add(1);
        pause / 2 + random.below(pause)
    }

    /// It is up.
    pub(super) fn came_up(&mut self) {
        (self.failures, self.last) = (0, None);
        self.children.clear();
    }

    /// Keeps what an operator wants to see as long as it is so.
    pub(super) fn note(&mut self, what: &What) {
        match what {
            What::RekeyFailed { why } => self.last = Some(why.clone()),
            What::ChildFailed { child, why } => drop(self.children.insert(child.clone(), why.clone())),
            What::IkeRekeyed => self.last = None,
            What::ChildUp { child } | What::ChildRekeyed { child } => {
                self.children.remove(child);
                self.children.remove(WANTED_BY_PEER);
            }
            What::Established { .. } | What::Ended { .. } | What::Moved { .. } => {}
        }
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
    pub fn configure(&mut self, now: Now, connections: Vec<impl Into<Arc<Connection>>>) {
        let shared = connections.into_iter().map(Into::<Arc<Connection>>::into);
        let new: BTreeMap<String, Arc<Connection>> = shared.map(|c| (c.name.clone(), c)).collect();
        let kept = |name: &str, old: &Connection| new.get(name).is_some_and(|new| is_same_negotiation(old, new));
        let unlike = self.connections.iter().filter(|(name, old)| !kept(name, old));
        // Those without configuration are what a restarted process took over.
        let orphans = self.by_tunnel.keys().filter(|name| !new.contains_key(*name));
        let goes = |name: &&String| new.contains_key(*name) || !self.unready.contains(*name);
        let gone: BTreeSet<String> = unlike
            .map(|(name, _)| name)
            .chain(orphans)
            .filter(goes)
            .cloned()
            .collect();
        for name in &gone {
            self.leave(name);
        }
        let is_changed = |name: &String, c: &Arc<Connection>| self.connections.get(name) != Some(c);
        let changed = new.iter().filter(|(name, c)| is_changed(name, c)).map(|(name, _)| name);
        let touched: BTreeSet<String> = changed.chain(&gone).cloned().collect();
        // What was negotiated goes on as it was while its settings cannot be read.
        let waiting: Vec<(String, Arc<Connection>)> = self
            .connections
            .iter()
            .filter(|(name, _)| self.unready.contains(*name) && !new.contains_key(*name))
            .map(|(name, connection)| (name.clone(), connection.clone()))
            .collect();
        for (name, _) in &waiting {
            self.set_begin(name, None);
        }
        let unready = &self.unready;
        self.tunnels
            .retain(|name, _| new.contains_key(name) || unready.contains(name));
        self.forget_down(|name| new.contains_key(name));
        self.begins.retain(|(_, name)| new.contains_key(name));
        self.by_addresses.clear();
        for (name, connection) in &new {
            self.tunnels.entry(name.clone()).or_default();
            let addresses = (connection.local, connection.remote);
            let there = self.by_addresses.entry(addresses).or_default();
            there.push(connection.clone());
        }
        let ready: Vec<String> = new.keys().cloned().collect();
        self.connections = new;
        self.connections.extend(waiting);
        for name in &touched {
            self.touch(now, name);
        }
        for name in &ready {
            self.want(now, name);
        }
    }

    /// Tunnels that are configured, but of which no connection can be made now: a file cannot be read, a name has no address yet. IKE SAs
    /// that they have go on. To be said before [`configure`](Self::configure).
    pub fn set_unready(&mut self, names: BTreeSet<String>) {
        self.unready = names;
    }

    /// Carries out a command; false if there is no such tunnel, or nothing but Down can be done with it now.
    pub fn command(&mut self, now: Now, name: &str, command: Command) -> bool {
        let is_unready = self.unready.contains(name);
        let tunnel = self.tunnels.get_mut(name);
        let can = match command {
            Command::Down => is_unready || tunnel.is_some(),
            Command::Up => !is_unready && tunnel.is_some(),
            Command::Rekey | Command::RekeyIke | Command::RekeyChildren => tunnel.is_some(),
        };
        if !can {
            return false;
        }
        if let Some(tunnel) = tunnel {
            tunnel.is_asked = command == Command::Up || tunnel.is_asked && command != Command::Down;
        }
        match command {
            Command::Up => {
                self.set_down(name, false);
                self.set_begin(name, None);
            }
            Command::Down => {
                self.set_down(name, true);
                self.leave(name);
            }
            Command::Rekey | Command::RekeyIke | Command::RekeyChildren => {
                let (ike, children) = (command != Command::RekeyChildren, command != Command::RekeyIke);
                for id in self.ids_of(name) {
                    if let Some(state) = self.sas.get_mut(&id).and_then(|sa| sa.established_mut()) {
                        state.rekey_now(now.monotonic, ike, children);
                    }
                }
            }
        }
        self.touch(now, name);
        self.want(now, name);
        true
    }

    fn ids_of(&self, name: &str) -> Vec<SaId> {
        self.by_tunnel.get(name).into_iter().flatten().copied().collect()
    }

    /// Ends all IKE SAs of a tunnel: established ones with a Delete.
    pub(super) fn leave(&mut self, name: &str) {
        for id in self.ids_of(name) {
            let Some(sa) = self.sas.get_mut(&id) else { continue };
            self.dirty.insert(id);
            match sa.established_mut() {
                Some(state) if matches!(state.standing, Standing::Current | Standing::Candidate { .. }) => {
                    state.standing = Standing::Leaving;
                    self.children_changed = true;
                }
                Some(_) => {}
                None => {
                    sa.state = State::ended(Some(name), Failure::Ours);
                    if let Some(sa) = self.sas.remove(&id) {
                        self.forget(&sa);
                    }
                }
            }
        }
    }

    /// Lets a tunnel's IKE SAs see what changed.
    pub(super) fn touch(&mut self, now: Now, name: &str) {
        for id in self.ids_of(name) {
            self.turn(now, id, |_, _| {});
        }
    }

    /// Begins IKE SAs for the tunnels whose pause is over.
    pub(super) fn begin_wanted(&mut self, now: Now) {
        while let Some((at, name)) = self.begins.first().filter(|(at, _)| *at <= now.monotonic).cloned() {
            self.begins.remove(&(at, name.clone()));
            self.set_begin(&name, None);
            self.want(now, &name);
        }
    }

    /// Whether a tunnel shall have an IKE SA that we begin, and has none.
    fn lacks_sa(&self, name: &str) -> bool {
        let Some((connection, tunnel)) = self.connections.get(name).zip(self.tunnels.get(name)) else {
            return false;
        };
        let is_ours = connection.remote.is_some() && (connection.initiate || tunnel.is_asked);
        is_ours && !self.is_down(name) && !self.unready.contains(name) && !self.has_sa(name)
    }

    /// Begins an IKE SA for a tunnel that wants one and has none, unless it is to wait.
    fn want(&mut self, now: Now, name: &str) {
        if !self.lacks_sa(name) {
            return self.set_begin(name, None);
        }
        let waits = self.tunnels.get(name).is_some_and(|tunnel| tunnel.begin_at.is_some());
        if let Some(connection) = self.connections.get(name).cloned().filter(|_| !waits) {
            self.begin(now, &connection);
        }
    }

    /// An IKE SA of this tunnel ended: the next one is begun after a pause.
    pub(super) fn failed(&mut self, now: Now, name: &str, why: &Failure) {
        let has_another = self.has_sa(name);
        let lacks_sa = self.lacks_sa(name);
        let Some(tunnel) = self.tunnels.get_mut(name).filter(|_| !has_another) else {
            return;
        };
        if *why != Failure::Ours {
            tunnel.last = Some(why.clone());
        }
        let pause = lacks_sa.then(|| tunnel.pause(self.random.as_mut()));
        self.set_begin(name, pause.map(|pause| now.monotonic.after(pause)));
    }

    /// When the tunnel's next IKE SA is begun.
    pub(super) fn set_begin(&mut self, name: &str, at: Option<Milliseconds>) {
        let Some(tunnel) = self.tunnels.get_mut(name) else {
            return;
        };
        if let Some(before) = core::mem::replace(&mut tunnel.begin_at, at) {
            self.begins.remove(&(before, name.to_owned()));
        }
        self.begins.extend(at.map(|at| (at, name.to_owned())));
    }

    /// Whether a tunnel has an IKE SA, or is about to get one.
    fn has_sa(&self, name: &str) -> bool {
        self.sas_of(name)
            .any(|sa| !sa.established().is_some_and(|state| state.is_going()))
    }

    fn begin(&mut self, now: Now, connection: &Connection) {
        let Some(remote) = connection.remote else { return };
        let port = if connection.start_on_4500 { NAT_PORT } else { IKE_PORT };
        let path = Path {
            local: SocketAddr::new(connection.local, port),
            remote: SocketAddr::new(remote, port),
        };
        let mut made = Made::default();
        let mut step = step!(self, now, made);
        let sa: Option<IkeSa> = InitSent::begin(&mut step, connection, path);
        self.set_begin(&connection.name, None);
        match sa {
            Some(sa) => self.insert(Box::new(sa)),
            // Nothing was sent: without a pause it would be tried for ever.
            None => self.ended(now, Some(connection.name.clone()), Some(Failure::TooLarge), false),
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

//! All IKE SAs of a gateway: datagrams find theirs, tunnels get one, and nothing leaves before it may be stored.
//!
//! After every `handle_…`, `configure` or `command`: take [`Endpoint::take_commit`] and store it as one; install what
//! [`Endpoint::children`] says if [`Endpoint::children_changed`]; then send [`Endpoint::take_transmits`]. In this order a process that is killed
//! anywhere goes on with what the peer knows.

/// What one step may use: everything of the endpoint but the IKE SAs, so that one of them can be worked on.
macro_rules! step {
    ($endpoint:ident, $now:expr, $made:ident) => {
        step!($endpoint, $now, $made, false)
    };
    ($endpoint:ident, $now:expr, $made:ident, $is_alone:expr) => {
        Step {
            now: $now,
            random: $endpoint.random.as_mut(),
            connections: &$endpoint.connections,
            child_spis: &mut $endpoint.child_spis,
            transmits: &mut $endpoint.transmits,
            news: &mut $endpoint.news,
            spawned: &mut $made.spawned,
            bequests: &mut $made.bequests,
            next_id: &mut $endpoint.next_id,
            is_alone: $is_alone,
        }
    };
}

mod admission;
mod down;
mod duplicates;
mod lost;
mod records;
mod traffic;
mod tunnels;
mod views;

pub use admission::{Dropped, Limits};
pub use records::{Commit, Record, RestoreError};
pub use traffic::Heard;
pub use tunnels::Command;
pub use views::{ChildView, TunnelView};

use crate::connection::{Connection, Path};
use crate::failure::Failure;
use crate::now::{Milliseconds, Now};
use crate::random::Random;
use crate::sa::child::ChildSa;
use crate::sa::child_spis::ChildSpis;
use crate::sa::established::Established;
use crate::sa::responder::{self, Refused};
use crate::sa::step::{Connections, News, Step, Transmit, What};
use crate::sa::{IkeSa, SaId, State};
use crate::wire::{Exchange, Flags, Header, Message, Notify, Payload, WireError};
use admission::{Admission, Verdict};
use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tunnels::Tunnel;

/// Longest IKE_SA_INIT that is looked at. With every proposal and a key exchange of 2048 bits it has about a thousand bytes.
const FIRST_BYTES_MAX: usize = 8192;

/// What one IKE SA does may make another one's next step due: a child SA that it leaves is to be replaced.
const ROUNDS_MAX: usize = 4;

/// IKE SAs that a step made, and children that it handed over.
#[derive(Default)]
struct Made {
    spawned: Vec<IkeSa>,
    bequests: Vec<(SaId, Vec<ChildSa>)>,
}

/// A gateway's IKE.
pub struct Endpoint {
    random: Box<dyn Random + Send>,
    connections: Connections,
    tunnels: BTreeMap<String, Tunnel>,
    /// A tree of what is large would be half empty.
    sas: BTreeMap<SaId, Box<IkeSa>>,
    by_spi: HashMap<u64, SaId>,
    child_spis: ChildSpis,
    /// IKE SAs of each tunnel, once it is known whose they are; in order.
    by_tunnel: HashMap<String, Vec<SaId>>,
    /// Tunnels by both outer addresses; none = any peer.
    by_addresses: HashMap<(IpAddr, Option<IpAddr>), Vec<Arc<Connection>>>,
    /// When tunnels begin an IKE SA.
    begins: BTreeSet<(Milliseconds, String)>,
    admission: Admission,
    timers: BTreeSet<(Milliseconds, SaId)>,
    deadlines: HashMap<SaId, Milliseconds>,
    next_id: u64,
    transmits: Vec<Transmit>,
    news: Vec<News>,
    dirty: BTreeSet<SaId>,
    children_changed: bool,
    unready: BTreeSet<String>,
    /// Tunnels that an operator took down.
    down: BTreeSet<String>,
}

impl Endpoint {
    /// One without tunnels.
    pub fn new(limits: Limits, random: Box<dyn Random + Send>) -> Endpoint {
        let mut random = random;
        let admission = Admission::new(limits, random.as_mut());
        Endpoint {
            random,
            connections: Connections::new(),
            tunnels: BTreeMap::new(),
            sas: BTreeMap::new(),
            by_spi: HashMap::new(),
            child_spis: ChildSpis::default(),
            by_tunnel: HashMap::new(),
            by_addresses: HashMap::new(),
            begins: BTreeSet::new(),
            admission,
            timers: BTreeSet::new(),
            deadlines: HashMap::new(),
            next_id: 1,
            transmits: Vec::new(),
            news: Vec::new(),
            dirty: BTreeSet::new(),
            children_changed: false,
            unready: BTreeSet::new(),
            down: BTreeSet::new(),
        }
    }

    /// A datagram from a socket, without the non-ESP marker. What is not for us or not authentic is dropped and counted.
    pub fn handle_datagram(&mut self, now: Now, path: Path, bytes: &[u8]) {
        let Ok(header) = Header::parse(bytes) else {
            return self.admission.count_garbage();
        };
        match header.check(bytes.len()) {
            Ok(()) => {}
            // Another version of IKE has the same header, as far as this goes.
            Err(why @ WireError::Version(version)) if usize::try_from(header.length) == Ok(bytes.len()) => {
                return self.other_version(now, path, &header, why.notify(), version);
            }
            Err(_) => return self.admission.count_garbage(),
        }
        let begins = header.exchange == Exchange::IkeSaInit && header.flags.initiator && !header.flags.response;
        if begins && header.responder_spi == 0 {
            return self.first_message(now, path, &header, bytes);
        }
        let own = match header.flags.initiator {
            true => header.responder_spi,
            false => header.initiator_spi,
        };
        let Some(id) = self.by_spi.get(&own).copied().filter(|id| self.fits(*id, &header)) else {
            self.admission.count_stray();
            return self.answer_stray(now, path, &header);
        };
        self.turn(now, id, |sa, step| sa.handle(step, path, &header, bytes));
    }

    /// Whether both SPIs and the direction are those of the IKE SA.
    fn fits(&self, id: SaId, header: &Header) -> bool {
        self.sas.get(&id).is_some_and(|sa| {
            let peer_spi = match sa.initiator {
                true => header.responder_spi,
                false => header.initiator_spi,
            };
            sa.initiator != header.flags.initiator && (sa.peer_spi == 0 || sa.peer_spi == peer_spi)
        })
    }

    /// IKE_SA_INIT of a peer.
    fn first_message(&mut self, now: Now, path: Path, header: &Header, bytes: &[u8]) {
        // A half-open IKE SA keeps its first message: a stranger shall not have it keep much.
        if bytes.len() > FIRST_BYTES_MAX {
            return self.admission.count_garbage();
        }
        if let Some(id) = self.admission.known(path, header.initiator_spi) {
            return self.turn(now, id, |sa, step| sa.handle(step, path, header, bytes));
        }
        if !self.has_candidate(path) || header.message_id != 0 {
            return self.admission.count_stray();
        }
        // Cheap checks first: neither the payloads nor a key exchange are looked at before the peer has shown that it is where it says.
        self.admission.rotate(now.monotonic, self.random.as_mut());
        let message = match self.admission.judge(now.monotonic, path, header, bytes) {
            Verdict::Drop => return,
            Verdict::Reply(bytes) => return self.transmits.push(Transmit { path, bytes }),
            Verdict::Admit => match Message::parse(bytes) {
                Ok(message) => message,
                Err(_) => return self.admission.count_garbage(),
            },
        };
        let candidates = self.candidates(path);
        let mut made = Made::default();
        let mut step = step!(self, now, made);
        match responder::answer(&mut step, &candidates, path, &message, bytes) {
            Ok(sa) => {
                self.admission.opened(path, header.initiator_spi, sa.id);
                self.insert(Box::new(sa));
            }
            Err(refused) => self.refuse(now, path, &candidates, refused),
        }
    }

    fn refuse(&mut self, now: Now, path: Path, candidates: &[Arc<Connection>], refused: Refused) {
        self.admission.refused(now.monotonic);
        let reply = refused.reply.map(|bytes| Transmit { path, bytes });
        self.transmits.extend(reply);
        if let Failure::AskedForGroup(_) = refused.why {
            // The peer comes again with the right one.
            return;
        }
        self.blame(now, candidates, refused.why);
    }

    /// A peer was refused before it has shown which of these tunnels it is: the operator of each sees why.
    fn blame(&mut self, now: Now, candidates: &[Arc<Connection>], why: Failure) {
        // Anybody may be the peer of a tunnel for any, but not of the only one. One that is up has nothing to do with it.
        let is_meant = |candidate: &&Arc<Connection>| candidate.remote.is_some() || candidates.len() == 1;
        let is_up = |name: &str| self.sas_of(name).any(|sa| sa.established().is_some());
        let meant: Vec<&Arc<Connection>> = candidates.iter().filter(is_meant).collect();
        let waiting: Vec<&str> = meant
            .iter()
            .map(|c| c.name.as_str())
            .filter(|name| !is_up(name))
            .collect();
        if waiting.is_empty() && !meant.is_empty() {
            return;
        }
        for name in &waiting {
            if let Some(tunnel) = self.tunnels.get_mut(*name) {
                tunnel.last = Some(why.clone());
            }
        }
        let only = match waiting.as_slice() {
            [only] => Some((*only).to_owned()),
            _ => None,
        };
        self.admission.news(now.monotonic, &mut self.news, only, why);
    }

    /// A message of another version of IKE (RFC 7296 §2.5): a later one is answered; of an earlier one the peer learns nothing, but its tunnel's
    /// operator does.
    fn other_version(&mut self, now: Now, path: Path, header: &Header, answer: Option<Notify>, version: u8) {
        self.admission.count_garbage();
        if !self.admission.may_answer_stray(now.monotonic) {
            return;
        }
        // Of who has no address here nothing is believed.
        let mut candidates = self.candidates(path);
        candidates.retain(|candidate| candidate.remote.is_some());
        if candidates.is_empty() {
            return;
        }
        // In an earlier version the flags are others; an answer of a later one is not answered.
        if let Some(answer) = answer.filter(|_| !header.flags.response) {
            let flags = Flags {
                initiator: !header.flags.initiator,
                response: true,
            };
            let (i, r) = (header.initiator_spi, header.responder_spi);
            let header = Header::new(i, r, header.exchange, flags, header.message_id);
            let payloads = vec![Payload::Notify(answer)];
            if let Ok(bytes) = (Message { header, payloads }).encode() {
                self.transmits.push(Transmit { path, bytes });
            }
        }
        // It is not authentic: what is known already counts for more.
        let is_unknown = |c: &Arc<Connection>| self.tunnels.get(&c.name).is_some_and(|tunnel| tunnel.last.is_none());
        candidates.retain(is_unknown);
        if !candidates.is_empty() {
            self.blame(now, &candidates, Failure::Version(version));
        }
    }

    /// Tunnels that a peer on this path may be, with its address named before those for any. One that an operator took down is none.
    fn candidates(&self, path: Path) -> Vec<Arc<Connection>> {
        self.possible(path).cloned().collect()
    }

    /// Whether there is one: every stranger's first message asks.
    fn has_candidate(&self, path: Path) -> bool {
        self.possible(path).next().is_some()
    }

    fn possible(&self, path: Path) -> impl Iterator<Item = &Arc<Connection>> {
        // Behind a NAT a peer with a configured address may come from another one only if its tunnel says `any`.
        let from = [Some(path.remote.ip()), None].map(|remote| self.by_addresses.get(&(path.local.ip(), remote)));
        let of_both = from.into_iter().flatten().flatten();
        of_both.filter(|connection| !self.is_down(&connection.name))
    }

    /// Time passed. Due IKE SAs do what is due; tunnels without one get one.
    pub fn handle_timeout(&mut self, now: Now) {
        for _ in 0..ROUNDS_MAX {
            let due = self.timers.range(..=(now.monotonic, SaId(u64::MAX)));
            let due: Vec<SaId> = due.map(|(_, id)| *id).collect();
            if due.is_empty() {
                break;
            }
            for id in due {
                self.turn(now, id, |_, _| {});
            }
        }
        self.begin_wanted(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_timeout(&self) -> Option<Milliseconds> {
        let tunnels = self.begins.first().map(|(at, _)| *at);
        let sas = self.timers.first().map(|(at, _)| *at);
        [tunnels, sas].into_iter().flatten().min()
    }

    /// Workers saw authentic packets of a child SA, named by its inbound SPI, come from another address or port (RFC 7296 §2.23). A peer
    /// that is not behind a NAT is not followed, nor is anybody if we are behind one.
    pub fn handle_moved(&mut self, now: Now, inbound_spi: u32, remote: SocketAddr) {
        let Some(id) = self.child_spis.owner(inbound_spi) else {
            return;
        };
        let moved = self.sas.get(&id).is_some_and(|sa| {
            let known = sa.path.remote;
            sa.established().is_some_and(Established::follows) && known != remote && known.is_ipv4() == remote.is_ipv4()
        });
        if moved {
            self.turn(now, id, |sa, step| {
                sa.path.remote = remote;
                step.tell(sa.connection(), What::Moved { path: sa.path });
            });
        }
    }

    /// One step of an IKE SA, and what follows from it.
    fn turn(&mut self, now: Now, id: SaId, act: impl FnOnce(&mut IkeSa, &mut Step<'_>)) {
        let Some(mut sa) = self.sas.remove(&id) else { return };
        let was_established = sa.established().is_some();
        // The path is part of it: a peer that moved gets its packets at the new place.
        let before = sa.established().map(|state| (sa.path, state.picture()));
        let is_alone = !was_established && self.is_alone(&sa);
        let mut made = Made::default();
        let told = self.news.len();
        let mut step = step!(self, now, made, is_alone);
        act(&mut sa, &mut step);
        sa.advance(&mut step);
        self.dirty.insert(id);
        let connection = sa.connection().map(str::to_owned);
        let after = sa.established().map(|state| (sa.path, state.picture()));
        self.children_changed |= before != after;
        let is_new = !was_established && sa.established().is_some();
        if is_new || matches!(sa.state, State::Ended(_)) {
            self.admission.closed(id);
        }
        match &sa.state {
            State::Ended(ended) => {
                let (connection, why) = (ended.connection.clone(), ended.why.clone());
                self.forget(&sa);
                self.ended(now, connection, why, !was_established && !sa.initiator);
            }
            State::InitSent(_)
            | State::IntermediateSent(_)
            | State::AuthSent(_)
            | State::InitAnswered(_)
            | State::Established(_) => self.insert(sa),
        }
        made.spawned.into_iter().for_each(|sa| self.insert(Box::new(sa)));
        for (heir, children) in made.bequests {
            self.bequeath(now, &connection, heir, children);
        }
        if is_new {
            self.came_up(now, id);
        }
        self.note_news(told);
    }

    /// Keeps for `show` what was told since.
    fn note_news(&mut self, told: usize) {
        for news in self.news.get(told..).unwrap_or_default() {
            if let Some(tunnel) = news.connection.as_ref().and_then(|name| self.tunnels.get_mut(name)) {
                tunnel.note(&news.what);
            }
        }
    }

    fn insert(&mut self, sa: Box<IkeSa>) {
        let id = sa.id;
        self.by_spi.insert(sa.own_spi, id);
        if let Some(name) = sa.connection() {
            match self.by_tunnel.get_mut(name) {
                Some(ids) => {
                    if let Err(at) = ids.binary_search(&id) {
                        ids.insert(at, id);
                    }
                }
                None => drop(self.by_tunnel.insert(name.to_owned(), vec![id])),
            }
        }
        for child in sa.established().iter().flat_map(|state| &state.children) {
            self.child_spis.give(child.inbound.spi, id);
        }
        for spi in sa.established().into_iter().flat_map(|state| state.reserved()) {
            self.child_spis.give(spi, id);
        }
        self.dirty.insert(id);
        self.sas.insert(id, sa);
        self.reschedule(id);
    }

    fn forget(&mut self, sa: &IkeSa) {
        self.by_spi.remove(&sa.own_spi);
        if let Some(at) = self.deadlines.remove(&sa.id) {
            self.timers.remove(&(at, sa.id));
        }
        self.child_spis.forget(sa.id);
        if let Some(name) = sa.connection()
            && let Some(ids) = self.by_tunnel.get_mut(name)
        {
            ids.retain(|id| *id != sa.id);
            if ids.is_empty() {
                self.by_tunnel.remove(name);
            }
        }
    }

    /// IKE SAs of a tunnel, the oldest first.
    fn sas_of(&self, name: &str) -> impl Iterator<Item = &IkeSa> {
        let ids = self.by_tunnel.get(name).into_iter().flatten();
        ids.filter_map(|id| self.sas.get(id).map(Box::as_ref))
    }

    fn bequeath(&mut self, now: Now, connection: &Option<String>, heir: SaId, children: Vec<ChildSa>) {
        self.children_changed = true;
        let spis: Vec<u32> = children.iter().map(|child| child.inbound.spi).collect();
        let Some(state) = self.sas.get_mut(&heir).and_then(|sa| sa.established_mut()) else {
            // The peer has deleted the heir: there is no IKE SA left.
            spis.into_iter().for_each(|spi| self.child_spis.remove(spi));
            let why = Failure::Silent {
                waiting_for: "CREATE_CHILD_SA",
            };
            return self.ended(now, connection.clone(), Some(why), false);
        };
        state.inherit(children);
        spis.into_iter().for_each(|spi| self.child_spis.give(spi, heir));
        self.dirty.insert(heir);
        self.reschedule(heir);
    }

    fn reschedule(&mut self, id: SaId) {
        if let Some(at) = self.deadlines.remove(&id) {
            self.timers.remove(&(at, id));
        }
        let Some(sa) = self.sas.get(&id) else { return };
        if let Some(at) = sa.deadline(&self.connections) {
            self.timers.insert((at, id));
            self.deadlines.insert(id, at);
        }
    }

    /// Datagrams to be sent now that everything is stored and installed.
    pub fn take_transmits(&mut self) -> Vec<Transmit> {
        core::mem::take(&mut self.transmits)
    }

    /// For the operator's log.
    pub fn take_news(&mut self) -> Vec<News> {
        core::mem::take(&mut self.news)
    }

    fn tell(&mut self, connection: Option<String>, what: What) {
        self.news.push(News { connection, what });
    }

    /// An IKE SA ended, or did not come up. `by_stranger`: who began it has not shown who it is.
    fn ended(&mut self, now: Now, connection: Option<String>, why: Option<Failure>, by_stranger: bool) {
        let Some(why) = why.filter(|why| *why != Failure::Superseded) else {
            return;
        };
        if let Some(name) = &connection {
            self.failed(now, name, &why);
        }
        match by_stranger || connection.is_none() {
            false => self.tell(connection, What::Ended { why }),
            // Strangers do not fill the log.
            true => self.admission.news(now.monotonic, &mut self.news, connection, why),
        }
    }
}

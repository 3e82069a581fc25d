//! Both sides have proven who they are. One request of ours and one of the peer's may be under way; what is to be done next is found from
//! what stands here, never queued, so that a restart forgets nothing.

mod children;
mod collision;
mod deletes;
mod followup;
mod heir;
mod missing;
mod pending_ike;
mod requests;
mod responses;
mod tasks;

use super::begun::Begun;
use super::channel::{self, Channel};
use super::child::{ChildSa, Stage, Workers, rekey_at};
use super::features::Features;
use super::nat::Nat;
use super::payloads::find_notify;
use super::pending_child::PendingChild;
use super::step::{Connections, Step, What};
use super::window::Turn;
use super::{IkeSa, Patience, State};
use crate::connection::{Connection, Path};
use crate::failure::Failure;
use crate::identity::Identity;
use crate::now::Milliseconds;
use crate::wire::{Exchange, Header, Message, Nonce, Payload, notify};
pub(crate) use collision::lowest;
use followup::Series;
use missing::Later;
use pending_ike::PendingIke;
pub(crate) use requests::WANTED_BY_PEER;
use serde::{Deserialize, Serialize};

/// Between two NAT keepalives (RFC 3948 §4: 20 s).
const KEEPALIVE_MS: u64 = 20_000;

/// An IKE SA at work.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Established {
    pub(crate) connection: String,
    pub(crate) peer: Identity,
    pub(crate) channel: Channel,
    pub(crate) nat: Option<Nat>,
    pub(crate) features: Features,
    /// ESP travels in UDP though no NAT was found: as configured when it was negotiated, and known before a configuration is.
    pub(crate) force_udp: bool,
    pub(crate) children: Vec<ChildSa>,
    pub(crate) standing: Standing,
    pub(crate) since: Milliseconds,
    rekey_at: Milliseconds,
    hard_at: Milliseconds,
    /// Last authentic message or packet of the peer.
    pub(crate) heard: Milliseconds,
    /// Last authentic packet of the peer.
    packets_heard: Milliseconds,
    /// First and last second, since 1970, of the certificate that the peer has shown.
    pub(crate) peer_ends: Option<(u64, u64)>,
    keepalive_at: Milliseconds,
    /// What our request under way is about.
    doing: Option<Doing>,
    later: Vec<Later>,
    /// What the peer will continue with IKE_FOLLOWUP_KE.
    series: Vec<Series>,
    /// How often in a row the peer had forgotten what we continued.
    forgotten: u8,
    /// An SPI in the peer's packets that is none of ours: it is to be told.
    unknown_spi: Option<u32>,
    /// Not before.
    unknown_spi_from: Milliseconds,
    /// A task led to no request: not to be looked at before.
    stuck_until: Milliseconds,
    /// Not before: what the peer asks for in vain is told of now and then.
    #[serde(skip)]
    refusals_from: Milliseconds,
    /// The peer said INITIAL_CONTACT; the endpoint takes it.
    #[serde(skip)]
    pub(crate) initial_contact: bool,
}

/// What an established IKE SA is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Standing {
    /// The one in use.
    Current,
    /// The peer made it while our own rekeying was under way: it waits to be chosen or deleted.
    Candidate { delete_at: Milliseconds },
    /// Another took over; one side deletes it.
    Replaced { delete_at: Milliseconds },
    /// It is to end: a Delete goes out as soon as the window is free.
    Leaving,
    /// Our Delete is under way.
    Closing,
}

/// What our request under way is about.
#[derive(Debug, Serialize, Deserialize)]
enum Doing {
    CreateChild(PendingChild),
    RekeyChild {
        /// Inbound SPI of the one to be replaced.
        old: u32,
        pending: PendingChild,
        /// What the peer made of the same one meanwhile.
        met: Option<Met>,
    },
    /// Inbound SPIs.
    DeleteChildren(Vec<u32>),
    RekeyIke(Box<PendingIke>),
    DeleteIke,
    Liveness,
}

/// A child SA that the peer made while our own rekeying of the same one was under way.
#[derive(Debug, Serialize, Deserialize)]
struct Met {
    /// Its inbound SPI.
    spi: u32,
    /// The lower nonce of the exchange that made it.
    lowest: Nonce,
}

/// Where an established IKE SA comes from.
pub(crate) struct Origin<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) peer: Identity,
}

impl Established {
    /// After IKE_AUTH.
    pub(crate) fn new(step: &mut Step<'_>, origin: Origin<'_>, begun: Begun) -> Established {
        let now = step.now.monotonic;
        let connection = origin.connection;
        step.tell(
            Some(&connection.name),
            What::Established {
                peer: origin.peer.to_string(),
            },
        );
        Established {
            connection: connection.name.clone(),
            peer: origin.peer,
            channel: begun.channel,
            nat: begun.nat,
            features: begun.features,
            force_udp: connection.force_udp,
            children: Vec::new(),
            standing: Standing::Current,
            since: now,
            rekey_at: rekey_at(now, connection.ike_lifetime, step.random),
            hard_at: now.after(connection.ike_lifetime.hard_ms),
            heard: now,
            packets_heard: Milliseconds(0),
            peer_ends: begun.peer_ends,
            keepalive_at: now.after(KEEPALIVE_MS),
            doing: None,
            later: Vec::new(),
            series: Vec::new(),
            forgotten: 0,
            unknown_spi: None,
            unknown_spi_from: Milliseconds(0),
            stuck_until: Milliseconds(0),
            refusals_from: Milliseconds(0),
            initial_contact: false,
        }
    }

    /// The child SA of IKE_AUTH.
    pub(crate) fn add_first(&mut self, step: &mut Step<'_>, child: ChildSa) {
        let name = child.name.clone();
        // Most have this one alone for hours.
        self.children.reserve_exact(1);
        self.children.push(child);
        step.tell(Some(&self.connection), What::ChildUp { child: name });
    }

    /// A child SA was refused: it is asked for again later.
    pub(crate) fn child_failed(&mut self, step: &mut Step<'_>, name: &str, why: Failure) {
        self.postpone(step, name, Workers::All, 10_000);
        let child = name.to_owned();
        step.tell(Some(&self.connection), What::ChildFailed { child, why });
    }

    fn postpone(&mut self, step: &mut Step<'_>, name: &str, workers: Workers, least_ms: u64) {
        let at = step.soon(least_ms);
        self.ask_later(name.to_owned(), workers, at);
    }

    /// A datagram of the peer's, or of who pretends to be it.
    pub(crate) fn handle(
        mut self: Box<Self>,
        sa: &mut IkeSa,
        step: &mut Step<'_>,
        path: Path,
        header: &Header,
        datagram: &[u8],
    ) -> State {
        if header.flags.response {
            if !sa.sender.expects(header.message_id) {
                return State::Established(self);
            }
            if matches!(self.doing, Some(Doing::DeleteIke)) && says_unknown(datagram) {
                // Not authentic (RFC 7296 §1.5), but all that it can do is end what we are ending.
                return self.response(sa, step, &[]);
            }
            let Some(inside) = self.channel.open(sa.initiator, datagram) else {
                return State::Established(self);
            };
            self.heard_from(sa, step, path);
            sa.sender.finish();
            return self.response(sa, step, inside.payloads().unwrap_or_default());
        }
        match sa.receiver.turn(header.message_id) {
            Turn::New => {}
            Turn::Again => {
                // Authentic, or else anyone could have an answer sent anywhere.
                if self.channel.is_authentic(sa.initiator, datagram)
                    && let Some(datagrams) = sa.receiver.answer_again(step.now.monotonic)
                {
                    step.send(path, datagrams);
                }
                return State::Established(self);
            }
            Turn::Stray => return State::Established(self),
        }
        let Some(inside) = self.channel.open(sa.initiator, datagram) else {
            return State::Established(self);
        };
        self.heard_from(sa, step, path);
        self.request(sa, step, path, header, inside)
    }

    /// Something authentic and new came: the peer lives, and where.
    fn heard_from(&mut self, sa: &mut IkeSa, step: &mut Step<'_>, path: Path) {
        self.heard = step.now.monotonic;
        if self.follows() && path.remote != sa.path.remote {
            sa.path = path;
            step.tell(Some(&self.connection), What::Moved { path });
        }
    }

    /// RFC 7296 §2.23: the side that is not behind a NAT follows the one that is.
    pub(crate) fn follows(&self) -> bool {
        self.nat.is_some_and(|nat| nat.there && !nat.here)
    }

    /// Time passed, or something is wanted.
    pub(crate) fn advance(mut self: Box<Self>, sa: &mut IkeSa, step: &mut Step<'_>) -> State {
        let now = step.now.monotonic;
        if now >= self.hard_at && self.standing == Standing::Current {
            let why = Failure::Expired;
            step.tell(Some(&self.connection), What::RekeyFailed { why });
            // The peer shall not go on sealing for it.
            self.standing = Standing::Leaving;
        }
        if let Some(State::Ended(ended)) = sa.silent(step, &self.connection, self.waiting_for(), self.patience()) {
            return self.lost(step, ended.why.unwrap_or(Failure::Ours));
        }
        self.children.retain(|child| {
            let is_over = matches!(child.stage, Stage::Lingering { until } if until <= now);
            if is_over {
                step.child_spis.remove(child.inbound.spi);
            }
            !is_over
        });
        self.expire_series(step);
        self.expire_children(now);
        self.activate_due(now);
        self.keep_nat_open(sa, step);
        self.begin_next(sa, step);
        if self.standing == Standing::Closing && !sa.sender.is_busy() {
            // Its keys seal no goodbye.
            return self.end(step, Failure::Ours);
        }
        State::Established(self)
    }

    fn waiting_for(&self) -> &'static str {
        match self.doing {
            Some(Doing::CreateChild(_) | Doing::RekeyChild { .. } | Doing::RekeyIke(_)) => "CREATE_CHILD_SA",
            Some(Doing::DeleteChildren(_) | Doing::DeleteIke) => "INFORMATIONAL, Delete",
            Some(Doing::Liveness) | None => "INFORMATIONAL, a sign of life",
        }
    }

    fn keep_nat_open(&mut self, sa: &IkeSa, step: &mut Step<'_>) {
        let now = step.now.monotonic;
        if self.nat.is_some_and(|nat| nat.here) && self.keepalive_at <= now {
            self.keepalive_at = now.after(KEEPALIVE_MS);
            step.send(sa.path, &[vec![0xff]]);
        }
    }

    /// Sends a request; one at a time.
    fn ask(&mut self, sa: &mut IkeSa, step: &mut Step<'_>, exchange: Exchange, payloads: &[Payload], doing: Doing) {
        let header = channel::header(sa, exchange, false, sa.sender.next_id());
        let Some(sealed) = self.channel.seal(step.random, sa.initiator, header, payloads) else {
            return;
        };
        step.send(sa.path, &sealed.datagrams);
        sa.sender.begin(step.now.monotonic, step.random, sealed.datagrams);
        self.doing = Some(doing);
    }

    /// Answers a request, to where it came from.
    fn reply(&mut self, sa: &mut IkeSa, step: &mut Step<'_>, path: Path, request: &Header, payloads: &[Payload]) {
        let header = channel::header(sa, request.exchange, true, request.message_id);
        if let Some(sealed) = self.channel.seal(step.random, sa.initiator, header, payloads) {
            step.send(path, &sealed.datagrams);
            sa.receiver.answered(sealed.datagrams);
        }
    }

    /// Forgets everything.
    fn end(&self, step: &mut Step<'_>, why: Failure) -> State {
        for child in &self.children {
            step.child_spis.remove(child.inbound.spi);
        }
        match self.standing {
            Standing::Current | Standing::Leaving | Standing::Closing => State::ended(Some(&self.connection), why),
            // Nothing ended for the tunnel: another IKE SA carries it.
            Standing::Candidate { .. } | Standing::Replaced { .. } => {
                State::ended(Some(&self.connection), Failure::Superseded)
            }
        }
    }

    /// The peer does not answer here. If it made a successor meanwhile, that one goes on.
    fn lost(mut self: Box<Self>, step: &mut Step<'_>, why: Failure) -> State {
        if let Some(Doing::RekeyIke(pending)) = &self.doing
            && let Some(id) = pending.met.as_ref().and_then(|met| met.id)
        {
            step.bequests.push((id, core::mem::take(&mut self.children)));
            self.standing = Standing::Replaced {
                delete_at: step.now.monotonic,
            };
        }
        self.end(step, why)
    }

    /// Children left by an IKE SA that this one replaces; it is the current one now.
    pub(crate) fn inherit(&mut self, children: Vec<ChildSa>) {
        self.children.extend(children);
        self.standing = Standing::Current;
    }

    /// Replaces the IKE SA, its children, or both as soon as the window is free: an operator wants it.
    pub(crate) fn rekey_now(&mut self, now: Milliseconds, ike: bool, children: bool) {
        if ike {
            self.rekey_at = now;
        }
        if children {
            self.children.iter_mut().for_each(|child| child.rekey_at = now);
        }
    }

    /// Whether it is on its way out.
    pub(crate) fn is_going(&self) -> bool {
        self.standing != Standing::Current
    }

    /// How long an answer is waited for. Packets are the sign of life that was asked for, until the window is needed: an SA that is not replaced
    /// would end with packets still coming. Who was replaced serves the peer until it is to be deleted, whatever we asked before.
    pub(crate) fn patience(&self) -> Patience {
        let (from, is_going) = match self.standing {
            Standing::Current if matches!(self.doing, Some(Doing::Liveness)) => {
                let sending = self.children.iter().filter(|child| child.sends());
                let due = sending.map(|child| child.rekey_at).min();
                let due = due.map_or(Milliseconds(0), |due| due.min(self.rekey_at));
                (self.packets_heard.min(due), false)
            }
            Standing::Current => (Milliseconds(0), false),
            Standing::Replaced { delete_at } | Standing::Candidate { delete_at } => (delete_at, true),
            Standing::Leaving | Standing::Closing => (Milliseconds(0), true),
        };
        Patience { from, is_going }
    }

    /// Whether it ends with all its children: what is sealed now the peer may not know any more.
    pub(crate) fn is_ending(&self) -> bool {
        matches!(self.standing, Standing::Leaving | Standing::Closing)
    }

    /// Inbound SPIs of the child SAs that seal.
    pub(crate) fn senders(&self) -> Vec<u32> {
        self.children
            .iter()
            .filter(|child| child.sends())
            .map(|child| child.inbound.spi)
            .collect()
    }

    /// What workers see of it: changes of this are changes for them.
    pub(crate) fn picture(&self) -> (Standing, Vec<(u32, bool)>) {
        let children = self.children.iter().map(|child| (child.inbound.spi, child.sends()));
        (self.standing, children.collect())
    }

    /// When to look again.
    pub(crate) fn deadline(&self, sa: &IkeSa, connections: &Connections) -> Option<Milliseconds> {
        let always = self.children.iter().filter_map(|child| match child.stage {
            Stage::Receiving { sends_at } => Some(sends_at.min(child.hard_at)),
            Stage::Active => Some(child.hard_at),
            Stage::Lingering { until } => Some(until),
            Stage::Replaced { .. } | Stage::Closing => None,
        });
        let hard = (self.standing == Standing::Current).then_some(self.hard_at);
        let keepalive = self.nat.is_some_and(|nat| nat.here).then_some(self.keepalive_at);
        let tasks = (!sa.sender.is_busy())
            .then(|| self.task_deadline(sa, connections))
            .flatten();
        let series = self.series_deadline();
        always
            .chain([hard, keepalive, tasks, series].into_iter().flatten())
            .min()
    }
}

/// Whether a datagram says, outside of any protection, that the IKE SA is not there.
fn says_unknown(datagram: &[u8]) -> bool {
    Message::parse(datagram).is_ok_and(|message| find_notify(&message.payloads, notify::INVALID_IKE_SPI).is_some())
}

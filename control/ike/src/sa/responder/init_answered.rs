//! IKE_SA_INIT was answered; the peer has yet to prove who it is.

use crate::auth::octets::Side;
use crate::connection::{Connection, Path};
use crate::crypto::exchange::respond;
use crate::crypto::ike_keys::IkeKeys;
use crate::failure::Failure;
use crate::now::Milliseconds;
use crate::sa::begun::Begun;
use crate::sa::channel::{self, Plain};
use crate::sa::payloads::exchange_of;
use crate::sa::step::{Connections, Step};
use crate::sa::window::Turn;
use crate::sa::{IkeSa, State};
use crate::transform::Group;
use crate::wire::{Exchange, Header, KeyExchange, Payload};
use core::net::IpAddr;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A half-open IKE SA is kept so long.
const HALF_OPEN_MS: u64 = 30_000;

/// Half open: we answered, and know keys but no peer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct InitAnswered {
    /// Own address and the peer's of the first message, which say what tunnels it may be. Their names would be kept by every stranger.
    ends: (IpAddr, IpAddr),
    pub(crate) begun: Begun,
    pub(crate) expires: Milliseconds,
    /// Additional key exchanges done.
    done: usize,
    /// Keys of the last one's messages: it is repeated under these if our answer was lost (RFC 9370 §2.2.2).
    before: Option<IkeKeys>,
}

impl InitAnswered {
    pub(crate) fn new(step: &Step<'_>, path: Path, begun: Begun) -> InitAnswered {
        InitAnswered {
            ends: (path.local.ip(), path.remote.ip()),
            begun,
            expires: step.now.monotonic.after(HALF_OPEN_MS),
            done: 0,
            before: None,
        }
    }

    /// Tunnels that this peer may be, with its address named before those for any.
    pub(crate) fn candidates(&self, connections: &Connections) -> Vec<Arc<Connection>> {
        let (local, remote) = self.ends;
        let here = || connections.values().filter(|connection| connection.local == local);
        let named = here().filter(|connection| connection.remote == Some(remote));
        named
            .chain(here().filter(|connection| connection.remote.is_none()))
            .cloned()
            .collect()
    }

    /// The next additional key exchange.
    fn awaited(&self) -> Option<Group> {
        self.begun.channel.suite.additional.get(self.done).copied()
    }

    /// IKE_SA_INIT again, IKE_INTERMEDIATE or IKE_AUTH.
    pub(crate) fn handle(
        mut self: Box<Self>,
        sa: &mut IkeSa,
        step: &mut Step<'_>,
        path: Path,
        header: &Header,
        datagram: &[u8],
    ) -> State {
        if header.flags.response {
            return State::InitAnswered(self);
        }
        match (sa.receiver.turn(header.message_id), header.exchange) {
            (Turn::Again, Exchange::IkeSaInit) if datagram == self.begun.init_request => {
                again(sa, step, path);
                State::InitAnswered(self)
            }
            (Turn::Again, Exchange::IkeIntermediate) if self.is_last(sa, datagram) => {
                again(sa, step, path);
                State::InitAnswered(self)
            }
            (Turn::New, Exchange::IkeIntermediate) => self.intermediate(sa, step, path, header, datagram),
            (Turn::New, Exchange::IkeAuth) if self.awaited().is_none() => {
                match self.begun.channel.open(sa.initiator, datagram) {
                    Some(inside) => super::auth::answer(*self, sa, step, path, header, &inside),
                    None => State::InitAnswered(self),
                }
            }
            _ => State::InitAnswered(self),
        }
    }

    fn intermediate(
        mut self: Box<Self>,
        sa: &mut IkeSa,
        step: &mut Step<'_>,
        path: Path,
        header: &Header,
        datagram: &[u8],
    ) -> State {
        let Some(group) = self.awaited() else {
            return State::InitAnswered(self);
        };
        let Some(inside) = self.begun.channel.open(sa.initiator, datagram) else {
            return State::InitAnswered(self);
        };
        let payloads = inside.payloads().unwrap_or_default();
        let theirs = exchange_of(payloads, group);
        let Some((data, shared)) = theirs.and_then(|body| respond(group, &body.data, step.random).ok()) else {
            let why = Failure::Misbehaved("its additional key exchange is missing or not valid");
            return State::ended(None, why);
        };
        if let Some(plain) = inside.plain() {
            self.begun.cover(Side::Initiator, &plain);
        }
        let exchange = Payload::KeyExchange(KeyExchange {
            group: group.id(),
            data,
        });
        let reply = channel::header(sa, Exchange::IkeIntermediate, true, header.message_id);
        let Some(sealed) = self.begun.channel.seal(step.random, sa.initiator, reply, &[exchange]) else {
            return State::ended(None, Failure::TooLarge);
        };
        self.begun.cover(Side::Responder, &Plain::of(&sealed));
        self.before = Some(self.begun.channel.keys.clone());
        self.begun.mix(sa, &shared);
        self.done += 1;
        // The peer may have moved to port 4500 with this message.
        sa.path = path;
        step.send(path, &sealed.datagrams);
        sa.receiver.answered(sealed.datagrams);
        State::InitAnswered(self)
    }

    /// Whether it is the last request again.
    fn is_last(&self, sa: &IkeSa, datagram: &[u8]) -> bool {
        let keys = self.before.as_ref().unwrap_or(&self.begun.channel.keys);
        self.begun.channel.is_authentic_under(keys, sa.initiator, datagram)
    }

    /// Forgets who never proved anything.
    pub(crate) fn advance(self: Box<Self>, step: &Step<'_>) -> State {
        if step.now.monotonic >= self.expires {
            let why = Failure::Silent {
                waiting_for: "IKE_AUTH",
            };
            return State::ended(None, why);
        }
        State::InitAnswered(self)
    }
}

/// The last answer once more, to where the request came from.
fn again(sa: &mut IkeSa, step: &mut Step<'_>, path: Path) {
    if let Some(datagrams) = sa.receiver.answer_again(step.now.monotonic) {
        step.send(path, datagrams);
    }
}

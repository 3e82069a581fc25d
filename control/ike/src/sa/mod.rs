//! One IKE SA: its state is a type of its own in each phase, a file each; a step consumes a state and gives the next.
//!
//! ```text
//! initiator: InitSent ─► (IntermediateSent ─►)* AuthSent ─► Established
//! responder:             InitAnswered ──────────────────► Established
//! ```
//! An IKE SA that replaces another begins as Established.

pub(crate) mod begun;
pub(crate) mod channel;
pub(crate) mod child;
pub(crate) mod child_spis;
pub(crate) mod established;
pub(crate) mod features;
pub(crate) mod initiator;
pub(crate) mod nat;
pub(crate) mod offers;
pub(crate) mod payloads;
pub(crate) mod pending_child;
pub(crate) mod proof;
pub(crate) mod responder;
pub(crate) mod step;
pub(crate) mod window;

use crate::connection::{Connection, Path};
use crate::failure::Failure;
use crate::now::Milliseconds;
use crate::wire::Header;
use channel::Channel;
use established::Established;
use initiator::{AuthSent, InitSent, IntermediateSent};
use responder::InitAnswered;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use step::Step;
use window::{Receiver, Sender};

/// An IKE SA that is to end waits so long for an answer: a peer that has ended it cannot give one (RFC 7296 §1.4.1).
const GOODBYE_MS: u64 = 15_000;

/// While a tunnel's settings are not known (a restarted process that waits for DNS) its peer is given this time.
const WITHOUT_SETTINGS_MS: u64 = 60_000;

/// Names an IKE SA in this process and in its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SaId(pub u64);

/// An IKE SA in any phase.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct IkeSa {
    pub(crate) id: SaId,
    /// Where its messages go.
    pub(crate) path: Path,
    pub(crate) own_spi: u64,
    /// 0 until the peer answered.
    pub(crate) peer_spi: u64,
    /// Whether we sent the first message of this IKE SA.
    pub(crate) initiator: bool,
    pub(crate) created: Milliseconds,
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
    pub(crate) state: State,
}

/// The phases.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum State {
    InitSent(Box<InitSent>),
    IntermediateSent(Box<IntermediateSent>),
    AuthSent(Box<AuthSent>),
    InitAnswered(Box<InitAnswered>),
    Established(Box<Established>),
    /// It ended; the endpoint forgets it.
    Ended(Ended),
}

/// How an IKE SA ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// Whose tunnel it was, if that was known.
    pub(crate) connection: Option<String>,
    /// Why; for the operator only, and not kept.
    #[serde(skip)]
    pub(crate) why: Option<Failure>,
}

impl State {
    pub(crate) fn ended(connection: Option<&str>, why: Failure) -> State {
        State::Ended(Ended {
            connection: connection.map(str::to_owned),
            why: Some(why),
        })
    }
}

impl IkeSa {
    /// SPIs of initiator and responder, as headers bear them.
    pub(crate) fn spis(&self) -> (u64, u64) {
        match self.initiator {
            true => (self.own_spi, self.peer_spi),
            false => (self.peer_spi, self.own_spi),
        }
    }

    /// The tunnel it belongs to; a responder does not know before IKE_AUTH.
    pub(crate) fn connection(&self) -> Option<&str> {
        match &self.state {
            State::InitSent(state) => Some(&state.connection),
            State::IntermediateSent(state) => Some(&state.connection),
            State::AuthSent(state) => Some(&state.connection),
            State::InitAnswered(_) => None,
            State::Established(state) => Some(&state.connection),
            State::Ended(ended) => ended.connection.as_deref(),
        }
    }

    /// Its keys, once there are any.
    pub(crate) fn channel(&self) -> Option<&Channel> {
        match &self.state {
            State::InitSent(_) | State::Ended(_) => None,
            State::IntermediateSent(state) => Some(&state.begun.channel),
            State::AuthSent(state) => Some(&state.begun.channel),
            State::InitAnswered(state) => Some(&state.begun.channel),
            State::Established(state) => Some(&state.channel),
        }
    }

    /// Whether the peer has proven who it is.
    pub(crate) fn established(&self) -> Option<&Established> {
        match &self.state {
            State::Established(state) => Some(state),
            State::InitSent(_)
            | State::IntermediateSent(_)
            | State::AuthSent(_)
            | State::InitAnswered(_)
            | State::Ended(_) => None,
        }
    }

    /// The same, to change it.
    pub(crate) fn established_mut(&mut self) -> Option<&mut Established> {
        match &mut self.state {
            State::Established(state) => Some(state),
            State::InitSent(_)
            | State::IntermediateSent(_)
            | State::AuthSent(_)
            | State::InitAnswered(_)
            | State::Ended(_) => None,
        }
    }

    /// A datagram that bears our SPI.
    pub(crate) fn handle(&mut self, step: &mut Step<'_>, path: Path, header: &Header, datagram: &[u8]) {
        let nothing = State::Ended(Ended {
            connection: None,
            why: None,
        });
        self.state = match core::mem::replace(&mut self.state, nothing) {
            State::InitSent(state) => state.handle(self, step, path, header, datagram),
            State::IntermediateSent(state) => state.handle(self, step, path, header, datagram),
            State::AuthSent(state) => state.handle(self, step, path, header, datagram),
            State::InitAnswered(state) => state.handle(self, step, path, header, datagram),
            State::Established(state) => state.handle(self, step, path, header, datagram),
            State::Ended(ended) => State::Ended(ended),
        };
    }

    /// Time passed, or something is wanted.
    pub(crate) fn advance(&mut self, step: &mut Step<'_>) {
        let nothing = State::Ended(Ended {
            connection: None,
            why: None,
        });
        self.state = match core::mem::replace(&mut self.state, nothing) {
            State::InitSent(state) => state.advance(self, step),
            State::IntermediateSent(state) => {
                match self.silent(step, &state.connection, "IKE_INTERMEDIATE", Patience::default()) {
                    Some(ended) => ended,
                    None => State::IntermediateSent(state),
                }
            }
            State::AuthSent(state) => match self.silent(step, &state.connection, "IKE_AUTH", Patience::default()) {
                Some(ended) => ended,
                None => State::AuthSent(state),
            },
            State::InitAnswered(state) => state.advance(step),
            State::Established(state) => state.advance(self, step),
            State::Ended(ended) => State::Ended(ended),
        };
        if !matches!(self.state, State::Ended(_))
            && let Some(datagrams) = self.sender.again(step.now.monotonic, step.random)
        {
            step.send(self.path, datagrams);
        }
    }

    /// The end of an IKE SA whose peer did not answer in time.
    pub(crate) fn silent(
        &self,
        step: &Step<'_>,
        connection: &str,
        waiting_for: &'static str,
        patience: Patience,
    ) -> Option<State> {
        let at = self.silent_at(step.connections.get(connection), patience)?;
        (step.now.monotonic >= at).then(|| State::ended(Some(connection), Failure::Silent { waiting_for }))
    }

    /// When a peer that has not answered by then is dead.
    fn silent_at(&self, connection: Option<&Arc<Connection>>, patience: Patience) -> Option<Milliseconds> {
        let since = self.sender.waiting_since()?.max(patience.from);
        let least = if patience.is_going { GOODBYE_MS } else { u64::MAX };
        let limit = connection.map_or(WITHOUT_SETTINGS_MS, |c| c.dpd_timeout_ms).min(least);
        Some(since.after(limit))
    }

    /// When to look again.
    pub(crate) fn deadline(&self, connections: &step::Connections) -> Option<Milliseconds> {
        let patience = self.established().map(Established::patience).unwrap_or_default();
        let connection = self.connection().and_then(|name| connections.get(name));
        let silence = self.silent_at(connection, patience);
        let own = match &self.state {
            State::InitSent(state) => state.deadline(),
            State::IntermediateSent(_) | State::AuthSent(_) => None,
            State::InitAnswered(state) => Some(state.expires),
            State::Established(state) => state.deadline(self, connections),
            State::Ended(_) => None,
        };
        [self.sender.deadline(), silence, own].into_iter().flatten().min()
    }
}

/// How long an answer is waited for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Patience {
    /// Silence counts from here on, or since the request was sent.
    pub(crate) from: Milliseconds,
    /// On its way out: a peer that has ended it cannot answer, and is not waited for long.
    pub(crate) is_going: bool,
}

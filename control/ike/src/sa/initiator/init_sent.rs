//! IKE_SA_INIT is under way. Nothing in its answer is authentic: refusals are remembered and told, but believed only when no
//! better answer came (RFC 7296 §2.21.1).

use super::{AuthSent, IntermediateSent};
use crate::auth::octets::IntermediateAuth;
use crate::connection::{Connection, Path};
use crate::crypto::exchange::PrivateValue;
use crate::crypto::ike_keys::{IkeKeys, Public};
use crate::failure::Failure;
use crate::now::Milliseconds;
use crate::proposal;
use crate::sa::begun::Begun;
use crate::sa::channel::{self, Channel};
use crate::sa::features::Features;
use crate::sa::nat;
use crate::sa::offers;
use crate::sa::payloads::{associations, exchanges, find_error, find_notify, nonces};
use crate::sa::step::Step;
use crate::sa::window::{Receiver, Sender};
use crate::sa::{IkeSa, Patience, State};
use crate::transform::Group;
use crate::wire::{Exchange, Header, KeyExchange, Message, Nonce, Notify, Payload, notify};
use serde::{Deserialize, Serialize};

/// A better answer than a refusal has this time to come.
const REFUSAL_STANDS_MS: u64 = 1500;
/// Cookies and other groups that we follow before we give up: a peer that asks for ever is none.
const RETRIES_MAX: u8 = 6;

/// Our first message waits for its answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct InitSent {
    pub(crate) connection: String,
    private: PrivateValue,
    public: Vec<u8>,
    nonce: Nonce,
    cookie: Option<Vec<u8>>,
    /// The message as sent: AUTH covers it.
    request: Vec<u8>,
    retries: u8,
    /// Since when a refusal stands.
    refused: Option<(Milliseconds, Refusal)>,
}

/// What the peer said.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Refusal {
    /// An error notification.
    Error(u16),
    /// It wants a group that is not offered.
    Group(u16),
}

impl InitSent {
    /// Begins an IKE SA.
    pub(crate) fn begin(step: &mut Step<'_>, connection: &Connection, path: Path) -> Option<IkeSa> {
        let group = connection.ike_proposals.first()?.groups.first().copied()?;
        let mut sa = IkeSa {
            id: step.id(),
            path,
            own_spi: step.ike_spi(),
            peer_spi: 0,
            initiator: true,
            created: step.now.monotonic,
            sender: Sender::default(),
            receiver: Receiver::default(),
            state: State::ended(Some(&connection.name), Failure::Ours),
        };
        let (private, public) = PrivateValue::generate(group, step.random);
        let mut state = InitSent {
            connection: connection.name.clone(),
            private,
            public,
            nonce: step.nonce(),
            cookie: None,
            request: Vec::new(),
            retries: 0,
            refused: None,
        };
        state.send(&mut sa, step, connection)?;
        sa.state = State::InitSent(Box::new(state));
        Some(sa)
    }

    fn send(&mut self, sa: &mut IkeSa, step: &mut Step<'_>, connection: &Connection) -> Option<()> {
        let mut payloads = Vec::new();
        if let Some(cookie) = &self.cookie {
            // RFC 7296 §2.6: first of all payloads, and the rest unchanged.
            payloads.push(Payload::Notify(Notify::new(notify::COOKIE, cookie)));
        }
        payloads.push(Payload::SecurityAssociation(proposal::offer_ike(
            &connection.ike_proposals,
            None,
        )));
        payloads.push(Payload::KeyExchange(KeyExchange {
            group: self.private.group().id(),
            data: self.public.clone(),
        }));
        payloads.push(Payload::Nonce(self.nonce.clone()));
        payloads.extend(nat::notifications(sa.spis(), sa.path, connection.force_udp));
        payloads.extend(Features::announce(connection));
        let header = channel::header(sa, Exchange::IkeSaInit, false, 0);
        self.request = Message { header, payloads }.encode().ok()?;
        let datagrams = vec![self.request.clone()];
        step.send(sa.path, &datagrams);
        match sa.sender.is_busy() {
            true => sa.sender.replace(step.now.monotonic, step.random, datagrams),
            false => sa.sender.begin(step.now.monotonic, step.random, datagrams),
        }
        Some(())
    }

    /// The answer, or what pretends to be it.
    pub(crate) fn handle(
        mut self: Box<Self>,
        sa: &mut IkeSa,
        step: &mut Step<'_>,
        path: Path,
        header: &Header,
        datagram: &[u8],
    ) -> State {
        let is_answer = header.flags.response && header.exchange == Exchange::IkeSaInit && header.message_id == 0;
        let Some(connection) = step.connections.get(&self.connection).cloned() else {
            return State::ended(Some(&self.connection), Failure::Ours);
        };
        // It must come from where the request went.
        if !is_answer || path != sa.path {
            return State::InitSent(self);
        }
        let Ok(message) = Message::parse(datagram) else {
            return State::InitSent(self);
        };
        if let Some(asked) = Asked::of(&message.payloads) {
            return self.follow(sa, step, &connection, asked);
        }
        if let Some(error) = find_error(&message.payloads) {
            self.refused
                .get_or_insert((step.now.monotonic, Refusal::Error(error.kind)));
            return State::InitSent(self);
        }
        match self.begun(sa, &connection, header, &message.payloads, datagram) {
            Ok(begun) => go_on(sa, step, &connection, begun),
            // An attacker's answer must not end it, the peer's may still come.
            Err(_) => State::InitSent(self),
        }
    }

    /// A cookie or another group.
    fn follow(
        mut self: Box<Self>,
        sa: &mut IkeSa,
        step: &mut Step<'_>,
        connection: &Connection,
        asked: Asked,
    ) -> State {
        self.retries = self.retries.saturating_add(1);
        if self.retries > RETRIES_MAX {
            return State::InitSent(self);
        }
        match asked {
            Asked::Cookie(cookie) => self.cookie = Some(cookie),
            Asked::Group(asked) => {
                let offered = |group: &Group| connection.ike_proposals.iter().any(|p| p.groups.contains(group));
                let Some(group) = Group::from_id(asked).filter(offered) else {
                    self.refused.get_or_insert((step.now.monotonic, Refusal::Group(asked)));
                    return State::InitSent(self);
                };
                if group == self.private.group() {
                    return State::InitSent(self);
                }
                (self.private, self.public) = PrivateValue::generate(group, step.random);
            }
        }
        let _ = self.send(sa, step, connection);
        State::InitSent(self)
    }

    fn begun(
        &self,
        sa: &mut IkeSa,
        connection: &Connection,
        header: &Header,
        payloads: &[Payload],
        datagram: &[u8],
    ) -> Result<Begun, Failure> {
        let said = Said::of(payloads).ok_or(Failure::Misbehaved("its IKE_SA_INIT lacks SA, KE or nonce"))?;
        let offered = proposal::offer_ike(&connection.ike_proposals, None);
        let suite = proposal::accept_ike(&offered, said.proposals)
            .map_err(|_| Failure::Misbehaved("it chose a proposal that was not offered"))?
            .suite;
        if said.exchange.group != suite.group.id() || suite.group != self.private.group() || header.responder_spi == 0 {
            return Err(Failure::Misbehaved(
                "its key exchange does not fit the group that it chose",
            ));
        }
        let shared = self
            .private
            .agree(&said.exchange.data)
            .map_err(|_| Failure::Misbehaved("its public value is not valid"))?;
        sa.peer_spi = header.responder_spi;
        let spis = sa.spis();
        let public = Public {
            nonce_i: self.nonce.bytes(),
            nonce_r: said.nonce.bytes(),
            spi_i: spis.0,
            spi_r: spis.1,
        };
        let keys = IkeKeys::derive(&suite, &shared, public);
        let mut begun = Begun {
            channel: Channel::new(suite, keys),
            nonce_i: self.nonce.clone(),
            nonce_r: said.nonce.clone(),
            init_request: self.request.clone(),
            init_response: datagram.to_vec(),
            nat: nat::detect(payloads, spis, sa.path),
            features: Features::of(payloads),
            intermediate: IntermediateAuth::default(),
            ppk_used: false,
            peer_ends: None,
        };
        begun.settle(sa, connection);
        Ok(begun)
    }

    /// Gives up after a refusal that stands, or after silence.
    pub(crate) fn advance(self: Box<Self>, sa: &IkeSa, step: &Step<'_>) -> State {
        if let Some((since, refusal)) = self.refused
            && step.now.monotonic.since(since) >= REFUSAL_STANDS_MS
        {
            let connection = step.connections.get(&self.connection);
            let offered = connection.map(|c| offers::ike(&c.ike_proposals)).unwrap_or_default();
            let why = match refusal {
                Refusal::Error(notify) => Failure::Refused { notify, offered },
                Refusal::Group(asked) => Failure::WantsGroup { asked, offered },
            };
            return State::ended(Some(&self.connection), why);
        }
        match sa.silent(step, &self.connection, "IKE_SA_INIT", Patience::default()) {
            Some(ended) => ended,
            None => State::InitSent(self),
        }
    }

    /// When the refusal is believed.
    pub(crate) fn deadline(&self) -> Option<Milliseconds> {
        self.refused.map(|(since, _)| since.after(REFUSAL_STANDS_MS))
    }
}

/// IKE_SA_INIT is over.
fn go_on(sa: &mut IkeSa, step: &mut Step<'_>, connection: &Connection, begun: Begun) -> State {
    sa.sender.finish();
    if begun.nat.is_some_and(|nat| nat.any()) || connection.force_udp {
        sa.path = nat::on_nat_port(sa.path);
    }
    match begun.channel.suite.additional.is_empty() {
        true => AuthSent::begin(sa, step, connection, begun),
        false => IntermediateSent::begin(sa, step, connection, begun, 0),
    }
}

/// What a responder asks for before it answers.
enum Asked {
    Cookie(Vec<u8>),
    Group(u16),
}

impl Asked {
    fn of(payloads: &[Payload]) -> Option<Asked> {
        if let Some(cookie) = find_notify(payloads, notify::COOKIE) {
            // RFC 7296 §2.6: 1 to 64 bytes.
            return (1..=64)
                .contains(&cookie.data.len())
                .then(|| Asked::Cookie(cookie.data.clone()));
        }
        // Without a group it asks for none: that of the number 0.
        let asked = |notify: &Notify| notify.numbers().and_then(|ids| ids.first().copied()).unwrap_or(0);
        find_notify(payloads, notify::INVALID_KE_PAYLOAD).map(|notify| Asked::Group(asked(notify)))
    }
}

/// SA, KE and nonce of an IKE_SA_INIT message or of a CREATE_CHILD_SA that replaces an IKE SA.
pub(crate) struct Said<'a> {
    pub(crate) proposals: &'a [crate::wire::Proposal],
    pub(crate) exchange: &'a KeyExchange,
    pub(crate) nonce: &'a Nonce,
}

impl<'a> Said<'a> {
    /// None if one of them is missing.
    pub(crate) fn of(payloads: &'a [Payload]) -> Option<Said<'a>> {
        Some(Said {
            proposals: associations(payloads).last()?,
            exchange: exchanges(payloads).last()?,
            nonce: nonces(payloads).last()?,
        })
    }
}

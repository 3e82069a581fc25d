//! IKE_AUTH is under way: who we are, and the first child SA.

use crate::auth::octets::Side;
use crate::connection::{Connection, Path};
use crate::failure::Failure;
use crate::sa::begun::Begun;
use crate::sa::channel;
use crate::sa::child::{Stage, Workers};
use crate::sa::established::{Established, Origin};
use crate::sa::offers;
use crate::sa::payloads::find_error;
use crate::sa::pending_child::{Material, PendingChild, Wish};
use crate::sa::proof;
use crate::sa::step::Step;
use crate::sa::window::Receiver;
use crate::sa::{IkeSa, State};
use crate::wire::{Exchange, Header, Notify, Payload, notify};
use serde::{Deserialize, Serialize};

/// Our proof waits for the peer's.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AuthSent {
    pub(crate) connection: String,
    pub(crate) begun: Begun,
    child: Option<PendingChild>,
    message_id: u32,
}

impl AuthSent {
    /// Sends IKE_AUTH.
    pub(crate) fn begin(sa: &mut IkeSa, step: &mut Step<'_>, connection: &Connection, begun: Begun) -> State {
        let mut begun = begun;
        let message_id = sa.sender.next_id();
        let mut payloads = match proof::ours(&begun, Side::Initiator, connection, message_id) {
            Ok(payloads) => payloads,
            Err(why) => return State::ended(Some(&connection.name), why),
        };
        if let Some(identity) = &connection.peer.identity {
            payloads.push(Payload::IdResponder(identity.to_body()));
        }
        if step.is_alone {
            payloads.push(Payload::Notify(Notify::new(notify::INITIAL_CONTACT, &[])));
        }
        let child = connection.children.first();
        let wish = Wish {
            exchange: false,
            group: None,
            workers: Workers::All,
            shares: connection.shares(),
        };
        let child = child.map(|child| (PendingChild::new(step, sa.id, child, wish), child));
        if let Some((pending, child)) = &child {
            payloads.extend(pending.payloads(child));
        }
        let header = channel::header(sa, Exchange::IkeAuth, false, message_id);
        let Some(sealed) = begun.channel.seal(step.random, sa.initiator, header, &payloads) else {
            return State::ended(Some(&connection.name), Failure::TooLarge);
        };
        step.send(sa.path, &sealed.datagrams);
        sa.sender.begin(step.now.monotonic, step.random, sealed.datagrams);
        State::AuthSent(Box::new(AuthSent {
            connection: connection.name.clone(),
            begun,
            child: child.map(|(pending, _)| pending),
            message_id,
        }))
    }

    /// The answer.
    pub(crate) fn handle(
        mut self: Box<Self>,
        sa: &mut IkeSa,
        step: &mut Step<'_>,
        _path: Path,
        header: &Header,
        datagram: &[u8],
    ) -> State {
        let is_answer =
            header.flags.response && header.exchange == Exchange::IkeAuth && sa.sender.expects(header.message_id);
        let Some(connection) = step.connections.get(&self.connection).cloned() else {
            return State::ended(Some(&self.connection), Failure::Ours);
        };
        if !is_answer {
            return State::AuthSent(self);
        }
        let Some(inside) = self.begun.channel.open(sa.initiator, datagram) else {
            return State::AuthSent(self);
        };
        sa.sender.finish();
        let payloads = match inside.payloads() {
            Ok(payloads) => payloads,
            Err(_) => return State::ended(Some(&self.connection), Failure::Misbehaved("its IKE_AUTH is malformed")),
        };
        let has_auth = payloads
            .iter()
            .any(|payload| matches!(payload, Payload::Authentication(_)));
        if let Some(error) = find_error(payloads).map(|notify| notify.kind).filter(|_| !has_auth) {
            let offered = match error {
                notify::AUTHENTICATION_FAILED => format!("identity {}", connection.own.identity),
                _ => connection
                    .children
                    .first()
                    .map(|c| offers::esp(&c.proposals))
                    .unwrap_or_default(),
            };
            return State::ended(Some(&self.connection), Failure::Refused { notify: error, offered });
        }
        let peer = proof::theirs(
            &mut self.begun,
            Side::Responder,
            &connection,
            self.message_id,
            payloads,
            step.now.unix,
        );
        let peer = match peer {
            Ok(peer) => peer,
            Err(why) => return refuse(sa, step, *self, why),
        };
        let AuthSent { begun, child, .. } = *self;
        sa.receiver = Receiver::after(0);
        let origin = Origin {
            connection: &connection,
            peer,
        };
        let children_of = Child {
            begun: &begun,
            child,
            payloads,
        };
        let accepted = children_of.accept(step, &connection);
        let mut established = Established::new(step, origin, begun);
        match accepted {
            Some(Ok(child)) => established.add_first(step, child),
            Some(Err(why)) => established.child_failed(step, &connection.children[0].name, why),
            None => {}
        }
        State::Established(Box::new(established))
    }
}

struct Child<'a> {
    begun: &'a Begun,
    child: Option<PendingChild>,
    payloads: &'a [Payload],
}

impl Child<'_> {
    /// The child SA that came with the peer's proof.
    fn accept(
        self,
        step: &mut Step<'_>,
        connection: &Connection,
    ) -> Option<Result<crate::sa::child::ChildSa, Failure>> {
        let (pending, wanted) = (self.child?, connection.children.first()?);
        if let Some(error) = find_error(self.payloads).map(|notify| notify.kind) {
            step.child_spis.remove(pending.spi);
            let offered = offers::esp(&wanted.proposals);
            return Some(Err(Failure::Refused { notify: error, offered }));
        }
        let material = Material {
            prf: self.begun.channel.suite.prf,
            keys: &self.begun.channel.keys,
        };
        let agreed = pending.agree(wanted, self.payloads, [&self.begun.nonce_i, &self.begun.nonce_r]);
        Some(agreed.map(|agreed| agreed.build(step, wanted, &material, Stage::Active)))
    }
}

/// The peer's proof is wrong: it is told so, authentically, with one message that nobody waits for (RFC 7296 §2.21.2).
fn refuse(sa: &mut IkeSa, step: &mut Step<'_>, state: AuthSent, why: Failure) -> State {
    let AuthSent {
        connection, mut begun, ..
    } = state;
    let header = channel::header(sa, Exchange::Informational, false, sa.sender.next_id());
    let failed = Payload::Notify(Notify::new(notify::AUTHENTICATION_FAILED, &[]));
    if let Some(sealed) = begun.channel.seal(step.random, sa.initiator, header, &[failed]) {
        step.send(sa.path, &sealed.datagrams);
    }
    State::ended(Some(&connection), why)
}

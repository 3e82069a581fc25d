//! IKE_INTERMEDIATE is under way: an additional key exchange (RFC 9242, RFC 9370 §2.2.2).

use super::AuthSent;
use crate::auth::octets::Side;
use crate::connection::{Connection, Path};
use crate::crypto::exchange::PrivateValue;
use crate::failure::Failure;
use crate::sa::begun::Begun;
use crate::sa::channel::{self, Plain};
use crate::sa::payloads::exchange_of;
use crate::sa::step::Step;
use crate::sa::{IkeSa, State};
use crate::wire::{Exchange, Header, KeyExchange, Payload};
use serde::{Deserialize, Serialize};

/// An additional key exchange waits for its answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct IntermediateSent {
    pub(crate) connection: String,
    pub(crate) begun: Begun,
    /// Which of the additional key exchanges.
    number: usize,
    private: PrivateValue,
}

impl IntermediateSent {
    /// Sends additional key exchange `number`.
    pub(crate) fn begin(
        sa: &mut IkeSa,
        step: &mut Step<'_>,
        connection: &Connection,
        begun: Begun,
        number: usize,
    ) -> State {
        let mut begun = begun;
        let Some(group) = begun.channel.suite.additional.get(number).copied() else {
            return AuthSent::begin(sa, step, connection, begun);
        };
        let (private, data) = PrivateValue::generate(group, step.random);
        let exchange = Payload::KeyExchange(KeyExchange {
            group: group.id(),
            data,
        });
        let header = channel::header(sa, Exchange::IkeIntermediate, false, sa.sender.next_id());
        let sealed = begun.channel.seal(step.random, sa.initiator, header, &[exchange]);
        let Some(sealed) = sealed else {
            return State::ended(Some(&connection.name), Failure::TooLarge);
        };
        begun.cover(Side::Initiator, &Plain::of(&sealed));
        step.send(sa.path, &sealed.datagrams);
        sa.sender.begin(step.now.monotonic, step.random, sealed.datagrams);
        State::IntermediateSent(Box::new(IntermediateSent {
            connection: connection.name.clone(),
            begun,
            number,
            private,
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
        let is_answer = header.flags.response
            && header.exchange == Exchange::IkeIntermediate
            && sa.sender.expects(header.message_id);
        let Some(connection) = step.connections.get(&self.connection).cloned() else {
            return State::ended(Some(&self.connection), Failure::Ours);
        };
        if !is_answer {
            return State::IntermediateSent(self);
        }
        let Some(inside) = self.begun.channel.open(sa.initiator, datagram) else {
            return State::IntermediateSent(self);
        };
        let payloads = inside.payloads().unwrap_or_default();
        let exchange = exchange_of(payloads, self.private.group());
        let shared = exchange.and_then(|body| self.private.agree(&body.data).ok());
        let Some(shared) = shared else {
            return State::ended(
                Some(&self.connection),
                Failure::Misbehaved("its additional key exchange is missing or not valid"),
            );
        };
        if let Some(plain) = inside.plain() {
            self.begun.cover(Side::Responder, &plain);
        }
        self.begun.mix(sa, &shared);
        sa.sender.finish();
        let IntermediateSent { begun, number, .. } = *self;
        IntermediateSent::begin(sa, step, &connection, begun, number + 1)
    }
}

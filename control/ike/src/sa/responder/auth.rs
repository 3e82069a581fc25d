//! IKE_AUTH is answered: which tunnel the peer is, its proof, ours, and the first child SA.

use super::InitAnswered;
use crate::auth::octets::Side;
use crate::connection::{Connection, Path};
use crate::failure::Failure;
use crate::sa::channel::{self, Inside};
use crate::sa::child::Stage;
use crate::sa::established::{Established, Origin};
use crate::sa::offers;
use crate::sa::payloads::find_notify;
use crate::sa::pending_child::{self, Material, Refusal};
use crate::sa::proof;
use crate::sa::step::Step;
use crate::sa::{IkeSa, State};
use crate::wire::{Exchange, Header, Notify, Payload, notify};
use std::sync::Arc;

/// Answers IKE_AUTH, whose message is authentic but says nothing proven yet.
pub(crate) fn answer(
    state: InitAnswered,
    sa: &mut IkeSa,
    step: &mut Step<'_>,
    path: Path,
    header: &Header,
    inside: &Inside,
) -> State {
    let mut state = state;
    sa.path = path;
    let Ok(inside) = inside.payloads() else {
        let why = Failure::Misbehaved("its IKE_AUTH is malformed");
        return refuse(state, sa, step, header, None, why);
    };
    let proven = prove(&mut state, sa, step, header, inside);
    let (connection, peer, mut payloads) = match proven {
        Ok(proven) => proven,
        Err((tunnel, why)) => return refuse(state, sa, step, header, tunnel, why),
    };
    let InitAnswered { begun, .. } = state;
    let initial_contact = find_notify(inside, notify::INITIAL_CONTACT).is_some();
    let wants_child = inside
        .iter()
        .any(|payload| matches!(payload, Payload::SecurityAssociation(_)));
    // RFC 7296 §1.2: the first child SA has no key exchange of its own.
    let child = wants_child.then(|| -> Result<_, Refusal> {
        let request = pending_child::Request {
            children: &connection.children,
            only: None,
            payloads: inside,
            with_exchange: false,
            shares: connection.shares(),
            nonces: [&begun.nonce_i, &begun.nonce_r],
        };
        let (agreed, answer) = request.answer(step, sa.id)?;
        let (prf, keys) = (begun.channel.suite.prf, &begun.channel.keys);
        let wanted = connection.children.iter().find(|child| child.name == agreed.name);
        let wanted = wanted.ok_or_else(Refusal::temporary)?;
        Ok((
            agreed.build(step, wanted, &Material { prf, keys }, Stage::Active),
            answer,
        ))
    });
    let origin = Origin {
        connection: &connection,
        peer,
    };
    let mut established = Established::new(step, origin, begun);
    established.initial_contact = initial_contact;
    match child {
        Some(Ok((child, answer))) => {
            payloads.extend(answer);
            established.add_first(step, child);
        }
        Some(Err(refusal)) => {
            payloads.push(Payload::Notify(refusal.notify));
            let name = connection.children.first().map_or("", |child| child.name.as_str());
            established.child_failed(step, name, refusal.why);
        }
        None => {}
    }
    let reply = channel::header(sa, Exchange::IkeAuth, true, header.message_id);
    let Some(sealed) = established.channel.seal(step.random, sa.initiator, reply, &payloads) else {
        return State::ended(Some(&connection.name), Failure::TooLarge);
    };
    step.send(sa.path, &sealed.datagrams);
    sa.receiver.answered(sealed.datagrams);
    State::Established(Box::new(established))
}

type Proven = (Arc<Connection>, proof::PeerIdentity, Vec<Payload>);

/// Why a peer was refused, and by which tunnel, where it is one.
type Unproven = (Option<String>, Failure);

/// The tunnel whose peer this is, by its identity exactly, and our own proof.
fn prove(
    state: &mut InitAnswered,
    sa: &IkeSa,
    step: &mut Step<'_>,
    header: &Header,
    inside: &[Payload],
) -> Result<Proven, Unproven> {
    let claimed = proof::claimed(Side::Initiator, inside).map_err(|why| (None, why))?;
    let wanted = proof::wanted_identity(inside);
    let named = state.candidates(step.connections);
    let fitting: Vec<_> = named
        .iter()
        .filter(|c| {
            c.peer
                .identity
                .as_ref()
                .is_none_or(|identity| identity.matches(&claimed))
        })
        .filter(|c| wanted.as_ref().is_none_or(|identity| identity.matches(&c.own.identity)))
        .filter(|c| offers::allow(&c.ike_proposals, &state.begun.channel.suite))
        .collect();
    let mut failure = match (fitting.is_empty(), named.as_slice()) {
        (true, [only]) => (
            Some(only.name.clone()),
            proof::mismatch(only, &claimed, wanted.as_ref()),
        ),
        _ => (
            None,
            Failure::UnknownPeer {
                identity: claimed.to_string(),
            },
        ),
    };
    // An identity of its own before a rule for any.
    let exact = |c: &&&Arc<Connection>| c.peer.identity.is_none();
    let mut ordered = fitting;
    ordered.sort_by_key(|c| exact(&c));
    for connection in ordered {
        match proof::theirs(
            &mut state.begun,
            Side::Initiator,
            connection,
            header.message_id,
            inside,
            step.now.unix,
        ) {
            Ok(peer) => {
                state.begun.settle(sa, connection);
                let ours = proof::ours(&state.begun, Side::Responder, connection, header.message_id);
                return match ours {
                    Ok(ours) => Ok((connection.clone(), peer, ours)),
                    Err(why) => Err((Some(connection.name.clone()), why)),
                };
            }
            Err(why) => failure = (Some(connection.name.clone()), why),
        }
    }
    Err(failure)
}

/// RFC 7296 §2.21.2: the peer learns that it failed, not why.
fn refuse(
    state: InitAnswered,
    sa: &mut IkeSa,
    step: &mut Step<'_>,
    header: &Header,
    tunnel: Option<String>,
    why: Failure,
) -> State {
    let candidates = state.candidates(step.connections);
    let mut begun = state.begun;
    let failed = Payload::Notify(Notify::new(notify::AUTHENTICATION_FAILED, &[]));
    let reply = channel::header(sa, Exchange::IkeAuth, true, header.message_id);
    if let Some(sealed) = begun.channel.seal(step.random, sa.initiator, reply, &[failed]) {
        step.send(sa.path, &sealed.datagrams);
    }
    let only = match candidates.as_slice() {
        [only] => Some(only.name.clone()),
        _ => None,
    };
    State::ended(tunnel.or(only).as_deref(), why)
}

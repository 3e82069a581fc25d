//! The first message of a peer. All of it may be forged: what it costs us is bounded by cookies and by the endpoint's limits, and what is
//! refused leaves no state.

use super::InitAnswered;
use crate::auth::octets::IntermediateAuth;
use crate::connection::{Connection, Path};
use crate::crypto::exchange::respond;
use crate::crypto::ike_keys::{IkeKeys, Public};
use crate::failure::Failure;
use crate::proposal;
use crate::sa::begun::Begun;
use crate::sa::channel::{self, Channel};
use crate::sa::features::Features;
use crate::sa::initiator::Said;
use crate::sa::nat;
use crate::sa::step::Step;
use crate::sa::window::{Receiver, Sender};
use crate::sa::{IkeSa, State};
use crate::transform::IkeProposal;
use crate::wire::{Exchange, Flags, Header, KeyExchange, Message, Notify, Payload, notify};
use std::sync::Arc;

/// Why no IKE SA began; `reply` goes to the peer, without state.
pub(crate) struct Refused {
    pub(crate) reply: Option<Vec<u8>>,
    pub(crate) why: Failure,
}

/// Answers IKE_SA_INIT. `candidates`: the tunnels that this peer may be, the most exact first.
pub(crate) fn answer(
    step: &mut Step<'_>,
    candidates: &[Arc<Connection>],
    path: Path,
    message: &Message,
    datagram: &[u8],
) -> Result<IkeSa, Refused> {
    let header = &message.header;
    let refuse = |notify: Notify, why| Refused {
        reply: stateless(header, notify),
        why,
    };
    let said = Said::of(&message.payloads).ok_or_else(|| {
        let notify = Notify::new(notify::INVALID_SYNTAX, &[]);
        refuse(notify, Failure::Misbehaved("its IKE_SA_INIT lacks SA, KE or nonce"))
    })?;
    let ours: Vec<IkeProposal> = candidates
        .iter()
        .flat_map(|c| c.ike_proposals.iter().cloned())
        .collect();
    let choice = proposal::choose_ike(&ours, said.proposals, None).map_err(|mismatch| {
        let notify = Notify::new(notify::NO_PROPOSAL_CHOSEN, &[]);
        refuse(notify, Failure::Mismatch(Box::new(mismatch)))
    })?;
    let group = choice.suite.group;
    if said.exchange.group != group.id() {
        // RFC 7296 §1.2: the peer tries again with this group.
        let notify = Notify::new(notify::INVALID_KE_PAYLOAD, &group.id().to_be_bytes());
        return Err(refuse(notify, Failure::AskedForGroup(group)));
    }
    let (public, shared) = respond(group, &said.exchange.data, step.random).map_err(|_| {
        let notify = Notify::new(notify::INVALID_SYNTAX, &[]);
        refuse(notify, Failure::Misbehaved("its public value is not valid"))
    })?;
    let mut sa = IkeSa {
        id: step.id(),
        path,
        own_spi: step.ike_spi(),
        peer_spi: header.initiator_spi,
        initiator: false,
        created: step.now.monotonic,
        sender: Sender::default(),
        receiver: Receiver::after(0),
        state: State::ended(None, Failure::Ours),
    };
    let nonce = step.nonce();
    let features = Features::of(&message.payloads);
    let mut payloads = vec![
        Payload::SecurityAssociation(vec![choice.answer]),
        Payload::KeyExchange(KeyExchange {
            group: group.id(),
            data: public,
        }),
        Payload::Nonce(nonce.clone()),
    ];
    payloads.extend(nat::notifications(
        sa.spis(),
        path,
        candidates.iter().any(|c| c.force_udp),
    ));
    payloads.extend(Features::answer(&features, candidates));
    payloads.extend(crate::sa::proof::certificate_request(candidates));
    let response = Message {
        header: channel::header(&sa, Exchange::IkeSaInit, true, 0),
        payloads,
    };
    let response = response.encode().map_err(|_| Refused {
        reply: None,
        why: Failure::TooLarge,
    })?;
    let spis = sa.spis();
    let public = Public {
        nonce_i: said.nonce.bytes(),
        nonce_r: nonce.bytes(),
        spi_i: spis.0,
        spi_r: spis.1,
    };
    let keys = IkeKeys::derive(&choice.suite, &shared, public);
    let begun = Begun {
        channel: Channel::new(choice.suite, keys),
        nonce_i: said.nonce.clone(),
        nonce_r: nonce,
        init_request: datagram.to_vec(),
        init_response: response.clone(),
        // The initiator knew no SPI of ours yet.
        nat: nat::detect(&message.payloads, (header.initiator_spi, header.responder_spi), path),
        features,
        intermediate: IntermediateAuth::default(),
        ppk_used: false,
        peer_ends: None,
    };
    step.send(path, std::slice::from_ref(&response));
    sa.receiver.answered(vec![response]);
    sa.state = State::InitAnswered(Box::new(InitAnswered::new(step, path, begun)));
    Ok(sa)
}

/// A response that leaves no state behind.
pub(crate) fn stateless(request: &Header, notify: Notify) -> Option<Vec<u8>> {
    let flags = Flags {
        initiator: false,
        response: true,
    };
    let header = Header::new(request.initiator_spi, 0, Exchange::IkeSaInit, flags, 0);
    let payloads = vec![Payload::Notify(notify)];
    Message { header, payloads }.encode().ok()
}

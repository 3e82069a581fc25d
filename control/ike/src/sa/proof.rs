//! Identities and their proofs in IKE_AUTH: pre-shared keys, certificates, post-quantum pre-shared keys (RFC 7296 §2.15, RFC 7427, RFC
//! 8784).

use super::begun::Begun;
use super::payloads::{self, find_notify, initiators, proofs, responders};
use crate::auth;
use crate::auth::chain::{self, Trust, verify_chain};
use crate::auth::octets::Side;
use crate::connection::{Connection, OwnProof, PeerProof, Ppk};
use crate::crypto::ike_keys::IkeKeys;
use crate::failure::Failure;
use crate::identity::Identity;
use crate::wire::{AuthBody, CertBody, IdBody, Notify, Payload, encoding, notify};

/// Who the peer has proven to be.
pub(crate) type PeerIdentity = Identity;

/// Our identity, certificates and AUTH.
pub(crate) fn ours(
    begun: &Begun,
    side: Side,
    connection: &Connection,
    message_id: u32,
) -> Result<Vec<Payload>, Failure> {
    let body = connection.own.identity.to_body();
    let mut payloads = vec![match side {
        Side::Initiator => Payload::IdInitiator(body.clone()),
        Side::Responder => Payload::IdResponder(body.clone()),
    }];
    if let OwnProof::Certificate { key: _, chain } = &connection.own.proof {
        payloads.extend(chain.iter().map(|der| {
            Payload::Certificate(CertBody {
                encoding: encoding::X509_SIGNATURE,
                data: der.clone(),
            })
        }));
    }
    if side == Side::Initiator {
        payloads.extend(certificate_request(std::slice::from_ref(connection)));
    }
    // The responder's keys are mixed already if it uses the PPK; the initiator offers both.
    let ppk = connection
        .ppk
        .as_ref()
        .filter(|_| side == Side::Initiator && begun.features.ppk);
    let mixed = ppk.map(|ppk| begun.channel.keys.with_ppk(begun.channel.suite.prf, &ppk.key));
    let keys = mixed.as_ref().unwrap_or(&begun.channel.keys);
    let sign = |keys: &IkeKeys| {
        let octets = begun.octets(side, &body, message_id, keys);
        let proof = auth::prove(
            &connection.own.proof,
            begun.channel.suite.prf,
            begun.features.hashes.as_deref(),
            &octets,
        );
        proof.map_err(Failure::Authentication)
    };
    payloads.push(Payload::Authentication(sign(keys)?));
    if let Some(ppk) = ppk {
        payloads.push(Payload::Notify(Notify::new(notify::PPK_IDENTITY, &ppk_identity(ppk))));
        if !ppk.required {
            let without = sign(&begun.channel.keys)?;
            payloads.push(Payload::Notify(Notify::new(notify::NO_PPK_AUTH, &without.data)));
        }
    } else if begun.ppk_used {
        payloads.push(Payload::Notify(Notify::new(notify::PPK_IDENTITY, &[])));
    }
    Ok(payloads)
}

fn ppk_identity(ppk: &Ppk) -> Vec<u8> {
    [&[notify::ppk_id::FIXED], ppk.id.as_slice()].concat()
}

/// Who the peer says it is.
pub(crate) fn claimed(side: Side, payloads: &[Payload]) -> Result<Identity, Failure> {
    let body = id_body(side, payloads).ok_or(Failure::Misbehaved("its IKE_AUTH lacks an identity"))?;
    Identity::from_body(body).map_err(|_| Failure::Misbehaved("its identity is of no kind that can be matched"))
}

fn id_body(side: Side, payloads: &[Payload]) -> Option<&IdBody> {
    match side {
        Side::Initiator => initiators(payloads).next(),
        Side::Responder => responders(payloads).next(),
    }
}

/// Whom the initiator wants to talk to; none = whoever answers.
pub(crate) fn wanted_identity(payloads: &[Payload]) -> Option<Identity> {
    id_body(Side::Responder, payloads).and_then(|body| Identity::from_body(body).ok())
}

/// Why a peer is not the one of this tunnel.
pub(crate) fn mismatch(connection: &Connection, claimed: &Identity, wanted: Option<&Identity>) -> Failure {
    match (&connection.peer.identity, wanted) {
        (Some(expected), _) if !expected.matches(claimed) => Failure::WrongIdentity {
            claimed: claimed.to_string(),
            expected: expected.to_string(),
        },
        (_, Some(wanted)) if !wanted.matches(&connection.own.identity) => Failure::WantsAnother {
            wanted: wanted.to_string(),
            own: connection.own.identity.to_string(),
        },
        _ => Failure::UnknownPeer {
            identity: claimed.to_string(),
        },
    }
}

/// Checks the peer's identity and proof; afterwards the keys are those that the child SAs come from.
pub(crate) fn theirs(
    begun: &mut Begun,
    side: Side,
    connection: &Connection,
    message_id: u32,
    payloads: &[Payload],
    unix: u64,
) -> Result<PeerIdentity, Failure> {
    let identity = claimed(side, payloads)?;
    if connection
        .peer
        .identity
        .as_ref()
        .is_some_and(|expected| !expected.matches(&identity))
    {
        return Err(mismatch(connection, &identity, None));
    }
    let body = id_body(side, payloads).ok_or(Failure::Misbehaved("its IKE_AUTH lacks an identity"))?;
    let proof = proofs(payloads).next().cloned();
    let mut proof = proof.ok_or(Failure::Misbehaved("its IKE_AUTH lacks a proof"))?;
    let ppk = used_ppk(begun, side, connection, payloads)?;
    let keys = match ppk {
        Some(ppk) => begun.channel.keys.with_ppk(begun.channel.suite.prf, &ppk.key),
        None => begun.channel.keys.clone(),
    };
    if ppk.is_none() && side == Side::Initiator && find_notify(payloads, notify::PPK_IDENTITY).is_some() {
        // RFC 8784 §3: we do not know its PPK; it lets us go without if it sent this.
        let without = find_notify(payloads, notify::NO_PPK_AUTH).ok_or(Failure::Ppk(
            "the peer insists on a post-quantum pre-shared key that is not configured here",
        ))?;
        proof.data.clone_from(&without.data);
    }
    let octets = begun.octets(side, body, message_id, &keys);
    begun.peer_ends = verify(begun, connection, &identity, &proof, &octets, payloads, unix)?;
    begun.ppk_used = ppk.is_some();
    begun.channel.rekeyed(keys);
    Ok(identity)
}

/// The PPK that this IKE SA uses, if any.
fn used_ppk<'a>(
    begun: &Begun,
    side: Side,
    connection: &'a Connection,
    payloads: &[Payload],
) -> Result<Option<&'a Ppk>, Failure> {
    let said = find_notify(payloads, notify::PPK_IDENTITY);
    let known = connection.ppk.as_ref().filter(|ppk| match side {
        Side::Initiator => said.is_some_and(|said| said.data == ppk_identity(ppk)),
        // The responder's notification is empty: it uses ours.
        Side::Responder => said.is_some() && begun.features.ppk,
    });
    if known.is_none() && connection.ppk.as_ref().is_some_and(|ppk| ppk.required) {
        return Err(Failure::Ppk(
            "the peer does not use the post-quantum pre-shared key that is required here",
        ));
    }
    Ok(known)
}

/// Gives the first and the last second of the peer's certificate, where it has one.
fn verify(
    begun: &Begun,
    connection: &Connection,
    identity: &Identity,
    proof: &AuthBody,
    octets: &[u8],
    payloads: &[Payload],
    unix: u64,
) -> Result<Option<(u64, u64)>, Failure> {
    match &connection.peer.proof {
        PeerProof::Psk(secret) => {
            let checked = auth::check_psk(secret, begun.channel.suite.prf, proof, octets);
            checked.map(|()| None).map_err(Failure::Authentication)
        }
        PeerProof::Certificate { roots, revocations } => {
            let chain = payloads::chain(payloads);
            let trust = Trust { roots, revocations };
            let key = verify_chain(&chain, trust, identity, connection.peer.spiffe.as_deref(), unix);
            let key = key.map_err(|wrong| Failure::Authentication(wrong.into()))?;
            key.verify(proof, octets).map_err(Failure::Authentication)?;
            let own = chain.get(..1).and_then(chain::ends_at);
            Ok(own.map(|ends| (ends.since, ends.unix)))
        }
    }
}

/// Which roots we trust, as the peer wants to know (RFC 7296 §3.7). None where no certificate is wanted.
pub(crate) fn certificate_request<C: core::borrow::Borrow<Connection>>(connections: &[C]) -> Option<Payload> {
    let mut data = Vec::new();
    for connection in connections {
        if let PeerProof::Certificate { roots, .. } = &connection.borrow().peer.proof {
            data.extend(chain::certificate_request(roots));
        }
    }
    let any = !data.is_empty();
    any.then_some(Payload::CertificateRequest(CertBody {
        encoding: encoding::X509_SIGNATURE,
        data,
    }))
}

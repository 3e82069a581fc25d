//! Finding things among payloads.

use crate::transform::Group;
use crate::wire::{
    AuthBody, CertBody, Delete, IdBody, KeyExchange, Nonce, Notify, Payload, Proposal, TrafficSelector, encoding,
};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident: $kind:ident => $body:ty;)*) => {
        $($(#[$doc])*
        pub(crate) fn $name(payloads: &[Payload]) -> impl Iterator<Item = &$body> {
            payloads.iter().filter_map(|payload| if let Payload::$kind(body) = payload { Some(body) } else { None })
        })*
    };
}

kinds! {
    /// SA payloads.
    associations: SecurityAssociation => Vec<Proposal>;
    /// KE payloads.
    exchanges: KeyExchange => KeyExchange;
    /// Ni, Nr.
    nonces: Nonce => Nonce;
    /// IDi.
    initiators: IdInitiator => IdBody;
    /// IDr.
    responders: IdResponder => IdBody;
    /// CERT payloads of any encoding.
    certificates: Certificate => CertBody;
    /// AUTH payloads.
    proofs: Authentication => AuthBody;
    /// Notifications.
    notifies: Notify => Notify;
    /// Deletes.
    deletes: Delete => Delete;
    /// TSi.
    selectors_i: SelectorsInitiator => Vec<TrafficSelector>;
    /// TSr.
    selectors_r: SelectorsResponder => Vec<TrafficSelector>;
}

/// The first notification of a kind.
pub(crate) fn find_notify(payloads: &[Payload], kind: u16) -> Option<&Notify> {
    notifies(payloads).find(|notify| notify.kind == kind)
}

/// The first notification of an error.
pub(crate) fn find_error(payloads: &[Payload]) -> Option<&Notify> {
    notifies(payloads).find(|notify| notify.is_error())
}

/// The group that INVALID_KE_PAYLOAD asks for.
pub(crate) fn asked_group(notify: &Notify) -> Option<Group> {
    match notify.numbers()?.as_slice() {
        [id] => Group::from_id(*id),
        _ => None,
    }
}

/// The public value of a group.
pub(crate) fn exchange_of(payloads: &[Payload], group: Group) -> Option<&KeyExchange> {
    exchanges(payloads).find(|body| body.group == group.id())
}

/// Certificates as DER, the sender's own first.
pub(crate) fn chain(payloads: &[Payload]) -> Vec<Vec<u8>> {
    let x509 = certificates(payloads).filter(|body| body.encoding == encoding::X509_SIGNATURE);
    x509.map(|body| body.data.clone()).collect()
}

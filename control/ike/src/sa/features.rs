//! What both sides say that they can do, in IKE_SA_INIT. None of the peer's is authentic before IKE_AUTH.

use super::payloads::find_notify;
use crate::connection::Connection;
use crate::wire::{Notify, Payload, notify};
use core::borrow::Borrow;
use serde::{Deserialize, Serialize};

/// What the peer announced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Features {
    /// RFC 7383.
    pub(crate) fragmentation: bool,
    /// RFC 9242.
    pub(crate) intermediate: bool,
    /// RFC 8784.
    pub(crate) ppk: bool,
    /// Hash algorithms of RFC 7427; none = it knows only the old methods.
    pub(crate) hashes: Option<Vec<u16>>,
}

/// Hashes that we verify, best first. SHA-1 is none of them.
const HASHES: [u16; 4] = [
    notify::hash::SHA2_256,
    notify::hash::SHA2_384,
    notify::hash::SHA2_512,
    notify::hash::IDENTITY,
];

impl Features {
    /// From the payloads of IKE_SA_INIT.
    pub(crate) fn of(payloads: &[Payload]) -> Features {
        let has = |kind| find_notify(payloads, kind).is_some();
        Features {
            fragmentation: has(notify::IKEV2_FRAGMENTATION_SUPPORTED),
            intermediate: has(notify::INTERMEDIATE_EXCHANGE_SUPPORTED),
            ppk: has(notify::USE_PPK),
            hashes: find_notify(payloads, notify::SIGNATURE_HASH_ALGORITHMS).and_then(Notify::numbers),
        }
    }

    /// What we announce as initiator.
    pub(crate) fn announce(connection: &Connection) -> Vec<Payload> {
        let mut payloads = common();
        if connection
            .ike_proposals
            .iter()
            .any(|proposal| !proposal.additional.is_empty())
        {
            payloads.push(plain(notify::INTERMEDIATE_EXCHANGE_SUPPORTED));
        }
        if connection.ppk.is_some() {
            payloads.push(plain(notify::USE_PPK));
        }
        payloads
    }

    /// What we announce as responder: what the peer has announced, too, and one of the tunnels uses.
    pub(crate) fn answer<C: Borrow<Connection>>(peer: &Features, candidates: &[C]) -> Vec<Payload> {
        let mut payloads = common();
        let any = |wanted: fn(&Connection) -> bool| candidates.iter().any(|c| wanted(c.borrow()));
        if peer.intermediate && any(|c| c.ike_proposals.iter().any(|proposal| !proposal.additional.is_empty())) {
            payloads.push(plain(notify::INTERMEDIATE_EXCHANGE_SUPPORTED));
        }
        if peer.ppk && any(|c| c.ppk.is_some()) {
            payloads.push(plain(notify::USE_PPK));
        }
        payloads
    }
}

fn common() -> Vec<Payload> {
    let hashes: Vec<u8> = HASHES.iter().flat_map(|hash| hash.to_be_bytes()).collect();
    vec![
        plain(notify::IKEV2_FRAGMENTATION_SUPPORTED),
        Payload::Notify(Notify::new(notify::SIGNATURE_HASH_ALGORITHMS, &hashes)),
    ]
}

fn plain(kind: u16) -> Payload {
    Payload::Notify(Notify::new(kind, &[]))
}

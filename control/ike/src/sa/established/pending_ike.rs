//! An IKE SA on its way that replaces another: our request for one, and what was agreed on.

use super::collision::lowest;
use crate::connection::Connection;
use crate::crypto::exchange::PrivateValue;
use crate::proposal;
use crate::sa::SaId;
use crate::sa::step::Step;
use crate::secret::Secret;
use crate::transform::{Group, IkeSuite};
use crate::wire::{KeyExchange, Nonce, Payload};
use serde::{Deserialize, Serialize};

/// Our request to replace an IKE SA.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PendingIke {
    pub(super) spi: u64,
    pub(super) nonce: Nonce,
    /// Of the key exchange under way.
    pub(super) private: PrivateValue,
    /// The answer, while additional key exchanges follow.
    pub(super) agreed: Option<Box<AgreedIke>>,
    /// What the peer made of the same IKE SA meanwhile.
    pub(super) met: Option<MetIke>,
}

/// The peer's replacement of the same IKE SA.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MetIke {
    /// None while its additional key exchanges are to come.
    pub(super) id: Option<SaId>,
    pub(super) lowest: Nonce,
}

/// What both sides agreed on for an IKE SA that replaces this one: with the last shared secret it can be made.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AgreedIke {
    pub(super) suite: IkeSuite,
    pub(super) own_spi: u64,
    pub(super) peer_spi: u64,
    /// We began the exchange.
    pub(super) initiator: bool,
    pub(super) nonce_i: Nonce,
    pub(super) nonce_r: Nonce,
    /// Of CREATE_CHILD_SA first, then of each IKE_FOLLOWUP_KE.
    pub(super) shared: Vec<Secret>,
}

impl AgreedIke {
    /// The additional key exchange that comes next, if any (RFC 9370 §2.2.4).
    pub(super) fn missing(&self) -> Option<Group> {
        let done = self.shared.len().checked_sub(1)?;
        self.suite.additional.get(done).copied()
    }

    pub(super) fn lowest(&self) -> Nonce {
        lowest(&self.nonce_i, &self.nonce_r)
    }
}

impl PendingIke {
    /// SA, Ni, KEi. The group is the one in use, unless the peer asked for another.
    pub(super) fn new(
        step: &mut Step<'_>,
        connection: &Connection,
        suite: &IkeSuite,
        group: Option<Group>,
    ) -> Option<(PendingIke, Vec<Payload>)> {
        let proposals = &connection.ike_proposals;
        let is_offered = |group: &Group| proposals.iter().any(|proposal| proposal.groups.contains(group));
        let group = group.unwrap_or(suite.group);
        let group = Some(group)
            .filter(is_offered)
            .or(proposals.first()?.groups.first().copied())?;
        let (private, data) = PrivateValue::generate(group, step.random);
        let pending = PendingIke {
            spi: step.ike_spi(),
            nonce: step.nonce(),
            private,
            agreed: None,
            met: None,
        };
        let payloads = vec![
            Payload::SecurityAssociation(proposal::offer_ike(proposals, Some(pending.spi))),
            Payload::Nonce(pending.nonce.clone()),
            Payload::KeyExchange(KeyExchange {
                group: group.id(),
                data,
            }),
        ];
        Some((pending, payloads))
    }
}

//! Own proposals in the form of the wire.

use super::suite::NONE;
use crate::transform::{Encryption, EspProposal, Group, IkeProposal};
use crate::wire::{Proposal, Transform, protocol, transform_kind};

/// What is sent to be chosen from, best first. `spi` is our own if this replaces an IKE SA (RFC 7296 §3.3.1). AEAD ciphers and others
/// never share a proposal (RFC 7296 §3.3): one that mixes them becomes two.
pub fn offer_ike(ours: &[IkeProposal], spi: Option<u64>) -> Vec<Proposal> {
    let spi = spi.map(|spi| spi.to_be_bytes().to_vec()).unwrap_or_default();
    let lists = ours
        .iter()
        .flat_map(|own| [true, false].map(|aead| ike_transforms(own, aead)));
    number(lists.flatten(), protocol::IKE, &spi)
}

/// The same for a child SA, whose inbound SPI is `spi`. Without `key_exchange` (in IKE_AUTH) no group is offered (RFC 7296 §1.2).
/// A cipher that is no AEAD is never offered for ESP.
pub fn offer_esp(ours: &[EspProposal], spi: u32, key_exchange: bool) -> Vec<Proposal> {
    let lists = ours.iter().map(|own| esp_transforms(own, key_exchange));
    number(lists, protocol::ESP, &spi.to_be_bytes())
}

/// Numbers from 1 on; what became the same as an earlier one is left out.
fn number(lists: impl Iterator<Item = Vec<Transform>>, protocol: u8, spi: &[u8]) -> Vec<Proposal> {
    let mut proposals: Vec<Proposal> = Vec::new();
    for transforms in lists {
        if proposals.iter().any(|earlier| earlier.transforms == transforms) {
            continue;
        }
        let Ok(number) = u8::try_from(proposals.len() + 1) else {
            break;
        };
        proposals.push(Proposal {
            number,
            protocol,
            spi: spi.to_vec(),
            transforms,
        });
    }
    proposals
}

fn ike_transforms(own: &IkeProposal, aead: bool) -> Option<Vec<Transform>> {
    let mut transforms: Vec<_> = ciphers(&own.encryption, aead).collect();
    if transforms.is_empty() {
        return None;
    }
    if !aead {
        let integrity = own.integrity.iter();
        transforms.extend(integrity.map(|integrity| Transform::new(transform_kind::INTEGRITY, integrity.id(), None)));
    }
    transforms.extend(
        own.prf
            .iter()
            .map(|prf| Transform::new(transform_kind::PRF, prf.id(), None)),
    );
    transforms.extend(
        own.groups
            .iter()
            .map(|group| key_exchange_of(transform_kind::KEY_EXCHANGE, Some(*group))),
    );
    transforms.extend(additional(&own.additional));
    Some(transforms)
}

fn esp_transforms(own: &EspProposal, key_exchange: bool) -> Vec<Transform> {
    let mut transforms: Vec<_> = ciphers(&own.encryption, true).collect();
    if key_exchange {
        // RFC 9370 §2.2.4: additional ones follow one in CREATE_CHILD_SA.
        let follow = !own.additional.is_empty() && own.groups.iter().any(Option::is_some);
        let groups = own.groups.iter().filter(|group| group.is_some() || !follow);
        transforms.extend(groups.map(|group| key_exchange_of(transform_kind::KEY_EXCHANGE, *group)));
        transforms.extend(additional(&own.additional).filter(|_| follow));
    }
    // RFC 7296 §3.3.3: mandatory for ESP.
    let values = if own.esn.is_empty() { &[false][..] } else { &own.esn };
    transforms.extend(
        values
            .iter()
            .map(|esn| Transform::new(transform_kind::SEQUENCE_NUMBERS, u16::from(*esn), None)),
    );
    transforms
}

fn ciphers(list: &[Encryption], aead: bool) -> impl Iterator<Item = Transform> + '_ {
    let wanted = list.iter().filter(move |cipher| cipher.is_aead() == aead);
    wanted.map(|cipher| Transform::new(transform_kind::ENCRYPTION, cipher.id(), cipher.key_length()))
}

fn additional(lists: &[Vec<Option<Group>>]) -> impl Iterator<Item = Transform> + '_ {
    let kinds = transform_kind::ADDITIONAL_FIRST..=transform_kind::ADDITIONAL_LAST;
    kinds
        .zip(lists)
        .flat_map(|(kind, list)| list.iter().map(move |group| key_exchange_of(kind, *group)))
}

fn key_exchange_of(kind: u8, group: Option<Group>) -> Transform {
    Transform::new(kind, group.map_or(NONE, Group::id), None)
}

//! Chosen transforms as a suite: one of a kind, and all of them spoken here.

use crate::transform::{Encryption, EspSuite, Group, IkeSuite, Integrity, Prf};
use crate::wire::{Transform, transform_kind};

/// The number that stands for "none" in integrity and key exchange.
pub(super) const NONE: u16 = 0;

const CIPHERS: [Encryption; 5] = [
    Encryption::AesGcm16(128),
    Encryption::AesGcm16(256),
    Encryption::ChaCha20Poly1305,
    Encryption::AesCbc(128),
    Encryption::AesCbc(256),
];
const PRFS: [Prf; 3] = [Prf::HmacSha256, Prf::HmacSha384, Prf::HmacSha512];
const INTEGRITIES: [Integrity; 3] = [Integrity::HmacSha256, Integrity::HmacSha384, Integrity::HmacSha512];

/// The suite of exactly one transform of each kind.
pub(super) fn ike(transforms: &[Transform]) -> Option<IkeSuite> {
    let encryption = cipher(transforms)?;
    let integrity = match of(transforms, transform_kind::INTEGRITY) {
        None | Some(NONE) => None,
        Some(id) => Some(INTEGRITIES.into_iter().find(|known| known.id() == id)?),
    };
    // RFC 7296 §3.3.3, RFC 5282 §8: integrity beside every other cipher, and never beside an AEAD.
    if encryption.is_aead() == integrity.is_some() {
        return None;
    }
    let prf = of(transforms, transform_kind::PRF)?;
    Some(IkeSuite {
        encryption,
        integrity,
        prf: PRFS.into_iter().find(|known| known.id() == prf)?,
        group: Group::from_id(of(transforms, transform_kind::KEY_EXCHANGE)?)?,
        additional: additional(transforms)?,
    })
}

/// The same for ESP: AEAD only.
pub(super) fn esp(transforms: &[Transform]) -> Option<EspSuite> {
    let integrity = of(transforms, transform_kind::INTEGRITY);
    let encryption = cipher(transforms).filter(|cipher| cipher.is_aead() && matches!(integrity, None | Some(NONE)))?;
    let (group, additional) = (
        group(transforms, transform_kind::KEY_EXCHANGE)?,
        additional(transforms)?,
    );
    // RFC 9370 §2.2.4: additional ones follow one in CREATE_CHILD_SA.
    if group.is_none() && !additional.is_empty() {
        return None;
    }
    Some(EspSuite {
        encryption,
        group,
        additional,
        esn: match of(transforms, transform_kind::SEQUENCE_NUMBERS)? {
            0 => false,
            1 => true,
            _ => return None,
        },
    })
}

fn of(transforms: &[Transform], kind: u8) -> Option<u16> {
    transforms
        .iter()
        .find(|transform| transform.kind == kind)
        .map(|transform| transform.id)
}

fn cipher(transforms: &[Transform]) -> Option<Encryption> {
    let chosen = transforms
        .iter()
        .find(|transform| transform.kind == transform_kind::ENCRYPTION)?;
    CIPHERS
        .into_iter()
        .find(|cipher| cipher.id() == chosen.id && cipher.key_length() == chosen.key_length)
}

/// `Some(None)`: without. `None`: a method that is not spoken.
fn group(transforms: &[Transform], kind: u8) -> Option<Option<Group>> {
    match of(transforms, kind) {
        None | Some(NONE) => Some(None),
        Some(id) => Group::from_id(id).map(Some),
    }
}

fn additional(transforms: &[Transform]) -> Option<Vec<Group>> {
    let kinds = transform_kind::ADDITIONAL_FIRST..=transform_kind::ADDITIONAL_LAST;
    let mut groups = Vec::new();
    for kind in kinds {
        groups.extend(group(transforms, kind)?);
    }
    Some(groups)
}

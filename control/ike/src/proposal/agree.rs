//! One transform of each kind, from both sides' lists (RFC 7296 §3.3.6).

use super::mismatch::{Difference, Mismatch, NotOffered};
use super::suite::NONE;
use crate::wire::{Proposal, Transform, transform_kind as kind};

/// Kinds of transforms that an IKE SA has.
pub(super) const IKE_KINDS: [u8; 11] = [
    kind::ENCRYPTION,
    kind::PRF,
    kind::INTEGRITY,
    kind::KEY_EXCHANGE,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
];
/// Of a child SA.
pub(super) const ESP_KINDS: [u8; 11] = [
    kind::ENCRYPTION,
    kind::INTEGRITY,
    kind::KEY_EXCHANGE,
    kind::SEQUENCE_NUMBERS,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
];
/// Of the child SA that comes with IKE_AUTH.
pub(super) const FIRST_ESP_KINDS: [u8; 3] = [kind::ENCRYPTION, kind::INTEGRITY, kind::SEQUENCE_NUMBERS];

/// Whether a kind is a method of key exchange, first or additional.
fn is_key_exchange(of: u8) -> bool {
    of == kind::KEY_EXCHANGE || (kind::ADDITIONAL_FIRST..=kind::ADDITIONAL_LAST).contains(&of)
}

/// Kinds that may be missing, which means the same as the transform "none".
fn may_be_none(of: u8) -> bool {
    of == kind::INTEGRITY || is_key_exchange(of)
}

/// The answer to `theirs`, and which of them it answers. `kinds` are those that count; other known ones of IKE and ESP are ignored
/// only if they are about a key exchange that cannot take place.
pub(super) fn choose<'a>(
    ours: &[Proposal],
    theirs: &'a [Proposal],
    kinds: &[u8],
) -> Result<(Proposal, &'a Proposal), Mismatch> {
    let mut closest: Option<(u8, Vec<Difference>)> = None;
    for own in ours {
        for their in theirs {
            match agree(own, their, kinds) {
                Ok(transforms) => {
                    let answer = Proposal {
                        number: their.number,
                        protocol: own.protocol,
                        spi: own.spi.clone(),
                        transforms,
                    };
                    return Ok((answer, their));
                }
                Err(differences)
                    if closest
                        .as_ref()
                        .is_none_or(|(_, known)| differences.len() < known.len()) =>
                {
                    closest = Some((their.number, differences));
                }
                Err(_) => {}
            }
        }
    }
    Err(Mismatch::new(ours, theirs, closest))
}

fn agree(own: &Proposal, their: &Proposal, kinds: &[u8]) -> Result<Vec<Transform>, Vec<Difference>> {
    let mut differences = Vec::new();
    // RFC 7296 §3.3.1: initial IKE SAs have no SPI here, all others have one.
    if their.protocol != own.protocol {
        differences.push(Difference::Protocol(their.protocol));
    } else if their.spi.len() != own.spi.len() || (own.spi.len() == 4 && their.child_spi().is_none()) {
        differences.push(Difference::Spi);
    }
    // RFC 7296 §3.3.6: a kind that is not understood makes the whole proposal unacceptable.
    let counts = |transform: &&Transform| kinds.contains(&transform.kind);
    let foreign = their
        .transforms
        .iter()
        .find(|transform| !counts(transform) && !is_key_exchange(transform.kind));
    differences.extend(foreign.map(|transform| Difference::Unknown(transform.kind)));
    let mut chosen: Vec<Transform> = Vec::new();
    for kind in kinds {
        match pick(*kind, &own.transforms, &their.transforms, &chosen) {
            Some(picked) => chosen.extend(picked),
            None => differences.push(Difference::Kind(*kind)),
        }
    }
    if differences.is_empty() {
        Ok(chosen)
    } else {
        Err(differences)
    }
}

/// Our first transform of a kind that the peer has, too; `Some(None)` if both go without.
fn pick(of: u8, own: &[Transform], their: &[Transform], chosen: &[Transform]) -> Option<Option<Transform>> {
    let none = Transform::new(of, NONE, None);
    let list = |all: &[Transform]| {
        all.iter()
            .filter(|transform| transform.kind == of)
            .cloned()
            .collect::<Vec<_>>()
    };
    let (mut own, mut their) = (list(own), list(their));
    // A kind that the peer did not list is not answered.
    let listed = !their.is_empty();
    if may_be_none(of) {
        for side in [&mut own, &mut their] {
            if side.is_empty() {
                side.push(none.clone());
            }
        }
    }
    let picked = own
        .into_iter()
        .find(|transform| their.contains(transform) && is_new(transform, chosen))?;
    Some(listed.then_some(picked))
}

/// RFC 9370 §2.2.1: no method of key exchange twice. The earlier kind gets it; nothing is tried again if a later one then has none left.
fn is_new(transform: &Transform, chosen: &[Transform]) -> bool {
    let same = |other: &Transform| is_key_exchange(other.kind) && other.id == transform.id;
    !is_key_exchange(transform.kind) || transform.id == NONE || !chosen.iter().any(same)
}

/// The one proposal of an answer, if it takes exactly one transform of each kind from the proposal of its number.
pub(super) fn accept<'a>(
    offered: &[Proposal],
    answer: &'a [Proposal],
    protocol: u8,
) -> Result<&'a Proposal, NotOffered> {
    let wrong = || NotOffered::new(&answer.iter().collect::<Vec<_>>());
    let [chosen] = answer else { return Err(wrong()) };
    let own = offered
        .iter()
        .find(|own| own.number == chosen.number)
        .ok_or_else(wrong)?;
    let same_form = chosen.protocol == protocol && own.protocol == protocol && chosen.spi.len() == own.spi.len();
    let all_offered = chosen
        .transforms
        .iter()
        .all(|transform| own.transforms.contains(transform));
    let one_each = (0..=u8::MAX).all(|kind| one_of(kind, &own.transforms, &chosen.transforms));
    let distinct = (0..chosen.transforms.len()).all(|at| {
        let (before, rest) = chosen.transforms.split_at(at);
        rest.first().is_none_or(|transform| is_new(transform, before))
    });
    if same_form && all_offered && one_each && distinct {
        Ok(chosen)
    } else {
        Err(wrong())
    }
}

/// One if any was offered; none only where "none" was offered, too.
fn one_of(kind: u8, offered: &[Transform], chosen: &[Transform]) -> bool {
    let mut offered = offered.iter().filter(|transform| transform.kind == kind).peekable();
    match chosen.iter().filter(|transform| transform.kind == kind).count() {
        0 => offered.peek().is_none() || (may_be_none(kind) && offered.any(|transform| transform.id == NONE)),
        1 => true,
        _ => false,
    }
}

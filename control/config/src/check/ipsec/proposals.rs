//! What is proposed: the profile's offer, or what the statement says in its place.

use super::Stated;
use crate::problem::Problems;
use crate::profile::{Algorithm, Kind, Transforms, esp_proposals, ike_proposals, unfit};
use crate::reader::At;
use crate::scalars::{AlgorithmWord, EsnWord};
use tombolo_ike::transform::{Encryption, EspProposal, Group, IkeProposal, Integrity, Prf};

/// `None` means that a problem was noted.
pub(super) struct Proposals {
    pub(super) ike: Option<Vec<IkeProposal>>,
    pub(super) esp: Option<Vec<EspProposal>>,
}

type Words = Option<Vec<At<AlgorithmWord>>>;

pub(super) fn resolve(stated: &Stated<'_>, problems: &mut Problems) -> Proposals {
    Proposals {
        ike: ike(stated, problems),
        esp: esp(stated, problems),
    }
}

fn ike(stated: &Stated<'_>, problems: &mut Problems) -> Option<Vec<IkeProposal>> {
    let offer = &stated.values.ike_offer.value;
    let Some(raw) = &stated.raw.ike else {
        return ike_proposals(offer).ok();
    };
    let mut right = known::<Encryption>(stated, &raw.encryption, Kind::Ike, problems);
    right &= known::<Integrity>(stated, &raw.integrity, Kind::Ike, problems);
    right &= known::<Prf>(stated, &raw.prf, Kind::Ike, problems);
    right &= known::<Group>(stated, &raw.groups, Kind::Ike, problems);
    right &= known::<Group>(stated, &raw.additional, Kind::Esp, problems);
    let wanted = override_all(
        offer,
        [&raw.encryption, &raw.integrity, &raw.prf, &raw.groups, &raw.additional],
    );
    let made = if right { Some(ike_proposals(&wanted)) } else { None };
    made?.map_err(|error| problems.add(raw.place, error)).ok()
}

fn esp(stated: &Stated<'_>, problems: &mut Problems) -> Option<Vec<EspProposal>> {
    let offer = &stated.values.esp_offer.value;
    let default = || stated.values.esn.value.offer.clone();
    let Some(raw) = &stated.raw.esp else {
        return esp_proposals(offer, &default()).ok();
    };
    let mut right = known::<Encryption>(stated, &raw.encryption, Kind::Esp, problems);
    right &= known::<Group>(stated, &raw.groups, Kind::Esp, problems);
    right &= known::<Group>(stated, &raw.additional, Kind::Esp, problems);
    let esn = match raw.esn.as_ref().map(|at| at.value) {
        None => default(),
        Some(EsnWord::On) => vec![true],
        Some(EsnWord::Off) => vec![false],
        Some(EsnWord::Either) => vec![true, false],
    };
    let none = None;
    let wanted = override_all(offer, [&raw.encryption, &none, &none, &raw.groups, &raw.additional]);
    let made = if right {
        Some(esp_proposals(&wanted, &esn))
    } else {
        None
    };
    made?.map_err(|error| problems.add(raw.place, error)).ok()
}

/// The offer with what was stated in the place of it. A stated cipher makes one proposal of all.
fn override_all(
    offer: &[Transforms],
    [encryption, integrity, prf, groups, additional]: [&Words; 5],
) -> Vec<Transforms> {
    let words = |stated: &Words, offered: &[String]| match stated.as_deref() {
        None | Some([]) => offered.to_vec(),
        Some(words) => words.iter().map(|at| at.value.0.clone()).collect(),
    };
    let all = |field: fn(&Transforms) -> &Vec<String>| {
        let mut all: Vec<String> = Vec::new();
        for word in offer.iter().flat_map(field) {
            if !all.contains(word) {
                all.push(word.clone());
            }
        }
        all
    };
    let offered: Vec<Transforms> = match encryption {
        None => offer.to_vec(),
        // Integrity is left away where it is not needed, and a cipher that needs it finds that of the offer.
        Some(_) => vec![Transforms {
            encryption: Vec::new(),
            integrity: all(|transforms| &transforms.integrity),
            prf: all(|transforms| &transforms.prf),
            groups: all(|transforms| &transforms.groups),
            additional: all(|transforms| &transforms.additional),
        }],
    };
    let proposal = |offered: &Transforms| Transforms {
        encryption: words(encryption, &offered.encryption),
        integrity: words(integrity, &offered.integrity),
        prf: words(prf, &offered.prf),
        groups: words(groups, &offered.groups),
        additional: words(additional, &offered.additional),
    };
    offered.iter().map(proposal).collect()
}

/// Notes every word that is not spoken, why, and what to set at the peer. `none` is for groups that a peer may go without.
fn known<T: Algorithm>(stated: &Stated<'_>, words: &Words, kind: Kind, problems: &mut Problems) -> bool {
    let mut right = true;
    for at in words.iter().flatten() {
        let word = at.value.0.as_str();
        let not_aead = kind == Kind::Esp && word.ends_with("-cbc");
        let is_group = T::WHAT == <Group as Algorithm>::WHAT;
        if (T::from_word(word).is_some() && !not_aead) || (word == "none" && is_group && kind == Kind::Esp) {
            continue;
        }
        right = false;
        let policy = stated.profile.policy.trim();
        if let Some(why) = unfit(word) {
            problems.hint(at.place, format!("{word} is not spoken: {why}"), policy);
        } else if not_aead {
            problems.hint(
                at.place,
                format!("{word} is for IKE messages; ESP is AEAD only"),
                policy,
            );
        } else {
            let names = T::NAMED.iter().map(|(name, _)| *name);
            problems.push(
                at.place,
                format!("'{word}' is not {}", T::WHAT),
                crate::suggest::hint(word, names),
            );
        }
    }
    right
}

use super::*;
use crate::transform::{Encryption, Group, Integrity, Prf};
use crate::wire::Transform;
use proptest::prelude::*;
use proptest::sample::subsequence;

fn gcm() -> IkeProposal {
    IkeProposal {
        encryption: vec![Encryption::AesGcm16(256), Encryption::AesGcm16(128)],
        integrity: vec![],
        prf: vec![Prf::HmacSha384, Prf::HmacSha256],
        groups: vec![Group::Ecp384, Group::Modp2048],
        additional: vec![],
    }
}

fn cbc() -> IkeProposal {
    IkeProposal {
        encryption: vec![Encryption::AesCbc(256)],
        integrity: vec![Integrity::HmacSha256],
        ..gcm()
    }
}

fn esp(groups: &[Option<Group>]) -> EspProposal {
    EspProposal {
        encryption: vec![Encryption::AesGcm16(256), Encryption::ChaCha20Poly1305],
        groups: groups.to_vec(),
        additional: vec![],
        esn: vec![true, false],
    }
}

/// A peer's proposal of (kind, id, key length).
fn theirs(number: u8, protocol: u8, list: &[(u8, u16, u16)]) -> Proposal {
    let transforms = list
        .iter()
        .map(|(kind, id, bits)| Transform::new(*kind, *id, Some(*bits).filter(|bits| *bits > 0)));
    Proposal {
        number,
        protocol,
        spi: if protocol == 3 { vec![1, 2, 3, 4] } else { vec![] },
        transforms: transforms.collect(),
    }
}

fn ids(proposal: &Proposal) -> Vec<(u8, u16, u16)> {
    let id = |transform: &Transform| (transform.kind, transform.id, transform.key_length.unwrap_or(0));
    proposal.transforms.iter().map(id).collect()
}

/// RFC 7296 §3.3.
#[test]
fn offers_count_from_one_and_never_mix_aead_with_others() {
    let mixed = IkeProposal {
        encryption: vec![Encryption::AesCbc(128), Encryption::AesGcm16(128)],
        integrity: vec![Integrity::HmacSha512],
        prf: vec![Prf::HmacSha256],
        groups: vec![Group::Curve25519],
        additional: vec![vec![Some(Group::MlKem768), None]],
    };
    let offered = offer_ike(&[mixed, gcm()], Some(7));
    assert_eq!(
        offered.iter().map(|proposal| proposal.number).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert!(
        offered
            .iter()
            .all(|proposal| proposal.protocol == 1 && proposal.ike_spi() == Some(7))
    );
    assert_eq!(
        ids(&offered[0]),
        [(1, 20, 128), (2, 5, 0), (4, 31, 0), (6, 36, 0), (6, 0, 0)]
    );
    assert_eq!(
        ids(&offered[1]),
        [(1, 12, 128), (3, 14, 0), (2, 5, 0), (4, 31, 0), (6, 36, 0), (6, 0, 0)]
    );
}

/// RFC 7296 §1.2: no key exchange in IKE_AUTH; what becomes equal by that is offered once.
#[test]
fn esp_offers() {
    let ours = [esp(&[Some(Group::Ecp256)]), esp(&[None])];
    let first = offer_esp(&ours, 0x0102_0304, false);
    assert_eq!(first.len(), 1);
    assert_eq!(ids(&first[0]), [(1, 20, 256), (1, 28, 0), (5, 1, 0), (5, 0, 0)]);
    assert_eq!(first[0].child_spi(), Some(0x0102_0304));
    let later = offer_esp(&ours, 0x0102_0304, true);
    assert_eq!(ids(&later[0])[2], (4, 19, 0));
    assert_eq!(ids(&later[1])[2], (4, 0, 0));
    let cbc = EspProposal {
        encryption: vec![Encryption::AesCbc(256), Encryption::AesGcm16(128)],
        ..esp(&[])
    };
    assert_eq!(
        ids(&offer_esp(&[cbc], 1, true)[0]),
        [(1, 20, 128), (5, 1, 0), (5, 0, 0)]
    );
}

/// Our order counts, over all of the peer's proposals.
#[test]
fn best_of_ours_is_chosen() {
    let peer = [
        theirs(1, 1, &[(1, 12, 256), (3, 12, 0), (2, 5, 0), (4, 14, 0)]),
        theirs(
            2,
            1,
            &[(1, 20, 128), (1, 20, 256), (2, 2, 0), (2, 5, 0), (4, 2, 0), (4, 14, 0)],
        ),
    ];
    let agreed = choose_ike(&[gcm(), cbc()], &peer, None).unwrap();
    assert_eq!(agreed.answer.number, 2);
    assert_eq!(ids(&agreed.answer), [(1, 20, 256), (2, 5, 0), (4, 14, 0)]);
    assert_eq!(
        (agreed.suite.group, agreed.suite.prf),
        (Group::Modp2048, Prf::HmacSha256)
    );
    assert_eq!(agreed.suite.integrity, None);
    let agreed = choose_ike(&[cbc(), gcm()], &peer, None).unwrap();
    assert_eq!(
        (agreed.answer.number, agreed.suite.integrity),
        (1, Some(Integrity::HmacSha256))
    );
}

/// RFC 5282 §8, RFC 7296 §3.3.3: integrity beside an AEAD is "none" or left out; the answer has it if it was listed.
#[test]
fn integrity_beside_an_aead() {
    let peer = |integrity: &[(u8, u16, u16)]| {
        [theirs(
            1,
            1,
            &[&[(1, 20, 256), (2, 5, 0), (4, 14, 0)], integrity].concat(),
        )]
    };
    assert_eq!(ids(&choose_ike(&[gcm()], &peer(&[]), None).unwrap().answer).len(), 3);
    let none = choose_ike(&[gcm()], &peer(&[(3, 0, 0)]), None).unwrap();
    assert!(ids(&none.answer).contains(&(3, 0, 0)));
    assert_eq!(none.suite.integrity, None);
    assert!(choose_ike(&[gcm()], &peer(&[(3, 12, 0)]), None).is_err());
    // CBC without integrity is none of ours.
    assert!(choose_ike(&[cbc()], &[theirs(1, 1, &[(1, 12, 256), (2, 5, 0), (4, 14, 0)])], None).is_err());
}

/// RFC 7296 §3.3.6: an unknown kind spoils the proposal, an unknown transform or attribute itself only.
#[test]
fn what_is_unknown_is_never_chosen() {
    let good = [(1, 20, 256), (2, 5, 0), (4, 14, 0)];
    let with = |extra| [theirs(1, 1, &[&good[..], &[extra]].concat())];
    assert!(choose_ike(&[gcm()], &with((1, 999, 0)), None).is_ok());
    assert!(choose_ike(&[gcm()], &with((13, 1, 0)), None).is_err());
    assert!(
        choose_ike(&[gcm()], &with((5, 0, 0)), None).is_err(),
        "sequence numbers belong to ESP"
    );
    let mut strange = theirs(1, 1, &good);
    strange.transforms[0].unknown = vec![0x80, 15, 0, 1];
    assert!(choose_ike(&[gcm()], &[strange.clone()], None).is_err());
    strange.transforms.insert(0, Transform::new(1, 20, Some(128)));
    let agreed = choose_ike(&[gcm()], &[strange], None).unwrap();
    assert_eq!(agreed.suite.encryption, Encryption::AesGcm16(128));
    // AES without a key length, a PRF with one.
    assert!(choose_ike(&[gcm()], &[theirs(1, 1, &[(1, 20, 0), (2, 5, 0), (4, 14, 0)])], None).is_err());
    assert!(
        choose_ike(
            &[gcm()],
            &[theirs(1, 1, &[(1, 20, 256), (2, 5, 256), (4, 14, 0)])],
            None
        )
        .is_err()
    );
}

/// RFC 7296 §3.3.1: SPIs only where an IKE SA is replaced, and never a reserved one for ESP.
#[test]
fn spis() {
    let plain = theirs(1, 1, &[(1, 20, 256), (2, 5, 0), (4, 14, 0)]);
    let mut rekey = plain.clone();
    rekey.spi = vec![0, 0, 0, 0, 0, 0, 0, 9];
    assert!(choose_ike(&[gcm()], std::slice::from_ref(&plain), Some(5)).is_err());
    assert!(choose_ike(&[gcm()], std::slice::from_ref(&rekey), None).is_err());
    let agreed = choose_ike(&[gcm()], &[plain, rekey], Some(5)).unwrap();
    assert_eq!(
        (agreed.answer.number, agreed.peer_spi, agreed.answer.ike_spi()),
        (1, Some(9), Some(5))
    );
    let mut child = theirs(1, 3, &[(1, 20, 256), (5, 0, 0)]);
    assert_eq!(
        choose_esp(&[esp(&[])], &[child.clone()], 0x1000, true)
            .unwrap()
            .peer_spi,
        0x0102_0304
    );
    child.spi = vec![0, 0, 0, 255];
    assert!(choose_esp(&[esp(&[])], &[child], 0x1000, true).is_err());
}

/// PFS: `None` on our side and "none" or nothing on the peer's are the same.
#[test]
fn child_key_exchange() {
    let peer = |groups: &[(u8, u16, u16)]| [theirs(4, 3, &[&[(1, 20, 256), (5, 1, 0)], groups].concat())];
    let group = |own: &[Option<Group>], list: &[(u8, u16, u16)], fresh| {
        choose_esp(&[esp(own)], &peer(list), 0x1000, fresh)
            .map(|agreed| (agreed.suite.group, agreed.answer.transforms.len()))
    };
    let pfs = Some(Group::Ecp256);
    assert_eq!(group(&[pfs], &[(4, 19, 0)], true), Ok((pfs, 3)));
    assert_eq!(group(&[pfs, None], &[], true), Ok((None, 2)));
    assert_eq!(group(&[pfs, None], &[(4, 0, 0)], true), Ok((None, 3)));
    assert_eq!(group(&[], &[(4, 14, 0), (4, 0, 0)], true), Ok((None, 3)));
    assert!(group(&[pfs], &[], true).is_err());
    assert!(group(&[], &[(4, 19, 0)], true).is_err());
    assert!(group(&[pfs], &[(4, 14, 0)], true).is_err());
    // In IKE_AUTH nobody's groups count, and none is answered.
    assert_eq!(group(&[pfs], &[(4, 14, 0)], false), Ok((None, 2)));
    assert_eq!(group(&[pfs], &[], false), Ok((None, 2)));
    // Sequence numbers are mandatory (RFC 7296 §3.3.3).
    assert!(choose_esp(&[esp(&[])], &[theirs(1, 3, &[(1, 20, 256)])], 0x1000, true).is_err());
}

/// RFC 9370 §2.2.1.
#[test]
fn additional_key_exchanges() {
    let own = |additional: &[Vec<Option<Group>>]| IkeProposal {
        additional: additional.to_vec(),
        ..gcm()
    };
    let peer = |list: &[(u8, u16, u16)]| [theirs(1, 1, &[&[(1, 20, 256), (2, 5, 0), (4, 14, 0)], list].concat())];
    let ml_kem = Some(Group::MlKem768);
    let chosen = |own: IkeProposal, list: &[(u8, u16, u16)]| {
        choose_ike(&[own], &peer(list), None).map(|agreed| (agreed.suite.additional, ids(&agreed.answer)[3..].to_vec()))
    };
    assert_eq!(
        chosen(own(&[vec![ml_kem]]), &[(6, 36, 0)]),
        Ok((vec![Group::MlKem768], vec![(6, 36, 0)]))
    );
    assert_eq!(chosen(own(&[vec![ml_kem, None]]), &[]), Ok((vec![], vec![])));
    assert_eq!(
        chosen(own(&[]), &[(6, 36, 0), (6, 0, 0), (7, 0, 0)]),
        Ok((vec![], vec![(6, 0, 0), (7, 0, 0)]))
    );
    assert!(chosen(own(&[vec![ml_kem]]), &[]).is_err());
    assert!(chosen(own(&[]), &[(6, 36, 0)]).is_err());
    // No method twice.
    let twice = own(&[vec![Some(Group::Modp2048), ml_kem], vec![ml_kem, None]]);
    let list = [(6, 14, 0), (6, 36, 0), (7, 36, 0), (7, 0, 0)];
    assert_eq!(
        chosen(twice, &list),
        Ok((vec![Group::MlKem768], vec![(6, 36, 0), (7, 0, 0)]))
    );
}

/// RFC 7296 §3.3.6: the initiator believes nothing that it did not offer.
#[test]
fn answers() {
    let offered = offer_ike(&[gcm(), cbc()], None);
    let good = theirs(2, 1, &[(1, 12, 256), (3, 12, 0), (2, 5, 0), (4, 20, 0)]);
    let agreed = accept_ike(&offered, std::slice::from_ref(&good)).unwrap();
    assert_eq!(agreed.suite.encryption, Encryption::AesCbc(256));
    let refused = |list: &[(u8, u16, u16)]| accept_ike(&offered, &[theirs(2, 1, list)]).is_err();
    assert!(
        refused(&[(1, 12, 128), (3, 12, 0), (2, 5, 0), (4, 20, 0)]),
        "another key length"
    );
    assert!(refused(&[(1, 12, 256), (2, 5, 0), (4, 20, 0)]), "a kind is missing");
    assert!(
        refused(&[(1, 12, 256), (3, 12, 0), (2, 5, 0), (2, 6, 0), (4, 20, 0)]),
        "two of a kind"
    );
    assert!(
        refused(&[(1, 12, 256), (3, 12, 0), (2, 5, 0), (4, 20, 0), (6, 0, 0)]),
        "a kind that was not offered"
    );
    assert!(
        refused(&[(1, 20, 256), (2, 5, 0), (4, 20, 0)]),
        "what another proposal offered"
    );
    assert!(accept_ike(&offered, &[]).is_err());
    assert!(accept_ike(&offered, &[good.clone(), good.clone()]).is_err());
    assert!(
        accept_ike(
            &offered,
            &[Proposal {
                number: 3,
                ..good.clone()
            }]
        )
        .is_err()
    );
    assert!(
        accept_ike(
            &offered,
            &[Proposal {
                spi: vec![1; 8],
                ..good.clone()
            }]
        )
        .is_err()
    );
    assert!(
        accept_ike(
            &offered,
            &[Proposal {
                protocol: 3,
                spi: vec![1; 4],
                ..good
            }]
        )
        .is_err()
    );
    let offered = offer_esp(&[esp(&[Some(Group::Ecp256), None])], 0x1000, true);
    let without = theirs(1, 3, &[(1, 28, 0), (5, 0, 0)]);
    let agreed = accept_esp(&offered, std::slice::from_ref(&without)).unwrap();
    assert_eq!(
        (agreed.suite.group, agreed.suite.esn, agreed.peer_spi),
        (None, false, 0x0102_0304)
    );
    assert!(
        accept_esp(
            &offered,
            &[Proposal {
                spi: vec![0; 4],
                ..without
            }]
        )
        .is_err()
    );
}

/// The words that an operator gets: Azure's default policy against ours.
#[test]
fn mismatch_names_both_sides_and_the_way_out() {
    let peer = [
        theirs(1, 1, &[(1, 12, 256), (3, 2, 0), (2, 2, 0), (4, 2, 0)]),
        theirs(2, 1, &[(1, 3, 0), (3, 12, 0), (2, 5, 0), (4, 2, 0)]),
    ];
    let text = choose_ike(&[gcm()], &peer, None).unwrap_err().explain("Azure");
    assert_eq!(
        text,
        "no common proposal for the IKE SA: Azure offers encryption aes-cbc-256/3des-cbc, PRF hmac-sha1/hmac-sha2-256, integrity \
         hmac-sha1-96/hmac-sha2-256-128, key exchange modp1024 (group 2); accepted here: encryption aes-gcm-16-256/aes-gcm-16-128, PRF \
         hmac-sha2-384/hmac-sha2-256, key exchange ecp384 (group 20)/modp2048 (group 14); its proposal 2 comes closest and differs in \
         encryption, integrity, key exchange; too weak to be accepted by any setting: modp1024 (group 2)/3des-cbc; set the policy of Azure \
         (a custom one, if its default leaves no choice) to what is accepted here"
    );
    let cbc = [theirs(1, 3, &[(1, 12, 256), (3, 12, 0), (5, 0, 0)])];
    let text = choose_esp(&[esp(&[])], &cbc, 0x1000, false).unwrap_err().to_string();
    assert!(
        text.contains("child SA: the peer offers") && text.contains("ESP takes AEAD ciphers only"),
        "{text}"
    );
    let text = choose_esp(&[esp(&[])], &[theirs(1, 2, &[])], 0x1000, false)
        .unwrap_err()
        .to_string();
    assert!(text.contains("AH is not spoken here"), "{text}");
}

/// However much a peer sends, the message stays short.
#[test]
fn mismatch_is_bounded() {
    let many: Vec<_> = (0..64u16).map(|id| ((id % 16) as u8 + 14, 1000 + id, 0)).collect();
    let peer: Vec<_> = (1..=32).map(|number| theirs(number, 1, &many)).collect();
    let text = choose_ike(&[gcm()], &peer, None).unwrap_err().to_string();
    assert!(text.len() < 3000, "{}", text.len());
}

fn any_ike() -> impl Strategy<Value = IkeProposal> {
    let aead = vec![
        Encryption::AesGcm16(128),
        Encryption::AesGcm16(256),
        Encryption::ChaCha20Poly1305,
    ];
    let plain = vec![Encryption::AesCbc(128), Encryption::AesCbc(256)];
    let integrity = vec![Integrity::HmacSha256, Integrity::HmacSha384, Integrity::HmacSha512];
    let ciphers = prop_oneof![
        subsequence(aead, 1..=3).prop_map(|list| (list, vec![])),
        (subsequence(plain, 1..=2), subsequence(integrity, 1..=3)),
    ];
    let prf = subsequence(vec![Prf::HmacSha256, Prf::HmacSha384, Prf::HmacSha512], 1..=3);
    let groups = subsequence(Group::ALL[..5].to_vec(), 1..=5);
    let additional = proptest::collection::vec(subsequence(vec![Some(Group::MlKem768), None], 1..=2), 0..3);
    (ciphers, prf, groups, additional).prop_map(|((encryption, integrity), prf, groups, additional)| IkeProposal {
        encryption,
        integrity,
        prf,
        groups,
        additional,
    })
}

proptest! {
    /// What one of us chooses from another's offer, the other accepts, and both have the same suite, which both had configured.
    #[test]
    fn both_sides_agree(one in proptest::collection::vec(any_ike(), 1..4), other in proptest::collection::vec(any_ike(), 1..4)) {
        let offered = offer_ike(&one, None);
        if let Ok(chosen) = choose_ike(&other, &offered, None) {
            let accepted = accept_ike(&offered, std::slice::from_ref(&chosen.answer)).unwrap();
            prop_assert_eq!(&accepted.suite, &chosen.suite);
            for side in [&one, &other] {
                prop_assert!(side.iter().any(|own| own.encryption.contains(&chosen.suite.encryption)
                    && own.prf.contains(&chosen.suite.prf) && own.groups.contains(&chosen.suite.group)
                    && chosen.suite.integrity.is_none_or(|integrity| own.integrity.contains(&integrity))));
            }
        } else {
            prop_assert!(choose_ike(&one, &offer_ike(&other, None), None).is_err());
        }
    }

    /// A side always agrees with itself, unless a later key exchange has nothing but what an earlier one took.
    #[test]
    fn equal_sides_agree(own in any_ike()) {
        let mut taken = Vec::new();
        let possible = own.additional.iter().all(|list| {
            let choice = list.iter().find(|choice| choice.is_none() || !taken.contains(*choice));
            taken.extend(choice.copied());
            choice.is_some()
        });
        let offered = offer_ike(std::slice::from_ref(&own), Some(3));
        prop_assert_eq!(choose_ike(std::slice::from_ref(&own), &offered, Some(4)).is_ok(), possible);
    }

    /// Any proposals of a stranger: no panic, and nothing that is not ours.
    #[test]
    fn strangers_proposals(list in proptest::collection::vec(proptest::collection::vec((0u8..15, 0u16..40, prop_oneof![Just(0u16), Just(128), Just(256)]), 0..20), 0..8)) {
        let peer: Vec<_> = (1..).zip(&list).map(|(number, list)| theirs(number, 1, list)).collect();
        match choose_ike(&[gcm(), cbc()], &peer, None) {
            Ok(agreed) => {
                let offered = offer_ike(&[gcm(), cbc()], None);
                let transforms = agreed.answer.transforms.iter();
                prop_assert!(transforms.filter(|transform| transform.id != 0).all(|transform| offered.iter().any(|own| own.transforms.contains(transform))));
            }
            Err(mismatch) => prop_assert!(mismatch.to_string().len() < 4000),
        }
        let _ = accept_ike(&offer_ike(&[gcm()], None), &peer);
    }
}

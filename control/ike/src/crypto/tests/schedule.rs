//! The key schedule against a program of thirty lines of Python (its `hmac` module and the formulas of RFC 7296 §2.13, §2.14, §2.17 and
//! §2.18, RFC 8784 §3 and RFC 9370 §2.2.2 and §2.2.4). Of IKE keys the SHA-256 of all seven one after the other is compared.

use super::hex;
use crate::crypto::child_keys::child_keys;
use crate::crypto::ike_keys::{IkeKeys, Public};
use crate::secret::Secret;
use crate::transform::{Encryption, EspSuite, Group, IkeSuite, Integrity, Prf};
use ring::digest;

struct Case {
    suite: (Encryption, Option<Integrity>, Prf),
    er: &'static str,
    derived: &'static str,
    intermediate: &'static str,
    rekeyed: &'static str,
    rekeyed_twice_mixed: &'static str,
    with_ppk: &'static str,
    /// Without a key exchange, with one, with an additional one.
    children: [&'static str; 3],
}

const CASES: [Case; 3] = [
    Case {
        suite: (Encryption::AesGcm16(256), None, Prf::HmacSha256),
        er: "123145212551052fd9f68aba2882111c1cdf00a2ac8316b4573615761d0515d3bc06d072",
        derived: "5f359b720e08e84bee172d39385dc18b8c7e97f0a8d93fd98495df807f8b6e74",
        intermediate: "dd025e0ed7e329c102b81087d25b678189d9aa7f3b4d88e28283f8981023de83",
        rekeyed: "1fa400c2800a1c31dd8bb208c4a8cd99001af2851d666800e325807cb388b7c7",
        rekeyed_twice_mixed: "8712ac43bd95242df9f3d5274ba94dd57beb696a6e47687d27c25880d51f2e03",
        with_ppk: "5f7194a42fdd6fbfe86800179135ef678176136b7d88116523759560be22cffc",
        children: [
            "caf12f4615bf280a9bbbc3fcb993604c9651e788c1bdf94cd458460a85dd00c20fabc252eec4f76f44ac80c2faf806c678a3bae1\
        debe9c71c042e920b2ea76e39bcf5ebe28499852",
            "61e6e85bd07fad54ab24f211e7d6d23fe615ee54f91b3bd74da9a22eda42560f91445daa60aab5e571bc83c534f770c21a9199df\
        3e0d4bcc6320db349bcc688372544711b2f7c5e1",
            "691943a94aab6930affb24195cd11f3e3561b178e3ebab0df9c3e6173c8d6d6079fcbf5d6c01460395067b5bfdc0024d40fb354c\
        008c3af0273750026d60201da379e8044c44e1c8",
        ],
    },
    Case {
        suite: (Encryption::AesCbc(256), Some(Integrity::HmacSha384), Prf::HmacSha384),
        er: "4136e7671ce533b5dc49250561527e66b55de07d9be4d796ffe7c36d6377be9a",
        derived: "9ecfa7872e8af0594098964f8bec911d61f60a8910c6cf6237dbcea2efb6868d",
        intermediate: "0aa7bb473b240a02e21b4839ae27f765663cde97b8a354196a1c98120d4b9936",
        rekeyed: "e6989de8a0b0fb8480c376bda2b0a371f51d8f875499cbcd75267ba15f8d611b",
        rekeyed_twice_mixed: "9563fada93301a0c62857d41d061e8f45666a2215e48fdf4b46485d5b9d794c2",
        with_ppk: "9481a8851941de40e20aaea8e2918bb171e31963bf00ef55dbd8c6e509df667b",
        children: [
            "dfab5a7b61cf93d3a125f32d8af8ca66d29c400f04a3be8306086bc6f499506d1d2541e66fb0f44f49cbecf14c10031a202f5ae6\
        1d5159160dcf49f0f3c411be5d4a144cd2be9e6c",
            "366285b1b91ba14646e43958f15dd3e2825f222500926b25dbac809220f23e99db242f29532971f2925ca9b530dbb986bcb99e02\
        1fde1d16a01f41a3fec8db08ea63547dfc546583",
            "bd84a1e614acd2a2783991ec68aca483e982ce3363c31df79955b4d3487ef01369ef87df2f40152d9cef6f25ea5d8410cfed989d\
        f2885392371d44ef92dd3b7f55b5c780f04dfd21",
        ],
    },
    Case {
        suite: (Encryption::ChaCha20Poly1305, None, Prf::HmacSha512),
        er: "2244972eb11251d8df0788327c29558319ca143068f28097e54f720ff5463ea8458291b6",
        derived: "758b64a676fe11f2e030bb1da07f69811482b76f011201e26e6bf405b24d5820",
        intermediate: "054dd93363c7dffad4bdcd450dbb56843edbca2e4f2efc313a85d1557e8a0839",
        rekeyed: "2c0df66982465e1efde9d80d9c4573ec4c9cf5b05937ae5cb63c5c79896aa3bd",
        rekeyed_twice_mixed: "e3730a35b625d41910706a2d94f04ed3b8997e0b3e70c7a14b9cacb782b4f508",
        with_ppk: "ad812e9564a3b47edb24870b6841eedd259c272e486997927dad3c4da9f24c62",
        children: [
            "16d918aefcdb762e771b683e3b5b97f1724416a451eec5bd71dcd440b437d00f5a0adaf077587ae2e8472d25eb8dd49d43960a52\
        dc88ceeca96c07f7cbe4ef3786c0c983423470b5",
            "f0fdc2b6cc057d11ddd8c26f7c041377ea728ea8938b3032290e732c2f4aa21376d6c36c4f2557b4d6a2c97fd82bbd342fe313d6\
        d3fc0ef9496bbc6e534954c3c241277a21dfe906",
            "987a5bff5c60d04272116741963690378eb316193678ba8d10eff4207a6806e207b8b1d3b83f994ce29bcf3cf2c8583e7ef57e1d\
        d3b9dde49436659bba78c37edf0cdc2e606b5ffe",
        ],
    },
];

fn bytes(from: u8, to: u8) -> Vec<u8> {
    (from..to).collect()
}

fn digest_of(keys: &IkeKeys) -> String {
    let all = [&keys.d, &keys.ai, &keys.ar, &keys.ei, &keys.er, &keys.pi, &keys.pr]
        .map(Secret::expose)
        .concat();
    hex(digest::digest(&digest::SHA256, &all).as_ref())
}

#[test]
fn keys_of_the_ike_sa() {
    let (nonce_i, nonce_r) = (bytes(0, 32), bytes(64, 104));
    let public = Public {
        nonce_i: &nonce_i,
        nonce_r: &nonce_r,
        spi_i: 0x0102030405060708,
        spi_r: 0x1112131415161718,
    };
    let (nonce_i, nonce_r) = (bytes(128, 160), bytes(160, 192));
    let fresh = Public {
        nonce_i: &nonce_i,
        nonce_r: &nonce_r,
        spi_i: 0x2122232425262728,
        spi_r: 0x3132333435363738,
    };
    let [first, second, third] = [1, 2, 3].map(|byte| Secret::new(vec![byte; 32]));
    for case in CASES {
        let (encryption, integrity, prf) = case.suite;
        let suite = IkeSuite {
            encryption,
            integrity,
            prf,
            group: Group::Curve25519,
            additional: Vec::new(),
        };
        let keys = IkeKeys::derive(&suite, &first, public);
        assert_eq!(digest_of(&keys), case.derived, "{suite:?}");
        assert_eq!(hex(keys.er.expose()), case.er);
        let integrity_bytes = integrity.map_or(0, |integrity| integrity.key_bytes());
        assert_eq!([keys.d.len(), keys.pi.len(), keys.pr.len()], [prf.bytes(); 3]);
        assert_eq!([keys.ai.len(), keys.ar.len()], [integrity_bytes; 2]);
        let next = IkeKeys::intermediate(&suite, &keys.d, &second, public);
        assert_eq!(digest_of(&next), case.intermediate, "{suite:?}");
        let next = IkeKeys::rekey(&suite, prf, &keys.d, core::slice::from_ref(&second), fresh);
        assert_eq!(digest_of(&next), case.rekeyed, "{suite:?}");
        let next = IkeKeys::rekey(&suite, prf, &keys.d, &[second.clone(), third.clone()], fresh);
        assert_eq!(digest_of(&next), case.rekeyed_twice_mixed, "{suite:?}");
        let mixed = keys.with_ppk(prf, &Secret::from(b"a post-quantum pre-shared key".as_slice()));
        assert_eq!(digest_of(&mixed), case.with_ppk, "{suite:?}");
        assert_eq!(
            (&mixed.ei, &mixed.er, &mixed.ai, &mixed.ar),
            (&keys.ei, &keys.er, &keys.ai, &keys.ar)
        );
    }
}

/// The old SA's prf makes SKEYSEED, the new SA's prf makes the keys (RFC 7296 §2.18).
#[test]
fn a_rekeying_may_change_the_prf() {
    let public = Public {
        nonce_i: &[1; 32],
        nonce_r: &[2; 32],
        spi_i: 3,
        spi_r: 4,
    };
    let (encryption, group) = (Encryption::AesGcm16(128), Group::Ecp256);
    let suite = IkeSuite {
        encryption,
        integrity: None,
        prf: Prf::HmacSha512,
        group,
        additional: Vec::new(),
    };
    let (old_d, shared) = (Secret::new(vec![5; 32]), Secret::new(vec![6; 32]));
    let keys = IkeKeys::rekey(&suite, Prf::HmacSha256, &old_d, &[shared], public);
    let seed = Prf::HmacSha256.mac(&[5; 32], &[&[6; 32], &[1; 32], &[2; 32]]);
    let spis = [0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4];
    assert_eq!(
        keys.d.expose(),
        Prf::HmacSha512
            .plus(seed.expose(), &[&[1; 32], &[2; 32], &spis], 64)
            .expose()
    );
}

#[test]
fn keys_of_child_sas() {
    let (nonce_i, nonce_r) = (bytes(0, 32), bytes(64, 104));
    let public = Public {
        nonce_i: &nonce_i,
        nonce_r: &nonce_r,
        spi_i: 0x0102030405060708,
        spi_r: 0x1112131415161718,
    };
    let [first, second, third] = [1, 2, 3].map(|byte| Secret::new(vec![byte; 32]));
    let esp = EspSuite {
        encryption: Encryption::AesGcm16(256),
        group: None,
        additional: Vec::new(),
        esn: true,
    };
    for case in CASES {
        let (encryption, integrity, prf) = case.suite;
        let suite = IkeSuite {
            encryption,
            integrity,
            prf,
            group: Group::Curve25519,
            additional: Vec::new(),
        };
        let d = IkeKeys::derive(&suite, &first, public).d;
        let exchanges = [vec![], vec![second.clone()], vec![second.clone(), third.clone()]];
        for (shared, expected) in exchanges.iter().zip(case.children) {
            let keys = child_keys(prf, &d, shared, &bytes(128, 160), &bytes(160, 192), &esp);
            let (to, from) = (&keys.initiator, &keys.responder);
            let all = [to.key.expose(), &to.salt, from.key.expose(), &from.salt].concat();
            assert_eq!(hex(&all), expected, "{prf:?}");
            assert_eq!([to.key.len(), from.key.len()], [32; 2]);
        }
    }
}

/// A process that was killed goes on with what it had stored.
#[test]
fn keys_survive_being_stored() {
    let public = Public {
        nonce_i: &[1; 32],
        nonce_r: &[2; 32],
        spi_i: 3,
        spi_r: 4,
    };
    let (encryption, integrity) = (Encryption::AesCbc(128), Some(Integrity::HmacSha256));
    let suite = IkeSuite {
        encryption,
        integrity,
        prf: Prf::HmacSha256,
        group: Group::Ecp256,
        additional: Vec::new(),
    };
    let keys = IkeKeys::derive(&suite, &Secret::new(vec![7; 32]), public);
    let text = serde_json::to_string(&keys).unwrap();
    assert_eq!(serde_json::from_str::<IkeKeys>(&text).unwrap(), keys);
    let esp = EspSuite {
        encryption: Encryption::AesGcm16(128),
        group: None,
        additional: Vec::new(),
        esn: false,
    };
    let child = child_keys(suite.prf, &keys.d, &[], &[1; 32], &[2; 32], &esp);
    let text = serde_json::to_string(&child).unwrap();
    assert_eq!(
        serde_json::from_str::<crate::crypto::child_keys::ChildKeys>(&text).unwrap(),
        child
    );
}

//! Transforms in an operator's words, also those that are not spoken here ("IKEv2 Parameters" at IANA).

use crate::wire::{Transform, transform_kind};

/// A kind of transform.
pub fn kind_name(kind: u8) -> String {
    match kind {
        transform_kind::ENCRYPTION => "encryption".into(),
        transform_kind::PRF => "PRF".into(),
        transform_kind::INTEGRITY => "integrity".into(),
        transform_kind::KEY_EXCHANGE => "key exchange".into(),
        transform_kind::SEQUENCE_NUMBERS => "sequence numbers".into(),
        transform_kind::ADDITIONAL_FIRST..=transform_kind::ADDITIONAL_LAST => {
            format!(
                "additional key exchange {}",
                kind - transform_kind::ADDITIONAL_FIRST + 1
            )
        }
        kind => format!("transform type {kind}"),
    }
}

/// A transform, with its key length.
pub fn transform_name(transform: &Transform) -> String {
    let mut name = match transform.kind {
        transform_kind::ENCRYPTION => known(&ENCRYPTION, transform.id),
        transform_kind::PRF => known(&PRF, transform.id),
        transform_kind::INTEGRITY => known(&INTEGRITY, transform.id),
        transform_kind::SEQUENCE_NUMBERS => known(&SEQUENCE_NUMBERS, transform.id),
        transform_kind::KEY_EXCHANGE | transform_kind::ADDITIONAL_FIRST..=transform_kind::ADDITIONAL_LAST => {
            group_name(transform.id)
        }
        _ => format!("number {}", transform.id),
    };
    if let Some(bits) = transform.key_length {
        name += &format!("-{bits}");
    }
    if !transform.unknown.is_empty() {
        name += " (with attributes that are not known here)";
    }
    name
}

/// Broken, or too short for today: never spoken, whatever the configuration says (RFC 8247, RFC 9395).
pub(super) fn is_weak(transform: &Transform) -> bool {
    match transform.kind {
        transform_kind::ENCRYPTION => matches!(transform.id, 1..=9 | 11),
        transform_kind::PRF => matches!(transform.id, 1 | 3),
        transform_kind::INTEGRITY => matches!(transform.id, 1 | 3 | 4 | 6),
        transform_kind::KEY_EXCHANGE => matches!(transform.id, 1 | 2 | 5 | 22..=25),
        _ => false,
    }
}

fn known(table: &[(u16, &str)], id: u16) -> String {
    let entry = table.iter().find(|(number, _)| *number == id);
    entry.map_or_else(|| format!("number {id}"), |(_, name)| (*name).into())
}

fn group_name(id: u16) -> String {
    match GROUPS.iter().find(|(number, _)| *number == id) {
        Some((0, name)) => (*name).into(),
        Some((_, name)) => format!("{name} (group {id})"),
        None => format!("group {id}"),
    }
}

const ENCRYPTION: [(u16, &str); 28] = [
    (1, "des-iv64"),
    (2, "des-cbc"),
    (3, "3des-cbc"),
    (4, "rc5"),
    (5, "idea"),
    (6, "cast"),
    (7, "blowfish"),
    (8, "3idea"),
    (9, "des-iv32"),
    (11, "null"),
    (12, "aes-cbc"),
    (13, "aes-ctr"),
    (14, "aes-ccm-8"),
    (15, "aes-ccm-12"),
    (16, "aes-ccm-16"),
    (18, "aes-gcm-8"),
    (19, "aes-gcm-12"),
    (20, "aes-gcm-16"),
    (21, "aes-gmac"),
    (23, "camellia-cbc"),
    (24, "camellia-ctr"),
    (25, "camellia-ccm-8"),
    (26, "camellia-ccm-12"),
    (27, "camellia-ccm-16"),
    (28, "chacha20-poly1305"),
    (29, "aes-ccm-8-iiv"),
    (30, "aes-gcm-16-iiv"),
    (31, "chacha20-poly1305-iiv"),
];

const PRF: [(u16, &str); 8] = [
    (1, "hmac-md5"),
    (2, "hmac-sha1"),
    (3, "hmac-tiger"),
    (4, "aes128-xcbc"),
    (5, "hmac-sha2-256"),
    (6, "hmac-sha2-384"),
    (7, "hmac-sha2-512"),
    (8, "aes128-cmac"),
];

const INTEGRITY: [(u16, &str); 15] = [
    (0, "none"),
    (1, "hmac-md5-96"),
    (2, "hmac-sha1-96"),
    (3, "des-mac"),
    (4, "kpdk-md5"),
    (5, "aes-xcbc-96"),
    (6, "hmac-md5-128"),
    (7, "hmac-sha1-160"),
    (8, "aes-cmac-96"),
    (9, "aes128-gmac"),
    (10, "aes192-gmac"),
    (11, "aes256-gmac"),
    (12, "hmac-sha2-256-128"),
    (13, "hmac-sha2-384-192"),
    (14, "hmac-sha2-512-256"),
];

const GROUPS: [(u16, &str); 26] = [
    (0, "none"),
    (1, "modp768"),
    (2, "modp1024"),
    (5, "modp1536"),
    (14, "modp2048"),
    (15, "modp3072"),
    (16, "modp4096"),
    (17, "modp6144"),
    (18, "modp8192"),
    (19, "ecp256"),
    (20, "ecp384"),
    (21, "ecp521"),
    (22, "modp1024s160"),
    (23, "modp2048s224"),
    (24, "modp2048s256"),
    (25, "ecp192"),
    (26, "ecp224"),
    (27, "brainpool224"),
    (28, "brainpool256"),
    (29, "brainpool384"),
    (30, "brainpool512"),
    (31, "x25519"),
    (32, "x448"),
    (35, "ml-kem-512"),
    (36, "ml-kem-768"),
    (37, "ml-kem-1024"),
];

const SEQUENCE_NUMBERS: [(u16, &str); 3] = [(0, "32 bits"), (1, "64 bits (ESN)"), (2, "unspecified")];

//! Names of algorithms, in profiles and in configurations, and proposals made of them.

use serde::Deserialize;
use tombolo_ike::transform::{Encryption, EspProposal, Group, IkeProposal, Integrity, Prf};

/// Whether an algorithm is for the IKE SA or for ESP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Messages of IKE.
    Ike,
    /// Packets.
    Esp,
}

/// What one proposal lists, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transforms {
    /// Ciphers.
    pub encryption: Vec<String>,
    /// Beside ciphers that do not authenticate.
    #[serde(default)]
    pub integrity: Vec<String>,
    /// Of the IKE SA.
    #[serde(default)]
    pub prf: Vec<String>,
    /// Diffie-Hellman groups; `none` = without, for ESP.
    #[serde(default)]
    pub groups: Vec<String>,
    /// One additional key exchange (RFC 9370); `none` lets the peer go without.
    #[serde(default)]
    pub additional: Vec<String>,
}

impl Transforms {
    /// A word of `other` that is not listed here. Additional key exchanges are for peers that list nothing.
    pub(crate) fn lacks<'a>(&self, other: &'a Transforms) -> Option<&'a String> {
        let pairs = [
            (&self.encryption, &other.encryption),
            (&self.integrity, &other.integrity),
            (&self.prf, &other.prf),
            (&self.groups, &other.groups),
        ];
        let mut missing = pairs
            .into_iter()
            .flat_map(|(known, words)| words.iter().filter(move |word| !known.contains(word)));
        missing
            .next()
            .or_else(|| other.additional.iter().find(|word| *word != "none"))
    }
}

/// Something that can be named.
pub(crate) trait Algorithm: Copy + 'static {
    /// What it is, for messages.
    const WHAT: &'static str;
    /// Names and values.
    const NAMED: &'static [(&'static str, Self)];

    fn from_word(word: &str) -> Option<Self> {
        let known = Self::NAMED.iter().find(|(name, _)| *name == word);
        known.map(|(_, value)| *value)
    }
}

impl Algorithm for Encryption {
    const WHAT: &'static str = "a cipher";
    const NAMED: &'static [(&'static str, Self)] = &[
        ("aes-256-gcm", Encryption::AesGcm16(256)),
        ("aes-128-gcm", Encryption::AesGcm16(128)),
        ("chacha20-poly1305", Encryption::ChaCha20Poly1305),
        ("aes-256-cbc", Encryption::AesCbc(256)),
        ("aes-128-cbc", Encryption::AesCbc(128)),
    ];
}

impl Algorithm for Integrity {
    const WHAT: &'static str = "an integrity algorithm";
    const NAMED: &'static [(&'static str, Self)] = &[
        ("sha256", Integrity::HmacSha256),
        ("sha384", Integrity::HmacSha384),
        ("sha512", Integrity::HmacSha512),
    ];
}

impl Algorithm for Prf {
    const WHAT: &'static str = "a pseudorandom function";
    const NAMED: &'static [(&'static str, Self)] = &[
        ("sha256", Prf::HmacSha256),
        ("sha384", Prf::HmacSha384),
        ("sha512", Prf::HmacSha512),
    ];
}

impl Algorithm for Group {
    const WHAT: &'static str = "a Diffie-Hellman group";
    const NAMED: &'static [(&'static str, Self)] = &[
        ("modp2048", Group::Modp2048),
        ("ecp256", Group::Ecp256),
        ("ecp384", Group::Ecp384),
        ("ecp521", Group::Ecp521),
        ("curve25519", Group::Curve25519),
        ("ml-kem-768", Group::MlKem768),
    ];
}

/// The word of an algorithm, also if it was given by its number.
pub(crate) fn canonical(word: &str) -> &str {
    const NUMBERS: [(&str, &str); 17] = [
        ("1", "modp768"),
        ("2", "modp1024"),
        ("5", "modp1536"),
        ("14", "modp2048"),
        ("15", "modp3072"),
        ("16", "modp4096"),
        ("17", "modp6144"),
        ("18", "modp8192"),
        ("19", "ecp256"),
        ("20", "ecp384"),
        ("21", "ecp521"),
        ("22", "modp1024-160"),
        ("23", "modp2048-224"),
        ("24", "modp2048-256"),
        ("31", "curve25519"),
        ("36", "ml-kem-768"),
        ("x25519", "curve25519"),
    ];
    NUMBERS
        .iter()
        .find(|(number, _)| *number == word)
        .map_or(word, |(_, word)| word)
}

/// Why Tombolo does not speak an algorithm that others do.
pub(crate) fn unfit(word: &str) -> Option<&'static str> {
    match word {
        "des" | "3des" => Some("its blocks of 64 bits give plain text away after some gigabytes"),
        "md5" => Some("MD5 is broken"),
        "sha1" => Some("SHA-1 is broken as a hash and on its way out everywhere"),
        "modp768" | "modp1024" => Some("a group of 1024 bits or fewer can be broken"),
        "modp1536" => Some("a group of 1536 bits is too short (RFC 8247)"),
        "modp1024-160" | "modp2048-224" | "modp2048-256" => Some("its primes cannot be trusted (RFC 8247)"),
        "modp3072" | "modp4096" | "modp6144" | "modp8192" => {
            Some("it is slower than elliptic curves of the same strength")
        }
        "aes-192-gcm" | "aes-192-cbc" => Some("keys have 128 or 256 bits"),
        "xcbc" | "cmac" => Some("only HMAC with SHA-2 is spoken"),
        "null" => Some("packets would not be encrypted"),
        _ => None,
    }
}

fn all<T: Algorithm>(words: &[String]) -> Result<Vec<T>, String> {
    let known = |word: &String| T::from_word(word).ok_or_else(|| format!("{word} is not {}", T::WHAT));
    words.iter().map(known).collect()
}

fn or_none(words: &[String]) -> Result<Vec<Option<Group>>, String> {
    let known = |word: &String| match word.as_str() {
        "none" => Ok(None),
        word => Group::from_word(word)
            .map(Some)
            .ok_or_else(|| format!("{word} is not a key exchange")),
    };
    words.iter().map(known).collect()
}

fn additional(words: &[String]) -> Result<Vec<Vec<Option<Group>>>, String> {
    Ok(if words.is_empty() {
        Vec::new()
    } else {
        vec![or_none(words)?]
    })
}

/// Whether a proposal of a data file is one.
pub(super) fn check(kind: Kind, transforms: &Transforms) -> Result<(), String> {
    let made = match kind {
        Kind::Ike => ike_proposals(std::slice::from_ref(transforms)).map(drop),
        Kind::Esp => esp_proposals(std::slice::from_ref(transforms), &[false]).map(drop),
    };
    made.and(if transforms.encryption.is_empty() {
        Err("no cipher".into())
    } else {
        Ok(())
    })
}

/// Proposals for an IKE SA. Ciphers that authenticate and those that do not are told apart (RFC 5282 §8).
///
/// # Errors
/// Names the word that is not known, or says what is missing.
pub(crate) fn ike_proposals(offer: &[Transforms]) -> Result<Vec<IkeProposal>, String> {
    let mut proposals = Vec::new();
    for transforms in offer {
        let ciphers: Vec<Encryption> = all(&transforms.encryption)?;
        let groups: Vec<Group> = all(&transforms.groups)?;
        let (aead, plain): (Vec<_>, Vec<_>) = ciphers.into_iter().partition(|cipher| cipher.is_aead());
        for (encryption, integrity) in [(aead, Vec::new()), (plain, all(&transforms.integrity)?)] {
            if encryption.is_empty() {
                continue;
            }
            let proposal = IkeProposal {
                prf: all(&transforms.prf)?,
                groups: groups.clone(),
                additional: additional(&transforms.additional)?,
                encryption,
                integrity,
            };
            let authenticates =
                !proposal.integrity.is_empty() || proposal.encryption.iter().all(|cipher| cipher.is_aead());
            if !authenticates {
                return Err("AES-CBC needs an integrity algorithm".into());
            }
            if proposal.prf.is_empty() || proposal.groups.is_empty() {
                return Err("an IKE SA needs a pseudorandom function and a group".into());
            }
            if proposal.groups.contains(&Group::MlKem768) {
                return Err("ml-kem-768 goes with `additional`, beside a classic group (RFC 9370)".into());
            }
            proposals.push(proposal);
        }
    }
    Ok(proposals)
}

/// Proposals for ESP.
///
/// # Errors
/// Names the word that is not known, or a cipher that does not authenticate.
pub(crate) fn esp_proposals(offer: &[Transforms], esn: &[bool]) -> Result<Vec<EspProposal>, String> {
    let proposal = |transforms: &Transforms| {
        let proposal = EspProposal {
            encryption: all(&transforms.encryption)?,
            groups: or_none(&transforms.groups)?,
            additional: additional(&transforms.additional)?,
            esn: esn.to_vec(),
        };
        if !proposal.encryption.iter().all(|cipher| cipher.is_aead()) {
            return Err("ESP is AEAD only: aes-256-gcm, aes-128-gcm or chacha20-poly1305".to_owned());
        }
        if proposal.groups.contains(&Some(Group::MlKem768)) {
            return Err("ml-kem-768 goes with `additional`, beside a classic group (RFC 9370)".to_owned());
        }
        Ok(proposal)
    };
    offer.iter().map(proposal).collect()
}

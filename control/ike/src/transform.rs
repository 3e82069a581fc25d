//! The algorithms that Tombolo speaks, with their numbers at IANA ("IKEv2 Parameters"), and what is offered and agreed on of them.

use serde::{Deserialize, Serialize};

/// Encryption (transform type 1). Key lengths in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Encryption {
    /// AES-GCM with a 16-byte ICV (RFC 4106, RFC 5282): 128 or 256.
    AesGcm16(u16),
    /// ChaCha20-Poly1305 (RFC 7634).
    ChaCha20Poly1305,
    /// AES-CBC (RFC 3602), for IKE messages only: 128 or 256.
    AesCbc(u16),
}

/// Pseudorandom function (transform type 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Prf {
    /// RFC 4868.
    HmacSha256,
    /// RFC 4868.
    HmacSha384,
    /// RFC 4868.
    HmacSha512,
}

/// Integrity (transform type 3), beside a cipher that has none of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Integrity {
    /// RFC 4868: 16 bytes.
    HmacSha256,
    /// RFC 4868: 24 bytes.
    HmacSha384,
    /// RFC 4868: 32 bytes.
    HmacSha512,
}

/// Key exchange method (transform types 4 and 6 to 12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Group {
    /// Group 14: 2048-bit MODP (RFC 3526).
    Modp2048,
    /// Group 19 (RFC 5903).
    Ecp256,
    /// Group 20 (RFC 5903).
    Ecp384,
    /// Group 21 (RFC 5903).
    Ecp521,
    /// Group 31 (RFC 8031).
    Curve25519,
    /// Method 36: ML-KEM-768 (FIPS 203), only beside another one (RFC 9370).
    MlKem768,
}

/// One proposal for an IKE SA: any combination of what it lists, best first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IkeProposal {
    /// All AEAD or all not.
    pub encryption: Vec<Encryption>,
    /// Empty with AEAD.
    pub integrity: Vec<Integrity>,
    /// At least one.
    pub prf: Vec<Prf>,
    /// At least one; the first one's public value is sent.
    pub groups: Vec<Group>,
    /// Additional key exchanges 1 to 7 (RFC 9370): a list each; `None` in a list lets the peer go without.
    pub additional: Vec<Vec<Option<Group>>>,
}

/// One proposal for a child SA (ESP).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EspProposal {
    /// AEAD only.
    pub encryption: Vec<Encryption>,
    /// Groups of a fresh key exchange (PFS); `None` lets the peer go without. Empty = without.
    pub groups: Vec<Option<Group>>,
    /// Additional key exchanges (RFC 9370 §2.2.4).
    pub additional: Vec<Vec<Option<Group>>>,
    /// Extended sequence numbers: the values that are acceptable, best first.
    pub esn: Vec<bool>,
}

/// What both sides agreed on for an IKE SA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IkeSuite {
    /// Cipher of messages.
    pub encryption: Encryption,
    /// Beside a cipher that is no AEAD.
    pub integrity: Option<Integrity>,
    /// Derives everything.
    pub prf: Prf,
    /// Key exchange of IKE_SA_INIT.
    pub group: Group,
    /// Those that follow in IKE_INTERMEDIATE, in order.
    pub additional: Vec<Group>,
}

/// What both sides agreed on for a child SA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EspSuite {
    /// Cipher of packets.
    pub encryption: Encryption,
    /// Fresh key exchange, if any.
    pub group: Option<Group>,
    /// Additional key exchanges, in order.
    pub additional: Vec<Group>,
    /// Extended sequence numbers.
    pub esn: bool,
}

impl Encryption {
    /// Whether it authenticates, too.
    pub fn is_aead(self) -> bool {
        match self {
            Encryption::AesGcm16(_) | Encryption::ChaCha20Poly1305 => true,
            Encryption::AesCbc(_) => false,
        }
    }

    /// Bytes of the key, without a salt.
    pub fn key_bytes(self) -> usize {
        match self {
            Encryption::AesGcm16(bits) | Encryption::AesCbc(bits) => usize::from(bits / 8),
            Encryption::ChaCha20Poly1305 => 32,
        }
    }

    /// Bytes of the salt behind the key in the key material (RFC 5282 §7.1, RFC 7634 §3).
    pub fn salt_bytes(self) -> usize {
        if self.is_aead() { 4 } else { 0 }
    }

    /// Number of the transform.
    pub fn id(self) -> u16 {
        match self {
            Encryption::AesCbc(_) => 12,
            Encryption::AesGcm16(_) => 20,
            Encryption::ChaCha20Poly1305 => 28,
        }
    }

    /// Key length attribute, where the cipher has several.
    pub fn key_length(self) -> Option<u16> {
        match self {
            Encryption::AesGcm16(bits) | Encryption::AesCbc(bits) => Some(bits),
            Encryption::ChaCha20Poly1305 => None,
        }
    }
}

impl Prf {
    /// Number of the transform.
    pub fn id(self) -> u16 {
        match self {
            Prf::HmacSha256 => 5,
            Prf::HmacSha384 => 6,
            Prf::HmacSha512 => 7,
        }
    }

    /// Bytes of its output, and preferred key.
    pub fn bytes(self) -> usize {
        match self {
            Prf::HmacSha256 => 32,
            Prf::HmacSha384 => 48,
            Prf::HmacSha512 => 64,
        }
    }
}

impl Integrity {
    /// Number of the transform.
    pub fn id(self) -> u16 {
        match self {
            Integrity::HmacSha256 => 12,
            Integrity::HmacSha384 => 13,
            Integrity::HmacSha512 => 14,
        }
    }

    /// Bytes of its key (RFC 4868 §2.1.1).
    pub fn key_bytes(self) -> usize {
        self.icv_bytes() * 2
    }

    /// Bytes on the wire.
    pub fn icv_bytes(self) -> usize {
        match self {
            Integrity::HmacSha256 => 16,
            Integrity::HmacSha384 => 24,
            Integrity::HmacSha512 => 32,
        }
    }
}

impl Group {
    /// All.
    pub const ALL: [Group; 6] = [
        Group::Modp2048,
        Group::Ecp256,
        Group::Ecp384,
        Group::Ecp521,
        Group::Curve25519,
        Group::MlKem768,
    ];

    /// Number of the transform.
    pub fn id(self) -> u16 {
        match self {
            Group::Modp2048 => 14,
            Group::Ecp256 => 19,
            Group::Ecp384 => 20,
            Group::Ecp521 => 21,
            Group::Curve25519 => 31,
            Group::MlKem768 => 36,
        }
    }

    /// The group of a number.
    pub fn from_id(id: u16) -> Option<Group> {
        Group::ALL.into_iter().find(|group| group.id() == id)
    }
}

//! Keys of a child SA (RFC 7296 §2.17).

use super::ike_keys::mixed;
use crate::secret::Secret;
use crate::transform::{EspSuite, Prf};
use core::fmt;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// Keys of both directions. Initiator is who began the exchange that made the child SA, not the IKE SA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildKeys {
    /// Of packets from initiator to responder.
    pub initiator: EspKey,
    /// Of packets from responder to initiator.
    pub responder: EspKey,
}

/// Key of one direction. ESP is AEAD only here.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EspKey {
    /// 16 or 32 bytes, as the cipher wants.
    pub key: Secret,
    /// The four bytes of the nonce that do not travel (RFC 4106 §8.1, RFC 7634 §3).
    pub salt: [u8; 4],
}

/// `KEYMAT = prf+(SK_d, SK(0) | Ni | Nr | SK(1) | … | SK(n))` (RFC 7296 §2.17, RFC 9370 §2.2.4). `shared` is empty without a key
/// exchange of its own; else it begins with that of CREATE_CHILD_SA, and those of IKE_FOLLOWUP_KE follow in order. The prf is the
/// IKE SA's. The initiator's direction comes first.
pub fn child_keys(
    prf: Prf,
    d: &Secret,
    shared: &[Secret],
    nonce_i: &[u8],
    nonce_r: &[u8],
    suite: &EspSuite,
) -> ChildKeys {
    let key_bytes = suite.encryption.key_bytes();
    let seed = mixed(shared, nonce_i, nonce_r);
    let material = prf.plus(d.expose(), &seed, 2 * (key_bytes + SALT_BYTES));
    let (initiator, responder) = material.expose().split_at(key_bytes + SALT_BYTES);
    ChildKeys {
        initiator: EspKey::of(initiator, key_bytes),
        responder: EspKey::of(responder, key_bytes),
    }
}

const SALT_BYTES: usize = 4;

impl EspKey {
    fn of(material: &[u8], key_bytes: usize) -> EspKey {
        let (key, tail) = material.split_at_checked(key_bytes).unwrap_or((material, &[]));
        let mut salt = [0; SALT_BYTES];
        salt.iter_mut().zip(tail).for_each(|(to, from)| *to = *from);
        EspKey {
            key: Secret::from(key),
            salt,
        }
    }
}

impl Drop for EspKey {
    fn drop(&mut self) {
        self.salt.zeroize(); // the key does so itself
    }
}

impl fmt::Debug for EspKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EspKey({} bytes and salt)", self.key.len())
    }
}

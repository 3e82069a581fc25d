//! Who is there: what AUTH proves, how it is made and how it is checked (RFC 7296 §2.15).
//!
//! Both sides prove that they know the IKE_SA_INIT message that they sent ([`octets`]): with a pre-shared key ([`psk`]) or with a
//! signature ([`private_key`], [`public_key`]). Everything of the peer is untrusted here, its certificates included.

use crate::connection::OwnProof;
use crate::secret::Secret;
use crate::transform::Prf;
use error::AuthError;

pub mod algorithm;
pub mod error;
pub mod octets;
pub mod private_key;
pub mod psk;
pub mod public_key;

/// Authentication method 1: RSA signature that does not name its hash (RFC 7296 §3.8).
pub const RSA_SIGNATURE: u8 = 1;
/// Authentication method 2: Shared Key Message Integrity Code (RFC 7296 §3.8).
pub const SHARED_KEY: u8 = 2;
/// Authentication method 9: ECDSA P-256 with SHA-256, `r | s` (RFC 4754 §3).
pub const ECDSA_P256: u8 = 9;
/// Authentication method 10: ECDSA P-384 with SHA-384, `r | s` (RFC 4754 §3).
pub const ECDSA_P384: u8 = 10;
/// Authentication method 14: a signature that names its algorithm (RFC 7427 §3).
pub const DIGITAL_SIGNATURE: u8 = 14;

/// What an AUTH payload says (RFC 7296 §3.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Authentication method.
    pub method: u8,
    /// Authentication data.
    pub data: Vec<u8>,
}

/// The AUTH payload of our side over `octets` (of [`octets::Octets::signed`]). `peer_hashes` is what the peer's
/// SIGNATURE_HASH_ALGORITHMS listed; none if it sent none.
pub fn prove(own: &OwnProof, prf: Prf, peer_hashes: Option<&[u16]>, octets: &[u8]) -> Result<Proof, AuthError> {
    match own {
        OwnProof::Psk(key) => Ok(Proof {
            method: SHARED_KEY,
            data: psk::psk_auth(prf, key.expose(), octets),
        }),
        OwnProof::Certificate { key, chain: _ } => private_key::sign(key, peer_hashes, octets),
    }
}

/// Checks the AUTH payload of a peer that has to prove a pre-shared key.
pub fn check_psk(psk: &Secret, prf: Prf, method: u8, data: &[u8], octets: &[u8]) -> Result<(), AuthError> {
    match method {
        SHARED_KEY if psk::psk_matches(prf, psk.expose(), octets, data) => Ok(()),
        SHARED_KEY => Err(AuthError::WrongPsk),
        other => Err(AuthError::Method(other)),
    }
}

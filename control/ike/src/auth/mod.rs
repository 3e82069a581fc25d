//! Who is there: what AUTH proves, how it is made and how it is checked (RFC 7296 §2.15).
//!
//! Both sides prove that they know the IKE_SA_INIT message that they sent ([`octets`]): with a pre-shared key ([`psk`]) or with a
//! signature ([`private_key`], [`public_key`]). Everything of the peer is untrusted here, its certificates included.

use crate::connection::OwnProof;
use crate::secret::Secret;
use crate::transform::Prf;
use crate::wire::{AuthBody, method};
use error::AuthError;

pub mod algorithm;
pub mod error;
pub mod octets;
pub mod private_key;
pub mod psk;
pub mod public_key;

/// The AUTH payload of our side over `octets` (of [`octets::Octets::signed`]). `peer_hashes` is what the peer's
/// SIGNATURE_HASH_ALGORITHMS listed; none if it sent none.
pub fn prove(own: &OwnProof, prf: Prf, peer_hashes: Option<&[u16]>, octets: &[u8]) -> Result<AuthBody, AuthError> {
    match own {
        OwnProof::Psk(key) => Ok(AuthBody {
            method: method::PSK,
            data: psk::psk_auth(prf, key.expose(), octets),
        }),
        OwnProof::Certificate { key, chain: _ } => private_key::sign(key, peer_hashes, octets),
    }
}

/// Checks the AUTH payload of a peer that has to prove a pre-shared key.
pub fn check_psk(psk: &Secret, prf: Prf, auth: &AuthBody, octets: &[u8]) -> Result<(), AuthError> {
    match auth.method {
        method::PSK if psk::psk_matches(prf, psk.expose(), octets, &auth.data) => Ok(()),
        method::PSK => Err(AuthError::WrongPsk),
        other => Err(AuthError::Method(other)),
    }
}

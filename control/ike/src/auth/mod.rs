//! Who is there: what AUTH proves, how it is made and how it is checked (RFC 7296 §2.15).
//!
//! Both sides prove that they know the IKE_SA_INIT message that they sent ([`octets`]): with a pre-shared key ([`psk`]) or with a
//! signature ([`private_key`], [`public_key`]). Everything of the peer is untrusted here, its certificates included.

use crate::connection::OwnProof;
use crate::secret::Secret;
use crate::transform::Prf;
use crate::wire::{AuthBody, method};
use certificate::Certificate;
use certificate_error::Holder;
use error::AuthError;

pub mod algorithm;
pub mod certificate;
pub mod certificate_error;
pub mod chain;
pub mod endings;
pub mod error;
mod extended_key_usage;
pub mod fuzz;
mod names;
pub mod octets;
mod path_error;
pub mod private_key;
pub mod psk;
pub mod public_key;
mod revocation;

/// The AUTH payload of our side over `octets` (of [`octets::Octets::signed`]). `peer_hashes` is what the peer's
/// SIGNATURE_HASH_ALGORITHMS listed; none if it sent none.
pub fn prove(own: &OwnProof, prf: Prf, peer_hashes: Option<&[u16]>, octets: &[u8]) -> Result<AuthBody, AuthError> {
    match own {
        OwnProof::Psk(key) => Ok(AuthBody {
            method: method::PSK,
            data: psk::psk_auth(prf, key.expose(), octets).expose().to_vec(),
        }),
        OwnProof::Certificate { key, chain: _ } => private_key::sign(key, peer_hashes, octets),
    }
}

/// Whether our private key and our certificates belong together and are fit, before any peer sees them. Dates are not looked at:
/// [`chain::ends_at`] warns of them.
pub fn check_own(key: &Secret, chain: &[Vec<u8>]) -> Result<(), AuthError> {
    for der in chain {
        Certificate::parse(der, Holder::Own)?;
    }
    let first = chain.first().ok_or(AuthError::NoCertificate)?;
    let own = Certificate::parse(first, Holder::Own)?;
    if !private_key::fits(key, &own.public_key()?)? {
        return Err(AuthError::OtherPrivateKey(own.named().subject));
    }
    own.check_signs()?;
    Ok(())
}

/// Checks the AUTH payload of a peer that has to prove a pre-shared key.
pub fn check_psk(psk: &Secret, prf: Prf, auth: &AuthBody, octets: &[u8]) -> Result<(), AuthError> {
    match auth.method {
        method::PSK if psk::psk_matches(prf, psk.expose(), octets, &auth.data) => Ok(()),
        method::PSK => Err(AuthError::WrongPsk),
        other => Err(AuthError::Method(other)),
    }
}

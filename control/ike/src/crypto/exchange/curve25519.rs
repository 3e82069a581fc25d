//! Curve25519 (group 31, RFC 8031): X25519 of RFC 7748.

use super::{KeError, sized};
use crate::random::Random;
use crate::secret::Secret;
use crate::transform::Group;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

pub(super) fn generate(random: &mut dyn Random) -> (Secret, Vec<u8>) {
    let mut bytes = Zeroizing::new([0; 32]);
    random.fill(&mut *bytes);
    let public = PublicKey::from(&StaticSecret::from(*bytes));
    (Secret::from(bytes.as_slice()), public.as_bytes().to_vec())
}

pub(super) fn agree(private: &Secret, peer: &[u8]) -> Result<Secret, KeError> {
    let bytes: [u8; 32] = private
        .expose()
        .try_into()
        .map_err(|_| KeError::Own(Group::Curve25519))?;
    let peer = PublicKey::from(sized::<32>(Group::Curve25519, peer)?);
    let shared = StaticSecret::from(*Zeroizing::new(bytes)).diffie_hellman(&peer);
    // RFC 8031 §3.2 and RFC 7748 §6.1: all zero comes of a point of small order.
    if !shared.was_contributory() {
        return Err(KeError::Weak(Group::Curve25519));
    }
    Ok(Secret::from(shared.as_bytes().as_slice()))
}

//! Key exchanges (transform types 4 and 6 to 12).
//!
//! The initiator generates a [`PrivateValue`] and later agrees with it; the responder does both at once with [`respond`]. A private
//! value can be stored, so that a process that was killed between request and answer goes on with the bytes that it has sent.

mod curve25519;
mod ecp;
mod error;
mod ml_kem;
mod modp;

use crate::random::Random;
use crate::secret::Secret;
use crate::transform::Group;
pub use error::KeError;
use p256::NistP256;
use p384::NistP384;
use p521::NistP521;
use serde::{Deserialize, Serialize};

/// Our half of a key exchange, until the peer's half comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivateValue {
    group: Group,
    /// Curve25519: 32 bytes before clamping. ECP: the scalar, as long as the field. MODP: the exponent. ML-KEM: the seed (d | z).
    value: Secret,
}

impl PrivateValue {
    /// A fresh one, and the public value for the KE payload.
    pub fn generate(group: Group, random: &mut dyn Random) -> (PrivateValue, Vec<u8>) {
        let (value, public) = match group {
            Group::Modp2048 => modp::generate(random),
            Group::Ecp256 => ecp::generate::<NistP256>(random),
            Group::Ecp384 => ecp::generate::<NistP384>(random),
            Group::Ecp521 => ecp::generate::<NistP521>(random),
            Group::Curve25519 => curve25519::generate(random),
            Group::MlKem768 => ml_kem::generate(random),
        };
        (PrivateValue { group, value }, public)
    }

    /// The group it is of.
    pub fn group(&self) -> Group {
        self.group
    }

    /// The shared secret, g^ir in the words of RFC 7296, from what the responder's KE payload holds.
    pub fn agree(&self, peer: &[u8]) -> Result<Secret, KeError> {
        match self.group {
            Group::Modp2048 => modp::agree(&self.value, peer),
            Group::Ecp256 => ecp::agree::<NistP256>(self.group, &self.value, peer),
            Group::Ecp384 => ecp::agree::<NistP384>(self.group, &self.value, peer),
            Group::Ecp521 => ecp::agree::<NistP521>(self.group, &self.value, peer),
            Group::Curve25519 => curve25519::agree(&self.value, peer),
            Group::MlKem768 => ml_kem::agree(&self.value, peer),
        }
    }
}

/// The responder's half in one step: what goes into our KE payload, and the shared secret. `peer` is what the initiator's KE
/// payload holds.
pub fn respond(group: Group, peer: &[u8], random: &mut dyn Random) -> Result<(Vec<u8>, Secret), KeError> {
    match group {
        Group::MlKem768 => ml_kem::respond(peer, random),
        Group::Modp2048 | Group::Ecp256 | Group::Ecp384 | Group::Ecp521 | Group::Curve25519 => {
            let (private, public) = PrivateValue::generate(group, random);
            Ok((public, private.agree(peer)?))
        }
    }
}

/// The bytes of a public value, if there are as many as the group wants.
fn sized<const BYTES: usize>(group: Group, peer: &[u8]) -> Result<[u8; BYTES], KeError> {
    peer.try_into().map_err(|_| KeError::Length {
        group,
        expected: BYTES,
        got: peer.len(),
    })
}

#[cfg(test)]
mod tests;

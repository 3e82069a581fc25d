//! ML-KEM-768 (method 36; FIPS 203, draft-ietf-ipsecme-ikev2-mlkem). The initiator sends an encapsulation key, the responder a
//! ciphertext.

use super::{KeError, sized};
use crate::crypto::random::Lent;
use crate::random::Random;
use crate::secret::Secret;
use crate::transform::Group;
use ml_kem::ml_kem_768::{DecapsulationKey, EncapsulationKey};
use ml_kem::{Decapsulate, Encapsulate, KeyExport, Seed};
use zeroize::Zeroizing;

const SEED_BYTES: usize = 64;
const ENCAPSULATION_KEY_BYTES: usize = 1184;
const CIPHERTEXT_BYTES: usize = 1088;

/// The seed is kept: 64 bytes instead of 2400, and nothing to check when it is read again (FIPS 203 §3.3).
pub(super) fn generate(random: &mut dyn Random) -> (Secret, Vec<u8>) {
    let mut seed = Zeroizing::new([0; SEED_BYTES]);
    random.fill(&mut *seed);
    let public = from_seed(&seed).encapsulation_key().to_bytes().to_vec();
    (Secret::from(seed.as_slice()), public)
}

/// The initiator's: `peer` is a ciphertext. One that was forged gives a secret that only we know (FIPS 203 §6.3), so that AUTH fails.
pub(super) fn agree(private: &Secret, peer: &[u8]) -> Result<Secret, KeError> {
    let seed: [u8; SEED_BYTES] = private.expose().try_into().map_err(|_| KeError::Own(Group::MlKem768))?;
    let ciphertext = sized::<CIPHERTEXT_BYTES>(Group::MlKem768, peer)?;
    let shared = Zeroizing::new(from_seed(&Zeroizing::new(seed)).decapsulate(&ciphertext.into()));
    Ok(Secret::from(shared.as_slice()))
}

/// The responder's: `peer` is an encapsulation key, whose coefficients are checked (FIPS 203 §7.2).
pub(super) fn respond(peer: &[u8], random: &mut dyn Random) -> Result<(Vec<u8>, Secret), KeError> {
    let key = sized::<ENCAPSULATION_KEY_BYTES>(Group::MlKem768, peer)?;
    let key = EncapsulationKey::new(&key.into()).map_err(|_| KeError::NotOfTheGroup(Group::MlKem768))?;
    let (ciphertext, shared) = key.encapsulate_with_rng(&mut Lent(random));
    Ok((ciphertext.to_vec(), Secret::from(Zeroizing::new(shared).as_slice())))
}

fn from_seed(seed: &[u8; SEED_BYTES]) -> DecapsulationKey {
    DecapsulationKey::from_seed(*Zeroizing::new(Seed::from(*seed)))
}

//! 2048-bit MODP (group 14, RFC 3526 §3), generator 2.

use super::{KeError, sized};
use crate::random::Random;
use crate::secret::Secret;
use crate::transform::Group;
use crypto_bigint::modular::{ConstMontyForm, ConstMontyParams};
use crypto_bigint::{U320, U2048, const_monty_params};
use zeroize::Zeroizing;

const BYTES: usize = 256;

/// 320 random bits: RFC 3526 §8 asks for twice the strength and rates this group at 110 to 160 bits; NIST SP 800-56A asks for 224.
/// A longer exponent makes nothing safer and each agreement slower (2048 bits: more than six times).
const EXPONENT_BYTES: usize = 40;

// 2^2048 - 2^1984 - 1 + 2^64 * ([2^1918 pi] + 124476), a safe prime.
const_monty_params!(
    Prime,
    U2048,
    concat!(
        "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B",
        "302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE6",
        "49286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB9ED529077096966D",
        "670C354E4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF695581718",
        "3995497CEA956AE515D2261898FA051015728E5A8AACAA68FFFFFFFFFFFFFFFF"
    )
);

type Element = ConstMontyForm<Prime, { U2048::LIMBS }>;

pub(super) fn generate(random: &mut dyn Random) -> (Secret, Vec<u8>) {
    let mut exponent = Zeroizing::new([0; EXPONENT_BYTES]);
    random.fill(&mut *exponent);
    let public = power(&U2048::from_u8(2), &exponent);
    (
        Secret::from(exponent.as_slice()),
        public.to_be_bytes().as_ref().to_vec(),
    )
}

pub(super) fn agree(private: &Secret, peer: &[u8]) -> Result<Secret, KeError> {
    let exponent: [u8; EXPONENT_BYTES] = private.expose().try_into().map_err(|_| KeError::Own(Group::Modp2048))?;
    let peer = U2048::from_be_slice(&sized::<BYTES>(Group::Modp2048, peer)?);
    // RFC 6989 §2.1: 1 < y < p - 1, which is all that a safe prime needs. The peer's value is no secret: plain comparisons.
    let last = Prime::PARAMS.modulus().wrapping_sub(&U2048::ONE);
    if peer > last {
        return Err(KeError::NotOfTheGroup(Group::Modp2048));
    }
    if peer <= U2048::ONE || peer == last {
        return Err(KeError::Weak(Group::Modp2048));
    }
    // RFC 7296 §2.14: as long as the modulus, zeros in front if need be.
    let shared = Zeroizing::new(power(&peer, &Zeroizing::new(exponent)));
    Ok(Secret::from(shared.to_be_bytes().as_ref()))
}

/// base ^ exponent mod p: the same steps and memory accesses for all exponents.
fn power(base: &U2048, exponent: &[u8; EXPONENT_BYTES]) -> U2048 {
    let exponent = Zeroizing::new(U320::from_be_slice(exponent));
    Element::new(base).pow(&exponent).retrieve()
}

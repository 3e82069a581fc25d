//! Random ECP groups 19, 20 and 21 (RFC 5903): P-256, P-384 and P-521.

use super::KeError;
use crate::crypto::random::Lent;
use crate::random::Random;
use crate::secret::Secret;
use crate::transform::Group;
use p256::elliptic_curve::sec1::{FromSec1Point, ModulusSize, ToSec1Point};
use p256::elliptic_curve::{AffinePoint, Curve, CurveArithmetic, FieldBytesSize, Generate, PublicKey, SecretKey};
use p256::elliptic_curve::{array::typenum::Unsigned, ecdh};
use zeroize::Zeroizing;

/// Begins an uncompressed point of SEC 1; the KE payload goes without it (RFC 5903 §7).
const UNCOMPRESSED: u8 = 4;

pub(super) fn generate<C>(random: &mut dyn Random) -> (Secret, Vec<u8>)
where
    C: CurveArithmetic,
    FieldBytesSize<C>: ModulusSize,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
{
    let private = SecretKey::<C>::generate_from_rng(&mut Lent(random));
    let point = private.public_key().as_affine().to_uncompressed_point();
    let public = point.get(1..).unwrap_or_default().to_vec();
    (Secret::from(Zeroizing::new(private.to_bytes()).as_slice()), public)
}

pub(super) fn agree<C>(group: Group, private: &Secret, peer: &[u8]) -> Result<Secret, KeError>
where
    C: CurveArithmetic,
    FieldBytesSize<C>: ModulusSize,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
{
    let field_bytes = <C as Curve>::FieldBytesSize::USIZE;
    // The crate pads a short scalar; ours are always stored whole.
    if private.len() != field_bytes {
        return Err(KeError::Own(group));
    }
    let private = SecretKey::<C>::from_slice(private.expose()).map_err(|_| KeError::Own(group))?;
    if peer.len() != 2 * field_bytes {
        return Err(KeError::Length {
            group,
            expected: 2 * field_bytes,
            got: peer.len(),
        });
    }
    // RFC 6989 §2.3: both coordinates in the field and the point on the curve, which decoding checks. These curves have cofactor 1,
    // and the point at infinity has no such form.
    let point = [&[UNCOMPRESSED], peer].concat();
    let peer = PublicKey::<C>::from_sec1_bytes(&point).map_err(|_| KeError::NotOfTheGroup(group))?;
    // RFC 5903 §7 as corrected from RFC 4753: the x coordinate alone, as long as the field.
    let shared = ecdh::diffie_hellman(private.to_nonzero_scalar(), peer.as_affine());
    Ok(Secret::from(shared.raw_secret_bytes().as_slice()))
}

//! The pseudorandom function and prf+ (RFC 7296 §2.13), HMAC-SHA2 (RFC 4868).

use crate::secret::Secret;
use crate::transform::Prf;
use ring::hmac;
use zeroize::Zeroizing;

impl Prf {
    /// prf(key, parts one after the other). The key may have any length (RFC 7296 §2.13: HMAC takes keys of all lengths).
    pub fn mac(self, key: &[u8], parts: &[&[u8]]) -> Secret {
        mac(&hmac::Key::new(self.algorithm(), key), parts)
    }

    /// prf+(key, seed parts one after the other): `bytes` of them, at most 255 outputs of the prf.
    pub fn plus(self, key: &[u8], seed: &[&[u8]], bytes: usize) -> Secret {
        debug_assert!(bytes <= self.bytes() * 255, "RFC 7296 §2.13 ends prf+ at 255 blocks");
        let key = hmac::Key::new(self.algorithm(), key);
        // Room for all of it at once: a vector that grows leaves copies behind that nobody wipes.
        let mut material = Zeroizing::new(Vec::with_capacity(bytes + self.bytes()));
        let mut block = Secret::default();
        for number in 1..=u8::MAX {
            if material.len() >= bytes {
                break;
            }
            let mut context = hmac::Context::with_key(&key);
            context.update(block.expose());
            for part in seed {
                context.update(part);
            }
            context.update(&[number]);
            block = Secret::from(context.sign().as_ref());
            material.extend_from_slice(block.expose());
        }
        material.truncate(bytes);
        Secret::from(material.as_slice())
    }

    fn algorithm(self) -> hmac::Algorithm {
        match self {
            Prf::HmacSha256 => hmac::HMAC_SHA256,
            Prf::HmacSha384 => hmac::HMAC_SHA384,
            Prf::HmacSha512 => hmac::HMAC_SHA512,
        }
    }
}

fn mac(key: &hmac::Key, parts: &[&[u8]]) -> Secret {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    Secret::from(context.sign().as_ref())
}

//! Cookies against floods of IKE_SA_INIT (RFC 7296 §2.6): who answers one can receive at the address that it sends from.
//! Nothing is kept for it.

use crate::random::Random;
use crate::secret::Secret;
use core::fmt;
use core::net::IpAddr;
use ring::hmac;
use serde::{Deserialize, Serialize};

/// Version byte and MAC. At most 64 (RFC 7296 §2.6).
pub const COOKIE_BYTES: usize = 1 + 32;

const KEY_BYTES: usize = 32;

/// The keys that cookies are made with, and made with before.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CookieKeys {
    version: u8,
    current: Secret,
    previous: Option<Secret>,
}

impl CookieKeys {
    /// A first key.
    pub fn new(random: &mut dyn Random) -> CookieKeys {
        CookieKeys {
            version: 0,
            current: key(random),
            previous: None,
        }
    }

    /// A fresh key; cookies of the last one are still good, older ones no longer. To be done "frequently if under attack".
    pub fn rotate(&mut self, random: &mut dyn Random) {
        self.version = self.version.wrapping_add(1);
        self.previous = Some(core::mem::replace(&mut self.current, key(random)));
    }

    /// `version | MAC(SPIi | IPi | Ni)`. The port is not in it: a NAT may change that between two datagrams.
    pub fn cookie(&self, source: IpAddr, spi_i: u64, nonce_i: &[u8]) -> [u8; COOKIE_BYTES] {
        let tag = signed(&self.current, source, spi_i, nonce_i);
        let mut cookie = [self.version; COOKIE_BYTES];
        cookie
            .iter_mut()
            .skip(1)
            .zip(tag.as_ref())
            .for_each(|(to, from)| *to = *from);
        cookie
    }

    /// Whether the cookie is one that we gave for exactly this, with the current key or the one before.
    pub fn is_ours(&self, cookie: &[u8], source: IpAddr, spi_i: u64, nonce_i: &[u8]) -> bool {
        let Some((version, tag)) = cookie.split_first() else {
            return false;
        };
        let key = match self.version.wrapping_sub(*version) {
            0 => Some(&self.current),
            1 => self.previous.as_ref(),
            _ => None,
        };
        key.is_some_and(|key| {
            let message = message(source, spi_i, nonce_i);
            hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()), &message, tag).is_ok()
        })
    }
}

impl fmt::Debug for CookieKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CookieKeys(version {})", self.version)
    }
}

fn key(random: &mut dyn Random) -> Secret {
    let mut bytes = vec![0; KEY_BYTES];
    random.fill(&mut bytes);
    Secret::new(bytes)
}

fn signed(key: &Secret, source: IpAddr, spi_i: u64, nonce_i: &[u8]) -> hmac::Tag {
    hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, key.expose()),
        &message(source, spi_i, nonce_i),
    )
}

/// Only the last part has no fixed length, so two different triples never give the same bytes.
fn message(source: IpAddr, spi_i: u64, nonce_i: &[u8]) -> Vec<u8> {
    let address = match source {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    [&spi_i.to_be_bytes(), address.octets().as_slice(), nonce_i].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::tests::Seeded;

    const SOURCE: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn a_cookie_is_good_for_what_it_was_given_for() {
        let keys = CookieKeys::new(&mut Seeded::new(1));
        let cookie = keys.cookie(SOURCE, 7, b"nonce of the initiator");
        assert!(keys.is_ours(&cookie, SOURCE, 7, b"nonce of the initiator"));
        assert!(!keys.is_ours(&cookie, "192.0.2.2".parse().unwrap(), 7, b"nonce of the initiator"));
        assert!(!keys.is_ours(&cookie, SOURCE, 8, b"nonce of the initiator"));
        assert!(!keys.is_ours(&cookie, SOURCE, 7, b"nonce of another one"));
        for bytes in 0..cookie.len() {
            assert!(
                !keys.is_ours(&cookie[..bytes], SOURCE, 7, b"nonce of the initiator"),
                "{bytes} bytes of it"
            );
            let mut forged = cookie;
            forged[bytes] ^= 1;
            assert!(
                !keys.is_ours(&forged, SOURCE, 7, b"nonce of the initiator"),
                "byte {bytes} changed"
            );
        }
    }

    #[test]
    fn a_cookie_outlives_one_rotation_and_a_restart() {
        let mut random = Seeded::new(2);
        let mut keys = CookieKeys::new(&mut random);
        let cookie = keys.cookie(SOURCE, 7, b"nonce");
        keys.rotate(&mut random);
        let mut keys: CookieKeys = serde_json::from_str(&serde_json::to_string(&keys).unwrap()).unwrap();
        assert!(keys.is_ours(&cookie, SOURCE, 7, b"nonce"));
        keys.rotate(&mut random);
        assert!(!keys.is_ours(&cookie, SOURCE, 7, b"nonce"));
    }
}

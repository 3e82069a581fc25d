//! Tunnels that IKEv2 keys: what the key exchange says shall be, in full, whenever it says anything.
//!
//! The one who fills [`crate::Learned::negotiated`] keeps to this:
//!
//! * **Level-triggered.** The list of a tunnel is all of its SAs that shall exist now. What is no longer in it is gone with the next
//!   publication; nothing else needs to be said.
//! * **Make before break** (RFC 7296 §2.8): a rekey adds the new inbound SA, then puts the new outbound SA in the place of the old one,
//!   then takes the old inbound SA away. Each of these lists is planned and published, and no SA that stays is touched by it: it
//!   keeps its index, its window and its sequence number. Steps may be joined.
//! * **An outbound key that has left the list never comes back.** Its sequence numbers began at 1 when it came; beginning again would
//!   repeat nonces (RFC 4106 §3.1). As long as nobody else was given its index a key that comes back goes on where it was, which
//!   forgives a list that was short for a moment; afterwards nobody remembers it.
//! * **The key dies with the memory.** Its numbers are not leased (control/decisions/0003): with shared memory gone, negotiate anew.
//! * What was planned of it is in [`crate::Plan::sas`]: the index of each SA, for its counters. An SA that is missing there could not be
//!   set up; a warning says why.

use core::fmt;
use core::net::IpAddr;
use tombolo_config::sa_file::Cipher;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// All that is negotiated of one tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The way of its outer packets.
    pub path: OuterPath,
    /// What may be received with: old and new ones during a rekey, of all children and workers.
    pub inbound: Vec<NegotiatedSa>,
    /// What is sealed with: of each child one in use, and beside it one for each worker where the peer takes part in that (RFC 9611).
    /// Children are tried in the order in which they come here; an SA of the worker's own comes before the shared one.
    pub outbound: Vec<NegotiatedSa>,
}

/// Both ends of a tunnel's outer packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OuterPath {
    /// An own address of the tunnel's port.
    pub local: IpAddr,
    /// The peer's, of the same family.
    pub remote: IpAddr,
    /// ESP in UDP (RFC 3948); none = ESP straight in IP.
    pub udp: Option<UdpPorts>,
    /// The peer is behind a NAT and we are not: workers follow it to where its authentic packets come from (RFC 7296 §2.23). Only with
    /// `udp`. Where it went is in the state; give it here once it is known, for the way there may be another.
    pub follow: bool,
}

/// Ports of ESP in UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpPorts {
    /// At our end: 4500.
    pub local: u16,
    /// At the peer's end, as seen from here.
    pub remote: u16,
}

/// One direction of a child SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NegotiatedSa {
    /// Its child's name.
    pub child: String,
    /// Outbound: the only worker that seals with it (RFC 9611); none = all of them. Of an inbound SA it does not matter.
    pub worker: Option<u16>,
    /// SPI: of an inbound SA ours, of an outbound one the peer's. From 256 on (RFC 4303 §2.1).
    pub spi: u32,
    /// Cipher, key and salt.
    pub secret: SaSecret,
    /// Extended sequence numbers.
    pub esn: bool,
    /// What inner packets may be. Protocols and ports are not among it: a child that was narrowed to some is to be refused.
    pub selectors: Vec<SelectorPair>,
}

/// Inclusive address ranges of one family. One for each pair of a TSi and a TSr of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectorPair {
    /// Our side: first and last address.
    pub local: (IpAddr, IpAddr),
    /// The peer's side.
    pub remote: (IpAddr, IpAddr),
}

/// Cipher, key and salt. Wiped when it is dropped, and never printed.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub struct SaSecret {
    #[zeroize(skip)]
    cipher: Cipher,
    key: [u8; 32],
    salt: [u8; 4],
}

impl SaSecret {
    /// `None` unless `key` is as long as the cipher wants it.
    pub fn new(cipher: Cipher, key: &[u8], salt: [u8; 4]) -> Option<SaSecret> {
        let mut secret = SaSecret {
            cipher,
            key: [0; 32],
            salt,
        };
        if key.len() != cipher.key_length() {
            secret.zeroize();
            return None;
        }
        secret.key.get_mut(..key.len())?.copy_from_slice(key);
        Some(secret)
    }

    /// How it encrypts.
    pub fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// As long as the cipher wants it.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key[..self.cipher.key_length()]
    }

    pub(crate) fn salt(&self) -> [u8; 4] {
        self.salt
    }
}

impl Zeroize for SaSecret {
    fn zeroize(&mut self) {
        self.key.zeroize();
        self.salt.zeroize();
    }
}

impl fmt::Debug for SaSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SaSecret({})", self.cipher.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_as_long_as_its_cipher_wants_and_is_not_printed() {
        for cipher in Cipher::ALL {
            for length in 0..40 {
                let secret = SaSecret::new(cipher, &vec![7; length], [1; 4]);
                assert_eq!(secret.is_some(), length == cipher.key_length(), "{cipher:?} {length}");
            }
        }
        let secret = SaSecret::new(Cipher::Aes128Gcm, &[0x41; 16], [0x41; 4]).unwrap();
        assert_eq!(format!("{secret:?}"), "SaSecret(aes-128-gcm)");
        assert_eq!(secret.key(), [0x41; 16]);
    }
}

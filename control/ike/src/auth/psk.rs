//! AUTH by a pre-shared key (RFC 7296 §2.15), also beside a PPK (RFC 8784).

use crate::secret::Secret;
use crate::transform::Prf;
use subtle::ConstantTimeEq;

/// Hides the pre-shared key's own length from the prf.
const PAD: &[u8] = b"Key Pad for IKEv2";

/// Authentication data: `prf(prf(psk, "Key Pad for IKEv2"), octets)`, with `octets` from [`super::octets::Octets::signed`]. The data of
/// NO_PPK_AUTH is the same function of the octets without PPK (RFC 8784 §3).
pub fn psk_auth(prf: Prf, psk: &[u8], octets: &[u8]) -> Secret {
    prf.mac(prf.mac(psk, &[PAD]).expose(), &[octets])
}

/// Whether `data` is what a peer that knows the key sends; takes the same time wherever it differs.
pub fn psk_matches(prf: Prf, psk: &[u8], octets: &[u8], data: &[u8]) -> bool {
    psk_auth(prf, psk, octets).expose().ct_eq(data).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are from Python: `hmac.digest(hmac.digest(psk, b"Key Pad for IKEv2", h), octets, h)`.
    #[test]
    fn psk_is_padded_once() {
        let psk = b"a secret of twenty bytes";
        let octets = b"message nonce identity";
        for (prf, expected) in [
            (Prf::HmacSha256, EXPECTED_256),
            (Prf::HmacSha384, EXPECTED_384),
            (Prf::HmacSha512, EXPECTED_512),
        ] {
            let data = psk_auth(prf, psk, octets).expose().to_vec();
            let text: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(text, expected, "{prf:?}");
            assert!(psk_matches(prf, psk, octets, &data));
        }
    }

    #[test]
    fn what_differs_does_not_match() {
        let prf = Prf::HmacSha256;
        let data = psk_auth(prf, b"psk", b"octets").expose().to_vec();
        for at in 0..data.len() {
            let mut other = data.clone();
            other[at] ^= 1;
            assert!(!psk_matches(prf, b"psk", b"octets", &other));
            assert!(!psk_matches(prf, b"psk", b"octets", &data[..at]));
        }
        assert!(!psk_matches(prf, b"psk", b"octets", &[data.clone(), vec![0]].concat()));
        assert!(!psk_matches(prf, b"PSK", b"octets", &data));
        assert!(!psk_matches(prf, b"psk", b"octet", &data));
        assert!(!psk_matches(Prf::HmacSha384, b"psk", b"octets", &data));
    }

    const EXPECTED_256: &str = "0bbccf9219b9dfb69c345c3c96a86dfb8e25d201358a28ece70224a4feab18df";
    const EXPECTED_384: &str = concat!(
        "802353e2f4b9bec74beb504031e4ec2d99c7dd1d37d0ac5291d4b48155212e8c",
        "9706e5fd79a59faaa2642ebe1a4028c7",
    );
    const EXPECTED_512: &str = concat!(
        "e0d7c47ef57733bf20bd3d6dfe7904d0338e193525238220168c9021bae5c205",
        "a47498000e51b868c7a6a675ff64c58d9558e12316850b47e26f2414646eeedd",
    );
}

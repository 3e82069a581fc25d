//! What certificates may be for (RFC 4945 §5.1.3.12).

use webpki::{Error, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage, RequiredEkuNotFoundContext};

/// Certificates for IKE: those that say nothing, and those that are for anything, for IKE, for TLS or for IPsec. RFC 4945 takes only
/// the first three; the private authorities of clouds issue for TLS, and older ones for IPsec.
pub(super) struct ForIke;

/// id-kp-ipsecIKE, 1.3.6.1.5.5.7.3.17.
const IPSEC_IKE: &[u8] = &[43, 6, 1, 5, 5, 7, 3, 17];

/// In the encoding of DER, without tag and length.
const ACCEPTED: [&[u8]; 8] = [
    IPSEC_IKE,
    // anyExtendedKeyUsage, 2.5.29.37.0
    &[85, 29, 37, 0],
    // serverAuth and clientAuth, 1.3.6.1.5.5.7.3.1 and .2
    &[43, 6, 1, 5, 5, 7, 3, 1],
    &[43, 6, 1, 5, 5, 7, 3, 2],
    // ipsecEndSystem, ipsecTunnel and ipsecUser, 1.3.6.1.5.5.7.3.5 to .7
    &[43, 6, 1, 5, 5, 7, 3, 5],
    &[43, 6, 1, 5, 5, 7, 3, 6],
    &[43, 6, 1, 5, 5, 7, 3, 7],
    // iKEIntermediate, 1.3.6.1.5.5.8.2.2
    &[43, 6, 1, 5, 5, 8, 2, 2],
];

impl ExtendedKeyUsageValidator for ForIke {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let mut says_nothing = true;
        for purpose in purposes {
            let purpose = purpose?;
            says_nothing = false;
            if ACCEPTED.iter().any(|accepted| KeyPurposeId::new(accepted) == purpose) {
                return Ok(());
            }
        }
        if says_nothing {
            return Ok(());
        }
        Err(Error::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext {
            required: KeyUsage::required_if_present(IPSEC_IKE),
            present: Vec::new(),
        }))
    }
}

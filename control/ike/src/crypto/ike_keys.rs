//! Keys of an IKE SA (RFC 7296 §2.14), after a rekeying (§2.18), after further key exchanges (RFC 9370) and with a post-quantum
//! pre-shared key (RFC 8784).

use crate::secret::Secret;
use crate::transform::{IkeSuite, Prf};
use serde::{Deserialize, Serialize};

/// The seven keys of an IKE SA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IkeKeys {
    /// SK_d: child SAs and the next IKE SA come from it.
    pub d: Secret,
    /// SK_ai: integrity of the initiator's messages; empty with an AEAD.
    pub ai: Secret,
    /// SK_ar: integrity of the responder's messages; empty with an AEAD.
    pub ar: Secret,
    /// SK_ei: encryption of the initiator's messages; with an AEAD the salt is behind it (RFC 5282 §7.1).
    pub ei: Secret,
    /// SK_er: encryption of the responder's messages; with an AEAD the salt is behind it (RFC 5282 §7.1).
    pub er: Secret,
    /// SK_pi: the initiator's proof.
    pub pi: Secret,
    /// SK_pr: the responder's proof.
    pub pr: Secret,
}

/// What both sides said in the clear, without the IKE headers: it goes into every key.
#[derive(Clone, Copy, Debug)]
pub struct Public<'a> {
    /// Ni, the initiator's nonce.
    pub nonce_i: &'a [u8],
    /// Nr, the responder's nonce.
    pub nonce_r: &'a [u8],
    /// SPIi of the SA that the keys are for.
    pub spi_i: u64,
    /// SPIr of the SA that the keys are for.
    pub spi_r: u64,
}

impl IkeKeys {
    /// After IKE_SA_INIT: `SKEYSEED = prf(Ni | Nr, g^ir)` (RFC 7296 §2.14).
    pub fn derive(suite: &IkeSuite, shared: &Secret, public: Public<'_>) -> IkeKeys {
        let nonces = [public.nonce_i, public.nonce_r].concat();
        let seed = suite.prf.mac(&nonces, &[shared.expose()]);
        IkeKeys::expand(suite, &seed, public)
    }

    /// Of the IKE SA that replaces another: `SKEYSEED = prf(SK_d (old), SK(0) | Ni | Nr | SK(1) | … | SK(n))` with the old SA's
    /// prf (RFC 7296 §2.18, RFC 9370 §2.2.4). `shared` begins with the shared secret of CREATE_CHILD_SA; those of
    /// IKE_FOLLOWUP_KE follow in order. Nonces and SPIs are the new ones.
    pub fn rekey(suite: &IkeSuite, old_prf: Prf, old_d: &Secret, shared: &[Secret], public: Public<'_>) -> IkeKeys {
        let parts = mixed(shared, public.nonce_i, public.nonce_r);
        let seed = old_prf.mac(old_d.expose(), &parts);
        IkeKeys::expand(suite, &seed, public)
    }

    /// After one IKE_INTERMEDIATE with an additional key exchange: `SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr)`
    /// (RFC 9370 §2.2.2). Nonces and SPIs are those of IKE_SA_INIT.
    pub fn intermediate(suite: &IkeSuite, old_d: &Secret, shared: &Secret, public: Public<'_>) -> IkeKeys {
        let seed = suite
            .prf
            .mac(old_d.expose(), &[shared.expose(), public.nonce_i, public.nonce_r]);
        IkeKeys::expand(suite, &seed, public)
    }

    /// With a post-quantum pre-shared key: SK_d, SK_pi and SK_pr are replaced (RFC 8784 §3), all other keys stay.
    pub fn with_ppk(&self, prf: Prf, ppk: &Secret) -> IkeKeys {
        let mixed = |key: &Secret| prf.plus(ppk.expose(), &[key.expose()], key.len());
        IkeKeys {
            d: mixed(&self.d),
            pi: mixed(&self.pi),
            pr: mixed(&self.pr),
            ..self.clone()
        }
    }

    /// `{SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+(SKEYSEED, Ni | Nr | SPIi | SPIr)` (RFC 7296 §2.14).
    fn expand(suite: &IkeSuite, seed: &Secret, public: Public<'_>) -> IkeKeys {
        let prf_bytes = suite.prf.bytes();
        let integrity_bytes = suite.integrity.map_or(0, |integrity| integrity.key_bytes());
        let cipher_bytes = suite.encryption.key_bytes() + suite.encryption.salt_bytes();
        let parts = [
            public.nonce_i,
            public.nonce_r,
            &public.spi_i.to_be_bytes(),
            &public.spi_r.to_be_bytes(),
        ];
        let total = 3 * prf_bytes + 2 * integrity_bytes + 2 * cipher_bytes;
        let material = suite.prf.plus(seed.expose(), &parts, total);
        let mut rest = material.expose();
        let mut take = |bytes: usize| {
            let (key, behind) = rest.split_at_checked(bytes).unwrap_or((rest, &[]));
            rest = behind;
            Secret::from(key)
        };
        IkeKeys {
            d: take(prf_bytes),
            ai: take(integrity_bytes),
            ar: take(integrity_bytes),
            ei: take(cipher_bytes),
            er: take(cipher_bytes),
            pi: take(prf_bytes),
            pr: take(prf_bytes),
        }
    }
}

/// `SK(0) | Ni | Nr | SK(1) | … | SK(n)`, the nonces alone if there was no key exchange (RFC 7296 §2.17, RFC 9370 §2.2.4).
pub(super) fn mixed<'a>(shared: &'a [Secret], nonce_i: &'a [u8], nonce_r: &'a [u8]) -> Vec<&'a [u8]> {
    let first = shared.iter().take(1).map(Secret::expose);
    let more = shared.iter().skip(1).map(Secret::expose);
    first.chain([nonce_i, nonce_r]).chain(more).collect()
}

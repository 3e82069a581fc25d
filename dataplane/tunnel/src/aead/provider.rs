//! Who does the cryptography: `ring`, which is always there; our own AES-GCM where the machine has VAES and AVX-512; Intel's
//! multi-buffer library where the system has it, too.

use super::Cipher;
use core::fmt;
use std::sync::OnceLock;
use tombolo_ipsec_mb::Library;

/// Names the provider to use: `ring`, or `vaes` or `ipsec-mb` if it is there. Anything else, or nothing, means the fastest.
pub const ENVIRONMENT: &str = "TOMBOLO_AEAD";

/// Does the cryptography of an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    /// `ring`: everywhere.
    Ring,
    /// `libIPSec_MB`: on x86-64 with VAES and AVX-512.
    IpsecMb,
    /// `tombolo_gcm` for AES-GCM, on x86-64 with VAES and AVX-512; ChaCha20-Poly1305 is left to the fastest other.
    Vaes,
}

impl Provider {
    /// The one for this process: decided once, by [`ENVIRONMENT`], machine and system.
    #[inline]
    pub fn chosen() -> Provider {
        static CHOSEN: OnceLock<Provider> = OnceLock::new();
        *CHOSEN.get_or_init(|| choose(std::env::var(ENVIRONMENT).ok().as_deref(), Self::available()))
    }

    /// Makes what the calling thread needs of it, so that its first packet need not wait. It works without, too.
    pub fn prepare_thread(self) {
        match self {
            Provider::Ring => {}
            Provider::IpsecMb | Provider::Vaes => {
                let _ = Library::load().is_ok_and(Library::prepare_thread);
            }
        }
    }

    /// Those that this process can use, slowest first.
    pub fn available() -> impl Iterator<Item = Provider> {
        let library = Library::load().is_ok().then_some(Provider::IpsecMb);
        let own = tombolo_gcm::is_available().then_some(Provider::Vaes);
        core::iter::once(Provider::Ring).chain(library).chain(own)
    }

    /// Who serves a cipher where this one was chosen.
    pub fn serving(self, cipher: Cipher) -> Provider {
        match (self, cipher) {
            (Provider::Vaes, Cipher::ChaCha20Poly1305) if Library::load().is_ok() => Provider::IpsecMb,
            (Provider::Vaes, Cipher::ChaCha20Poly1305) => Provider::Ring,
            (Provider::Ring | Provider::IpsecMb | Provider::Vaes, _) => self,
        }
    }

    /// Why `ipsec-mb` is not [`available`](Self::available); `None` if it is.
    pub fn lacking() -> Option<String> {
        Library::load().err().map(|reason| reason.to_string())
    }

    /// `ring`, `ipsec-mb` or `vaes`.
    pub fn name(self) -> &'static str {
        match self {
            Provider::Ring => "ring",
            Provider::IpsecMb => "ipsec-mb",
            Provider::Vaes => "vaes",
        }
    }

    /// A number for shared memory: 1 and up.
    pub fn to_word(self) -> u64 {
        match self {
            Provider::Ring => 1,
            Provider::IpsecMb => 2,
            Provider::Vaes => 3,
        }
    }

    /// From [`to_word`](Self::to_word); `None` for what nobody wrote.
    pub fn from_word(word: u64) -> Option<Self> {
        match word {
            1 => Some(Provider::Ring),
            2 => Some(Provider::IpsecMb),
            3 => Some(Provider::Vaes),
            _ => None,
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn choose(wanted: Option<&str>, available: impl Iterator<Item = Provider>) -> Provider {
    let mut best = Provider::Ring;
    for provider in available {
        if wanted == Some(provider.name()) {
            return provider;
        }
        best = provider;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ring_can_be_asked_for_and_serves_where_nothing_else_does() {
        let all = [Provider::Ring, Provider::IpsecMb, Provider::Vaes];
        for wanted in all {
            assert_eq!(choose(Some(wanted.name()), all.into_iter()), wanted);
        }
        assert_eq!(choose(None, all.into_iter()), Provider::Vaes);
        assert_eq!(choose(Some("ipsec-mb"), [Provider::Ring].into_iter()), Provider::Ring);
        assert_eq!(
            choose(None, [Provider::Ring, Provider::IpsecMb].into_iter()),
            Provider::IpsecMb
        );
    }

    #[test]
    fn words_survive_the_trip() {
        for provider in [Provider::Ring, Provider::IpsecMb, Provider::Vaes] {
            assert_eq!(Provider::from_word(provider.to_word()), Some(provider));
        }
        assert_eq!(Provider::from_word(0), None);
    }
}

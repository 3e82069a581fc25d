//! Who does the cryptography: `ring`, which is always there, or Intel's multi-buffer library where machine and system have it.

use core::fmt;
use std::sync::OnceLock;
use tombolo_ipsec_mb::Library;

/// Names the provider to use: `ring`, or `ipsec-mb` if it is there. Anything else, or nothing, means the fastest.
pub const ENVIRONMENT: &str = "TOMBOLO_AEAD";

/// Does the cryptography of an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    /// `ring`: everywhere.
    Ring,
    /// `libIPSec_MB`: on x86-64 with VAES and AVX-512.
    IpsecMb,
}

impl Provider {
    /// The one for this process: decided once, by [`ENVIRONMENT`], machine and system.
    #[inline]
    pub fn chosen() -> Provider {
        static CHOSEN: OnceLock<Provider> = OnceLock::new();
        *CHOSEN.get_or_init(|| choose(std::env::var(ENVIRONMENT).ok().as_deref(), Library::load().is_ok()))
    }

    /// Makes what the calling thread needs of it, so that its first packet need not wait. It works without, too.
    pub fn prepare_thread(self) {
        match self {
            Provider::Ring => {}
            Provider::IpsecMb => {
                let _ = Library::load().is_ok_and(Library::prepare_thread);
            }
        }
    }

    /// Those that this process can use, `ring` first.
    pub fn available() -> impl Iterator<Item = Provider> {
        let library = Library::load().is_ok();
        core::iter::once(Provider::Ring).chain(library.then_some(Provider::IpsecMb))
    }

    /// Why `ipsec-mb` is not [`available`](Self::available); `None` if it is.
    pub fn lacking() -> Option<String> {
        Library::load().err().map(|reason| reason.to_string())
    }

    /// `ring` or `ipsec-mb`.
    pub fn name(self) -> &'static str {
        match self {
            Provider::Ring => "ring",
            Provider::IpsecMb => "ipsec-mb",
        }
    }

    /// A number for shared memory: 1 and up.
    pub fn to_word(self) -> u64 {
        match self {
            Provider::Ring => 1,
            Provider::IpsecMb => 2,
        }
    }

    /// From [`to_word`](Self::to_word); `None` for what nobody wrote.
    pub fn from_word(word: u64) -> Option<Self> {
        match word {
            1 => Some(Provider::Ring),
            2 => Some(Provider::IpsecMb),
            _ => None,
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn choose(wanted: Option<&str>, library: bool) -> Provider {
    if library && wanted != Some(Provider::Ring.name()) {
        Provider::IpsecMb
    } else {
        Provider::Ring
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ring_can_be_asked_for_and_serves_where_nothing_else_does() {
        assert_eq!(choose(Some("ring"), true), Provider::Ring);
        assert_eq!(choose(None, true), Provider::IpsecMb);
        assert_eq!(choose(Some("ipsec-mb"), true), Provider::IpsecMb);
        assert_eq!(choose(Some("ipsec-mb"), false), Provider::Ring);
        assert_eq!(choose(None, false), Provider::Ring);
    }

    #[test]
    fn words_survive_the_trip() {
        for provider in [Provider::Ring, Provider::IpsecMb] {
            assert_eq!(Provider::from_word(provider.to_word()), Some(provider));
        }
        assert_eq!(Provider::from_word(0), None);
    }
}

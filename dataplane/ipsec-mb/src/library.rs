//! Finding the library, and whether it may be used: this version, this CPU, its own self-test.

use crate::manager::{GcmCrypt, GcmExpand, Head, Manager, NextJob, SubmitJob};
use core::fmt;
use std::sync::OnceLock;

/// The name under which Debian installs it (package `libipsec-mb1`).
const NAME: &str = "libIPSec_MB.so.1";
/// The versions whose answers the tests compare with `ring`'s: 1.3 and its corrections. The library says nothing about
/// shifting in place, which is why a version is tried before it is listed.
const VERSIONS: core::ops::Range<u32> = 0x1_03_00..0x1_04_00;

/// `IMB_FEATURE_…` bits of what its fastest AES-GCM and ChaCha20-Poly1305 need: AVX-512 (F, DQ, CD, BW, VL), VAES, VPCLMULQDQ,
/// and IFMA; last, that it passed its self-test.
const FEATURES: u64 = 0b1_1111 << 7 | 1 << 12 | 1 << 13 | 1 << 17 | 1 << 21;

/// Why `ring` has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// The CPU lacks VAES or AVX-512, or the system does not let it be used.
    Cpu,
    /// There is no such library; the loader's words.
    Missing(String),
    /// A version that was not tested.
    Version(u32),
    /// The library lacks a function, or its self-test failed.
    Unfit,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unavailable::Cpu => f.write_str("the CPU has no VAES and AVX-512"),
            Unavailable::Missing(loader) => write!(f, "no {NAME}: {loader}"),
            Unavailable::Version(version) => write!(
                f,
                "{NAME} is version {}.{}.{}, which is not a tested one (1.3)",
                version >> 16,
                version >> 8 & 0xff,
                version & 0xff
            ),
            Unavailable::Unfit => write!(f, "{NAME} failed its self-test"),
        }
    }
}

impl core::error::Error for Unavailable {}

/// What is called by name.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) allocate: unsafe extern "C" fn(u64) -> *mut Head,
    pub(crate) initialize: unsafe extern "C" fn(*mut Head, *mut i32),
    pub(crate) free: unsafe extern "C" fn(*mut Head),
}

/// AES-GCM of one key size.
#[derive(Clone, Copy)]
pub(crate) struct Gcm {
    pub(crate) expand: GcmExpand,
    pub(crate) seal: GcmCrypt,
    pub(crate) open: GcmCrypt,
}

/// The loaded library: functions for this CPU. It stays loaded.
pub struct Library {
    pub(crate) entry: Entry,
    pub(crate) gcm128: Gcm,
    pub(crate) gcm256: Gcm,
    pub(crate) next_job: NextJob,
    pub(crate) submit_job: SubmitJob,
    version: u32,
}

impl Library {
    /// Loads it once per process; later calls get the same answer.
    pub fn load() -> Result<&'static Library, &'static Unavailable> {
        static LIBRARY: OnceLock<Result<Library, Unavailable>> = OnceLock::new();
        LIBRARY.get_or_init(load).as_ref()
    }

    /// Major, minor and patch number.
    pub fn version(&self) -> (u32, u32, u32) {
        (self.version >> 16, self.version >> 8 & 0xff, self.version & 0xff)
    }
}

#[cfg(target_arch = "x86_64")]
fn cpu_is_fit() -> bool {
    std::is_x86_feature_detected!("avx512f")
        && std::is_x86_feature_detected!("vaes")
        && std::is_x86_feature_detected!("vpclmulqdq")
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_is_fit() -> bool {
    false
}

fn load() -> Result<Library, Unavailable> {
    if !cpu_is_fit() {
        return Err(Unavailable::Cpu);
    }
    // SAFETY: the library's initializers only detect the CPU.
    let loaded = unsafe { libloading::Library::new(NAME) };
    let loaded = loaded.map_err(|error| Unavailable::Missing(error.to_string()))?;
    let version = version(&loaded).ok_or(Unavailable::Unfit)?;
    if !VERSIONS.contains(&version) {
        return Err(Unavailable::Version(version));
    }
    let entry = entry(&loaded).map_err(|_| Unavailable::Unfit)?;
    // Its functions are kept for the life of the process.
    core::mem::forget(loaded);
    let manager = Manager::new(entry).ok_or(Unavailable::Unfit)?;
    functions(&manager, entry, version).ok_or(Unavailable::Unfit)
}

fn version(loaded: &libloading::Library) -> Option<u32> {
    // SAFETY: the signature is that of `imb_get_version` in every version.
    let get = unsafe { loaded.get::<unsafe extern "C" fn() -> u32>(b"imb_get_version\0") }.ok()?;
    // SAFETY: it takes nothing and returns a constant.
    Some(unsafe { get() })
}

fn entry(loaded: &libloading::Library) -> Result<Entry, libloading::Error> {
    Ok(Entry {
        // SAFETY: the signature is that of 1.3, which the version was found to be.
        allocate: *unsafe { loaded.get(b"alloc_mb_mgr\0") }?,
        // SAFETY: as above.
        initialize: *unsafe { loaded.get(b"init_mb_mgr_auto\0") }?,
        // SAFETY: as above.
        free: *unsafe { loaded.get(b"free_mb_mgr\0") }?,
    })
}

fn functions(manager: &Manager, entry: Entry, version: u32) -> Option<Library> {
    let head = manager.head();
    (head.features & FEATURES == FEATURES).then_some(())?;
    Some(Library {
        entry,
        gcm128: Gcm {
            expand: head.gcm128_expand?,
            seal: head.gcm128_seal?,
            open: head.gcm128_open?,
        },
        gcm256: Gcm {
            expand: head.gcm256_expand?,
            seal: head.gcm256_seal?,
            open: head.gcm256_open?,
        },
        next_job: head.next_job?,
        submit_job: head.submit_job_nocheck?,
        version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_says_what_is_missing() {
        assert!(Unavailable::Version(0x1_05_00).to_string().contains("1.5.0"));
        assert!(!VERSIONS.contains(&0x1_05_00) && !VERSIONS.contains(&0x1_02_00) && VERSIONS.contains(&0x1_03_00));
        assert!(
            Unavailable::Missing("no such file".into())
                .to_string()
                .contains("no such file")
        );
    }
}

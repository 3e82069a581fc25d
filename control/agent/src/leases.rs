//! Sequence numbers that may be used, written to disk ahead of use.
//!
//! A nonce of AES-GCM or ChaCha20-Poly1305 is the SA's salt and the packet's sequence number; used twice under one key it
//! breaks the cipher (RFC 4106 §3.1). So a number below `limit` counts as used from the moment the lease is on disk, whatever
//! becomes of the processes and the machine. A key without a lease is not used at all until an operator says that it is new:
//! it might be an old one whose lease was lost with a disk.
//!
//! `<state-dir>/leases/<tunnel>.json` holds the leases of all keys that the tunnel ever had. A key is named by the SHA-256
//! of cipher, key and salt, not by tunnel: under another tunnel's name it goes on where it was.

use crate::files;
use ring::digest;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use tombolo_config::sa_file::{Cipher, SaPair};
use tombolo_tables::layout::cipher;

/// How many numbers one write to disk makes usable: at 1 Mpps a write every 16 s.
pub const STEP: u64 = 1 << 24;

/// Names a key and tells nothing about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Of everything that enters a nonce or the cipher. The SPI does not: two SAs with one key and salt share nonces.
    pub fn new(cipher: u8, key: &[u8], salt: &[u8; 4]) -> Fingerprint {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"tombolo outbound key 1\0");
        context.update(&[cipher]);
        context.update(key);
        context.update(salt);
        Fingerprint(
            context
                .finish()
                .as_ref()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        )
    }
}

impl From<&SaPair> for Fingerprint {
    /// Of a tunnel's outbound key.
    fn from(keys: &SaPair) -> Fingerprint {
        let cipher = match keys.cipher {
            Cipher::Aes128Gcm => cipher::AES_128_GCM,
            Cipher::Aes256Gcm => cipher::AES_256_GCM,
            Cipher::ChaCha20Poly1305 => cipher::CHACHA20_POLY1305,
        };
        Fingerprint::new(cipher, keys.outbound.key(), &keys.outbound.salt())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A lease cannot be read or written.
#[derive(Debug)]
pub enum LeaseError {
    /// The file system refused.
    Io(PathBuf, io::Error),
    /// The file is not what was written: it is not guessed at, since a wrong guess repeats a nonce.
    Corrupt(PathBuf, String),
    /// No lease names this key.
    Unknown,
    /// All numbers of the SA are used.
    Exhausted,
}

impl fmt::Display for LeaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LeaseError::Io(path, error) => write!(f, "{}: {error}", path.display()),
            LeaseError::Corrupt(path, error) => write!(f, "{}: {error}; make a new key", path.display()),
            LeaseError::Unknown => write!(f, "the key was never used here; run `tombolo sa init` if it is new"),
            LeaseError::Exhausted => write!(f, "every sequence number of the key is used; make a new key"),
        }
    }
}

impl std::error::Error for LeaseError {}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct LeaseFile {
    /// Numbers below count as used, by fingerprint.
    limits: BTreeMap<Fingerprint, u64>,
}

/// The leases of a gateway.
#[derive(Clone, Debug)]
pub struct Leases {
    directory: PathBuf,
}

impl Leases {
    /// Leases in `directory`, which exists.
    pub fn new(directory: PathBuf) -> Leases {
        Leases { directory }
    }

    /// All leases, read once.
    pub fn read(&self) -> Result<Known, LeaseError> {
        let mut known = Known::default();
        let entries = std::fs::read_dir(&self.directory).map_err(|e| LeaseError::Io(self.directory.clone(), e))?;
        for entry in entries {
            let path = entry.map_err(|e| LeaseError::Io(self.directory.clone(), e))?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let file = read(&path)?;
                for (fingerprint, limit) in &file.limits {
                    let highest = known.limits.entry(fingerprint.clone()).or_default();
                    *highest = (*highest).max(*limit);
                }
                known.files.insert(path, file);
            }
        }
        Ok(known)
    }

    /// Accepts a key that an operator says is new; true if it was unknown. A known one goes on where it was.
    pub fn init(&self, tunnel: &str, fingerprint: &Fingerprint) -> Result<bool, LeaseError> {
        let mut known = self.read()?;
        let limit = known.limits.get(fingerprint).copied();
        self.write(&mut known, &[Lease::new(tunnel, fingerprint, limit.unwrap_or(0))])?;
        Ok(limit.is_none())
    }

    /// Leases numbers of known keys. They may be used once this returns.
    pub fn extend(&self, known: &mut Known, leases: &[Lease]) -> Result<(), LeaseError> {
        for lease in leases {
            known.limit(&lease.fingerprint)?;
        }
        self.write(known, leases)
    }

    /// Writes the files of the leases' tunnels, all of them together.
    fn write(&self, known: &mut Known, leases: &[Lease]) -> Result<(), LeaseError> {
        let mut paths = BTreeSet::new();
        for lease in leases {
            let path = self.directory.join(format!("{}.json", lease.tunnel));
            let highest = known.limits.entry(lease.fingerprint.clone()).or_default();
            *highest = (*highest).max(lease.limit);
            let file = known.files.entry(path.clone()).or_default();
            file.limits.insert(lease.fingerprint.clone(), *highest);
            paths.insert(path);
        }
        let texts = paths.iter().map(|path| {
            let text = serde_json::to_string_pretty(&known.files[path]);
            let text = text.map_err(|e| LeaseError::Corrupt(path.clone(), e.to_string()))?;
            Ok((path, text + "\n"))
        });
        let texts = texts.collect::<Result<Vec<_>, LeaseError>>()?;
        files::replace_all(&texts, 0o600).map_err(|e| LeaseError::Io(self.directory.clone(), e))
    }
}

/// What the directory says.
#[derive(Default)]
pub struct Known {
    /// The highest limit that any tunnel's file gives a key.
    limits: BTreeMap<Fingerprint, u64>,
    files: BTreeMap<PathBuf, LeaseFile>,
}

impl Known {
    /// First number of a key that may not have been used yet.
    pub fn limit(&self, fingerprint: &Fingerprint) -> Result<u64, LeaseError> {
        self.limits.get(fingerprint).copied().ok_or(LeaseError::Unknown)
    }
}

/// The numbers below `limit` of a tunnel's key.
#[derive(Clone, Debug)]
pub struct Lease {
    tunnel: String,
    fingerprint: Fingerprint,
    limit: u64,
}

impl Lease {
    /// Up to `limit` (exclusive).
    pub fn new(tunnel: &str, fingerprint: &Fingerprint, limit: u64) -> Lease {
        Lease {
            tunnel: tunnel.to_owned(),
            fingerprint: fingerprint.clone(),
            limit,
        }
    }
}

fn read(path: &Path) -> Result<LeaseFile, LeaseError> {
    let text = files::read_text(path).map_err(|e| LeaseError::Io(path.into(), e))?;
    serde_json::from_str(&text).map_err(|e| LeaseError::Corrupt(path.into(), e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> Leases {
        let path = std::env::temp_dir().join(format!("tombolo-leases-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Leases::new(path)
    }

    fn key(byte: u8) -> Fingerprint {
        Fingerprint::new(2, &[byte; 32], &[1, 2, 3, 4])
    }

    fn limit(leases: &Leases, byte: u8) -> Result<u64, LeaseError> {
        leases.read()?.limit(&key(byte))
    }

    fn extend(leases: &Leases, byte: u8, limit: u64) -> Result<(), LeaseError> {
        leases.extend(&mut leases.read()?, &[Lease::new("a", &key(byte), limit)])
    }

    #[test]
    fn many_files_are_written_together() {
        let leases = scratch("many");
        for byte in 0..20 {
            leases.init(&format!("t{byte}"), &key(byte)).unwrap();
        }
        let lease = |byte: u8| Lease::new(&format!("t{byte}"), &key(byte), STEP + u64::from(byte));
        let mut known = leases.read().unwrap();
        leases
            .extend(&mut known, &(0..20).map(lease).collect::<Vec<_>>())
            .unwrap();
        for byte in 0..20 {
            assert_eq!(limit(&leases, byte).unwrap(), STEP + u64::from(byte));
        }
        let mixed = [lease(1), Lease::new("t1", &key(99), STEP)];
        let refused = leases.extend(&mut known, &mixed);
        assert!(matches!(refused, Err(LeaseError::Unknown)), "not one of them is leased");
        std::fs::remove_dir_all(leases.directory).unwrap();
    }

    #[test]
    fn a_key_is_unknown_until_it_is_declared_new() {
        let leases = scratch("unknown");
        assert!(matches!(limit(&leases, 1), Err(LeaseError::Unknown)));
        assert!(matches!(extend(&leases, 1, STEP), Err(LeaseError::Unknown)));
        assert!(leases.init("a", &key(1)).unwrap());
        assert_eq!(limit(&leases, 1).unwrap(), 0);
        std::fs::remove_dir_all(leases.directory).unwrap();
    }

    #[test]
    fn limits_never_go_back() {
        let leases = scratch("back");
        leases.init("a", &key(1)).unwrap();
        extend(&leases, 1, 2 * STEP).unwrap();
        extend(&leases, 1, STEP).unwrap();
        assert_eq!(limit(&leases, 1).unwrap(), 2 * STEP);
        assert!(!leases.init("a", &key(1)).unwrap(), "declared new again: goes on");
        assert_eq!(limit(&leases, 1).unwrap(), 2 * STEP);
        std::fs::remove_dir_all(leases.directory).unwrap();
    }

    #[test]
    fn a_key_keeps_its_numbers_under_another_tunnel_and_after_another_key() {
        let leases = scratch("rename");
        leases.init("a", &key(1)).unwrap();
        extend(&leases, 1, STEP).unwrap();
        leases.init("a", &key(2)).unwrap();
        assert_eq!(limit(&leases, 1).unwrap(), STEP, "the old key is remembered");
        assert!(!leases.init("b", &key(1)).unwrap());
        assert_eq!(limit(&leases, 1).unwrap(), STEP);
        std::fs::remove_dir_all(leases.directory).unwrap();
    }

    #[test]
    fn a_corrupt_file_is_not_guessed_at() {
        let leases = scratch("corrupt");
        leases.init("a", &key(1)).unwrap();
        std::fs::write(leases.directory.join("a.json"), "{\"limits\":{\"").unwrap();
        assert!(matches!(limit(&leases, 1), Err(LeaseError::Corrupt(..))));
        assert!(matches!(leases.init("a", &key(2)), Err(LeaseError::Corrupt(..))));
        std::fs::remove_dir_all(leases.directory).unwrap();
    }

    #[test]
    fn fingerprints_differ_by_cipher_key_and_salt() {
        let base = key(1);
        assert_ne!(base, Fingerprint::new(3, &[1; 32], &[1, 2, 3, 4]));
        assert_ne!(base, Fingerprint::new(2, &[2; 32], &[1, 2, 3, 4]));
        assert_ne!(base, Fingerprint::new(2, &[1; 32], &[1, 2, 3, 5]));
        assert_eq!(base.to_string().len(), 64);
    }
}

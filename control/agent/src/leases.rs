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
use std::collections::BTreeMap;
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

    /// First number that may not have been used yet.
    pub fn limit(&self, fingerprint: &Fingerprint) -> Result<u64, LeaseError> {
        self.highest(fingerprint)?.ok_or(LeaseError::Unknown)
    }

    /// Accepts a key that an operator says is new; true if it was unknown. A known one goes on where it was.
    pub fn init(&self, tunnel: &str, fingerprint: &Fingerprint) -> Result<bool, LeaseError> {
        let known = self.highest(fingerprint)?;
        self.write(tunnel, fingerprint, known.unwrap_or(0))?;
        Ok(known.is_none())
    }

    /// Leases the numbers up to `limit` (exclusive). They may be used once this returns.
    pub fn extend(&self, tunnel: &str, fingerprint: &Fingerprint, limit: u64) -> Result<(), LeaseError> {
        let known = self.highest(fingerprint)?.ok_or(LeaseError::Unknown)?;
        self.write(tunnel, fingerprint, limit.max(known))
    }

    fn path(&self, tunnel: &str) -> PathBuf {
        self.directory.join(format!("{tunnel}.json"))
    }

    /// The highest limit that any tunnel's file gives the key.
    fn highest(&self, fingerprint: &Fingerprint) -> Result<Option<u64>, LeaseError> {
        let entries = std::fs::read_dir(&self.directory).map_err(|e| LeaseError::Io(self.directory.clone(), e))?;
        let mut highest = None;
        for entry in entries {
            let path = entry.map_err(|e| LeaseError::Io(self.directory.clone(), e))?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                highest = highest.max(read(&path)?.limits.get(fingerprint).copied());
            }
        }
        Ok(highest)
    }

    fn write(&self, tunnel: &str, fingerprint: &Fingerprint, limit: u64) -> Result<(), LeaseError> {
        let path = self.path(tunnel);
        let mut file = if path.exists() {
            read(&path)?
        } else {
            LeaseFile::default()
        };
        file.limits.insert(fingerprint.clone(), limit);
        let mut text =
            serde_json::to_string_pretty(&file).map_err(|e| LeaseError::Corrupt(path.clone(), e.to_string()))?;
        text.push('\n');
        files::replace(&path, text.as_bytes(), 0o600).map_err(|e| LeaseError::Io(path, e))
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

    #[test]
    fn a_key_is_unknown_until_it_is_declared_new() {
        let leases = scratch("unknown");
        assert!(matches!(leases.limit(&key(1)), Err(LeaseError::Unknown)));
        assert!(matches!(leases.extend("a", &key(1), STEP), Err(LeaseError::Unknown)));
        assert!(leases.init("a", &key(1)).unwrap());
        assert_eq!(leases.limit(&key(1)).unwrap(), 0);
        std::fs::remove_dir_all(leases.directory).unwrap();
    }

    #[test]
    fn limits_never_go_back() {
        let leases = scratch("back");
        leases.init("a", &key(1)).unwrap();
        leases.extend("a", &key(1), 2 * STEP).unwrap();
        leases.extend("a", &key(1), STEP).unwrap();
        assert_eq!(leases.limit(&key(1)).unwrap(), 2 * STEP);
        assert!(!leases.init("a", &key(1)).unwrap(), "declared new again: goes on");
        assert_eq!(leases.limit(&key(1)).unwrap(), 2 * STEP);
        std::fs::remove_dir_all(leases.directory).unwrap();
    }

    #[test]
    fn a_key_keeps_its_numbers_under_another_tunnel_and_after_another_key() {
        let leases = scratch("rename");
        leases.init("a", &key(1)).unwrap();
        leases.extend("a", &key(1), STEP).unwrap();
        leases.init("a", &key(2)).unwrap();
        assert_eq!(leases.limit(&key(1)).unwrap(), STEP, "the old key is remembered");
        assert!(!leases.init("b", &key(1)).unwrap());
        assert_eq!(leases.limit(&key(1)).unwrap(), STEP);
        std::fs::remove_dir_all(leases.directory).unwrap();
    }

    #[test]
    fn a_corrupt_file_is_not_guessed_at() {
        let leases = scratch("corrupt");
        leases.init("a", &key(1)).unwrap();
        std::fs::write(leases.directory.join("a.json"), "{\"limits\":{\"").unwrap();
        assert!(matches!(leases.limit(&key(1)), Err(LeaseError::Corrupt(..))));
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

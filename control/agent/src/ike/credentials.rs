//! Secrets and certificates of tunnels, from the files that their statements name.

use crate::secret_files::{self, Directory, Stamp};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivatePkcs8KeyDer};
use std::path::Path;
use tombolo_config::connection::{IkeSecrets, Proof};
use tombolo_config::{Credentials, IkeTunnel, psk};
use tombolo_ike::auth::check_own;
use tombolo_ike::connection::{Connection, OwnProof};
use tombolo_ike::secret::Secret;

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// What it should hold, in the configuration's words.
    pub what: &'static str,
    /// File and reason, for the tunnel's operator.
    pub why: String,
}

/// Reads what a tunnel names.
///
/// # Errors
/// Every file that cannot be used; never an empty list.
pub fn read(tunnel: &IkeTunnel, directory: &Path) -> Result<IkeSecrets, Vec<Unread>> {
    read_stamped(tunnel, directory).map(|(secrets, _)| secrets)
}

/// The files that a tunnel named when they were read.
#[derive(Clone, Debug, Default)]
pub struct Stamps(Box<[Stamp]>);

impl Stamps {
    /// Whether all of them are still what was read.
    pub fn hold(&self, tunnel: &IkeTunnel, directory: &Directory) -> bool {
        let files = files(tunnel);
        !files.is_empty()
            && files.len() == self.0.len()
            && files
                .iter()
                .zip(&self.0)
                .all(|(file, stamp)| directory.has_still(file, stamp))
    }
}

/// In the order in which they are read.
fn files(tunnel: &IkeTunnel) -> Vec<&str> {
    let proof = match &tunnel.credentials {
        Credentials::Psk { secret, .. } => [Some(secret), None, None, None],
        Credentials::Certificate {
            certificate,
            key,
            roots,
            revocations,
        } => [Some(certificate), Some(key), Some(roots), revocations.as_ref()],
    };
    let ppk = tunnel.ppk.as_ref().map(|ppk| &ppk.secret);
    proof
        .into_iter()
        .chain([ppk])
        .flatten()
        .map(|name| name.as_str())
        .collect()
}

/// The same, with what tells whether they were changed since.
///
/// # Errors
/// As [`read`].
pub fn read_stamped(tunnel: &IkeTunnel, directory: &Path) -> Result<(IkeSecrets, Stamps), Vec<Unread>> {
    let mut reader = Reader {
        directory,
        unread: Vec::new(),
        stamps: Vec::new(),
    };
    let proof = match &tunnel.credentials {
        Credentials::Psk { secret, .. } => reader.read("secret", secret.as_str(), line).map(Proof::Psk),
        Credentials::Certificate {
            certificate,
            key,
            roots,
            revocations,
        } => {
            let chain = reader.read("certificate", certificate.as_str(), certificates);
            let key = reader.read("key", key.as_str(), private_key);
            let roots = reader.read("roots", roots.as_str(), certificates);
            let lists = revocations.as_ref();
            let lists = lists.map_or(Some(Vec::new()), |name| {
                reader.read("revocations", name.as_str(), revocation_lists)
            });
            chain
                .zip(key)
                .zip(roots.zip(lists))
                .map(|((chain, key), (roots, lists))| Proof::Certificate {
                    key,
                    chain: chain.into(),
                    roots: roots.into(),
                    revocations: lists.into(),
                })
        }
    };
    let ppk = tunnel.ppk.as_ref();
    let ppk = ppk.and_then(|ppk| reader.read("ppk", ppk.secret.as_str(), line));
    match proof {
        Some(proof) if reader.unread.is_empty() => Ok((IkeSecrets { proof, ppk }, Stamps(reader.stamps.into()))),
        Some(_) | None => Err(reader.unread),
    }
}

/// Whether our key is that of our certificate and both are fit: all that a peer would say is that our proof is wrong.
///
/// # Errors
/// Why not, for the tunnel's operator.
pub fn check(connection: &Connection) -> Result<(), String> {
    match &connection.own.proof {
        OwnProof::Psk(_) => Ok(()),
        OwnProof::Certificate { key, chain } => check_own(key, chain).map_err(|error| error.to_string()),
    }
}

/// Goes on after a file that cannot be used, so that an operator sees all of them at once.
struct Reader<'a> {
    directory: &'a Path,
    unread: Vec<Unread>,
    /// Fewer than files where one was changed just now.
    stamps: Vec<Stamp>,
}

impl Reader<'_> {
    fn read<T>(&mut self, what: &'static str, name: &str, parse: fn(&str) -> Result<T, String>) -> Option<T> {
        let read = secret_files::read_stamped(self.directory, name).map_err(|error| error.to_string());
        let text = read.map(|(text, stamp)| {
            self.stamps.extend(stamp);
            text
        });
        let path = self.directory.join(name);
        let parsed = text.and_then(|text| parse(&text).map_err(|why| format!("{}: {why}", path.display())));
        parsed.map_err(|why| self.unread.push(Unread { what, why })).ok()
    }
}

/// A pre-shared key.
fn line(text: &str) -> Result<Secret, String> {
    Ok(Secret::from(psk::from_file(text.as_bytes())))
}

fn private_key(text: &str) -> Result<Secret, String> {
    let key = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes());
    let key = key.map_err(|error| {
        format!("no private key in PKCS #8 PEM ({error}); `openssl pkcs8 -topk8 -nocrypt` makes one")
    })?;
    Ok(Secret::from(key.secret_pkcs8_der()))
}

fn certificates(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    some(
        "certificate",
        found.map(|list| list.iter().map(|one| one.to_vec()).collect()),
    )
}

fn revocation_lists(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(text.as_bytes()).collect();
    some(
        "revocation list",
        found.map(|list| list.iter().map(|one| one.to_vec()).collect()),
    )
}

fn some(what: &str, found: Result<Vec<Vec<u8>>, pem::Error>) -> Result<Vec<Vec<u8>>, String> {
    match found {
        Ok(list) if !list.is_empty() => Ok(list),
        Ok(_) => Err(format!("no {what} in PEM")),
        Err(error) => Err(format!("no {what} in PEM ({error})")),
    }
}

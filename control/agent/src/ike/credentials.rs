//! Secrets and certificates of tunnels, from the files that their statements name.

use crate::files;
use crate::paths::Paths;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivatePkcs8KeyDer};
use tombolo_config::connection::{IkeSecrets, Proof};
use tombolo_config::{Credentials, IkeTunnel, psk};
use tombolo_ike::secret::Secret;

/// Reads what a tunnel names.
///
/// # Errors
/// File and reason, for the tunnel's operator.
pub fn read(tunnel: &IkeTunnel, paths: &Paths) -> Result<IkeSecrets, String> {
    let proof = match &tunnel.credentials {
        Credentials::Psk { secret, .. } => Proof::Psk(line(paths, secret.as_str())?),
        Credentials::Certificate {
            certificate,
            key,
            roots,
            revocations,
        } => Proof::Certificate {
            key: private_key(paths, key.as_str())?,
            chain: certificates(paths, certificate.as_str())?.into(),
            roots: certificates(paths, roots.as_str())?.into(),
            revocations: match revocations {
                Some(name) => revocation_lists(paths, name.as_str())?.into(),
                None => Vec::new().into(),
            },
        },
    };
    let ppk = tunnel
        .ppk
        .as_ref()
        .map(|ppk| line(paths, ppk.secret.as_str()))
        .transpose()?;
    Ok(IkeSecrets { proof, ppk })
}

fn text(paths: &Paths, name: &str) -> Result<zeroize::Zeroizing<String>, String> {
    let path = paths.secrets.join(name);
    files::read_secret(&path).map_err(|error| format!("{}: {error}", path.display()))
}

/// A pre-shared key.
fn line(paths: &Paths, name: &str) -> Result<Secret, String> {
    Ok(Secret::from(psk::from_file(text(paths, name)?.as_bytes())))
}

fn private_key(paths: &Paths, name: &str) -> Result<Secret, String> {
    let text = text(paths, name)?;
    let key = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes());
    let key = key.map_err(|error| {
        let path = paths.secrets.join(name);
        format!(
            "{}: no private key in PKCS #8 PEM ({error}); `openssl pkcs8 -topk8 -nocrypt` makes one",
            path.display()
        )
    })?;
    Ok(Secret::from(key.secret_pkcs8_der()))
}

fn certificates(paths: &Paths, name: &str) -> Result<Vec<Vec<u8>>, String> {
    let text = text(paths, name)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    pem(
        paths,
        name,
        "certificate",
        found.map(|list| list.iter().map(|one| one.to_vec()).collect()),
    )
}

fn revocation_lists(paths: &Paths, name: &str) -> Result<Vec<Vec<u8>>, String> {
    let text = text(paths, name)?;
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(text.as_bytes()).collect();
    pem(
        paths,
        name,
        "revocation list",
        found.map(|list| list.iter().map(|one| one.to_vec()).collect()),
    )
}

fn pem(
    paths: &Paths,
    name: &str,
    what: &str,
    found: Result<Vec<Vec<u8>>, rustls_pki_types::pem::Error>,
) -> Result<Vec<Vec<u8>>, String> {
    let path = paths.secrets.join(name);
    match found {
        Ok(list) if !list.is_empty() => Ok(list),
        Ok(_) => Err(format!("{}: no {what} in PEM", path.display())),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

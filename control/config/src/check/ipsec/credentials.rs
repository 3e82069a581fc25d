//! What proves both identities.

use super::Stated;
use crate::model::{Credentials, IkePpk};
use crate::problem::Problems;
use crate::raw::RawIpsecTunnel;

/// Either `secret`, or `certificate` with `key` and `roots`. `None` means that a problem was noted.
pub(super) fn resolve(stated: &Stated<'_>, problems: &mut Problems) -> Option<Credentials> {
    let raw = stated.raw;
    let hint = "give `secret: file:NAME`, or `certificate`, `key` and `roots`";
    let parts = [&raw.certificate, &raw.key, &raw.roots, &raw.revocations];
    match (&raw.secret, parts.into_iter().flatten().next()) {
        (Some(secret), None) => {
            if let Some(spiffe) = &raw.remote_spiffe {
                problems.add(
                    spiffe.place,
                    "a SPIFFE ID stands in a certificate, and this tunnel has a secret",
                );
                return None;
            }
            Some(Credentials::Psk {
                secret: secret.value.clone(),
                allow_short: raw.allow_short_secret.as_ref().is_some_and(|at| at.value),
            })
        }
        (None, Some(first)) => {
            let (Some(certificate), Some(key), Some(roots)) = (&raw.certificate, &raw.key, &raw.roots) else {
                problems.hint(first.place, "a certificate needs its key and the peer's roots", hint);
                return None;
            };
            if let Some(short) = &raw.allow_short_secret {
                problems.add(short.place, "'allow-short-secret' goes with 'secret'");
            }
            Some(Credentials::Certificate {
                certificate: certificate.value.clone(),
                key: key.value.clone(),
                roots: roots.value.clone(),
                revocations: raw.revocations.as_ref().map(|at| at.value.clone()),
            })
        }
        (Some(_), Some(other)) => {
            problems.hint(
                other.place,
                "a tunnel proves itself by a secret or by a certificate, not by both",
                hint,
            );
            None
        }
        (None, None) => {
            problems.hint(raw.place, "the tunnel proves nothing to its peer", hint);
            None
        }
    }
}

pub(super) fn ppk(raw: &RawIpsecTunnel) -> Option<IkePpk> {
    raw.ppk.as_ref().map(|ppk| IkePpk {
        id: ppk.id.value.0.clone(),
        secret: ppk.secret.value.clone(),
        required: ppk.required.as_ref().is_none_or(|at| at.value),
    })
}

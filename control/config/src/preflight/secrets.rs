//! Whether the secrets that a tunnel names let it come up: what can be known before the peer sees them.

use super::{Finding, Verdict};
use crate::connection::{self, IkeSecrets, Proof, connection};
use crate::model::{IkeTunnel, Remote, Tunnel};
use crate::psk;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tombolo_ike::auth::certificate::Certificate;
use tombolo_ike::auth::certificate_error::{CertificateError, Holder, date};
use tombolo_ike::auth::chain::{Ends, Trust, check_trust, ends_at, lists_end_at, verify_chain};
use tombolo_ike::auth::check_own;
use tombolo_ike::auth::endings::endings;
use tombolo_ike::auth::error::AuthError;
use tombolo_ike::connection::{Connection, OwnProof, PeerProof};
use tombolo_ike::identity::Identity;
use tombolo_ike::secret::Secret;

/// Looks at the secrets of a tunnel, at this time (seconds since 1970).
pub fn secrets(tunnel: &Tunnel, secrets: &IkeSecrets, unix: u64) -> Vec<Finding> {
    let Some(ike) = tunnel.ike() else {
        return Vec::new();
    };
    let mut findings = match &secrets.proof {
        Proof::Psk(key) => vec![of(
            "secret",
            psk::check(ike, key.expose()).map(|()| "as the peer wants it".into()),
        )],
        Proof::Certificate { .. } => Vec::new(),
    };
    match connection::ppk(ike, secrets) {
        Ok(None) => {}
        Ok(Some(_)) => findings.push(Finding::good("ppk", "long enough")),
        Err(why) => findings.push(of("ppk", Err(why))),
    }
    // DNS is not asked here: any address will do.
    let anywhere: IpAddr = match tunnel.local.is_ipv6() {
        true => Ipv6Addr::LOCALHOST.into(),
        false => Ipv4Addr::LOCALHOST.into(),
    };
    let resolved = matches!(ike.remote, Remote::Name(_)).then_some(anywhere);
    match connection(tunnel, secrets, resolved, 1) {
        Ok(connection) => findings.extend(certificates(ike, &connection, unix)),
        Err(_) if findings.iter().any(|finding| finding.verdict == Verdict::Bad) => {}
        Err(why) => findings.push(of("secret", Err(why))),
    }
    findings
}

/// Errors say themselves what to do.
fn of(about: &'static str, result: Result<String, String>) -> Finding {
    match result {
        Ok(text) => Finding::new(about, Verdict::Good, text, None),
        Err(text) => Finding::new(about, Verdict::Bad, text, None),
    }
}

fn certificates(ike: &IkeTunnel, connection: &Connection, unix: u64) -> Vec<Finding> {
    let OwnProof::Certificate { key, chain } = &connection.own.proof else {
        return Vec::new();
    };
    let PeerProof::Certificate { roots, revocations } = &connection.peer.proof else {
        return Vec::new();
    };
    let trust = Trust { roots, revocations };
    let mut findings = own(key, chain);
    findings.extend(own_dates(connection, chain, unix));
    findings.extend(own_names(ike, chain, trust, unix));
    findings.extend(trusted(connection, trust, unix));
    if !findings.iter().any(|finding| finding.about == "revocations") {
        findings.extend(dates_of_lists(connection, revocations, unix));
    }
    findings
}

/// Our key and our certificates as such.
fn own(key: &Secret, chain: &[Vec<u8>]) -> Vec<Finding> {
    let Err(error) = check_own(key, chain) else {
        return vec![Finding::good("key", "that of the certificate")];
    };
    let is_of_key = matches!(error, AuthError::PrivateKey(_) | AuthError::OtherPrivateKey(_));
    let about = if is_of_key { "key" } else { "certificate" };
    vec![of(about, Err(error.to_string()))]
}

/// The peer refuses a chain of which one certificate is over, or still to come.
fn own_dates(connection: &Connection, chain: &[Vec<u8>], unix: u64) -> Vec<Finding> {
    let Some(first) = ends_at(chain) else {
        return Vec::new();
    };
    let mut own = connection.clone();
    own.peer.proof = PeerProof::Psk(Secret::new(Vec::new()));
    let mut findings = told("certificate", &own, first.unix < unix, unix);
    findings.extend(
        chain
            .iter()
            .filter_map(|der| not_begun(der, Holder::Own, unix))
            .map(|why| {
                let hint = "check the clock here, or wait".to_owned();
                Finding::new("certificate", Verdict::Bad, why, Some(hint))
            }),
    );
    if findings.is_empty() {
        findings.push(Finding::good("certificate", good_until(&first)));
    }
    findings
}

/// What the peer finds, too, if it has the same roots and lists as we; of other roots nothing is known here.
fn own_names(ike: &IkeTunnel, chain: &[Vec<u8>], trust: Trust<'_>, unix: u64) -> Option<Finding> {
    let identity = &ike.own_identity;
    let error = verify_chain(chain, trust, identity, None, unix).err()?;
    if let CertificateError::Names { identity: said, names } = &error
        && !matches!(identity, Identity::KeyId(_))
    {
        let text = format!(
            "we say that we are {said}, and our certificate names {}",
            names.join(", ")
        );
        let hint = "set `local-id` to a name of the certificate, or have it issued again with that name";
        return Some(Finding::bad("certificate", text, hint));
    }
    if let CertificateError::Revoked(_) = &error {
        let text = "our own certificate, or one above it, is revoked by our revocation list";
        return Some(Finding::bad("certificate", text, "get a new one"));
    }
    if let CertificateError::ListExpired { .. } = &error {
        return Some(of("revocations", Err(error.to_string())));
    }
    None
}

/// Roots and revocation lists.
fn trusted(connection: &Connection, trust: Trust<'_>, unix: u64) -> Vec<Finding> {
    let mut findings = Vec::new();
    for root in trust.roots {
        let alone = Trust {
            roots: std::slice::from_ref(root),
            revocations: &[],
        };
        if let Err(error) = check_trust(alone) {
            // One of several that nobody needs does no harm, unless it cannot be read at all.
            let is_fatal = trust.roots.len() == 1 || matches!(error, CertificateError::Malformed { .. });
            let verdict = if is_fatal { Verdict::Bad } else { Verdict::Note };
            findings.push(Finding::new("roots", verdict, error.to_string(), None));
        }
    }
    let lists = Trust {
        roots: &[],
        revocations: trust.revocations,
    };
    if let Err(error) = check_trust(lists) {
        findings.push(of("revocations", Err(error.to_string())));
    }
    findings.extend(dates_of_roots(connection, trust.roots, unix));
    findings
}

/// With one root that is valid the peer may still be proven.
fn dates_of_roots(connection: &Connection, roots: &[Vec<u8>], unix: u64) -> Vec<Finding> {
    let Some(first) = ends_at(roots) else {
        return Vec::new();
    };
    let is_over = |root: &Vec<u8>| ends_at(std::slice::from_ref(root)).is_none_or(|ends| ends.unix < unix);
    let theirs = trusting(connection, roots, &[]);
    let mut findings = told("roots", &theirs, roots.iter().all(is_over), unix);
    let to_come: Vec<String> = roots
        .iter()
        .filter_map(|der| not_begun(der, Holder::Root, unix))
        .collect();
    let verdict = if to_come.len() == roots.len() {
        Verdict::Bad
    } else {
        Verdict::Note
    };
    let hint = || Some("check the clock here, or wait".to_owned());
    findings.extend(
        to_come
            .into_iter()
            .map(|why| Finding::new("roots", verdict, why, hint())),
    );
    if findings.is_empty() {
        findings.push(Finding::good("roots", good_until(&first)));
    }
    findings
}

/// A list that is over proves nobody: all peers are refused.
fn dates_of_lists(connection: &Connection, lists: &[Vec<u8>], unix: u64) -> Vec<Finding> {
    let is_over = lists_end_at(lists).is_some_and(|ends| ends < unix);
    told("revocations", &trusting(connection, &[], lists), is_over, unix)
}

/// The same tunnel with these files alone.
fn trusting(connection: &Connection, roots: &[Vec<u8>], revocations: &[Vec<u8>]) -> Connection {
    let mut theirs = connection.clone();
    theirs.own.proof = OwnProof::Psk(Secret::new(Vec::new()));
    theirs.peer.proof = PeerProof::Certificate {
        roots: roots.into(),
        revocations: revocations.into(),
    };
    theirs
}

/// What `tombolod` would warn of; the name of the tunnel stands beside it already.
fn told(about: &'static str, connection: &Connection, is_over: bool, unix: u64) -> Vec<Finding> {
    let verdict = if is_over { Verdict::Bad } else { Verdict::Note };
    let tunnel = format!("tunnel {}: ", connection.name);
    let lines = endings(connection, unix).into_iter();
    lines
        .map(|line| line.strip_prefix(&tunnel).map(str::to_owned).unwrap_or(line))
        .map(|line| Finding::new(about, verdict, line, None))
        .collect()
}

fn not_begun(der: &[u8], holder: Holder, unix: u64) -> Option<String> {
    let certificate = Certificate::parse(der, holder).ok()?;
    let begins = certificate.begins();
    (unix < begins).then(|| format!("{} begins on {}", certificate.named(), date(begins)))
}

fn good_until(first: &Ends) -> String {
    format!("{} ends first, on {}", first.subject, date(first.unix))
}

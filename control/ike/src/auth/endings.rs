//! Certificates and revocation lists that end soon, in an operator's words: without a new one the tunnel cannot be negotiated again.

use super::certificate_error::date;
use super::chain::{Ends, ends_at, lists_end_at};
use crate::connection::{Connection, OwnProof, PeerProof};

const DAY: u64 = 86_400;
/// So long before its end a certificate is worth a word.
const AHEAD: u64 = 30 * DAY;
/// The same of a revocation list: it lives for days, and is fetched by a machine.
const LIST_AHEAD: u64 = DAY;

/// What to say at this time (seconds since 1970) of the files that a tunnel is configured with: of our own chain, of the roots and of the
/// revocation lists, the one that ends first. The text changes once a day.
pub fn endings(connection: &Connection, unix: u64) -> Vec<String> {
    let own = match &connection.own.proof {
        OwnProof::Certificate { chain, .. } => ends_at(chain),
        OwnProof::Psk(_) => None,
    };
    let (root, list) = match &connection.peer.proof {
        PeerProof::Certificate { roots, revocations } => (ends_at(roots), lists_end_at(revocations)),
        PeerProof::Psk(_) => (None, None),
    };
    let name = &connection.name;
    let certificate = |whose: &str, ends: Ends| {
        let what = format!("tunnel {name}: {whose} {}", ends.subject);
        soon(
            &what,
            ends.unix,
            unix,
            ahead(ends.since, ends.unix),
            "replace its file, nothing needs a restart",
        )
    };
    let own = own.and_then(|ends| certificate("our certificate", ends));
    let root = root.and_then(|ends| certificate("the root", ends));
    let list = list.and_then(|ends| {
        let what = format!("tunnel {name}: a revocation list");
        soon(
            &what,
            ends,
            unix,
            LIST_AHEAD,
            "put the current one in its place, nobody is believed without",
        )
    });
    [own, root, list].into_iter().flatten().collect()
}

/// The same of the certificate that the peer of a tunnel showed when it proved itself: its first and last second since 1970. The peer may have
/// another by now.
pub(crate) fn ending_of_peer(tunnel: &str, (since, ends): (u64, u64), unix: u64) -> Option<String> {
    let what = format!("tunnel {tunnel}: the certificate that the peer showed");
    let advice = "it needs a new one before it negotiates again";
    soon(&what, ends, unix, ahead(since, ends), advice)
}

fn ahead(since: u64, ends: u64) -> u64 {
    AHEAD.min(ends.saturating_sub(since) / 3)
}

fn soon(what: &str, ends: u64, unix: u64, ahead: u64, advice: &str) -> Option<String> {
    let end = date(ends);
    match ends.checked_sub(unix) {
        Some(left) if left > ahead => None,
        Some(left) => Some(format!("{what} ends in {} days ({end}): {advice}", left / DAY)),
        None => Some(format!("{what} has ended ({end}): {advice}")),
    }
}

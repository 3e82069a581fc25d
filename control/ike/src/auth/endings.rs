//! Certificates that end soon, in an operator's words: without a new one the tunnel cannot be negotiated again.

use super::certificate_error::date;
use super::chain::ends_at;
use crate::connection::{Connection, OwnProof, PeerProof};

const DAY: u64 = 86_400;
/// So long before its end a certificate is worth a word.
const AHEAD: u64 = 30 * DAY;

/// What to say at this time (seconds since 1970) of the certificates that a tunnel is configured with: of our own chain, and of the roots, the one
/// that ends first. The text changes once a day.
pub fn endings(connection: &Connection, unix: u64) -> Vec<String> {
    let own = match &connection.own.proof {
        OwnProof::Certificate { chain, .. } => ends_at(chain),
        OwnProof::Psk(_) => None,
    };
    let root = match &connection.peer.proof {
        PeerProof::Certificate { roots, .. } => ends_at(roots),
        PeerProof::Psk(_) => None,
    };
    let whose = [("our certificate", own), ("the root", root)];
    let soon = whose.into_iter().filter_map(|(whose, ends)| Some((whose, ends?)));
    soon.filter(|(_, ends)| ends.unix <= unix.saturating_add(AHEAD))
        .map(|(whose, ends)| {
            let (tunnel, subject, end) = (&connection.name, ends.subject, date(ends.unix));
            match ends.unix.checked_sub(unix) {
                Some(left) => {
                    let days = left / DAY;
                    format!("tunnel {tunnel}: {whose} {subject} ends in {days} days ({end}): replace its file, nothing needs a restart")
                }
                None => format!("tunnel {tunnel}: {whose} {subject} has ended ({end}): replace its file, nothing needs a restart"),
            }
        })
        .collect()
}

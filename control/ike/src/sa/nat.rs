//! Which side is behind a NAT (RFC 7296 §2.23), and where datagrams go.

use super::payloads::notifies;
use crate::connection::Path;
use crate::crypto::nat_detection::nat_detection_hash;
use crate::wire::{Notify, Payload, notify};
use serde::{Deserialize, Serialize};

/// UDP port of IKE.
pub(crate) const IKE_PORT: u16 = 500;
/// UDP port of IKE and ESP behind a NAT.
pub(crate) const NAT_PORT: u16 = 4500;

/// What the two hashes said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nat {
    /// Our address is translated.
    pub here: bool,
    /// The peer's is.
    pub there: bool,
}

impl Nat {
    /// Whether any is.
    pub fn any(self) -> bool {
        self.here || self.there
    }
}

/// Both notifications, for a message on this path. With `force`, the source is said wrong, so that the peer takes us for translated and
/// encapsulates ESP in UDP.
pub(crate) fn notifications(spis: (u64, u64), path: Path, force: bool) -> [Payload; 2] {
    let hash = |end| nat_detection_hash(spis.0, spis.1, end);
    let mut source = hash(path.local);
    if force {
        source = source.map(|byte| !byte);
    }
    [
        (notify::NAT_DETECTION_SOURCE_IP, source),
        (notify::NAT_DETECTION_DESTINATION_IP, hash(path.remote)),
    ]
    .map(|(kind, hash)| Payload::Notify(Notify::new(kind, &hash)))
}

/// What the peer's notifications say of the path that they came by. None without them: the peer knows no NAT traversal.
pub(crate) fn detect(payloads: &[Payload], spis: (u64, u64), path: Path) -> Option<Nat> {
    // A sender with several addresses sends a hash for each (§2.23).
    let said = |kind, end| {
        let expected = nat_detection_hash(spis.0, spis.1, end);
        let mut hashes = notifies(payloads).filter(|notify| notify.kind == kind).peekable();
        hashes.peek()?;
        Some(hashes.any(|notify| notify.data == expected))
    };
    Some(Nat {
        here: !said(notify::NAT_DETECTION_DESTINATION_IP, path.local)?,
        there: !said(notify::NAT_DETECTION_SOURCE_IP, path.remote)?,
    })
}

/// The path with both ports 4500, or as it is if it left port 500 already.
pub(crate) fn on_nat_port(path: Path) -> Path {
    let mut path = path;
    if path.local.port() == IKE_PORT {
        path.local.set_port(NAT_PORT);
        path.remote.set_port(NAT_PORT);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(local: &str, remote: &str) -> Path {
        Path {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
        }
    }

    #[test]
    fn a_translation_is_seen_by_the_side_that_it_is_on() {
        let spis = (1, 2);
        let sent = notifications(spis, path("10.0.0.1:500", "198.51.100.1:500"), false);
        let straight = path("198.51.100.1:500", "10.0.0.1:500");
        assert_eq!(detect(&sent, spis, straight), Some(Nat::default()));
        let masqueraded = path("198.51.100.1:500", "192.0.2.9:1025");
        let seen = detect(&sent, spis, masqueraded).unwrap();
        assert_eq!((seen.here, seen.there), (false, true));
        let forwarded = path("10.9.9.9:500", "10.0.0.1:500");
        let seen = detect(&sent, spis, forwarded).unwrap();
        assert_eq!((seen.here, seen.there), (true, false));
        assert_eq!(detect(&[], spis, straight), None);
        let forced = notifications(spis, path("10.0.0.1:500", "198.51.100.1:500"), true);
        assert!(detect(&forced, spis, straight).unwrap().there);
    }
}

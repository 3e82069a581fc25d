//! What one step may use, and what it leaves behind.

use super::child::ChildSa;
use super::child_spis::ChildSpis;
use super::{IkeSa, SaId};
use crate::connection::{Connection, Path};
use crate::failure::Failure;
use crate::now::Now;
use crate::random::Random;
use crate::wire::Nonce;
use std::collections::BTreeMap;
use std::sync::Arc;

/// All tunnels, by name.
pub(crate) type Connections = BTreeMap<String, Arc<Connection>>;

/// A datagram to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// From where to where.
    pub path: Path,
    /// An IKE message; the non-ESP marker of port 4500 is not in it. One byte 0xff is a NAT keepalive (RFC 3948 §2.3), which has no marker.
    pub bytes: Vec<u8>,
}

/// News for the operator's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// The tunnel; none where the peer is not known yet.
    pub connection: Option<String>,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// An IKE SA is up: with whom.
    Established {
        /// The peer's identity.
        peer: String,
    },
    /// An IKE SA was replaced.
    IkeRekeyed,
    /// An IKE SA could not be replaced; it is tried again.
    RekeyFailed {
        /// Why.
        why: Failure,
    },
    /// A child SA is up.
    ChildUp {
        /// Its name.
        child: String,
    },
    /// A child SA was replaced.
    ChildRekeyed {
        /// Its name.
        child: String,
    },
    /// A child SA was refused or ended.
    ChildFailed {
        /// Its name.
        child: String,
        /// Why.
        why: Failure,
    },
    /// An IKE SA ended, or did not come up.
    Ended {
        /// Why.
        why: Failure,
    },
    /// The peer is at another address now.
    Moved {
        /// The new path.
        path: Path,
    },
}

/// What one step may use, and what it leaves.
pub(crate) struct Step<'a> {
    pub(crate) now: Now,
    pub(crate) random: &'a mut dyn Random,
    pub(crate) connections: &'a Connections,
    /// Inbound SPIs of all child SAs, and whose they are: SPIs are unique in the gateway.
    pub(crate) child_spis: &'a mut ChildSpis,
    pub(crate) transmits: &'a mut Vec<Transmit>,
    pub(crate) news: &'a mut Vec<News>,
    /// IKE SAs that this step made.
    pub(crate) spawned: &'a mut Vec<IkeSa>,
    /// Children handed over to another IKE SA, which is the current one from then on.
    pub(crate) bequests: &'a mut Vec<(SaId, Vec<ChildSa>)>,
    /// Ids of IKE SAs: the next free one.
    pub(crate) next_id: &'a mut u64,
    /// No other IKE SA with this peer is known of (RFC 7296 §2.4).
    pub(crate) is_alone: bool,
}

impl Step<'_> {
    /// Sends datagrams once what they rest on is stored.
    pub(crate) fn send(&mut self, path: Path, datagrams: &[Vec<u8>]) {
        let transmits = datagrams.iter().map(|bytes| Transmit {
            path,
            bytes: bytes.clone(),
        });
        self.transmits.extend(transmits);
    }

    /// Tells the operator.
    pub(crate) fn tell(&mut self, connection: Option<&str>, what: What) {
        let connection = connection.map(str::to_owned);
        self.news.push(News { connection, what });
    }

    /// A new id.
    pub(crate) fn id(&mut self) -> SaId {
        let id = SaId(*self.next_id);
        *self.next_id += 1;
        id
    }

    /// A fresh SPI for an IKE SA. 64 random bits do not meet twice.
    pub(crate) fn ike_spi(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes);
        u64::from_be_bytes(bytes).max(1)
    }

    /// A fresh inbound SPI, reserved for an IKE SA. Values up to 255 are reserved (RFC 4303 §2.1).
    pub(crate) fn child_spi(&mut self, owner: SaId) -> u32 {
        loop {
            let mut bytes = [0; 4];
            self.random.fill(&mut bytes);
            let spi = u32::from_be_bytes(bytes);
            if spi > 255 && self.child_spis.owner(spi).is_none() {
                self.child_spis.give(spi, owner);
                return spi;
            }
        }
    }

    /// A nonce (RFC 7296 §2.10): at least half the key size of the PRF; 32 bytes are enough for all of ours.
    pub(crate) fn nonce(&mut self) -> Nonce {
        let mut bytes = vec![0; 32];
        self.random.fill(&mut bytes);
        Nonce::new(bytes).expect("a nonce has 16 to 256 bytes")
    }

    /// A moment between `least` and twice that from now, in milliseconds: for a second try that shall not meet the peer's again.
    pub(crate) fn soon(&mut self, least_ms: u64) -> crate::now::Milliseconds {
        self.now.monotonic.after(least_ms + self.random.below(least_ms))
    }
}

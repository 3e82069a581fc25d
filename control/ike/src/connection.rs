//! What an operator wants of one tunnel, as the core needs it: everything is decided, nothing is a default.

use crate::identity::Identity;
use crate::secret::Secret;
use crate::selector::Selector;
use crate::transform::{EspProposal, IkeProposal};
use core::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// One tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The operator's name of the tunnel.
    pub name: String,
    /// What the operator's messages call the other side: "AWS", "Azure", ….
    pub peer_kind: &'static str,
    /// What to set there so that both agree on algorithms.
    pub policy: &'static str,
    /// Own outer address.
    pub local: IpAddr,
    /// The peer's outer address; none = any peer that proves its identity (responder only).
    pub remote: Option<IpAddr>,
    /// Sends IKE_SA_INIT by itself, and again after every end.
    pub initiate: bool,
    /// Uses UDP 4500 from the first message on (RFC 7296 §2.23).
    pub start_on_4500: bool,
    /// Encapsulates ESP in UDP even where no NAT was found.
    pub force_udp: bool,
    /// How we prove who we are.
    pub own: Own,
    /// Whom we accept.
    pub peer: Peer,
    /// Best first.
    pub ike_proposals: Vec<IkeProposal>,
    /// Child SAs that are always wanted.
    pub children: Vec<Child>,
    /// Of the IKE SA.
    pub ike_lifetime: Lifetime,
    /// Silence in milliseconds after which a liveness check is sent.
    pub dpd_delay_ms: u64,
    /// Time in milliseconds from the first unanswered message until the peer is dead.
    pub dpd_timeout_ms: u64,
    /// Largest IKE datagram in bytes, IP header included (RFC 7383 §2.5.1).
    pub fragment_bytes: u16,
    /// Post-quantum pre-shared key (RFC 8784).
    pub ppk: Option<Ppk>,
    /// Workers that seal: offers one child SA for each (RFC 9611); 0 or 1 = none.
    pub per_worker_children: u16,
}

impl Connection {
    /// Whether we make several child SAs for the same traffic if the peer does (RFC 9611).
    pub(crate) fn shares(&self) -> bool {
        self.per_worker_children > 1
    }
}

/// How we prove who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// IDi or IDr.
    pub identity: Identity,
    /// The proof.
    pub proof: OwnProof,
}

/// The proof of our identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnProof {
    /// Pre-shared key.
    Psk(Secret),
    /// Private key (PKCS #8, DER) and certificate chain (DER, own first).
    Certificate {
        /// PKCS #8.
        key: Secret,
        /// DER, own first.
        chain: Arc<[Vec<u8>]>,
    },
}

/// Whom we accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Exactly this identity; none = any that the certificate proves.
    pub identity: Option<Identity>,
    /// A SPIFFE ID that the certificate must bear as its URI name.
    pub spiffe: Option<String>,
    /// What proves it.
    pub proof: PeerProof,
}

/// What proves the peer's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerProof {
    /// The same pre-shared key.
    Psk(Secret),
    /// A certificate that leads to one of these roots (DER).
    Certificate {
        /// DER of roots.
        roots: Arc<[Vec<u8>]>,
        /// DER of revocation lists.
        revocations: Arc<[Vec<u8>]>,
    },
}

/// Post-quantum pre-shared key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ppk {
    /// PPK_ID, with its type byte left out: type 2 (PPK_ID_FIXED).
    pub id: Vec<u8>,
    /// The key.
    pub key: Secret,
    /// Refuse a peer without it.
    pub required: bool,
}

/// A child SA that is always wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// Its name; unique in the connection.
    pub name: String,
    /// Best first.
    pub proposals: Vec<EspProposal>,
    /// Our side.
    pub local: Vec<Selector>,
    /// The peer's side.
    pub remote: Vec<Selector>,
    /// When to rekey.
    pub lifetime: Lifetime,
    /// Also by volume; 0 = not.
    pub bytes_max: u64,
    /// Also by count; 0 = not.
    pub packets_max: u64,
}

/// When an SA is replaced, and when it ends for good. The moment of rekeying is drawn from
/// `rekey_ms - fuzz_ms ..= rekey_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Latest rekeying after establishment.
    pub rekey_ms: u64,
    /// Drawn off it.
    pub fuzz_ms: u64,
    /// End, rekeyed or not.
    pub hard_ms: u64,
}

/// Both ends of the path of an IKE SA and its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Path {
    /// Own address and port.
    pub local: SocketAddr,
    /// The peer's address and port, as seen from here.
    pub remote: SocketAddr,
}

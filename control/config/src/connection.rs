//! From a tunnel of the configuration and the secrets that were read for it to what the IKE core runs on: a pure function.

use crate::model::{IkeTunnel, Remote, Tunnel};
use crate::profile::profile;
use crate::psk;
use crate::value::Prefix;
use core::net::IpAddr;
use std::sync::Arc;
use tombolo_ike::connection::{Child, Connection, Own, OwnProof, Peer, PeerProof, Ppk};
use tombolo_ike::secret::Secret;
use tombolo_ike::selector::Selector;

/// What the files say that a tunnel names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkeSecrets {
    /// Of both identities.
    pub proof: Proof,
    /// Post-quantum pre-shared key, where the tunnel names one.
    pub ppk: Option<Secret>,
}

/// What proves both identities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// One key for both.
    Psk(Secret),
    /// Certificates in DER.
    Certificate {
        /// PKCS #8.
        key: Secret,
        /// Own first.
        chain: Arc<[Vec<u8>]>,
        /// Of the peer.
        roots: Arc<[Vec<u8>]>,
        /// Revocation lists.
        revocations: Arc<[Vec<u8>]>,
    },
}

/// The connection of a tunnel. `resolved` is what DNS says now, for a peer with a name; `workers` seal.
///
/// # Errors
/// Why the tunnel stays down, for its operator: a secret that is unfit, a name without an address of the right family.
pub fn connection(
    tunnel: &Tunnel,
    secrets: &IkeSecrets,
    resolved: Option<IpAddr>,
    workers: u16,
) -> Result<Connection, String> {
    let ike = tunnel.ike().ok_or("the tunnel has manual keys")?;
    let (own, peer) = proofs(ike, &secrets.proof)?;
    let profile = profile(ike.profile)?;
    Ok(Connection {
        name: tunnel.name.to_string(),
        peer_kind: &profile.peer,
        policy: profile.policy.trim(),
        local: tunnel.local,
        remote: remote(tunnel, ike, resolved)?,
        initiate: ike.initiate,
        start_on_4500: ike.start_on_4500,
        force_udp: ike.force_udp,
        own: Own {
            identity: ike.own_identity.clone(),
            proof: own,
        },
        peer: Peer {
            identity: ike.peer_identity.clone(),
            spiffe: ike.peer_spiffe.clone(),
            proof: peer,
        },
        ike_proposals: ike.ike_proposals.clone(),
        children: children(ike),
        ike_lifetime: ike.ike_lifetime,
        dpd_delay_ms: ike.dpd_delay_ms,
        dpd_timeout_ms: ike.dpd_timeout_ms,
        fragment_bytes: ike.fragment_bytes,
        ppk: ppk(ike, secrets)?,
        per_worker_children: if ike.per_worker { workers } else { 0 },
    })
}

fn remote(tunnel: &Tunnel, ike: &IkeTunnel, resolved: Option<IpAddr>) -> Result<Option<IpAddr>, String> {
    match &ike.remote {
        Remote::Address(address) => Ok(Some(*address)),
        Remote::Any => Ok(None),
        Remote::Name(name) => match resolved {
            Some(address) if address.is_ipv6() == tunnel.local.is_ipv6() => Ok(Some(address)),
            Some(address) => Err(format!(
                "{name} is {address}, of another address family than {}",
                tunnel.local
            )),
            None => Err(format!("DNS has no address for {name}")),
        },
    }
}

fn proofs(ike: &IkeTunnel, proof: &Proof) -> Result<(OwnProof, PeerProof), String> {
    match proof {
        Proof::Psk(key) => {
            psk::check(ike, key.expose())?;
            Ok((OwnProof::Psk(key.clone()), PeerProof::Psk(key.clone())))
        }
        Proof::Certificate {
            key,
            chain,
            roots,
            revocations,
        } => {
            if chain.is_empty() || roots.is_empty() {
                return Err("a certificate needs itself and a root of the peer's".into());
            }
            let own = OwnProof::Certificate {
                key: key.clone(),
                chain: chain.clone(),
            };
            let peer = PeerProof::Certificate {
                roots: roots.clone(),
                revocations: revocations.clone(),
            };
            Ok((own, peer))
        }
    }
}

pub(crate) fn ppk(ike: &IkeTunnel, secrets: &IkeSecrets) -> Result<Option<Ppk>, String> {
    match (&ike.ppk, &secrets.ppk) {
        (None, _) => Ok(None),
        // RFC 8784 §6.1 asks for 256 bits of entropy.
        (Some(_), Some(key)) if key.len() < 32 => Err(format!(
            "the ppk has {} bytes, and it needs 32 so that a quantum computer does not guess it: make a longer one",
            key.len()
        )),
        (Some(ppk), Some(key)) => Ok(Some(Ppk {
            id: ppk.id.as_bytes().to_vec(),
            key: key.clone(),
            required: ppk.required,
        })),
        (Some(_), None) => Err("the ppk was not read".into()),
    }
}

fn children(ike: &IkeTunnel) -> Vec<Child> {
    let side = |prefixes: &[Prefix]| prefixes.iter().map(selector).collect();
    let child = |child: &crate::model::IkeChild| Child {
        name: child.name.to_string(),
        proposals: ike.esp_proposals.clone(),
        local: side(&child.local),
        remote: side(&child.remote),
        lifetime: ike.child_lifetime,
        bytes_max: ike.child_bytes_max,
        packets_max: ike.child_packets_max,
    };
    ike.children.iter().map(child).collect()
}

/// Any protocol, any port.
fn selector(prefix: &Prefix) -> Selector {
    Selector {
        first: prefix.address(),
        last: prefix.last(),
        protocol: 0,
        first_port: 0,
        last_port: u16::MAX,
    }
}

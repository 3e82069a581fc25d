//! What IKE_SA_INIT left: keys, and what both sides will sign.

use super::IkeSa;
use super::channel::{Channel, Plain};
use super::features::Features;
use super::nat::Nat;
use crate::auth::octets::{IntermediateAuth, Octets, Side};
use crate::connection::Connection;
use crate::crypto::ike_keys::{IkeKeys, Public};
use crate::protect;
use crate::secret::Secret;
use crate::wire::{IdBody, Nonce};
use serde::{Deserialize, Serialize};

/// An IKE SA whose peer has not proven anything yet.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Begun {
    pub(crate) channel: Channel,
    pub(crate) nonce_i: Nonce,
    pub(crate) nonce_r: Nonce,
    /// The datagrams of IKE_SA_INIT: what AUTH covers.
    pub(crate) init_request: Vec<u8>,
    pub(crate) init_response: Vec<u8>,
    /// None: the peer knows no NAT traversal.
    pub(crate) nat: Option<Nat>,
    pub(crate) features: Features,
    /// What the messages of IKE_INTERMEDIATE add to AUTH (RFC 9242 §3.3).
    pub(crate) intermediate: IntermediateAuth,
    /// A post-quantum pre-shared key is mixed in.
    pub(crate) ppk_used: bool,
    /// First and last second, since 1970, of the certificate that the peer has shown.
    pub(crate) peer_ends: Option<(u64, u64)>,
}

impl Begun {
    /// Takes a message of IKE_INTERMEDIATE into what AUTH covers: header, first payload and payloads as they were sealed.
    pub(crate) fn cover(&mut self, from: Side, plain: &Plain<'_>) {
        let (prf, keys) = (self.channel.suite.prf, &self.channel.keys);
        let key = match from {
            Side::Initiator => &keys.pi,
            Side::Responder => &keys.pr,
        };
        self.intermediate
            .add(from, prf, key.expose(), plain.header, plain.first, plain.bytes);
    }

    /// Mixes an additional shared secret in (RFC 9370 §2.2.2).
    pub(crate) fn mix(&mut self, sa: &IkeSa, shared: &Secret) {
        let (spi_i, spi_r) = sa.spis();
        let public = Public {
            nonce_i: self.nonce_i.bytes(),
            nonce_r: self.nonce_r.bytes(),
            spi_i,
            spi_r,
        };
        let keys = IkeKeys::intermediate(&self.channel.suite, &self.channel.keys.d, shared, public);
        self.channel.rekeyed(keys);
    }

    /// What the AUTH payload of one side covers (RFC 7296 §2.15). `keys` are those that are in force at IKE_AUTH, mixed with the PPK where one is
    /// used.
    pub(crate) fn octets(&self, side: Side, identity: &IdBody, message_id: u32, keys: &IkeKeys) -> Vec<u8> {
        let (message, nonce, key) = match side {
            Side::Initiator => (&self.init_request, &self.nonce_r, &keys.pi),
            Side::Responder => (&self.init_response, &self.nonce_i, &keys.pr),
        };
        let octets = Octets {
            message,
            peer_nonce: nonce.bytes(),
            identity,
            intermediate: &self.intermediate.octets(message_id),
        };
        octets.signed(self.channel.suite.prf, key.expose())
    }

    /// What follows from both sides' features and the configuration.
    pub(crate) fn settle(&mut self, sa: &IkeSa, connection: &Connection) {
        // On port 4500 there is a marker; room for it is always left.
        let most = protect::message_bytes_max(connection.fragment_bytes, sa.path.remote.ip(), true);
        self.channel.datagram_bytes_max = self.features.fragmentation.then_some(most);
    }
}

//! The octets that AUTH covers: own first message, the peer's nonce, own identity, and IKE_INTERMEDIATE if there was one.

use crate::transform::Prf;
use crate::wire::{HEADER_BYTES, IdBody, kind};
use serde::{Deserialize, Serialize};

/// What one side signs, but for the key that stands for its identity: SK_pi or SK_pr.
#[derive(Clone, Copy, Debug)]
pub struct Octets<'a> {
    /// The IKE_SA_INIT message that the signing side sent, from its header on, without the non-ESP marker. With cookies or another
    /// group it is the last one that was sent.
    pub message: &'a [u8],
    /// Nonce of the other side, without the payload header.
    pub peer_nonce: &'a [u8],
    /// The signing side's identity, as it was sent.
    pub identity: &'a IdBody,
    /// `IntermediateAuth::octets` of both sides; empty without IKE_INTERMEDIATE.
    pub intermediate: &'a [u8],
}

impl Octets<'_> {
    /// The octets to sign (RFC 7296 §2.15, RFC 9242 §3.3.2). `sk_p` is the signing side's SK_pi or SK_pr: with a PPK mixed in for
    /// AUTH, without for NO_PPK_AUTH (RFC 8784 §3).
    pub fn signed(&self, prf: Prf, sk_p: &[u8]) -> Vec<u8> {
        let identity = prf.mac(sk_p, &[&self.identity.bytes()]);
        [self.message, self.peer_nonce, identity.expose(), self.intermediate].concat()
    }
}

/// Which side a message came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Side {
    /// It began the IKE SA.
    Initiator,
    /// It answered.
    Responder,
}

/// What the IKE_INTERMEDIATE exchanges of an IKE SA add to the signed octets (RFC 9242 §3.3.2). One for both sides: each message
/// that was sent or received is added once, by its message id, not by its retransmissions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntermediateAuth {
    /// IntAuth_iN.
    initiator: Vec<u8>,
    /// IntAuth_rN.
    responder: Vec<u8>,
}

/// Bytes of a generic payload header (RFC 7296 §3.2).
const PAYLOAD_HEADER_BYTES: usize = 4;
/// Place of Next Payload in the header.
const NEXT: usize = 16;
/// Place of Length in the header.
const LENGTH: usize = 24;

impl IntermediateAuth {
    /// Adds one IKE_INTERMEDIATE message. `sk_p` is the sender's SK_pi or SK_pr that protected this exchange, before the exchange
    /// changed the keys. `header` is the IKE header of the message, or of any of its fragments; `first` and `plain` are the kind
    /// of the first payload inside of the Encrypted payload and the payloads, all fragments joined.
    pub fn add(&mut self, side: Side, prf: Prf, sk_p: &[u8], header: &[u8; HEADER_BYTES], first: u8, plain: &[u8]) {
        let (head, generic) = as_if_whole(header, first, plain.len());
        let before = match side {
            Side::Initiator => &mut self.initiator,
            Side::Responder => &mut self.responder,
        };
        *before = prf.mac(sk_p, &[before, &head, &generic, plain]).expose().to_vec();
    }

    /// What is signed last: both sides' results and the message id of the first IKE_AUTH. Empty if nothing was added.
    pub fn octets(&self, auth_message_id: u32) -> Vec<u8> {
        if self.initiator.is_empty() && self.responder.is_empty() {
            return Vec::new();
        }
        [&self.initiator, &self.responder, &auth_message_id.to_be_bytes()[..]].concat()
    }
}

/// The header of the message and that of its Encrypted payload as if it was neither fragmented nor encrypted: both lengths count
/// no initialization vector, padding or integrity check (RFC 9242 §3.3.2).
fn as_if_whole(header: &[u8; HEADER_BYTES], first: u8, plain_bytes: usize) -> ([u8; HEADER_BYTES], [u8; 4]) {
    let payload_bytes = PAYLOAD_HEADER_BYTES + plain_bytes;
    let mut head = *header;
    head[NEXT] = kind::ENCRYPTED;
    head[LENGTH..].copy_from_slice(&((HEADER_BYTES + payload_bytes) as u32).to_be_bytes());
    let [high, low] = (payload_bytes as u16).to_be_bytes();
    (head, [first, 0, high, low])
}

#[cfg(test)]
mod tests;

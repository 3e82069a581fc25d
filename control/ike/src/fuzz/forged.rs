//! What a peer says that has the keys of an IKE SA and means no good: sealed as it should be, and about anything. And what it hears.

use super::seal_under;
use crate::connection::Path;
use crate::endpoint::Endpoint;
use crate::protect;
use crate::sa::IkeSa;
use crate::wire::{Encrypted, Exchange, Flags, Header, Payload, encode_payloads};

/// A message of the peer's.
#[derive(Clone, Debug)]
pub struct Forged {
    /// Which of the endpoint's IKE SAs, in the order of their ids; counted round.
    pub which: usize,
    /// Its exchange.
    pub exchange: Exchange,
    /// An answer to our request under way, or a request.
    pub is_response: bool,
    /// How far its message id is from the one that is due.
    pub off: i8,
    /// What it says.
    pub inside: Inside,
}

/// What is sealed.
#[derive(Clone, Debug)]
pub enum Inside {
    /// Payloads.
    Payloads(Vec<Payload>),
    /// Kind of the first payload, and bytes.
    Bytes(u8, Vec<u8>),
}

/// The datagram that brings it to `endpoint`, and the path on which its IKE SA expects it; none if it has no IKE SA with keys, or the message is
/// too long.
pub fn forge(endpoint: &Endpoint, forged: &Forged) -> Option<(Path, Vec<u8>)> {
    let all = || endpoint.ike_sas().filter(|sa| sa.channel().is_some());
    let sa = all().nth(forged.which % all().count().max(1))?;
    let cipher = sa.channel()?.cipher(!sa.initiator)?;
    let (first, plain) = match &forged.inside {
        Inside::Payloads(payloads) => encode_payloads(payloads).ok()?,
        Inside::Bytes(first, bytes) => (*first, bytes.clone()),
    };
    let whole = |body| Payload::Encrypted(Encrypted { first, body });
    Some((sa.path, seal_under(&cipher, header(sa, forged), &plain, whole)))
}

/// What a sealed message of `endpoint` says, as its peer reads it; none if it is not sealed with the keys of one of its IKE SAs, or a fragment.
pub fn read(endpoint: &Endpoint, datagram: &[u8]) -> Option<Vec<Payload>> {
    let ciphers = endpoint.ike_sas().filter_map(|sa| sa.channel()?.cipher(sa.initiator));
    let opened = ciphers.map(|cipher| protect::open(&cipher, datagram, None));
    opened.flatten().flatten().next().map(|opened| opened.payloads)
}

fn header(sa: &IkeSa, forged: &Forged) -> Header {
    let due = match forged.is_response {
        true => sa.sender.next_id().wrapping_sub(1),
        false => sa.receiver.next_id(),
    };
    let flags = Flags {
        initiator: !sa.initiator,
        response: forged.is_response,
    };
    let (initiator_spi, responder_spi) = sa.spis();
    let message_id = due.wrapping_add_signed(forged.off.into());
    Header::new(initiator_spi, responder_spi, forged.exchange, flags, message_id)
}

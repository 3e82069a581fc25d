//! The keys of an IKE SA at work: messages sealed and opened, fragments put together.

use super::IkeSa;
use crate::crypto::cipher::Cipher;
use crate::crypto::ike_keys::IkeKeys;
use crate::protect::{self, Inside, Opened, Reassembly, Sealed};
use crate::random::Random;
use crate::transform::IkeSuite;
use crate::wire::{Exchange, Flags, Header, Payload};
use serde::{Deserialize, Serialize};

/// Both directions of an IKE SA.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Channel {
    pub(crate) suite: IkeSuite,
    pub(crate) keys: IkeKeys,
    /// Counter of the AEAD's explicit IV (RFC 5282 §3.1). Part of what is stored before a message leaves.
    iv: u64,
    /// Largest datagram in bytes before it is cut (RFC 7383); none where the peer cannot put it together.
    pub(crate) datagram_bytes_max: Option<usize>,
    #[serde(skip)]
    reassembly: Reassembly,
}

impl Channel {
    pub(crate) fn new(suite: IkeSuite, keys: IkeKeys) -> Channel {
        Channel {
            suite,
            keys,
            iv: 0,
            datagram_bytes_max: None,
            reassembly: Reassembly::default(),
        }
    }

    /// Other keys for what follows (RFC 9370 §2.2.2). IVs go on, though the keys are new: a counter that only grows is easily seen to be
    /// right.
    pub(crate) fn rekeyed(&mut self, keys: IkeKeys) {
        self.keys = keys;
    }

    /// None only if the stored keys are damaged.
    fn cipher(&self, from_initiator: bool) -> Option<Cipher> {
        let (encryption, integrity) = match from_initiator {
            true => (&self.keys.ei, &self.keys.ai),
            false => (&self.keys.er, &self.keys.ar),
        };
        Cipher::new(&self.suite, encryption, integrity).ok()
    }

    /// Seals a message of ours; none if it would be longer than a message can be.
    pub(crate) fn seal(
        &mut self,
        random: &mut dyn Random,
        initiator: bool,
        header: Header,
        payloads: &[Payload],
    ) -> Option<Sealed> {
        let cipher = self.cipher(initiator)?;
        protect::seal(&cipher, &mut self.iv, header, payloads, self.datagram_bytes_max, random).ok()
    }

    /// Opens a message of the peer's: none if it is not authentic, or not whole yet.
    pub(crate) fn open(&mut self, initiator: bool, datagram: &[u8]) -> Option<Inside> {
        match protect::open(&self.cipher(!initiator)?, datagram).ok()? {
            Opened::Whole(inside) => Some(inside),
            Opened::Fragment(fragment) => self.reassembly.add(fragment),
        }
    }

    /// Whether a datagram is authentic and worth an answer that was given before: of fragments the first alone is (RFC 7383 §2.6.1).
    pub(crate) fn is_authentic(&self, initiator: bool, datagram: &[u8]) -> bool {
        let opened = self.cipher(!initiator).map(|cipher| protect::open(&cipher, datagram));
        match opened {
            Some(Ok(Opened::Whole(_))) => true,
            Some(Ok(Opened::Fragment(fragment))) => fragment.number == 1,
            Some(Err(_)) | None => false,
        }
    }
}

/// Header of a message of ours; length and next payload are filled in when it is written.
pub(crate) fn header(sa: &IkeSa, exchange: Exchange, is_response: bool, message_id: u32) -> Header {
    let (initiator_spi, responder_spi) = sa.spis();
    let flags = Flags {
        initiator: sa.initiator,
        response: is_response,
    };
    Header::new(initiator_spi, responder_spi, exchange, flags, message_id)
}

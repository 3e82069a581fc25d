//! The keys of an IKE SA at work: messages sealed and opened, fragments put together.

use super::IkeSa;
use crate::crypto::cipher::Cipher;
use crate::crypto::ike_keys::IkeKeys;
use crate::protect::{self, OpenError, Opened, Reassembly, Sealed};
use crate::random::Random;
use crate::transform::IkeSuite;
use crate::wire::{Exchange, Flags, HEADER_BYTES, Header, Payload, WireError};
use serde::{Deserialize, Serialize};

/// An authentic message of the peer's.
pub(crate) struct Inside(Result<Opened, WireError>);

impl Inside {
    /// Its payloads, or why they cannot be read.
    pub(crate) fn payloads(&self) -> Result<&[Payload], WireError> {
        match &self.0 {
            Ok(opened) => Ok(&opened.payloads),
            Err(error) => Err(*error),
        }
    }

    /// It as it was before it was sealed.
    pub(crate) fn plain(&self) -> Option<Plain<'_>> {
        self.0.as_ref().ok().map(|opened| Plain {
            header: &opened.header_bytes,
            first: opened.first,
            bytes: &opened.plain,
        })
    }
}

/// A message as it was before it was sealed: what IKE_INTERMEDIATE adds to AUTH (RFC 9242 §3.3.2).
pub(crate) struct Plain<'a> {
    pub(crate) header: &'a [u8; HEADER_BYTES],
    pub(crate) first: u8,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Plain<'a> {
    pub(crate) fn of(sealed: &'a Sealed) -> Plain<'a> {
        Plain {
            header: &sealed.header_bytes,
            first: sealed.first,
            bytes: &sealed.plain,
        }
    }
}

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
    pub(crate) fn cipher(&self, from_initiator: bool) -> Option<Cipher> {
        self.cipher_of(&self.keys, from_initiator)
    }

    fn cipher_of(&self, keys: &IkeKeys, from_initiator: bool) -> Option<Cipher> {
        let (encryption, integrity) = match from_initiator {
            true => (&keys.ei, &keys.ai),
            false => (&keys.er, &keys.ar),
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
        protect::seal(&cipher, &mut self.iv, random, header, payloads, self.datagram_bytes_max).ok()
    }

    /// Opens a message of the peer's: none if it is not authentic, or not whole yet.
    pub(crate) fn open(&mut self, initiator: bool, datagram: &[u8]) -> Option<Inside> {
        let cipher = self.cipher(!initiator)?;
        match protect::open(&cipher, datagram, Some(&mut self.reassembly)) {
            Ok(opened) => opened.map(|opened| Inside(Ok(opened))),
            Err(OpenError::Inside(error)) => Some(Inside(Err(error))),
            Err(
                OpenError::Outside(_) | OpenError::NotSealed | OpenError::UnexpectedFragment | OpenError::Unauthentic,
            ) => None,
        }
    }

    /// Whether a datagram is authentic and worth an answer that was given before.
    pub(crate) fn is_authentic(&self, initiator: bool, datagram: &[u8]) -> bool {
        self.is_authentic_under(&self.keys, initiator, datagram)
    }

    /// The same under keys that were in force before.
    pub(crate) fn is_authentic_under(&self, keys: &IkeKeys, initiator: bool, datagram: &[u8]) -> bool {
        let Some(cipher) = self.cipher_of(keys, !initiator) else {
            return false;
        };
        if !protect::repeats(datagram) {
            return false;
        }
        match protect::open(&cipher, datagram, Some(&mut Reassembly::default())) {
            Ok(_) | Err(OpenError::Inside(_)) => true,
            Err(
                OpenError::Outside(_) | OpenError::NotSealed | OpenError::UnexpectedFragment | OpenError::Unauthentic,
            ) => false,
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

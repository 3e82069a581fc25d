//! A whole message.

use super::error::{TooLarge, WireError};
use super::header::{HEADER_BYTES, Header, MESSAGE_BYTES_MAX};
use super::payload::{Chain, Payload, encode_payloads, parse_chain};

/// Header and payloads; an encrypted payload stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// In front.
    pub header: Header,
    /// In order.
    pub payloads: Vec<Payload>,
}

impl Message {
    /// Reads a datagram.
    ///
    /// # Errors
    /// Any [`WireError`].
    pub fn parse(datagram: &[u8]) -> Result<Message, WireError> {
        let header = Header::parse(datagram)?;
        header.check(datagram.len())?;
        let rest = datagram.get(HEADER_BYTES..).unwrap_or_default();
        let payloads = parse_chain(header.next, rest, Chain::Outer)?;
        Ok(Message { header, payloads })
    }

    /// As on the wire; the header's `next` and `length` are set from the payloads.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn encode(&self) -> Result<Vec<u8>, TooLarge> {
        let (next, body) = encode_payloads(&self.payloads)?;
        let length = HEADER_BYTES + body.len();
        if length > MESSAGE_BYTES_MAX {
            return Err(TooLarge);
        }
        let header = Header {
            next,
            length: length as u32,
            ..self.header
        };
        let mut out = Vec::with_capacity(length);
        out.extend_from_slice(&header.bytes());
        out.extend_from_slice(&body);
        Ok(out)
    }
}

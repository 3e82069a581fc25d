//! The header of every message (RFC 7296 §3.1).

use super::error::{Fault, WireError};
use super::reader::Reader;
use serde::{Deserialize, Serialize};

/// Bytes of a header.
pub const HEADER_BYTES: usize = 28;
/// Longest message: what fits into a UDP datagram, and into 16 bits.
pub const MESSAGE_BYTES_MAX: usize = u16::MAX as usize;
/// Version 2.0.
const VERSION: u8 = 0x20;

/// What stands in front of the payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Chosen by the original initiator; never zero.
    pub initiator_spi: u64,
    /// Chosen by the original responder; zero in its absence.
    pub responder_spi: u64,
    /// Kind of the first payload. Encoding sets it.
    pub next: u8,
    /// Major version in the high four bits. Encoding writes 2.0.
    pub version: u8,
    /// What it is about.
    pub exchange: Exchange,
    /// Who sends, and whether it answers.
    pub flags: Flags,
    /// Same in request and response.
    pub message_id: u32,
    /// Bytes, with this header. Encoding sets it.
    pub length: u32,
}

/// Flags of a header. The reserved ones, and "version" of a sender that could speak a higher one, are ignored and sent as zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flags {
    /// Sent by the original initiator of the IKE SA.
    pub initiator: bool,
    /// A response to the request with the same message id.
    pub response: bool,
}

const INITIATOR: u8 = 0x08;
const RESPONSE: u8 = 0x20;

impl Flags {
    fn parse(byte: u8) -> Flags {
        Flags {
            initiator: byte & INITIATOR != 0,
            response: byte & RESPONSE != 0,
        }
    }

    fn byte(self) -> u8 {
        (u8::from(self.initiator) * INITIATOR) | (u8::from(self.response) * RESPONSE)
    }
}

/// Kind of exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Exchange {
    /// RFC 7296 §1.2.
    IkeSaInit,
    /// RFC 7296 §1.2.
    IkeAuth,
    /// RFC 7296 §1.3.
    CreateChildSa,
    /// RFC 7296 §1.4.
    Informational,
    /// RFC 9242.
    IkeIntermediate,
    /// RFC 9370 §2.2.4.
    IkeFollowupKe,
    /// Not known here.
    Other(u8),
}

impl Exchange {
    /// The exchange of a number.
    pub fn from_number(number: u8) -> Exchange {
        match number {
            34 => Exchange::IkeSaInit,
            35 => Exchange::IkeAuth,
            36 => Exchange::CreateChildSa,
            37 => Exchange::Informational,
            43 => Exchange::IkeIntermediate,
            44 => Exchange::IkeFollowupKe,
            other => Exchange::Other(other),
        }
    }

    /// Its number.
    pub fn number(self) -> u8 {
        match self {
            Exchange::IkeSaInit => 34,
            Exchange::IkeAuth => 35,
            Exchange::CreateChildSa => 36,
            Exchange::Informational => 37,
            Exchange::IkeIntermediate => 43,
            Exchange::IkeFollowupKe => 44,
            Exchange::Other(number) => number,
        }
    }
}

impl Header {
    /// The header of a message to be sent; `next` and `length` come with the encoding.
    pub fn new(initiator_spi: u64, responder_spi: u64, exchange: Exchange, flags: Flags, message_id: u32) -> Header {
        Header {
            initiator_spi,
            responder_spi,
            next: super::kind::NONE,
            version: VERSION,
            exchange,
            flags,
            message_id,
            length: HEADER_BYTES as u32,
        }
    }

    /// Reads the header of a datagram. Cheap: nothing behind it is looked at, and neither version nor length are checked, so that a
    /// message of a later version can be answered (RFC 7296 §2.5): [`Header::check`] does that.
    ///
    /// # Errors
    /// [`WireError::NotIke`].
    pub fn parse(datagram: &[u8]) -> Result<Header, WireError> {
        let header = Header::read(datagram).map_err(|_| WireError::NotIke)?;
        // RFC 7296 §3.1: the initiator's SPI is never zero.
        if header.initiator_spi == 0 {
            return Err(WireError::NotIke);
        }
        Ok(header)
    }

    fn read(datagram: &[u8]) -> Result<Header, Fault> {
        let mut reader = Reader::new(datagram);
        Ok(Header {
            initiator_spi: u64::from_be_bytes(reader.array()?),
            responder_spi: u64::from_be_bytes(reader.array()?),
            next: reader.u8()?,
            version: reader.u8()?,
            exchange: Exchange::from_number(reader.u8()?),
            flags: Flags::parse(reader.u8()?),
            message_id: reader.u32()?,
            length: reader.u32()?,
        })
    }

    /// Version 2.x (RFC 7296 §2.5: the minor version is ignored) and exactly `got` bytes long, of at most [`MESSAGE_BYTES_MAX`].
    ///
    /// # Errors
    /// [`WireError::Version`], [`WireError::Length`].
    pub fn check(&self, got: usize) -> Result<(), WireError> {
        if self.version >> 4 != VERSION >> 4 {
            return Err(WireError::Version(self.version >> 4));
        }
        if usize::try_from(self.length) != Ok(got) || got > MESSAGE_BYTES_MAX {
            return Err(WireError::Length { said: self.length, got });
        }
        Ok(())
    }

    /// As on the wire, with `next` and `length` as they stand here.
    pub(crate) fn bytes(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..8].copy_from_slice(&self.initiator_spi.to_be_bytes());
        out[8..16].copy_from_slice(&self.responder_spi.to_be_bytes());
        out[16..20].copy_from_slice(&[self.next, VERSION, self.exchange.number(), self.flags.byte()]);
        out[20..24].copy_from_slice(&self.message_id.to_be_bytes());
        out[24..].copy_from_slice(&self.length.to_be_bytes());
        out
    }
}

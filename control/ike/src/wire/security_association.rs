//! Security association: proposals of transforms (RFC 7296 §3.3).

use super::error::{Fault, TooLarge};
use super::reader::Reader;
use super::writer;
use serde::{Deserialize, Serialize};

/// Most proposals that are looked at.
pub const PROPOSALS_MAX: usize = 32;
/// Most transforms of one proposal.
pub const TRANSFORMS_MAX: usize = 64;

/// "Last Substruc" where another proposal follows.
const MORE_PROPOSALS: u8 = 2;
/// The same for transforms.
const MORE_TRANSFORMS: u8 = 3;
/// Attribute format bit: type and value, without a length.
const SHORT_FORM: u16 = 0x8000;
/// The only attribute there is (RFC 7296 §3.3.5).
const KEY_LENGTH: u16 = 14;

/// Protocols that SAs are for.
pub mod protocol {
    /// None: in notifications.
    pub const NONE: u8 = 0;
    /// IKE itself.
    pub const IKE: u8 = 1;
    /// AH: not spoken here.
    pub const AH: u8 = 2;
    /// ESP.
    pub const ESP: u8 = 3;
}

/// Kinds of transforms.
pub mod transform_kind {
    /// ENCR.
    pub const ENCRYPTION: u8 = 1;
    /// PRF.
    pub const PRF: u8 = 2;
    /// INTEG.
    pub const INTEGRITY: u8 = 3;
    /// KE, once "Diffie-Hellman group".
    pub const KEY_EXCHANGE: u8 = 4;
    /// SN, once "extended sequence numbers" (RFC 9827).
    pub const SEQUENCE_NUMBERS: u8 = 5;
    /// ADDKE1 (RFC 9370).
    pub const ADDITIONAL_FIRST: u8 = 6;
    /// ADDKE7.
    pub const ADDITIONAL_LAST: u8 = 12;
}

/// One proposal: any one transform of each kind that it lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Counts from 1; the answer bears the number of the chosen one.
    pub number: u8,
    /// See [`protocol`].
    pub protocol: u8,
    /// Empty, 8 bytes (IKE SAs that replace one) or 4 (ESP, AH).
    pub spi: Vec<u8>,
    /// In the sender's order, best first within a kind.
    pub transforms: Vec<Transform>,
}

/// An algorithm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transform {
    /// See [`transform_kind`].
    pub kind: u8,
    /// Number within the kind.
    pub id: u16,
    /// Bits.
    pub key_length: Option<u16>,
    /// Attributes that are not understood, as they came: a transform with any is never chosen (RFC 7296 §3.3.6).
    pub unknown: Vec<u8>,
}

impl Transform {
    /// To be sent.
    pub fn new(kind: u8, id: u16, key_length: Option<u16>) -> Transform {
        Transform {
            kind,
            id,
            key_length,
            unknown: Vec::new(),
        }
    }
}

impl Proposal {
    /// SPI of an IKE SA.
    pub fn ike_spi(&self) -> Option<u64> {
        <[u8; 8]>::try_from(&self.spi[..])
            .ok()
            .map(u64::from_be_bytes)
            .filter(|spi| *spi != 0)
    }

    /// SPI of an ESP SA: none if it is one of the reserved 0 to 255 (RFC 4303 §2.1).
    pub fn child_spi(&self) -> Option<u32> {
        <[u8; 4]>::try_from(&self.spi[..])
            .ok()
            .map(u32::from_be_bytes)
            .filter(|spi| *spi > 255)
    }
}

pub(super) fn parse(body: &[u8]) -> Result<Vec<Proposal>, Fault> {
    let mut reader = Reader::new(body);
    let mut proposals: Vec<Proposal> = Vec::new();
    loop {
        if proposals.len() == PROPOSALS_MAX {
            return Err(Fault::TooMany);
        }
        let [last, _] = reader.array()?;
        let length = reader.u16()?;
        let proposal = parse_proposal(reader.framed(length, 4)?)?;
        follows(last, MORE_PROPOSALS, &reader)?;
        // RFC 7296 §3.3.1: each is one more than the one before. An answer starts with any.
        let expected = proposals
            .last()
            .map_or(Some(proposal.number), |before| before.number.checked_add(1));
        if expected != Some(proposal.number) || proposal.number == 0 {
            return Err(Fault::Number);
        }
        proposals.push(proposal);
        if last == 0 {
            return Ok(proposals);
        }
    }
}

/// A "last" octet is 0 at the end and `more` elsewhere, nothing else.
fn follows(last: u8, more: u8, reader: &Reader<'_>) -> Result<(), Fault> {
    let expected = if reader.is_empty() { 0 } else { more };
    if last == expected { Ok(()) } else { Err(Fault::Count) }
}

fn parse_proposal(mut reader: Reader<'_>) -> Result<Proposal, Fault> {
    let [number, protocol, spi_bytes, transforms] = reader.array()?;
    let permitted = match protocol {
        protocol::IKE => matches!(spi_bytes, 0 | 8),
        protocol::AH | protocol::ESP => spi_bytes == 4,
        _ => true,
    };
    if !permitted {
        return Err(Fault::SpiSize);
    }
    let spi = reader.take(usize::from(spi_bytes))?.to_vec();
    Ok(Proposal {
        number,
        protocol,
        spi,
        transforms: parse_transforms(reader, usize::from(transforms))?,
    })
}

fn parse_transforms(mut reader: Reader<'_>, count: usize) -> Result<Vec<Transform>, Fault> {
    if count > TRANSFORMS_MAX {
        return Err(Fault::TooMany);
    }
    let mut transforms = Vec::new();
    for _ in 0..count {
        let [last, _] = reader.array()?;
        let length = reader.u16()?;
        transforms.push(parse_transform(reader.framed(length, 4)?)?);
        follows(last, MORE_TRANSFORMS, &reader)?;
        if last == 0 {
            break;
        }
    }
    reader.end()?;
    if transforms.len() == count {
        Ok(transforms)
    } else {
        Err(Fault::Count)
    }
}

fn parse_transform(mut reader: Reader<'_>) -> Result<Transform, Fault> {
    let [kind, _] = reader.array()?;
    let mut transform = Transform::new(kind, reader.u16()?, None);
    while !reader.is_empty() {
        let (attribute, value) = (reader.u16()?, reader.u16()?);
        if attribute == SHORT_FORM | KEY_LENGTH && transform.key_length.is_none() {
            transform.key_length = Some(value);
            continue;
        }
        transform.unknown.extend_from_slice(&attribute.to_be_bytes());
        transform.unknown.extend_from_slice(&value.to_be_bytes());
        if attribute & SHORT_FORM == 0 {
            transform.unknown.extend_from_slice(reader.take(usize::from(value))?);
        }
    }
    Ok(transform)
}

pub(super) fn write(proposals: &[Proposal], out: &mut Vec<u8>) -> Result<(), TooLarge> {
    for (at, proposal) in proposals.iter().enumerate() {
        let last = if at + 1 == proposals.len() { 0 } else { MORE_PROPOSALS };
        writer::framed(out, &[last, 0, 0, 0], 2, |out| write_proposal(proposal, out))?;
    }
    Ok(())
}

fn write_proposal(proposal: &Proposal, out: &mut Vec<u8>) -> Result<(), TooLarge> {
    let spi_bytes = writer::count(proposal.spi.len())?;
    let count = writer::count(proposal.transforms.len())?;
    out.extend_from_slice(&[proposal.number, proposal.protocol, spi_bytes, count]);
    out.extend_from_slice(&proposal.spi);
    for (at, transform) in proposal.transforms.iter().enumerate() {
        let last = if at + 1 == proposal.transforms.len() {
            0
        } else {
            MORE_TRANSFORMS
        };
        writer::framed(out, &[last, 0, 0, 0, transform.kind, 0], 2, |out| {
            out.extend_from_slice(&transform.id.to_be_bytes());
            if let Some(bits) = transform.key_length {
                out.extend_from_slice(&(SHORT_FORM | KEY_LENGTH).to_be_bytes());
                out.extend_from_slice(&bits.to_be_bytes());
            }
            out.extend_from_slice(&transform.unknown);
            Ok(())
        })?;
    }
    Ok(())
}

//! Delete (RFC 7296 §3.11).

use super::error::{Fault, TooLarge};
use super::reader::Reader;
use super::security_association::protocol;
use serde::{Deserialize, Serialize};

/// SAs that end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Delete {
    /// The IKE SA that carries the message, and with it all of its children.
    Ike,
    /// ESP SAs, by the SPIs that the sender of the message receives on.
    Esp(Vec<u32>),
    /// AH SAs: there are none here.
    Ah(Vec<u32>),
}

impl Delete {
    pub(super) fn parse(body: &[u8]) -> Result<Delete, Fault> {
        let mut reader = Reader::new(body);
        let [protocol, spi_bytes] = reader.array()?;
        let count = reader.u16()?;
        match (protocol, spi_bytes) {
            // RFC 7296 §3.11: the SPI of the IKE SA stands in the header.
            (protocol::IKE, 0) if count == 0 => reader.end().map(|()| Delete::Ike),
            (protocol::IKE, 0) => Err(Fault::Count),
            (protocol::ESP, 4) => spis(reader, count).map(Delete::Esp),
            (protocol::AH, 4) => spis(reader, count).map(Delete::Ah),
            _ => Err(Fault::SpiSize),
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<(), TooLarge> {
        let (protocol, spi_bytes, spis): (_, _, &[u32]) = match self {
            Delete::Ike => (protocol::IKE, 0, &[]),
            Delete::Esp(spis) => (protocol::ESP, 4, spis),
            Delete::Ah(spis) => (protocol::AH, 4, spis),
        };
        let count = u16::try_from(spis.len()).map_err(|_| TooLarge)?;
        out.extend_from_slice(&[protocol, spi_bytes]);
        out.extend_from_slice(&count.to_be_bytes());
        spis.iter().for_each(|spi| out.extend_from_slice(&spi.to_be_bytes()));
        Ok(())
    }
}

/// Exactly `count` SPIs. Nothing is allocated by the count alone.
fn spis(mut reader: Reader<'_>, count: u16) -> Result<Vec<u32>, Fault> {
    let mut spis = Vec::new();
    for _ in 0..count {
        spis.push(reader.u32().map_err(|_| Fault::Count)?);
    }
    reader.end().map(|()| spis)
}

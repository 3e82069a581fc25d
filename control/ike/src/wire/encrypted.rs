//! Encrypted payloads and fragments (RFC 7296 §3.14, RFC 7383 §2.5), sealed.

use super::error::Fault;
use super::reader::Reader;
use serde::{Deserialize, Serialize};

/// SK: the inside of the message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encrypted {
    /// Kind of the first payload inside; 0 = nothing is inside.
    pub first: u8,
    /// From the initialisation vector to the checksum.
    pub body: Vec<u8>,
}

/// SKF: a piece of the inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncryptedFragment {
    /// In the first fragment the kind of the first payload, else 0.
    pub first: u8,
    /// Counts from 1.
    pub number: u16,
    /// Number of fragments.
    pub total: u16,
    /// From the initialisation vector to the checksum.
    pub body: Vec<u8>,
}

impl Encrypted {
    pub(super) fn parse(first: u8, body: &[u8]) -> Encrypted {
        Encrypted {
            first,
            body: body.to_vec(),
        }
    }
}

impl EncryptedFragment {
    pub(super) fn parse(first: u8, body: &[u8]) -> Result<EncryptedFragment, Fault> {
        let mut reader = Reader::new(body);
        let (number, total) = (reader.u16()?, reader.u16()?);
        // RFC 7383 §2.6.
        if number == 0 || number > total {
            return Err(Fault::FragmentNumber);
        }
        Ok(EncryptedFragment {
            first,
            number,
            total,
            body: reader.rest().to_vec(),
        })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.total.to_be_bytes());
        out.extend_from_slice(&self.body);
    }
}

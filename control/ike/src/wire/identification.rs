//! Identification (RFC 7296 §3.5).

use super::error::Fault;
use super::reader::Reader;
use serde::{Deserialize, Serialize};

/// Kinds of identification.
pub mod id_kind {
    /// ID_IPV4_ADDR: 4 bytes.
    pub const IPV4_ADDRESS: u8 = 1;
    /// ID_FQDN: ASCII.
    pub const NAME: u8 = 2;
    /// ID_RFC822_ADDR: ASCII.
    pub const EMAIL: u8 = 3;
    /// ID_IPV6_ADDR: 16 bytes.
    pub const IPV6_ADDRESS: u8 = 5;
    /// ID_DER_ASN1_DN.
    pub const DISTINGUISHED_NAME: u8 = 9;
    /// ID_DER_ASN1_GN.
    pub const GENERAL_NAME: u8 = 10;
    /// ID_KEY_ID: anything.
    pub const KEY_ID: u8 = 11;
}

/// Body of an identification payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdBody {
    /// See [`id_kind`].
    pub kind: u8,
    /// Zero when sent and ignored when received, but AUTH covers them as they came (RFC 7296 §2.15, RestOfInitIDPayload).
    pub reserved: [u8; 3],
    /// In the form of the kind.
    pub data: Vec<u8>,
}

impl IdBody {
    /// To be sent.
    pub fn new(kind: u8, data: Vec<u8>) -> IdBody {
        IdBody {
            kind,
            reserved: [0; 3],
            data,
        }
    }

    pub(super) fn parse(body: &[u8]) -> Result<IdBody, Fault> {
        let mut reader = Reader::new(body);
        Ok(IdBody {
            kind: reader.u8()?,
            reserved: reader.array()?,
            data: reader.rest().to_vec(),
        })
    }

    /// As on the wire, without the generic header: what AUTH covers.
    pub fn bytes(&self) -> Vec<u8> {
        [&[self.kind][..], &self.reserved, &self.data].concat()
    }
}

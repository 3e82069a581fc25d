//! Key exchange (RFC 7296 §3.4).

use super::error::Fault;
use super::reader::Reader;
use serde::{Deserialize, Serialize};

/// A public value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyExchange {
    /// Number of the method: see [`crate::transform::Group`].
    pub group: u16,
    /// The value, in the method's own form.
    pub data: Vec<u8>,
}

impl KeyExchange {
    pub(super) fn parse(body: &[u8]) -> Result<KeyExchange, Fault> {
        let mut reader = Reader::new(body);
        let group = reader.u16()?;
        reader.u16()?;
        Ok(KeyExchange {
            group,
            data: reader.rest().to_vec(),
        })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.group.to_be_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.data);
    }
}

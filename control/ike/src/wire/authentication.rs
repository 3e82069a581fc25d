//! Authentication (RFC 7296 §3.8).

use super::error::Fault;
use super::reader::Reader;
use serde::{Deserialize, Serialize};

/// Methods of authentication.
pub mod method {
    /// RSA with PKCS #1 1.5 and SHA-1.
    pub const RSA: u8 = 1;
    /// Shared key message integrity code.
    pub const PSK: u8 = 2;
    /// ECDSA with SHA-256 on P-256 (RFC 4754).
    pub const ECDSA_256: u8 = 9;
    /// ECDSA with SHA-384 on P-384 (RFC 4754).
    pub const ECDSA_384: u8 = 10;
    /// ECDSA with SHA-512 on P-521 (RFC 4754).
    pub const ECDSA_521: u8 = 11;
    /// NULL (RFC 7619): proves nothing, never accepted.
    pub const NULL: u8 = 13;
    /// Any signature that names its algorithm (RFC 7427).
    pub const SIGNATURE: u8 = 14;
}

/// Body of an authentication payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthBody {
    /// See [`method`].
    pub method: u8,
    /// In the form of the method.
    pub data: Vec<u8>,
}

impl AuthBody {
    pub(super) fn parse(body: &[u8]) -> Result<AuthBody, Fault> {
        let mut reader = Reader::new(body);
        let method = reader.u8()?;
        reader.array::<3>()?;
        Ok(AuthBody {
            method,
            data: reader.rest().to_vec(),
        })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.method, 0, 0, 0]);
        out.extend_from_slice(&self.data);
    }
}

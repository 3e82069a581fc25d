//! Certificates and requests for them (RFC 7296 §3.6, §3.7).

use super::error::Fault;
use super::reader::Reader;
use serde::{Deserialize, Serialize};

/// Encodings of certificates.
pub mod encoding {
    /// One X.509 certificate in DER; in a request: SHA-1 hashes of public keys of authorities.
    pub const X509_SIGNATURE: u8 = 4;
    /// A revocation list in DER.
    pub const REVOCATION_LIST: u8 = 7;
    /// Hash and URL of an X.509 certificate: never fetched.
    pub const HASH_AND_URL: u8 = 12;
    /// A SubjectPublicKeyInfo in DER (RFC 7670).
    pub const RAW_PUBLIC_KEY: u8 = 15;
}

/// A certificate, or what is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertBody {
    /// See [`encoding`].
    pub encoding: u8,
    /// In the form of the encoding.
    pub data: Vec<u8>,
}

impl CertBody {
    pub(super) fn parse(body: &[u8]) -> Result<CertBody, Fault> {
        let mut reader = Reader::new(body);
        Ok(CertBody {
            encoding: reader.u8()?,
            data: reader.rest().to_vec(),
        })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.encoding);
        out.extend_from_slice(&self.data);
    }
}

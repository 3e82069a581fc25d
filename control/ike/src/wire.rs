//! IKEv2 messages as bytes (RFC 7296 §3). No secrets, no state: datagram to typed payloads and back.
//!
//! Every byte that comes in is a stranger's. Each parser is total: it looks at no byte that it has not counted, allocates no more than
//! a small multiple of what came in, and says with [`WireError`] what is wrong. What is parsed may be believed in form, in nothing else.
//! The non-ESP marker of UDP port 4500 (RFC 3948 §2.2) is put on and taken off by whoever owns the socket.

mod authentication;
mod certificate;
mod delete;
mod encrypted;
mod error;
mod header;
mod identification;
mod key_exchange;
mod message;
mod nonce;
pub mod notify;
mod payload;
mod reader;
mod security_association;
mod traffic_selectors;
mod writer;

#[cfg(test)]
pub(crate) mod arbitrary;
#[cfg(test)]
mod tests;

pub use authentication::{AuthBody, method};
pub use certificate::{CertBody, encoding};
pub use delete::Delete;
pub use encrypted::{Encrypted, EncryptedFragment};
pub use error::{Fault, TooLarge, WireError};
pub use header::{Exchange, Flags, HEADER_BYTES, Header, MESSAGE_BYTES_MAX};
pub use identification::{IdBody, id_kind};
pub use key_exchange::KeyExchange;
pub use message::Message;
pub use nonce::{NONCE_BYTES_MAX, NONCE_BYTES_MIN, Nonce};
pub use notify::Notify;
pub use payload::{PAYLOADS_MAX, Payload, encode_payloads, kind, parse_payloads};
pub use security_association::{PROPOSALS_MAX, Proposal, TRANSFORMS_MAX, Transform, protocol, transform_kind};
pub use traffic_selectors::TrafficSelector;

//! The chain of payloads (RFC 7296 §3.2), and which body each kind has.

use super::authentication::AuthBody;
use super::certificate::CertBody;
use super::delete::Delete;
use super::encrypted::{Encrypted, EncryptedFragment};
use super::error::{Fault, TooLarge, WireError};
use super::identification::IdBody;
use super::key_exchange::KeyExchange;
use super::nonce::Nonce;
use super::notify::Notify;
use super::reader::Reader;
use super::security_association::{self, Proposal};
use super::traffic_selectors::{self, TrafficSelector};
use super::writer;
use serde::{Deserialize, Serialize};

/// Most payloads that one message may have. The largest real ones, with certificate chains, have some thirty.
pub const PAYLOADS_MAX: usize = 64;

const CRITICAL: u8 = 0x80;

/// Numbers of payload kinds ("IKEv2 Payload Types" at IANA).
pub mod kind {
    /// No next payload.
    pub const NONE: u8 = 0;
    /// SA.
    pub const SECURITY_ASSOCIATION: u8 = 33;
    /// KE.
    pub const KEY_EXCHANGE: u8 = 34;
    /// IDi.
    pub const ID_INITIATOR: u8 = 35;
    /// IDr.
    pub const ID_RESPONDER: u8 = 36;
    /// CERT.
    pub const CERTIFICATE: u8 = 37;
    /// CERTREQ.
    pub const CERTIFICATE_REQUEST: u8 = 38;
    /// AUTH.
    pub const AUTHENTICATION: u8 = 39;
    /// Ni, Nr.
    pub const NONCE: u8 = 40;
    /// N.
    pub const NOTIFY: u8 = 41;
    /// D.
    pub const DELETE: u8 = 42;
    /// V.
    pub const VENDOR_ID: u8 = 43;
    /// TSi.
    pub const SELECTORS_INITIATOR: u8 = 44;
    /// TSr.
    pub const SELECTORS_RESPONDER: u8 = 45;
    /// SK.
    pub const ENCRYPTED: u8 = 46;
    /// CP: understood in that it is ignored.
    pub const CONFIGURATION: u8 = 47;
    /// EAP: likewise.
    pub const EAP: u8 = 48;
    /// SKF (RFC 7383).
    pub const ENCRYPTED_FRAGMENT: u8 = 53;

    /// For messages to an operator.
    pub fn name(kind: u8) -> &'static str {
        match kind {
            SECURITY_ASSOCIATION => "SA",
            KEY_EXCHANGE => "KE",
            ID_INITIATOR => "IDi",
            ID_RESPONDER => "IDr",
            CERTIFICATE => "CERT",
            CERTIFICATE_REQUEST => "CERTREQ",
            AUTHENTICATION => "AUTH",
            NONCE => "nonce",
            NOTIFY => "notify",
            DELETE => "delete",
            VENDOR_ID => "vendor ID",
            SELECTORS_INITIATOR => "TSi",
            SELECTORS_RESPONDER => "TSr",
            ENCRYPTED => "SK",
            CONFIGURATION => "CP",
            EAP => "EAP",
            ENCRYPTED_FRAGMENT => "SKF",
            _ => "unknown",
        }
    }
}

/// One payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// Proposals, or the chosen one.
    SecurityAssociation(Vec<Proposal>),
    /// Public value.
    KeyExchange(KeyExchange),
    /// Who the initiator is.
    IdInitiator(IdBody),
    /// Who the responder is, or shall be.
    IdResponder(IdBody),
    /// One certificate.
    Certificate(CertBody),
    /// Which certificates are wanted.
    CertificateRequest(CertBody),
    /// Proof of identity.
    Authentication(AuthBody),
    /// 16 to 256 random bytes.
    Nonce(Nonce),
    /// News or an error.
    Notify(Notify),
    /// SAs that end.
    Delete(Delete),
    /// What a vendor recognises itself by.
    VendorId(Vec<u8>),
    /// The initiator's side of a child SA.
    SelectorsInitiator(Vec<TrafficSelector>),
    /// The responder's side.
    SelectorsResponder(Vec<TrafficSelector>),
    /// Sealed payloads.
    Encrypted(Encrypted),
    /// A piece of sealed payloads.
    EncryptedFragment(EncryptedFragment),
    /// A kind that nothing here reads; it is not critical, so it may be ignored.
    Unknown {
        /// Its number.
        kind: u8,
        /// Its body.
        data: Vec<u8>,
    },
}

/// Where a chain stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Chain {
    /// Right behind the header.
    Outer,
    /// Sealed in an encrypted payload.
    Inner,
}

/// Reads the payloads inside of an encrypted payload; `first` is the kind of the first one. Nothing is a valid inside, too.
///
/// # Errors
/// [`WireError::Chain`], [`WireError::Payload`], [`WireError::UnsupportedCritical`].
pub fn parse_payloads(first: u8, bytes: &[u8]) -> Result<Vec<Payload>, WireError> {
    parse_chain(first, bytes, Chain::Inner)
}

pub(super) fn parse_chain(first: u8, bytes: &[u8], chain: Chain) -> Result<Vec<Payload>, WireError> {
    let mut payloads = Vec::new();
    let mut reader = Reader::new(bytes);
    let mut kind = first;
    while kind != kind::NONE {
        if payloads.len() == PAYLOADS_MAX {
            return Err(WireError::Chain(Fault::TooMany));
        }
        let (next, critical, body) = generic(&mut reader).map_err(WireError::Chain)?;
        let sealed = kind == kind::ENCRYPTED || kind == kind::ENCRYPTED_FRAGMENT;
        if sealed && (chain == Chain::Inner || !reader.is_empty()) {
            return Err(WireError::Chain(Fault::Misplaced));
        }
        let payload = parse_body(kind, next, body).map_err(|fault| WireError::Payload { kind, fault })?;
        if critical && refuses_if_critical(&payload) {
            return Err(WireError::UnsupportedCritical(kind));
        }
        payloads.push(payload);
        // RFC 7296 §3.14: the next-payload field of an encrypted payload speaks of its inside.
        kind = if sealed { kind::NONE } else { next };
    }
    reader.end().map_err(WireError::Chain)?;
    Ok(payloads)
}

/// Generic header: next kind, critical bit, body.
fn generic<'a>(reader: &mut Reader<'a>) -> Result<(u8, bool, &'a [u8]), Fault> {
    let [next, flags, high, low] = reader.array()?;
    let body = reader.framed(u16::from_be_bytes([high, low]), 4)?;
    Ok((next, flags & CRITICAL != 0, body.rest()))
}

/// RFC 7296 §2.5, §3.2: the critical bit means nothing on a kind that RFC 7296 itself defines, even if it is of no use here.
fn refuses_if_critical(payload: &Payload) -> bool {
    matches!(payload, Payload::Unknown { kind, .. } if !matches!(*kind, kind::CONFIGURATION | kind::EAP))
}

fn parse_body(kind: u8, next: u8, body: &[u8]) -> Result<Payload, Fault> {
    Ok(match kind {
        kind::SECURITY_ASSOCIATION => Payload::SecurityAssociation(security_association::parse(body)?),
        kind::KEY_EXCHANGE => Payload::KeyExchange(KeyExchange::parse(body)?),
        kind::ID_INITIATOR => Payload::IdInitiator(IdBody::parse(body)?),
        kind::ID_RESPONDER => Payload::IdResponder(IdBody::parse(body)?),
        kind::CERTIFICATE => Payload::Certificate(CertBody::parse(body)?),
        kind::CERTIFICATE_REQUEST => Payload::CertificateRequest(CertBody::parse(body)?),
        kind::AUTHENTICATION => Payload::Authentication(AuthBody::parse(body)?),
        kind::NONCE => Payload::Nonce(Nonce::new(body.to_vec()).ok_or(Fault::NonceSize)?),
        kind::NOTIFY => Payload::Notify(Notify::parse(body)?),
        kind::DELETE => Payload::Delete(Delete::parse(body)?),
        kind::VENDOR_ID => Payload::VendorId(body.to_vec()),
        kind::SELECTORS_INITIATOR => Payload::SelectorsInitiator(traffic_selectors::parse(body)?),
        kind::SELECTORS_RESPONDER => Payload::SelectorsResponder(traffic_selectors::parse(body)?),
        kind::ENCRYPTED => Payload::Encrypted(Encrypted::parse(next, body)),
        kind::ENCRYPTED_FRAGMENT => Payload::EncryptedFragment(EncryptedFragment::parse(next, body)?),
        kind => Payload::Unknown {
            kind,
            data: body.to_vec(),
        },
    })
}

impl Payload {
    /// Number of its kind.
    pub fn kind(&self) -> u8 {
        match self {
            Payload::SecurityAssociation(_) => kind::SECURITY_ASSOCIATION,
            Payload::KeyExchange(_) => kind::KEY_EXCHANGE,
            Payload::IdInitiator(_) => kind::ID_INITIATOR,
            Payload::IdResponder(_) => kind::ID_RESPONDER,
            Payload::Certificate(_) => kind::CERTIFICATE,
            Payload::CertificateRequest(_) => kind::CERTIFICATE_REQUEST,
            Payload::Authentication(_) => kind::AUTHENTICATION,
            Payload::Nonce(_) => kind::NONCE,
            Payload::Notify(_) => kind::NOTIFY,
            Payload::Delete(_) => kind::DELETE,
            Payload::VendorId(_) => kind::VENDOR_ID,
            Payload::SelectorsInitiator(_) => kind::SELECTORS_INITIATOR,
            Payload::SelectorsResponder(_) => kind::SELECTORS_RESPONDER,
            Payload::Encrypted(_) => kind::ENCRYPTED,
            Payload::EncryptedFragment(_) => kind::ENCRYPTED_FRAGMENT,
            Payload::Unknown { kind, .. } => *kind,
        }
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), TooLarge> {
        match self {
            Payload::SecurityAssociation(proposals) => return security_association::write(proposals, out),
            Payload::SelectorsInitiator(list) | Payload::SelectorsResponder(list) => {
                return traffic_selectors::write(list, out);
            }
            Payload::Notify(notify) => return notify.write(out),
            Payload::Delete(delete) => return delete.write(out),
            Payload::KeyExchange(body) => body.write(out),
            Payload::IdInitiator(body) | Payload::IdResponder(body) => out.extend_from_slice(&body.bytes()),
            Payload::Certificate(body) | Payload::CertificateRequest(body) => body.write(out),
            Payload::Authentication(body) => body.write(out),
            Payload::Nonce(nonce) => out.extend_from_slice(nonce.bytes()),
            Payload::Encrypted(sealed) => out.extend_from_slice(&sealed.body),
            Payload::EncryptedFragment(fragment) => fragment.write(out),
            Payload::VendorId(data) | Payload::Unknown { data, .. } => out.extend_from_slice(data),
        }
        Ok(())
    }

    /// What stands in its own next-payload field, if that is not the kind of the payload behind it.
    fn inside(&self) -> Option<u8> {
        if let Payload::Encrypted(sealed) = self {
            Some(sealed.first)
        } else if let Payload::EncryptedFragment(fragment) = self {
            Some(fragment.first)
        } else {
            None
        }
    }
}

/// Kind of the first payload, and all of them as on the wire. The critical bit is never set: nothing that is sent needs it
/// (RFC 7296 §3.2).
///
/// # Errors
/// [`TooLarge`].
pub fn encode_payloads(payloads: &[Payload]) -> Result<(u8, Vec<u8>), TooLarge> {
    let mut out = Vec::new();
    for (at, payload) in payloads.iter().enumerate() {
        let behind = payloads.get(at + 1).map_or(kind::NONE, Payload::kind);
        let next = payload.inside().unwrap_or(behind);
        writer::framed(&mut out, &[next, 0, 0, 0], 2, |out| payload.write(out))?;
    }
    Ok((payloads.first().map_or(kind::NONE, Payload::kind), out))
}

//! From datagrams to payloads.

use super::reassembly::{Piece, Reassembly, Whole};
use crate::crypto::cipher::Cipher;
use crate::wire::{EncryptedFragment, Fault, HEADER_BYTES, Header, Message, Payload, WireError, kind, parse_payloads};
use core::fmt;

/// A message whose sender had the keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened {
    /// What was inside. Payloads in front of the encrypted one say nothing: nothing that is defined stands there.
    pub payloads: Vec<Payload>,
    /// Header of the datagram, or of the last fragment that came.
    pub header: Header,
    /// The same as it came; this and the next two are what AUTH covers of an IKE_INTERMEDIATE (RFC 9242 §3.3.2).
    pub header_bytes: [u8; HEADER_BYTES],
    /// Kind of the first payload inside.
    pub first: u8,
    /// The payloads inside, as they came.
    pub plain: Vec<u8>,
}

/// Why a datagram is no message of the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// It is malformed outside of what is sealed. Anybody may have sent it: it is ignored.
    Outside(WireError),
    /// Nothing in it is sealed. Anybody may have sent it.
    NotSealed,
    /// A fragment, although none were agreed on. Anybody may have sent it.
    UnexpectedFragment,
    /// It does not verify. Anybody may have sent it.
    Unauthentic,
    /// What was sealed is malformed: the peer's fault, and it has to be told.
    Inside(WireError),
}

/// Opens a datagram that passed the cheap checks (SPIs, message id). `reassembly` collects the fragments of messages in this direction;
/// without one they are refused. `Ok(None)`: a fragment was kept, or was not new, and more are missing.
///
/// # Errors
/// Any [`OpenError`]; nothing was changed by a datagram that is not the peer's.
pub fn open(
    cipher: &Cipher,
    datagram: &[u8],
    reassembly: Option<&mut Reassembly>,
) -> Result<Option<Opened>, OpenError> {
    let message = Message::parse(datagram).map_err(OpenError::Outside)?;
    let header_bytes = *datagram.first_chunk::<HEADER_BYTES>().ok_or(OpenError::NotSealed)?;
    // Parsing has seen to it that a sealed payload is the last one.
    let (first, plain) = match message.payloads.last() {
        Some(Payload::Encrypted(sealed)) => (sealed.first, verify(cipher, datagram, &sealed.body)?),
        Some(Payload::EncryptedFragment(fragment)) => {
            let reassembly = reassembly.ok_or(OpenError::UnexpectedFragment)?;
            match join(cipher, datagram, &message.header, fragment, reassembly)? {
                Some(whole) => (whole.first, whole.plain),
                None => return Ok(None),
            }
        }
        Some(_) | None => return Err(OpenError::NotSealed),
    };
    Ok(Some(Opened {
        payloads: parse_payloads(first, &plain).map_err(OpenError::Inside)?,
        header: message.header,
        header_bytes,
        first,
        plain,
    }))
}

/// Whether a datagram that repeats a request that was answered is answered again: not if it is a fragment other than the first, or one
/// lost datagram of the request would bring as many answers as it has fragments (RFC 7383 §2.6.1).
pub fn repeats(datagram: &[u8]) -> bool {
    match Message::parse(datagram).map(|mut message| message.payloads.pop()) {
        Ok(Some(Payload::EncryptedFragment(fragment))) => fragment.number == 1,
        Ok(_) => true,
        Err(_) => false,
    }
}

fn join(
    cipher: &Cipher,
    datagram: &[u8],
    header: &Header,
    fragment: &EncryptedFragment,
    reassembly: &mut Reassembly,
) -> Result<Option<Whole>, OpenError> {
    let piece = Piece {
        message_id: header.message_id,
        response: header.flags.response,
        number: fragment.number,
        total: fragment.total,
    };
    if piece.exceeds() {
        return Err(OpenError::Outside(too_many()));
    }
    // RFC 7383 §2.6: what is not wanted is thrown away before any work is done for it.
    if !reassembly.wants(piece) {
        return Ok(None);
    }
    let plain = verify(cipher, datagram, &fragment.body)?;
    reassembly
        .add(piece, fragment.first, plain)
        .map_err(|_| OpenError::Inside(too_many()))
}

fn too_many() -> WireError {
    WireError::Payload {
        kind: kind::ENCRYPTED_FRAGMENT,
        fault: Fault::TooMany,
    }
}

/// RFC 5282 §5.1, RFC 7383 §2.5: everything in front of the body is authenticated with it.
fn verify(cipher: &Cipher, datagram: &[u8], body: &[u8]) -> Result<Vec<u8>, OpenError> {
    let outside = datagram.len().saturating_sub(body.len());
    let associated = datagram.get(..outside).unwrap_or_default();
    cipher.open(associated, body).map_err(|_| OpenError::Unauthentic)
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Opened({} payloads, {} bytes inside)",
            self.payloads.len(),
            self.plain.len()
        )
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Outside(error) => error.fmt(f),
            OpenError::NotSealed => f.write_str("a message in the clear where only sealed ones belong"),
            OpenError::UnexpectedFragment => f.write_str("a fragment, although none were agreed on"),
            OpenError::Unauthentic => f.write_str("a message that does not verify: somebody else's, or damaged"),
            OpenError::Inside(error) => write!(f, "the peer sealed what it should not have: {error}"),
        }
    }
}

impl core::error::Error for OpenError {}

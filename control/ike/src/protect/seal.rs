//! From payloads to datagrams.

use super::reassembly::FRAGMENTS_MAX;
use crate::crypto::cipher::Cipher;
use crate::random::Random;
use crate::wire::{HEADER_BYTES, Header, MESSAGE_BYTES_MAX, Payload, TooLarge, encode_payloads, kind};
use core::fmt;
use core::net::IpAddr;

/// Next payload, critical bit, length.
const PAYLOAD_HEADER_BYTES: usize = 4;
/// Fragment number, total fragments.
const FRAGMENT_FIELDS_BYTES: usize = 4;
/// UDP header.
const UDP_BYTES: usize = 8;
/// Non-ESP marker (RFC 3948 §2.2).
const MARKER_BYTES: usize = 4;

/// A message that is ready to leave.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// One, or its fragments in order. Without a non-ESP marker.
    pub datagrams: Vec<Vec<u8>>,
    /// Header of the first datagram; this and the next two are what AUTH covers of an IKE_INTERMEDIATE (RFC 9242 §3.3.2).
    pub header_bytes: [u8; HEADER_BYTES],
    /// Kind of the first payload inside.
    pub first: u8,
    /// The payloads inside.
    pub plain: Vec<u8>,
}

/// Largest IKE message in a datagram of `datagram_bytes` with IP header, for [`seal`].
pub fn message_bytes_max(datagram_bytes: u16, remote: IpAddr, marker: bool) -> usize {
    let ip_bytes = if remote.is_ipv4() { 20 } else { 40 };
    let marker_bytes = if marker { MARKER_BYTES } else { 0 };
    usize::from(datagram_bytes).saturating_sub(ip_bytes + UDP_BYTES + marker_bytes)
}

/// Seals `payloads` under `header`, whose `next` and `length` are set here. A message above `bytes_max` is cut into fragments; `None`
/// never cuts: the peer did not say that it takes fragments. `counter` is moved on for each datagram, and has to be stored with the keys
/// before any of them leaves.
///
/// # Errors
/// [`TooLarge`]: above 64 KiB or [`FRAGMENTS_MAX`] fragments.
pub fn seal(
    cipher: &Cipher,
    counter: &mut u64,
    random: &mut dyn Random,
    header: Header,
    payloads: &[Payload],
    bytes_max: Option<usize>,
) -> Result<Sealed, TooLarge> {
    let (first, plain) = encode_payloads(payloads)?;
    let mut sealer = Sealer {
        cipher,
        counter,
        random,
        header,
    };
    let whole = HEADER_BYTES + PAYLOAD_HEADER_BYTES + cipher.sealed_bytes(plain.len());
    let datagrams = match bytes_max {
        Some(most) if whole > most => sealer.fragments(first, &plain, most)?,
        _ => vec![sealer.datagram(kind::ENCRYPTED, first, &[], &plain)?],
    };
    let header_bytes = datagrams
        .first()
        .and_then(|datagram| datagram.first_chunk())
        .copied()
        .ok_or(TooLarge)?;
    Ok(Sealed {
        datagrams,
        header_bytes,
        first,
        plain,
    })
}

struct Sealer<'a> {
    cipher: &'a Cipher,
    counter: &'a mut u64,
    random: &'a mut dyn Random,
    header: Header,
}

impl Sealer<'_> {
    /// One datagram with one encrypted payload of this kind; `fields` stand between its header and the initialisation vector.
    fn datagram(&mut self, kind: u8, first: u8, fields: &[u8], plain: &[u8]) -> Result<Vec<u8>, TooLarge> {
        let payload_bytes = PAYLOAD_HEADER_BYTES + fields.len() + self.cipher.sealed_bytes(plain.len());
        let length = HEADER_BYTES + payload_bytes;
        if length > MESSAGE_BYTES_MAX {
            return Err(TooLarge);
        }
        let header = Header {
            next: kind,
            length: length as u32,
            ..self.header
        };
        let [high, low] = (payload_bytes as u16).to_be_bytes();
        // RFC 5282 §5.1, RFC 7383 §2.5: everything in front of the initialisation vector is authenticated.
        let mut datagram = [&header.bytes()[..], &[first, 0, high, low], fields].concat();
        let body = self.cipher.seal(self.counter, self.random, &datagram, plain);
        datagram.extend_from_slice(&body);
        // A body of another length would be another message than its header says.
        if datagram.len() == length {
            Ok(datagram)
        } else {
            Err(TooLarge)
        }
    }

    /// RFC 7383 §2.5: all but the last are as large as fits; the first one bears the kind of the first payload.
    fn fragments(&mut self, first: u8, plain: &[u8], bytes_max: usize) -> Result<Vec<Vec<u8>>, TooLarge> {
        let room = self.plain_bytes_max(bytes_max).ok_or(TooLarge)?;
        let total = plain.len().div_ceil(room);
        if total > usize::from(FRAGMENTS_MAX) {
            return Err(TooLarge);
        }
        let mut datagrams = Vec::with_capacity(total);
        for (number, piece) in (1u16..).zip(plain.chunks(room)) {
            let [number_bytes, total_bytes] = [number, total as u16].map(u16::to_be_bytes);
            let fields = [number_bytes, total_bytes].concat();
            let first = if number == 1 { first } else { kind::NONE };
            datagrams.push(self.datagram(kind::ENCRYPTED_FRAGMENT, first, &fields, piece)?);
        }
        Ok(datagrams)
    }

    /// Most bytes inside of one fragment; none if not even one fits.
    fn plain_bytes_max(&self, bytes_max: usize) -> Option<usize> {
        let outside = HEADER_BYTES + PAYLOAD_HEADER_BYTES + FRAGMENT_FIELDS_BYTES;
        let body_bytes = bytes_max.min(MESSAGE_BYTES_MAX).checked_sub(outside)?;
        // What the cipher adds, with padding, is less than 128 bytes.
        let least = body_bytes.saturating_sub(128).max(1);
        (least..=body_bytes)
            .rev()
            .find(|plain| self.cipher.sealed_bytes(*plain) <= body_bytes)
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Sealed({} datagrams, {} bytes inside)",
            self.datagrams.len(),
            self.plain.len()
        )
    }
}

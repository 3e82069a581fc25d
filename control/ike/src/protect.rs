//! Messages sealed and opened (RFC 7296 §3.14), in fragments where they would not fit (RFC 7383).

use crate::crypto::cipher::Cipher;
use crate::random::Random;
use crate::wire::{
    Encrypted, EncryptedFragment, HEADER_BYTES, Header, Message, Payload, TooLarge, WireError, encode_payloads, kind,
    parse_payloads,
};

/// A message as it was before it was sealed: what IKE_INTERMEDIATE adds to AUTH.
#[derive(Clone, Debug)]
pub struct Plain {
    /// Its header.
    pub header: [u8; HEADER_BYTES],
    /// Kind of the first payload inside.
    pub first: u8,
    /// The payloads inside.
    pub bytes: Vec<u8>,
}

/// A message of ours.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// One, or one for each fragment.
    pub datagrams: Vec<Vec<u8>>,
    /// What is in it.
    pub plain: Plain,
}

/// An authentic message of the peer's.
#[derive(Clone, Debug)]
pub struct Inside {
    /// What was in it.
    pub plain: Plain,
    payloads: Result<Vec<Payload>, WireError>,
}

impl Inside {
    fn new(header: &Header, first: u8, bytes: Vec<u8>) -> Inside {
        Inside {
            payloads: parse_payloads(first, &bytes),
            plain: Plain {
                header: header.bytes(),
                first,
                bytes,
            },
        }
    }

    /// Its payloads, or why they cannot be read.
    pub fn payloads(&self) -> Result<&[Payload], WireError> {
        self.payloads.as_deref().map_err(|error| *error)
    }
}

/// Seals a message.
pub fn seal(
    cipher: &Cipher,
    iv: &mut u64,
    header: Header,
    payloads: &[Payload],
    datagram_bytes_max: Option<usize>,
    random: &mut dyn Random,
) -> Result<Sealed, TooLarge> {
    let (first, bytes) = encode_payloads(payloads)?;
    let whole = HEADER_BYTES + 4 + cipher.sealed_bytes(bytes.len());
    let datagrams = match datagram_bytes_max.filter(|max| whole > *max) {
        None => vec![one(cipher, iv, header, kind::ENCRYPTED, &[first, 0], &bytes, random)?],
        Some(max) => {
            let overhead = HEADER_BYTES + 8 + cipher.sealed_bytes(0);
            let room = max.saturating_sub(overhead + 16).max(64);
            let pieces: Vec<_> = bytes.chunks(room).collect();
            let total = u16::try_from(pieces.len()).map_err(|_| TooLarge)?;
            let mut datagrams = Vec::new();
            for (number, piece) in (1u16..).zip(pieces) {
                let next = if number == 1 { first } else { 0 };
                let [n1, n2] = number.to_be_bytes();
                let [t1, t2] = total.to_be_bytes();
                let head = [next, 0, n1, n2, t1, t2];
                datagrams.push(one(cipher, iv, header, kind::ENCRYPTED_FRAGMENT, &head, piece, random)?);
            }
            datagrams
        }
    };
    let plain = Plain {
        header: header.bytes(),
        first,
        bytes,
    };
    Ok(Sealed { datagrams, plain })
}

fn one(
    cipher: &Cipher,
    iv: &mut u64,
    header: Header,
    next: u8,
    head: &[u8],
    plain: &[u8],
    random: &mut dyn Random,
) -> Result<Vec<u8>, TooLarge> {
    let body = head.len() + 2 + cipher.sealed_bytes(plain.len());
    let length = u16::try_from(body).map_err(|_| TooLarge)?;
    let header = Header {
        next,
        length: (HEADER_BYTES + body) as u32,
        ..header
    };
    let mut out = header.bytes().to_vec();
    out.extend_from_slice(&head[..2]);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&head[2..]);
    let sealed = cipher.seal(iv, random, &out, plain);
    out.extend_from_slice(&sealed);
    Ok(out)
}

/// What a datagram turned out to be.
pub enum Opened {
    Whole(Inside),
    Fragment(Fragment),
}

/// An authentic fragment.
pub struct Fragment {
    header: Header,
    pub first: u8,
    pub number: u16,
    pub total: u16,
    bytes: Vec<u8>,
}

/// Not authentic.
#[derive(Debug)]
pub struct Refused;

/// Opens a datagram.
pub fn open(cipher: &Cipher, datagram: &[u8]) -> Result<Opened, Refused> {
    let message = Message::parse(datagram).map_err(|_| Refused)?;
    match message.payloads.last() {
        Some(Payload::Encrypted(Encrypted { first, body })) => {
            let aad = datagram.get(..datagram.len() - body.len()).ok_or(Refused)?;
            let bytes = cipher.open(aad, body).map_err(|_| Refused)?;
            Ok(Opened::Whole(Inside::new(&message.header, *first, bytes)))
        }
        Some(Payload::EncryptedFragment(EncryptedFragment {
            first,
            number,
            total,
            body,
        })) => {
            let aad = datagram.get(..datagram.len() - body.len()).ok_or(Refused)?;
            let bytes = cipher.open(aad, body).map_err(|_| Refused)?;
            Ok(Opened::Fragment(Fragment {
                header: message.header,
                first: *first,
                number: *number,
                total: *total,
                bytes,
            }))
        }
        _ => Err(Refused),
    }
}

/// Puts fragments together.
#[derive(Default, Debug)]
pub struct Reassembly {
    id: u32,
    total: u16,
    first: u8,
    pieces: std::collections::BTreeMap<u16, Vec<u8>>,
}

impl Reassembly {
    pub fn add(&mut self, fragment: Fragment) -> Option<Inside> {
        if fragment.header.message_id != self.id || fragment.total > self.total {
            *self = Reassembly {
                id: fragment.header.message_id,
                total: fragment.total,
                ..Reassembly::default()
            };
        }
        if fragment.total != self.total || fragment.number > fragment.total || fragment.total > 64 {
            return None;
        }
        if fragment.number == 1 {
            self.first = fragment.first;
        }
        self.pieces.entry(fragment.number).or_insert(fragment.bytes);
        if self.pieces.len() < usize::from(self.total) {
            return None;
        }
        let whole = core::mem::take(self);
        let bytes: Vec<u8> = whole.pieces.into_values().flatten().collect();
        Some(Inside::new(&fragment.header, whole.first, bytes))
    }
}

//! Entries for fuzzers: each takes a stranger's bytes and must not panic. Replayed over `fuzz/corpus` by `tests/corpus.rs`.

mod forged;

pub use forged::{Forged, Inside, forge, read};

use crate::crypto::cipher::Cipher;
use crate::proposal::{accept_esp, accept_ike, choose_esp, choose_ike, offer_esp, offer_ike};
use crate::protect::{self, Reassembly};
use crate::random::Random;
use crate::secret::Secret;
use crate::selector::Selector;
use crate::selectors::{self, Selectors};
use crate::transform::{Encryption, EspProposal, Group, IkeProposal, IkeSuite, Integrity, Prf};
use crate::wire::{
    Encrypted, EncryptedFragment, Exchange, Flags, Header, Message, Payload, encode_payloads, parse_payloads,
};

/// A datagram. What parses is written again to the same.
pub fn fuzz_message(data: &[u8]) {
    let _ = protect::repeats(data);
    let Ok(message) = Message::parse(data) else { return };
    let written = message.encode().expect("what came in one datagram fits into one");
    let again = Message::parse(&written).expect("what was written parses");
    assert_eq!(again.payloads, message.payloads, "changes when written");
    negotiate(&message.payloads);
}

/// What a peer with the keys seals: the first byte chooses the cipher, the second the kind of the first payload, the third how it is cut;
/// the rest is the inside.
pub fn fuzz_inside(data: &[u8]) {
    let [suite, first, cut, inside @ ..] = data else { return };
    let cipher = cipher(*suite);
    let expected = parse_payloads(*first, inside);
    let mut reassembly = Reassembly::default();
    let mut opened = Ok(None);
    for datagram in datagrams(&cipher, *first, *cut, inside) {
        assert_eq!(opened, Ok(None), "whole before the last fragment");
        opened = protect::open(&cipher, &datagram, Some(&mut reassembly));
    }
    match (opened, expected) {
        (Ok(Some(opened)), Ok(expected)) => {
            assert_eq!(opened.payloads, expected);
            let (_, written) = encode_payloads(&expected).expect("what came in one message fits into one");
            assert_eq!(
                parse_payloads(*first, &written),
                Ok(expected.clone()),
                "changes when written"
            );
            negotiate(&expected);
        }
        (Err(protect::OpenError::Inside(got)), Err(expected)) => assert_eq!(got, expected),
        (opened, expected) => panic!("{opened:?} is not {expected:?}"),
    }
    assert_eq!(reassembly, Reassembly::default());
}

/// The inside sealed as it is: whole (0), or in 1 to 7 pieces, the last one first with the high bit.
fn datagrams(cipher: &Cipher, first: u8, cut: u8, inside: &[u8]) -> Vec<Vec<u8>> {
    let pieces = usize::from(cut & 7);
    if pieces == 0 || inside.is_empty() {
        return vec![seal(cipher, inside, |body| {
            Payload::Encrypted(Encrypted { first, body })
        })];
    }
    let chunks: Vec<_> = inside.chunks(inside.len().div_ceil(pieces)).collect();
    let total = chunks.len() as u16;
    let mut datagrams = Vec::new();
    for (number, chunk) in (1..).zip(chunks) {
        let first = if number == 1 { first } else { 0 };
        let fragment = |body| {
            Payload::EncryptedFragment(EncryptedFragment {
                first,
                number,
                total,
                body,
            })
        };
        datagrams.push(seal(cipher, chunk, fragment));
    }
    if cut & 0x80 != 0 {
        datagrams.reverse();
    }
    datagrams
}

fn seal(cipher: &Cipher, plain: &[u8], payload: impl Fn(Vec<u8>) -> Payload) -> Vec<u8> {
    let flags = Flags {
        initiator: true,
        response: false,
    };
    let header = Header::new(1, 2, Exchange::Informational, flags, 3);
    seal_under(cipher, header, plain, payload)
}

fn seal_under(cipher: &Cipher, header: Header, plain: &[u8], payload: impl Fn(Vec<u8>) -> Payload) -> Vec<u8> {
    let message = |body| Message {
        header,
        payloads: vec![payload(body)],
    };
    let bytes = cipher.sealed_bytes(plain.len());
    let mut datagram = message(vec![0; bytes]).encode().expect("a fuzzer's input is short");
    datagram.truncate(datagram.len() - bytes);
    let body = cipher.seal(&mut 1, &mut Zeros, &datagram, plain);
    datagram.extend_from_slice(&body);
    datagram
}

/// No randomness: the same input is the same run.
struct Zeros;

impl Random for Zeros {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

fn cipher(choice: u8) -> Cipher {
    let (encryption, integrity) = match choice % 4 {
        0 => (Encryption::AesGcm16(256), None),
        1 => (Encryption::ChaCha20Poly1305, None),
        2 => (Encryption::AesCbc(128), Some(Integrity::HmacSha256)),
        _ => (Encryption::AesCbc(256), Some(Integrity::HmacSha512)),
    };
    let suite = IkeSuite {
        encryption,
        integrity,
        prf: Prf::HmacSha256,
        group: Group::Curve25519,
        additional: Vec::new(),
    };
    let key = Secret::new(vec![1; encryption.key_bytes() + encryption.salt_bytes()]);
    let integrity_key = Secret::new(vec![2; integrity.map_or(0, Integrity::key_bytes)]);
    Cipher::new(&suite, &key, &integrity_key).expect("keys of the suite's sizes")
}

/// Everything that is made of proposals and selectors. Whoever agreed holds what the other side can accept.
fn negotiate(payloads: &[Payload]) {
    let ike = IkeProposal {
        encryption: vec![Encryption::AesGcm16(256), Encryption::AesCbc(256)],
        integrity: vec![Integrity::HmacSha256],
        prf: vec![Prf::HmacSha256],
        groups: vec![Group::Curve25519, Group::Modp2048],
        additional: vec![vec![Some(Group::MlKem768), None]],
    };
    let esp = EspProposal {
        encryption: vec![Encryption::AesGcm16(256)],
        groups: vec![Some(Group::Curve25519), None],
        additional: vec![vec![Some(Group::MlKem768), None]],
        esn: vec![true, false],
    };
    let any = vec![Selector::ANY_IPV4, Selector::ANY_IPV6];
    let any = Selectors {
        initiator: any.clone(),
        responder: any,
    };
    let (ike, esp) = ([ike], [esp]);
    for payload in payloads {
        if let Payload::SecurityAssociation(theirs) = payload {
            for spi in [None, Some(9)] {
                match choose_ike(&ike, theirs, spi) {
                    Ok(agreed) => assert!(agreed.suite.encryption.is_aead() == agreed.suite.integrity.is_none()),
                    Err(mismatch) => assert!(mismatch.explain("peer").len() < 8192),
                }
                let _ = accept_ike(&offer_ike(&ike, spi), theirs);
            }
            for key_exchange in [false, true] {
                match choose_esp(&esp, theirs, 0x1000, key_exchange) {
                    Ok(agreed) => assert!(agreed.peer_spi > 255 && (key_exchange || agreed.suite.group.is_none())),
                    Err(mismatch) => assert!(mismatch.explain("peer").len() < 8192),
                }
                let _ = accept_esp(&offer_esp(&esp, 0x1000, key_exchange), theirs).map_err(|error| error.to_string());
            }
        }
        if let Payload::SelectorsInitiator(list) | Payload::SelectorsResponder(list) = payload {
            match selectors::narrow(&any, list, list) {
                Ok(narrowed) => assert!(selectors::is_subset(&narrowed.initiator, &any.initiator)),
                Err(unacceptable) => assert!(unacceptable.to_string().len() < 4096),
            }
            let _ = selectors::accept(&any, list, list);
        }
    }
}

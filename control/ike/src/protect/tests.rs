use super::*;
use crate::crypto::cipher::Cipher;
use crate::random::Random;
use crate::secret::Secret;
use crate::transform::{Encryption, Group, IkeSuite, Integrity, Prf};
use crate::wire::{
    Encrypted, Exchange, Fault, Flags, Header, Message, Nonce, Payload, TooLarge, WireError, arbitrary, notify,
};
use proptest::prelude::*;

/// Bytes that count up: these tests need no others.
struct Counting(u8);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
}

const SUITES: [(Encryption, Option<Integrity>); 8] = [
    (Encryption::AesGcm16(128), None),
    (Encryption::AesGcm16(256), None),
    (Encryption::ChaCha20Poly1305, None),
    (Encryption::AesCbc(128), Some(Integrity::HmacSha256)),
    (Encryption::AesCbc(256), Some(Integrity::HmacSha256)),
    (Encryption::AesCbc(256), Some(Integrity::HmacSha384)),
    (Encryption::AesCbc(128), Some(Integrity::HmacSha512)),
    (Encryption::AesCbc(256), Some(Integrity::HmacSha512)),
];

fn cipher((encryption, integrity): (Encryption, Option<Integrity>)) -> Cipher {
    let suite = IkeSuite {
        encryption,
        integrity,
        prf: Prf::HmacSha256,
        group: Group::Ecp256,
        additional: vec![],
    };
    let key = Secret::new(vec![3; encryption.key_bytes() + encryption.salt_bytes()]);
    Cipher::new(
        &suite,
        &key,
        &Secret::new(vec![4; integrity.map_or(0, Integrity::key_bytes)]),
    )
    .unwrap()
}

fn gcm() -> Cipher {
    cipher(SUITES[1])
}

fn header(message_id: u32) -> Header {
    Header::new(
        1,
        2,
        Exchange::IkeAuth,
        Flags {
            initiator: true,
            response: false,
        },
        message_id,
    )
}

fn sealed(cipher: &Cipher, payloads: &[Payload], bytes_max: Option<usize>) -> Result<Sealed, TooLarge> {
    seal(cipher, &mut 7, &mut Counting(0), header(5), payloads, bytes_max)
}

/// `count` fragments of a message with this id.
fn fragments(message_id: u32, response: bool, count: usize) -> Vec<Vec<u8>> {
    let header = Header {
        flags: Flags {
            initiator: true,
            response,
        },
        ..header(message_id)
    };
    let payloads = [Payload::VendorId(
        (0..100 * count - 50).map(|byte| byte as u8).collect(),
    )];
    let most = 28 + 8 + gcm().sealed_bytes(100);
    let sealed = seal(&gcm(), &mut 0, &mut Counting(0), header, &payloads, Some(most)).unwrap();
    assert_eq!(sealed.datagrams.len(), count);
    sealed.datagrams
}

proptest! {
    /// Whatever is sealed, whole or in fragments in any order and with repetitions, comes out the same, and no datagram is too long.
    #[test]
    fn what_is_sealed_is_opened(
        suite in 0..SUITES.len(),
        payloads in arbitrary::payloads(),
        bytes_max in proptest::option::of(300usize..1500),
        order in any::<u64>(),
    ) {
        let cipher = cipher(SUITES[suite]);
        let mut counter = 9;
        let sealed = seal(&cipher, &mut counter, &mut Counting(1), header(5), &payloads, bytes_max).unwrap();
        prop_assert!(sealed.datagrams.iter().all(|datagram| datagram.len() <= bytes_max.unwrap_or(usize::MAX)));
        if SUITES[suite].0.is_aead() {
            prop_assert_eq!(counter, 9 + sealed.datagrams.len() as u64);
        }
        let mut shuffled: Vec<_> = sealed.datagrams.iter().chain(&sealed.datagrams).collect();
        shuffled.sort_by_key(|datagram| datagram.iter().fold(order | 1, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)));
        let mut reassembly = Reassembly::default();
        let opened: Vec<_> = shuffled.iter().filter_map(|datagram| open(&cipher, datagram, Some(&mut reassembly)).unwrap()).collect();
        prop_assert!(!opened.is_empty());
        for opened in opened {
            prop_assert_eq!(&opened.payloads, &payloads);
            prop_assert_eq!((opened.first, &opened.plain), (sealed.first, &sealed.plain));
        }
    }

    /// Any other byte, anywhere, and it does not open.
    #[test]
    fn every_bit_is_authenticated(suite in 0..SUITES.len(), at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<bool>()) {
        let cipher = cipher(SUITES[suite]);
        let payloads = [Payload::VendorId(vec![5; 200])];
        let mut datagrams = sealed(&cipher, &payloads, cut.then_some(250)).unwrap().datagrams;
        let datagram = datagrams.last_mut().unwrap();
        let at = at.index(datagram.len());
        datagram[at] ^= 1 << bit;
        let mut reassembly = Reassembly::default();
        prop_assert!(open(&cipher, datagram, Some(&mut reassembly)).is_err());
        prop_assert_eq!(reassembly, Reassembly::default());
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), next in prop_oneof![Just(46u8), Just(53), any::<u8>()]) {
        let mut datagram = [&header(5).bytes()[..], &bytes].concat();
        datagram[16] = next;
        let length = (datagram.len() as u32).to_be_bytes();
        datagram[24..28].copy_from_slice(&length);
        for suite in SUITES {
            prop_assert!(open(&cipher(suite), &datagram, Some(&mut Reassembly::default())).is_err());
        }
        let _ = repeats(&datagram);
    }
}

/// RFC 7296 §1.4: liveness is an empty inside.
#[test]
fn empty_inside() {
    for suite in SUITES {
        let cipher = cipher(suite);
        let sealed = sealed(&cipher, &[], Some(1000)).unwrap();
        let opened = open(&cipher, &sealed.datagrams[0], None).unwrap().unwrap();
        assert_eq!(
            (opened.first, opened.payloads, opened.header.message_id),
            (0, vec![], 5)
        );
    }
}

/// RFC 7383 §2.5: the cut is exact, the numbers are right, the first fragment alone bears the kind of the first payload.
#[test]
fn fragments_fill_what_they_may() {
    let payloads = [
        Payload::Nonce(Nonce::new(vec![1; 32]).unwrap()),
        Payload::VendorId(vec![2; 5000]),
    ];
    for suite in SUITES {
        let cipher = cipher(suite);
        let whole = sealed(&cipher, &payloads, None).unwrap();
        assert_eq!(
            sealed(&cipher, &payloads, Some(whole.datagrams[0].len()))
                .unwrap()
                .datagrams
                .len(),
            1
        );
        assert!(
            sealed(&cipher, &payloads, Some(whole.datagrams[0].len() - 1))
                .unwrap()
                .datagrams
                .len()
                > 1
        );
        let cut = sealed(&cipher, &payloads, Some(1252)).unwrap();
        let total = cut.datagrams.len();
        for (at, datagram) in cut.datagrams.iter().enumerate() {
            let message = Message::parse(datagram).unwrap();
            let [Payload::EncryptedFragment(fragment)] = &message.payloads[..] else {
                panic!()
            };
            assert_eq!(
                (usize::from(fragment.number), usize::from(fragment.total)),
                (at + 1, total)
            );
            assert_eq!(fragment.first, if at == 0 { 40 } else { 0 });
            // Padding may leave up to a block.
            assert!(
                datagram.len() <= 1252 && (at + 1 == total || datagram.len() > 1252 - 16),
                "{}",
                datagram.len()
            );
        }
    }
}

/// RFC 7383 §2.6: a repetition is not even verified; a finer cut starts anew; a coarser one is ignored.
#[test]
fn totals_only_grow() {
    let (coarse, fine) = (fragments(5, false, 3), fragments(5, false, 4));
    let mut reassembly = Reassembly::default();
    let mut add = |datagram: &[u8]| open(&gcm(), datagram, Some(&mut reassembly)).map(|opened| opened.is_some());
    assert_eq!(add(&coarse[0]), Ok(false));
    let mut forged = coarse[0].clone();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(add(&forged), Ok(false), "thrown away unverified");
    assert_eq!(add(&fine[2]), Ok(false));
    assert_eq!(add(&coarse[1]), Ok(false));
    assert_eq!(add(&coarse[2]), Ok(false), "the coarse cut is never finished");
    assert_eq!(add(&fine[0]), Ok(false));
    assert_eq!(add(&fine[1]), Ok(false));
    assert_eq!(add(&fine[3]), Ok(true));
    assert_eq!(reassembly.bytes(), 0);
}

/// A request and a response come at the same time and do not disturb each other; the next request ends the wait for the last.
#[test]
fn messages_are_kept_apart() {
    let (request, response, next) = (fragments(5, false, 2), fragments(5, true, 2), fragments(6, false, 2));
    let mut reassembly = Reassembly::default();
    let mut add = |datagram: &[u8]| open(&gcm(), datagram, Some(&mut reassembly)).unwrap().is_some();
    assert!(!add(&request[0]) && !add(&response[1]));
    assert!(add(&request[1]) && add(&response[0]));
    assert!(!add(&request[0]) && !add(&next[1]) && !add(&request[1]));
    assert!(!add(&next[1]) && add(&next[0]));
}

/// What is kept survives a restart of the process, and is not printed.
#[test]
fn reassembly_is_stored() {
    let request = fragments(5, false, 2);
    let mut reassembly = Reassembly::default();
    assert_eq!(open(&gcm(), &request[0], Some(&mut reassembly)), Ok(None));
    let mut again: Reassembly = serde_json::from_str(&serde_json::to_string(&reassembly).unwrap()).unwrap();
    assert_eq!(again, reassembly);
    assert_eq!(format!("{again:?}"), "Reassembly(request 1/2, response 0/0)");
    assert!(open(&gcm(), &request[1], Some(&mut again)).unwrap().is_some());
}

#[test]
fn bounds() {
    let cipher = gcm();
    assert_eq!(
        sealed(&cipher, &[Payload::VendorId(vec![0; 65_000])], Some(500)),
        Err(TooLarge),
        "more than 64 fragments"
    );
    assert!(sealed(&cipher, &[Payload::VendorId(vec![0; 65_000])], Some(1100)).is_ok());
    assert_eq!(
        sealed(&cipher, &[Payload::VendorId(vec![0; 65_500])], None),
        Err(TooLarge)
    );
    assert_eq!(
        sealed(&cipher, &[Payload::VendorId(vec![0; 100])], Some(40)),
        Err(TooLarge),
        "no room at all"
    );
    // Somebody's 65 fragments, and fragments that pass 64 KiB together.
    let mut many = fragments(5, false, 2).remove(0);
    many[34..36].copy_from_slice(&65u16.to_be_bytes());
    let too_many = WireError::Payload {
        kind: 53,
        fault: Fault::TooMany,
    };
    assert_eq!(
        open(&cipher, &many, Some(&mut Reassembly::default())),
        Err(OpenError::Outside(too_many))
    );
    let payloads = [Payload::VendorId(vec![0; 65_000]), Payload::VendorId(vec![0; 1000])];
    let long = sealed(&cipher, &payloads, Some(60_000)).unwrap();
    let mut reassembly = Reassembly::default();
    assert_eq!(open(&cipher, &long.datagrams[0], Some(&mut reassembly)), Ok(None));
    assert_eq!(
        open(&cipher, &long.datagrams[1], Some(&mut reassembly)),
        Err(OpenError::Inside(too_many))
    );
    assert_eq!(reassembly.bytes(), 0);
}

#[test]
fn whose_fault() {
    let cipher = gcm();
    let clear = Message {
        header: header(5),
        payloads: vec![Payload::VendorId(vec![1])],
    };
    assert_eq!(open(&cipher, &clear.encode().unwrap(), None), Err(OpenError::NotSealed));
    assert_eq!(open(&cipher, &header(5).bytes(), None), Err(OpenError::NotSealed));
    let fragment = fragments(5, false, 2).remove(0);
    assert_eq!(open(&cipher, &fragment, None), Err(OpenError::UnexpectedFragment));
    assert!(matches!(
        open(&cipher, &fragment[..60], None),
        Err(OpenError::Outside(WireError::Length { .. }))
    ));
    assert_eq!(
        open(
            &self::cipher(SUITES[0]),
            &sealed(&cipher, &[], None).unwrap().datagrams[0],
            None
        ),
        Err(OpenError::Unauthentic)
    );
    // An inside that is no payload, sealed with the right keys.
    let plain = [0, 0, 0, 3];
    let mut message = Message {
        header: header(5),
        payloads: vec![Payload::Encrypted(Encrypted {
            first: 41,
            body: vec![0; cipher.sealed_bytes(4)],
        })],
    };
    let outside = message.encode().unwrap()[..32].to_vec();
    message.payloads = vec![Payload::Encrypted(Encrypted {
        first: 41,
        body: cipher.seal(&mut 1, &mut Counting(0), &outside, &plain),
    })];
    let error = open(&cipher, &message.encode().unwrap(), None).unwrap_err();
    assert_eq!(error, OpenError::Inside(WireError::Chain(Fault::Short)));
    let OpenError::Inside(error) = error else { panic!() };
    assert_eq!(error.notify().unwrap().kind, notify::INVALID_SYNTAX);
}

/// RFC 7383 §2.6.1.
#[test]
fn one_fragment_repeats_a_request() {
    let request = fragments(5, false, 3);
    assert_eq!(
        request.iter().map(|datagram| repeats(datagram)).collect::<Vec<_>>(),
        [true, false, false]
    );
    assert!(repeats(&sealed(&gcm(), &[], None).unwrap().datagrams[0]));
    assert!(!repeats(&[0; 40]));
}

/// RFC 9242 §3.3.2: both sides see the same, fragmented or not.
#[test]
fn what_auth_covers_is_the_same_on_both_sides() {
    let payloads = [Payload::VendorId(vec![2; 2000])];
    for most in [None, Some(600)] {
        let sealed = sealed(&gcm(), &payloads, most).unwrap();
        let mut reassembly = Reassembly::default();
        let opened = sealed
            .datagrams
            .iter()
            .filter_map(|datagram| open(&gcm(), datagram, Some(&mut reassembly)).unwrap())
            .last()
            .unwrap();
        assert_eq!((sealed.first, &sealed.plain), (opened.first, &opened.plain));
        // Next payload and length are made the same before they are signed.
        assert_eq!(
            (&sealed.header_bytes[..16], &sealed.header_bytes[17..24]),
            (&opened.header_bytes[..16], &opened.header_bytes[17..24])
        );
    }
}

#[test]
fn room_in_a_datagram() {
    let (v4, v6) = ([192, 0, 2, 1].into(), [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into());
    assert_eq!(message_bytes_max(1280, v4, false), 1252);
    assert_eq!(message_bytes_max(1280, v4, true), 1248);
    assert_eq!(message_bytes_max(1280, v6, true), 1228);
    assert_eq!(message_bytes_max(20, v6, true), 0);
}

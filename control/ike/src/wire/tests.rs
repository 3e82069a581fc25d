use super::*;
use proptest::prelude::*;

/// A datagram: header of `next`, then `payloads` as they are.
fn datagram(next: u8, payloads: &[u8]) -> Vec<u8> {
    let mut header = Header::new(1, 0, Exchange::IkeSaInit, Flags::default(), 0);
    header.next = next;
    header.length = (HEADER_BYTES + payloads.len()) as u32;
    [&header.bytes()[..], payloads].concat()
}

fn one(kind: u8, body: &[u8]) -> Result<Payload, WireError> {
    let bytes = [&[0, 0, 0, 4 + body.len() as u8][..], body].concat();
    parse_payloads(kind, &bytes).map(|mut payloads| payloads.remove(0))
}

fn fault(kind: u8, body: &[u8]) -> Fault {
    match one(kind, body) {
        Err(WireError::Payload { kind: of, fault }) if of == kind => fault,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_parsed(header in arbitrary::header(), payloads in arbitrary::payloads(), sealed in proptest::option::of(arbitrary::sealed())) {
        let mut payloads = payloads;
        payloads.extend(sealed);
        let message = Message { header, payloads };
        let datagram = message.encode().unwrap();
        let again = Message::parse(&datagram).unwrap();
        prop_assert_eq!(&again.payloads, &message.payloads);
        let sent = Header { next: again.header.next, length: datagram.len() as u32, ..header };
        prop_assert_eq!(again.header, sent);
        prop_assert_eq!(again.encode().unwrap(), datagram);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), first in 0u8..60) {
        let _ = Message::parse(&bytes);
        let _ = Message::parse(&datagram(first, &bytes));
        let _ = parse_payloads(first, &bytes);
    }

    /// A cut or a flipped bit never panics and never yields what was not there: what parses encodes to as many bytes.
    #[test]
    fn damage_never_panics(payloads in arbitrary::payloads(), at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<prop::sample::Index>()) {
        let (first, mut bytes) = encode_payloads(&payloads).unwrap();
        let _ = parse_payloads(first, &bytes[..cut.index(bytes.len() + 1)]);
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Ok(parsed) = parse_payloads(first, &bytes) {
                prop_assert_eq!(encode_payloads(&parsed).unwrap().1.len(), bytes.len());
            }
        }
    }
}

/// RFC 7296 §3.1.
#[test]
fn header() {
    let mut bytes = datagram(0, &[]);
    assert_eq!(Message::parse(&bytes).unwrap().payloads, []);
    assert_eq!(Header::parse(&bytes[..27]), Err(WireError::NotIke));
    // Reserved flags, the version flag and the minor version are ignored (§2.5, §3.1).
    bytes[19] = 0xff;
    bytes[17] = 0x2f;
    let header = Message::parse(&bytes).unwrap().header;
    assert_eq!(
        header.flags,
        Flags {
            initiator: true,
            response: true
        }
    );
    bytes[17] = 0x30;
    assert_eq!(Message::parse(&bytes), Err(WireError::Version(3)));
    assert_eq!(Header::parse(&bytes).unwrap().version, 0x30);
    bytes[17] = 0x10;
    assert_eq!(Message::parse(&bytes), Err(WireError::Version(1)));
    bytes[17] = 0x20;
    bytes.push(0);
    assert_eq!(Message::parse(&bytes), Err(WireError::Length { said: 28, got: 29 }));
    bytes[..8].fill(0);
    assert_eq!(Header::parse(&bytes), Err(WireError::NotIke));
}

/// RFC 7296 §2.21: what is answered, and what is not.
#[test]
fn errors_that_are_answered() {
    let kind = |error: WireError| error.notify().map(|notify| (notify.kind, notify.data));
    assert_eq!(kind(WireError::NotIke), None);
    assert_eq!(kind(WireError::Version(1)), None);
    assert_eq!(
        kind(WireError::Version(3)),
        Some((notify::INVALID_MAJOR_VERSION, vec![]))
    );
    assert_eq!(kind(WireError::UnsupportedCritical(77)), Some((1, vec![77])));
    assert_eq!(kind(WireError::Chain(Fault::Short)), Some((7, vec![])));
}

#[test]
fn longest_message() {
    let bytes = vec![0; 65_535 - HEADER_BYTES - 4];
    let message = |data: Vec<u8>| Message {
        header: Header::new(1, 2, Exchange::Informational, Flags::default(), 3),
        payloads: vec![Payload::VendorId(data)],
    };
    let longest = message(bytes.clone());
    let datagram = longest.encode().unwrap();
    assert_eq!(Message::parse(&datagram).unwrap().payloads, longest.payloads);
    assert_eq!(message([bytes, vec![0]].concat()).encode(), Err(TooLarge));
    assert_eq!(encode_payloads(&[Payload::VendorId(vec![0; 65_532])]), Err(TooLarge));
}

/// RFC 7296 §2.5: an unknown payload is skipped, unless it is critical.
#[test]
fn critical_bit() {
    let unknown = Payload::Unknown {
        kind: 200,
        data: vec![9],
    };
    assert_eq!(parse_payloads(200, &[0, 0, 0, 5, 9]), Ok(vec![unknown]));
    assert_eq!(
        parse_payloads(200, &[0, 0x80, 0, 5, 9]),
        Err(WireError::UnsupportedCritical(200))
    );
    // Reserved bits beside it are ignored (§3.2).
    assert!(parse_payloads(200, &[0, 0x7f, 0, 5, 9]).is_ok());
    // It means nothing on what RFC 7296 defines.
    for kind in [kind::VENDOR_ID, kind::CONFIGURATION, kind::EAP] {
        assert!(parse_payloads(kind, &[0, 0x80, 0, 5, 9]).is_ok());
    }
}

#[test]
fn chain() {
    let chain = |first, bytes: &[u8]| parse_payloads(first, bytes).map(|payloads| payloads.len());
    assert_eq!(chain(0, &[]), Ok(0));
    assert_eq!(chain(0, &[0]), Err(WireError::Chain(Fault::LeftOver)));
    assert_eq!(chain(43, &[]), Err(WireError::Chain(Fault::Short)));
    assert_eq!(chain(43, &[0, 0, 0, 3]), Err(WireError::Chain(Fault::Short)));
    assert_eq!(chain(43, &[0, 0, 0, 5]), Err(WireError::Chain(Fault::Short)));
    assert_eq!(chain(43, &[43, 0, 0, 4, 0, 0, 0, 4]), Ok(2));
    assert_eq!(
        chain(43, &[0, 0, 0, 4, 0, 0, 0, 4]),
        Err(WireError::Chain(Fault::LeftOver))
    );
    let many = |count: usize| [&[43, 0, 0, 4].repeat(count - 1)[..], &[0, 0, 0, 4]].concat();
    assert_eq!(chain(43, &many(PAYLOADS_MAX)), Ok(PAYLOADS_MAX));
    assert_eq!(
        chain(43, &many(PAYLOADS_MAX + 1)),
        Err(WireError::Chain(Fault::TooMany))
    );
}

/// RFC 7296 §3.14: an encrypted payload is the last one, and holds no other.
#[test]
fn encrypted_payloads() {
    let sealed = Payload::Encrypted(Encrypted {
        first: 41,
        body: vec![7],
    });
    let parse = |next, bytes: &[u8]| Message::parse(&datagram(next, bytes)).map(|message| message.payloads);
    assert_eq!(parse(46, &[41, 0, 0, 5, 7]), Ok(vec![sealed]));
    let empty = Payload::Encrypted(Encrypted { first: 0, body: vec![] });
    assert_eq!(parse(46, &[0, 0, 0, 4]), Ok(vec![empty]));
    assert_eq!(
        parse(46, &[41, 0, 0, 4, 0, 0, 0, 4]),
        Err(WireError::Chain(Fault::Misplaced))
    );
    assert_eq!(
        parse_payloads(46, &[41, 0, 0, 5, 7]),
        Err(WireError::Chain(Fault::Misplaced))
    );
    // RFC 7383 §2.5: fragments count from 1 to the total.
    let fragment = |number, total| parse(53, &[0, 0, 0, 9, 0, number, 0, total, 1]);
    assert!(fragment(2, 2).is_ok());
    let refused = Err(WireError::Payload {
        kind: 53,
        fault: Fault::FragmentNumber,
    });
    assert_eq!(
        (fragment(0, 2), fragment(3, 2), fragment(0, 0)),
        (refused.clone(), refused.clone(), refused)
    );
}

/// RFC 7296 §3.9.
#[test]
fn nonce_sizes() {
    assert_eq!(fault(kind::NONCE, &[0; 15]), Fault::NonceSize);
    assert!(one(kind::NONCE, &[0; 16]).is_ok());
    assert!(Nonce::new(vec![0; 256]).is_some() && Nonce::new(vec![0; 257]).is_none());
}

/// RFC 7296 §2.15: AUTH covers the reserved octets as they came.
#[test]
fn reserved_octets_of_an_identity_stay() {
    let body = [2, 1, 2, 3, b'a'];
    let Ok(Payload::IdInitiator(id)) = one(kind::ID_INITIATOR, &body) else {
        panic!()
    };
    assert_eq!(id.bytes(), body);
    assert_eq!(fault(kind::ID_RESPONDER, &[2, 0, 0]), Fault::Short);
}

/// RFC 7296 §3.11.
#[test]
fn deletes() {
    let delete = |body: &[u8]| match one(kind::DELETE, body) {
        Ok(Payload::Delete(delete)) => Ok(delete),
        Err(WireError::Payload { fault, .. }) => Err(fault),
        other => panic!("{other:?}"),
    };
    assert_eq!(delete(&[1, 0, 0, 0]), Ok(Delete::Ike));
    assert_eq!(delete(&[1, 0, 0, 1]), Err(Fault::Count));
    assert_eq!(delete(&[1, 8, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8]), Err(Fault::SpiSize));
    assert_eq!(delete(&[3, 4, 0, 1, 1, 2, 3, 4]), Ok(Delete::Esp(vec![0x0102_0304])));
    assert_eq!(delete(&[2, 4, 0, 0]), Ok(Delete::Ah(vec![])));
    assert_eq!(delete(&[3, 4, 0, 2, 1, 2, 3, 4]), Err(Fault::Count));
    assert_eq!(delete(&[3, 4, 255, 255]), Err(Fault::Count));
    assert_eq!(delete(&[3, 4, 0, 0, 9]), Err(Fault::LeftOver));
    assert_eq!(delete(&[3, 0, 0, 0]), Err(Fault::SpiSize));
}

/// RFC 7296 §3.10.
#[test]
fn notifications() {
    let parse = |body: &[u8]| match one(kind::NOTIFY, body) {
        Ok(Payload::Notify(notify)) => notify,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        parse(&[3, 4, 0x40, 9, 0, 0, 1, 0]),
        Notify::of_child(notify::REKEY_SA, 256)
    );
    let invalid_ke = parse(&[0, 0, 0, 17, 0, 19]);
    assert!(invalid_ke.is_error());
    assert_eq!(invalid_ke.numbers(), Some(vec![19]));
    assert_eq!(parse(&[0, 0, 0, 17, 0, 19, 0]).numbers(), None);
    assert_eq!(parse(&[9, 3, 0x40, 0, 1, 2, 3, 4]).spi, [1, 2, 3]);
    assert_eq!(fault(kind::NOTIFY, &[0, 1, 0x40, 0]), Fault::Short);
    assert_eq!(notify::name(14), Some("NO_PROPOSAL_CHOSEN"));
    assert_eq!(notify::name(16_444), Some("SA_RESOURCE_INFO"));
    assert_eq!(notify::meaning(60_000), None);
}

/// One transform of a proposal, with its "last" octet and attributes.
fn transform(last: u8, attributes: &[u8]) -> Vec<u8> {
    [&[last, 0, 0, 8 + attributes.len() as u8, 1, 0, 0, 20][..], attributes].concat()
}

fn proposal(last: u8, number: u8, count: u8, transforms: &[u8]) -> Vec<u8> {
    [
        &[last, 0, 0, 8 + transforms.len() as u8, number, 1, 0, count][..],
        transforms,
    ]
    .concat()
}

/// RFC 7296 §3.3.1, §3.3.2: the "last" octets, counts and numbers agree with what follows.
#[test]
fn proposals_are_counted() {
    let parse = |body: &[u8]| match one(kind::SECURITY_ASSOCIATION, body) {
        Ok(Payload::SecurityAssociation(proposals)) => Ok(proposals.len()),
        Err(WireError::Payload { fault, .. }) => Err(fault),
        other => panic!("{other:?}"),
    };
    let (more, end) = (transform(3, &[]), transform(0, &[]));
    assert_eq!(parse(&proposal(0, 1, 2, &[&more[..], &end].concat())), Ok(1));
    assert_eq!(parse(&proposal(0, 7, 1, &end)), Ok(1));
    assert_eq!(parse(&proposal(0, 0, 1, &end)), Err(Fault::Number));
    assert_eq!(parse(&proposal(0, 1, 0, &[])), Ok(1));
    assert_eq!(parse(&[]), Err(Fault::Short));
    for wrong in [
        proposal(0, 1, 1, &[&more[..], &end].concat()),
        proposal(0, 1, 3, &[&more[..], &end].concat()),
        proposal(0, 1, 2, &[&end[..], &end].concat()),
        proposal(0, 1, 1, &more),
        proposal(0, 1, 1, &transform(2, &[])),
        proposal(2, 1, 1, &end),
        proposal(3, 1, 1, &end),
    ] {
        assert!(
            matches!(parse(&wrong), Err(Fault::Count | Fault::LeftOver)),
            "{wrong:?}"
        );
    }
    let two = |first, second| [proposal(2, first, 1, &end), proposal(0, second, 1, &end)].concat();
    assert_eq!(parse(&two(1, 2)), Ok(2));
    assert_eq!(parse(&two(1, 1)), Err(Fault::Number));
    assert_eq!(parse(&two(1, 3)), Err(Fault::Number));
    assert_eq!(parse(&two(255, 0)), Err(Fault::Number));
    assert_eq!(
        parse(&[&proposal(0, 1, 1, &end)[..], &proposal(0, 2, 1, &end)].concat()),
        Err(Fault::Count)
    );
}

#[test]
fn proposals_are_bounded() {
    let parse = |body: &[u8]| {
        let bytes = [&[0, 0][..], &(4 + body.len() as u16).to_be_bytes(), body].concat();
        parse_payloads(kind::SECURITY_ASSOCIATION, &bytes)
    };
    let many = |count: u8| {
        let proposals = (1..=count).map(|number| proposal(if number == count { 0 } else { 2 }, number, 0, &[]));
        proposals.collect::<Vec<_>>().concat()
    };
    let refused = Err(WireError::Payload {
        kind: 33,
        fault: Fault::TooMany,
    });
    assert!(parse(&many(32)).is_ok());
    assert_eq!(parse(&many(33)), refused);
    let transforms = |count: u8| {
        let list = [
            &transform(3, &[]).repeat(usize::from(count) - 1)[..],
            &transform(0, &[]),
        ]
        .concat();
        let length = (8 + list.len() as u16).to_be_bytes();
        [&[0, 0][..], &length, &[1, 1, 0, count], &list].concat()
    };
    assert!(parse(&transforms(64)).is_ok());
    assert_eq!(parse(&transforms(65)), refused);
}

/// RFC 7296 §3.3.1: no SPI or 8 bytes for IKE, 4 for ESP.
#[test]
fn spi_sizes() {
    let parse = |protocol, bytes: u8| {
        let body = [
            &[0, 0, 0, 8 + bytes, 1, protocol, bytes, 0][..],
            &vec![1; usize::from(bytes)],
        ]
        .concat();
        one(kind::SECURITY_ASSOCIATION, &body).is_ok()
    };
    let allowed = |protocol| (0..20).filter(|bytes| parse(protocol, *bytes)).collect::<Vec<_>>();
    assert_eq!(allowed(protocol::IKE), [0, 8]);
    assert_eq!(allowed(protocol::ESP), [4]);
    assert_eq!(allowed(protocol::AH), [4]);
    assert_eq!(allowed(9).len(), 20);
}

/// RFC 7296 §3.3.5: the key length has the short form; anything else stays as it came.
#[test]
fn attributes() {
    let parse = |attributes: &[u8]| {
        let body = proposal(0, 1, 1, &transform(0, attributes));
        match one(kind::SECURITY_ASSOCIATION, &body) {
            Ok(Payload::SecurityAssociation(proposals)) => {
                let transform = &proposals[0].transforms[0];
                Ok((transform.key_length, transform.unknown.clone()))
            }
            Err(WireError::Payload { fault, .. }) => Err(fault),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(parse(&[0x80, 14, 1, 0]), Ok((Some(256), vec![])));
    assert_eq!(parse(&[0, 14, 0, 2, 1, 0]), Ok((None, vec![0, 14, 0, 2, 1, 0])));
    assert_eq!(
        parse(&[0x80, 14, 1, 0, 0x80, 14, 0, 128]),
        Ok((Some(256), vec![0x80, 14, 0, 128]))
    );
    assert_eq!(parse(&[0x80, 15, 1, 0]), Ok((None, vec![0x80, 15, 1, 0])));
    assert_eq!(parse(&[0, 14, 0, 3, 1, 0]), Err(Fault::Short));
    assert_eq!(parse(&[0x80, 14, 1]), Err(Fault::Short));
}

/// RFC 7296 §3.13.
#[test]
fn traffic_selectors() {
    let any_v4 = [7, 0, 0, 16, 0, 0, 255, 255, 0, 0, 0, 0, 255, 255, 255, 255];
    let parse = |count: u8, list: &[u8]| match one(kind::SELECTORS_INITIATOR, &[&[count, 0, 0, 0], list].concat()) {
        Ok(Payload::SelectorsInitiator(selectors)) => Ok(selectors),
        Err(WireError::Payload { fault, .. }) => Err(fault),
        other => panic!("{other:?}"),
    };
    assert_eq!(parse(1, &any_v4).map(|list| list.len()), Ok(1));
    assert_eq!(parse(2, &any_v4), Err(Fault::Count));
    assert_eq!(parse(0, &any_v4), Err(Fault::LeftOver));
    assert_eq!(parse(0, &[]), Ok(vec![]));
    // A security label (RFC 9478) is kept as nobody's.
    let label = TrafficSelector::Unknown {
        kind: 10,
        protocol: 0,
        data: vec![1, 2],
    };
    assert_eq!(parse(1, &[10, 0, 0, 6, 1, 2]), Ok(vec![label]));
    let mut reversed = any_v4;
    reversed[8] = 1;
    reversed[12] = 0;
    assert_eq!(parse(1, &reversed), Err(Fault::Range));
    // An IPv4 selector of another length.
    let mut longer = [&any_v4[..], &[0]].concat();
    longer[3] = 17;
    assert_eq!(parse(1, &longer), Err(Fault::LeftOver));
    assert_eq!(
        parse(1, &[8, 0, 0, 16, 0, 0, 255, 255, 0, 0, 0, 0, 255, 255, 255, 255]),
        Err(Fault::Short)
    );
}

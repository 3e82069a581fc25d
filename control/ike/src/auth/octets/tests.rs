use super::*;

const HEADER: [u8; 28] = [
    1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 53, 0x20, 43, 0x08, 0, 0, 0, 1, 0, 0, 0x12, 0x34,
];

/// HMAC by hand of the primitive's own words, so that a mistake in `Prf::mac` shows.
fn hmac(key: &[u8], octets: &[u8]) -> Vec<u8> {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
    ring::hmac::sign(&key, octets).as_ref().to_vec()
}

/// RFC 7296 §2.15: RealMessage1 | NonceRData | MACedIDForI, and the ID payload without its generic header but with what is
/// reserved in it.
#[test]
fn signed_octets_are_message_nonce_and_identity() {
    let octets = Octets {
        message: b"message",
        peer_nonce: b"nonce",
        identity: &IdBody {
            kind: 2,
            reserved: [0, 7, 0],
            data: b"gw-a.example".to_vec(),
        },
        intermediate: &[],
    };
    let identity = hmac(b"sk_pi", b"\x02\0\x07\0gw-a.example");
    assert_eq!(
        octets.signed(Prf::HmacSha256, b"sk_pi"),
        [&b"messagenonce"[..], &identity].concat()
    );
    let with = Octets {
        intermediate: b"behind",
        ..octets
    };
    assert_eq!(
        with.signed(Prf::HmacSha256, b"sk_pi"),
        [&b"messagenonce"[..], &identity, b"behind"].concat()
    );
    assert_ne!(
        octets.signed(Prf::HmacSha256, b"sk_pi"),
        octets.signed(Prf::HmacSha256, b"sk_pr")
    );
    assert_eq!(octets.signed(Prf::HmacSha384, b"x").len(), 12 + 48);
    assert_eq!(octets.signed(Prf::HmacSha512, b"x").len(), 12 + 64);
}

/// RFC 9242 §3.3.2: without IKE_INTERMEDIATE nothing is added, not even the message id.
#[test]
fn nothing_is_added_without_intermediate() {
    assert_eq!(IntermediateAuth::default().octets(1), Vec::<u8>::new());
}

/// RFC 9242 §3.3.2: each exchange covers the one before; lengths are adjusted; a fragment counts as the whole.
#[test]
fn intermediate_exchanges_are_chained() {
    let mut auth = IntermediateAuth::default();
    auth.add(Side::Initiator, Prf::HmacSha256, b"pi1", &HEADER, 34, b"payload");
    auth.add(Side::Responder, Prf::HmacSha256, b"pr1", &HEADER, 0, b"");
    auth.add(Side::Initiator, Prf::HmacSha256, b"pi2", &HEADER, 34, b"other");
    auth.add(Side::Responder, Prf::HmacSha256, b"pr2", &HEADER, 34, b"more");

    let whole = |length: u8, first: u8, payload: u8| {
        let mut head = HEADER.to_vec();
        head[16] = 46;
        head[24..].copy_from_slice(&[0, 0, 0, length]);
        head.extend([first, 0, 0, payload]);
        head
    };
    let i1 = hmac(b"pi1", &[whole(39, 34, 11), b"payload".to_vec()].concat());
    let r1 = hmac(b"pr1", &whole(32, 0, 4));
    let i2 = hmac(b"pi2", &[i1, whole(37, 34, 9), b"other".to_vec()].concat());
    let r2 = hmac(b"pr2", &[r1, whole(36, 34, 8), b"more".to_vec()].concat());
    assert_eq!(auth.octets(0x0102_0304), [&i2[..], &r2, &[1, 2, 3, 4]].concat());
}

/// The state of an IKE SA survives a restart in the middle of it.
#[test]
fn intermediate_survives_being_written() {
    let mut auth = IntermediateAuth::default();
    auth.add(Side::Initiator, Prf::HmacSha256, b"pi1", &HEADER, 34, b"payload");
    let text = serde_json::to_string(&auth).unwrap();
    assert_eq!(serde_json::from_str::<IntermediateAuth>(&text).unwrap(), auth);
}

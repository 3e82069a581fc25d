use super::*;
use crate::headers::Fragment;
use crate::testing::{L3, V4, V6, addresses_v4, ipv4, parse, udp};
use proptest::prelude::*;

fn pieces(frame: &[u8], mtu: usize) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let count = fragment(frame, &parse(frame), mtu, |piece| {
        let mut out = vec![0xee; L3 + piece.ip_len() + 3];
        let end = piece.write(&mut out, L3).expect("a buffer that is large enough");
        assert_eq!(end, L3 + piece.ip_len());
        assert_eq!(out[..L3], [0xee; L3], "the link header is the caller's");
        assert_eq!(out[end..], [0xee; 3]);
        out.truncate(end);
        pieces.push(out);
        true
    });
    assert_eq!(count, Ok(pieces.len()));
    pieces
}

/// What the receiver makes of the pieces: payload, first offset, and whether more follows the last.
fn reassemble(pieces: &[Vec<u8>]) -> (Vec<u8>, usize, bool) {
    let field = |piece: &[u8]| u16::from_be_bytes([piece[L3 + 6], piece[L3 + 7]]);
    let first_offset = usize::from(field(&pieces[0]) & 0x1fff) * 8;
    let mut payload = Vec::new();
    for piece in pieces {
        let offset = usize::from(field(piece) & 0x1fff) * 8;
        assert_eq!(offset - first_offset, payload.len(), "no gap, no overlap");
        payload.extend(&piece[L3 + 20..]);
    }
    for piece in &pieces[..pieces.len() - 1] {
        assert_ne!(field(piece) & 0x2000, 0, "more fragments");
    }
    (payload, first_offset, field(&pieces[pieces.len() - 1]) & 0x2000 != 0)
}

#[test]
fn cuts_at_multiples_of_eight() {
    let frame = udp(&V4, (1, 2), &[7; 1472]);
    let pieces = pieces(&frame, 1400);
    assert_eq!(
        pieces.iter().map(|piece| piece.len() - L3).collect::<Vec<_>>(),
        [1396, 124]
    );
    for piece in &pieces {
        let headers = parse(piece);
        assert!(!headers.dont_fragment, "DF is cleared");
        assert_eq!(
            (headers.addresses, headers.protocol, headers.ttl, headers.tos),
            (V4, 17, 64, 0x28)
        );
        assert_eq!(piece[L3 + 4..L3 + 6], [0x12, 0x34], "the identification is kept");
    }
    assert_eq!(
        (parse(&pieces[0]).fragment, parse(&pieces[1]).fragment),
        (Fragment::First, Fragment::Later)
    );
}

#[test]
fn a_packet_that_fits_is_one_piece() {
    let frame = udp(&V4, (1, 2), &[7; 100]);
    let pieces = pieces(&frame, 128);
    assert_eq!(pieces.len(), 1);
    assert_eq!(parse(&pieces[0]).fragment, Fragment::None);
    assert_eq!(pieces[0][L3 + 20..], frame[L3 + 20..]);
}

#[test]
fn refusals() {
    let frame = udp(&V4, (1, 2), &[7; 100]);
    let mut calls = 0;
    let mut each = |_: &Piece<'_>| {
        calls += 1;
        calls < 2
    };
    assert_eq!(
        fragment(&frame, &parse(&frame), 27, &mut each),
        Err(FragmentError::MtuTooSmall)
    );
    assert_eq!(
        fragment(&frame, &parse(&frame), 0, &mut each),
        Err(FragmentError::MtuTooSmall)
    );
    let v6 = udp(&V6, (1, 2), &[7; 1400]);
    assert_eq!(
        fragment(&v6, &parse(&v6), 1280, &mut each),
        Err(FragmentError::NotFragmentable)
    );
    assert_eq!(
        fragment(&frame, &parse(&frame), 28, &mut each),
        Err(FragmentError::Refused)
    );
    assert_eq!(calls, 2);
}

#[test]
fn a_short_buffer_is_refused() {
    let frame = udp(&V4, (1, 2), b"data");
    let written = fragment(&frame, &parse(&frame), 1500, |piece| {
        assert_eq!(piece.write(&mut [0; 45], L3), None);
        assert_eq!(piece.write(&mut [0; 5], L3), None);
        assert_eq!(piece.write(&mut [0; 5], usize::MAX), None);
        piece.write(&mut [0; 46], L3).is_some()
    });
    assert_eq!(written, Ok(1));
}

proptest! {
    #[test]
    fn pieces_make_the_original(
        addresses in addresses_v4(),
        payload in prop::collection::vec(any::<u8>(), 8..3000),
        mtu in 28..1600usize,
        offset in prop_oneof![Just(0u16), 3..7000u16],
        more in any::<bool>(),
        again in 28..200usize,
    ) {
        // UDP's length field, longer than any fragment of it.
        let mut payload = payload;
        payload[4..6].copy_from_slice(&[0x0f, 0xff]);
        if more {
            payload.truncate(payload.len() & !7);
        } else if offset == 0 {
            let length = (payload.len() as u16).to_be_bytes();
            payload[4..6].copy_from_slice(&length);
        }
        let frame = ipv4(&addresses, 17, offset | if more { 0x2000 } else { 0 }, &payload);
        let expected = (payload, usize::from(offset) * 8, more);
        let once = pieces(&frame, mtu);
        for piece in &once {
            prop_assert!(piece.len() - L3 <= mtu);
            parse(piece);
        }
        prop_assert_eq!(&reassemble(&once), &expected);
        let twice: Vec<_> = once.iter().flat_map(|piece| pieces(piece, again)).collect();
        prop_assert_eq!(&reassemble(&twice), &expected, "fragments of fragments");
    }
}

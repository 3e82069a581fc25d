//! The IKE message of RFC 7634, appendix B.

use super::*;
use crate::crypto::tests::unhex;

#[test]
fn an_informational_message() {
    let key = Secret::new([(0x80..=0x9f).collect(), vec![0xa0, 0xa1, 0xa2, 0xa3]].concat());
    let cipher = Cipher::new(&suite(Encryption::ChaCha20Poly1305, None), &key, &Secret::default()).unwrap();
    let associated = unhex("c0c1c2c3c4c5c6c7 d0d1d2d3d4d5d6d7 2e202500 00000009 00000045 29000029");
    // A notification of 12 bytes; the Pad Length behind it is put there by sealing.
    let plain = unhex("0000000c 00004001 0000000a");
    let body = unhex("1011121314151617 61039470 1f8d017f 7c129248 89 6b71bfe25236efd7cdc67066906315b2");
    let mut counter = 0x1011_1213_1415_1617;
    assert_eq!(
        cipher.seal(&mut counter, &mut Seeded::new(1), &associated, &plain),
        body
    );
    assert_eq!(cipher.open(&associated, &body), Ok(plain));
}

//! Published ESP test cases: draft-mcgrew-gcm-test-01 (AES-GCM) and RFC 7634 appendix A (ChaCha20-Poly1305), each once
//! through the AEAD seam, both ways, and once as a whole ESP packet through `open`, by every provider. The IVs of these cases are not the
//! sequence number, so `seal`, which always sends that, cannot repeat them; `scapy_peer` faces it with a peer.

use tombolo_tunnel::esp::{OpenError, open};
use tombolo_tunnel::{Cipher, Provider, SaKeys};

struct Case {
    key: Vec<u8>,
    nonce: Vec<u8>,
    associated: Vec<u8>,
    plaintext: Vec<u8>,
    ciphertext: Vec<u8>,
    icv: Vec<u8>,
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .chars()
        .map(|digit| digit.to_digit(16).expect("a hex digit") as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn cases(file: &str) -> Vec<Case> {
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut fields = line.split(' ').map(bytes);
            let mut field = || fields.next().expect("six fields");
            Case {
                key: field(),
                nonce: field(),
                associated: field(),
                plaintext: field(),
                ciphertext: field(),
                icv: field(),
            }
        })
        .collect()
}

impl Case {
    fn keys(&self, (provider, cipher): (Provider, Cipher)) -> SaKeys {
        SaKeys::with(provider, cipher, &self.key, self.nonce[..4].try_into().expect("a salt"))
            .expect("the cipher's key length")
    }

    fn iv(&self) -> [u8; 8] {
        self.nonce[4..].try_into().expect("an IV")
    }

    fn check_seam(&self, suite: (Provider, Cipher)) {
        let keys = self.keys(suite);
        let mut data = self.plaintext.clone();
        let icv = keys
            .seal_in_place(self.iv(), &self.associated, &mut data)
            .expect("short enough");
        assert_eq!(data, self.ciphertext);
        assert_eq!(icv[..], self.icv);
        data.extend(icv);
        let mut elsewhere = vec![0; data.len()];
        let sealed = keys.seal(self.iv(), &self.associated, &self.plaintext, &mut elsewhere);
        assert_eq!((sealed, &elsewhere), (Some(()), &data));
        let length = keys
            .open_shifting(self.iv(), &self.associated, &mut data, 0..)
            .expect("authentic");
        assert_eq!(data[..length], self.plaintext);
    }

    /// The answer of `open` for the whole ESP packet.
    fn check_packet(&self, suite: (Provider, Cipher)) -> Result<Vec<u8>, OpenError> {
        let esn = self.associated.len() == 12;
        let high: [u8; 4] = self.associated[4..8].try_into().expect("eight bytes at least");
        let low = &self.associated[self.associated.len() - 4..];
        let mut frame = [
            &self.associated[..4],
            low,
            &self.nonce[4..],
            &self.ciphertext,
            &self.icv,
        ]
        .concat();
        let length = frame.len();
        let opened = open(
            &self.keys(suite),
            &mut frame,
            0..length,
            3,
            u32::from_be_bytes(high),
            esn,
        )?;
        Ok(frame[opened.inner].to_vec())
    }
}

#[test]
fn aes_gcm_cases_of_the_draft() {
    let cases = cases(include_str!("data/draft-mcgrew-gcm-test-01.txt"));
    assert_eq!(cases.len(), 13);
    assert!(cases.iter().any(|case| case.key.len() == 16) && cases.iter().any(|case| case.key.len() == 32));
    assert!(cases.iter().any(|case| case.associated.len() == 12), "some with ESN");
    for case in &cases {
        let cipher = if case.key.len() == 16 {
            Cipher::Aes128Gcm
        } else {
            Cipher::Aes256Gcm
        };
        for provider in Provider::available() {
            case.check_seam((provider, cipher));
            // The draft's payloads are authentic, but their next header is 1: no tunnel packet.
            assert_eq!(case.check_packet((provider, cipher)), Err(OpenError::NextHeader));
        }
    }
}

#[test]
fn chacha20_poly1305_case_of_rfc_7634() {
    let cases = cases(include_str!("data/rfc7634-appendix-a.txt"));
    assert_eq!(cases.len(), 1);
    for case in &cases {
        for provider in Provider::available() {
            let suite = (provider, Cipher::ChaCha20Poly1305);
            case.check_seam(suite);
            assert_eq!(case.check_packet(suite), Ok(case.plaintext[..84].to_vec()));
        }
    }
}

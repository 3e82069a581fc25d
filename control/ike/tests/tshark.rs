//! tshark as the judge of what is sealed: with the keys it decrypts and verifies whole messages and fragments. Needs `tshark`; no root.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs, process};
use tombolo_ike::crypto::cipher::Cipher;
use tombolo_ike::protect;
use tombolo_ike::random::Random;
use tombolo_ike::secret::Secret;
use tombolo_ike::transform::{Encryption, Group, IkeSuite, Integrity, Prf};
use tombolo_ike::wire::{Exchange, Flags, Header, Notify, Payload, notify};

struct Sevens;

impl Random for Sevens {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

/// The field that says that a checksum is wrong.
const WRONG: &str = "isakmp.ikev2.integrity_checksum";

/// Datagrams from port 500 to port 500 over IPv4 as a capture file, and its name.
fn capture(name: &str, datagrams: &[Vec<u8>]) -> PathBuf {
    // Microseconds, LINKTYPE_IPV4.
    let mut file = [0xa1b2_c3d4_u32, 0x0002_0004, 0, 0, 65_535, 228]
        .map(u32::to_be_bytes)
        .concat();
    for (at, datagram) in datagrams.iter().enumerate() {
        let udp = 8 + datagram.len() as u16;
        let total = 20 + udp;
        let [total_high, total_low] = total.to_be_bytes();
        let ip = [
            0x45, 0, total_high, total_low, 0, at as u8, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
        ];
        file.extend(
            [at as u32, 0, u32::from(total), u32::from(total)]
                .map(u32::to_be_bytes)
                .concat(),
        );
        file.extend_from_slice(&ip);
        file.extend([500, 500, udp, 0].map(u16::to_be_bytes).concat());
        file.extend_from_slice(datagram);
    }
    let path = env::temp_dir().join(format!("tombolo-ike-{}-{name}.pcap", process::id()));
    fs::write(&path, file).expect("a writable temporary directory");
    path
}

fn hex(byte: u8, bytes: usize) -> String {
    format!("{byte:02x}").repeat(bytes)
}

/// A cipher as tshark calls it.
struct Suite {
    name: &'static str,
    encryption: Encryption,
    integrity: Option<Integrity>,
    tshark: (&'static str, &'static str),
}

impl Suite {
    fn key_bytes(&self) -> (usize, usize) {
        let integrity = self.integrity.map_or(0, Integrity::key_bytes);
        (self.encryption.key_bytes() + self.encryption.salt_bytes(), integrity)
    }

    /// Two notifications with something long in between.
    fn seal(&self, bytes_max: Option<usize>) -> Vec<Vec<u8>> {
        let suite = IkeSuite {
            encryption: self.encryption,
            integrity: self.integrity,
            prf: Prf::HmacSha256,
            group: Group::Ecp256,
            additional: vec![],
        };
        let (key, integrity) = self.key_bytes();
        let (key, integrity) = (Secret::new(vec![0x11; key]), Secret::new(vec![0x22; integrity]));
        let cipher = Cipher::new(&suite, &key, &integrity).expect("keys that fit");
        let flags = Flags {
            initiator: true,
            response: false,
        };
        let header = Header::new(0x0102_0304_0506_0708, 9, Exchange::IkeAuth, flags, 1);
        let payloads = [
            Payload::Notify(Notify::new(notify::INITIAL_CONTACT, &[])),
            Payload::VendorId(vec![3; 600]),
            Payload::Notify(Notify::new(notify::ESP_TFC_PADDING_NOT_SUPPORTED, &[])),
        ];
        protect::seal(&cipher, &mut 1, &mut Sevens, header, &payloads, bytes_max)
            .expect("it fits")
            .datagrams
    }

    /// What tshark finds inside, one line a datagram: notifications, then the complaint about the checksum, if any.
    fn read(&self, datagrams: &[Vec<u8>]) -> Vec<(String, bool)> {
        let path = capture(self.name, datagrams);
        let (key, integrity) = self.key_bytes();
        let (key, integrity) = (hex(0x11, key), hex(0x22, integrity));
        let (cipher, mac) = self.tshark;
        let sa = "0102030405060708,0000000000000009";
        let table =
            format!("uat:ikev2_decryption_table:{sa},{key},{key},\"{cipher}\",{integrity},{integrity},\"{mac}\"");
        let output = Command::new("tshark")
            .args([
                "-o",
                &table,
                "-T",
                "fields",
                "-e",
                "isakmp.notify.msgtype",
                "-e",
                WRONG,
                "-r",
            ])
            .arg(&path)
            .output()
            .expect("tshark starts (package tshark)");
        fs::remove_file(&path).expect("it was written");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("text");
        let line = |line: &str| {
            line.split_once('\t')
                .map(|(found, wrong)| (found.to_owned(), !wrong.is_empty()))
        };
        text.lines().map(|text| line(text).expect("two fields")).collect()
    }
}

const SUITES: [Suite; 2] = [
    Suite {
        name: "gcm",
        encryption: Encryption::AesGcm16(256),
        integrity: None,
        tshark: ("AES-GCM-256 with 16 octet ICV [RFC5282]", "NONE [RFC4306]"),
    },
    Suite {
        name: "cbc",
        encryption: Encryption::AesCbc(256),
        integrity: Some(Integrity::HmacSha256),
        tshark: ("AES-CBC-256 [RFC3602]", "HMAC_SHA2_256_128 [RFC4868]"),
    },
];

/// One test, because both write the same files.
#[test]
fn tshark_opens_what_we_seal() {
    for suite in SUITES {
        let mut whole = suite.seal(None);
        assert_eq!(suite.read(&whole), [("16384,16394".into(), false)], "{}", suite.name);
        let cut = suite.seal(Some(400));
        assert_eq!(
            suite.read(&cut),
            [(String::new(), false), ("16384,16394".into(), false)],
            "{}",
            suite.name
        );
        // It does look at the checksum: another message id is another message.
        whole[0][23] ^= 1;
        let [(_, wrong)] = &suite.read(&whole)[..] else {
            panic!("one datagram")
        };
        assert!(wrong, "{}", suite.name);
    }
}

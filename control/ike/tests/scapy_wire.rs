//! scapy as the judge of messages, both ways: it dissects ours, we parse its. Needs `/usr/bin/python3` with `python3-scapy`; no root.
//! What it built is the corpus of the fuzzers, too: `TOMBOLO_WRITE_CORPUS=1` writes that anew, else it is checked.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};
use tombolo_ike::proposal::{choose_esp, choose_ike, offer_esp, offer_ike};
use tombolo_ike::selector::Selector;
use tombolo_ike::transform::{Encryption, EspProposal, Group, IkeProposal, Prf};
use tombolo_ike::wire::{
    AuthBody, CertBody, Delete, Exchange, Flags, Header, IdBody, KeyExchange, Message, Nonce, Notify, Payload,
    Proposal, TrafficSelector, encode_payloads, notify,
};

/// The lines that scapy answers to one line.
fn ask(line: &str) -> Vec<String> {
    let mut process = Command::new("/usr/bin/python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scapy_wire.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("/usr/bin/python3 starts (package python3-scapy)");
    writeln!(process.stdin.take().expect("piped"), "{line}").expect("scapy reads");
    let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
    let lines = lines.collect::<Result<_, _>>().expect("scapy writes text");
    assert!(
        process.wait().expect("scapy ends").success(),
        "is python3-scapy installed?"
    );
    lines
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(byte).collect()
}

fn dissected(exchange: Exchange, flags: Flags, message_id: u32, payloads: Vec<Payload>) -> Vec<String> {
    let header = Header::new(0x0102, 0, exchange, flags, message_id);
    let datagram = Message { header, payloads }.encode().expect("it fits");
    let [answer] = &ask(&format!("dissect {}", hex(&datagram)))[..] else {
        panic!("one line")
    };
    answer.split(" | ").map(Into::into).collect()
}

fn strong() -> IkeProposal {
    IkeProposal {
        encryption: vec![Encryption::AesGcm16(256), Encryption::ChaCha20Poly1305],
        integrity: vec![],
        prf: vec![Prf::HmacSha384],
        groups: vec![Group::Curve25519],
        additional: vec![vec![Some(Group::MlKem768), None]],
    }
}

fn esp() -> EspProposal {
    EspProposal {
        encryption: vec![Encryption::AesGcm16(256)],
        groups: vec![],
        additional: vec![],
        esn: vec![true, false],
    }
}

#[test]
fn scapy_reads_what_we_write() {
    let from_initiator = Flags {
        initiator: true,
        response: false,
    };
    let init = vec![
        Payload::SecurityAssociation(offer_ike(&[strong()], None)),
        Payload::KeyExchange(KeyExchange {
            group: 31,
            data: vec![7; 4],
        }),
        Payload::Nonce(Nonce::new(vec![9; 16]).expect("16 bytes")),
        Payload::Notify(Notify::new(notify::SIGNATURE_HASH_ALGORITHMS, &[0, 2])),
        Payload::CertificateRequest(CertBody {
            encoding: 4,
            data: vec![8; 20],
        }),
        Payload::VendorId(vec![1, 2]),
    ];
    assert_eq!(
        dissected(Exchange::IkeSaInit, from_initiator, 0, init),
        [
            "34 8 0 165",
            "SA(1:1::6:1.20.256/1.28.0/2.6.0/4.31.0/6.36.0/6.0.0)",
            "KE(31 07070707)",
            "Nonce(09090909090909090909090909090909)",
            "Notify(0  16431 0002)",
            "CERTREQ(4 0808080808080808080808080808080808080808)",
            "VendorID(0102)",
        ]
    );
    let v6 = Selector {
        protocol: 17,
        first_port: 53,
        last_port: 54,
        ..Selector::ANY_IPV6
    };
    let auth = vec![
        Payload::IdInitiator(IdBody::new(2, b"a.b".to_vec())),
        Payload::Authentication(AuthBody {
            method: 2,
            data: vec![5; 3],
        }),
        Payload::SecurityAssociation(offer_esp(&[esp()], 0x0a0b_0c0d, false)),
        Payload::SelectorsInitiator(vec![
            TrafficSelector::Range(Selector::ANY_IPV4),
            TrafficSelector::Range(v6),
        ]),
        Payload::SelectorsResponder(vec![TrafficSelector::Range(Selector::ANY_IPV4)]),
        Payload::Delete(Delete::Esp(vec![0x0506_0708])),
        // Last: scapy 2.5 takes what follows an SPI for the notification's data.
        Payload::Notify(Notify::of_child(notify::REKEY_SA, 0x0102_0304)),
    ];
    assert_eq!(
        dissected(
            Exchange::IkeAuth,
            Flags {
                initiator: false,
                response: true
            },
            1,
            auth
        ),
        [
            "35 32 1 206",
            "IDi(2 612e62)",
            "AUTH(2 050505)",
            "SA(1:3:0a0b0c0d:3:1.20.256/5.1.0/5.0.0)",
            "TSi(0:0-65535:0.0.0.0-255.255.255.255 17:53-54:::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff)",
            "TSr(0:0-65535:0.0.0.0-255.255.255.255)",
            "Delete(0304000105060708)",
            "Notify(3 01020304 16393 )",
        ]
    );
}

/// A file of the corpus is what scapy says it is.
fn corpus(target: &str, name: &str, data: &[u8]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target)
        .join(format!("scapy-{name}"));
    if env::var_os("TOMBOLO_WRITE_CORPUS").is_some() {
        fs::create_dir_all(file.parent().expect("a directory")).expect("a writable corpus");
        fs::write(&file, data).expect("a writable corpus");
    }
    assert_eq!(fs::read(&file).expect("a readable corpus"), data, "{}", file.display());
}

#[test]
fn we_read_what_scapy_writes() {
    let mut lines = ask("build");
    assert_eq!(lines.pop().as_deref(), Some("end"));
    assert_eq!(lines.len(), 11);
    for (at, line) in lines.iter().enumerate() {
        let (name, data) = line.split_once(' ').expect("a name and a message");
        let data = unhex(data);
        let message = Message::parse(&data).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(message.encode().expect("it fits"), data, "{name}");
        corpus("message", name, &data);
        let (first, inside) = encode_payloads(&message.payloads).expect("it fits");
        corpus(
            "inside",
            name,
            &[&[at as u8, first, at as u8 & 7 | (at as u8) << 7], &inside[..]].concat(),
        );
        judge(name, &message);
    }
}

fn proposals_of(payload: &Payload) -> Option<&[Proposal]> {
    let Payload::SecurityAssociation(proposals) = payload else {
        return None;
    };
    Some(proposals)
}

fn selectors_of(payload: &Payload) -> Option<&[TrafficSelector]> {
    let (Payload::SelectorsInitiator(list) | Payload::SelectorsResponder(list)) = payload else {
        return None;
    };
    Some(list)
}

fn judge(name: &str, message: &Message) {
    let proposals = message.payloads.iter().find_map(proposals_of);
    match name {
        "init-request" => {
            let agreed = choose_ike(&[strong()], proposals.expect("SA"), None).expect("something in common");
            assert_eq!(
                (agreed.answer.number, agreed.suite.additional),
                (1, vec![Group::MlKem768])
            );
            assert_eq!(message.payloads.len(), 10);
        }
        "init-azure-default" => {
            let text = choose_ike(&[strong()], proposals.expect("SA"), None)
                .unwrap_err()
                .explain("Azure");
            assert!(
                text.contains("modp1024 (group 2)") && text.contains("hmac-sha1-96"),
                "{text}"
            );
        }
        "auth-inside" => {
            let agreed = choose_esp(&[esp()], proposals.expect("SA"), 0x1000, false).expect("something in common");
            assert_eq!((agreed.suite.esn, agreed.peer_spi), (true, 0xc0ff_ee01));
            let selectors = message.payloads.iter().filter_map(selectors_of);
            let text = selectors.flatten().map(|selector| match selector {
                TrafficSelector::Range(range) => range.to_string(),
                TrafficSelector::Unknown { .. } => panic!("{selector:?}"),
            });
            assert_eq!(
                text.collect::<Vec<_>>(),
                ["10.0.0.0/8", "2001:db8::/112", "192.0.2.1/32 protocol 6 ports 80-443"]
            );
        }
        "rekey-ike-inside" => {
            let agreed = choose_ike(&[strong()], proposals.expect("SA"), Some(5)).expect("something in common");
            assert_eq!(agreed.peer_spi, Some(u64::from_be_bytes(*b"scapy-i2")));
        }
        "delete-child-inside" => {
            assert_eq!(
                message.payloads,
                [Payload::Delete(Delete::Esp(vec![0xc0ff_ee01, 0xc0ff_ee02]))]
            );
        }
        "delete-ike-inside" => assert_eq!(message.payloads, [Payload::Delete(Delete::Ike)]),
        _ => {}
    }
}

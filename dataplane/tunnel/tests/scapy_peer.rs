//! scapy's IPsec as the peer, both ways: every provider and cipher, IPv4 and IPv6 inside and outside, with and without UDP, ESN off, on
//! and across 2³². Needs `/usr/bin/python3` with `python3-scapy` and `python3-cryptography`; no root.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tombolo_tunnel::esp::{self, Label, NEXT_HEADER_IPV4, NEXT_HEADER_IPV6, OpenError};
use tombolo_tunnel::outer::{self, DontFragment, Encapsulation, Inner, OuterTemplate};
use tombolo_tunnel::{Cipher, Provider, SaKeys};
use tombolo_wire::ecn::Dscp;
use tombolo_wire::{Addresses, L4, checksum, parse_ip};

const KEY: [u8; 32] = *b"a key of thirty-two bytes, mind.";
const SALT: [u8; 4] = *b"salt";
const SPI: u32 = 0x2000_0007;
const L3: usize = 14;

/// The Python process that answers for scapy.
struct Peer {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    fn start() -> Self {
        let mut process = Command::new("/usr/bin/python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scapy_peer.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("/usr/bin/python3 starts (packages python3-scapy and python3-cryptography)");
        let requests = process.stdin.take().expect("piped");
        let answers = BufReader::new(process.stdout.take().expect("piped"));
        Peer {
            process,
            requests,
            answers,
        }
    }

    fn ask(&mut self, verb: &str, case: &Case, data: &[u8]) -> Result<Vec<u8>, String> {
        let key = [&KEY[..case.cipher.key_bytes()], &SALT].concat();
        let name = match case.cipher {
            Cipher::Aes128Gcm | Cipher::Aes256Gcm => "aes-gcm",
            Cipher::ChaCha20Poly1305 => "chacha20-poly1305",
        };
        let outer = if case.outer_v6 { 6 } else { 4 };
        let (esn, udp) = (u8::from(case.esn), u8::from(case.udp));
        let (key, data) = (hex(&key), hex(data));
        writeln!(
            self.requests,
            "{verb} {name} {key} {SPI} {} {esn} {outer} {udp} {data}",
            case.sequence
        )
        .expect("the peer lives (are python3-scapy and python3-cryptography installed?)");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the peer answers");
        match line.trim_end().split_once(' ') {
            Some(("ok", data)) => Ok(bytes(data)),
            other => Err(format!("{other:?}")),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    provider: Provider,
    cipher: Cipher,
    esn: bool,
    sequence: u64,
    outer_v6: bool,
    inner_v6: bool,
    udp: bool,
    payload: usize,
}

impl Case {
    fn all() -> Vec<Case> {
        let mut cases = Vec::new();
        let sequences = [
            (false, 1),
            (false, u32::MAX.into()),
            (true, 1),
            (true, u32::MAX.into()),
            (true, 1 << 32),
        ];
        let sequences = sequences
            .into_iter()
            .chain([(true, (1 << 32) + 1), (true, 0xfedc_ba98_7654_3210)]);
        for (esn, sequence) in sequences {
            let suites = Provider::available().flat_map(|provider| Cipher::ALL.map(|cipher| (provider, cipher)));
            for (provider, cipher) in suites {
                for shape in 0..8 {
                    let (outer_v6, inner_v6, udp) = (shape & 1 != 0, shape & 2 != 0, shape & 4 != 0);
                    // Four lengths in a row meet every padding.
                    let payload = 57 + cases.len() % 4;
                    cases.push(Case {
                        provider,
                        cipher,
                        esn,
                        sequence,
                        outer_v6,
                        inner_v6,
                        udp,
                        payload,
                    });
                }
            }
        }
        cases
    }

    fn keys(&self) -> SaKeys {
        SaKeys::with(self.provider, self.cipher, &KEY[..self.cipher.key_bytes()], SALT)
            .expect("the cipher's key length")
    }

    fn next_header(&self) -> u8 {
        if self.inner_v6 {
            NEXT_HEADER_IPV6
        } else {
            NEXT_HEADER_IPV4
        }
    }

    fn addresses(&self) -> Addresses {
        if self.outer_v6 {
            v6_addresses(0xa, 0xb)
        } else {
            v4_addresses(0xc000_0201, 0xc633_6401)
        }
    }

    /// A UDP datagram between the clouds, with TOS 0x2e << 2.
    fn inner(&self) -> Vec<u8> {
        let addresses = if self.inner_v6 {
            v6_addresses(1, 2)
        } else {
            v4_addresses(0x0a01_000a, 0x0a02_000a)
        };
        // The outer-header writer makes any IP and UDP header.
        let encapsulation = Encapsulation::Udp {
            source_port: 1000,
            destination_port: 2000,
        };
        let template = OuterTemplate {
            addresses,
            encapsulation,
            dscp: Dscp::Copy,
            dont_fragment: DontFragment::Clear,
            ttl: 61,
        };
        let mut packet = vec![0x77; template.header_length() + self.payload];
        let inner = Inner {
            tos: 0xb8,
            dont_fragment: false,
        };
        outer::write_outer(&mut packet, 0, &template, self.payload, inner, 99).expect("it fits");
        packet
    }

    fn seal(&self, inner: &[u8]) -> Vec<u8> {
        let encapsulation = match self.udp {
            true => Encapsulation::Udp {
                source_port: 4500,
                destination_port: 4500,
            },
            false => Encapsulation::Ip,
        };
        let addresses = self.addresses();
        let template = OuterTemplate {
            addresses,
            encapsulation,
            dscp: Dscp::Copy,
            dont_fragment: DontFragment::Set,
            ttl: 64,
        };
        let mut frame = vec![0; 2048];
        let esp_at = L3 + template.header_length();
        let keys = self.keys();
        let label = Label {
            spi: SPI,
            sequence: self.sequence,
            esn: self.esn,
            next_header: self.next_header(),
        };
        let mut source = [inner, &[0xcc; esp::TRAILER_ROOM]].concat();
        let length = esp::seal_from(&keys, label, &mut source, inner.len(), &mut frame[esp_at..]).expect("it fits");
        let hints = Inner {
            tos: 0xb8,
            dont_fragment: false,
        };
        let end = outer::write_outer(&mut frame, L3, &template, length, hints, 0).expect("it fits");
        frame.truncate(end);
        frame
    }

    /// The inner packet of a frame, landed behind a fresh link header.
    fn open(&self, frame: &[u8]) -> Result<(Vec<u8>, u8), OpenError> {
        let headers = parse_ip(frame, L3).expect("a valid outer packet");
        let esp_at = if self.udp {
            assert_eq!((headers.l4_kind, headers.destination_port), (L4::Udp, 4500));
            usize::from(headers.l4) + 8
        } else {
            assert_eq!(headers.l4_kind, L4::Esp { spi: SPI });
            usize::from(headers.l4)
        };
        let mut frame = frame.to_vec();
        let high = (self.sequence >> 32) as u32;
        let esp = esp_at..usize::from(headers.end);
        assert_eq!(esp::classify_udp(&frame[esp.clone()]), esp::UdpPayload::Esp);
        let opened = esp::open(&self.keys(), &mut frame, esp, L3, high, self.esn)?;
        assert_eq!(opened.inner.start, L3);
        Ok((frame[opened.inner].to_vec(), opened.next_header))
    }
}

fn v4_addresses(source: u32, destination: u32) -> Addresses {
    Addresses::V4 { source, destination }
}

fn v6_addresses(source: u8, destination: u8) -> Addresses {
    let address = |net| [0x20, 1, 0xd, 0xb8, 0, net, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    Addresses::V6 {
        source: address(source),
        destination: address(destination),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .chars()
        .map(|digit| digit.to_digit(16).expect("a hex digit") as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn scapy_opens_what_we_seal() {
    let mut peer = Peer::start();
    for case in Case::all() {
        let inner = case.inner();
        let frame = case.seal(&inner);
        let headers = parse_ip(&frame, L3).expect("a valid outer packet");
        assert!(checksum::transport_valid(&frame, &headers));
        assert_eq!(peer.ask("open", &case, &frame[L3..]), Ok(inner), "{case:?}");
    }
}

#[test]
fn we_open_what_scapy_seals() {
    let mut peer = Peer::start();
    for case in Case::all() {
        let inner = case.inner();
        let packet = peer.ask("seal", &case, &inner).expect("scapy seals");
        let frame = [&[0; L3][..], &packet].concat();
        assert_eq!(case.open(&frame), Ok((inner, case.next_header())), "{case:?}");
    }
}

#[test]
fn both_refuse_the_same_number_one_subspace_further() {
    let mut peer = Peer::start();
    for case in Case::all().into_iter().filter(|case| case.esn) {
        let other = Case {
            sequence: case.sequence.wrapping_add(1 << 32),
            ..case
        };
        let frame = case.seal(&case.inner());
        assert_eq!(other.open(&frame), Err(OpenError::Auth), "{case:?}");
        assert!(peer.ask("open", &other, &frame[L3..]).is_err(), "{case:?}");
    }
}

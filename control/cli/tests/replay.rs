//! `tombolo replay` on captures made by scapy (`data/make_captures.py`): what it prints, what it sends, and what it refuses.

use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A scratch directory with the key in it.
struct Bench {
    directory: PathBuf,
}

impl Bench {
    fn new(name: &str) -> Bench {
        let directory = std::env::temp_dir().join(format!("tombolo-replay-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        let key = directory.join("prod-to-b.sa");
        std::fs::copy(data("prod-to-b.sa"), &key).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        Bench { directory }
    }

    fn output(&self) -> PathBuf {
        self.directory.join("out.pcap")
    }

    fn replay(&self, port: &str, input: &Path, more: &[&str]) -> Output {
        self.replay_into(&self.output(), port, input, more)
    }

    fn replay_into(&self, output: &Path, port: &str, input: &Path, more: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_tombolo"))
            .arg("replay")
            .arg(data("replay.yaml"))
            .args(["--port", port])
            .arg(input)
            .arg(output)
            .args(more)
            .output()
            .unwrap()
    }

    fn with_keys(&self, port: &str, input: &str, more: &[&str]) -> String {
        let secrets = self.directory.to_str().unwrap();
        let mut words = vec!["--secrets-dir", secrets];
        words.extend(more);
        let output = self.replay(port, &data(input), &words);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The packets of the output.
    fn sent(&self) -> Vec<Vec<u8>> {
        let file = std::fs::read(self.output()).unwrap();
        let mut reader = pcap_file::pcap::PcapReader::new(file.as_slice()).unwrap();
        let mut packets = Vec::new();
        while let Some(packet) = reader.next_packet() {
            packets.push(packet.unwrap().data.into_owned());
        }
        packets
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn golden(name: &str) -> String {
    std::fs::read_to_string(data(name)).unwrap()
}

/// Outside ports and ICMP ids are drawn at random from the configured 20000–29999.
fn masked(text: &str) -> String {
    let mut masked = String::new();
    for piece in text.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let digits = piece.trim_end_matches(|c: char| !c.is_ascii_digit());
        if digits.len() == 5 && digits.starts_with('2') {
            masked.push_str("2NNNN");
            masked.push_str(&piece[5..]);
        } else {
            masked.push_str(piece);
        }
    }
    masked
}

#[test]
fn what_a_cloud_sends() {
    let bench = Bench::new("cloud");
    assert_eq!(
        masked(&bench.with_keys("cloud-prod", "cloud.pcap", &["--verbose"])),
        golden("cloud.txt")
    );
    let sent = bench.sent();
    assert_eq!(sent.len(), 6);
    let holds = |packet: &Vec<u8>, text: &[u8]| packet.windows(text.len()).any(|bytes| bytes == text);
    assert!(sent.iter().any(|packet| holds(packet, b"query")));
    assert!(
        !sent.iter().any(|packet| holds(packet, b"through the tunnel")),
        "sealed"
    );
}

#[test]
fn what_comes_from_the_underlay() {
    let bench = Bench::new("uplink");
    assert_eq!(
        masked(&bench.with_keys("uplink", "uplink.pcap", &["--verbose"])),
        golden("uplink.txt")
    );
    assert!(bench.sent()[0].ends_with(b"from cloud B"), "opened");
}

#[test]
fn a_pcapng_says_by_which_port_and_is_no_input() {
    let bench = Bench::new("pcapng");
    let file = bench.directory.join("out.pcapng");
    let output = bench.replay_into(&file, "cloud-prod", &data("cloud.pcap"), &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let bytes = std::fs::read(&file).unwrap();
    let mut reader = PcapNgReader::new(&bytes[..]).unwrap();
    let mut left = Vec::new();
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block.unwrap() {
            left.push(packet.interface_id);
        }
    }
    // Without its key the tunnel is down: a packet fewer than in cloud.txt.
    assert_eq!(left, [2, 2, 0, 0, 2]);
    let names = reader.interfaces().iter().map(|interface| interface.options[0].clone());
    let expected = ["cloud-prod", "cloud-dev", "uplink"].map(|name| InterfaceDescriptionOption::IfName(name.into()));
    assert_eq!(names.collect::<Vec<_>>(), expected);
    let again = bench.replay("uplink", &file, &[]);
    let text = String::from_utf8(again.stdout).unwrap();
    assert!(text.starts_with("0 packets came in on uplink\n"), "{text}");
    assert!(
        text.contains("\n5 records of the capture were left out: not received on uplink\n"),
        "{text}"
    );
}

#[test]
fn an_outbound_key_is_never_used() {
    let bench = Bench::new("keys");
    let mut sealed = Vec::new();
    for _ in 0..2 {
        bench.with_keys("cloud-prod", "cloud.pcap", &[]);
        let esp = bench.sent().into_iter().find(|packet| packet[23] == 50);
        sealed.push(esp.expect("one packet goes through the tunnel"));
    }
    // Outer header, SPI and sequence number are the same; with the same key the rest would be.
    assert_eq!(sealed[0][..42], sealed[1][..42]);
    assert_ne!(sealed[0][50..], sealed[1][50..]);
}

#[test]
fn machines_get_json() {
    let bench = Bench::new("json");
    let text = bench.with_keys("uplink", "uplink.pcap", &["--json", "--verbose"]);
    let replayed: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(replayed["packets"], 5);
    assert_eq!(replayed["fates"][1]["fate"], "drop esp-auth");
    assert_eq!(
        replayed["sent"][0],
        serde_json::json!({ "port": "cloud-prod", "packets": 1, "bytes": 54 })
    );
    assert_eq!(replayed["journeys"][0]["left"][0]["port"], "cloud-prod");
    assert_eq!(replayed["journeys"].as_array().unwrap().len(), 5);
}

#[test]
fn without_keys_tunnels_are_down() {
    let bench = Bench::new("down");
    let output = bench.replay("cloud-prod", &data("cloud.pcap"), &[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("tunnel prod-to-b is down"));
    assert!(String::from_utf8_lossy(&output.stdout).contains("drop tunnel-down"));
}

#[test]
fn what_cannot_be_replayed_is_refused() {
    let bench = Bench::new("refused");
    let refused = |port: &str, input: &Path, why: &str| {
        let output = bench.replay(port, input, &[]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(why), "{text}");
        assert!(
            !bench.output().exists() || input == bench.output(),
            "no output for a refused input"
        );
    };
    refused(
        "nonsense",
        &data("cloud.pcap"),
        "no port nonsense; there are cloud-prod, cloud-dev, uplink",
    );
    refused("uplink", &data("replay.yaml"), "neither pcap nor pcapng");
    refused("uplink", &data("missing.pcap"), "missing.pcap");
    std::fs::copy(data("cloud.pcap"), bench.output()).unwrap();
    refused("cloud-prod", &bench.output(), "is the input");
    assert_eq!(
        std::fs::read(bench.output()).unwrap(),
        std::fs::read(data("cloud.pcap")).unwrap()
    );
}

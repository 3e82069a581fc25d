//! The `tombolo` binary against the real HTTP server of tombolod; behind it are canned answers.
#![allow(clippy::wildcard_enum_match_arm)]

#[path = "../../agent/tests/support/canned_server.rs"]
mod canned_server;

use canned_server::CannedServer;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tombolo_agent::http::{Answer, Request};
use tombolo_api::{Applied, CaptureMissed, CapturedPacket, Drop as DroppedPackets, Problem, Refusal};

struct Server(CannedServer);

impl Server {
    fn start(name: &str) -> Server {
        Server(CannedServer::start(name, canned))
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut all = vec!["--runtime-dir", self.0.directory.to_str().unwrap()];
        all.extend(words);
        tombolo(&all)
    }
}

fn scratch(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("tombolo-cli-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

fn tombolo(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tombolo"))
        .args(words)
        .env_remove("TOMBOLO_SOCKET")
        .output()
        .unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn canned(request: Request) -> Answer {
    match request {
        Request::Drops => {
            let (port, reason, text) = ("uplink".into(), "not-ip".into(), "Neither IPv4 nor IPv6.".into());
            Answer::json(&[DroppedPackets {
                port,
                reason,
                text,
                packets: 7,
            }])
        }
        Request::PutConfig(config) if config.starts_with("gateway: good") => Answer::json(&Applied {
            active: true,
            generation: 4,
            warnings: vec!["port a: no device".into()],
        }),
        Request::PutConfig(_) => {
            let problem = Problem {
                file: "tombolo.yaml".into(),
                line: 3,
                column: 5,
                message: "unknown key adress".into(),
                hint: Some("address?".into()),
            };
            let refusal = Refusal {
                error: "1 problem".into(),
                hint: None,
                problems: vec![problem],
            };
            Answer::Refused(hyper::StatusCode::UNPROCESSABLE_ENTITY, refusal)
        }
        Request::Capture { port, .. } if port == "refused" => {
            Answer::refused(hyper::StatusCode::NOT_FOUND, "there is no port refused", None)
        }
        Request::Capture { count, port } => {
            let packet = CapturedPacket {
                time_ns: 1_700_000_000_000_000_000,
                worker: 0,
                port,
                direction: "in".into(),
                stage: "wire".into(),
                fate: "drop not-ip".into(),
                length: 14,
                bytes: "00".repeat(14),
            };
            let mut line = serde_json::to_vec(&packet).unwrap();
            line.push(b'\n');
            let missed = CaptureMissed {
                ring_full: 2,
                client_slow: 3,
            };
            let mut last = serde_json::to_vec(&missed).unwrap();
            last.push(b'\n');
            let gaps = (count == 2).then_some(last);
            let lines = (0..count).map(move |_| line.clone()).chain(gaps);
            Answer::Lines(Box::pin(futures::stream::iter(lines)))
        }
        _ => Answer::refused(hyper::StatusCode::NOT_FOUND, "not in this test", Some("try another")),
    }
}

#[test]
fn an_answer_is_0_a_refusal_is_1() {
    let server = Server::start("answers");
    let output = server.run(&["show", "drops"]);
    assert_eq!(code(&output), 0);
    let expected = "PORT    REASON  PACKETS  MEANING\nuplink  not-ip        7  Neither IPv4 nor IPv6.\n";
    assert_eq!(text(&output.stdout), expected);
    let output = server.run(&["--json", "show", "drops"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json[0]["packets"], 7);
    let output = server.run(&["show", "ports"]);
    assert_eq!(
        (code(&output), text(&output.stderr).as_str()),
        (1, "error: not in this test\n  hint: try another\n")
    );
    let output = server.run(&["--json", "show", "ports"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((code(&output), &json["error"]), (1, &"not in this test".into()));
}

#[test]
fn apply_says_what_happened_with_the_operators_file_name() {
    let server = Server::start("apply");
    let file = server.0.directory.join("gw.yaml");
    std::fs::write(&file, "gateway: good\n").unwrap();
    let output = server.run(&["apply", file.to_str().unwrap()]);
    assert_eq!(code(&output), 0);
    assert!(text(&output.stdout).contains("generation 4"), "{output:?}");
    assert!(text(&output.stderr).contains("warning: port a"), "{output:?}");
    std::fs::write(&file, "gateway: bad\n").unwrap();
    let output = server.run(&["apply", file.to_str().unwrap()]);
    assert_eq!(code(&output), 1);
    assert!(
        text(&output.stderr).starts_with(&format!("{}:3:5: error: unknown key", file.display())),
        "{output:?}"
    );
    assert_eq!(code(&server.run(&["apply", "/nonexistent"])), 1);
}

#[test]
fn wrong_usage_is_2_and_no_tombolod_is_3() {
    let directory = scratch("nobody");
    for words in [
        &["frobnicate"][..],
        &["show", "nonsense"],
        &[],
        &["apply"],
        &["--socket"],
    ] {
        assert_eq!(code(&tombolo(words)), 2, "{words:?}");
    }
    let output = tombolo(&["--runtime-dir", directory.to_str().unwrap(), "status"]);
    assert_eq!(code(&output), 3);
    assert!(text(&output.stderr).contains("is tombolod running?"), "{output:?}");
    let socket = directory.join("elsewhere.sock");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tombolo"));
    let output = command.arg("status").env("TOMBOLO_SOCKET", &socket).output().unwrap();
    assert_eq!(code(&output), 3);
    assert!(text(&output.stderr).contains("elsewhere.sock"), "{output:?}");
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_refused_or_unwritable_capture_says_so_and_leaves_files_alone() {
    let server = Server::start("unwritable");
    let output = server.run(&["capture", "uplink", "-c", "1", "-w", "/nonexistent/out.pcapng"]);
    assert_eq!(code(&output), 1);
    assert!(text(&output.stderr).contains("/nonexistent/out.pcapng"), "{output:?}");
    let file = server.0.directory.join("older.pcapng");
    std::fs::write(&file, "older").unwrap();
    let refused = server.run(&["capture", "refused", "-w", file.to_str().unwrap()]);
    assert_eq!(code(&refused), 1);
    assert_eq!(std::fs::read(&file).unwrap(), b"older");
}

#[test]
fn help_says_what_the_program_is_for() {
    let help = text(&tombolo(&["--help"]).stdout);
    assert!(help.starts_with("Ask and steer a Tombolo gateway\n"), "{help}");
    assert!(
        help.contains("Exit codes:") && help.contains("TOMBOLO_SOCKET"),
        "{help}"
    );
}

#[test]
fn a_capture_is_shown_or_written() {
    let server = Server::start("capture");
    let output = server.run(&["capture", "uplink", "--count", "2"]);
    assert_eq!((code(&output), text(&output.stdout).lines().count()), (0, 2));
    assert!(text(&output.stdout).contains("drop not-ip"));
    let gaps = "5 packets were not captured: 2 while a worker's ring was full, 3 while";
    assert!(text(&output.stderr).contains(gaps), "{output:?}");
    let whole = server.run(&["capture", "uplink", "--count", "1"]);
    assert!(!text(&whole.stderr).contains("not captured"), "{whole:?}");
    let json = server.run(&["--json", "capture", "uplink", "--count", "2"]);
    let lines = text(&json.stdout);
    assert_eq!(lines.lines().nth(2), Some(r#"{"ring-full":2,"client-slow":3}"#));
    let gappy = server.0.directory.join("gappy.pcapng");
    let output = server.run(&["capture", "uplink", "-c", "2", "-w", gappy.to_str().unwrap()]);
    assert!(
        text(&output.stderr).contains("2 packets written") && text(&output.stderr).contains(gaps),
        "{output:?}"
    );
    let file = server.0.directory.join("out.pcapng");
    assert_eq!(
        code(&server.run(&["capture", "uplink", "-c", "3", "-w", file.to_str().unwrap()])),
        0
    );
    let bytes = std::fs::read(&file).unwrap();
    let mut reader = pcap_file::pcapng::PcapNgReader::new(bytes.as_slice()).unwrap();
    let mut packets = 0;
    while let Some(block) = reader.next_block() {
        packets += usize::from(block.unwrap().into_enhanced_packet().is_some());
    }
    assert_eq!(packets, 3);
    assert_eq!(code(&server.run(&["capture", "no&such=port"])), 1);
}

#[test]
fn commands_without_a_gateway() {
    let directory = scratch("local");
    let at = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    std::fs::write(at("bad.yaml"), "gateway: x\nnonsense: 1\n").unwrap();
    let output = tombolo(&["check", &at("bad.yaml")]);
    assert_eq!(code(&output), 1);
    assert!(
        text(&output.stderr).contains(&format!("{}:2:1: error: ", at("bad.yaml"))),
        "{output:?}"
    );
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/examples/gw-a.yaml");
    let output = tombolo(&["check", example.to_str().unwrap()]);
    assert_eq!(code(&output), 0, "{output:?}");
    let schema: serde_json::Value = serde_json::from_slice(&tombolo(&["schema"]).stdout).unwrap();
    assert!(schema.is_object());
    assert_eq!(code(&tombolo(&["sa", "generate", &at("a.sa"), &at("b.sa")])), 0);
    let keys = std::fs::read(at("a.sa")).unwrap();
    assert_eq!(
        code(&tombolo(&["sa", "generate", &at("a.sa"), &at("c.sa")])),
        1,
        "never over a key"
    );
    assert_eq!(std::fs::read(at("a.sa")).unwrap(), keys);
    assert!(text(&tombolo(&["completions", "bash"]).stdout).contains("_tombolo"));
    assert_eq!(code(&tombolo(&["man", directory.to_str().unwrap()])), 0);
    assert!(directory.join("tombolo.1").exists());
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_key_is_declared_new_without_tombolod() {
    let directory = scratch("init");
    let at = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/examples/gw-a.yaml");
    let config = std::fs::read_to_string(&example).unwrap();
    let parsed = tombolo_config::parse(&config, "gw-a.yaml").unwrap();
    let tunnel = parsed.tunnels.first().unwrap();
    std::fs::create_dir_all(directory.join("secrets")).unwrap();
    let keys = directory.join("secrets").join(tunnel.manual().unwrap().keys.as_str());
    assert_eq!(
        code(&tombolo(&["sa", "generate", keys.to_str().unwrap(), &at("b.sa")])),
        0
    );
    let init = |name: &str| {
        tombolo(&[
            "--runtime-dir",
            &at("run"),
            "--json",
            "sa",
            "init",
            name,
            "--offline",
            "--state-dir",
            &at("state"),
            "--secrets-dir",
            &at("secrets"),
            "--config",
            example.to_str().unwrap(),
        ])
    };
    let first: serde_json::Value = serde_json::from_slice(&init(tunnel.name.as_str()).stdout).unwrap();
    assert_eq!(first["fresh"], true);
    let second: serde_json::Value = serde_json::from_slice(&init(tunnel.name.as_str()).stdout).unwrap();
    assert_eq!(
        (&second["fresh"], &second["fingerprint"]),
        (&false.into(), &first["fingerprint"])
    );
    assert_eq!(code(&init("no-such-tunnel")), 1);
    std::fs::remove_dir_all(directory).unwrap();
}

/// One word of the configuration decides whether the tunnels come up, and so does a secret.
#[test]
fn preflight_says_by_its_exit_code_whether_all_tunnels_come_up() {
    let directory = scratch("preflight");
    let at = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/examples/ipsec-aws.yaml");
    let good = std::fs::read_to_string(&example).unwrap();
    std::fs::write(at("good.yaml"), &good).unwrap();
    std::fs::write(at("bad.yaml"), good.replace("169.254.10.2/30", "169.254.5.2/30")).unwrap();
    let text = |output: &std::process::Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/preflight-aws.txt");
    let golden = std::fs::read_to_string(golden).unwrap();
    let done = tombolo(&["preflight", &at("good.yaml")]);
    assert_eq!((code(&done), text(&done)), (0, golden));
    let done = tombolo(&["preflight", &at("bad.yaml")]);
    assert_eq!(code(&done), 1);
    assert!(text(&done).contains("169.254.5.0/30 is reserved"), "{}", text(&done));
    let done = tombolo(&["--json", "preflight", &at("bad.yaml")]);
    let reports: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(
        (code(&done), &reports[0]["ok"], &reports[1]["ok"]),
        (1, &false.into(), &true.into())
    );
    assert_eq!(reports[1]["sizes"]["plain"]["mtu"], 1446);
    let with_secrets = || tombolo(&["preflight", &at("good.yaml"), "--secrets-dir", &at("")]);
    assert_eq!(code(&with_secrets()), 1, "there are no secrets");
    for (name, secret) in [
        ("to-aws-1.psk", "abcdefghij0123456789\n"),
        ("to-aws-2.psk", "0bcdefghij0123456789\n"),
    ] {
        std::fs::write(at(name), secret).unwrap();
        std::fs::set_permissions(at(name), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    let done = with_secrets();
    assert_eq!(code(&done), 1);
    assert!(
        text(&done).contains("starts with '0'") && !text(&done).contains("bcdefghij"),
        "{}",
        text(&done)
    );
    std::fs::write(at("to-aws-2.psk"), "abcdefghij9876543210\n").unwrap();
    assert_eq!(code(&with_secrets()), 0);
    std::fs::remove_dir_all(directory).unwrap();
}

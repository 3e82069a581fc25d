//! One program for all targets: `TOMBOLO_FUZZ_TARGET` says which; without it, lists them with their corpora.

#![no_main]

#[path = "../../../control/ike/tests/lab/mod.rs"]
mod ike_lab;

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

/// A parser of foreign bytes.
struct Target {
    name: &'static str,
    /// The committed corpus, which `cargo test` replays, seen from the root of the repository.
    corpus: &'static str,
    entry: fn(&[u8]),
}

const fn target(name: &'static str, corpus: &'static str, entry: fn(&[u8])) -> Target {
    Target { name, corpus, entry }
}

fn view(data: &[u8]) {
    tombolo_tables::view::fuzz::fuzz_view(data);
}

fn ike_certificate(data: &[u8]) {
    tombolo_ike::auth::fuzz::fuzz_certificate(data);
}

fn ike_authentication(data: &[u8]) {
    tombolo_ike::auth::fuzz::fuzz_authentication(data);
}

fn ike_name(data: &[u8]) {
    tombolo_ike::auth::fuzz::fuzz_name(data);
}

/// Whoever writes a parser of foreign bytes writes a line here and a corpus.
#[rustfmt::skip]
static TARGETS: [Target; 20] = [
    target("frame", "dataplane/wire/fuzz/corpus/fuzz_frame", tombolo_wire::fuzz::fuzz_frame),
    target("packet", "dataplane/wire/fuzz/corpus/fuzz_packet", tombolo_wire::fuzz::fuzz_packet),
    target("steer", "dataplane/wire/fuzz/corpus/steer", tombolo_wire::steer::fuzz_steer),
    target("capture-file", "dataplane/packet-io/fuzz/corpus/capture", tombolo_packet_io::pcap::fuzz_capture),
    target("esp", "dataplane/tunnel/fuzz/corpus/open", tombolo_tunnel::fuzz::fuzz_open),
    target("window", "dataplane/tunnel/fuzz/corpus/window", tombolo_tunnel::fuzz::fuzz_window),
    target("journey", "dataplane/sim/fuzz/corpus/journey", tombolo_sim::fuzz::fuzz_journey),
    target("view", "dataplane/tables/fuzz/corpus/view", view),
    target("handoff", "dataplane/tables/fuzz/corpus/handoff_message", tombolo_tables::handoff::fuzz_message),
    target("events", "dataplane/tables/fuzz/corpus/events", tombolo_tables::fuzz::fuzz_events),
    target("captured", "dataplane/tables/fuzz/corpus/captured", tombolo_tables::fuzz::fuzz_captured),
    target("config", "control/config/fuzz/corpus/parse", tombolo_config::fuzz::fuzz_parse),
    target("sa-file", "control/config/fuzz/corpus/sa_file", tombolo_config::fuzz::fuzz_sa_file),
    target("ike-message", "control/ike/fuzz/corpus/message", tombolo_ike::fuzz::fuzz_message),
    target("ike-inside", "control/ike/fuzz/corpus/inside", tombolo_ike::fuzz::fuzz_inside),
    target("ike-machine", "control/ike/fuzz/corpus/machine", ike_lab::program::tell),
    target("ike-certificate", "control/ike/fuzz/corpus/certificate", ike_certificate),
    target("ike-authentication", "control/ike/fuzz/corpus/authentication", ike_authentication),
    target("ike-name", "control/ike/fuzz/corpus/name", ike_name),
    target("http", "control/agent/fuzz/corpus/connection", tombolo_agent::http::fuzz::fuzz_connection),
];

static CHOSEN: OnceLock<fn(&[u8])> = OnceLock::new();

fn choose() {
    let wanted = std::env::var("TOMBOLO_FUZZ_TARGET").unwrap_or_default();
    if let Some(target) = TARGETS.iter().find(|target| target.name == wanted) {
        let _ = CHOSEN.set(target.entry);
        return;
    }
    for target in &TARGETS {
        println!("{} {}", target.name, target.corpus);
    }
    std::process::exit(if wanted.is_empty() { 0 } else { 2 });
}

fuzz_target!(init: choose(), |data: &[u8]| {
    if let Some(entry) = CHOSEN.get() {
        entry(data);
    }
});

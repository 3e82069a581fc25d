//! `tombolo replay`: what would this gateway do with a capture? Planner and journey in one process, without root.
//!
//! What a gateway learns is made up: every device is there and up, takes every unicast MAC address and has the MTU that the
//! configuration says (else 1500); every next hop answers. Tunnels are up if their keys are in `--secrets-dir`: these open what
//! comes in, while what leaves is sealed with random keys of the right length.
//! The steering rule runs ahead of the worker, with the tables' own addresses and NAT ports, and with the ports that the kernel
//! uses for the host's own connections if nobody changed them (32768–60999). What it keeps from the worker is shown with its
//! verdict; what a kernel would answer is not made up.

mod describe;

use super::{check, print, print_json};
use crate::failure::Failure;
use crate::table::Table;
use describe::{Journey, Seen};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use tombolo_agent::{regions, secret_files, views};
use tombolo_config::Gateway;
use tombolo_packet_io::pcap::OutputFormat;
use tombolo_planner::{Indices, Learned, Link};
use tombolo_tables::build::World;
use tombolo_tables::fate::{Counter, Fate};
use tombolo_tables::layout::PortIndex;
use tombolo_tables::state::Limits;
use tombolo_worker::replay::{self, Outcome, Report};

/// MTU of a port that the configuration says nothing about.
const MTU_DEFAULT: u16 = 1500;
/// Entries of each table of flows at most: a file does not need a gateway's memory.
const FLOWS_MAX: u32 = 1 << 17;

/// What to replay.
pub(super) struct Wanted<'a> {
    pub(super) config: &'a Path,
    pub(super) port: &'a str,
    pub(super) input: &'a Path,
    pub(super) output: &'a Path,
    pub(super) secrets: Option<&'a Path>,
    pub(super) verbose: bool,
    pub(super) json: bool,
}

/// The answer, for machines.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Replayed {
    port: String,
    packets: u64,
    cut: u64,
    too_long: u64,
    left_out: u64,
    fates: Vec<FateCount>,
    sent: Vec<Sent>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    journeys: Vec<Journey>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct FateCount {
    fate: String,
    packets: u64,
    text: &'static str,
}

/// What left through a port, errors and fragments of the gateway's own included.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Sent {
    port: String,
    packets: u64,
    bytes: u64,
}

pub(super) fn run(wanted: &Wanted<'_>) -> Result<(), Failure> {
    let (gateway, _) = check::gateway(wanted.config)?;
    let learned = learned(&gateway, wanted.secrets);
    let mut plan = tombolo_planner::plan(&gateway, &learned, &Indices::default())
        .map_err(|refused| Failure::local(wanted.config.display(), refused))?;
    for warning in &plan.warnings {
        eprintln!("warning: {warning}");
    }
    let port = port(&plan.world, wanted.port)?;
    let input = std::fs::read(wanted.input).map_err(|error| Failure::local(wanted.input.display(), error))?;
    let output = replay::Output {
        file: Output::new(wanted.input, wanted.output)?,
        format: format(wanted.output),
    };
    let names: Vec<String> = plan.world.ports.iter().map(|port| views::text(&port.name)).collect();
    let mut fates = BTreeMap::new();
    let mut journeys = Vec::new();
    let mut seen = Seen::new(&names);
    let mut failed = Ok(());
    let report = replay::run(
        &mut plan.world,
        limits(&gateway),
        port,
        input.as_slice(),
        output,
        |step| {
            let count = fates.entry(name(step.outcome)).or_insert((0, text(step.outcome)));
            count.0 += 1;
            if wanted.verbose && failed.is_ok() {
                let journey = seen.journey(&step);
                if wanted.json {
                    journeys.push(journey);
                } else {
                    failed = print(&journey.to_string());
                }
            }
        },
    );
    failed?;
    let report = report.map_err(|error| Failure::local(wanted.input.display(), error))?;
    let replayed = Replayed {
        port: wanted.port.to_owned(),
        packets: report.packets.received,
        cut: report.packets.cut,
        too_long: report.packets.too_long,
        left_out: report.packets.left_out,
        fates: fates
            .into_iter()
            .map(|(fate, (packets, text))| FateCount { fate, packets, text })
            .collect(),
        sent: sent(&report, &names),
        journeys,
    };
    if wanted.json {
        return print_json(&replayed);
    }
    print(&replayed.to_string())
}

impl std::fmt::Display for Replayed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} packets came in on {}", self.packets, self.port)?;
        if self.cut + self.too_long > 0 {
            writeln!(
                f,
                "the capture had cut {} of them; {} more were too long for a frame",
                self.cut, self.too_long
            )?;
        }
        if self.left_out > 0 {
            writeln!(
                f,
                "{} records of the capture were left out: not received on {}",
                self.left_out, self.port
            )?;
        }
        let mut fates = Table::new(&["FATE", "PACKETS", "MEANING"]);
        for FateCount { fate, packets, text } in &self.fates {
            fates.row([fate, packets, text]);
        }
        let mut sent = Table::new(&["LEFT THROUGH", "PACKETS", "BYTES"]);
        for Sent { port, packets, bytes } in &self.sent {
            sent.row([port, packets, bytes]);
        }
        write!(f, "\n{fates}\n{sent}")
    }
}

/// What a packet's end is called.
fn name(outcome: Outcome) -> String {
    match outcome {
        Outcome::Steered(verdict) => format!("steer {}", verdict.name()),
        Outcome::Worked(fate) => views::fate(fate),
    }
}

/// One sentence on it.
fn text(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Steered(verdict) => verdict.text(),
        Outcome::Worked(Fate::Send) => "Sent out of a port.",
        Outcome::Worked(Fate::Drop(reason)) => reason.text(),
        Outcome::Worked(Fate::Punt(_)) => "For the gateway itself: its kernel answers.",
        Outcome::Worked(Fate::HandOver) => "Another worker seals it.",
        Outcome::Worked(Fate::Hold) => "Waits for its next hop.",
    }
}

/// By its name, as other programs do.
fn format(output: &Path) -> OutputFormat {
    match output.extension() {
        Some(extension) if extension == "pcapng" => OutputFormat::PcapNg,
        Some(_) | None => OutputFormat::Pcap,
    }
}

fn sent(report: &Report, names: &[String]) -> Vec<Sent> {
    let mut sent = Vec::new();
    for (port, books) in &report.ports {
        sent.push(Sent {
            port: names.get(port.usize()).cloned().unwrap_or_default(),
            packets: books[Counter::Transmitted as usize],
            bytes: books[Counter::TransmittedBytes as usize],
        });
    }
    sent
}

fn port(world: &World, name: &str) -> Result<PortIndex, Failure> {
    let found = world.ports.iter().position(|port| views::text(&port.name) == name);
    let known = || {
        let names: Vec<String> = world.ports.iter().map(|port| views::text(&port.name)).collect();
        Failure::Local(format!("there is no port {name}; there are {}", names.join(", ")))
    };
    found.map(|index| PortIndex(index as u16)).ok_or_else(known)
}

fn limits(gateway: &Gateway) -> Limits {
    let limits = regions::limits(gateway);
    Limits {
        sessions4: limits.sessions4.min(FLOWS_MAX),
        sessions6: limits.sessions6.min(FLOWS_MAX),
        mappings: limits.mappings.min(FLOWS_MAX),
        hosts: limits.hosts.min(FLOWS_MAX),
        ..limits
    }
}

/// Links that are there and up, and the keys that can be read.
fn learned(gateway: &Gateway, secrets: Option<&Path>) -> Learned {
    let mut learned = Learned::default();
    for (number, port) in (1..).zip(&gateway.ports) {
        let link = learned.links.entry(port.device.to_string()).or_insert(Link {
            ifindex: number,
            mac: [0; 6],
            mtu: 0,
            queues: 1,
            up: true,
            link_local: None,
        });
        link.mtu = link.mtu.max(port.mtu.unwrap_or(MTU_DEFAULT).into());
    }
    for tunnel in &gateway.tunnels {
        let Some((directory, manual)) = secrets.zip(tunnel.manual()) else {
            continue;
        };
        match secret_files::manual_keys(directory, manual) {
            Ok(pair) => drop(learned.sa_keys.insert(tunnel.name.to_string(), pair)),
            Err(error) => eprintln!("warning: {error}"),
        }
    }
    learned
}

/// The output file: made when the first byte is written, so that a refused input leaves no file.
struct Output {
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Output {
    /// Never over the input.
    fn new(input: &Path, output: &Path) -> Result<Output, Failure> {
        let same = std::fs::canonicalize(output)
            .is_ok_and(|place| std::fs::canonicalize(input).is_ok_and(|input| input == place));
        if same {
            return Err(Failure::Local(format!("{} is the input", output.display())));
        }
        Ok(Output {
            path: output.to_owned(),
            file: None,
        })
    }

    fn named(&self, error: io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let file = File::create(&self.path).map_err(|error| self.named(error))?;
                self.file.insert(BufWriter::new(file))
            }
        };
        file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), BufWriter::flush)
    }
}

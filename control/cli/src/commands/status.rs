//! `tombolo status`.

use super::{print, print_json};
use crate::client::Client;
use crate::failure::Failure;
use std::fmt::Write;
use tombolo_api::{DataplaneState, Status, path};

pub(super) fn run(client: &Client, json: bool) -> Result<(), Failure> {
    let status: Status = client.get(path::STATUS)?;
    if json {
        return print_json(&status);
    }
    print(&text(&status))
}

fn text(status: &Status) -> String {
    let Status {
        gateway,
        version,
        pid,
        dataplane,
        generation,
        summary,
        regions,
        alarms,
        uptime_seconds,
    } = status;
    let state = match dataplane.state {
        DataplaneState::Running => "running",
        DataplaneState::Starting => "starting",
        DataplaneState::Down => "down",
    };
    let process = dataplane.pid.map(|pid| format!(", pid {pid}")).unwrap_or_default();
    let aead = dataplane.aead.as_deref().map(|name| format!(", encrypts with {name}"));
    let aead = aead.unwrap_or_default();
    let adopted = if dataplane.adopted { ", taken over" } else { "" };
    let announced = generation.announced.map_or("-".into(), |oldest| oldest.to_string());
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<11} {value}");
    };
    line("gateway", gateway.clone());
    line(
        "tombolod",
        format!("{version}, pid {pid}, up {}", duration(*uptime_seconds)),
    );
    let workers = counted(dataplane.workers.into(), "worker");
    let restarts = counted(dataplane.restarts, "restart");
    line(
        "dataplane",
        format!("{state}{process}{adopted}, {workers}, {restarts}{aead}"),
    );
    let (published, used, total) = (
        generation.published,
        generation.used_bytes >> 10,
        generation.total_bytes >> 10,
    );
    line(
        "generation",
        format!("{published} published, {announced} in use, {used} of {total} KiB"),
    );
    let modes = format!(
        "{} zero-copy, {} generic XDP",
        summary.ports_zero_copy, summary.ports_generic
    );
    line(
        "ports",
        format!("{} of {} up, {modes}", summary.ports_up, summary.ports),
    );
    line("tunnels", format!("{} of {} up", summary.tunnels_up, summary.tunnels));
    line(
        "sessions4",
        format!("{} of {}", summary.sessions4, summary.sessions4_max),
    );
    line(
        "sessions6",
        format!("{} of {}", summary.sessions6, summary.sessions6_max),
    );
    line(
        "packets",
        format!(
            "{} received, {} sent, {} dropped",
            summary.received, summary.sent, summary.dropped
        ),
    );
    for region in regions {
        line(
            "memory",
            format!(
                "{} {} on {} pages",
                region.name,
                size(region.bytes),
                size(region.page_bytes)
            ),
        );
    }
    for alarm in alarms {
        line("alarm", alarm.clone());
    }
    text
}

fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// In the largest unit that leaves no fraction away unseen.
fn size(bytes: u64) -> String {
    if bytes >= 1 << 20 {
        format!("{} MiB", bytes >> 20)
    } else {
        format!("{} KiB", bytes >> 10)
    }
}

fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        (_, _, _) => format!("{days} d {hours} h"),
    }
}

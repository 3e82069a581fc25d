//! What the gateway knows, as the control socket shows it. Pure functions from the published world and the state region.
//!
//! What workers wrote into the state region is read as numbers only; a number that is out of range shows as such.

mod bundles;
mod counters;
mod flows;
mod ike;
mod ike_counters;
mod network;
mod sessions;
mod tunnels;

pub use bundles::bundles;
pub use counters::{counters, drops};
pub use flows::{nat, policy};
pub use ike::ike;
pub use ike_counters::ike_counters;
pub use network::{neighbours, ports, routes, segments};
pub use sessions::{session_count, sessions};
pub use tunnels::{TunnelNotes, tunnels};

use tombolo_tables::build::World;
use tombolo_tables::fate::{Fate, PuntReason};
use tombolo_tables::layout::{Address, wildcard};

/// What became of a packet, in the words of counters and captures.
pub fn fate(fate: Fate) -> String {
    match fate {
        Fate::Send => "send".into(),
        Fate::Drop(reason) => format!("drop {}", reason.name()),
        Fate::Punt(PuntReason::Local) => "punt local".into(),
        Fate::Punt(PuntReason::Protocol) => "punt protocol".into(),
        Fate::HandOver => "hand-over".into(),
        Fate::Hold => "hold".into(),
    }
}

/// A name out of a zero-padded field.
pub fn text(field: &[u8]) -> String {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

pub(crate) fn segment_name(world: &World, segment: u16) -> String {
    if segment == wildcard::SEGMENT {
        return "any".into();
    }
    world
        .segments
        .get(usize::from(segment))
        .map_or_else(|| format!("#{segment}"), |record| text(&record.name))
}

pub(crate) fn port_name(world: &World, port: u16) -> String {
    world
        .ports
        .get(usize::from(port))
        .map_or_else(|| format!("#{port}"), |record| text(&record.name))
}

fn protocol_name(protocol: u8) -> String {
    match protocol {
        wildcard::PROTOCOL => "any".into(),
        1 => "icmp".into(),
        6 => "tcp".into(),
        17 => "udp".into(),
        50 => "esp".into(),
        58 => "icmpv6".into(),
        132 => "sctp".into(),
        other => other.to_string(),
    }
}

/// A prefix whose length counts 128 bits, also for mapped IPv4 addresses.
fn prefix(address: Address, length: u8) -> String {
    match (length, address.is_v4()) {
        (0, _) => "any".into(),
        (96.., true) => format!("{address}/{}", length - 96),
        (_, _) => format!("{address}/{length}"),
    }
}

fn range(first: u16, last: u16) -> String {
    match (first, last) {
        (0, u16::MAX) => "any".into(),
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    #[test]
    fn prefixes_and_ranges_read_as_they_were_written() {
        let address = |text: &str| Address::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(prefix(address("10.1.0.0"), 120), "10.1.0.0/24");
        assert_eq!(prefix(address("0.0.0.0"), 96), "0.0.0.0/0");
        assert_eq!(prefix(address("fd00::"), 16), "fd00::/16");
        assert_eq!(prefix(address("::"), 0), "any");
        assert_eq!(range(0, 65535), "any");
        assert_eq!(range(80, 80), "80");
        assert_eq!(range(1024, 2047), "1024-2047");
        assert_eq!(text(b"uplink\0\0"), "uplink");
        assert_eq!(text(b"sixteen-letters!"), "sixteen-letters!");
    }
}

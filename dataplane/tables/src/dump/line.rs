//! One line of the dump: a place, then `name=value` pairs.

use crate::layout::{Address, NextHop, wildcard};
use core::fmt::{self, Display, Write};

/// A line under construction; ends when dropped.
pub(super) struct Line<'t>(&'t mut String);

impl<'t> Line<'t> {
    /// The title of a table.
    pub(super) fn heading(text: &'t mut String, title: &str) {
        text.push_str(title);
        text.push('\n');
    }

    pub(super) fn new(text: &'t mut String, place: impl Display) -> Self {
        let line = Line(text);
        line.write(format_args!("  {place}"))
    }

    pub(super) fn field(self, name: &str, value: impl Display) -> Self {
        self.write(format_args!(" {name}={value}"))
    }

    /// The names of the bits that are set, or nothing.
    pub(super) fn flags(self, flags: u16, names: &[(u16, &str)]) -> Self {
        let set = names.iter().filter(|(bit, _)| flags & bit != 0);
        set.fold(self, |line, (_, name)| line.write(format_args!(" {name}")))
    }

    fn write(self, arguments: fmt::Arguments<'_>) -> Self {
        self.0.write_fmt(arguments).expect("a String takes all text");
        self
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.0.push('\n');
    }
}

/// An operator's name, zero-padded in the record.
pub(super) fn name(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// A segment of a rule.
pub(super) fn segment(segment: u16) -> String {
    if segment == wildcard::SEGMENT {
        "any".into()
    } else {
        segment.to_string()
    }
}

/// A protocol of a rule.
pub(super) fn protocol(protocol: u8) -> String {
    if protocol == wildcard::PROTOCOL {
        "any".into()
    } else {
        protocol.to_string()
    }
}

/// An index that may be missing.
pub(super) fn index(index: u32) -> String {
    if index == wildcard::NONE {
        "none".into()
    } else {
        index.to_string()
    }
}

/// An inclusive range of ports.
pub(super) fn ports(first: u16, last: u16) -> String {
    match (first, last) {
        (0, u16::MAX) => "any".into(),
        _ => format!("{first}-{last}"),
    }
}

/// A prefix whose length counts in mapped form.
pub(super) fn prefix(address: Address, length: u8) -> String {
    match length {
        0 => "any".into(),
        96.. if address.is_v4() => format!("{address}/{}", length - 96),
        _ => format!("{address}/{length}"),
    }
}

/// Where a route leads.
pub(super) fn next_hop(next_hop: NextHop) -> String {
    match next_hop {
        NextHop::Unreachable => "unreachable".into(),
        NextHop::Discard => "discard".into(),
        NextHop::Neighbour(neighbour) => format!("neighbour:{}", neighbour.0),
        NextHop::OnLink(port) => format!("on-link:{}", port.0),
        NextHop::Tunnel(tunnel) => format!("tunnel:{}", tunnel.0),
        NextHop::Local(port) => format!("local:{}", port.0),
        NextHop::Segment(segment) => format!("segment:{}", segment.0),
        NextHop::Bundle(bundle) => format!("bundle:{}", bundle.0),
    }
}

/// The name of a value of a field that enumerates, or its number.
pub(super) fn named(value: u8, names: &[(u8, &str)]) -> String {
    let known = names.iter().find(|(of, _)| *of == value);
    known.map_or_else(|| format!("?{value}"), |(_, name)| (*name).into())
}

/// Bytes of a MAC address.
pub(super) fn mac(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .join(":")
}

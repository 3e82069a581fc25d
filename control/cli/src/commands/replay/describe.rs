//! A packet and what became of it, in one line.

use super::name;
use crate::packet::summary;
use serde::Serialize;
use std::fmt;
use std::time::Duration;
use tombolo_tables::capture::{CaptureStage, Captured, Direction};
use tombolo_worker::replay::Step;

/// What became of one packet.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Journey {
    /// Place in the capture, from 1.
    number: u64,
    /// Seconds since the first packet.
    seconds: f64,
    /// Length in bytes.
    length: u32,
    /// What it is.
    packet: String,
    /// Its fate.
    fate: String,
    /// What left because of it.
    left: Vec<Left>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Left {
    port: String,
    length: u32,
    packet: String,
}

impl fmt::Display for Journey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Journey {
            number,
            seconds,
            length,
            packet,
            fate,
            left,
        } = self;
        write!(f, "{number:>6}  {seconds:>12.6}  {length:>5} B  {packet}: {fate}")?;
        for Left { port, length, packet } in left {
            write!(f, "; {port} {length} B {packet}")?;
        }
        writeln!(f)
    }
}

/// Numbers the packets of a replay.
pub(super) struct Seen<'a> {
    ports: &'a [String],
    number: u64,
    began: Option<Duration>,
}

impl<'a> Seen<'a> {
    /// For ports with these names.
    pub(super) fn new(ports: &'a [String]) -> Self {
        Seen {
            ports,
            number: 0,
            began: None,
        }
    }

    /// What became of the next packet.
    pub(super) fn journey(&mut self, step: &Step<'_>) -> Journey {
        self.number += 1;
        let began = *self.began.get_or_insert(step.time);
        let left = |captured: &&Captured| {
            captured.header.direction == Direction::Out && captured.header.stage == CaptureStage::Wire
        };
        let describe = |captured: &Captured| Left {
            port: self
                .ports
                .get(captured.header.port.usize())
                .cloned()
                .unwrap_or_default(),
            length: captured.header.length,
            packet: summary(&captured.bytes),
        };
        Journey {
            number: self.number,
            seconds: step.time.saturating_sub(began).as_secs_f64(),
            length: step.seen.first().map_or(0, |arrived| arrived.header.length),
            packet: step
                .seen
                .first()
                .map_or_else(String::new, |arrived| summary(&arrived.bytes)),
            fate: name(step.outcome),
            left: step.seen.iter().filter(left).map(describe).collect(),
        }
    }
}

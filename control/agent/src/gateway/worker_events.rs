//! What workers ask for. Records come from shared memory: indices are looked up, never trusted.

use super::Gateway;
use crate::ike::clock;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tombolo_tables::events::Event;

/// Events taken from one ring in one turn, so that a flood leaves time for the rest.
const TURN: usize = 1024;
/// How long an alarm is shown after it happened last.
const ALARM_TIME: Duration = Duration::from_secs(300);

impl Gateway {
    /// Reads all rings; true if a new plan is needed.
    pub(super) fn take_events(&mut self) -> bool {
        let mut events = Vec::new();
        for ring in &mut self.events {
            events.extend(std::iter::from_fn(|| ring.pop()).take(TURN));
        }
        let (mut replan, mut supply) = (false, false);
        for event in events {
            match event {
                Event::ResolveNeighbour { port, address } => {
                    let record = self.plan.world.ports.get(port.usize());
                    if let Some(name) = record.map(|record| crate::views::text(&record.name)) {
                        let limit = self.desired.limits.neighbours as usize;
                        replan |= self.requested.add(name, IpAddr::from(address), limit);
                    }
                }
                Event::SequenceLow { sa: _ } | Event::SequenceExhausted { sa: _ } => supply = true,
                // Workers have taken these two into account themselves; the views read the state region.
                Event::TunnelMtu { tunnel, mtu } => {
                    tracing::debug!(tunnel = tunnel.0, mtu, "a tunnel's path MTU changed")
                }
                Event::EndpointMoved { tunnel, address, port } => {
                    tracing::debug!(tunnel = tunnel.0, %address, port, "a tunnel's peer moved");
                }
                Event::UnknownSpi { address, spi } => {
                    let from = IpAddr::from(address);
                    self.ike.endpoint.handle_unknown_spi(clock::now(), from, spi);
                }
                Event::NatExhausted { pool: _ } => self.alarm("a NAT pool has no free port"),
                Event::HostQuota { segment: _, address: _ } => self.alarm("a host holds as many sessions as it may"),
                Event::SessionsFull { v6: false } => self.alarm("the IPv4 session table is full"),
                Event::SessionsFull { v6: true } => self.alarm("the IPv6 session table is full"),
            }
        }
        if supply {
            self.supply_sequences();
        }
        replan
    }

    /// Remembers what needs a person, and logs it when it is new: strangers can repeat such events at will.
    fn alarm(&mut self, text: &'static str) {
        if self
            .alarms
            .insert(text, Instant::now())
            .is_none_or(|last| last.elapsed() > ALARM_TIME)
        {
            tracing::warn!("{text}");
        }
    }

    /// Alarms of the last minutes.
    pub(super) fn recent_alarms(&self) -> impl Iterator<Item = String> {
        let recent = self.alarms.iter().filter(|(_, last)| last.elapsed() < ALARM_TIME);
        recent.map(|(text, last)| format!("{text} ({} s ago)", last.elapsed().as_secs()))
    }
}

//! Prometheus text (exposition format 0.0.4). Names begin with `tombolo_`.

use super::Gateway;
use crate::views;
use std::fmt::Write;
use tombolo_api::{DataplaneState, Sa, Tunnel};

/// A text in the making.
#[derive(Default)]
struct Exposition(String);

impl Exposition {
    /// Begins a metric.
    fn metric(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One sample; label values are escaped.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escape(value)))
            .collect();
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    /// A metric with a single sample.
    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.metric(name, kind, help);
        self.sample(name, &[], value);
    }
}

impl Gateway {
    /// Everything that is measured.
    pub(super) fn metrics(&self) -> String {
        let status = self.status();
        let mut out = Exposition::default();
        out.metric("tombolo_info", "gauge", "The gateway and its version.");
        out.sample(
            "tombolo_info",
            &[("gateway", &status.gateway), ("version", &status.version)],
            1,
        );
        let up = u8::from(status.dataplane.state == DataplaneState::Running);
        out.single("tombolo_dataplane_up", "gauge", "1 while the dataplane runs.", up);
        let restarts = status.dataplane.restarts;
        out.single(
            "tombolo_dataplane_restarts_total",
            "counter",
            "Deaths of the dataplane.",
            restarts,
        );
        out.single(
            "tombolo_generation",
            "gauge",
            "Newest generation.",
            status.generation.published,
        );
        out.single(
            "tombolo_tables_used_bytes",
            "gauge",
            "Bytes of the tables in use.",
            status.generation.used_bytes,
        );
        let secrets = self.secrets.usage();
        out.single(
            "tombolo_secrets_records",
            "gauge",
            "Records of secrets that survive tombolod.",
            secrets.records,
        );
        out.single(
            "tombolo_secrets_bytes",
            "gauge",
            "Bytes of memory that they lie in.",
            secrets.store_bytes,
        );
        out.single(
            "tombolo_tunnels_with_sa",
            "gauge",
            "Tunnels that have an outbound SA.",
            self.outbound_tunnels(),
        );
        out.metric("tombolo_sessions", "gauge", "Sessions.");
        out.sample("tombolo_sessions", &[("family", "ipv4")], status.summary.sessions4);
        out.sample("tombolo_sessions", &[("family", "ipv6")], status.summary.sessions6);
        out.metric("tombolo_sessions_max", "gauge", "Room for sessions.");
        out.sample(
            "tombolo_sessions_max",
            &[("family", "ipv4")],
            status.summary.sessions4_max,
        );
        out.sample(
            "tombolo_sessions_max",
            &[("family", "ipv6")],
            status.summary.sessions6_max,
        );
        self.port_metrics(&mut out);
        self.tunnel_metrics(&mut out);
        out.0
    }

    fn port_metrics(&self, out: &mut Exposition) {
        let (world, state) = (&self.plan.world, self.regions.state);
        out.metric("tombolo_port_up", "gauge", "1 while the port's link is up.");
        for port in views::ports(world) {
            out.sample("tombolo_port_up", &[("port", &port.name)], u8::from(port.up));
        }
        let counters = views::counters(world, state);
        let names: Vec<String> = counters
            .first()
            .map(|port| port.counters.keys().cloned().collect())
            .unwrap_or_default();
        for name in names {
            let gauge = name == "held";
            let suffix = if gauge { "" } else { "_total" };
            let metric = format!("tombolo_port_{}{suffix}", name.replace('-', "_"));
            out.metric(&metric, if gauge { "gauge" } else { "counter" }, meaning(&name));
            for port in &counters {
                out.sample(
                    &metric,
                    &[("port", &port.port)],
                    port.counters.get(&name).copied().unwrap_or(0),
                );
            }
        }
        out.metric(
            "tombolo_drops_total",
            "counter",
            "Packets dropped, by the port where they came in and by reason.",
        );
        for drop in views::drops(world, state) {
            out.sample(
                "tombolo_drops_total",
                &[("port", &drop.port), ("reason", &drop.reason)],
                drop.packets,
            );
        }
    }

    fn tunnel_metrics(&self, out: &mut Exposition) {
        let tunnels = views::tunnels(&self.plan.world, self.regions.state, &self.notes);
        out.metric("tombolo_tunnel_up", "gauge", "1 while the tunnel can send.");
        for tunnel in &tunnels {
            out.sample("tombolo_tunnel_up", &[("tunnel", &tunnel.name)], u8::from(tunnel.up));
        }
        out.metric(
            "tombolo_sa_sequence",
            "gauge",
            "Next outbound or highest inbound sequence number.",
        );
        sa_samples(out, &tunnels, "tombolo_sa_sequence", |sa| Some(sa.sequence));
        out.metric("tombolo_sa_packets_total", "counter", "Inner packets sealed or opened.");
        sa_samples(out, &tunnels, "tombolo_sa_packets_total", |sa| Some(sa.packets));
        out.metric(
            "tombolo_sa_bytes_total",
            "counter",
            "Bytes of the inner packets sealed or opened.",
        );
        sa_samples(out, &tunnels, "tombolo_sa_bytes_total", |sa| Some(sa.bytes));
        out.metric(
            "tombolo_sa_authentic_total",
            "counter",
            "Authentic packets that were not seen before.",
        );
        sa_samples(out, &tunnels, "tombolo_sa_authentic_total", |sa| sa.authentic);
        // It falls when a late packet comes: no counter.
        out.metric(
            "tombolo_sa_lost",
            "gauge",
            "Packets that did not arrive so far, estimated by sequence numbers.",
        );
        sa_samples(out, &tunnels, "tombolo_sa_lost", |sa| sa.lost);
        reordered(out, &tunnels);
    }
}

/// Rekeys give a tunnel several SAs of a direction: the SPI tells them apart.
fn sa_samples(out: &mut Exposition, tunnels: &[Tunnel], metric: &str, value: fn(&Sa) -> Option<u64>) {
    for tunnel in tunnels {
        for sa in &tunnel.sas {
            let spi = format!("{:#010x}", sa.spi);
            let labels = [
                ("tunnel", tunnel.name.as_str()),
                ("direction", sa.direction.as_str()),
                ("spi", &spi),
            ];
            if let Some(value) = value(sa) {
                out.sample(metric, &labels, value);
            }
        }
    }
}

fn reordered(out: &mut Exposition, tunnels: &[Tunnel]) {
    let metric = "tombolo_sa_reordered_total";
    out.metric(
        metric,
        "counter",
        "Packets that were overtaken by at least `depth` sequence numbers, and by less than twice as many but for the last.",
    );
    for tunnel in tunnels {
        for sa in &tunnel.sas {
            let spi = format!("{:#010x}", sa.spi);
            for (class, packets) in sa.reordered.iter().flatten().enumerate() {
                let depth = (1_u64 << class).to_string();
                let labels = [("tunnel", tunnel.name.as_str()), ("spi", &spi), ("depth", &depth)];
                out.sample(metric, &labels, *packets);
            }
        }
    }
}

/// What a counter of a port counts. Sums over ports: received + originated + taken over = sent + dropped + punted + handed
/// over + held.
fn meaning(counter: &str) -> &'static str {
    match counter {
        "received" => "Frames taken from the port.",
        "received-bytes" => "Bytes of the frames taken from the port.",
        "originated" => "Frames made here: ICMP errors, fragments beyond the first, packets of the kernel.",
        "taken-over" => "Frames that another worker handed over.",
        "sent" => "Frames sent, booked on the port where the packet came in.",
        "punted" => "Frames given to the kernel.",
        "handed-over" => "Frames handed to another worker.",
        "held" => "Frames that wait for a next hop now.",
        "transmitted" => "Frames that left through the port, whoever received them.",
        "transmitted-bytes" => "Bytes of the frames that left through the port.",
        _ => "A counter of the port.",
    }
}

#[cfg(test)]
mod tests {
    use super::{Exposition, meaning};
    use tombolo_tables::fate::Counter;

    #[test]
    fn every_counter_is_explained() {
        for (_, name) in Counter::NAMED {
            assert_ne!(meaning(name), meaning(""), "{name}");
        }
    }

    #[test]
    fn samples_are_escaped() {
        let mut out = Exposition::default();
        out.metric("tombolo_x", "gauge", "X.");
        out.sample("tombolo_x", &[("name", "a\"b\\c\nd")], 3);
        out.sample("tombolo_x", &[], 4);
        let expected =
            "# HELP tombolo_x X.\n# TYPE tombolo_x gauge\ntombolo_x{name=\"a\\\"b\\\\c\\nd\"} 3\ntombolo_x 4\n";
        assert_eq!(out.0, expected);
    }
}

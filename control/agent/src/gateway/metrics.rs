//! Prometheus text (exposition format 0.0.4). Names begin with `tombolo_`.

use super::Gateway;
use crate::views;
use std::fmt::Write;
use tombolo_api::DataplaneState;

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
            out.metric(
                &metric,
                if gauge { "gauge" } else { "counter" },
                "See dataplane/tables/src/fate.rs.",
            );
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
        for tunnel in &tunnels {
            for sa in &tunnel.sas {
                let labels = [("tunnel", tunnel.name.as_str()), ("direction", sa.direction.as_str())];
                out.sample("tombolo_sa_sequence", &labels, sa.sequence);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Exposition;

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

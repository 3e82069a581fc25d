//! Prometheus text (exposition format 0.0.4). Names begin with `tombolo_`.

use super::Gateway;
use crate::views;
use std::fmt::Write;
use tombolo_api::{DataplaneState, IkeCounter, Sa, Tunnel};

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
        let tunnels = views::tunnels(&self.plan.world, self.regions.state, &self.notes, &Default::default());
        tunnel_samples(&mut out, &tunnels);
        ike_samples(&mut out, &self.ike.counters());
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
}

fn tunnel_samples(out: &mut Exposition, tunnels: &[Tunnel]) {
    out.metric("tombolo_tunnel_up", "gauge", "1 while the tunnel can send.");
    for tunnel in tunnels {
        out.sample("tombolo_tunnel_up", &[("tunnel", &tunnel.name)], u8::from(tunnel.up));
    }
    out.metric(
        "tombolo_sa_sequence",
        "gauge",
        "Next outbound or highest inbound sequence number.",
    );
    sa_samples(out, tunnels, "tombolo_sa_sequence", |sa| Some(sa.sequence));
    out.metric("tombolo_sa_packets_total", "counter", "Inner packets sealed or opened.");
    sa_samples(out, tunnels, "tombolo_sa_packets_total", |sa| Some(sa.packets));
    out.metric(
        "tombolo_sa_bytes_total",
        "counter",
        "Bytes of the inner packets sealed or opened.",
    );
    sa_samples(out, tunnels, "tombolo_sa_bytes_total", |sa| Some(sa.bytes));
    out.metric(
        "tombolo_sa_authentic_total",
        "counter",
        "Authentic packets that were not seen before.",
    );
    sa_samples(out, tunnels, "tombolo_sa_authentic_total", |sa| sa.authentic);
    // It falls when a late packet comes: no counter.
    out.metric(
        "tombolo_sa_lost",
        "gauge",
        "Packets that did not arrive so far, estimated by sequence numbers.",
    );
    sa_samples(out, tunnels, "tombolo_sa_lost", |sa| sa.lost);
    reordered(out, tunnels);
}
/// One metric for each kind but `now`, whose counters are metrics of their own.
fn ike_samples(out: &mut Exposition, counters: &[IkeCounter]) {
    for counter in counters.iter().filter(|counter| counter.kind == "now") {
        let metric = format!("tombolo_{}", ike_name(&counter.name));
        out.single(&metric, "gauge", &counter.text, counter.value);
    }
    let kinds = [
        (
            "event",
            "tombolo_ike_events_total",
            "event",
            "What happened to IKE SAs and child SAs.",
        ),
        (
            "dropped",
            "tombolo_ike_dropped_total",
            "reason",
            "IKE datagrams dropped, by reason.",
        ),
        (
            "datagrams",
            "tombolo_ike_datagrams_total",
            "kind",
            "Datagrams at the sockets of IKE.",
        ),
    ];
    for (kind, metric, label, help) in kinds {
        out.metric(metric, "counter", help);
        for counter in counters.iter().filter(|counter| counter.kind == kind) {
            out.sample(metric, &[(label, &counter.name)], counter.value);
        }
    }
}

/// `ike-sas` and `child-sas` as names of metrics.
fn ike_name(name: &str) -> String {
    let name = name.replace('-', "_");
    match name.strip_prefix("ike_") {
        Some(_) => name,
        None => format!("ike_{name}"),
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
    use super::{Exposition, ike_samples, meaning, tunnel_samples};
    use crate::ike::counts::Counts;
    use crate::ike::events::Events;
    use crate::ike::random::Kernel;
    use crate::views;
    use std::net::SocketAddr;
    use tombolo_api::{Sa, Tunnel};
    use tombolo_ike::connection::Path;
    use tombolo_ike::endpoint::{Endpoint, Limits};
    use tombolo_ike::now::{Milliseconds, Now};
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

    fn inbound(lost: Option<u64>, reordered: Option<[u64; 8]>) -> Tunnel {
        let sa = Sa {
            direction: "inbound".into(),
            spi: 0xc0de,
            cipher: "aes-256-gcm".into(),
            esn: true,
            sequence: 900,
            leased: None,
            replay_window: Some(64),
            packets: 880,
            bytes: 88_000,
            idle_seconds: Some(0),
            authentic: Some(881),
            lost,
            reordered,
        };
        Tunnel {
            name: "west".into(),
            up: true,
            reason: None,
            segment: "prod".into(),
            local: "192.0.2.1".into(),
            remote: "198.51.100.1".into(),
            encapsulation: "none".into(),
            mtu: 1400,
            sas: vec![sa],
            ike: None,
        }
    }

    #[test]
    fn what_an_inbound_sa_lost_and_how_late_others_came_is_printed() {
        let mut out = Exposition::default();
        tunnel_samples(&mut out, &[inbound(Some(19), Some([7, 0, 0, 5, 0, 0, 0, 1]))]);
        let labels = "tunnel=\"west\",direction=\"inbound\",spi=\"0x0000c0de\"";
        for line in [
            format!("tombolo_sa_lost{{{labels}}} 19"),
            format!("tombolo_sa_authentic_total{{{labels}}} 881"),
            format!("tombolo_sa_packets_total{{{labels}}} 880"),
            "# TYPE tombolo_sa_lost gauge".to_owned(),
            "# TYPE tombolo_sa_reordered_total counter".to_owned(),
        ] {
            assert!(out.0.lines().any(|one| one == line), "{line} is missing in\n{}", out.0);
        }
        let late: Vec<&str> = out
            .0
            .lines()
            .filter(|line| line.starts_with("tombolo_sa_reordered_total{"))
            .collect();
        let depths = [(1, 7), (2, 0), (4, 0), (8, 5), (16, 0), (32, 0), (64, 0), (128, 1)];
        let expected = depths.map(|(depth, packets)| {
            format!("tombolo_sa_reordered_total{{tunnel=\"west\",spi=\"0x0000c0de\",depth=\"{depth}\"}} {packets}")
        });
        assert_eq!(late, expected);
    }

    #[test]
    fn nothing_is_printed_that_nobody_knows() {
        let mut out = Exposition::default();
        tunnel_samples(&mut out, &[inbound(None, None)]);
        assert!(!out.0.contains("tombolo_sa_lost{") && !out.0.contains("tombolo_sa_reordered_total{"));
    }

    /// A real endpoint, and strangers who send to it.
    #[test]
    fn what_ike_drops_is_printed_by_reason() {
        let mut endpoint = Endpoint::new(Limits::default(), Box::new(Kernel));
        let now = Now {
            monotonic: Milliseconds(1),
            unix: 1,
        };
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let path = Path {
            local: at("192.0.2.1:500"),
            remote: at("198.51.100.1:500"),
        };
        // A header of INFORMATIONAL (RFC 7296 §3.1) for an IKE SA that nobody has.
        let mut stray = [0; 28];
        (stray[0], stray[8], stray[17], stray[18], stray[27]) = (1, 2, 0x20, 37, 28);
        endpoint.handle_datagram(now, path, &stray);
        for length in [3, 27] {
            endpoint.handle_datagram(now, path, &vec![0xff; length]);
        }
        let (events, counts) = (
            Events {
                child_rekeyed: 4,
                ..Events::default()
            },
            Counts {
                received: 3,
                ..Counts::default()
            },
        );
        let mut out = Exposition::default();
        ike_samples(&mut out, &views::ike_counters(&endpoint, &events, &counts));
        for line in [
            "tombolo_ike_sas 0",
            "tombolo_ike_child_sas 0",
            "tombolo_ike_dropped_total{reason=\"garbage\"} 2",
            "tombolo_ike_dropped_total{reason=\"stray\"} 1",
            "tombolo_ike_dropped_total{reason=\"excess\"} 0",
            "tombolo_ike_events_total{event=\"child-rekeyed\"} 4",
            "tombolo_ike_events_total{event=\"failed\"} 0",
            "tombolo_ike_datagrams_total{kind=\"received\"} 3",
            "tombolo_ike_datagrams_total{kind=\"send-failures\"} 0",
        ] {
            assert!(out.0.lines().any(|one| one == line), "{line} is missing in\n{}", out.0);
        }
    }
}

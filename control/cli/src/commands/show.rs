//! `tombolo show`.

mod tunnels;

use super::{print, print_json};
use crate::arguments::Show;
use crate::client::Client;
use crate::failure::Failure;
use crate::table::Table;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tombolo_api as api;
use tombolo_api::path;

pub(super) fn run(client: &Client, what: Show, limit: u32, json: bool) -> Result<(), Failure> {
    let ask = Ask { client, json };
    match what {
        Show::Ports => ask.show(path::PORTS, ports),
        Show::Segments => ask.show(path::SEGMENTS, segments),
        Show::Routes => ask.show(path::ROUTES, routes),
        Show::Policy => ask.show(path::POLICY, policy),
        Show::Nat => ask.show(path::NAT, nat),
        Show::Sessions => ask.show(&format!("{}?limit={limit}", path::SESSIONS), sessions),
        Show::Tunnels => ask.show(path::TUNNELS, tunnels::tunnels),
        Show::Bundles => ask.show(path::BUNDLES, bundles),
        Show::Neighbours => ask.show(path::NEIGHBOURS, neighbours),
        Show::Drops => ask.show(path::DROPS, drops),
        Show::Ike => ask.show(path::IKE, ike),
        Show::Counters => ask.show(path::COUNTERS, counters),
        Show::Config if json => print_json(&client.text(path::CONFIG)?),
        Show::Config => print(&client.text(path::CONFIG)?),
        Show::Generation => ask.show(path::GENERATION, generation),
    }
}

struct Ask<'a> {
    client: &'a Client,
    json: bool,
}

impl Ask<'_> {
    fn show<T: Serialize + DeserializeOwned>(&self, path: &str, text: fn(&T) -> String) -> Result<(), Failure> {
        let value: T = self.client.get(path)?;
        if self.json {
            print_json(&value)
        } else {
            print(&text(&value))
        }
    }
}

fn or_none(table: Table) -> String {
    if table.is_empty() {
        "none\n".into()
    } else {
        table.to_string()
    }
}

fn ports(ports: &Vec<api::Port>) -> String {
    let mut table = Table::new(&[
        "PORT",
        "DEVICE",
        "SEGMENT",
        "STATE",
        "MAC",
        "MTU",
        "QUEUES",
        "XDP",
        "ADDRESSES",
    ]);
    for port in ports {
        let state = if port.up { "up" } else { "down" };
        let xdp = port
            .copy
            .as_ref()
            .map_or(port.xdp.clone(), |copy| format!("{}, {copy}", port.xdp));
        let addresses = port.addresses.join(" ");
        let device = port
            .vlan
            .map_or(port.device.clone(), |vlan| format!("{}.{vlan}", port.device));
        table.row([
            &port.name,
            &device,
            &port.segment,
            &state,
            &port.mac,
            &port.mtu,
            &port.queues,
            &xdp,
            &addresses,
        ]);
    }
    let errors: String = ports
        .iter()
        .filter_map(|port| port.error.as_ref().map(|error| format!("{}: {error}\n", port.name)))
        .collect();
    or_none(table) + &errors
}

fn segments(segments: &Vec<api::Segment>) -> String {
    let mut table = Table::new(&["SEGMENT", "EPOCH", "POLICY", "MSS MAX", "ROUTES", "PORTS"]);
    for segment in segments {
        let policy = if segment.stateless { "stateless" } else { "stateful" };
        let mss = segment.mss_max.map_or("-".into(), |mss| mss.to_string());
        table.row([
            &segment.name,
            &segment.epoch,
            &policy,
            &mss,
            &segment.routes,
            &segment.ports.join(" "),
        ]);
    }
    or_none(table)
}

fn routes(routes: &Vec<api::Route>) -> String {
    let mut table = Table::new(&["SEGMENT", "PREFIX", "NEXT HOP"]);
    for route in routes {
        table.row([&route.segment, &route.prefix, &route.next_hop]);
    }
    or_none(table)
}

fn policy(rules: &Vec<api::PolicyRule>) -> String {
    let titles = [
        "#",
        "NAME",
        "FROM",
        "TO",
        "SOURCE",
        "DESTINATION",
        "PROTOCOL",
        "SOURCE PORTS",
        "PORTS",
        "ACTION",
    ];
    let mut table = Table::new(&titles);
    for r in rules {
        table.row([
            &r.rule,
            &r.name,
            &r.from,
            &r.to,
            &r.source,
            &r.destination,
            &r.protocol,
            &r.source_ports,
            &r.destination_ports,
            &r.action,
        ]);
    }
    or_none(table) + "between segments everything else is denied\n"
}

fn nat(nat: &api::Nat) -> String {
    let mut rules = Table::new(&[
        "#",
        "KIND",
        "FROM",
        "TO",
        "SOURCE",
        "DESTINATION",
        "PROTOCOL",
        "PORTS",
        "BECOMES",
    ]);
    for r in &nat.rules {
        rules.row([
            &r.rule,
            &r.kind,
            &r.from,
            &r.to,
            &r.source,
            &r.destination,
            &r.protocol,
            &r.ports,
            &r.translation,
        ]);
    }
    let mut pools = Table::new(&["POOL", "FIRST ADDRESS", "ADDRESSES", "PORTS", "SESSIONS PER HOST"]);
    for pool in &nat.pools {
        let ports = format!("{}-{}", pool.port_first, pool.port_last);
        pools.row([
            &pool.pool,
            &pool.first,
            &pool.addresses,
            &ports,
            &pool.sessions_per_host_max,
        ]);
    }
    format!("{}\n{}", or_none(rules), or_none(pools))
}

fn sessions(answer: &api::Sessions) -> String {
    let titles = [
        "PROTOCOL",
        "FROM",
        "SOURCE",
        "DESTINATION",
        "TO",
        "AS SOURCE",
        "AS DESTINATION",
        "STATE",
        "IDLE s",
    ];
    let mut table = Table::new(&titles);
    for session in &answer.sessions {
        let (forward, reverse) = (&session.forward, &session.reverse);
        let (source, destination) = (
            end(&forward.source, forward.source_port),
            end(&forward.destination, forward.destination_port),
        );
        // What the other side sees: the reply's destination is the translated source.
        let (as_source, as_destination) = if session.translated {
            (
                end(&reverse.destination, reverse.destination_port),
                end(&reverse.source, reverse.source_port),
            )
        } else {
            ("-".into(), "-".into())
        };
        table.row([
            &session.protocol,
            &forward.segment,
            &source,
            &destination,
            &reverse.segment,
            &as_source,
            &as_destination,
            &session.state,
            &session.idle_seconds,
        ]);
    }
    let shown = answer.sessions.len();
    let more = if (shown as u64) < answer.total {
        "; --limit shows more"
    } else {
        ""
    };
    format!("{}{shown} of {} sessions{more}\n", or_none(table), answer.total)
}

fn end(address: &str, port: u16) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

fn bundles(bundles: &Vec<api::Bundle>) -> String {
    let mut table = Table::new(&[
        "BUNDLE",
        "SEGMENT",
        "TUNNEL",
        "STATE",
        "SHARE %",
        "CEILING Mbit/s",
        "CEILING packets/s",
    ]);
    let or_unknown = |ceiling: Option<u64>| ceiling.map_or("-".into(), |ceiling| ceiling.to_string());
    for bundle in bundles {
        for member in &bundle.members {
            let share = 100.0 * f64::from(member.shares) / f64::from(member.shares_all.max(1));
            table.row([
                &bundle.name,
                &bundle.segment,
                &member.tunnel,
                &if member.up { "up" } else { "down" },
                &format!("{share:.1}"),
                &or_unknown(member.ceiling_bits.map(|bits| bits / 1_000_000)),
                &or_unknown(member.ceiling_packets),
            ]);
        }
    }
    or_none(table)
}

fn neighbours(neighbours: &Vec<api::Neighbour>) -> String {
    let mut table = Table::new(&["PORT", "ADDRESS", "MAC", "STATE"]);
    for neighbour in neighbours {
        table.row([
            &neighbour.port,
            &neighbour.address,
            &neighbour.mac.as_deref().unwrap_or("-"),
            &neighbour.state,
        ]);
    }
    or_none(table)
}

fn drops(drops: &Vec<api::Drop>) -> String {
    let mut table = Table::new(&["PORT", "REASON", "PACKETS", "MEANING"]);
    for drop in drops {
        table.row([&drop.port, &drop.reason, &drop.packets, &drop.text]);
    }
    or_none(table)
}

fn ike(counters: &Vec<api::IkeCounter>) -> String {
    let mut table = Table::new(&["KIND", "NAME", "COUNT", "MEANING"]);
    for counter in counters {
        table.row([&counter.kind, &counter.name, &counter.value, &counter.text]);
    }
    or_none(table)
}

/// The books as the equation that they are, then what passed on the wire.
fn counters(ports: &Vec<api::PortCounters>) -> String {
    let came = ["received", "originated", "taken-over"];
    let went = ["sent", "dropped", "punted", "handed-over", "held"];
    let wire = ["received", "received-bytes", "transmitted", "transmitted-bytes"];
    let titles = |names: &[&str]| {
        names
            .iter()
            .map(|name| name.replace('-', " ").to_uppercase())
            .collect::<Vec<_>>()
    };
    let of = |port: &api::PortCounters, name: &str| match name {
        "dropped" => port.dropped,
        name => port.counters.get(name).copied().unwrap_or(0),
    };
    let [c, w] = [titles(&came), titles(&went)];
    let mut books = Table::new(&[
        "PORT", &c[0], &c[1], &c[2], "=", &w[0], &w[1], &w[2], &w[3], &w[4], "MISSING",
    ]);
    let x = titles(&wire);
    let mut passed = Table::new(&["PORT", &x[0], &x[1], &x[2], &x[3]]);
    for port in ports {
        let [c0, c1, c2] = came.map(|name| of(port, name));
        let [w0, w1, w2, w3, w4] = went.map(|name| of(port, name));
        books.row([&port.port, &c0, &c1, &c2, &"=", &w0, &w1, &w2, &w3, &w4, &port.balance]);
        let [x0, x1, x2, x3] = wire.map(|name| of(port, name));
        passed.row([&port.port, &x0, &x1, &x2, &x3]);
    }
    format!("{}\n{}", or_none(books), or_none(passed))
}

fn generation(generation: &api::Generation) -> String {
    let announced = generation.announced.map_or("-".into(), |oldest| oldest.to_string());
    let mut table = Table::new(&["PUBLISHED", "IN USE", "USED BYTES", "TOTAL BYTES"]);
    table.row([
        &generation.published,
        &announced,
        &generation.used_bytes,
        &generation.total_bytes,
    ]);
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn books_read_as_an_equation() {
        let named = [
            ("received", 7),
            ("originated", 1),
            ("sent", 5),
            ("held", 1),
            ("transmitted", 9),
        ];
        let port = api::PortCounters {
            port: "uplink".into(),
            counters: BTreeMap::from(named.map(|(name, value)| (name.to_owned(), value))),
            dropped: 2,
            balance: 0,
        };
        let expected = "\
PORT    RECEIVED  ORIGINATED  TAKEN OVER  =  SENT  DROPPED  PUNTED  HANDED OVER  HELD  MISSING
uplink         7           1           0  =     5        2       0            0     1        0

PORT    RECEIVED  RECEIVED BYTES  TRANSMITTED  TRANSMITTED BYTES
uplink         7               0            9                  0
";
        assert_eq!(counters(&vec![port]), expected);
        assert_eq!(counters(&vec![]), "none\n\nnone\n");
    }

    #[test]
    fn what_ike_counted_is_shown_with_its_meaning() {
        let counter = api::IkeCounter {
            kind: "dropped".into(),
            name: "stray".into(),
            value: 3,
            text: "For nobody.".into(),
        };
        let expected = "KIND     NAME   COUNT  MEANING\ndropped  stray      3  For nobody.\n";
        assert_eq!(ike(&vec![counter]), expected);
    }

    #[test]
    fn a_cut_list_of_sessions_says_how_to_see_more() {
        let answer = |total| api::Sessions {
            total,
            sessions: Vec::new(),
        };
        assert_eq!(sessions(&answer(0)), "none\n0 of 0 sessions\n");
        assert_eq!(sessions(&answer(3)), "none\n0 of 3 sessions; --limit shows more\n");
    }
}

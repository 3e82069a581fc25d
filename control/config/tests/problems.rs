//! Every problem is told with its place and, where there is one, the way out.

use tombolo_config::{Gateway, Problem, parse};

/// A small gateway that is right; tests spoil it.
const GOOD: &str = r#"gateway: gw
segments: { prod: {}, dev: {}, internet: {} }
ports:
  cloud: { device: eth1, segment: prod, addresses: [10.1.0.1/24, "fd00:1::1/64"] }
  lab: { device: eth2, segment: dev, addresses: [10.1.1.1/24] }
  uplink: { device: eth0, segment: internet, underlay: true, addresses: [192.0.2.1/24], nat-ports: 20000-29999 }
routes:
  internet:
    - { to: 0.0.0.0/0, via: 192.0.2.254 }
  prod:
    - { to: 10.2.0.0/24, tunnel: peer }
    - { to: 0.0.0.0/0, segment: internet }
tunnels:
  peer: { segment: prod, local: 192.0.2.1, remote: 198.51.100.1, keys: "file:peer.sa" }
nat:
  source:
    - { from: prod, to: internet, address: port }
  destination:
    - { from: internet, to: 192.0.2.1, protocol: tcp, port: 8080, to-address: 10.1.0.10, to-port: 80 }
policy:
  - { name: out, from: prod, to: internet, action: allow }
"#;

fn problems(text: &str) -> Vec<Problem> {
    parse(text, "gw.yaml").err().unwrap_or_default()
}

fn accepted(text: &str) -> Gateway {
    parse(text, "gw.yaml").unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// Replaces `from` by `to` and expects exactly one problem, at the first place of `at` in the new text, whose message and
/// hint contain the words.
#[track_caller]
fn one(from: &str, to: &str, at: &str, message: &str, hint: &str) {
    assert_eq!(GOOD.matches(from).count(), 1, "'{from}' must stand once in the text");
    let text = GOOD.replace(from, to);
    let found = problems(&text);
    assert_eq!(found.len(), 1, "{found:#?}");
    let problem = &found[0];
    let offset = text.find(at).unwrap();
    let line = text[..offset].matches('\n').count() as u32 + 1;
    let column = (offset - text[..offset].rfind('\n').map_or(0, |newline| newline + 1)) as u32 + 1;
    assert!(problem.message.contains(message), "{problem}");
    assert!(problem.hint.as_deref().unwrap_or_default().contains(hint), "{problem}");
    assert_eq!(
        (problem.file.as_str(), problem.line, problem.column),
        ("gw.yaml", line, column),
        "{problem}"
    );
}

#[test]
fn the_text_that_is_spoilt_here_is_right() {
    assert_eq!(accepted(GOOD).warnings, []);
}

#[test]
fn yaml_and_shape() {
    one("gateway: gw", "gateway: [gw", ": { prod", "not YAML", "");
    one(
        "gateway: gw\n",
        "gateway: gw\ngateway: gw\n",
        "gateway: gw\nsegments",
        "second time",
        "keep one",
    );
    one(
        "gateway: gw\n",
        "gateway: &name gw\n",
        "gw\nsegments",
        "anchors",
        "write the value out",
    );
    one("gateway: gw\n", "", "segments", "lacks 'gateway'", "");
    one("gateway: gw\n", "gateway:\n", "gateway:", "no value", "");
    one(
        "gateway: gw\n",
        "gateway: gw\nworker: 2\n",
        "worker",
        "no field 'worker'",
        "did you mean 'workers'?",
    );
    one(
        "device: eth2",
        "devise: eth2, device: eth2",
        "devise",
        "a port has no field",
        "'device'",
    );
    one(
        "{ prod: {}, dev: {}, internet: {} }",
        "[prod, dev, internet]",
        "[prod",
        "a map of names, found a list",
        "",
    );
    one(
        "addresses: [10.1.1.1/24]",
        "addresses: 10.1.1.1/24",
        "10.1.1.1/24",
        "expected a list",
        "",
    );
    one("underlay: true", "underlay: yes", "yes", "neither true nor false", "");
    one(
        "{ from: prod, to: internet, address: port }",
        "just a string",
        "just a string",
        "fields of a source NAT rule",
        "",
    );
}

#[test]
fn words() {
    one("gateway: gw", "gateway: GW", "GW", "not a name", "a-z");
    one(
        "10.2.0.0/24, tunnel",
        "10.2.0.5/24, tunnel",
        "10.2.0.5",
        "behind its prefix length",
        "10.2.0.0/24",
    );
    one("10.1.1.1/24", "10.1.1.0/24", "10.1.1.0", "network's own", "");
    one("10.1.1.1/24", "10.1.1.1/33", "10.1.1.1/33", "0 to 32", "");
    one(
        "10.1.1.1/24",
        "10.1.1.1",
        "10.1.1.1]",
        "lacks a prefix length",
        "ADDRESS/LENGTH",
    );
    one("\"fd00:1::1/64\"", "\"fe80::1/64\"", "\"fe80", "link-local", "");
    one(
        "10.2.0.0/24, tunnel",
        "\"::ffff:10.2.0.0/120\", tunnel",
        "\"::ffff",
        "IPv4-mapped",
        "write 10.2.0.0",
    );
    one("protocol: tcp", "protocol: tpc", "tpc", "not a protocol", "tcp, udp");
    one(
        "action: allow",
        "action: alow",
        "alow",
        "not an action",
        "did you mean 'allow'?",
    );
    one(
        "keys: \"file:peer.sa\"",
        "keys: 0123456789abcdef",
        "01234",
        "by reference",
        "file:NAME",
    );
    one(
        "keys: \"file:peer.sa\"",
        "keys: \"file:../peer.sa\"",
        "\"file:",
        "not the name",
        "secrets directory",
    );
    one(
        "20000-29999",
        "29999-20000",
        "29999-",
        "ends before it starts",
        "20000-29999?",
    );
    one(
        "gateway: gw",
        "gateway: gw\nworkers: 65",
        "65",
        "out of bounds: 1 to 64",
        "",
    );
    assert!(
        !problems(&GOOD.replace("\"file:peer.sa\"", "0123456789abcdef"))[0]
            .to_string()
            .contains("0123")
    );
}

#[test]
fn references() {
    one(
        "device: eth1, segment: prod",
        "device: eth1, segment: prd",
        "prd",
        "no segment 'prd'",
        "did you mean 'prod'?",
    );
    one("tunnel: peer", "tunnel: pier", "pier", "no tunnel 'pier'", "'peer'");
    one("  prod:\n", "  pood:\n", "pood:", "no segment 'pood'", "'prod'");
    one(
        "name: out, from: prod",
        "name: out, from: prob",
        "prob",
        "no segment 'prob'",
        "'prod'",
    );
    accepted(&GOOD.replace("name: out, from: prod", "name: out, from: any"));
}

#[test]
fn ports() {
    one(
        "10.1.1.1/24",
        "10.1.1.1/24, 10.1.1.129/25",
        "10.1.1.129",
        "overlaps 10.1.1.0/24",
        "on the link of one port",
    );
    one(
        "device: eth2",
        "device: eth1",
        "eth1, segment: dev",
        "already port 'cloud'",
        "vlan",
    );
    one(
        "10.1.0.1/24",
        "10.1.0.1/24, 10.1.0.1/24",
        "10.1.0.1/24, \"",
        "already an address of port 'cloud'",
        "",
    );
    one("20000-29999", "1000-29999", "1000", "well-known", "20000-29999");
    one("20000-29999", "30000-40000", "30000", "overlaps 32768-60999", "61000");
    one("20000-29999", "20000-20100", "20000", "fewer than", "");
    one(
        "device: eth2",
        "device: eth2, mtu: 9000",
        "9000",
        "1280 to 3498",
        "fit into a frame",
    );
    one("  lab: {", "  laboratory-of-dev: {", "laboratory", "at most 15", "");
    let both = GOOD.replace(
        "segment: dev, addresses: [10.1.1.1/24]",
        "segment: dev, addresses: [10.1.0.1/24]",
    );
    assert!(
        problems(&both)[0].message.contains("networks of several segments"),
        "which 10.1.0.10 is meant?"
    );
    let both = both.replace("to-port: 80", "to-port: 80, to-segment: prod");
    assert!(
        accepted(&both).warnings[0]
            .message
            .contains("also an address of port 'cloud'"),
        "segments may overlap"
    );
}

#[test]
fn routes() {
    one(
        "via: 192.0.2.254",
        "via: 192.0.3.254",
        "192.0.3.254",
        "on the link of no port",
        "one of the segment's ports",
    );
    one("via: 192.0.2.254", "via: 192.0.2.1", "192.0.2.1 }", "own address", "");
    one(
        "0.0.0.0/0, via",
        "\"::/0\", via",
        "192.0.2.254",
        "another address family",
        "",
    );
    one(
        "via: 192.0.2.254",
        "via: 192.0.2.254, action: discard",
        "{ to: 0.0.0.0/0, via",
        "several places",
        "one of",
    );
    one(
        "{ to: 0.0.0.0/0, segment: internet }",
        "{ to: 0.0.0.0/0 }",
        "{ to: 0.0.0.0/0 }",
        "leads nowhere",
        "one of",
    );
    one(
        "{ to: 0.0.0.0/0, segment: internet }",
        "{ to: 0.0.0.0/0, segment: prod }",
        "prod }\ntunnels",
        "into itself",
        "",
    );
    one(
        "{ to: 0.0.0.0/0, segment: internet }",
        "{ to: 10.2.0.0/24, segment: dev }",
        "10.2.0.0/24, segment",
        "a second route",
        "",
    );
    one(
        "{ to: 0.0.0.0/0, segment: internet }",
        "{ to: 10.1.0.0/24, segment: dev }",
        "10.1.0.0/24",
        "needs no route",
        "",
    );
    one(
        "{ to: 0.0.0.0/0, segment: internet }",
        "{ to: \"fe80::/64\", action: discard }",
        "\"fe80",
        "never routed",
        "",
    );
    one(
        "  prod:\n",
        "  dev: [{ to: 10.9.0.0/16, tunnel: peer }]\n  prod:\n",
        "peer }]",
        "segment 'prod', not 'dev'",
        "segment 'prod'",
    );
    let chain = "  dev: [{ to: 10.9.0.0/16, segment: prod }]\n  prod:\n";
    one(
        "  prod:\n",
        chain,
        "prod }]",
        "only one change is followed",
        "segment 'internet' directly",
    );
}

#[test]
fn tunnels() {
    one(
        "local: 192.0.2.1",
        "local: 192.0.2.2",
        "192.0.2.2,",
        "not an address of this gateway",
        "192.0.2.1",
    );
    one(
        "local: 192.0.2.1",
        "local: 10.1.0.1",
        "10.1.0.1, r",
        "no underlay port",
        "underlay: true",
    );
    one(
        "remote: 198.51.100.1",
        "remote: \"2001:db8::1\"",
        "\"2001",
        "one address family",
        "",
    );
    one(
        "remote: 198.51.100.1",
        "remote: 192.0.2.1",
        "192.0.2.1, k",
        "own address",
        "",
    );
    one("remote: 198.51.100.1", "remote: 127.0.0.1", "127.0.0.1", "loopback", "");
    one(
        "0.0.0.0/0, via",
        "203.0.113.0/24, via",
        "198.51.100.1",
        "no route to 198.51.100.1",
        "via",
    );
    one(
        "local: 192.0.2.1",
        "replay-window: 100, local: 192.0.2.1",
        "100, local",
        "multiple of 64",
        "",
    );
    one(
        "local: 192.0.2.1",
        "local-port: 4500, local: 192.0.2.1",
        "4500",
        "has no ports",
        "encapsulation: udp",
    );
    let inside = "encapsulation: udp, local-port: 20001, local: 192.0.2.1";
    one("local: 192.0.2.1", inside, "20001", "lies in nat-ports 20000-29999", "");
    one(
        "nat:\n",
        "  twin: { segment: prod, local: 192.0.2.1, remote: 198.51.100.2, keys: \"file:peer.sa\" }\nnat:\n",
        "\"file:peer.sa\" }\nnat",
        "the same keys",
        "sa generate",
    );
    let unused = GOOD.replace("    - { to: 10.2.0.0/24, tunnel: peer }\n", "");
    assert!(
        accepted(&unused).warnings[0]
            .message
            .contains("no route leads into tunnel 'peer'")
    );
}

#[test]
fn nat() {
    one(
        ", nat-ports: 20000-29999",
        "",
        "port }",
        "has no nat-ports",
        "nat-ports: 20000-29999",
    );
    let stateless = problems(&GOOD.replace("{ prod: {}, dev", "{ prod: { stateless: true }, dev"));
    let places: Vec<(u32, u32)> = stateless.iter().map(|problem| (problem.line, problem.column)).collect();
    assert_eq!(places, [(17, 15), (19, 79)], "both rules: {stateless:#?}");
    assert!(stateless.iter().all(|problem| problem.message.contains("stateless")));
}

#[test]
fn nat_ranges_and_forwards() {
    one(
        "address: port",
        "address: 192.0.2.1, ports: 30000-31000",
        "192.0.2.1, ports",
        "the gateway's own address",
        "address: port",
    );
    one(
        "address: port",
        "address: 203.0.113.9-203.0.113.8",
        "203.0.113.9",
        "ends before",
        "203.0.113.8-203.0.113.9",
    );
    one(
        "address: port",
        "address: 203.0.113.0-203.0.113.99",
        "203.0.113.0-",
        "outside addresses, the most is 64",
        "pool-addresses",
    );
    one(
        "[192.0.2.1/24], nat-ports: 20000-29999 }\n",
        "[192.0.2.1/24, \"2001:db8::1/64\"], nat-ports: 20000-29999 }\nlimits: { pool-addresses: 1 }\n",
        "port }\n  destination",
        "2 outside addresses, the most is 1",
        "pool-addresses",
    );
    one(
        "address: port",
        "protocol: esp, address: port",
        "esp",
        "cannot be translated",
        "dropped",
    );
    one(
        "address: port",
        "port: 80, address: port",
        "80, address",
        "needs a protocol",
        "protocol: tcp",
    );
    one(
        "address: port",
        "source: \"fd00::/8\", destination: 10.0.0.0/8, address: port",
        "10.0.0.0/8",
        "mixed",
        "",
    );
    one("port: 8080", "port: 20080", "20080", "overlaps nat-ports", "");
    one(
        "to-address: 10.1.0.10",
        "to-address: 10.9.0.10",
        "10.9.0.10",
        "no port's network",
        "to-segment",
    );
    one(", to-port: 80", ", to-port: 0", "0 }\npolicy", "1 to 65535", "");
    one(
        "protocol: tcp, port: 8080, to-address: 10.1.0.10, to-port: 80",
        "to-address: 10.1.0.10",
        "192.0.2.1, to-address",
        "own address",
        "port",
    );
}

#[test]
fn policy() {
    one(
        "action: allow }",
        "action: allow }\n  - { name: out, action: deny }",
        "out, action: deny",
        "a second rule 'out'",
        "name",
    );
    one(
        "action: allow",
        "protocol: icmp, source: \"::/0\", action: allow",
        "icmp",
        "does not run over IPv6",
        "",
    );
    one(
        "action: allow",
        "port: 80, action: allow",
        "80, action",
        "needs a protocol",
        "protocol: tcp",
    );
    one(
        "action: allow",
        "icmp-type: 8, action: allow",
        "8, action",
        "needs an ICMP protocol",
        "icmpv6",
    );
}

#[test]
fn several_problems_are_told_at_once_in_order() {
    let text = GOOD
        .replace("device: eth1", "devise: eth1")
        .replace("20000-29999", "5")
        .replace("action: allow", "action: no");
    let found = problems(&text);
    let lines: Vec<u32> = found.iter().map(|problem| problem.line).collect();
    assert_eq!(
        lines,
        [4, 4, 21],
        "a word is refused before the range's sense: {found:#?}"
    );
    let text = GOOD
        .replace("segment: prod, local", "segment: prad, local")
        .replace("20000-29999", "5-6")
        .replace("prod, to: internet, action", "any, to: intranet, action");
    assert_eq!(
        problems(&text).iter().map(|problem| problem.line).collect::<Vec<_>>(),
        [6, 14, 21]
    );
}

#[test]
fn bombs_and_oversize_are_refused() {
    let deep = format!("a: {}{}", "[".repeat(200), "]".repeat(200));
    assert!(
        problems(&deep)[0].message.contains("levels deep"),
        "{:?}",
        problems(&deep)
    );
    let bomb = "a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\n";
    assert!(problems(bomb)[0].message.contains("anchors and aliases"));
    let large = "#".repeat(tombolo_config::FILE_BYTES_MAX + 1);
    assert!(problems(&large)[0].message.contains("the most is"));
    let wide = format!(
        "gateway: gw\nsegments: {{}}\nports: {{}}\npolicy: [{}]",
        "{},".repeat(20_000)
    );
    assert!(problems(&wide).len() <= 100);
}

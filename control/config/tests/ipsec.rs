//! Tunnels keyed by IKEv2: what a statement and its profile make together, and what is refused where.

use std::path::Path;
use tombolo_config::preflight::{Verdict, preflight};
use tombolo_config::{Credentials, Gateway, IkeTunnel, Problem, ProfileName, Remote, RouteTarget, parse, psk};
use tombolo_ike::identity::Identity;
use tombolo_ike::transform::{Encryption, Group, Prf};

/// A tunnel to AWS that is right; tests spoil it.
const GOOD: &str = r#"gateway: gw
segments: { prod: {}, internet: {} }
ports:
  cloud: { device: eth1, segment: prod, addresses: [10.1.0.1/24, "fd00:1::1/64"] }
  uplink: { device: eth0, segment: internet, underlay: true, addresses: [192.0.2.1/24, "2001:db8::1/64"], mtu: 1500 }
routes:
  internet: [{ to: 0.0.0.0/0, via: 192.0.2.254 }, { to: "::/0", via: "2001:db8::fe" }]
  prod:
    - { to: 172.31.0.0/16, tunnel: peer }
tunnels:
  peer:
    type: ipsec
    profile: aws
    segment: prod
    local: 192.0.2.1
    remote: 203.0.113.10
    secret: file:peer.psk
    inside: [169.254.10.2/30]
"#;

fn problems(text: &str) -> Vec<Problem> {
    parse(text, "gw.yaml").err().unwrap_or_default()
}

fn accepted(text: &str) -> Gateway {
    parse(text, "gw.yaml").unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"))
}

fn spoilt(from: &str, to: &str) -> String {
    assert_eq!(GOOD.matches(from).count(), 1, "'{from}' must stand once in the text");
    GOOD.replace(from, to)
}

fn ike(gateway: &Gateway) -> &IkeTunnel {
    gateway.tunnels.last().unwrap().ike().unwrap()
}

/// Expects exactly one problem, at the first place of `at` in the new text.
#[track_caller]
fn one(from: &str, to: &str, at: &str, message: &str, hint: &str) {
    let text = spoilt(from, to);
    let found = problems(&text);
    assert_eq!(found.len(), 1, "{found:#?}");
    let problem = &found[0];
    let offset = text.find(at).unwrap();
    let line = text[..offset].matches('\n').count() as u32 + 1;
    let column = (offset - text[..offset].rfind('\n').map_or(0, |newline| newline + 1)) as u32 + 1;
    assert!(problem.message.contains(message), "{problem}");
    assert!(problem.hint.as_deref().unwrap_or_default().contains(hint), "{problem}");
    assert_eq!((problem.line, problem.column), (line, column), "{problem}");
}

#[test]
fn the_profile_says_what_the_statement_leaves_out() {
    let gateway = accepted(GOOD);
    assert_eq!(gateway.warnings, []);
    let tunnel = &gateway.tunnels[0];
    let ike = ike(&gateway);
    assert_eq!(
        (ike.profile, ike.initiate, ike.start_on_4500),
        (ProfileName::Aws, true, false)
    );
    assert_eq!(ike.own_identity, Identity::Address("192.0.2.1".parse().unwrap()));
    assert_eq!(
        ike.peer_identity,
        Some(Identity::Address("203.0.113.10".parse().unwrap()))
    );
    let first = &ike.ike_proposals[0];
    assert_eq!(first.encryption, [Encryption::AesGcm16(256), Encryption::AesGcm16(128)]);
    assert_eq!(
        (first.prf[0], first.groups[0], first.integrity.len()),
        (Prf::HmacSha384, Group::Ecp384, 0)
    );
    assert_eq!(ike.esp_proposals[0].groups[0], Some(Group::Ecp384));
    assert_eq!(ike.esp_proposals[0].esn, [false]);
    // AWS: margin 540 s, fuzz 100 %.
    let child = ike.child_lifetime;
    assert_eq!(
        (child.hard_ms, child.rekey_ms, child.fuzz_ms),
        (3_600_000, 3_060_000, 540_000)
    );
    assert_eq!((ike.ike_lifetime.hard_ms, ike.dpd_timeout_ms), (28_800_000, 40_000));
    assert_eq!(
        (ike.ceiling.bits, ike.ceiling.packets),
        (Some(1_250_000_000), Some(140_000))
    );
    assert_eq!((tunnel.selectors.len(), tunnel.peer_window), (1, 1024));
    assert_eq!(
        (tunnel.inner_mtu(1500, false), tunnel.inner_mtu(1500, true)),
        (1446, 1438)
    );
    assert_eq!(tunnel.inner_mtu(3000, false), 1446, "AWS carries no jumbo frames");
    assert_eq!(ike.child_packets_max, 3 << 30, "sequence numbers never end");
}

#[test]
fn every_example_is_accepted_and_will_come_up() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("ipsec-") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.lines().all(|line| line.len() <= 132), "{name}");
        let gateway = accepted(&text);
        assert_eq!(gateway.warnings, [], "{name}");
        for report in preflight(&gateway) {
            assert!(report.ok, "{name}: {report:#?}");
            seen.push(report.profile);
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(
        seen,
        [
            "aws",
            "aws-large",
            "azure-custom",
            "cloudflare",
            "custom",
            "gcp",
            "tombolo"
        ]
    );
}

#[test]
fn azures_default_is_refused_with_the_fix() {
    one(
        "profile: aws",
        "profile: azure-default",
        "azure-default",
        "group 2 only",
        "GCMAES256",
    );
    let text = spoilt("profile: aws", "profile: azure-default");
    assert!(problems(&text)[0].hint.as_ref().unwrap().contains("azure-custom"));
    one("profile: aws", "profile: awz", "awz", "not a profile", "'aws'");
}

#[test]
fn what_is_broken_is_refused_with_the_clouds_setting() {
    let with = |more: &str| format!("profile: aws\n    {more}");
    for (more, at, message) in [
        ("ike: { groups: [2] }", "2]", "modp1024 is not spoken"),
        ("esp: { groups: [20, 5] }", "5]", "modp1536 is not spoken"),
        ("ike: { encryption: [3des] }", "3des", "3des is not spoken"),
        (
            "ike: { encryption: [aes-256-cbc], integrity: [md5] }",
            "md5",
            "md5 is not spoken",
        ),
        ("esp: { encryption: [aes-256-cbc] }", "aes-256-cbc", "ESP is AEAD only"),
        ("ike-version: 1", "1\n    segment", "IKEv1 is not spoken"),
    ] {
        one("profile: aws", &with(more), at, message, "Phase1EncryptionAlgorithms");
    }
    one(
        "profile: aws",
        &with("ike: { groups: [77] }"),
        "77",
        "'77' is not a Diffie-Hellman group",
        "",
    );
    one(
        "profile: aws",
        &with("ike: { groups: [ml-kem-768] }"),
        "{ groups",
        "beside a classic group",
        "",
    );
}

#[test]
fn a_route_outside_the_selectors_is_refused_at_its_line() {
    one(
        "172.31.0.0/16",
        "\"fd00:2::/64\"",
        "\"fd00:2::/64\"",
        "outside what tunnel 'peer' carries",
        "no IPv6",
    );
    let children = "profile: custom\n    children: { a: { local: [10.1.0.0/16], remote: [172.31.0.0/17] } }";
    one(
        "profile: aws",
        children,
        "172.31.0.0/16, tunnel",
        "172.31.0.0/16 is outside",
        "as `remote`",
    );
    let gateway = accepted(&spoilt("profile: aws", &children.replace("/17", "/16")));
    assert_eq!(gateway.tunnels[0].selectors.len(), 1);
}

#[test]
fn ipv6_goes_only_where_the_profile_allows_it() {
    let children = |profile: &str, remote: &str| {
        format!("profile: {profile}\n    children: {{ a: {{ local: [\"::/0\"], remote: [{remote}] }} }}")
    };
    let text = |profile: &str| {
        GOOD.replace("172.31.0.0/16", "\"fd00:2::/64\"")
            .replace("profile: aws", &children(profile, "\"::/0\""))
    };
    let messages = |profile: &str| {
        problems(&text(profile))
            .into_iter()
            .map(|problem| problem.message)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        messages("azure-custom"),
        ["Azure VPN gateway, custom IPsec/IKE policy carries no IPv6"]
    );
    assert_eq!(messages("aws"), Vec::<String>::new(), "IPv6 alone");
    assert_eq!(messages("gcp"), Vec::<String>::new());
    let both = "profile: aws\n    children: { a: { local: [0.0.0.0/0, \"::/0\"], remote: [0.0.0.0/0, \"::/0\"] } }";
    one(
        "profile: aws",
        both,
        "\"::/0\"], remote",
        "IPv4 or IPv6, not both",
        "second connection",
    );
    let two = "profile: aws\n    children: { a: {}, b: {} }";
    one("profile: aws", two, "b: {}", "takes one child", "");
    // All of it goes by default, where both families may.
    let gateway = accepted(&spoilt("profile: aws", "profile: gcp"));
    assert_eq!(gateway.tunnels[0].selectors.len(), 2);
}

#[test]
fn who_is_who() {
    let with = |more: &str| format!("remote: 203.0.113.10\n    {more}");
    one(
        "remote: 203.0.113.10",
        &with("local-id: any"),
        "any",
        "we are somebody",
        "",
    );
    one(
        "remote: 203.0.113.10",
        &with("remote-id: any"),
        "any",
        "needs a certificate",
        "",
    );
    one(
        "remote: 203.0.113.10",
        &with("remote-id: gw"),
        "gw\n    secret",
        "what kind of identity",
        "fqdn:",
    );
    one(
        "remote: 203.0.113.10",
        "remote: \"2001:db8::2\"",
        "\"2001:db8::2\"",
        "one address family",
        "",
    );
    let any = spoilt("profile: aws", "profile: tombolo").replace("203.0.113.10", "any");
    assert!(problems(&any)[0].message.contains("needs an identity"));
    let any = any.replace("remote: any", "remote: any\n    remote-id: fqdn:branch.example.org");
    let gateway = accepted(&any);
    assert_eq!((ike(&gateway).initiate, &ike(&gateway).remote), (false, &Remote::Any));
    assert!(
        problems(&any.replace("profile: tombolo", "profile: gcp"))[0]
            .message
            .contains("known address")
    );
    let distinguished = accepted(&spoilt(
        "remote: 203.0.113.10",
        &with("remote-id: \"dn:C=DE,O=Example,CN=gw\""),
    ));
    assert!(matches!(
        ike(&distinguished).peer_identity,
        Some(Identity::DistinguishedName(_))
    ));
}

#[test]
fn proofs_are_references() {
    one(
        "secret: file:peer.psk",
        "secret: 0123456789abcdef",
        "0123456789",
        "by reference",
        "file:NAME",
    );
    one(
        "    secret: file:peer.psk\n",
        "",
        "type: ipsec",
        "proves nothing",
        "secret",
    );
    let certificate = "certificate: file:a.pem\n    key: file:a.key\n    roots: file:r.pem";
    let gateway = accepted(&spoilt("secret: file:peer.psk", certificate));
    assert!(matches!(ike(&gateway).credentials, Credentials::Certificate { .. }));
    let both = format!("secret: file:peer.psk\n    {certificate}");
    one("secret: file:peer.psk", &both, "file:a.pem", "not by both", "");
    one(
        "secret: file:peer.psk",
        "certificate: file:a.pem",
        "file:a.pem",
        "its key and the peer's roots",
        "",
    );
}

#[test]
fn lifetimes() {
    let with = |more: &str| format!("profile: custom\n    {more}");
    let text = spoilt("profile: aws", &with("esp: { lifetime: 40 }"));
    let short = accepted(&text);
    assert_eq!(
        ike(&short).child_lifetime.rekey_ms,
        30_000,
        "a margin shrinks with its lifetime"
    );
    one(
        "profile: aws",
        &with("ike: { lifetime: 600 }"),
        "600",
        "outlives its IKE SA",
        "",
    );
    one(
        "profile: aws",
        &with("rekey: { margin: 2000 }"),
        "2000",
        "before the end",
        "shorten",
    );
    one(
        "profile: aws",
        &with("esp: { packets: 4294967296 }"),
        "4294967296",
        "sequence numbers end",
        "",
    );
}

#[test]
fn bundles() {
    let second = |profile: &str| {
        format!(
            "    inside: [169.254.10.2/30]\n  two: {{ type: ipsec, profile: {profile}, segment: prod, local: 192.0.2.1, remote: 203.0.113.11, \
             secret: \"file:two.psk\" }}\nbundles:\n  both: {{ tunnels: [peer, two] }}\n"
        )
    };
    let from = "    inside: [169.254.10.2/30]\n";
    let text = |profile: &str| spoilt(from, &second(profile)).replace("tunnel: peer", "bundle: both");
    let gateway = accepted(&text("aws"));
    assert_eq!(gateway.bundles[0].tunnels.len(), 2);
    assert_eq!(gateway.warnings, []);
    assert!(matches!(gateway.routes.last().unwrap().target, RouteTarget::Bundle(_)));
    assert!(
        problems(&text("gcp"))
            .iter()
            .any(|problem| problem.message.contains("another profile"))
    );
    let alone = text("aws").replace("[peer, two]", "[peer]");
    assert!(problems(&alone)[0].message.contains("2 to 16"));
    let unknown = text("aws").replace("bundle: both", "bundle: bath");
    assert_eq!(problems(&unknown)[0].hint.as_deref(), Some("did you mean 'both'?"));
    let twice = text("aws").replace("both: {", "more: { tunnels: [two, peer] }\n  both: {");
    assert!(problems(&twice)[0].message.contains("in bundle 'more' already"));
}

#[test]
fn the_clouds_objections_are_warnings() {
    for (from, to, what) in [
        ("169.254.10.2/30", "169.254.169.254/30", "reserved"),
        ("169.254.10.2/30", "10.0.0.2/30", "not within"),
        (
            "profile: aws",
            "profile: aws\n    esp: { esn: on }",
            "extended sequence numbers",
        ),
        (
            "profile: aws",
            "profile: aws\n    esp: { groups: [none] }",
            "key exchange at every rekey",
        ),
        (
            "profile: aws",
            "profile: aws\n    ike: { groups: [31] }",
            "none of our IKE proposals",
        ),
        (
            "profile: aws",
            "profile: aws\n    esp: { encryption: [chacha20-poly1305] }",
            "none of our ESP proposals",
        ),
        (
            "profile: aws",
            "profile: gcp\n    ppk: { id: a, secret: \"file:a.ppk\" }",
            "post-quantum",
        ),
        (
            "profile: aws",
            "profile: cloudflare\n    start: responder",
            "never starts",
        ),
    ] {
        let gateway = accepted(&spoilt(from, to));
        let warning = |problem: &Problem| problem.message.contains(what) && problem.line == 11;
        assert!(gateway.warnings.iter().any(warning), "{to}: {:#?}", gateway.warnings);
        let report = &preflight(&gateway)[0];
        let bad = |finding: &&tombolo_config::preflight::Finding| {
            finding.verdict == Verdict::Bad && finding.text.contains(what)
        };
        assert!(
            !report.ok && report.findings.iter().any(|finding| bad(&finding)),
            "{to}: {report:#?}"
        );
    }
    let same = "    inside: [169.254.10.2/30]\n  two: { type: ipsec, profile: aws, segment: prod, local: 192.0.2.1, remote: 203.0.113.11, secret: \"file:b.psk\", inside: [169.254.10.1/30] }\n";
    one(
        "    inside: [169.254.10.2/30]\n",
        same,
        "169.254.10.1/30",
        "same network inside",
        "",
    );
}

#[test]
fn secrets_by_the_rules_of_the_profile() {
    let gateway = accepted(GOOD);
    let check = |key: &str| psk::check(ike(&gateway), psk::from_file(key.as_bytes()));
    assert_eq!(check("abcdefghij0123456789._\n"), Ok(()));
    for (key, what) in [
        ("short\n", "fewer than 20"),
        ("0bcdefghij0123456789", "starts with '0'"),
        ("abcdefghij0123456789-", "letters, digits and '._'"),
        (&"a".repeat(65), "8 to 64 bytes"),
        ("", "0 bytes"),
    ] {
        let error = check(key).unwrap_err();
        assert!(error.contains(what), "{error}");
        assert!(key.len() < 3 || !error.contains(key), "the key is told");
    }
    let allowed = accepted(&spoilt(
        "secret: file:peer.psk",
        "secret: file:peer.psk\n    allow-short-secret: true",
    ));
    assert_eq!(psk::check(ike(&allowed), b"abcdefgh"), Ok(()));
    assert!(psk::check(ike(&allowed), b"abc").unwrap_err().contains("8 to 64"));
}

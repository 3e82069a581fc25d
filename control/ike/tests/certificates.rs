//! Certificates in the whole handshake, so large that it needs fragments (RFC 7383), and several child SAs in one IKE SA.

mod authority;
mod lab;
mod openssl;

use authority::Authority;
use lab::network::Hostility;
use lab::{Installed, Lab, connection};
use openssl::OpenSsl;
use std::collections::BTreeMap;
use tombolo_ike::What;
use tombolo_ike::connection::{Connection, OwnProof, PeerProof};
use tombolo_ike::endpoint::Command;
use tombolo_ike::identity::Identity;
use tombolo_ike::secret::Secret;
use tombolo_ike::selector::Selector;

/// Next payload of a header: Encrypted Fragment.
const SKF: u8 = 53;
const NAMES: [&str; 2] = ["gw-a.example", "gw-b.example"];

fn quiet() -> Hostility {
    Hostility {
        delay_ms: 5,
        ..Hostility::default()
    }
}

/// Tunnels of both sides that prove themselves with chains of three certificates with keys of 4096 bits.
fn with_certificates(openssl: &OpenSsl) -> [Vec<Connection>; 2] {
    let root = Authority::new(openssl, "root", "RSA:4096");
    let roots = vec![root.root("CN=root", "")];
    let between = root.intermediate("between", "CN=between", "", 900);
    [0, 1].map(|side| {
        let name = NAMES[side];
        let own = between.issue(
            name,
            "RSA:4096",
            &format!("CN={name}"),
            &format!("subjectAltName=DNS:{name}"),
            900,
        );
        let key = openssl.run(&format!("pkcs8 -topk8 -nocrypt -in {name}.key -outform DER"));
        let mut connection = connection(side);
        connection.own.identity = Identity::Name(name.into());
        connection.own.proof = OwnProof::Certificate {
            key: Secret::new(key),
            chain: vec![own, between.certificate()].into(),
        };
        connection.peer.identity = Some(Identity::Name(NAMES[1 - side].into()));
        connection.peer.proof = PeerProof::Certificate {
            roots: roots.clone().into(),
            revocations: Vec::new().into(),
        };
        vec![connection]
    })
}

#[test]
fn large_certificates_travel_in_fragments_and_each_may_be_lost() {
    let openssl = OpenSsl::new();
    let connections = with_certificates(&openssl);
    let mut lab = Lab::new(1, connections.clone(), quiet());
    let mut fragments = [0, 0];
    for _ in 0..200 {
        for (side, count) in fragments.iter_mut().enumerate() {
            let datagrams = lab.network.datagrams_from(lab::address(side));
            let of_auth = datagrams.iter().filter(|bytes| bytes.get(16) == Some(&SKF));
            *count = (*count).max(of_auth.clone().count());
            // 20 bytes of IPv4 and 8 of UDP are within the limit.
            assert!(
                of_auth.clone().all(|bytes| bytes.len() <= 1280 - 28),
                "no fragment is larger"
            );
        }
        lab.run(lab.now + 1);
    }
    lab.is_single().unwrap();
    assert!(fragments.iter().all(|count| (2..6).contains(count)), "{fragments:?}");
    for seed in 0..40 {
        let hostility = Hostility {
            loss: 250,
            duplicates: 200,
            delay_ms: 40,
            late: 0,
        };
        let mut lab = Lab::new(seed, connections.clone(), hostility);
        lab.run(lab.now + 90_000);
        lab.network.hostility = quiet();
        lab.run(lab.now + 260_000);
        lab.is_single().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

#[test]
fn another_name_than_expected_is_refused_on_both_sides_in_words() {
    let openssl = OpenSsl::new();
    let mut connections = with_certificates(&openssl);
    connections[1][0].peer.identity = Some(Identity::Name("gw-c.example".into()));
    let mut lab = Lab::new(2, connections, quiet());
    lab.run(lab.now + 30_000);
    for host in &lab.hosts {
        assert!(host.installed.is_empty());
        let told = host.news.iter().find_map(|news| {
            if let What::Ended { why } = &news.what {
                Some(why.to_string())
            } else {
                None
            }
        });
        assert!(told.is_some_and(|why| !why.is_empty()));
    }
}

fn network(third: u8, last: u8) -> Selector {
    Selector {
        first: [10, 0, third, 0].into(),
        last: [10, 0, third, last].into(),
        protocol: 0,
        first_port: 0,
        last_port: 65535,
    }
}

/// Two child SAs; the responder lets less of the second one through.
fn two_children() -> [Vec<Connection>; 2] {
    let mut connections = [connection(0), connection(1)];
    for (side, connection) in connections.iter_mut().enumerate() {
        let mut second = connection.children[0].clone();
        for (child, third) in [(&mut connection.children[0], 1), (&mut second, 3)] {
            let ends = [vec![network(third, 255)], vec![network(third + 1, 255)]];
            (child.local, child.remote) = (ends[side].clone(), ends[1 - side].clone());
        }
        second.name = "second".into();
        if side == 1 {
            second.local = vec![network(4, 127)];
        }
        connection.children.push(second);
    }
    connections.map(|connection| vec![connection])
}

/// By name: inbound SPI and the last address of our side, of those that seal.
fn children(lab: &Lab, side: usize) -> BTreeMap<String, (u32, u32)> {
    let seals = |sa: &&Installed| sa.sends;
    let all = lab.hosts[side].installed.iter().filter(seals);
    all.map(|sa| (sa.child.clone(), (sa.inbound, sa.outbound))).collect()
}

fn cross(lab: &Lab) {
    let [a, b] = [children(lab, 0), children(lab, 1)];
    assert_eq!(a.keys().collect::<Vec<_>>(), ["all", "second"]);
    for (name, (inbound, outbound)) in &a {
        assert_eq!(b[name], (*outbound, *inbound), "{name}");
    }
    assert_eq!(b.len(), 2);
}

#[test]
fn several_children_come_up_narrowed_and_are_replaced_each_by_itself() {
    for seed in 0..20 {
        let mut lab = Lab::new(seed, two_children(), quiet());
        lab.run(lab.now + 5000);
        cross(&lab);
        for (side, own) in [(0, true), (1, false)] {
            let views = lab.hosts[side].endpoint.children();
            let second = views
                .map(|view| view.child)
                .find(|child| child.name == "second")
                .unwrap();
            let narrowed = if own { &second.remote } else { &second.local };
            assert_eq!(narrowed, &vec![network(4, 127)], "what both sides let through");
        }
        let before = children(&lab, 0);
        for side in 0..2 {
            lab.command(side, Command::RekeyChildren);
        }
        for _ in 0..200 {
            lab.run(lab.now + 1);
            for side in 0..2 {
                assert_eq!(lab.packet(side), Some(true));
            }
        }
        lab.run(lab.now + 100_000);
        cross(&lab);
        let after = children(&lab, 0);
        assert!(before.iter().all(|(name, spis)| after[name] != *spis), "all are new");
    }
}

#[test]
fn the_end_of_the_peers_certificate_is_told_of() {
    const DAY: u64 = 86_400;
    let openssl = OpenSsl::new();
    let mut lab = Lab::new(1, with_certificates(&openssl), quiet());
    lab.run(lab.now + 3000);
    lab.is_single().unwrap();
    // They were made today, for 900 days.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let end = now.unwrap().as_secs() + 900 * DAY;
    for host in &lab.hosts {
        assert_eq!(host.endpoint.endings(end - 31 * DAY), Vec::<String>::new());
        let told = host.endpoint.endings(end - 10 * DAY + 60);
        assert!(
            told[0].contains("the certificate that the peer showed ends in 9 days"),
            "{told:?}"
        );
        let told = host.endpoint.endings(end + DAY);
        assert!(
            told[0].contains("the certificate that the peer showed has ended"),
            "{told:?}"
        );
    }
    // It is known beyond rekeying and restarts.
    lab.command(0, Command::RekeyIke);
    lab.run(lab.now + 5000);
    lab.kill(0);
    assert_eq!(lab.hosts[0].endpoint.endings(end).len(), 1);
}

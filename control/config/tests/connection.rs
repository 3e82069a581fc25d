//! A tunnel and its secrets become what the IKE core runs on.

use std::net::IpAddr;
use tombolo_config::connection::{IkeSecrets, Proof, connection};
use tombolo_config::{Gateway, parse};
use tombolo_ike::connection::{Connection, OwnProof, PeerProof};
use tombolo_ike::secret::Secret;

fn gateway(text: &str) -> Gateway {
    parse(text, "x.yaml").unwrap()
}

fn secrets(psk: &str) -> IkeSecrets {
    IkeSecrets {
        proof: Proof::Psk(Secret::from(psk.as_bytes())),
        ppk: None,
    }
}

fn made(gateway: &Gateway, secrets: &IkeSecrets, resolved: Option<IpAddr>) -> Result<Connection, String> {
    connection(&gateway.tunnels[0], secrets, resolved, 2)
}

#[test]
fn aws() {
    let gateway = gateway(include_str!("../examples/ipsec-aws.yaml"));
    let made = made(&gateway, &secrets("abcdefghij0123456789"), None).unwrap();
    assert_eq!((made.name.as_str(), made.peer_kind), ("to-aws-1", "AWS"));
    assert_eq!(made.remote, "203.0.113.10".parse().ok());
    assert_eq!((made.initiate, made.per_worker_children), (true, 0));
    assert_eq!(
        (made.dpd_delay_ms, made.dpd_timeout_ms, made.fragment_bytes),
        (10_000, 40_000, 1280)
    );
    let [child] = &made.children[..] else {
        panic!("one child")
    };
    assert_eq!((child.lifetime.rekey_ms, child.lifetime.fuzz_ms), (3_060_000, 540_000));
    let [all] = &child.remote[..] else {
        panic!("one selector")
    };
    assert_eq!(
        (all.first.to_string(), all.last.to_string()),
        ("0.0.0.0".into(), "255.255.255.255".into())
    );
    assert_eq!((all.protocol, all.first_port, all.last_port), (0, 0, 65_535));
    assert!(!format!("{made:?}").contains("abcdefghij"), "a secret is printed");
}

#[test]
fn unfit_secrets_keep_the_tunnel_down() {
    let aws = gateway(include_str!("../examples/ipsec-aws.yaml"));
    assert!(
        made(&aws, &secrets("short"), None)
            .unwrap_err()
            .contains("fewer than 20")
    );
    let branch = gateway(include_str!("../examples/ipsec-tombolo.yaml"));
    let certificate = |ppk: Option<usize>| IkeSecrets {
        proof: Proof::Certificate {
            key: Secret::new(vec![1]),
            chain: vec![vec![2]].into(),
            roots: vec![vec![3]].into(),
            revocations: vec![vec![4]].into(),
        },
        ppk: ppk.map(|bytes| Secret::new(vec![7; bytes])),
    };
    assert!(
        made(&branch, &certificate(None), None)
            .unwrap_err()
            .contains("not read")
    );
    assert!(
        made(&branch, &certificate(Some(31)), None)
            .unwrap_err()
            .contains("needs 32")
    );
    let made = made(&branch, &certificate(Some(32)), None).unwrap();
    assert_eq!((made.remote, made.initiate, made.per_worker_children), (None, false, 2));
    assert!(matches!(&made.own.proof, OwnProof::Certificate { chain, .. } if chain[0] == [2]));
    assert!(matches!(&made.peer.proof, PeerProof::Certificate { revocations, .. } if revocations[0] == [4]));
    assert_eq!(made.ppk.unwrap().id, b"branch-2026");
}

#[test]
fn a_name_needs_an_address_of_the_right_family() {
    let gateway = gateway(include_str!("../examples/ipsec-custom.yaml"));
    let secrets = secrets("abcdefghij0123456789");
    assert!(
        made(&gateway, &secrets, None)
            .unwrap_err()
            .contains("DNS has no address")
    );
    let v6 = "2001:db8::1".parse().ok();
    assert!(
        made(&gateway, &secrets, v6)
            .unwrap_err()
            .contains("another address family")
    );
    let made = made(&gateway, &secrets, "198.51.100.9".parse().ok()).unwrap();
    assert_eq!((made.remote, made.force_udp), ("198.51.100.9".parse().ok(), true));
    assert_eq!(made.children.len(), 2);
    assert_eq!(made.ike_proposals[0].integrity.len(), 1);
}

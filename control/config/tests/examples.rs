//! The configurations of the demo, and what a first look at them must find.

use tombolo_config::{Encapsulation, Gateway, Reach, RouteIndex, RouteTarget, SourceAddress, parse};

const GATEWAY_A: &str = include_str!("../examples/gw-a.yaml");
const GATEWAY_B: &str = include_str!("../examples/gw-b.yaml");

fn accepted(text: &str) -> Gateway {
    parse(text, "tombolo.yaml").unwrap_or_else(|problems| {
        panic!(
            "{}",
            problems
                .iter()
                .map(|problem| format!("{problem}\n"))
                .collect::<String>()
        )
    })
}

#[test]
fn both_are_accepted_without_warnings_and_short() {
    for text in [GATEWAY_A, GATEWAY_B] {
        assert_eq!(accepted(text).warnings, []);
        assert!(text.lines().count() < 60);
        assert!(text.lines().all(|line| line.len() <= 120));
    }
}

#[test]
fn references_mean_what_they_say() {
    let gateway = accepted(GATEWAY_A);
    let uplink = &gateway.ports[2];
    assert_eq!(gateway.segment(uplink.segment).name.as_str(), "internet");
    let [prod, dev] = &gateway.tunnels[..] else {
        panic!("two tunnels")
    };
    assert_eq!(prod.manual().unwrap().encapsulation, Encapsulation::None);
    assert_eq!(
        dev.manual().unwrap().encapsulation,
        Encapsulation::Udp {
            local_port: 4500,
            remote_port: 4500
        }
    );
    assert_eq!(gateway.port(prod.port).name.as_str(), "uplink");
    assert_eq!(prod.selectors.len(), 2);
    assert!(
        gateway
            .source_nat
            .iter()
            .all(|rule| rule.address == SourceAddress::Port)
    );
    let forward = &gateway.destination_nat[0];
    assert_eq!(gateway.segment(forward.to_segment).name.as_str(), "prod");
}

#[test]
fn lookup_follows_the_longest_prefix() {
    let gateway = accepted(GATEWAY_A);
    let index = RouteIndex::new(&gateway);
    let prod = gateway.ports[0].segment;
    let lookup = |address: &str| index.lookup(prod, address.parse().unwrap());
    assert!(matches!(lookup("10.1.0.1"), Some(Reach::Own(_))));
    assert!(matches!(lookup("10.1.0.77"), Some(Reach::OnLink(_))));
    assert!(matches!(lookup("10.2.0.5"), Some(Reach::Route(RouteTarget::Tunnel(_)))));
    for outside in ["8.8.8.8", "2001:db8:80::80"] {
        assert!(matches!(lookup(outside), Some(Reach::Route(RouteTarget::Segment(_)))));
    }
    assert!(matches!(
        lookup("fd00:2::9"),
        Some(Reach::Route(RouteTarget::Tunnel(_)))
    ));
}

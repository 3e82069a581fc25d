use super::*;
use proptest::prelude::*;

fn range(text: &str) -> Selector {
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (first.parse().unwrap(), last.parse().unwrap()),
        None => {
            let (address, bits) = text.split_once('/').unwrap();
            let (address, bits): (IpAddr, u32) = (address.parse().unwrap(), bits.parse().unwrap());
            match address {
                IpAddr::V4(first) => (
                    address,
                    Ipv4Addr::from_bits(first.to_bits() | u32::MAX.checked_shr(bits).unwrap_or(0)).into(),
                ),
                IpAddr::V6(first) => (
                    address,
                    Ipv6Addr::from_bits(first.to_bits() | u128::MAX.checked_shr(bits).unwrap_or(0)).into(),
                ),
            }
        }
    };
    Selector::of(first, last)
}

fn all(texts: &[&str]) -> Vec<Selector> {
    texts.iter().map(|text| range(text)).collect()
}

fn narrowed(policy: (&[&str], &[&str]), asked: (&[&str], &[&str])) -> Option<(Vec<String>, Vec<String>)> {
    let policy = Selectors {
        initiator: all(policy.0),
        responder: all(policy.1),
    };
    let text = |list: Vec<Selector>| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let narrowed = narrow(&policy, &to_wire(&all(asked.0)), &to_wire(&all(asked.1))).ok()?;
    Some((text(narrowed.initiator), text(narrowed.responder)))
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

/// RFC 7296 §2.9.
#[test]
fn narrowing() {
    let any = &["0.0.0.0/0", "::/0"][..];
    // All of it: the same comes back.
    assert_eq!(narrowed((any, any), (any, any)), Some((strings(any), strings(any))));
    // A part, and the initiator's first choice stays first.
    let asked: &[&str] = &["192.0.2.7/32", "192.0.2.0/24"];
    assert_eq!(
        narrowed((&["192.0.2.0/25"], any), (asked, &["10.0.0.0/8"])),
        Some((strings(&["192.0.2.7/32", "192.0.2.0/25"]), strings(&["10.0.0.0/8"])))
    );
    // The first choice is not allowed: the rest is.
    assert_eq!(
        narrowed((&["192.0.2.128/25"], any), (asked, &["10.0.0.0/8"])),
        Some((strings(&["192.0.2.128/25"]), strings(&["10.0.0.0/8"])))
    );
    // Cut into what both have.
    assert_eq!(
        narrowed(
            (&["10.0.0.0/9", "10.192.0.0/10"], any),
            (&["10.64.0.0-10.200.255.255"], any)
        )
        .unwrap()
        .0,
        strings(&["10.64.0.0/10", "10.192.0.0-10.200.255.255"])
    );
    assert_eq!(narrowed((&["10.0.0.0/8"], any), (&["11.0.0.0/8"], any)), None);
    assert_eq!(narrowed((any, any), (&[], any)), None);
}

/// A selector without a partner on the other side is left out; with none left there is no SA.
#[test]
fn families_and_protocols_pair() {
    let any = &["0.0.0.0/0", "::/0"][..];
    assert_eq!(
        narrowed((any, &["::/0"]), (any, any)),
        Some((strings(&["::/0"]), strings(&["::/0"])))
    );
    assert_eq!(narrowed((&["0.0.0.0/0"], &["::/0"]), (any, any)), None);
    let of = |protocol| Selector {
        protocol,
        ..Selector::ANY_IPV4
    };
    let policy = Selectors {
        initiator: vec![Selector::ANY_IPV4],
        responder: vec![Selector::ANY_IPV4],
    };
    assert!(narrow(&policy, &to_wire(&[of(6)]), &to_wire(&[of(17)])).is_err());
    let udp = narrow(&policy, &to_wire(&[of(6), of(17)]), &to_wire(&[of(17)])).unwrap();
    assert_eq!(udp.initiator, [of(17)]);
}

/// RFC 7296 §3.13.1, RFC 4301 §4.4.1.1.
#[test]
fn ports_and_protocols() {
    let with = |protocol, first_port, last_port| Selector {
        protocol,
        first_port,
        last_port,
        ..Selector::ANY_IPV4
    };
    let overlap = |one: Selector, other: Selector| {
        assert_eq!(one.overlap(&other), other.overlap(&one));
        one.overlap(&other)
    };
    assert_eq!(overlap(with(6, 80, 90), Selector::ANY_IPV4), Some(with(6, 80, 90)));
    assert_eq!(overlap(with(6, 80, 90), with(6, 85, 99)), Some(with(6, 85, 90)));
    assert_eq!(overlap(with(6, 80, 90), with(6, 91, 99)), None);
    assert_eq!(overlap(with(6, 80, 90), with(17, 80, 90)), None);
    let opaque = with(6, 65_535, 0);
    assert_eq!(overlap(opaque, Selector::ANY_IPV4), Some(opaque));
    assert_eq!(overlap(opaque, opaque), Some(opaque));
    assert_eq!(overlap(opaque, with(6, 80, 90)), None);
    // Ports the wrong way round are no range.
    assert_eq!(overlap(with(6, 90, 80), with(6, 1, 100)), None);
    assert_eq!(Selector::ANY_IPV4.overlap(&Selector::ANY_IPV6), None);
}

/// The initiator checks what comes back.
#[test]
fn answers() {
    let offered = Selectors {
        initiator: all(&["10.0.0.0/9", "10.128.0.0/9"]),
        responder: all(&["0.0.0.0/0"]),
    };
    let accepted = |initiator: &[&str], responder: &[&str]| {
        accept(&offered, &to_wire(&all(initiator)), &to_wire(&all(responder))).is_ok()
    };
    assert!(accepted(&["10.1.0.0/16"], &["192.0.2.0/24"]));
    assert!(accepted(&["10.0.0.0/8"], &["0.0.0.0/0"]), "joined by the peer");
    assert!(!accepted(&["10.0.0.0/7"], &["0.0.0.0/0"]));
    assert!(!accepted(&["10.1.0.0/16"], &["::/0"]));
    assert!(!accepted(&[], &["0.0.0.0/0"]));
    assert!(!accepted(&["10.1.0.0/16", "11.0.0.0/8"], &["0.0.0.0/0"]));
    let strange = [TrafficSelector::Unknown {
        kind: 10,
        protocol: 0,
        data: vec![],
    }];
    let text = accept(&offered, &strange, &to_wire(&offered.responder))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains(
            "(selector type 10) to responder 0.0.0.0/0, configured here is 10.0.0.0/9, 10.128.0.0/9 to 0.0.0.0/0"
        ),
        "{text}"
    );
}

#[test]
fn subsets_at_the_ends_of_the_address_space() {
    assert!(is_subset(&all(&["0.0.0.0/0"]), &all(&["128.0.0.0/1", "0.0.0.0/1"])));
    assert!(!is_subset(&all(&["0.0.0.0/0"]), &all(&["0.0.0.0-255.255.255.254"])));
    assert!(!is_subset(&all(&["::/0"]), &all(&["0.0.0.0/0"])));
    assert!(is_subset(&all(&["::/0"]), &all(&["::/2", "4000::/2", "8000::/1"])));
    assert!(!is_subset(
        &all(&["10.0.0.0/24"]),
        &all(&["10.0.0.0-10.0.0.9", "10.0.0.11-10.0.0.255"])
    ));
}

#[test]
fn text() {
    let texts = [
        "10.0.0.0/8",
        "10.0.0.1/32",
        "10.0.0.1-10.0.0.2",
        "::/0",
        "2001:db8::/32",
        "0.0.0.0/0",
    ];
    texts.iter().for_each(|text| assert_eq!(range(text).to_string(), *text));
    let web = Selector {
        protocol: 6,
        first_port: 80,
        last_port: 81,
        ..Selector::ANY_IPV4
    };
    assert_eq!(web.to_string(), "0.0.0.0/0 protocol 6 ports 80-81");
}

/// However many selectors meet, no more than fit into a payload come out.
#[test]
fn many_selectors_are_bounded() {
    let host = |number: u32| {
        Selector::of(
            Ipv4Addr::from_bits(number * 4).into(),
            Ipv4Addr::from_bits(number * 4 + 1).into(),
        )
    };
    let many: Vec<_> = (0..255).map(host).collect();
    let split: Vec<_> = (0..600)
        .map(|number| Selector::of(Ipv4Addr::from_bits(number).into(), Ipv4Addr::from_bits(number).into()))
        .collect();
    let policy = Selectors {
        initiator: split,
        responder: vec![Selector::ANY_IPV4],
    };
    let narrowed = narrow(&policy, &to_wire(&many), &to_wire(&[Selector::ANY_IPV4])).unwrap();
    assert_eq!(narrowed.initiator.len(), SELECTORS_MAX);
    assert!(is_subset(&narrowed.initiator, &many));
}

/// Small numbers, so that ranges meet.
fn selector() -> impl Strategy<Value = Selector> {
    let ports = prop_oneof![Just((0, u16::MAX)), Just((u16::MAX, 0)), (0u16..4, 0u16..4)];
    ((0u32..16, 0u32..16), prop_oneof![Just(0u8), Just(6), Just(17)], ports).prop_map(
        |((one, two), protocol, (first_port, last_port))| Selector {
            first: Ipv4Addr::from_bits(one.min(two)).into(),
            last: Ipv4Addr::from_bits(one.max(two)).into(),
            protocol,
            first_port,
            last_port,
        },
    )
}

/// Whether it selects an address, protocol and port.
fn selects(selector: &Selector, address: u32, protocol: u8, port: u16) -> bool {
    let address = IpAddr::from(Ipv4Addr::from_bits(address));
    (selector.first..=selector.last).contains(&address)
        && (selector.protocol == 0 || selector.protocol == protocol)
        && (selector.first_port..=selector.last_port).contains(&port)
}

proptest! {
    /// The narrowed side selects exactly what both do, packet by packet, and lies within both.
    #[test]
    fn narrowing_is_intersection(policy in proptest::collection::vec(selector(), 1..5), asked in proptest::collection::vec(selector(), 1..5)) {
        let any = vec![Selector::ANY_IPV4];
        let both = Selectors { initiator: policy.clone(), responder: any.clone() };
        let result = narrow(&both, &to_wire(&asked), &to_wire(&any)).map(|narrowed| narrowed.initiator).unwrap_or_default();
        for (address, protocol, port) in (0..16).flat_map(|address| [6, 17].map(|protocol| (address, protocol))).flat_map(|(address, protocol)| (0..4).map(move |port| (address, protocol, port))) {
            let within = |list: &[Selector]| list.iter().any(|one| selects(one, address, protocol, port));
            prop_assert_eq!(within(&result), within(&policy) && within(&asked));
        }
        let each = |outer: &[Selector]| result.iter().all(|one| outer.iter().any(|own| own.contains(one)));
        prop_assert!(each(&policy) && each(&asked));
        prop_assert!(is_subset(&result, &policy) && is_subset(&result, &asked));
        // RFC 7296 §2.9: the first choice stays first, if any of it is allowed.
        let first = policy.iter().find_map(|own| asked[0].overlap(own));
        if let Some(first) = first {
            prop_assert_eq!(result[0], first);
        }
    }

    /// A subset by `is_subset` is one packet by packet.
    #[test]
    fn subsets(inner in proptest::collection::vec(selector(), 1..3), outer in proptest::collection::vec(selector(), 1..6)) {
        if is_subset(&inner, &outer) {
            for (address, port) in (0..16).flat_map(|address| (0..4).map(move |port| (address, port))) {
                for protocol in [6, 17, 99] {
                    let within = |list: &[Selector]| list.iter().any(|one| selects(one, address, protocol, port));
                    prop_assert!(!within(&inner) || within(&outer));
                }
            }
        }
    }
}

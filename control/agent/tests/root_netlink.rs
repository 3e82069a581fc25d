//! Our rtnetlink requests as `ip` sees their effects, each test in a namespace of its own.

mod lab;

use lab::{inside, ip, run};
use std::net::IpAddr;
use std::time::Duration;
use tombolo_agent::netlink::{
    InterfaceAddress, KernelNews, KernelRoute, KernelRule, Netlink, Reachability, RouteKind, RouteTarget, subscribe,
};

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

async fn index(netlink: &Netlink, name: &str) -> u32 {
    netlink
        .links()
        .await
        .unwrap()
        .into_iter()
        .find(|link| link.name == name)
        .unwrap()
        .index
}

#[test]
fn links_are_read_and_set_up() {
    if !inside("links_are_read_and_set_up") {
        return;
    }
    block_on(async {
        ip("link add a0 address 02:00:00:00:00:0a mtu 1400 numrxqueues 2 type veth peer name b0");
        let netlink = Netlink::open().unwrap();
        let find = async || {
            netlink
                .links()
                .await
                .unwrap()
                .into_iter()
                .find(|link| link.name == "a0")
                .unwrap()
        };
        let link = find().await;
        assert_eq!(
            (link.mac, link.mtu, link.receive_queues),
            ([2, 0, 0, 0, 0, 10], 1400, 2)
        );
        assert!(!link.enabled && !link.up && link.arp);
        netlink.set_up(link.index).await.unwrap();
        assert!(find().await.enabled && !find().await.up, "the peer is still down");
        ip("link set b0 up");
        assert!(find().await.up);
        netlink
            .set_up_tap(link.index, [2, 0, 0, 0, 0, 11], 1300, false)
            .await
            .unwrap();
        let link = find().await;
        assert_eq!((link.mac, link.mtu, link.arp), ([2, 0, 0, 0, 0, 11], 1300, false));
        netlink.set_up_tap(link.index, link.mac, 1300, true).await.unwrap();
        assert!(find().await.arp);
        assert!(netlink.set_up(9999).await.is_err());
    });
}

#[test]
fn addresses_are_put_and_removed() {
    if !inside("addresses_are_put_and_removed") {
        return;
    }
    block_on(async {
        ip("link add a0 type veth peer name b0");
        ip("link set a0 up");
        ip("link set b0 up");
        let netlink = Netlink::open().unwrap();
        let index = index(&netlink, "a0").await;
        let of = |text: &str, prefix_length| InterfaceAddress {
            index,
            address: address(text),
            prefix_length,
        };
        let wanted = [of("10.1.0.1", 24), of("fd00:1::1", 64)];
        for one in &wanted {
            netlink.add_address(one).await.unwrap();
            netlink.add_address(one).await.unwrap();
        }
        let mut present = netlink.addresses().await.unwrap();
        present.sort();
        assert_eq!(present, wanted);
        assert!(
            !ip("-6 address show dev a0").contains("fd00:1::1/64 scope global tentative"),
            "usable at once"
        );
        for one in &wanted {
            netlink.delete_address(one).await.unwrap();
            netlink.delete_address(one).await.unwrap();
        }
        assert_eq!(netlink.addresses().await.unwrap(), []);
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert!(
            netlink.link_locals().await.unwrap().contains_key(&index),
            "duplicate address detection is over"
        );
    });
}

#[test]
fn routes_and_rules_are_ours_alone() {
    if !inside("routes_and_rules_are_ours_alone") {
        return;
    }
    block_on(async {
        ip("link add a0 type veth peer name b0");
        ip("link set a0 up");
        ip("link set b0 up");
        ip("address add 10.1.0.1/24 dev a0");
        ip("address add fd00:1::1/64 dev a0 nodad");
        ip("route add 10.99.0.0/16 via 10.1.0.254");
        let netlink = Netlink::open().unwrap();
        let index = index(&netlink, "a0").await;
        let route = |prefix: &str, prefix_length, target, source: Option<&str>| KernelRoute {
            table: 8400,
            prefix: address(prefix),
            prefix_length,
            index,
            target,
            source: source.map(address),
            kind: RouteKind::Unicast,
        };
        let mut wanted = [
            route("0.0.0.0", 0, RouteTarget::Via(address("10.1.0.254")), Some("10.1.0.1")),
            route("10.1.0.0", 24, RouteTarget::OnLink, None),
            route("::", 0, RouteTarget::Via(address("fd00:1::fe")), None),
        ];
        wanted.sort();
        for one in &wanted {
            netlink.add_route(one).await.unwrap();
            netlink.add_route(one).await.unwrap();
        }
        let mut present = netlink.own_routes().await.unwrap();
        present.sort();
        assert_eq!(present, wanted, "{}", ip("route show table 8400"));
        for one in &wanted {
            netlink.delete_route(one).await.unwrap();
            netlink.delete_route(one).await.unwrap();
        }
        assert_eq!(netlink.own_routes().await.unwrap(), []);
        assert!(
            ip("route show").contains("10.99.0.0/16 via 10.1.0.254"),
            "a route of others stays"
        );

        let rule = |source: &str, length| KernelRule {
            priority: 8400,
            v6: address(source).is_ipv6(),
            input_device: None,
            output_device: None,
            source: Some((address(source), length)),
            table: 8400,
        };
        let wanted = [rule("10.1.0.1", 32), rule("fd00:1::1", 128)];
        for one in &wanted {
            netlink.add_rule(one).await.unwrap();
            netlink.add_rule(one).await.unwrap();
        }
        assert_eq!(netlink.rules(8400..=8499).await.unwrap(), wanted);
        for one in &wanted {
            netlink.delete_rule(one).await.unwrap();
            netlink.delete_rule(one).await.unwrap();
        }
        assert_eq!(netlink.rules(8400..=8499).await.unwrap(), []);
    });
}

#[test]
fn a_managed_neighbour_is_resolved_and_news_comes() {
    if !inside("a_managed_neighbour_is_resolved_and_news_comes") {
        return;
    }
    block_on(async {
        // The peer answers for its address, even though it lives in the same namespace.
        ip("link add a0 type veth peer name b0 address 02:00:00:00:00:0b");
        for setting in [
            "net.ipv4.conf.all.arp_ignore=0",
            "net.ipv4.conf.b0.accept_local=1",
            "net.ipv4.conf.all.rp_filter=0",
        ] {
            run("sysctl", &format!("-qw {setting}"));
        }
        run("sysctl", "-qw net.ipv4.conf.b0.rp_filter=0");
        let mut news = subscribe().unwrap();
        ip("link set a0 up");
        ip("link set b0 up");
        assert_eq!(
            tokio::time::timeout(Duration::from_secs(2), news.recv()).await.unwrap(),
            Some(KernelNews::Link)
        );
        ip("address add 10.1.0.1/24 dev a0");
        ip("address add 10.1.0.2/32 dev b0");
        let netlink = Netlink::open().unwrap();
        let index = index(&netlink, "a0").await;
        for absent in ["10.1.0.77", "10.1.0.2"] {
            netlink.manage_neighbour(index, address(absent)).await.unwrap();
            netlink.manage_neighbour(index, address(absent)).await.unwrap();
        }
        let find = async |text: &str| {
            let all = netlink.neighbours().await.unwrap();
            all.into_iter()
                .find(|entry| entry.index == index && entry.address == address(text))
        };
        let mut seen = None;
        for _ in 0..100 {
            seen = find("10.1.0.77").await;
            if seen
                .as_ref()
                .is_some_and(|entry| entry.reachability == Reachability::Failed)
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let absent = seen.unwrap();
        assert_eq!(absent.reachability, Reachability::Failed);
        assert!(absent.managed, "the kernel keeps trying: {}", ip("neighbour show"));
        let mut kinds = Vec::new();
        while let Ok(kind) = news.try_recv() {
            kinds.push(kind);
        }
        assert!(
            kinds.contains(&KernelNews::Neighbour) && kinds.contains(&KernelNews::Address),
            "{kinds:?}"
        );
        ip("neighbour replace 10.1.0.2 lladdr 02:00:00:00:00:0b nud reachable dev a0");
        assert_eq!(
            find("10.1.0.2").await.unwrap().reachability,
            Reachability::Known([2, 0, 0, 0, 0, 11])
        );
        netlink.forget_neighbour(index, address("10.1.0.77")).await.unwrap();
        netlink.forget_neighbour(index, address("10.1.0.99")).await.unwrap();
    });
}

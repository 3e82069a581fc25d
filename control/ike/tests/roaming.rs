//! A peer behind a NAT whose address outside changes (RFC 7296 §2.23): it is followed, whether IKE or a worker sees it first.

mod lab;

use lab::network::{Hostility, NAT_PORTS};
use lab::{Lab, connection};
use std::net::{IpAddr, SocketAddr};
use tombolo_ike::What;
use tombolo_ike::endpoint::Command;

fn outside(last: u8) -> IpAddr {
    IpAddr::from([203, 0, 113, last])
}

/// Where side 0 is for side 1 while its NAT has that address.
fn seen(last: u8) -> SocketAddr {
    SocketAddr::new(outside(last), 4500 + NAT_PORTS)
}

/// Side 0 is behind a NAT at `outside(1)`, and both are up.
fn up() -> Lab {
    let mut anywhere = connection(1);
    anywhere.remote = None;
    let mut lab = Lab::new(5, [vec![connection(0)], vec![anywhere]], Hostility::default());
    lab.network.outside = Some(outside(1));
    lab.run(lab.now + 1000);
    lab.is_single().unwrap();
    assert_eq!(lab.hosts[1].installed[0].path.remote, seen(1));
    lab
}

fn moved(lab: &mut Lab, side: usize, remote: SocketAddr) {
    let (now, spi) = (lab.clock(), lab.hosts[side].installed[0].inbound);
    lab.hosts[side].endpoint.handle_moved(now, spi, remote);
    lab.settle(side);
}

fn moves(lab: &Lab, side: usize) -> Vec<SocketAddr> {
    let mut paths = Vec::new();
    for news in &lab.hosts[side].news {
        if let What::Moved { path } = &news.what {
            paths.push(path.remote);
        }
    }
    paths
}

#[test]
fn what_workers_followed_is_where_ike_goes_from_then_on() {
    let mut lab = up();
    lab.network.outside = Some(outside(2));
    moved(&mut lab, 1, seen(2));
    moved(&mut lab, 1, seen(2));
    assert_eq!(moves(&lab, 1), [seen(2)], "told once");
    assert_eq!(lab.hosts[1].installed[0].path.remote, seen(2), "workers are told, too");
    let before = lab.hosts[1].endpoint.ike_spis();
    lab.command(1, Command::Rekey);
    lab.run(lab.now + 5000);
    lab.is_single().unwrap();
    assert_ne!(lab.hosts[1].endpoint.ike_spis(), before, "our request found the peer");
    assert_eq!(
        lab.hosts[1].installed[0].path.remote,
        seen(2),
        "and its heir knows the way"
    );
}

#[test]
fn a_killed_process_remembers_where_the_peer_went() {
    let mut lab = up();
    lab.network.outside = Some(outside(2));
    moved(&mut lab, 1, seen(2));
    lab.kill(1);
    assert_eq!(lab.hosts[1].endpoint.children().next().unwrap().path.remote, seen(2));
}

#[test]
fn what_ike_hears_from_elsewhere_workers_are_told() {
    let mut lab = up();
    lab.network.outside = Some(outside(3));
    // A sign of life of side 0.
    lab.run(lab.now + 25_000);
    assert_eq!(moves(&lab, 1), [seen(3)]);
    assert_eq!(lab.hosts[1].installed[0].path.remote, seen(3));
    lab.is_single().unwrap();
}

#[test]
fn only_a_peer_behind_a_nat_is_followed_and_only_by_who_is_not() {
    let mut lab = up();
    moved(&mut lab, 0, seen(2));
    assert_eq!(moves(&lab, 0), [], "we are behind one");
    moved(&mut lab, 1, "[2001:db8::1]:4500".parse().unwrap());
    let now = lab.clock();
    lab.hosts[1].endpoint.handle_moved(now, 77, seen(2));
    lab.settle(1);
    assert_eq!(moves(&lab, 1), [], "another family, and nobody's SPI");
    let mut straight = Lab::new(6, [vec![connection(0)], vec![connection(1)]], Hostility::default());
    straight.run(straight.now + 1000);
    straight.is_single().unwrap();
    moved(&mut straight, 1, seen(2));
    assert_eq!(moves(&straight, 1), [], "there is no NAT");
}

/// RFC 3948 §4: who is behind a NAT keeps it open, and nobody else does.
#[test]
fn a_nat_is_kept_open() {
    let keepalives = |lab: &mut Lab, side: usize| {
        let mut count = 0;
        for _ in 0..65_000 {
            lab.run(lab.now + 1);
            let sent = lab.network.datagrams_from(lab::address(side));
            count += sent.iter().filter(|bytes| bytes.as_slice() == [0xff]).count();
            if count > 0 {
                lab.network.lose_all();
            }
        }
        count
    };
    let without_dpd = |lab: &mut Lab| {
        for side in 0..2 {
            lab.hosts[side].connections[0].dpd_delay_ms = 0;
            lab.configure(side);
        }
    };
    let mut lab = up();
    lab.network.hostility.delay_ms = 9;
    without_dpd(&mut lab);
    assert_eq!(keepalives(&mut lab, 0), 3, "in 65 seconds");
    let mut lab = up();
    assert_eq!(keepalives(&mut lab, 1), 0, "not behind one");
}

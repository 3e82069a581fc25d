//! Real sockets on the loopback device. Ports below 1024 need root: without it these tests say that they did not run.

use super::*;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(5);

/// Addresses of 127.0.0.0/8 that no other test uses.
fn address(last: u8) -> IpAddr {
    IpAddr::from([127, 77, 1, last])
}

/// Open sockets, or none where the ports are out of reach.
fn sockets(addresses: &[IpAddr]) -> Option<Sockets> {
    if std::env::var("TOMBOLO_SKIP_ROOT").as_deref() == Ok("1") {
        println!("NOT RUN: sockets of IKE: TOMBOLO_SKIP_ROOT=1");
        return None;
    }
    let mut sockets = Sockets::default();
    let refused = sockets.bind(&addresses.iter().copied().collect());
    assert!(refused.is_empty(), "{refused:?} (this test needs root)");
    Some(sockets)
}

fn peer(last: u8) -> std::net::UdpSocket {
    let peer = std::net::UdpSocket::bind((address(last), 0)).unwrap();
    peer.set_read_timeout(Some(SOON)).unwrap();
    peer
}

async fn received(sockets: &mut Sockets, count: usize) -> Vec<Datagram> {
    let mut all = Vec::new();
    while all.len() < count {
        tokio::time::timeout(SOON, sockets.receive(&mut all))
            .await
            .unwrap_or_else(|_| panic!("{} of {count} came", all.len()));
    }
    all
}

#[tokio::test]
async fn messages_come_and_go_on_both_ports() {
    let (own, v6) = (address(1), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]));
    let Some(mut sockets) = sockets(&[own, v6]) else { return };
    assert_eq!(sockets.local().count(), 4);
    let peer = peer(2);
    let message: Vec<u8> = (0..60).collect();
    for port in [PORT, PORT_NAT] {
        let local = SocketAddr::new(own, port);
        peer.send_to(&leaving(port, &message), local).unwrap();
        let came = received(&mut sockets, 1).await;
        let remote = peer.local_addr().unwrap();
        assert_eq!((came[0].path, &came[0].bytes), (Path { local, remote }, &message));
        sockets.send(&came[0]).unwrap();
        let mut buffer = [0; 100];
        let (length, from) = peer.recv_from(&mut buffer).unwrap();
        assert_eq!((from, &buffer[..length]), (local, &leaving(port, &message)[..]));
    }
    let six = std::net::UdpSocket::bind("[::1]:0").unwrap();
    six.send_to(&message, SocketAddr::new(v6, PORT)).unwrap();
    assert_eq!(received(&mut sockets, 1).await[0].bytes, message);
    sockets
        .keep_alive(&Path {
            local: SocketAddr::new(own, PORT_NAT),
            remote: peer.local_addr().unwrap(),
        })
        .unwrap();
    assert_eq!(peer.recv(&mut [0; 9]).unwrap(), 1);
    assert_eq!((sockets.counts().received, sockets.counts().sent), (3, 3));
}

#[tokio::test]
async fn what_is_not_ike_is_counted_and_a_longest_datagram_is_whole() {
    let own = address(3);
    let Some(mut sockets) = sockets(&[own]) else { return };
    let peer = peer(4);
    peer.send_to(&[0xff], (own, PORT_NAT)).unwrap();
    peer.send_to(&[1; 60], (own, PORT_NAT)).unwrap();
    peer.send_to(&[1; 27], (own, PORT)).unwrap();
    peer.send_to(&[], (own, PORT)).unwrap();
    peer.send_to(&[1; 65_507], (own, PORT)).unwrap();
    assert_eq!(received(&mut sockets, 1).await[0].bytes.len(), 65_507);
    let mut none = Vec::new();
    while sockets.counts().keepalives + sockets.counts().not_ike < 4 {
        tokio::time::timeout(SOON, sockets.receive(&mut none)).await.unwrap();
    }
    assert_eq!(
        (sockets.counts().keepalives, sockets.counts().not_ike, none.len()),
        (1, 3, 0)
    );
}

#[tokio::test]
async fn a_flooded_socket_leaves_room_for_the_others() {
    let own = address(5);
    let Some(mut sockets) = sockets(&[own]) else { return };
    let peer = peer(6);
    for _ in 0..1000 {
        peer.send_to(&[7; 40], (own, PORT)).unwrap();
    }
    peer.send_to(&leaving(PORT_NAT, &[8; 40]), (own, PORT_NAT)).unwrap();
    let mut batches = Vec::new();
    while batches.iter().flatten().count() < 1001 {
        let mut batch: Vec<Datagram> = Vec::new();
        tokio::time::timeout(SOON, sockets.receive(&mut batch)).await.unwrap();
        assert!(batch.len() <= BATCH_MAX);
        batches.push(batch);
    }
    let wanted = |batch: &Vec<Datagram>| batch.iter().any(|datagram| datagram.bytes[0] == 8);
    assert!(
        batches.iter().position(wanted).unwrap() <= 1,
        "it waited behind the flood"
    );
}

#[tokio::test]
async fn errors_of_the_path_are_no_end() {
    let own = address(7);
    let Some(mut sockets) = sockets(&[own]) else { return };
    let gone = peer(8).local_addr().unwrap();
    let local = SocketAddr::new(own, PORT);
    let nobody = Datagram {
        path: Path { local, remote: gone },
        bytes: vec![1; 40],
    };
    for _ in 0..3 {
        // ICMP says that nobody listens there.
        sockets.send(&nobody).unwrap();
    }
    let peer = peer(8);
    peer.send_to(&[2; 40], local).unwrap();
    assert_eq!(received(&mut sockets, 1).await[0].bytes, [2; 40]);
    let absent = Path {
        local: SocketAddr::new(address(9), PORT),
        remote: gone,
    };
    let refused = sockets
        .send(&Datagram {
            path: absent,
            bytes: vec![1; 40],
        })
        .unwrap_err();
    assert_eq!(refused.to_string(), "no IKE socket on 127.77.1.9:500");
    assert_eq!(sockets.counts().send_failures, 1);
}

#[tokio::test]
async fn addresses_come_and_go() {
    let Some(mut sockets) = sockets(&[address(10), address(11)]) else {
        return;
    };
    let foreign = IpAddr::from([192, 0, 2, 99]);
    let refused = sockets.bind(&[address(11), address(12), foreign].into());
    let ends: Vec<_> = refused
        .iter()
        .map(|(local, error)| (local.ip(), error.kind()))
        .collect();
    assert_eq!(ends, [(foreign, io::ErrorKind::AddrNotAvailable); 2]);
    let local: BTreeSet<IpAddr> = sockets.local().map(|local| local.ip()).collect();
    assert_eq!(local, [address(11), address(12)].into());
    let peer = peer(13);
    peer.send_to(&[2; 40], (address(12), PORT)).unwrap();
    assert_eq!(received(&mut sockets, 1).await.len(), 1);
    sockets.bind(&BTreeSet::new());
    assert_eq!(sockets.local().count(), 0);
    // What was closed can be opened by the next process, and by this one.
    assert!(sockets.bind(&[address(11)].into()).is_empty());
}

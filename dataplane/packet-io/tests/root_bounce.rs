//! Steering and AF_XDP together: two hosts talk through a gateway that is only a bouncer. Needs root; see `lab`.

mod lab;

use lab::{HOST_A_MAC, HOST_B_MAC, LEFT_MAC, Lab, RIGHT_MAC, ifindex, inside, skipped};
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tombolo_bpf::{AttachMode, AttachRequest, PORT_UNKNOWN, SteerConfig, SteerPort, Steering, VLAN_NONE, Verdict};
use tombolo_packet_io::af_xdp::{AfXdp, AfXdpConfig, AfXdpPort, OpenError};
use tombolo_packet_io::{FrameBatch, FrameCensus, PacketIo, PortSlot};

const LEFT: PortSlot = PortSlot(0);
const RIGHT: PortSlot = PortSlot(1);

/// In the gateway's namespace.
fn steer_config() -> SteerConfig {
    let port = |index: u16, device, mac, own: &str| SteerPort {
        index,
        ifindex: ifindex(device),
        vlan: VLAN_NONE,
        socket_row: index,
        mac,
        nat_ports: None,
        own_addresses: vec![own.parse().expect("an address")],
    };
    SteerConfig {
        ports: vec![
            port(0, "left", LEFT_MAC, "10.9.0.1"),
            port(1, "right", RIGHT_MAC, "10.9.1.1"),
        ],
        host_ports: (32768, 60999),
        ..SteerConfig::default()
    }
}

fn port(device: &str, queue: u32) -> AfXdpPort {
    AfXdpPort {
        device: device.to_owned(),
        queue,
        tap: None,
        read_tap: false,
    }
}

fn open(queue: u32) -> Result<AfXdp, OpenError> {
    let ports = vec![port("left", queue), port("right", queue)];
    AfXdp::open(AfXdpConfig {
        ports,
        frames: 1024,
        ring_size: 512,
        ..AfXdpConfig::default()
    })
}

fn insert(steering: &Steering, io: &AfXdp, queue: u32) {
    for (slot, socket) in io.sockets() {
        steering
            .insert_socket(u16::from(slot.0), queue, socket)
            .expect("the socket fits its place");
    }
}

/// Sends what comes in on one port out of the other, until told to stop; then waits for its frames to come home.
fn bounce(io: &mut AfXdp, stop: &AtomicBool) -> FrameCensus {
    let mut batch = FrameBatch::new();
    while !stop.load(Ordering::Relaxed) {
        let mut moved = 0;
        for (from, to, source, destination) in [
            (LEFT, RIGHT, RIGHT_MAC, HOST_B_MAC),
            (RIGHT, LEFT, LEFT_MAC, HOST_A_MAC),
        ] {
            moved += io.receive(from, &mut batch);
            for mut frame in batch.drain() {
                frame.packet_mut()[..6].copy_from_slice(&destination);
                frame.packet_mut()[6..12].copy_from_slice(&source);
                if let Err(frame) = io.transmit(to, frame) {
                    io.release(frame);
                }
            }
        }
        io.flush();
        assert!(io.census().balanced(), "{:?}", io.census());
        if moved == 0 && !io.tx_pending() {
            io.wait(Duration::from_millis(20), None);
        }
    }
    let end = Instant::now() + Duration::from_secs(2);
    while io.census().transmit > 0 && Instant::now() < end {
        io.flush();
    }
    io.census()
}

/// Sends `count` packets on each of several flows from host a to host b and back; returns how many made the round trip.
fn echo(lab: &Lab, flows: usize, count: usize) -> usize {
    let server = inside(&lab.host_b, || UdpSocket::bind("10.9.1.2:7000").expect("host b"));
    let echoer = server.try_clone().expect("a second descriptor");
    let clients: Vec<_> = inside(&lab.host_a, || {
        (0..flows)
            .map(|_| UdpSocket::bind("10.9.0.2:0").expect("host a"))
            .collect()
    });
    echoer
        .set_read_timeout(Some(Duration::from_millis(500)))
        .expect("a timeout");
    let answering = thread::spawn(move || {
        let mut bytes = [0; 2048];
        while let Ok((length, from)) = echoer.recv_from(&mut bytes) {
            let _ = echoer.send_to(&bytes[..length], from);
        }
    });
    let mut returned = 0;
    let mut bytes = [0; 2048];
    for number in 0..count {
        for client in &clients {
            client
                .set_read_timeout(Some(Duration::from_millis(200)))
                .expect("a timeout");
            let packet = vec![number as u8; 18 + number * 37 % 1400];
            client.send_to(&packet, "10.9.1.2:7000").expect("sent");
            returned += usize::from(client.recv(&mut bytes).is_ok_and(|length| bytes[..length] == packet));
        }
    }
    answering.join().expect("the answering side ends by its timeout");
    returned
}

#[test]
fn root_frames_bounce_between_two_hosts_and_the_census_adds_up() {
    if skipped("root_frames_bounce_between_two_hosts_and_the_census_adds_up") {
        return;
    }
    bounce_between_two_hosts(AttachRequest::NativeOrGeneric, AttachMode::Native);
}

#[test]
fn root_frames_bounce_in_generic_mode_too() {
    if skipped("root_frames_bounce_in_generic_mode_too") {
        return;
    }
    bounce_between_two_hosts(AttachRequest::Generic, AttachMode::Generic);
}

fn bounce_between_two_hosts(request: AttachRequest, mode: AttachMode) {
    let lab = Lab::new();
    let stop = AtomicBool::new(false);
    let (mut workers, steering) = inside(&lab.gateway, || {
        let mut steering = Steering::load().expect("root loads the program");
        steering.update(&steer_config()).expect("the maps take it");
        let workers: Vec<AfXdp> = (0..2).map(|queue| open(queue).expect("a free queue")).collect();
        for (queue, io) in workers.iter().enumerate() {
            insert(&steering, io, queue as u32);
        }
        for device in ["left", "right"] {
            assert_eq!(steering.attach(ifindex(device), request).ok(), Some(mode));
        }
        (workers, steering)
    });
    assert!(
        workers.iter().flat_map(|io| io.modes()).all(|mode| !mode.zero_copy),
        "veth has no zero-copy"
    );
    let (returned, censuses) = thread::scope(|scope| {
        let stop = &stop;
        let running: Vec<_> = workers
            .iter_mut()
            .map(|io| scope.spawn(move || bounce(io, stop)))
            .collect();
        let returned = echo(&lab, 8, 100);
        stop.store(true, Ordering::Relaxed);
        (
            returned,
            running
                .into_iter()
                .map(|worker| worker.join().expect("no panic"))
                .collect::<Vec<_>>(),
        )
    });
    assert_eq!(returned, 800);
    for census in censuses {
        assert!(census.balanced(), "{census:?}");
        assert_eq!(
            (census.outside, census.transmit, census.total),
            (0, 0, 1024),
            "{census:?}"
        );
    }
    let verdicts = steering.verdicts(0).expect("readable");
    assert_eq!((verdicts.of(Verdict::WorkTransit), verdicts.no_socket()), (800, 0));
}

#[test]
fn root_without_sockets_transit_is_dropped_and_management_works() {
    if skipped("root_without_sockets_transit_is_dropped_and_management_works") {
        return;
    }
    let lab = Lab::new();
    let steering = inside(&lab.gateway, || {
        let (steering, _) =
            Steering::load_and_attach(&steer_config(), AttachRequest::NativeOrGeneric).expect("attached");
        let io = open(0).expect("a free queue");
        insert(&steering, &io, 0);
        steering // the sockets close here, as they do when a dataplane dies
    });
    assert!(lab.ping("10.9.0.1"), "the port's own address answers");
    assert_eq!(echo(&lab, 1, 1), 0, "transit does not pass");
    let verdicts = steering.verdicts(0).expect("readable");
    assert!(
        verdicts.of(Verdict::PassEcho) >= 2 && verdicts.of(Verdict::PassArp) >= 1,
        "{verdicts:?}"
    );
    assert_eq!((verdicts.of(Verdict::WorkTransit), verdicts.no_socket()), (1, 1));
    drop(steering);
    assert!(lab.ping("10.9.0.1"), "the program outlives its loader");
    assert_eq!(echo(&lab, 1, 1), 0, "and still drops transit");
}

#[test]
fn root_a_restart_replaces_program_and_maps() {
    if skipped("root_a_restart_replaces_program_and_maps") {
        return;
    }
    let lab = Lab::new();
    inside(&lab.gateway, || {
        let attach = || {
            Steering::load_and_attach(&steer_config(), AttachRequest::NativeOrGeneric)
                .expect("attached")
                .0
        };
        let left = ifindex("left");
        let first = attach();
        assert_eq!(first.attached(left), Some(AttachMode::Native));
        let second = attach();
        assert_eq!(
            (first.attached(left), second.attached(left)),
            (None, Some(AttachMode::Native))
        );
        assert!(lab.ping("10.9.0.1"));
        assert_eq!(first.verdicts(0).expect("readable").of(Verdict::PassEcho), 0);
        assert!(second.verdicts(0).expect("readable").of(Verdict::PassEcho) > 0);
        second.detach(left).expect("it was attached");
        assert_eq!(second.attached(left), None);
    });
}

#[test]
fn root_generic_mode_serves_devices_without_xdp() {
    if skipped("root_generic_mode_serves_devices_without_xdp") {
        return;
    }
    let lab = Lab::new();
    lab.ip(&lab.gateway, "link add plain type bridge");
    inside(&lab.gateway, || {
        let plain = ifindex("plain");
        let first = Steering::load().expect("loads");
        assert_eq!(
            first.attach(plain, AttachRequest::NativeOrGeneric).ok(),
            Some(AttachMode::Generic)
        );
        let second = Steering::load().expect("loads");
        assert_eq!(
            second.attach(plain, AttachRequest::NativeOrGeneric).ok(),
            Some(AttachMode::Generic)
        );
        assert_eq!(
            (first.attached(plain), second.attached(plain)),
            (None, Some(AttachMode::Generic))
        );
        let left = ifindex("left");
        assert_eq!(
            second.attach(left, AttachRequest::NativeOrGeneric).ok(),
            Some(AttachMode::Native)
        );
        assert_eq!(
            second.attach(left, AttachRequest::Generic).ok(),
            Some(AttachMode::Generic)
        );
        assert!(second.attach(999_999, AttachRequest::NativeOrGeneric).is_err());
    });
}

#[test]
fn root_vlan_tags_name_ports() {
    if skipped("root_vlan_tags_name_ports") {
        return;
    }
    let lab = Lab::new();
    let steering = inside(&lab.gateway, || {
        let mut config = steer_config();
        config.ports.push(SteerPort {
            index: 2,
            vlan: 7,
            ..config.ports[0].clone()
        });
        Steering::load_and_attach(&config, AttachRequest::NativeOrGeneric)
            .expect("attached")
            .0
    });
    // Host a has no VLAN device (kernels may lack them): it sends tagged ARP by a socket of its own.
    inside(&lab.host_a, || {
        let ports = vec![port("eth0", 0)];
        let mut io = AfXdp::open(AfXdpConfig {
            ports,
            frames: 512,
            ring_size: 64,
            ..AfXdpConfig::default()
        })
        .expect("a free queue");
        for vlan in [7, 7, 8] {
            let mut frame = io.allocate().expect("free");
            frame.fill(&[&LEFT_MAC[..], &HOST_A_MAC, &[0x81, 0, 0, vlan, 8, 6], &[0; 42]].concat());
            io.transmit(LEFT, frame).expect("the ring is empty");
        }
        let end = Instant::now() + Duration::from_secs(2);
        while io.census().transmit > 0 && Instant::now() < end {
            io.flush();
        }
    });
    let end = Instant::now() + Duration::from_secs(2);
    while steering.verdicts(2).expect("readable").of(Verdict::PassArp) < 2 && Instant::now() < end {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(steering.verdicts(2).expect("readable").of(Verdict::PassArp), 2);
    let unknown = steering.verdicts(PORT_UNKNOWN).expect("readable");
    assert_eq!(unknown.of(Verdict::DropUnknownPort), 1);
}

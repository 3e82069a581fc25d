//! AF_XDP sockets on veth, in namespaces of our own: opening, sending, TAPs. Needs root; see `lab`.

mod lab;

use lab::{Lab, inside, skipped};
use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};
use tombolo_packet_io::af_xdp::{AfXdp, AfXdpConfig, AfXdpPort, KernelDrops, OpenError};
use tombolo_packet_io::{FrameBatch, PacketIo, PortSlot};

const LEFT: PortSlot = PortSlot(0);

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

#[test]
fn root_a_busy_queue_is_waited_for() {
    if skipped("root_a_busy_queue_is_waited_for") {
        return;
    }
    let lab = Lab::new();
    inside(&lab.gateway, || {
        let copy = |queue| {
            AfXdp::open(AfXdpConfig {
                ports: vec![port("left", queue)],
                frames: 512,
                ring_size: 64,
                zero_copy: false,
                ..AfXdpConfig::default()
            })
        };
        let holder = copy(0).expect("a free queue");
        let start = Instant::now();
        let Err(OpenError::Socket { error, .. }) = copy(0) else {
            panic!("two sockets on one queue")
        };
        assert_eq!(error.raw_os_error(), Some(16), "EBUSY");
        assert!(
            (500..5000).contains(&start.elapsed().as_millis()),
            "{:?}",
            start.elapsed()
        );
        let opened = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(150));
                drop(holder);
            });
            copy(0)
        });
        drop(opened.expect("the queue became free"));
        for _ in 0..5 {
            drop(open(0).expect("at once after the last one closed"));
        }
        let Err(OpenError::Socket { device, .. }) = AfXdp::open(AfXdpConfig {
            ports: vec![port("nowhere", 0)],
            frames: 512,
            ring_size: 64,
            ..AfXdpConfig::default()
        }) else {
            panic!("a device that does not exist")
        };
        assert_eq!(device, "nowhere");
    });
}

#[test]
fn root_a_full_transmit_ring_gives_frames_back() {
    if skipped("root_a_full_transmit_ring_gives_frames_back") {
        return;
    }
    let lab = Lab::new();
    inside(&lab.gateway, || {
        let ports = vec![port("left", 0)];
        let mut io = AfXdp::open(AfXdpConfig {
            ports,
            frames: 512,
            ring_size: 64,
            ..AfXdpConfig::default()
        })
        .expect("a free queue");
        let mut accepted = 0;
        let refused = loop {
            let mut frame = io.allocate().expect("512 frames are enough");
            frame.fill(&[0; 60]);
            match io.transmit(LEFT, frame) {
                Ok(()) => accepted += 1,
                Err(frame) => break frame,
            }
        };
        assert_eq!(accepted, 128, "the ring and one batch");
        io.release(refused);
        let mut short = io.allocate().expect("free");
        short.set_len(13);
        let short = io.transmit(LEFT, short).expect_err("the kernel would lose it");
        io.release(short);
        assert!(io.tx_pending());
        let end = Instant::now() + Duration::from_secs(2);
        while io.census().transmit > 0 && Instant::now() < end {
            assert!(io.census().balanced(), "{:?}", io.census());
            io.flush();
        }
        assert!(!io.tx_pending());
        io.flush();
        let census = io.census();
        assert_eq!((census.free, census.fill, census.total), (448, 64, 512), "{census:?}");
    });
}

#[test]
fn root_a_device_that_is_down_keeps_nobody_awake() {
    if skipped("root_a_device_that_is_down_keeps_nobody_awake") {
        return;
    }
    let lab = Lab::new();
    let mut io = inside(&lab.gateway, || {
        let ports = vec![port("left", 0)];
        AfXdp::open(AfXdpConfig {
            ports,
            frames: 512,
            ring_size: 64,
            ..AfXdpConfig::default()
        })
        .expect("a free queue")
    });
    lab.ip(&lab.gateway, "link set left down");
    let mut frame = io.allocate().expect("free");
    frame.fill(&[0; 60]);
    io.transmit(LEFT, frame).expect("the ring is empty");
    assert!(io.tx_pending());
    for _ in 0..1000 {
        io.flush();
    }
    assert!(!io.tx_pending(), "it may sleep");
    assert_eq!(io.census().transmit, 1);
    lab.ip(&lab.gateway, "link set left up");
    let end = Instant::now() + Duration::from_secs(2);
    while io.census().transmit > 0 && Instant::now() < end {
        io.flush();
    }
    io.flush();
    assert_eq!((io.census().free, io.tx_pending()), (448, false));
    assert_eq!(io.kernel_drops(LEFT), KernelDrops::default());
}

#[test]
fn root_a_tap_carries_punts_and_the_kernels_packets() {
    if skipped("root_a_tap_carries_punts_and_the_kernels_packets") {
        return;
    }
    let lab = Lab::new();
    let gateway = lab.gateway.clone();
    let tap = inside(&gateway, || {
        tombolo_packet_io::tap::open("punt0").expect("root opens a TAP")
    });
    lab.ip(&gateway, "link set punt0 address 02:00:00:00:09:09 up");
    lab.ip(&gateway, "addr add 10.9.9.1/24 dev punt0");
    lab.ip(&gateway, "neigh add 10.9.9.2 lladdr 02:00:00:00:09:02 dev punt0");
    inside(&gateway, || {
        let kernel = UdpSocket::bind("10.9.9.1:5000").expect("the TAP's address");
        kernel
            .set_read_timeout(Some(Duration::from_secs(2)))
            .expect("a timeout");
        let ports = vec![AfXdpPort {
            tap: Some(tap),
            read_tap: true,
            ..port("left", 0)
        }];
        let mut io = AfXdp::open(AfXdpConfig {
            ports,
            frames: 512,
            ring_size: 64,
            ..AfXdpConfig::default()
        })
        .expect("a free queue");
        kernel
            .send_to(b"from the kernel", "10.9.9.2:6000")
            .expect("sent into the TAP");
        io.wait(Duration::from_secs(2), None);
        let mut batch = FrameBatch::new();
        let end = Instant::now() + Duration::from_secs(2);
        let mut found = None;
        while found.is_none() {
            assert!(Instant::now() < end, "the kernel's packet comes out of the TAP");
            io.receive_from_kernel(LEFT, &mut batch);
            for frame in batch.drain() {
                if frame.packet().ends_with(b"from the kernel") {
                    found = Some(frame);
                } else {
                    io.release(frame); // the kernel's own router solicitations
                }
            }
        }
        let mut frame = found.expect("the loop ends with it");
        // Turned round, it is a packet for the kernel.
        let packet = frame.packet_mut();
        let (destination, source) = packet.split_at_mut(6);
        destination.swap_with_slice(&mut source[..6]);
        let (source, destination) = packet[26..34].split_at_mut(4);
        source.swap_with_slice(destination);
        let (source, destination) = packet[34..38].split_at_mut(2);
        source.swap_with_slice(destination);
        assert!(io.punt(LEFT, &frame));
        io.release(frame);
        let mut bytes = [0; 64];
        let length = kernel.recv(&mut bytes).expect("the punt arrives");
        assert_eq!(&bytes[..length], b"from the kernel");
        assert!(io.census().balanced());
    });
}

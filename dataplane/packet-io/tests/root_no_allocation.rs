//! The packet path allocates nothing, on the memory backend and on AF_XDP. The second needs root; see `lab`.

mod lab;

use lab::{Lab, inside, skipped};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use tombolo_packet_io::af_xdp::{AfXdp, AfXdpConfig, AfXdpPort};
use tombolo_packet_io::memory::Memory;
use tombolo_packet_io::{BATCH, FrameBatch, PacketIo, PortSlot, tap};

const LEFT: PortSlot = PortSlot(0);
const RIGHT: PortSlot = PortSlot(1);

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counted per thread.
struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending has no counter any more, and is not measured.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is the one that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; the memory came from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn the_memory_backend_allocates_nothing_per_packet() {
    let mut io = Memory::new(2, 512);
    let mut batch = FrameBatch::new();
    let mut sent = 0;
    let count = allocations(|| {
        for _ in 0..1000 {
            for number in 0..BATCH {
                assert!(io.inject(LEFT, &[number as u8; 60]));
            }
            assert_eq!(io.receive(LEFT, &mut batch), BATCH);
            for frame in batch.drain() {
                assert!(io.transmit(RIGHT, frame).is_ok());
            }
            io.flush();
            sent += io.discard_sent(RIGHT);
        }
    });
    assert_eq!((count, sent), (0, 1000 * BATCH));
    assert!(allocations(|| drop(vec![0u8; 100])) > 0, "the counter counts");
}

#[test]
fn root_af_xdp_allocates_nothing_per_packet() {
    if skipped("root_af_xdp_allocates_nothing_per_packet") {
        return;
    }
    let lab = Lab::new();
    let gateway = lab.gateway.clone();
    let tap = inside(&gateway, || tap::open("punt0").expect("root opens a TAP"));
    lab.ip(&gateway, "link set punt0 up");
    let (wake, _writer) = rustix::pipe::pipe().expect("a pipe");
    inside(&gateway, || {
        let port = AfXdpPort {
            device: "left".to_owned(),
            queue: 0,
            tap: Some(tap),
            read_tap: true,
        };
        let config = AfXdpConfig {
            ports: vec![port],
            frames: 1024,
            ring_size: 256,
            ..AfXdpConfig::default()
        };
        let mut io = AfXdp::open(config).expect("a free queue");
        let mut batch = FrameBatch::new();
        let mut sent = 0;
        let count = allocations(|| {
            for _ in 0..100 {
                io.receive(LEFT, &mut batch);
                io.receive_from_kernel(LEFT, &mut batch);
                for frame in batch.drain() {
                    io.release(frame);
                }
                for _ in 0..BATCH {
                    let Some(mut frame) = io.allocate() else { break };
                    frame.fill(&[2; 60]);
                    io.punt(LEFT, &frame);
                    match io.transmit(LEFT, frame) {
                        Ok(()) => sent += 1,
                        Err(frame) => io.release(frame),
                    }
                }
                io.flush();
                io.wait(Duration::from_micros(50), Some(wake.as_fd()));
            }
        });
        assert_eq!(count, 0);
        assert!(sent > 1000, "{sent}");
        let end = Instant::now() + Duration::from_secs(2);
        while io.census().transmit > 0 && Instant::now() < end {
            io.flush();
        }
        assert!(io.census().balanced());
    });
}

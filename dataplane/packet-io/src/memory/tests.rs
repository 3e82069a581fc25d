use super::*;
use crate::{BATCH, FRAME_CAPACITY, FRAME_HEADROOM, JUMBO_FRAME_SIZE};

const A: PortSlot = PortSlot(0);
const B: PortSlot = PortSlot(1);

#[test]
fn a_packet_goes_from_port_to_port_and_the_books_balance() {
    let mut io = Memory::new(2, 8);
    assert!(io.inject(A, b"hello"));
    assert!(io.census().balanced());
    let mut batch = FrameBatch::new();
    assert_eq!(io.receive(A, &mut batch), 1);
    assert_eq!(io.census().outside, 1);
    let mut frame = batch.pop().expect("one frame came in");
    frame.packet_mut()[0] = b'j';
    io.transmit(B, frame).expect("the ring is empty");
    assert!(io.tx_pending());
    assert_eq!(io.take_sent(B), None);
    io.flush();
    assert!(!io.tx_pending());
    assert_eq!(io.census().completion, 1);
    assert_eq!(io.take_sent(B).as_deref(), Some(&b"jello"[..]));
    assert_eq!(
        io.census(),
        FrameCensus {
            free: 8,
            total: 8,
            ..FrameCensus::default()
        }
    );
}

#[test]
fn a_full_ring_gives_the_frame_back() {
    let mut io = Memory::new(1, 4);
    io.set_transmit_ring(1);
    let first = io.allocate().expect("free");
    let second = io.allocate().expect("free");
    io.transmit(A, first).expect("one fits");
    let back = io.transmit(A, second).expect_err("the second does not");
    io.release(back);
    let stray = io.allocate().expect("free");
    let back = io.transmit(PortSlot(9), stray).expect_err("no such port");
    io.release(back);
    assert!(io.census().balanced());
}

#[test]
fn frames_run_out_and_come_back() {
    let mut io = Memory::new(1, 2);
    assert!(io.inject(A, &[1]));
    assert!(io.inject(A, &[2]));
    assert!(!io.inject(A, &[3]));
    assert!(io.allocate().is_none());
    let mut batch = FrameBatch::new();
    io.receive(A, &mut batch);
    assert!(
        !io.punt(A, batch.get(0).expect("first")),
        "no frame is free for the copy"
    );
    for frame in batch.drain() {
        io.release(frame);
    }
    assert_eq!(io.census().free, 2);
    assert!(!io.inject(A, &vec![0; FRAME_CAPACITY + 1]));
    assert!(io.inject(A, &vec![0; FRAME_CAPACITY]));
}

#[test]
fn a_batch_leaves_in_order_and_what_finds_no_room_stays_in_it() {
    let mut io = Memory::new(1, 8);
    io.set_transmit_ring(3);
    for number in 0..5 {
        assert!(io.inject(A, &[number]));
    }
    let mut batch = FrameBatch::new();
    assert_eq!(io.receive(A, &mut batch), 5);
    io.transmit_batch(PortSlot(9), &mut batch);
    assert_eq!(batch.len(), 5, "there is no such port");
    let first = batch.take(0).expect("five");
    batch.put_back(0, first);
    io.transmit_batch(A, &mut batch);
    assert!(io.tx_pending() && io.census().balanced());
    let left: Vec<u8> = batch.iter().map(|frame| frame.packet()[0]).collect();
    assert_eq!(left, [3, 4]);
    io.flush();
    let sent: Vec<_> = std::iter::from_fn(|| io.take_sent(A)).collect();
    assert_eq!(sent, [[0], [1], [2]]);
    for frame in batch.drain() {
        io.release(frame);
    }
    assert_eq!(io.census().free, 8);
}

#[test]
fn punts_and_packets_of_the_kernel_cross_the_tap() {
    let mut io = Memory::new(2, 4);
    assert!(io.inject_from_kernel(B, b"from kernel"));
    let mut batch = FrameBatch::new();
    assert_eq!(io.receive(B, &mut batch), 0);
    assert_eq!(io.receive_from_kernel(B, &mut batch), 1);
    let frame = batch.pop().expect("one");
    assert!(io.punt(B, &frame));
    assert!(io.census().balanced());
    io.release(frame);
    assert_eq!(io.take_punt(A), None);
    assert_eq!(io.take_punt(B).as_deref(), Some(&b"from kernel"[..]));
}

#[test]
fn a_batch_takes_no_more_than_it_holds() {
    let mut io = Memory::new(1, 100);
    for number in 0..100 {
        assert!(io.inject(A, &[number]));
    }
    let mut batch = FrameBatch::new();
    assert_eq!(io.receive(A, &mut batch), BATCH);
    assert_eq!(io.receive(A, &mut batch), 0);
    let mut drain = batch.drain();
    let first = drain.next().expect("full");
    assert_eq!(first.packet(), [0]);
    drop(drain);
    assert_eq!(batch.len(), BATCH - 1, "what the drain left stays");
    assert_eq!(batch.get(0).expect("next").packet(), [1]);
    assert_eq!(io.receive(A, &mut batch), 1);
    io.release(first);
    for frame in batch.drain() {
        io.transmit(A, frame).expect("fits");
    }
    io.flush();
    assert_eq!(io.wire(A, A), 64);
    assert_eq!(io.discard_sent(A), 0);
    assert!(io.census().balanced());
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "without being given back")]
fn dropping_a_frame_is_reported() {
    drop(Memory::new(1, 1).allocate());
}

#[test]
#[should_panic(expected = "its own arena")]
fn a_frame_of_another_arena_is_refused() {
    let mut other = Memory::new(1, 1);
    let frame = other.allocate().expect("free");
    Memory::new(1, 1).release(frame);
}

#[test]
fn wait_returns_at_once_when_a_packet_is_there() {
    let (reader, _writer) = rustix::pipe::pipe().expect("a pipe");
    let mut io = Memory::new(1, 1);
    let start = std::time::Instant::now();
    io.inject(A, &[1]);
    io.wait(Duration::from_secs(5), Some(std::os::fd::AsFd::as_fd(&reader)));
    io.take_batch_for_test();
    io.wait(Duration::from_millis(20), Some(std::os::fd::AsFd::as_fd(&reader)));
    let elapsed = start.elapsed();
    assert!(
        elapsed < Duration::from_secs(3) && elapsed >= Duration::from_millis(20),
        "{elapsed:?}"
    );
}

impl Memory {
    fn take_batch_for_test(&mut self) {
        let mut batch = FrameBatch::new();
        self.receive(A, &mut batch);
        for frame in batch.drain() {
            self.release(frame);
        }
    }
}

#[test]
fn larger_frames_hold_longer_packets() {
    let mut io = Memory::with_frame_size(1, 2, JUMBO_FRAME_SIZE);
    let longest = JUMBO_FRAME_SIZE - FRAME_HEADROOM;
    for fill in 1..=2 {
        assert!(!io.inject(A, &vec![0; longest + 1]));
        assert!(io.inject(A, &vec![fill; longest]));
    }
    let mut batch = FrameBatch::new();
    assert_eq!(io.receive(A, &mut batch), 2);
    for (frame, fill) in batch.drain().zip(1..) {
        assert_eq!(frame.capacity(), longest);
        assert!(
            frame.packet().iter().all(|byte| *byte == fill),
            "no frame reaches into another"
        );
        io.release(frame);
    }
    assert!(io.census().balanced());
}

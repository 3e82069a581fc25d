//! Whatever a worker and a test do to the memory backend: every frame is in one place, every packet comes out once, in
//! order.

use proptest::prelude::*;
use std::collections::VecDeque;
use tombolo_packet_io::memory::Memory;
use tombolo_packet_io::{Frame, FrameBatch, FrameCensus, PacketIo, PortSlot};

const PORTS: u8 = 2;
const FRAMES: usize = 24;

#[derive(Clone, Debug)]
enum Step {
    Inject(u8),
    Receive(u8),
    Forward(u8),
    Release,
    Allocate,
    Flush,
    TakeSent(u8),
    DiscardSent(u8),
    Punt(u8),
    TakePunt(u8),
}

fn step() -> impl Strategy<Value = Step> {
    // One port more than there is: a wrong slot must do no harm.
    let port = 0..=PORTS;
    prop_oneof![
        4 => port.clone().prop_map(Step::Inject),
        3 => port.clone().prop_map(Step::Receive),
        3 => port.clone().prop_map(Step::Forward),
        1 => Just(Step::Release),
        1 => Just(Step::Allocate),
        2 => Just(Step::Flush),
        3 => port.clone().prop_map(Step::TakeSent),
        1 => port.clone().prop_map(Step::DiscardSent),
        1 => port.clone().prop_map(Step::Punt),
        1 => port.prop_map(Step::TakePunt),
    ]
}

/// What should be where: packets as numbers.
#[derive(Default)]
struct Model {
    injected: Vec<VecDeque<u32>>,
    queued: Vec<VecDeque<u32>>,
    sent: Vec<VecDeque<u32>>,
    punted: Vec<VecDeque<u32>>,
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("packets of four bytes"))
}

struct World {
    io: Memory,
    batch: FrameBatch,
    model: Model,
    next: u32,
}

impl World {
    fn new() -> Self {
        let queues = || vec![VecDeque::new(); usize::from(PORTS)];
        let model = Model {
            injected: queues(),
            queued: queues(),
            sent: queues(),
            punted: queues(),
        };
        let mut io = Memory::new(usize::from(PORTS), FRAMES);
        io.set_transmit_ring(5);
        Self {
            io,
            batch: FrameBatch::new(),
            model,
            next: 0,
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Inject(port) => self.inject(port),
            Step::Receive(port) => self.receive(port),
            Step::Forward(port) => self.forward(port),
            Step::Release => self.with_oldest(|world, frame| world.io.release(frame)),
            Step::Allocate => self.allocate(),
            Step::Flush => {
                self.io.flush();
                for (sent, queued) in self.model.sent.iter_mut().zip(&mut self.model.queued) {
                    sent.append(queued);
                }
            }
            Step::TakeSent(port) => {
                let expected = self.model.sent.get_mut(usize::from(port)).and_then(VecDeque::pop_front);
                assert_eq!(self.io.take_sent(PortSlot(port)).map(|bytes| number(&bytes)), expected);
            }
            Step::DiscardSent(port) => {
                let expected = self
                    .model
                    .sent
                    .get_mut(usize::from(port))
                    .map_or(0, |sent| sent.drain(..).count());
                assert_eq!(self.io.discard_sent(PortSlot(port)), expected);
            }
            Step::Punt(port) => self.with_oldest(|world, frame| {
                let packet = number(frame.packet());
                if world.io.punt(PortSlot(port), &frame) {
                    world.model.punted[usize::from(port)].push_back(packet);
                }
                world.io.release(frame);
            }),
            Step::TakePunt(port) => {
                let expected = self
                    .model
                    .punted
                    .get_mut(usize::from(port))
                    .and_then(VecDeque::pop_front);
                assert_eq!(self.io.take_punt(PortSlot(port)).map(|bytes| number(&bytes)), expected);
            }
        }
    }

    fn inject(&mut self, port: u8) {
        self.next += 1;
        let possible = port < PORTS && self.io.census().free > 0;
        assert_eq!(self.io.inject(PortSlot(port), &self.next.to_le_bytes()), possible);
        if possible {
            self.model.injected[usize::from(port)].push_back(self.next);
        }
    }

    fn receive(&mut self, port: u8) {
        let before = self.batch.len();
        let count = self.io.receive(PortSlot(port), &mut self.batch);
        for frame in self.batch.iter().skip(before) {
            let expected = self.model.injected[usize::from(port)].pop_front();
            assert_eq!(Some(number(frame.packet())), expected);
        }
        assert_eq!(self.batch.len(), before + count);
    }

    fn forward(&mut self, port: u8) {
        self.with_oldest(|world, frame| {
            let packet = number(frame.packet());
            match world.io.transmit(PortSlot(port), frame) {
                Ok(()) => world.model.queued[usize::from(port)].push_back(packet),
                Err(frame) => world.io.release(frame),
            }
        });
    }

    fn allocate(&mut self) {
        self.next += 1;
        if let Some(mut frame) = self.io.allocate() {
            assert_eq!(frame.len(), 0);
            assert!(frame.fill(&self.next.to_le_bytes()));
            self.batch.push(frame);
        }
    }

    fn with_oldest(&mut self, work: impl FnOnce(&mut Self, Frame)) {
        let oldest = self.batch.drain().next();
        if let Some(frame) = oldest {
            work(self, frame);
        }
    }

    fn check(&mut self) {
        let sum = |queues: &[VecDeque<u32>]| queues.iter().map(VecDeque::len).sum::<usize>();
        let census = self.io.census();
        let expected = FrameCensus {
            free: census.free,
            fill: 0,
            received: sum(&self.model.injected),
            transmit: sum(&self.model.queued) + sum(&self.model.punted),
            completion: sum(&self.model.sent),
            outside: self.batch.len(),
            total: FRAMES,
        };
        assert_eq!(census, expected);
        assert!(census.balanced(), "{census:?}");
        assert_eq!(self.io.tx_pending(), sum(&self.model.queued) > 0);
    }
}

proptest! {
    #[test]
    fn every_frame_is_in_one_place(steps in proptest::collection::vec(step(), 1..200)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
            world.check();
        }
        for frame in world.batch.drain() {
            world.io.release(frame);
        }
    }
}

//! Ports in memory: a test or bench puts packets in on one side, a worker takes them out on the other.
//!
//! Frames move by index through queues that are allocated once, so the packet path allocates nothing.

use crate::arena::{Arena, Resting};
use crate::batch::FrameBatch;
use crate::frame::{FRAME_SIZE, Frame};
use crate::packet_io::{ASKED_AHEAD, FrameCensus, PacketIo, PortSlot};
use crate::queue::Queue;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Default depth of a port's transmit ring, in frames.
pub const TRANSMIT_RING: usize = 2048;

#[derive(Default)]
struct Port {
    received: Queue,
    from_kernel: Queue,
    transmit: Queue,
    sent: Queue,
    punts: Queue,
}

/// The memory backend.
pub struct Memory {
    arena: Arena,
    ports: Vec<Port>,
    transmit_ring: usize,
    pending: usize,
}

impl Memory {
    /// `ports` ports that share `frames` frames.
    pub fn new(ports: usize, frames: usize) -> Self {
        Self::with_frame_size(ports, frames, FRAME_SIZE)
    }

    /// The same with frames of `frame_size` bytes, [`FRAME_SIZE`] or more.
    pub fn with_frame_size(ports: usize, frames: usize, frame_size: usize) -> Self {
        let queue = || Queue::new(frames);
        let port = |_| Port {
            received: queue(),
            from_kernel: queue(),
            transmit: queue(),
            sent: queue(),
            punts: queue(),
        };
        Self {
            arena: Arena::new(frames, frame_size),
            ports: (0..ports).map(port).collect(),
            transmit_ring: TRANSMIT_RING,
            pending: 0,
        }
    }

    /// Changes how many frames each port queues before [`PacketIo::transmit`] refuses.
    pub fn set_transmit_ring(&mut self, frames: usize) {
        self.transmit_ring = frames;
    }

    /// The test's side: `packet` arrives on `port`. False when no frame is free, it is too long or there is no such port.
    pub fn inject(&mut self, port: PortSlot, packet: &[u8]) -> bool {
        let Some(state) = self.ports.get_mut(port.usize()) else {
            return false;
        };
        let stored = self.arena.store(packet);
        stored.inspect(|packet| state.received.push_back(*packet)).is_some()
    }

    /// The test's side: the kernel sends `packet` through the TAP of `port`.
    pub fn inject_from_kernel(&mut self, port: PortSlot, packet: &[u8]) -> bool {
        let Some(state) = self.ports.get_mut(port.usize()) else {
            return false;
        };
        let stored = self.arena.store(packet);
        stored.inspect(|packet| state.from_kernel.push_back(*packet)).is_some()
    }

    /// The test's side: takes the oldest packet that left through `port`.
    pub fn take_sent(&mut self, port: PortSlot) -> Option<Vec<u8>> {
        let resting = self.ports.get_mut(port.usize())?.sent.pop_front()?;
        Some(self.take(resting))
    }

    /// The test's side: takes the oldest packet that was punted through the TAP of `port`.
    pub fn take_punt(&mut self, port: PortSlot) -> Option<Vec<u8>> {
        let resting = self.ports.get_mut(port.usize())?.punts.pop_front()?;
        Some(self.take(resting))
    }

    /// The bench's side: forgets what left through `port`, without copying it. Returns how many packets.
    pub fn discard_sent(&mut self, port: PortSlot) -> usize {
        let Some(state) = self.ports.get_mut(port.usize()) else {
            return 0;
        };
        let taken = state.sent.take_first(usize::MAX);
        for resting in taken {
            self.arena.put_free(*resting);
        }
        taken.len()
    }

    /// The test's side: what left through `from` arrives on `to`, without copying: a wire between two ports. Returns how
    /// many packets.
    pub fn wire(&mut self, from: PortSlot, to: PortSlot) -> usize {
        if to.usize() >= self.ports.len() {
            return 0;
        }
        let mut moved = 0;
        while let Some(resting) = self.ports.get_mut(from.usize()).and_then(|port| port.sent.pop_front()) {
            self.ports[to.usize()].received.push_back(resting);
            moved += 1;
        }
        moved
    }

    fn take(&mut self, resting: Resting) -> Vec<u8> {
        let bytes = resting.packet().to_vec();
        self.arena.put_free(resting);
        bytes
    }

    #[inline]
    fn take_batch(arena: &mut Arena, queue: &mut Queue, into: &mut FrameBatch) -> usize {
        let taken = queue.take_first(into.room());
        into.push_each(taken.iter().map(|resting| arena.hand_out(*resting)));
        taken.len()
    }

    fn has_input(&self) -> bool {
        self.ports
            .iter()
            .any(|port| !port.received.is_empty() || !port.from_kernel.is_empty())
    }
}

impl PacketIo for Memory {
    fn ports(&self) -> usize {
        self.ports.len()
    }

    #[inline]
    fn receive(&mut self, port: PortSlot, into: &mut FrameBatch) -> usize {
        let Some(port) = self.ports.get_mut(port.usize()) else {
            return 0;
        };
        Self::take_batch(&mut self.arena, &mut port.received, into)
    }

    #[inline]
    fn ask_ahead(&self, last: PortSlot) {
        let (first, behind) = self.ports.split_at((last.usize() + 1).min(self.ports.len()));
        let next = behind.iter().chain(first).find(|port| !port.received.is_empty());
        if let Some(port) = next {
            port.received.peek(ASKED_AHEAD).iter().for_each(Resting::ask);
        }
    }

    #[inline]
    fn transmit(&mut self, port: PortSlot, frame: Frame) -> Result<(), Frame> {
        match self.ports.get_mut(port.usize()) {
            Some(port) if port.transmit.len() < self.transmit_ring => {
                port.transmit.push_back(self.arena.take_back(frame));
                self.pending += 1;
                Ok(())
            }
            _ => Err(frame),
        }
    }

    #[inline]
    fn transmit_batch(&mut self, port: PortSlot, frames: &mut FrameBatch) {
        let Some(port) = self.ports.get_mut(port.usize()) else {
            return;
        };
        let room = self.transmit_ring.saturating_sub(port.transmit.len());
        let (arena, count) = (&mut self.arena, frames.len().min(room));
        port.transmit
            .push_each(count, |number| arena.take_back(frames.take_first(number)));
        frames.close_first(count);
        self.pending += count;
    }

    fn flush(&mut self) {
        if self.pending == 0 {
            return;
        }
        for port in &mut self.ports {
            port.sent.append(&mut port.transmit);
        }
        self.pending = 0;
    }

    fn allocate(&mut self) -> Option<Frame> {
        let free = self.arena.take_free()?;
        let mut frame = self.arena.hand_out(free);
        frame.set_len(0);
        Some(frame)
    }

    fn release(&mut self, frame: Frame) {
        let resting = self.arena.take_back(frame);
        self.arena.put_free(resting);
    }

    fn punt(&mut self, port: PortSlot, frame: &Frame) -> bool {
        let Some(state) = self.ports.get_mut(port.usize()) else {
            return false;
        };
        let stored = self.arena.store(frame.packet());
        stored.inspect(|packet| state.punts.push_back(*packet)).is_some()
    }

    fn receive_from_kernel(&mut self, port: PortSlot, into: &mut FrameBatch) -> usize {
        let Some(port) = self.ports.get_mut(port.usize()) else {
            return 0;
        };
        Self::take_batch(&mut self.arena, &mut port.from_kernel, into)
    }

    /// Without a wake descriptor nothing could end the wait, since packets come in only by `&mut self`: returns at once.
    fn wait(&mut self, timeout: Duration, wake: Option<BorrowedFd<'_>>) {
        let Some(wake) = wake else { return };
        if !self.has_input() {
            let timeout = Timespec {
                tv_sec: timeout.as_secs() as i64,
                tv_nsec: timeout.subsec_nanos().into(),
            };
            // A signal ends the wait early, which callers must expect anyway.
            let _ = poll(&mut [PollFd::from_borrowed_fd(wake, PollFlags::IN)], Some(&timeout));
        }
    }

    fn tx_pending(&self) -> bool {
        self.pending > 0
    }

    /// What was sent counts as `completion` until the test takes it; punts count as `transmit`.
    fn census(&mut self) -> FrameCensus {
        let sum = |of: fn(&Port) -> usize| self.ports.iter().map(of).sum();
        FrameCensus {
            free: self.arena.free(),
            fill: 0,
            received: sum(|port| port.received.len() + port.from_kernel.len()),
            transmit: sum(|port| port.transmit.len() + port.punts.len()),
            completion: sum(|port| port.sent.len()),
            outside: self.arena.outside(),
            total: self.arena.total(),
        }
    }
}

#[cfg(test)]
mod tests;

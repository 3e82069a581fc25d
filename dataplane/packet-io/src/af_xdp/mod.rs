//! Devices by AF_XDP: one UMEM per worker, shared by the sockets of all its (device, queue) pairs.
//!
//! Packets come from the XDP program (`tombolo-bpf`), which redirects them into the sockets that [`AfXdp::sockets`] shows;
//! this crate loads no program. Each socket has its own four rings; frames move between the rings and the worker as
//! [`Frame`]s, and [`FrameCensus`] accounts for each of them.
//!
//! Reading order: [`open`], `pool` (frames), `port` (rings), `ahead`, `tap` (the kernel), `wait`.

mod ahead;
mod open;
mod pool;
mod port;
mod tap;
mod wait;

pub use open::{AfXdpConfig, AfXdpPort, OpenError, PortMode};
pub use port::KernelDrops;
pub use tap::Tap;

use crate::batch::FrameBatch;
use crate::frame::{FRAME_SIZE, Frame};
use crate::packet_io::{FrameCensus, PacketIo, PortSlot};
use pool::Pool;
use port::Port;
use std::os::fd::BorrowedFd;
use std::time::Duration;
use tap::Beside;
use wait::Waiter;

/// The sockets of one worker.
pub struct AfXdp {
    ports: Vec<Port>,
    beside: Beside,
    pool: Pool,
    waiter: Waiter,
    modes: Vec<PortMode>,
    huge_pages: bool,
}

impl AfXdp {
    /// Opens a socket for each port of `config`, on devices of the calling thread's network namespace.
    ///
    /// # Errors
    /// When there is no memory for the frames, or a device, its queue or its socket is not to be had.
    pub fn open(config: AfXdpConfig) -> Result<Self, OpenError> {
        open::open(config)
    }

    /// The sockets, to be put into the XSKMAP at their device's row and queue.
    pub fn sockets(&self) -> impl Iterator<Item = (PortSlot, BorrowedFd<'_>)> {
        self.ports
            .iter()
            .enumerate()
            .map(|(slot, port)| (PortSlot(slot as u8), port.socket()))
    }

    /// What each port got, in the order of the slots.
    pub fn modes(&self) -> &[PortMode] {
        &self.modes
    }

    /// Bytes of all its frames.
    pub fn frame_bytes(&self) -> usize {
        self.pool.census().total * FRAME_SIZE
    }

    /// Whether the frames lie on pages of 2 MiB.
    pub fn huge_pages(&self) -> bool {
        self.huge_pages
    }

    /// What the kernel dropped on a port's socket (one system call).
    pub fn kernel_drops(&self, port: PortSlot) -> KernelDrops {
        self.ports.get(port.usize()).map(Port::kernel_drops).unwrap_or_default()
    }
}

impl PacketIo for AfXdp {
    fn ports(&self) -> usize {
        self.ports.len() + self.beside.len()
    }

    fn receive(&mut self, port: PortSlot, into: &mut FrameBatch) -> usize {
        self.ports
            .get_mut(port.usize())
            .map_or(0, |port| port.receive(&mut self.pool, into))
    }

    fn ask_ahead(&self, last: PortSlot) {
        let (first, behind) = self.ports.split_at((last.usize() + 1).min(self.ports.len()));
        let _ = behind.iter().chain(first).any(|port| port.ask_ahead(&self.pool));
    }

    fn transmit(&mut self, port: PortSlot, frame: Frame) -> Result<(), Frame> {
        match self.ports.get_mut(port.usize()) {
            Some(port) => port.transmit(&mut self.pool, frame),
            None => Err(frame),
        }
    }

    fn flush(&mut self) {
        for port in &mut self.ports {
            port.send();
            port.collect(&mut self.pool);
        }
        for port in &mut self.ports {
            port.refill(&mut self.pool);
        }
        self.beside.look();
    }

    fn allocate(&mut self) -> Option<Frame> {
        self.pool.allocate()
    }

    fn release(&mut self, frame: Frame) {
        self.pool.release(frame);
    }

    fn punt(&mut self, port: PortSlot, frame: &Frame) -> bool {
        match self.ports.get(port.usize()) {
            Some(port) => port.punt(frame.packet()),
            None => self.beside.punt(port.usize() - self.ports.len(), frame.packet()),
        }
    }

    fn receive_from_kernel(&mut self, port: PortSlot, into: &mut FrameBatch) -> usize {
        let devices = self.ports.len();
        match self.ports.get_mut(port.usize()) {
            Some(port) => port.receive_from_kernel(&mut self.pool, into),
            None => self.beside.receive(port.usize() - devices, &mut self.pool, into),
        }
    }

    fn wait(&mut self, timeout: Duration, wake: Option<BorrowedFd<'_>>) {
        self.waiter.wait(timeout, wake);
    }

    fn tx_pending(&self) -> bool {
        self.ports.iter().any(Port::tx_pending)
    }

    fn census(&mut self) -> FrameCensus {
        let mut census = self.pool.census();
        for port in &mut self.ports {
            port.census(&mut census);
        }
        census
    }
}

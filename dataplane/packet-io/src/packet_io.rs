//! What a worker sees of the world.

use crate::batch::FrameBatch;
use crate::frame::Frame;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// A port as one [`PacketIo`] numbers them: 0, 1, … in the order in which they were given to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortSlot(pub u8);

impl PortSlot {
    /// As a subscript.
    #[inline]
    pub fn usize(self) -> usize {
        usize::from(self.0)
    }
}

/// Where the frames of one backend are. Each frame is in exactly one place: [`FrameCensus::balanced`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameCensus {
    /// Free, in the backend's own pool.
    pub free: usize,
    /// Given to the kernel to receive into.
    pub fill: usize,
    /// Holding received packets that nobody took yet.
    pub received: usize,
    /// Queued for transmission.
    pub transmit: usize,
    /// Sent, not collected yet.
    pub completion: usize,
    /// Handed out as [`Frame`]s.
    pub outside: usize,
    /// All frames of the arena.
    pub total: usize,
}

impl FrameCensus {
    /// Whether every frame is accounted for once.
    pub fn balanced(&self) -> bool {
        self.free + self.fill + self.received + self.transmit + self.completion + self.outside == self.total
    }
}

/// Frames that [`PacketIo::ask_ahead`] asks for at a time: more requests than these are under way at once in no processor.
pub(crate) const ASKED_AHEAD: usize = 16;

/// A set of ports that one worker serves, with the frames they share.
///
/// No method allocates. A `PortSlot` that is out of range receives nothing and takes nothing.
pub trait PacketIo {
    /// Number of ports: slots 0 to `ports() - 1`.
    fn ports(&self) -> usize;

    /// Takes packets that arrived on `port`, as many as `into` has room for. Returns how many.
    fn receive(&mut self, port: PortSlot, into: &mut FrameBatch) -> usize;

    /// Asks memory for the first lines of frames that will be received next, as far as that is known: of the ports behind `last`, then
    /// of `last` itself. Takes nothing and waits for nothing.
    #[inline]
    fn ask_ahead(&self, last: PortSlot) {
        let _ = last;
    }

    /// Queues a frame for sending on `port`; [`PacketIo::flush`] sends it.
    ///
    /// # Errors
    /// Gives the frame back when the transmit ring is full (or, on a device, when it is shorter than a link header).
    fn transmit(&mut self, port: PortSlot, frame: Frame) -> Result<(), Frame>;

    /// Queues the frames of a batch, in their order; those that [`PacketIo::transmit`] would give back stay in it.
    #[inline]
    fn transmit_batch(&mut self, port: PortSlot, frames: &mut FrameBatch) {
        for place in 0..frames.len() {
            if let Some(frame) = frames.take(place)
                && let Err(refused) = self.transmit(port, frame)
            {
                frames.put_back(place, refused);
            }
        }
        frames.close_gaps();
    }

    /// Sends what is queued, collects frames that were sent, gives the kernel frames to receive into.
    fn flush(&mut self);

    /// A free frame with length 0, or none when all are in use.
    fn allocate(&mut self) -> Option<Frame>;

    /// Gives a frame back.
    fn release(&mut self, frame: Frame);

    /// Copies the packet into the kernel through the port's TAP. False when there is no TAP or it did not take it.
    fn punt(&mut self, port: PortSlot, frame: &Frame) -> bool;

    /// Takes packets that the kernel sends through the port's TAP. Only the worker of queue 0 gets any.
    fn receive_from_kernel(&mut self, port: PortSlot, into: &mut FrameBatch) -> usize;

    /// Sleeps until a packet or `wake` is ready, at most `timeout`; returns at once when something is ready already.
    fn wait(&mut self, timeout: Duration, wake: Option<BorrowedFd<'_>>);

    /// Whether queued frames still need [`PacketIo::flush`] before they are on their way.
    fn tx_pending(&self) -> bool;

    /// Counts the frames (reads the rings' positions, so not for every batch).
    fn census(&mut self) -> FrameCensus;
}

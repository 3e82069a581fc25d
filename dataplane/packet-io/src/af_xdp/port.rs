//! One socket: its four rings and its TAP.
//!
//! `posted` and `sending` count frames that the kernel holds, by what went into one ring and came out of its partner.

use super::ahead::Ahead;
use super::pool::Pool;
use super::tap::Tap;
use crate::batch::{BATCH, FrameBatch};
use crate::frame::Frame;
use crate::packet_io::{ASKED_AHEAD, FrameCensus};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue, TxQueue};

/// Frames that the kernel takes from a transmit ring per call in copy mode, unless told otherwise (`TX_BATCH_SIZE`).
const KERNEL_BATCH: usize = 32;
/// Shortest thing that can be sent: an Ethernet header, in bytes.
const LINK_HEADER: usize = 14;

/// After so many calls in a row without progress the device counts as stuck.
const FRUITLESS_MAX: u32 = 256;

/// Frames that the kernel dropped between the device and a socket, since the socket was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelDrops {
    /// The worker did not take packets fast enough.
    pub receive_ring_full: u64,
    /// No frame was there to receive into.
    pub fill_ring_empty: u64,
    /// Too long for a frame, and the like.
    pub other: u64,
    /// Descriptors that the kernel did not accept for sending.
    pub transmit_refused: u64,
}

pub(super) struct Rings {
    pub(super) receive: RxQueue,
    pub(super) transmit: TxQueue,
    pub(super) fill: FillQueue,
    pub(super) completion: CompQueue,
}

pub(super) struct Port {
    rings: Rings,
    tap: Option<Tap>,
    /// Frames given to the fill ring and not received yet; kept at `posted_target`.
    posted: usize,
    posted_target: usize,
    /// Frames queued here, to go into the transmit ring together.
    queued: Vec<FrameDesc>,
    /// Frames given to the transmit ring and not completed yet.
    sending: usize,
    transmit_ring: usize,
    /// Frames in the transmit ring that the kernel had not taken when it was last looked at.
    untaken: usize,
    /// How often in a row the kernel took none of them.
    fruitless: u32,
    /// What left the receive ring and was not handed out yet.
    ahead: Ahead<FrameDesc>,
    scratch: [FrameDesc; BATCH],
}

impl Port {
    pub(super) fn new(rings: Rings, tap: Option<Tap>, posted_target: usize, transmit_ring: usize) -> Self {
        Self {
            rings,
            tap,
            posted: 0,
            posted_target,
            queued: Vec::with_capacity(BATCH),
            sending: 0,
            transmit_ring,
            untaken: 0,
            fruitless: 0,
            ahead: Ahead::new(),
            scratch: [FrameDesc::default(); BATCH],
        }
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket is open as long as any of its queues lives, and the borrow of `self` keeps them.
        unsafe { BorrowedFd::borrow_raw(self.rings.receive.fd().as_raw_fd()) }
    }

    /// The TAP, if this worker reads it.
    pub(super) fn tap_to_read(&self) -> Option<BorrowedFd<'_>> {
        self.tap.as_ref().filter(|tap| tap.read).map(|tap| tap.fd.as_fd())
    }

    /// Hands out what arrived, as much as there is room for.
    pub(super) fn receive(&mut self, pool: &mut Pool, into: &mut FrameBatch) -> usize {
        let ring = &mut self.rings.receive;
        // SAFETY: the ring belongs to the pool's UMEM (`open`).
        let consume = |descriptors: &mut [FrameDesc]| unsafe { ring.consume(descriptors) };
        let room = into.room();
        let hand = |descriptor: &FrameDesc| into.push(pool.received(descriptor));
        let count = self.ahead.hand_out(room, consume, hand);
        self.posted -= count;
        count
    }

    /// Asks memory for the first of what is handed out next; false if nothing is known of that.
    #[inline]
    pub(super) fn ask_ahead(&self, pool: &Pool) -> bool {
        let waiting = self.ahead.waiting();
        let first = waiting.iter().take(ASKED_AHEAD);
        first.for_each(|descriptor| pool.ask(descriptor));
        !waiting.is_empty()
    }

    pub(super) fn transmit(&mut self, pool: &mut Pool, frame: Frame) -> Result<(), Frame> {
        if frame.len() < LINK_HEADER {
            return Err(frame); // the kernel would discard it without completing it
        }
        if self.queued.len() == BATCH {
            self.submit();
            if self.queued.len() == BATCH {
                return Err(frame);
            }
        }
        self.queued.push(pool.descriptor_to_send(frame));
        Ok(())
    }

    /// Puts queued frames into the ring and makes the kernel take them.
    pub(super) fn send(&mut self) {
        self.submit();
        if self.sending == 0 {
            return;
        }
        self.untaken = self.in_transmit_ring();
        let mut calls = self.untaken / KERNEL_BATCH + 1;
        while self.untaken > 0 && calls > 0 && self.rings.transmit.needs_wakeup() {
            let before = self.untaken;
            // An error is a device that went away or is down: no progress either.
            let _ = self.rings.transmit.wakeup();
            self.untaken = self.in_transmit_ring();
            if self.untaken == before {
                self.fruitless = self.fruitless.saturating_add(1);
                return;
            }
            calls -= 1;
        }
        self.fruitless = 0;
        self.submit();
    }

    /// Frames that were sent go back to the pool.
    pub(super) fn collect(&mut self, pool: &mut Pool) {
        while self.sending > 0 {
            // SAFETY: the ring belongs to the pool's UMEM (`open`).
            let count = unsafe { self.rings.completion.consume(&mut self.scratch) };
            for descriptor in &self.scratch[..count] {
                pool.put_free(descriptor);
            }
            self.sending -= count;
            if count < BATCH {
                return;
            }
        }
    }

    /// Tops the fill ring up.
    pub(super) fn refill(&mut self, pool: &mut Pool) {
        let mut given = 0;
        while self.posted < self.posted_target {
            let wanted = (self.posted_target - self.posted).min(BATCH);
            let room = (self.rings.fill.nb_free(wanted as u32) as usize).min(wanted);
            let mut count = 0;
            while count < room {
                let Some(descriptor) = pool.take_free() else { break };
                self.scratch[count] = descriptor;
                count += 1;
            }
            if count == 0 {
                break;
            }
            // SAFETY: the frames just left the pool and belong to the ring's UMEM.
            let taken = unsafe { self.rings.fill.produce(&self.scratch[..count]) };
            assert_eq!(taken, count, "the ring had room for them");
            self.posted += count;
            given += count;
        }
        if given > 0 && self.rings.fill.needs_wakeup() {
            // A driver that ran out of frames sleeps until it is polled; an error means that the device is gone.
            let _ = self.rings.fill.wakeup(self.rings.receive.fd_mut(), 0);
        }
    }

    /// A device that is down takes nothing however often it is asked: then there is nothing to stay awake for.
    pub(super) fn tx_pending(&self) -> bool {
        (!self.queued.is_empty() || self.untaken > 0) && self.fruitless < FRUITLESS_MAX
    }

    /// What the kernel dropped on this socket.
    pub(super) fn kernel_drops(&self) -> KernelDrops {
        let Ok(counts) = self.rings.receive.fd().xdp_statistics() else {
            return KernelDrops::default();
        };
        KernelDrops {
            receive_ring_full: counts.rx_ring_full(),
            fill_ring_empty: counts.rx_fill_ring_empty_descs(),
            other: counts.rx_dropped(),
            transmit_refused: counts.tx_invalid_descs(),
        }
    }

    pub(super) fn punt(&self, packet: &[u8]) -> bool {
        self.tap.as_ref().is_some_and(|tap| tap.punt(packet))
    }

    pub(super) fn receive_from_kernel(&mut self, pool: &mut Pool, into: &mut FrameBatch) -> usize {
        self.tap.as_ref().map_or(0, |tap| tap.receive(pool, into))
    }

    /// Adds the port's share.
    pub(super) fn census(&mut self, census: &mut FrameCensus) {
        let received = self.ahead.waiting().len() + self.rings.receive.nb_avail_exact() as usize;
        let completed = self.rings.completion.nb_avail_exact() as usize;
        census.received += received;
        census.fill += self.posted - received;
        census.completion += completed;
        census.transmit += self.queued.len() + self.sending - completed;
    }

    /// Moves queued frames into the ring, as many as fit.
    fn submit(&mut self) {
        if self.queued.is_empty() {
            return;
        }
        let wanted = self.queued.len();
        let count = (self.rings.transmit.nb_free(wanted as u32) as usize).min(wanted);
        // SAFETY: the frames are of the ring's UMEM, and their tokens ended when they were queued.
        let taken = unsafe { self.rings.transmit.produce(&self.queued[..count]) };
        assert_eq!(taken, count, "the ring had room for them");
        self.queued.drain(..count);
        self.sending += count;
        self.untaken += count;
    }

    fn in_transmit_ring(&mut self) -> usize {
        self.transmit_ring - self.rings.transmit.nb_free_exact() as usize
    }
}

//! TAPs as a worker uses them: its ports' own, and those beside, which are slots behind the devices'.

use super::pool::Pool;
use crate::batch::FrameBatch;
use rustix::event::{Timespec, epoll};
use rustix::io as syscall;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// TAPs that one call tells of; the others are told of next time.
const EVENTS: usize = 32;

/// The way into the kernel, non-blocking ([`crate::tap`]); each worker has a duplicate.
pub struct Tap {
    /// Its descriptor.
    pub fd: OwnedFd,
    /// Whether this worker also reads it (the worker of queue 0).
    pub read: bool,
}

impl Tap {
    pub(super) fn punt(&self, packet: &[u8]) -> bool {
        syscall::write(&self.fd, packet) == Ok(packet.len())
    }

    /// Reads what the kernel sends, as much as there is room for.
    pub(super) fn receive(&self, pool: &mut Pool, into: &mut FrameBatch) -> usize {
        if !self.read {
            return 0;
        }
        let before = into.len();
        while into.room() > 0 {
            let Some(mut frame) = pool.allocate() else { break };
            match syscall::read(&self.fd, frame.buffer_mut()) {
                Ok(length) if length > 0 => {
                    frame.set_len(length);
                    into.push(frame);
                }
                Ok(_) | Err(_) => {
                    pool.release(frame);
                    break;
                }
            }
        }
        into.len() - before
    }
}

/// TAPs without a device. There may be two for each of many VLANs, so one call asks which of them have something.
pub(super) struct Beside {
    taps: Vec<Tap>,
    ready: Vec<bool>,
    watch: Option<OwnedFd>,
}

impl Beside {
    pub(super) fn new(taps: Vec<Tap>) -> io::Result<Self> {
        let watch = if taps.iter().any(|tap| tap.read) {
            let watch = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            for (place, tap) in (0..).zip(&taps).filter(|(_, tap)| tap.read) {
                let data = epoll::EventData::new_u64(place);
                epoll::add(&watch, &tap.fd, data, epoll::EventFlags::IN)?;
            }
            Some(watch)
        } else {
            None
        };
        Ok(Self {
            ready: vec![true; taps.len()],
            taps,
            watch,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.taps.len()
    }

    /// Readable when one of the TAPs is.
    pub(super) fn watch(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    /// Asks which TAPs have something: once per round.
    pub(super) fn look(&mut self) {
        let Some(watch) = &self.watch else { return };
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // An error (a signal) leaves it to the next round.
        let mut events = [const { MaybeUninit::uninit() }; EVENTS];
        let Ok((events, _)) = epoll::wait(watch, &mut events[..], Some(&now)) else {
            return;
        };
        for event in events {
            if let Some(ready) = self.ready.get_mut(event.data.u64() as usize) {
                *ready = true;
            }
        }
    }

    pub(super) fn punt(&self, place: usize, packet: &[u8]) -> bool {
        self.taps.get(place).is_some_and(|tap| tap.punt(packet))
    }

    pub(super) fn receive(&mut self, place: usize, pool: &mut Pool, into: &mut FrameBatch) -> usize {
        match (self.taps.get(place), self.ready.get_mut(place)) {
            (Some(tap), Some(ready)) if *ready => {
                *ready = false;
                tap.receive(pool, into)
            }
            _ => 0,
        }
    }
}

//! How the two processes get at each other's descriptors: a private socket that the dataplane listens on.
//!
//! Control connects and says `Hello`. A dataplane that has regions offers them, with the eventfds; one that has none
//! asks for them, and is `Ready` once its workers run. The connection stays open: its end means that the other side died.
//! Neither side waits for the other except in the handshake: both ends have `as_fd` to poll and a `receive` that never blocks.

mod control;
mod dataplane;
mod message;
mod socket;

pub use control::{Adopted, ControlLink, EmptyDataplane, Reply};
pub use dataplane::{DataplaneLink, Listener, Request};
pub use message::{MESSAGE_MAX, Message, MessageError, PORT_ERRORS_MAX, PortError, WORKERS_MAX};
pub use socket::HandoffError;

use rustix::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Within the runtime directory: what only our own user may enter.
pub fn private_dir(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("private")
}

/// Within the runtime directory: the socket that the dataplane listens on.
pub fn socket_path(runtime_dir: &Path) -> PathBuf {
    private_dir(runtime_dir).join("dataplane.sock")
}

/// The descriptors of the three regions.
#[derive(Debug)]
pub struct RegionFds {
    /// Generations: `TablesRegion`.
    pub tables: OwnedFd,
    /// What workers write: `State`.
    pub state: OwnedFd,
    /// Secrets: held by the dataplane, mapped by control only.
    pub secrets: OwnedFd,
}

impl RegionFds {
    /// The descriptors in the order of the message.
    fn borrowed(&self) -> [BorrowedFd<'_>; 3] {
        use rustix::fd::AsFd;
        [self.tables.as_fd(), self.state.as_fd(), self.secrets.as_fd()]
    }
}

/// Eventfds that wake the other side.
#[derive(Debug)]
pub struct Wakes {
    /// One per worker: written by control, read by the sleeping worker.
    pub workers: Vec<OwnedFd>,
    /// Written by workers, read by control: there are events.
    pub control: OwnedFd,
}

impl Wakes {
    /// Fresh eventfds for so many workers.
    pub fn create(workers: usize) -> Result<Wakes, HandoffError> {
        let fresh = || {
            use rustix::event::{EventfdFlags, eventfd};
            eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(socket::system("create an eventfd"))
        };
        let control = fresh()?;
        let workers = (0..workers).map(|_| fresh()).collect::<Result<_, _>>()?;
        Ok(Wakes { workers, control })
    }

    fn borrowed(&self) -> Vec<BorrowedFd<'_>> {
        use rustix::fd::AsFd;
        self.workers
            .iter()
            .map(AsFd::as_fd)
            .chain([self.control.as_fd()])
            .collect()
    }
}

/// The descriptors of a message, in its order; `Message::from_bytes` has counted them.
struct Descriptors(std::vec::IntoIter<OwnedFd>);

impl Descriptors {
    fn new(descriptors: Vec<OwnedFd>) -> Descriptors {
        Descriptors(descriptors.into_iter())
    }

    fn next(&mut self) -> Result<OwnedFd, HandoffError> {
        self.0.next().ok_or(HandoffError::Unexpected("too few descriptors"))
    }

    fn regions(&mut self) -> Result<RegionFds, HandoffError> {
        Ok(RegionFds {
            tables: self.next()?,
            state: self.next()?,
            secrets: self.next()?,
        })
    }

    fn wakes(&mut self, workers: u16) -> Result<Wakes, HandoffError> {
        let workers = (0..workers).map(|_| self.next()).collect::<Result<_, _>>()?;
        Ok(Wakes {
            workers,
            control: self.next()?,
        })
    }
}

/// For the fuzzer: bytes and a number of descriptors, as from the other end. Must not panic; what is read must survive the trip back.
#[doc(hidden)]
pub fn fuzz_message(data: &[u8]) {
    let Some((&descriptors, bytes)) = data.split_first() else {
        return;
    };
    if let Ok(message) = Message::from_bytes(bytes, usize::from(descriptors)) {
        let again = Message::from_bytes(&message.to_bytes(), message.descriptors());
        assert_eq!(again, Ok(message));
    }
}

#[cfg(test)]
mod tests;

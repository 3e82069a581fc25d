//! Control's end: it connects, adopts what runs, or supplies the regions.

use super::dataplane::new_socket;
use super::message::{Message, PortError};
use super::socket::{HandoffError, Socket, system};
use super::{Descriptors, RegionFds, Wakes, socket_path};
use crate::identity::{LAYOUT_HASH, LAYOUT_VERSION};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, SocketFlags};
use rustix::process::{Pid, PidfdFlags};
use std::path::Path;
use std::time::{Duration, Instant};

/// What a dataplane turned out to have.
#[derive(Debug)]
pub enum Adopted {
    /// Workers, regions, sessions: take them over.
    Running {
        /// Stays open; its end means that the dataplane died.
        link: ControlLink,
        /// What it runs on.
        regions: RegionFds,
        /// What wakes its workers, and us.
        wakes: Wakes,
    },
    /// Nothing yet: give it regions.
    Empty(EmptyDataplane),
}

/// A dataplane that waits for regions.
#[derive(Debug)]
pub struct EmptyDataplane {
    link: ControlLink,
}

/// What the dataplane says after the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Ports and steering are as the generation says, except for these ports.
    Applied {
        /// The generation.
        generation: u64,
        /// What is not as it should be.
        errors: Vec<PortError>,
    },
}

/// A connection to the dataplane.
#[derive(Debug)]
pub struct ControlLink {
    socket: Socket,
    pidfd: OwnedFd,
}

impl ControlLink {
    /// Connects and greets: what is there? `timeout` bounds the wait for the answer.
    pub fn connect(runtime_dir: &Path, timeout: Duration) -> Result<Adopted, HandoffError> {
        let deadline = Instant::now() + timeout;
        let path = socket_path(runtime_dir);
        let address = SocketAddrUnix::new(&path).map_err(system("name the handoff socket"))?;
        let fd = new_socket(SocketFlags::NONBLOCK)?;
        match rustix::net::connect(&fd, &address) {
            Ok(()) => {}
            Err(Errno::NOENT | Errno::CONNREFUSED) => return Err(HandoffError::NobodyThere(path)),
            Err(Errno::AGAIN) => return Err(HandoffError::TimedOut),
            Err(error) => {
                return Err(HandoffError::System {
                    step: "connect to the dataplane",
                    error,
                });
            }
        }
        let socket = Socket::new(fd)?;
        let pid = Pid::from_raw(socket.peer_pid()).ok_or(HandoffError::Closed)?;
        // If the process died meanwhile and another took its number, the connection has ended: no offer will come.
        let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(Errno::SRCH) => return Err(HandoffError::Closed),
            Err(error) => {
                return Err(HandoffError::System {
                    step: "watch the dataplane's process",
                    error,
                });
            }
        };
        ControlLink { socket, pidfd }.greet(deadline)
    }

    fn greet(self, deadline: Instant) -> Result<Adopted, HandoffError> {
        self.socket.send(
            &Message::Hello {
                layout_version: LAYOUT_VERSION,
                layout_hash: LAYOUT_HASH,
            },
            &[],
        )?;
        let (message, descriptors) = self.socket.receive_until(deadline)?;
        let mut descriptors = Descriptors::new(descriptors);
        match message {
            Message::Offer { workers: None, .. } => Ok(Adopted::Empty(EmptyDataplane { link: self })),
            Message::Offer {
                workers: Some(workers), ..
            } => {
                let regions = descriptors.regions()?;
                Ok(Adopted::Running {
                    link: self,
                    regions,
                    wakes: descriptors.wakes(workers)?,
                })
            }
            Message::Refused {
                layout_version: version,
                layout_hash: hash,
            } => Err(HandoffError::OtherLayout { version, hash }),
            Message::Hello { .. }
            | Message::Regions { .. }
            | Message::Ready { .. }
            | Message::Published { .. }
            | Message::Applied { .. } => Err(HandoffError::Unexpected("no offer")),
        }
    }

    /// Says that a generation is current; a [`Reply::Applied`] will follow.
    pub fn published(&self, generation: u64) -> Result<(), HandoffError> {
        self.socket.send(&Message::Published { generation }, &[])
    }

    /// What the dataplane says, or `None` if it says nothing now. `Closed` when it is gone.
    pub fn receive(&self) -> Result<Option<Reply>, HandoffError> {
        self.socket.receive()?.map(|(message, _)| reply(message)).transpose()
    }

    /// What the dataplane says, waited for.
    pub fn receive_within(&self, timeout: Duration) -> Result<Reply, HandoffError> {
        self.socket
            .receive_until(Instant::now() + timeout)
            .and_then(|(message, _)| reply(message))
    }

    /// The dataplane's process id.
    pub fn peer_pid(&self) -> i32 {
        self.socket.peer_pid()
    }

    /// Readable once the dataplane's process is dead: only then may [`Publisher::dataplane_gone`](crate::publish::Publisher::dataplane_gone)
    /// be said.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Whether the dataplane's process is dead.
    pub fn is_dead(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&now)), Ok(1))
    }
}

impl AsFd for ControlLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl EmptyDataplane {
    /// Gives it regions for so many workers and waits until they run.
    pub fn give(
        self,
        regions: &RegionFds,
        workers: u16,
        timeout: Duration,
    ) -> Result<(ControlLink, Wakes), HandoffError> {
        self.link
            .socket
            .send(&Message::Regions { workers }, &regions.borrowed())?;
        let (message, descriptors) = self.link.socket.receive_until(Instant::now() + timeout)?;
        match message {
            Message::Ready { workers: running } if running == workers => {
                Ok((self.link, Descriptors::new(descriptors).wakes(running)?))
            }
            Message::Ready { .. } => Err(HandoffError::Unexpected("another number of workers")),
            Message::Hello { .. }
            | Message::Offer { .. }
            | Message::Regions { .. }
            | Message::Published { .. }
            | Message::Applied { .. }
            | Message::Refused { .. } => Err(HandoffError::Unexpected("no word that it is ready")),
        }
    }

    /// The connection as it is now.
    pub fn link(&self) -> &ControlLink {
        &self.link
    }
}

fn reply(message: Message) -> Result<Reply, HandoffError> {
    match message {
        Message::Applied { generation, errors } => Ok(Reply::Applied { generation, errors }),
        Message::Hello { .. }
        | Message::Offer { .. }
        | Message::Regions { .. }
        | Message::Ready { .. }
        | Message::Published { .. }
        | Message::Refused { .. } => Err(HandoffError::Unexpected("a message of the handshake")),
    }
}

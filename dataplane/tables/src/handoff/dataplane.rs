//! The dataplane's end: it listens, says what it has, and takes what it lacks.

use super::message::{Message, PortError};
use super::socket::{HandoffError, Socket, system};
use super::{Descriptors, RegionFds, Wakes, private_dir, socket_path};
use crate::identity::{LAYOUT_HASH, LAYOUT_VERSION};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::path::{Path, PathBuf};

/// Listens for control. Does not remove the socket when dropped: the next dataplane replaces it.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
}

impl Listener {
    /// Makes the private directory (mode 0700) and the socket in it; replaces what a dead dataplane left.
    pub fn bind(runtime_dir: &Path) -> Result<Listener, HandoffError> {
        make_private_dir(&private_dir(runtime_dir))?;
        let path = socket_path(runtime_dir);
        remove_stale(&path)?;
        let fd = new_socket(SocketFlags::NONBLOCK)?;
        let address = SocketAddrUnix::new(&path).map_err(system("name the handoff socket"))?;
        match rustix::net::bind(&fd, &address) {
            Ok(()) => {}
            Err(Errno::ADDRINUSE) => return Err(HandoffError::InUse(path)),
            Err(error) => {
                return Err(HandoffError::System {
                    step: "bind the handoff socket",
                    error,
                });
            }
        }
        rustix::fs::chmod(&path, Mode::RUSR | Mode::WUSR).map_err(system("protect the handoff socket"))?;
        rustix::net::listen(&fd, 4).map_err(system("listen on the handoff socket"))?;
        Ok(Listener { fd })
    }

    /// The next control that connects, or `None` if there is none now. A process of another user is an error; go on listening.
    pub fn accept(&self) -> Result<Option<DataplaneLink>, HandoffError> {
        match rustix::net::accept_with(&self.fd, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(fd) => Ok(Some(DataplaneLink {
                socket: Socket::new(fd)?,
                greeted: false,
            })),
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
            Err(error) => Err(HandoffError::System {
                step: "accept on the handoff socket",
                error,
            }),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What control asks of the dataplane.
#[derive(Debug)]
pub enum Request {
    /// It was built for our layout: answer with [`DataplaneLink::offer`].
    Hello,
    /// Run so many workers on these regions: answer with [`DataplaneLink::ready`].
    Regions {
        /// Workers that are to run.
        workers: u16,
        /// What they run on.
        regions: RegionFds,
    },
    /// That generation is current: bring ports and steering up to it and answer with [`DataplaneLink::applied`].
    Published {
        /// Its number.
        generation: u64,
    },
}

/// A connection from control.
#[derive(Debug)]
pub struct DataplaneLink {
    socket: Socket,
    greeted: bool,
}

impl DataplaneLink {
    /// Control's next request, or `None` if there is none now. After any error the connection is of no use: drop it. A control
    /// built for another layout is told so here and is the error `OtherLayout`.
    pub fn receive(&mut self) -> Result<Option<Request>, HandoffError> {
        let Some((message, descriptors)) = self.socket.receive()? else {
            return Ok(None);
        };
        let mut descriptors = Descriptors::new(descriptors);
        match message {
            Message::Hello {
                layout_version,
                layout_hash,
            } => self.greet(layout_version, layout_hash).map(Some),
            Message::Regions { .. } | Message::Published { .. } if !self.greeted => {
                Err(HandoffError::Unexpected("a request before its hello"))
            }
            Message::Regions { workers } => Ok(Some(Request::Regions {
                workers,
                regions: descriptors.regions()?,
            })),
            Message::Published { generation } => Ok(Some(Request::Published { generation })),
            Message::Offer { .. } | Message::Ready { .. } | Message::Applied { .. } | Message::Refused { .. } => {
                Err(HandoffError::Unexpected("a dataplane's message"))
            }
        }
    }

    fn greet(&mut self, version: u32, hash: u64) -> Result<Request, HandoffError> {
        if (version, hash) != (LAYOUT_VERSION, LAYOUT_HASH) {
            let refused = Message::Refused {
                layout_version: LAYOUT_VERSION,
                layout_hash: LAYOUT_HASH,
            };
            self.socket.send(&refused, &[])?;
            return Err(HandoffError::OtherLayout { version, hash });
        }
        self.greeted = true;
        Ok(Request::Hello)
    }

    /// Offers what this dataplane runs on, or says that it has nothing yet.
    pub fn offer(&self, running: Option<(&RegionFds, &Wakes)>) -> Result<(), HandoffError> {
        let pid = std::process::id();
        match running {
            None => self.socket.send(&Message::Offer { pid, workers: None }, &[]),
            Some((regions, wakes)) => {
                let mut descriptors = regions.borrowed().to_vec();
                descriptors.extend(wakes.borrowed());
                self.socket.send(
                    &Message::Offer {
                        pid,
                        workers: Some(worker_count(wakes)?),
                    },
                    &descriptors,
                )
            }
        }
    }

    /// Says that the workers run.
    pub fn ready(&self, wakes: &Wakes) -> Result<(), HandoffError> {
        self.socket.send(
            &Message::Ready {
                workers: worker_count(wakes)?,
            },
            &wakes.borrowed(),
        )
    }

    /// Says that ports and steering are as the generation says, except for `errors` (the first 64 are told).
    pub fn applied(&self, generation: u64, errors: Vec<PortError>) -> Result<(), HandoffError> {
        self.socket.send(&Message::Applied { generation, errors }, &[])
    }

    /// Control's process id.
    pub fn peer_pid(&self) -> i32 {
        self.socket.peer_pid()
    }
}

impl AsFd for DataplaneLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn worker_count(wakes: &Wakes) -> Result<u16, HandoffError> {
    u16::try_from(wakes.workers.len()).map_err(|_| super::MessageError::Field("workers").into())
}

pub(super) fn new_socket(flags: SocketFlags) -> Result<OwnedFd, HandoffError> {
    rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags | SocketFlags::CLOEXEC,
        None,
    )
    .map_err(system("create a socket"))
}

/// A directory of our own that nobody else may enter; made, or brought to that mode, if it is ours.
fn make_private_dir(path: &Path) -> Result<(), HandoffError> {
    match rustix::fs::mkdir(path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => {
            return Err(HandoffError::System {
                step: "create the private directory",
                error,
            });
        }
    }
    let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| match error {
        Errno::NOTDIR | Errno::LOOP => HandoffError::Directory(path.to_path_buf()),
        error => HandoffError::System {
            step: "open the private directory",
            error,
        },
    })?;
    let stat = rustix::fs::fstat(&directory).map_err(system("check the private directory"))?;
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(HandoffError::Directory(path.to_path_buf()));
    }
    // The umask may have taken bits from mkdir's mode, and an older directory may have had more.
    rustix::fs::fchmod(&directory, Mode::RWXU).map_err(system("protect the private directory"))
}

/// Removes a socket that nobody listens on any more.
fn remove_stale(path: &PathBuf) -> Result<(), HandoffError> {
    let address = SocketAddrUnix::new(path).map_err(system("name the handoff socket"))?;
    match rustix::net::connect(&new_socket(SocketFlags::NONBLOCK)?, &address) {
        Ok(()) | Err(Errno::AGAIN) => Err(HandoffError::InUse(path.clone())),
        Err(Errno::NOENT) => Ok(()),
        Err(Errno::CONNREFUSED) => match rustix::fs::unlink(path) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(HandoffError::System {
                step: "remove the stale handoff socket",
                error,
            }),
        },
        Err(error) => Err(HandoffError::System {
            step: "look at the old handoff socket",
            error,
        }),
    }
}

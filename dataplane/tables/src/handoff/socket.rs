//! The socket below: one message per datagram of a SOCK_SEQPACKET connection, descriptors by SCM_RIGHTS, the peer's uid
//! checked before anything is read.

use super::message::{MESSAGE_MAX, Message, MessageError, WORKERS_MAX};
use core::fmt;
use core::mem::MaybeUninit;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const DESCRIPTORS_MAX: usize = 3 + WORKERS_MAX + 1;

/// Why the two processes could not agree.
#[derive(Debug)]
pub enum HandoffError {
    /// The kernel refused a step.
    System {
        /// The step, as a verb phrase.
        step: &'static str,
        /// The kernel's answer.
        error: Errno,
    },
    /// Nobody listens: no dataplane runs for this runtime directory.
    NobodyThere(PathBuf),
    /// Somebody listens already: a dataplane runs for this runtime directory.
    InUse(PathBuf),
    /// The directory belongs to somebody else, is no directory, or others may enter it.
    Directory(PathBuf),
    /// The process at the other end belongs to another user.
    WrongUser {
        /// Its user id.
        uid: u32,
    },
    /// The other end said something impossible.
    Malformed(MessageError),
    /// The other end said something that does not belong here.
    Unexpected(&'static str),
    /// The other end was built for another layout of the shared memory.
    OtherLayout {
        /// Its layout version.
        version: u32,
        /// Its layout hash.
        hash: u64,
    },
    /// The other end died or closed.
    Closed,
    /// No answer in time.
    TimedOut,
}

impl fmt::Display for HandoffError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandoffError::System { step, error } => write!(f, "cannot {step}: {error}"),
            HandoffError::NobodyThere(path) => write!(f, "no dataplane listens on {}", path.display()),
            HandoffError::InUse(path) => write!(f, "a dataplane listens on {} already", path.display()),
            HandoffError::Directory(path) => {
                write!(
                    f,
                    "{} is not a directory of our own that nobody else may enter (mode 0700)",
                    path.display()
                )
            }
            HandoffError::WrongUser { uid } => write!(f, "the other end belongs to user {uid}"),
            HandoffError::Malformed(why) => write!(f, "malformed message from the other end: {why}"),
            HandoffError::Unexpected(what) => write!(f, "the other end sent {what} where it does not belong"),
            HandoffError::OtherLayout { version, hash } => write!(
                f,
                "the other end has layout {version} ({hash:016x}): tombolod and tombolo-dataplane must be of one release"
            ),
            HandoffError::Closed => f.write_str("the other end is gone"),
            HandoffError::TimedOut => f.write_str("the other end did not answer in time"),
        }
    }
}

impl std::error::Error for HandoffError {}

impl From<MessageError> for HandoffError {
    fn from(why: MessageError) -> Self {
        HandoffError::Malformed(why)
    }
}

pub(super) fn system(step: &'static str) -> impl Fn(Errno) -> HandoffError {
    move |error| HandoffError::System { step, error }
}

/// A connection to a process of our own user.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    peer_pid: i32,
}

impl Socket {
    /// Takes a connected socket, if the other end is us or root.
    pub(super) fn new(fd: OwnedFd) -> Result<Socket, HandoffError> {
        let peer = rustix::net::sockopt::socket_peercred(&fd).map_err(system("ask who the other end is"))?;
        let ours = rustix::process::geteuid();
        if peer.uid != ours && !peer.uid.is_root() {
            return Err(HandoffError::WrongUser { uid: peer.uid.as_raw() });
        }
        Ok(Socket {
            fd,
            peer_pid: peer.pid.as_raw_nonzero().get(),
        })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn peer_pid(&self) -> i32 {
        self.peer_pid
    }

    /// Sends a message with its descriptors. Does not wait: the other end reads each message before it sends the next, so
    /// that a full socket means it is stuck.
    pub(super) fn send(&self, message: &Message, descriptors: &[BorrowedFd<'_>]) -> Result<(), HandoffError> {
        if message.descriptors() != descriptors.len() {
            let received = descriptors.len();
            return Err(MessageError::Descriptors {
                expected: message.descriptors(),
                received,
            }
            .into());
        }
        let bytes = message.to_bytes();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(MessageError::Field("workers").into());
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        loop {
            match rustix::net::sendmsg(&self.fd, &[IoSlice::new(&bytes)], &mut control, flags) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(HandoffError::Closed),
                Err(error) => {
                    return Err(HandoffError::System {
                        step: "send to the other end",
                        error,
                    });
                }
            }
        }
    }

    /// The next message, or `None` if there is none now.
    pub(super) fn receive(&self) -> Result<Option<(Message, Vec<OwnedFd>)>, HandoffError> {
        let mut bytes = [0u8; MESSAGE_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let received = loop {
            match rustix::net::recvmsg(&self.fd, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
                Ok(received) => break received,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::CONNRESET) => return Err(HandoffError::Closed),
                Err(error) => {
                    return Err(HandoffError::System {
                        step: "receive from the other end",
                        error,
                    });
                }
            }
        };
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        if received.bytes == 0 {
            return Err(HandoffError::Closed);
        }
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(MessageError::Length(received.bytes).into());
        }
        let message = Message::from_bytes(&bytes[..received.bytes], descriptors.len())?;
        Ok(Some((message, descriptors)))
    }

    /// The next message, waited for until `deadline`.
    pub(super) fn receive_until(&self, deadline: Instant) -> Result<(Message, Vec<OwnedFd>), HandoffError> {
        loop {
            if let Some(received) = self.receive()? {
                return Ok(received);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(HandoffError::TimedOut);
            }
            wait_readable(&self.fd, left)?;
        }
    }
}

/// Waits until `fd` can be read, at most `timeout`.
pub(super) fn wait_readable(fd: &OwnedFd, timeout: Duration) -> Result<(), HandoffError> {
    let timeout = Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(timeout.subsec_nanos()),
    };
    match rustix::event::poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(HandoffError::System {
            step: "wait for the other end",
            error,
        }),
    }
}

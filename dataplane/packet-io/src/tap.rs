//! TAP devices: the way of a punted packet into the kernel, and of the kernel's own packets to a port.

use rustix::fs::{Mode, OFlags};
use rustix::io as syscall;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

const IFF_TAP: libc::c_short = 0x0002;
const IFF_NO_PI: libc::c_short = 0x1000;
const IFF_MULTI_QUEUE: libc::c_short = 0x0100;

/// `struct ifreq` as far as `TUNSETIFF` reads it.
#[repr(C)]
struct Request {
    name: [libc::c_char; libc::IFNAMSIZ],
    flags: libc::c_short,
    rest: [u8; 22],
}

/// Opens the TAP device `name` in the calling thread's network namespace and creates it if it is not there. Frames are
/// plain Ethernet, reads and writes do not block; the device goes away with its last descriptor. MAC address, MTU and
/// link state are set by netlink (the control process does).
///
/// # Errors
/// When the name is not 1 to 15 bytes, or the kernel refuses (root or CAP_NET_ADMIN needed).
pub fn open(name: &str) -> io::Result<OwnedFd> {
    open_with(name, IFF_TAP | IFF_NO_PI)
}

/// As [`open`], for the workers of several queues: each call adds a queue with a descriptor of its own.
///
/// # Errors
/// As [`open`].
pub fn open_queue(name: &str) -> io::Result<OwnedFd> {
    open_with(name, IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE)
}

fn open_with(name: &str, flags: libc::c_short) -> io::Result<OwnedFd> {
    let name = CString::new(name)?;
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() >= libc::IFNAMSIZ {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "an interface name has 1 to 15 bytes",
        ));
    }
    let mut request = Request {
        name: [0; libc::IFNAMSIZ],
        flags,
        rest: [0; 22],
    };
    for (place, &byte) in request.name.iter_mut().zip(bytes) {
        *place = byte as libc::c_char;
    }
    let fd = rustix::fs::open(
        "/dev/net/tun",
        OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    // SAFETY: TUNSETIFF reads and writes one `struct ifreq`, which `request` is as large as.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(fd)
}

/// Another descriptor of the same queue, for another worker's punts.
///
/// # Errors
/// When the process has too many descriptors.
pub fn duplicate(tap: &OwnedFd) -> io::Result<OwnedFd> {
    Ok(syscall::fcntl_dupfd_cloexec(tap, 0)?)
}

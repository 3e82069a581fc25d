//! Opening a worker's UMEM and sockets.

use super::AfXdp;
use super::pool::Pool;
use super::port::{Port, Rings};
use super::tap::{Beside, Tap};
use super::wait::Waiter;
use crate::frame::{FRAME_CAPACITY, FRAME_SIZE};
use std::error::Error;
use std::ffi::CString;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;
use std::{fmt, io, mem, thread};
use xsk_rs::config::{BindFlags, FrameSize, Interface, LibxdpFlags, QueueSize, SocketConfig, UmemConfig, XdpFlags};
use xsk_rs::{Socket, Umem};

/// After a restart the kernel may hold a queue for some milliseconds: tries, and the pause between them.
const BUSY_TRIES: u32 = 100;
const BUSY_PAUSE: Duration = Duration::from_millis(10);
/// A 2 MiB page holds so many frames.
const FRAMES_PER_HUGE_PAGE: u32 = (2 << 20) / FRAME_SIZE as u32;
/// `XDP_MAX_TX_SKB_BUDGET`: frames that one call may send in copy mode (Linux 6.18).
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
const TX_BUDGET: u32 = 128;

/// What a worker needs.
pub struct AfXdpConfig {
    /// Its ports, at most 255; slot = position.
    pub ports: Vec<AfXdpPort>,
    /// More ways into the kernel, of VLAN ports: the slots behind those of `ports`. Nothing is received or sent there but
    /// what the kernel sends and gets. All slots together are at most 255.
    pub taps: Vec<Tap>,
    /// Frames of the UMEM, rounded up to whole 2 MiB pages. Half of them at most wait in fill and receive rings.
    pub frames: u32,
    /// Slots of each ring, a power of two.
    pub ring_size: u32,
    /// Whether to try hugepages and zero-copy before normal pages and copy mode.
    pub huge_pages: bool,
    /// See `huge_pages`.
    pub zero_copy: bool,
}

/// One (device, queue) pair.
pub struct AfXdpPort {
    /// Name of the device in the calling thread's network namespace.
    pub device: String,
    /// Its receive and transmit queue.
    pub queue: u32,
    /// The way into the kernel, non-blocking ([`crate::tap`]); each worker has a duplicate.
    pub tap: Option<OwnedFd>,
    /// Whether this worker also reads the TAP (the worker of queue 0).
    pub read_tap: bool,
}

impl Default for AfXdpConfig {
    fn default() -> Self {
        Self {
            ports: Vec::new(),
            taps: Vec::new(),
            frames: 8192,
            ring_size: 2048,
            huge_pages: true,
            zero_copy: true,
        }
    }
}

/// What a port got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMode {
    /// The device.
    pub device: String,
    /// Its queue.
    pub queue: u32,
    /// The driver writes straight into frames; else the kernel copies.
    pub zero_copy: bool,
}

/// Why a worker's sockets could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// A configured number is impossible.
    Config(String),
    /// No memory for the frames (bytes asked for).
    Memory(u64, io::Error),
    /// A socket could not be bound.
    Socket {
        /// The device.
        device: String,
        /// Its queue.
        queue: u32,
        /// What the kernel said.
        error: io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Config(text) => write!(f, "AF_XDP: {text}"),
            OpenError::Memory(bytes, error) => write!(f, "AF_XDP: no memory for {bytes} bytes of frames: {error}"),
            OpenError::Socket { device, queue, error } => {
                write!(f, "AF_XDP: queue {queue} of {device}: {error}")?;
                if self.is_busy() {
                    write!(f, " (another program holds this queue)")?;
                }
                Ok(())
            }
        }
    }
}

impl Error for OpenError {}

impl OpenError {
    /// Whether another program (or one that is just ending) holds the queue.
    pub fn is_busy(&self) -> bool {
        match self {
            OpenError::Socket { error, .. } => error.raw_os_error() == Some(libc::EBUSY),
            OpenError::Config(_) | OpenError::Memory(..) => false,
        }
    }
}

pub(super) fn open(mut config: AfXdpConfig) -> Result<AfXdp, OpenError> {
    let slots = config.ports.len() + config.taps.len();
    if config.ports.is_empty() || slots > usize::from(u8::MAX) {
        return Err(OpenError::Config(format!("{slots} ports, 1 to 255 are possible")));
    }
    let beside = Beside::new(mem::take(&mut config.taps));
    let beside = beside.map_err(|error| OpenError::Config(format!("TAPs cannot be watched: {error}")))?;
    // All sockets of a UMEM have the copy mode of the first, so zero-copy is had for all of them or for none.
    let preferred = if config.zero_copy {
        BindFlags::XDP_ZEROCOPY
    } else {
        BindFlags::XDP_COPY
    };
    let opened = match open_sockets(&config, preferred) {
        Err(error) if config.zero_copy && !error.is_busy() => open_sockets(&config, BindFlags::XDP_COPY),
        opened => opened,
    };
    let Opened {
        pool,
        rings,
        huge_pages,
    } = opened?;
    let ports = mem::take(&mut config.ports);
    Ok(assemble(ports, beside, &config, pool, rings, huge_pages))
}

struct Opened {
    pool: Pool,
    rings: Vec<Rings>,
    huge_pages: bool,
}

fn open_sockets(config: &AfXdpConfig, copy_mode: BindFlags) -> Result<Opened, OpenError> {
    let (pool, huge_pages) = open_umem(config)?;
    let socket_config = SocketConfig::builder()
        .rx_queue_size(queue_size(config.ring_size)?)
        .tx_queue_size(queue_size(config.ring_size)?)
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .xdp_flags(XdpFlags::empty())
        .bind_flags(copy_mode | BindFlags::XDP_USE_NEED_WAKEUP)
        .build();
    let bind = |port: &AfXdpPort| bind_patiently(socket_config, pool.umem(), port);
    let rings = config.ports.iter().map(bind).collect::<Result<Vec<_>, _>>()?;
    Ok(Opened {
        pool,
        rings,
        huge_pages,
    })
}

fn open_umem(config: &AfXdpConfig) -> Result<(Pool, bool), OpenError> {
    let ring = queue_size(config.ring_size)?;
    let frame_size = FrameSize::new(FRAME_SIZE as u32).map_err(|error| OpenError::Config(error.to_string()))?;
    let umem_config = UmemConfig::builder()
        .frame_size(frame_size)
        .fill_queue_size(ring)
        .comp_queue_size(ring)
        .build()
        .map_err(|error| OpenError::Config(error.to_string()))?;
    assert_eq!(
        umem_config.mtu() as usize,
        FRAME_CAPACITY,
        "the kernel's headroom is the one that frames assume"
    );
    let frames = config.frames.clamp(1, 1 << 24).next_multiple_of(FRAMES_PER_HUGE_PAGE);
    let frames = NonZeroU32::new(frames).expect("rounded up from at least one");
    let attempts = if config.huge_pages {
        &[true, false][..]
    } else {
        &[false][..]
    };
    let mut error = io::Error::other("not tried");
    for &huge in attempts {
        match Umem::new(umem_config, frames, huge) {
            Ok((umem, descriptors)) => return Ok((Pool::new(umem, descriptors), huge)),
            Err(refused) => error = os_error(&refused),
        }
    }
    Err(OpenError::Memory(u64::from(frames.get()) * FRAME_SIZE as u64, error))
}

/// Binds one socket; a queue that is still busy is tried again for about a second.
fn bind_patiently(config: SocketConfig, umem: &Umem, port: &AfXdpPort) -> Result<Rings, OpenError> {
    let refused = |error| OpenError::Socket {
        device: port.device.clone(),
        queue: port.queue,
        error,
    };
    let name = CString::new(port.device.as_str()).map_err(|error| refused(error.into()))?;
    let interface = Interface::new(name);
    let mut tries = BUSY_TRIES;
    loop {
        // SAFETY: the flag that inhibits libxdp's own program is set, which is what the contract asks for.
        let bound = unsafe { Socket::new(config, umem, &interface, port.queue) };
        let error = match bound {
            Ok((transmit, receive, Some((fill, completion)))) => {
                return Ok(Rings {
                    receive,
                    transmit,
                    fill,
                    completion,
                });
            }
            Ok((_, _, None)) => io::Error::other("the same queue of the same device twice"),
            Err(error) => os_error(&error),
        };
        tries -= 1;
        if error.raw_os_error() != Some(libc::EBUSY) || tries == 0 {
            return Err(refused(error));
        }
        thread::sleep(BUSY_PAUSE);
    }
}

fn assemble(
    ports: Vec<AfXdpPort>,
    beside: Beside,
    config: &AfXdpConfig,
    mut pool: Pool,
    rings: Vec<Rings>,
    huge_pages: bool,
) -> AfXdp {
    let frames = pool.census().total;
    let posted_target = (frames / 2 / ports.len()).min(config.ring_size as usize);
    let mut modes = Vec::new();
    let mut assembled = Vec::new();
    for (port, rings) in ports.into_iter().zip(rings) {
        let read = port.read_tap;
        let tap = port.tap.map(|fd| Tap { fd, read });
        let mut built = Port::new(rings, tap, posted_target, config.ring_size as usize);
        let zero_copy = is_zero_copy(built.socket());
        widen_transmit_budget(built.socket());
        built.refill(&mut pool);
        modes.push(PortMode {
            device: port.device,
            queue: port.queue,
            zero_copy,
        });
        assembled.push(built);
    }
    let waiter = Waiter::new(&assembled, &beside);
    AfXdp {
        ports: assembled,
        beside,
        pool,
        waiter,
        modes,
        huge_pages,
    }
}

fn is_zero_copy(socket: impl AsFd) -> bool {
    let mut options = libc::xdp_options { flags: 0 };
    let mut length = size_of::<libc::xdp_options>() as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `length` bytes into `options`, which lives across the call.
    let result = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_XDP,
            libc::XDP_OPTIONS,
            (&raw mut options).cast(),
            &mut length,
        )
    };
    result == 0 && options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0
}

/// Two batches per call instead of half of one. Kernels that do not know the option refuse it and need more calls.
fn widen_transmit_budget(socket: impl AsFd) {
    let fd = socket.as_fd().as_raw_fd();
    let length = size_of::<u32>() as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes of a constant.
    unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_XDP,
            XDP_MAX_TX_SKB_BUDGET,
            (&raw const TX_BUDGET_VALUE).cast(),
            length,
        )
    };
}

static TX_BUDGET_VALUE: u32 = TX_BUDGET;

fn queue_size(slots: u32) -> Result<QueueSize, OpenError> {
    QueueSize::new(slots).map_err(|error| OpenError::Config(error.to_string()))
}

/// The errno below one of xsk-rs's errors.
fn os_error(error: &dyn Error) -> io::Error {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match source.and_then(io::Error::raw_os_error) {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => io::Error::other(error.to_string()),
    }
}

//! The XDP steering program and its loader.
//!
//! `steer.bpf.c` decides per frame whether the kernel, a worker or nobody gets it; `tombolo_wire::steer` is its twin in
//! Rust. [`Steering`] loads the program with a fresh set of maps, fills them, and attaches it by netlink, so that it
//! outlives this process: with the dataplane gone, transit is dropped and management still reaches the kernel.
//!
//! Order at a (re)start: [`Steering::load`], [`Steering::update`], open the sockets, [`Steering::insert_socket`] for each,
//! [`Steering::attach`]. The last step swaps program and maps together, in one step per device.
#![forbid(unsafe_code)]

mod attach;
mod counters;
mod layout;
mod maps;

pub use attach::{AttachMode, AttachRequest};
pub use counters::PortVerdicts;
pub use layout::{QUEUES_MAX, SOCKET_ROWS_MAX};
pub use tombolo_wire::steer::{Action, Service, SteerConfig, SteerPort, VLAN_NONE, Verdict};

use libbpf_rs::{MapCore, MapFlags, Object, ObjectBuilder, Program, ProgramMut};
use maps::ConfigMaps;
use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The compiled program; libbpf reads it as an ELF file, which wants alignment.
#[repr(C, align(8))]
struct Aligned<Bytes: ?Sized>(Bytes);
static OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/steer.bpf.o")));

/// Counters' row of frames that belong to no port.
pub const PORT_UNKNOWN: u16 = layout::PORT_UNKNOWN as u16;

/// A loaded steering program with its maps.
pub struct Steering {
    object: Object,
    config: ConfigMaps,
}

/// Why steering could not be set up.
#[derive(Debug)]
pub enum SteerError {
    /// The kernel refused the program or a map (root or CAP_BPF + CAP_NET_ADMIN needed).
    Load(libbpf_rs::Error),
    /// A map could not be read or written.
    Map(&'static str, libbpf_rs::Error),
    /// The program could not be attached to this interface index.
    Attach(u32, libbpf_rs::Error),
    /// A port index of the configuration is out of range.
    PortIndex(u16),
    /// A socket's row or queue is out of range.
    SocketPlace {
        /// Row as asked for.
        row: u16,
        /// Queue as asked for.
        queue: u32,
    },
}

impl fmt::Display for SteerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SteerError::Load(error) => write!(f, "the kernel refused the steering program: {error}"),
            SteerError::Map(name, error) => write!(f, "steering map {name}: {error}"),
            SteerError::Attach(ifindex, error) => {
                write!(
                    f,
                    "the steering program could not be attached to interface {ifindex}: {error}"
                )
            }
            SteerError::PortIndex(index) => write!(f, "port index {index} is not below {PORT_UNKNOWN}"),
            SteerError::SocketPlace { row, queue } => write!(
                f,
                "socket row {row}, queue {queue}: steering has {SOCKET_ROWS_MAX} rows of {QUEUES_MAX} queues"
            ),
        }
    }
}

impl std::error::Error for SteerError {}

impl Steering {
    /// Loads the program with empty maps: attached like this, it would drop everything.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn load() -> Result<Self, SteerError> {
        let load = || ObjectBuilder::default().open_memory(&OBJECT.0)?.load();
        let object = load().map_err(SteerError::Load)?;
        Ok(Self {
            object,
            config: ConfigMaps::default(),
        })
    }

    /// [`Steering::load`] and [`Steering::update`], then attaches to each device of the configuration. For callers
    /// without sockets; the dataplane inserts its sockets before it attaches.
    ///
    /// # Errors
    /// As of the three steps; devices that were attached by then stay attached.
    pub fn load_and_attach(
        config: &SteerConfig,
        request: AttachRequest,
    ) -> Result<(Self, Vec<(u32, AttachMode)>), SteerError> {
        let mut steering = Self::load()?;
        steering.update(config)?;
        let mut devices: Vec<u32> = config.ports.iter().map(|port| port.ifindex).collect();
        devices.sort_unstable();
        devices.dedup();
        let attach = |ifindex| Ok((ifindex, steering.attach(ifindex, request)?));
        let modes = devices.into_iter().map(attach).collect::<Result<_, SteerError>>()?;
        Ok((steering, modes))
    }

    /// Makes the maps say what `config` says; only differences are written, additions before removals.
    ///
    /// # Errors
    /// [`SteerError::PortIndex`] before anything is changed; [`SteerError::Map`] possibly half-way (call it again).
    pub fn update(&mut self, config: &SteerConfig) -> Result<(), SteerError> {
        self.config.apply(&self.object, config)
    }

    /// Lets frames of queue `queue` of the devices of `row` ([`SteerPort::socket_row`]) reach an AF_XDP socket. The entry
    /// vanishes when the socket closes.
    ///
    /// # Errors
    /// When row or queue is out of range, or the kernel refuses the socket.
    pub fn insert_socket(&self, row: u16, queue: u32, socket: BorrowedFd<'_>) -> Result<(), SteerError> {
        if row >= SOCKET_ROWS_MAX || queue >= QUEUES_MAX {
            return Err(SteerError::SocketPlace { row, queue });
        }
        let key = u32::from(row) * QUEUES_MAX + queue;
        let write =
            |map: &libbpf_rs::Map<'_>| map.update(&key.to_ne_bytes(), &socket.as_raw_fd().to_ne_bytes(), MapFlags::ANY);
        maps::with_map(&self.object, "sockets", write)
    }

    /// Attaches the program to a device, in the place of whatever steering program was there.
    ///
    /// # Errors
    /// When the device does not exist or takes XDP in none of the requested modes.
    pub fn attach(&self, ifindex: u32, request: AttachRequest) -> Result<AttachMode, SteerError> {
        attach::attach(&self.program(), ifindex, request)
    }

    /// Takes the XDP program off a device: from then on the kernel gets all its frames.
    ///
    /// # Errors
    /// When the device does not exist.
    pub fn detach(&self, ifindex: u32) -> Result<(), SteerError> {
        attach::detach(&self.program(), ifindex)
    }

    /// How this very program is attached to a device, if it is.
    pub fn attached(&self, ifindex: u32) -> Option<AttachMode> {
        attach::attached(&self.program(), ifindex)
    }

    /// Verdicts of the port with this index since the program was loaded ([`PORT_UNKNOWN`]: of frames without a port).
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn verdicts(&self, index: u16) -> Result<PortVerdicts, SteerError> {
        counters::read(&self.object, index)
    }

    /// Sets the counters of a port to zero.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn reset_verdicts(&self, index: u16) -> Result<(), SteerError> {
        counters::reset(&self.object, index)
    }

    /// The program itself, for tests that run it without a device (`ProgramMut::test_run`).
    pub fn program_mut(&mut self) -> ProgramMut<'_> {
        self.object
            .progs_mut()
            .next()
            .expect("the object holds the one program that it was built with")
    }

    fn program(&self) -> Program<'_> {
        self.object
            .progs()
            .next()
            .expect("the object holds the one program that it was built with")
    }
}

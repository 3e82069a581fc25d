//! The main thread: listens for control, takes regions, keeps ports and steering as the current generation says.
//!
//! Control may come, go, die and come back: the workers run on. What it sends was checked by `handoff`; what lies in the
//! regions is checked by their readers.

use crate::arguments::Arguments;
use crate::devices::{self, Taps};
use crate::pool::{Pool, Seat};
use crate::ports::{Served, served};
use crate::steering;
use anyhow::{Context, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use tombolo_bpf::{Steering, Verdict};
use tombolo_packet_io::af_xdp::AfXdp;
use tombolo_tables::handoff::{DataplaneLink, HandoffError, Listener, PortError, RegionFds, Request, Wakes};
use tombolo_tables::port_status;
use tombolo_tables::publish::TablesRegion;
use tombolo_tables::reader::Reader;
use tombolo_tables::region::Region;
use tombolo_tables::state::State;
use tombolo_worker::ports::PortMap;
use tombolo_worker::run::Idle;
use tombolo_worker::state::SharedState;

/// How often the main thread copies the steering program's counters into the state region.
const COUNT_EVERY: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 500_000_000,
};

/// The process.
pub struct Dataplane {
    listener: Listener,
    link: Option<DataplaneLink>,
    signals: UnixStream,
    idle: Idle,
    running: Option<Running>,
}

/// The regions and all that runs on them.
struct Running {
    regions: RegionFds,
    wakes: Wakes,
    tables: &'static TablesRegion,
    state: &'static State,
    shared: &'static SharedState<'static>,
    reader: Reader<'static>,
    workers: usize,
    steering: Steering,
    taps: Taps,
    served: Served,
    pool: Option<Pool>,
    errors: Vec<PortError>,
    idle: Idle,
}

impl Dataplane {
    /// Listens on the private socket of the runtime directory.
    pub fn listen(arguments: &Arguments) -> anyhow::Result<Self> {
        let listener = Listener::bind(&arguments.runtime_dir)?;
        let (signals, written) = UnixStream::pair()?;
        signals.set_nonblocking(true)?;
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
            signal_hook::low_level::pipe::register(signal, written.try_clone()?)?;
        }
        let idle = if arguments.busy { Idle::Busy } else { Idle::DEFAULT };
        Ok(Dataplane {
            listener,
            link: None,
            signals,
            idle,
            running: None,
        })
    }

    /// Serves until a signal asks to stop or a worker breaks a law.
    pub fn run(mut self) -> anyhow::Result<()> {
        while !self.asked_to_stop()? {
            if let Some(link) = self.listener.accept().inspect_err(report).unwrap_or(None) {
                self.link = Some(link);
            }
            self.serve_control();
            if let Some(running) = &self.running {
                running.count_verdicts();
                if running.pool.as_ref().is_some_and(Pool::is_broken) {
                    bail!(
                        "a worker ended by itself; the state region stays with tombolod, which starts this process anew"
                    );
                }
            }
        }
        if let Some(running) = self.running.take() {
            running.stop();
        }
        Ok(())
    }

    /// Sleeps until something happens; true once a signal came.
    fn asked_to_stop(&self) -> anyhow::Result<bool> {
        let mut polled = vec![
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::new(&self.listener, PollFlags::IN),
        ];
        if let Some(link) = &self.link {
            polled.push(PollFd::new(link, PollFlags::IN));
        }
        match poll(&mut polled, Some(&COUNT_EVERY)) {
            Ok(_) => Ok(!polled[0].revents().is_empty()),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error).context("wait for tombolod"),
        }
    }

    /// Answers all that control asks; a connection that breaks is dropped and waited for anew.
    fn serve_control(&mut self) {
        while let Some(link) = &mut self.link {
            let answered = match link.receive() {
                Ok(None) => return,
                Ok(Some(request)) => self.answer(request),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = answered {
                if !matches!(error.downcast_ref(), Some(HandoffError::Closed)) {
                    eprintln!("tombolo-dataplane: tombolod: {error:#}");
                }
                self.link = None;
            }
        }
    }

    fn answer(&mut self, request: Request) -> anyhow::Result<()> {
        let Some(link) = &self.link else { return Ok(()) };
        match request {
            Request::Hello => Ok(link.offer(self.running.as_ref().map(|running| (&running.regions, &running.wakes)))?),
            Request::Regions { workers, regions } => {
                if self.running.is_some() {
                    bail!("regions were given twice");
                }
                let mut running = Running::new(regions, usize::from(workers), self.idle)?;
                running.apply();
                let ready = link.ready(&running.wakes);
                self.running = Some(running);
                Ok(ready?)
            }
            Request::Published { generation } => {
                let Some(running) = &mut self.running else {
                    bail!("a generation without regions")
                };
                running.apply();
                Ok(link.applied(generation, running.errors.clone())?)
            }
        }
    }
}

fn report(error: &HandoffError) {
    eprintln!("tombolo-dataplane: {error}");
}

impl Running {
    /// Maps the regions and repairs what a predecessor may have left half-made.
    fn new(regions: RegionFds, workers: usize, idle: Idle) -> anyhow::Result<Running> {
        let tables = Region::from_fd_read_only(regions.tables.try_clone()?)?;
        let tables: &'static TablesRegion = Box::leak(Box::new(TablesRegion::open(tables)?));
        let state = Region::from_fd(regions.state.try_clone()?)?;
        let state: &'static State = Box::leak(Box::new(State::open(state)?));
        let slots = state.workers().count();
        if slots != workers + 1 {
            bail!(
                "the state region has {slots} slots: {workers} workers and the main thread need {}",
                workers + 1
            );
        }
        let wakes = Wakes::create(workers)?;
        let worker_wakes = wakes.workers.iter().map(OwnedFd::try_clone).collect::<Result<_, _>>()?;
        let shared = SharedState::new(state, workers, Some(wakes.control.try_clone()?))?.with_wakes(worker_wakes);
        let shared: &'static SharedState<'static> = Box::leak(Box::new(shared));
        shared.scrub(tombolo_worker::run::now());
        let reader = Reader::new(tables, state, workers)?;
        Ok(Running {
            regions,
            wakes,
            tables,
            state,
            shared,
            reader,
            workers,
            steering: Steering::load()?,
            taps: Taps::default(),
            served: Served::default(),
            pool: None,
            errors: Vec::new(),
            idle,
        })
    }

    /// Brings ports and steering up to the current generation. A set of ports that changed stops the workers for as long as
    /// their sockets take to open; anything else goes on without a pause.
    fn apply(&mut self) {
        let (tables, _) = self.reader.begin_batch();
        let (wanted, mut errors) = served(tables, self.workers);
        let config = steering::config(tables, &wanted);
        self.reader.park();
        if let Err(error) = self.steering.update(&config) {
            errors.push(PortError {
                port: 0,
                text: error.to_string(),
            });
        }
        if wanted != self.served || self.pool.is_none() {
            match self.reopen(wanted) {
                Ok(failed) => errors.extend(failed),
                Err(error) => errors.push(PortError {
                    port: 0,
                    text: format!("{error:#}"),
                }),
            }
        }
        for error in &errors {
            eprintln!("tombolo-dataplane: port {}: {}", error.port, error.text);
        }
        self.errors = errors;
    }

    /// Closes what is served and opens `wanted`: sockets first, then their places in the map, then the program.
    fn reopen(&mut self, wanted: Served) -> anyhow::Result<Vec<PortError>> {
        if let Some(pool) = self.pool.take() {
            pool.stop();
        }
        for device in self
            .served
            .devices
            .iter()
            .filter(|old| wanted.devices.iter().all(|new| new.ifindex != old.ifindex))
        {
            let _ = self.steering.detach(device.ifindex);
        }
        self.served = Served::default();
        self.taps.keep(&wanted)?;
        devices::prepare(&wanted);
        let mut seats = Vec::new();
        for worker in 0..self.workers {
            let io = devices::open(&wanted, &self.taps, worker)?;
            devices::insert(&self.steering, &io, worker)?;
            let reader = Reader::new(self.tables, self.state, worker)?;
            let wake = self.wakes.workers.get(worker).context("an eventfd per worker")?;
            seats.push(Seat {
                io,
                reader,
                wake: Arc::new(OwnedFd::try_clone(wake)?),
            });
        }
        let workers: Vec<&AfXdp> = seats.iter().map(|seat| &seat.io).collect();
        let (statuses, errors) = devices::attach(&self.steering, &wanted, &workers);
        for (port, status) in statuses {
            port_status::write(self.state, port, status);
        }
        let ports = PortMap::new(wanted.ports.clone()).with_taps(wanted.vlan_taps());
        self.pool = Some(Pool::start(seats, self.shared, &ports, self.idle)?);
        self.served = wanted;
        Ok(errors)
    }

    fn count_verdicts(&self) {
        for served in &self.served.ports {
            if let Ok(verdicts) = self.steering.verdicts(served.port.0) {
                let counts = Verdict::ALL.iter().map(|verdict| verdicts.of(*verdict));
                port_status::write_verdicts(self.state, served.port, counts);
            }
        }
    }

    /// Stops the workers and takes the program off the devices: the kernel has them back.
    fn stop(mut self) {
        if let Some(pool) = self.pool.take() {
            pool.stop();
        }
        for device in &self.served.devices {
            let _ = self.steering.detach(device.ifindex);
        }
    }
}

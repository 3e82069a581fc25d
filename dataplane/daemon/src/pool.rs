//! The worker threads: started together on pinned cores, stopped together.

use anyhow::Context;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use tombolo_packet_io::af_xdp::AfXdp;
use tombolo_tables::reader::Reader;
use tombolo_worker::ports::PortMap;
use tombolo_worker::run::{Idle, run};
use tombolo_worker::state::SharedState;
use tombolo_worker::worker::Worker;

/// Running workers.
pub struct Pool {
    stop: Arc<AtomicBool>,
    threads: Vec<(JoinHandle<()>, Arc<OwnedFd>)>,
}

/// What one worker runs on.
pub struct Seat {
    /// Its sockets.
    pub io: AfXdp,
    /// Its view of the tables.
    pub reader: Reader<'static>,
    /// What wakes it.
    pub wake: Arc<OwnedFd>,
}

impl Pool {
    /// Starts a thread for each seat, pinned to its core (modulo the cores there are).
    pub fn start(
        seats: Vec<Seat>,
        state: &'static SharedState<'static>,
        ports: &PortMap,
        idle: Idle,
    ) -> anyhow::Result<Pool> {
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let mut pool = Pool {
            stop: Arc::default(),
            threads: Vec::new(),
        };
        for (index, seat) in seats.into_iter().enumerate() {
            let core = (!cores.is_empty()).then(|| cores[index % cores.len()]);
            let (stop, wake) = (pool.stop.clone(), seat.wake.clone());
            let map = ports.clone();
            let thread = std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || {
                    if let Some(core) = core {
                        core_affinity::set_for_current(core);
                    }
                    let Seat { io, mut reader, wake } = seat;
                    let mut worker = Worker::new(io, index, map, state);
                    run(&mut worker, &mut reader, state, &wake, idle, &stop);
                });
            pool.threads.push((thread.context("start a worker thread")?, wake));
        }
        Ok(pool)
    }

    /// Whether a worker's thread ended by itself: a broken law, after which nothing can be trusted.
    pub fn is_broken(&self) -> bool {
        self.threads.iter().any(|(thread, _)| thread.is_finished())
    }

    /// Stops all workers and waits for them; false if one had panicked.
    pub fn stop(self) -> bool {
        self.stop.store(true, Ordering::Release);
        for (_, wake) in &self.threads {
            let _ = rustix::io::write(wake, &1u64.to_ne_bytes());
        }
        self.threads
            .into_iter()
            .fold(true, |well, (thread, _)| thread.join().is_ok() && well)
    }
}

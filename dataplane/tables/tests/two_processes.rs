//! Two real processes share memory, and one or the other is killed with SIGKILL: control while it publishes, the dataplane while it
//! reads. This binary starts itself again for each role; a role is a test that does nothing unless it is asked for.

use rustix::fd::OwnedFd;
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tombolo_tables::build::{Sections, World};
use tombolo_tables::handoff::{
    Adopted, ControlLink, DataplaneLink, HandoffError, Listener, RegionFds, Reply, Request, Wakes,
};
use tombolo_tables::publish::{Publisher, TablesRegion};
use tombolo_tables::reader::Reader;
use tombolo_tables::region::{HugePages, Region};
use tombolo_tables::state::{Limits, State, StatePart, StateSpec};

const ROLE: &str = "TOMBOLO_TEST_ROLE";
const DIRECTORY: &str = "TOMBOLO_TEST_DIRECTORY";
const WORKERS: u16 = 2;
const SOON: Duration = Duration::from_secs(10);

/// A world that can be told from a mixture: the capture word and the names say the same number.
fn world(number: u64) -> Sections {
    let names = format!("{number}").repeat(1 + (number % 50) as usize);
    World {
        capture: number,
        names,
        ..World::default()
    }
    .build()
    .unwrap()
}

struct Process(Child);

impl Process {
    fn start(role: &str, directory: &Path) -> Process {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", role, "--nocapture"])
            .env(ROLE, role)
            .env(DIRECTORY, directory)
            .spawn()
            .unwrap();
        Process(child)
    }

    /// Kills it as `kill -9` does, and sees that it had not ended by itself before.
    fn kill(mut self) {
        assert_eq!(self.0.try_wait().unwrap(), None, "the process ended by itself");
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct RuntimeDir(PathBuf);

impl RuntimeDir {
    fn new() -> RuntimeDir {
        let path = std::env::temp_dir().join(format!("tombolo-processes-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        RuntimeDir(path)
    }
}

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn directory_of_role(role: &str) -> Option<PathBuf> {
    (std::env::var(ROLE).as_deref() == Ok(role)).then(|| PathBuf::from(std::env::var(DIRECTORY).unwrap()))
}

fn new_regions() -> RegionFds {
    let spec = StateSpec::new(Limits {
        workers: u32::from(WORKERS),
        ports: 1,
        ..Limits::default()
    })
    .with(StatePart::TunnelCounters, 8);
    let state = State::create(Region::create("state", spec.bytes(), HugePages::Never).unwrap(), &spec).unwrap();
    let tables = TablesRegion::create(Region::create("tables", 1 << 18, HugePages::Never).unwrap()).unwrap();
    let descriptor = |region: &Region| region.fd().try_clone_to_owned().unwrap();
    RegionFds {
        tables: descriptor(tables.region()),
        state: descriptor(state.region()),
        secrets: Region::create_secret("secrets", 4096).unwrap(),
    }
}

fn map(regions: &RegionFds) -> (TablesRegion, State) {
    let again = |fd: &OwnedFd| fd.try_clone().unwrap();
    let tables = TablesRegion::open(Region::from_fd(again(&regions.tables)).unwrap()).unwrap();
    (
        tables,
        State::open(Region::from_fd(again(&regions.state)).unwrap()).unwrap(),
    )
}

/// The dataplane: two workers that read as fast as they can and abort the process at the first torn world.
#[test]
fn role_dataplane() {
    let Some(directory) = directory_of_role("role_dataplane") else {
        return;
    };
    let listener = Listener::bind(&directory).unwrap();
    let mut running: Option<(RegionFds, Wakes)> = None;
    loop {
        if let Some(mut link) = listener.accept().unwrap_or(None) {
            serve(&mut link, &mut running);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Serves one control until it dies, which may be while it waits for an answer.
fn serve(link: &mut DataplaneLink, running: &mut Option<(RegionFds, Wakes)>) {
    loop {
        let answered = match link.receive() {
            Ok(Some(request)) => answer(link, request, running),
            Ok(None) => {
                std::thread::sleep(Duration::from_millis(1));
                Ok(())
            }
            Err(error) => Err(error),
        };
        match answered {
            Ok(()) => {}
            Err(HandoffError::Closed) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

fn answer(
    link: &DataplaneLink,
    request: Request,
    running: &mut Option<(RegionFds, Wakes)>,
) -> Result<(), HandoffError> {
    match request {
        Request::Hello => link.offer(running.as_ref().map(|(regions, wakes)| (regions, wakes))),
        Request::Regions { workers, regions } => {
            start_workers(&regions, workers);
            let (_, wakes) = running.insert((regions, Wakes::create(usize::from(workers))?));
            link.ready(wakes)
        }
        Request::Published { generation } => link.applied(generation, Vec::new()),
    }
}

fn start_workers(regions: &RegionFds, workers: u16) {
    let read_only = Region::from_fd_read_only(regions.tables.try_clone().unwrap()).unwrap();
    let tables: &'static TablesRegion = Box::leak(Box::new(TablesRegion::open(read_only).unwrap()));
    let state = State::open(Region::from_fd(regions.state.try_clone().unwrap()).unwrap()).unwrap();
    let state: &'static State = Box::leak(Box::new(state));
    for worker in 0..usize::from(workers) {
        let reader = Reader::new(tables, state, worker).unwrap();
        std::thread::spawn(move || work(reader, &state.part(StatePart::TunnelCounters)[worker]));
    }
}

fn work(mut reader: Reader<'static>, checked: &'static AtomicU64) {
    let mut newest = 0;
    for batch in 0u64.. {
        let (tables, changed) = reader.begin_batch();
        let number = tables.capture();
        let whole = number == 0 || tables.names() == format!("{number}").repeat(1 + (number % 50) as usize);
        if !whole || number < newest {
            eprintln!("torn or older: {number} after {newest}");
            std::process::abort();
        }
        newest = number;
        if changed {
            checked.fetch_add(1, Ordering::Relaxed);
        }
        if batch.is_multiple_of(16) {
            reader.park();
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// Control: adopts what runs (or supplies regions) and publishes until it is killed.
#[test]
fn role_control() {
    let Some(directory) = directory_of_role("role_control") else {
        return;
    };
    let (link, regions, _wakes) = adopt(&directory, None);
    let (tables, state) = map(&regions);
    let mut publisher = Publisher::open(&tables, &state).unwrap();
    loop {
        let next = publisher.current() + 1;
        let generation = publisher.publish(&world(next)).unwrap();
        link.published(generation).unwrap();
        assert!(publisher.wait_announced(generation, SOON), "the workers do not follow");
        assert_eq!(
            link.receive_within(SOON).unwrap(),
            Reply::Applied {
                generation,
                errors: Vec::new()
            }
        );
    }
}

/// Connects as soon as a dataplane listens; gives it `regions` (or fresh ones) if it has none.
fn adopt(directory: &Path, regions: Option<RegionFds>) -> (ControlLink, RegionFds, Wakes) {
    let deadline = Instant::now() + SOON;
    let adopted = loop {
        match ControlLink::connect(directory, SOON) {
            Ok(adopted) => break adopted,
            Err(HandoffError::NobodyThere(_)) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => panic!("{error}"),
        }
    };
    match adopted {
        Adopted::Running { link, regions, wakes } => (link, regions, wakes),
        Adopted::Empty(empty) => {
            let regions = regions.unwrap_or_else(new_regions);
            let (link, wakes) = empty.give(&regions, WORKERS, SOON).unwrap();
            (link, regions, wakes)
        }
    }
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn either_process_is_killed_and_comes_back() {
    let directory = RuntimeDir::new();
    let dataplane = Process::start("role_dataplane", &directory.0);

    // Control is killed while it publishes, again and again; each successor adopts what runs and goes on.
    let mut generations = Vec::new();
    for life in 0..6 {
        let control = Process::start("role_control", &directory.0);
        std::thread::sleep(Duration::from_millis(120 + 17 * life));
        control.kill();
        let (link, regions, _) = adopt(&directory.0, None);
        generations.push(map(&regions).0.current_generation());
        drop(link);
    }
    assert!(
        generations.is_sorted() && generations[5] > generations[0] && generations[0] > 0,
        "{generations:?}"
    );

    // This process becomes control: the memory adds up, the workers follow.
    let (link, regions, wakes) = adopt(&directory.0, None);
    assert_eq!(wakes.workers.len(), usize::from(WORKERS));
    let (tables, state) = map(&regions);
    let mut publisher = Publisher::open(&tables, &state).unwrap();
    let number = publisher.current() + 1;
    let generation = publisher.publish(&world(number)).unwrap();
    assert!(publisher.wait_announced(generation, SOON));
    let checked = state.part(StatePart::TunnelCounters);
    wait_until("both workers read it", || {
        checked[..2].iter().all(|count| count.load(Ordering::Relaxed) > 0)
    });
    // A worker that wakes at this moment protects every generation until it has chosen one.
    wait_until("the older generations are freed", || {
        publisher.reclaim();
        publisher.usage().generations == 1
    });
    let free = publisher.usage().free_bytes;

    // The dataplane is killed: control hears of it, frees what its workers held, and gives the same regions to the next one.
    let pid = link.peer_pid();
    assert_eq!(pid, dataplane.0.id() as i32);
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    wait_until("the connection ends", || {
        matches!(link.receive(), Err(HandoffError::Closed))
    });
    wait_until("the pidfd says so", || link.is_dead());
    drop(dataplane);
    publisher.dataplane_gone();
    let alone = publisher.publish(&world(number + 50)).unwrap();
    assert!(publisher.is_announced(alone), "nobody is left to wait for");
    assert_eq!(publisher.usage().generations, 1);

    let _dataplane = Process::start("role_dataplane", &directory.0);
    let before = checked[0].load(Ordering::Relaxed);
    let (link, _regions, _wakes) = adopt(&directory.0, Some(regions));
    wait_until("a new worker reads", || checked[0].load(Ordering::Relaxed) > before);
    let last = publisher.publish(&world(number + 100)).unwrap();
    assert!(publisher.wait_announced(last, SOON));
    wait_until("all is freed again", || {
        publisher.reclaim();
        publisher.usage().generations == 1
    });
    assert!(
        publisher.usage().free_bytes.abs_diff(free) < 4096,
        "{} and {free}",
        publisher.usage().free_bytes
    );
    assert!(!link.is_dead());
}

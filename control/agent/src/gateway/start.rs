//! The start: configuration, regions (made or taken over), first plan, dataplane, control socket.

use super::run::Inputs;
use super::{DataplaneState, Gateway, apply, captures, carried, ike, learn};
use crate::arguments::Arguments;
use crate::dataplane::{self, Connection, Spawner};
use crate::files::{self, Lock};
use crate::http::{self, Admission};
use crate::kernel::Kernel;
use crate::leases::Leases;
use crate::netlink::{self, Netlink};
use crate::paths::Paths;
use crate::regions::Regions;
use anyhow::Context;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tombolo_config::Gateway as Desired;
use tombolo_planner::{Indices, Learned};
use tombolo_tables::build::{Compiler, World};
use tombolo_tables::events::EventReader;
use tombolo_tables::handoff::Adopted;
use tombolo_tables::publish::Publisher;

/// Longest wait for the end of a tombolod that was killed.
const PREDECESSOR_TIME_MAX: Duration = Duration::from_secs(1);
/// How often the lock is tried meanwhile.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// Brings the gateway up and runs it until a signal ends it.
pub async fn start(arguments: Arguments) -> anyhow::Result<()> {
    let paths = Paths::new(&arguments);
    paths.create().context("cannot make the gateway's directories")?;
    let _lock = lock(&paths)
        .await
        .context("another tombolod serves this runtime directory")?;
    let (text, desired) = configuration(&arguments, &paths)?;
    let (regions, connection) = regions(&paths, &desired).await?;
    let listener = http::bind(&paths.control_socket(), &paths.private(), arguments.control_group)
        .context("cannot make the control socket")?;
    let kernel_news = netlink::subscribe().context("cannot listen to the kernel")?;
    let mut gateway = Gateway::new(paths.clone(), regions, text, desired)?;
    gateway.restore_ike();
    gateway.first_plan().await?;
    gateway.configure_ike().await;
    let (questions_in, questions) = mpsc::channel(16);
    tokio::spawn(http::serve(
        listener,
        Admission::new(arguments.control_group),
        questions_in,
    ));
    let (dataplane_in, dataplane_news) = mpsc::channel(4);
    let spawner = spawner(&arguments, &paths)?;
    tokio::spawn(dataplane::supervise(
        regions,
        paths.runtime,
        spawner,
        connection,
        dataplane_in,
    ));
    gateway
        .run(Inputs {
            questions,
            kernel_news,
            dataplane_news,
        })
        .await
}

/// The lock of the runtime directory. A killed predecessor holds it until the last of its threads has ended, which may be a
/// little after it looks dead to whoever starts the next.
async fn lock(paths: &Paths) -> std::io::Result<Lock> {
    let deadline = Instant::now() + PREDECESSOR_TIME_MAX;
    loop {
        match Lock::take(&paths.lock()) {
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            taken => return taken,
        }
    }
}

/// The configuration applied last, else the file of the command line.
fn configuration(arguments: &Arguments, paths: &Paths) -> anyhow::Result<(String, Desired)> {
    let stored = paths.stored_config();
    let path = match &arguments.config {
        Some(given) if !stored.exists() => given.clone(),
        Some(_) | None => stored,
    };
    let text = files::read_text(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let desired = tombolo_config::parse(&text, &path.display().to_string()).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("the configuration is refused\n{}", lines.join("\n"))
    })?;
    tracing::info!("configuration from {}", path.display());
    Ok((text, desired))
}

/// Takes over what a running dataplane works on; else makes fresh regions.
async fn regions(paths: &Paths, desired: &Desired) -> anyhow::Result<(Regions, Option<Connection>)> {
    match dataplane::find(&paths.runtime).await? {
        Some(Adopted::Running { link, regions, wakes }) => {
            tracing::info!(pid = link.peer_pid(), "took over a running dataplane");
            let regions = Regions::adopt(regions).context("cannot take over the running dataplane's memory")?;
            let connection = Connection {
                link: Arc::new(link),
                wakes: Arc::new(wakes),
                adopted: true,
            };
            Ok((regions, Some(connection)))
        }
        // An empty dataplane gets its regions from the supervisor, over a new connection.
        Some(Adopted::Empty(_)) | None => {
            Ok((Regions::create(desired).context("cannot make the shared memory")?, None))
        }
    }
}

fn spawner(arguments: &Arguments, paths: &Paths) -> anyhow::Result<Option<Spawner>> {
    if arguments.no_spawn {
        return Ok(None);
    }
    let program: PathBuf = match &arguments.dataplane {
        Some(program) => program.clone(),
        None => dataplane::executable()?,
    };
    Ok(Some(Spawner {
        program,
        runtime_dir: paths.runtime.clone(),
        log: paths.dataplane_log(),
    }))
}

impl Gateway {
    fn new(paths: Paths, regions: Regions, text: String, desired: Desired) -> anyhow::Result<Gateway> {
        let netlink = Netlink::open().context("cannot talk to the kernel")?;
        let publisher = Publisher::open(regions.tables, regions.state)?;
        let indices = match publisher.current() {
            0 => Indices::default(),
            live => {
                let names = carried::names(&paths.private(), live)
                    .with_context(|| format!("nothing is known about generation {live} of the running dataplane"))?;
                Indices::from_names(&names)?
            }
        };
        let workers = 0..regions.state.workers().count();
        let plan = tombolo_planner::Plan {
            world: World::default(),
            indices,
            kernel: Default::default(),
            actions: Vec::new(),
            sas: Vec::new(),
            warnings: Vec::new(),
        };
        Ok(Gateway {
            started: Instant::now(),
            kernel: Kernel::new(netlink.clone()),
            netlink,
            leases: Leases::new(paths.leases()),
            carried: carried::Carried::new(paths.private()),
            ike: ike::Ike::new(),
            publisher,
            secrets: regions.open_secrets()?,
            events: workers
                .filter_map(|worker| EventReader::new(regions.state, worker))
                .collect(),
            captures: captures::Captures::new(regions.state),
            dataplane: DataplaneState::default(),
            text,
            desired: Arc::new(desired),
            learned: Learned::default(),
            requested: learn::Requested::default(),
            devices: BTreeMap::new(),
            plan,
            compiler: Compiler::default(),
            refused_keys: BTreeMap::new(),
            notes: BTreeMap::new(),
            port_errors: BTreeMap::new(),
            alarms: BTreeMap::new(),
            failures: Vec::new(),
            regions,
            paths,
        })
    }

    /// The first plan of this process. A running dataplane whose regions are too small for the stored configuration goes on
    /// with what it has: better an old world than none.
    async fn first_plan(&mut self) -> anyhow::Result<()> {
        if let Some(why) = crate::regions::mismatch(&self.desired, &self.regions.state.limits()) {
            anyhow::bail!("the running dataplane does not fit the stored configuration: {why}; stop it first");
        }
        let (keys, refused) = learn::keys(&self.desired, &self.paths);
        self.learned.sa_keys = keys;
        self.refused_keys = refused;
        self.replan()
            .await
            .map_err(|error: apply::ApplyError| anyhow::anyhow!("{error}"))
    }
}

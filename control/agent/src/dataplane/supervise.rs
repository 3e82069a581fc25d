//! The life of the dataplane: connect, or start it and connect; hand over the regions; wait for its death; again.

use super::{Spawner, find};
use crate::regions::{self, Regions};
use crate::watch;
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tombolo_tables::handoff::{Adopted, ControlLink, Wakes};

/// A dataplane that lived shorter than this is started again with a growing pause.
const LIFE_MIN: Duration = Duration::from_secs(5);
/// Longest pause between two starts.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How often a starting dataplane's socket is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Longest time from the start of the process to its socket, and again to running workers.
const START_TIME_MAX: Duration = Duration::from_secs(20);

/// A running dataplane.
#[derive(Clone)]
pub struct Connection {
    /// Messages to and from it.
    pub link: Arc<ControlLink>,
    /// What wakes its workers, and us.
    pub wakes: Arc<Wakes>,
    /// It ran before we did.
    pub adopted: bool,
}

/// Says that the gateway has taken note; only then does the next life begin.
pub type Ack = oneshot::Sender<()>;

/// What happens to the dataplane.
pub enum News {
    /// It runs.
    Up(Connection),
    /// It is dead: its workers look at nothing any more.
    Died(Ack),
    /// It could not be started or reached; it will be tried again.
    Failed(String),
}

/// Runs until the gateway's end of `news` is closed. `first` is a connection made at start.
pub async fn supervise(
    regions: Regions,
    runtime_dir: PathBuf,
    spawner: Option<Spawner>,
    first: Option<Connection>,
    news: mpsc::Sender<News>,
) {
    let mut supervisor = Supervisor {
        regions,
        runtime_dir,
        spawner,
        child: None,
        pause: Duration::ZERO,
    };
    let mut connection = first;
    loop {
        let born = Instant::now();
        let living = match connection.take() {
            Some(living) => Ok(living),
            None => supervisor.bring_up().await,
        };
        let message = match living {
            Ok(living) => {
                let watched = Arc::clone(&living.link);
                if news.send(News::Up(living)).await.is_err() {
                    return;
                }
                death(&watched).await;
                supervisor.reap();
                let (ack, taken_note) = oneshot::channel();
                if news.send(News::Died(ack)).await.is_err() || taken_note.await.is_err() {
                    return;
                }
                None
            }
            Err(error) => Some(News::Failed(format!("{error:#}"))),
        };
        if let Some(failure) = message
            && news.send(failure).await.is_err()
        {
            return;
        }
        supervisor.rest(born.elapsed()).await;
    }
}

struct Supervisor {
    regions: Regions,
    runtime_dir: PathBuf,
    spawner: Option<Spawner>,
    child: Option<Child>,
    pause: Duration,
}

impl Supervisor {
    /// Ends with a dataplane that runs on our regions.
    async fn bring_up(&mut self) -> anyhow::Result<Connection> {
        let deadline = Instant::now() + START_TIME_MAX;
        loop {
            if let Some(found) = find(&self.runtime_dir).await? {
                return self.take(found).await;
            }
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                self.child = None;
                anyhow::bail!("the dataplane ended with {status}; see dataplane.log in the runtime directory");
            }
            if let (None, Some(spawner)) = (&self.child, &self.spawner) {
                self.child = Some(spawner.start()?);
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "no dataplane came up within {START_TIME_MAX:?}"
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn take(&self, found: Adopted) -> anyhow::Result<Connection> {
        match found {
            Adopted::Running { link, regions, wakes } => {
                anyhow::ensure!(
                    self.regions.are(&regions),
                    "a dataplane runs on other regions: restart tombolod"
                );
                Ok(Connection {
                    link: Arc::new(link),
                    wakes: Arc::new(wakes),
                    adopted: true,
                })
            }
            Adopted::Empty(empty) => {
                let descriptors = self.regions.descriptors()?;
                let workers = regions::workers(&self.regions.state.limits());
                let give = move || empty.give(&descriptors, workers, START_TIME_MAX);
                let (link, wakes) = tokio::task::spawn_blocking(give).await??;
                Ok(Connection {
                    link: Arc::new(link),
                    wakes: Arc::new(wakes),
                    adopted: false,
                })
            }
        }
    }

    /// Takes the exit status of a child that is dead, so that it does not stay as a zombie.
    fn reap(&mut self) {
        if let Some(mut child) = self.child.take() {
            match child.wait() {
                Ok(status) => tracing::warn!(%status, "the dataplane ended"),
                Err(error) => tracing::warn!(%error, "the dataplane's exit status"),
            }
        }
    }

    /// No pause after a long life; a growing one after short lives.
    async fn rest(&mut self, life: Duration) {
        if life >= LIFE_MIN {
            self.pause = Duration::ZERO;
            return;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).clamp(Duration::from_millis(50), PAUSE_MAX);
    }
}

/// Returns once the process is dead.
async fn death(link: &ControlLink) {
    let watched = link.pidfd().try_clone_to_owned().and_then(watch::process_end);
    if let Ok(mut end) = watched {
        // The watch ends with its message; without one it failed, and is replaced by looking.
        let _ = end.recv().await;
    }
    while !link.is_dead() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

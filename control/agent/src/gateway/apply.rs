//! From a configuration, or from news, to what workers use. A refused change changes nothing; an accepted one is in use by
//! every worker before it is answered (law 5).

use super::{Gateway, learn, rows, sequences};
use crate::views;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tombolo_api::{Applied, Problem, Refusal};
use tombolo_config::Gateway as Desired;
use tombolo_planner::{Learned, Negotiated, Plan};
use tombolo_tables::build::{BuildError, Change};
use tombolo_tables::handoff::Reply;
use tombolo_tables::layout::SectionId;
use zeroize::Zeroize;

/// Longest wait for the workers and for the ports.
const ANNOUNCED_TIME_MAX: Duration = Duration::from_secs(5);
/// How often a wait looks.
const LOOK_EVERY: Duration = Duration::from_micros(200);

/// Why a change was not made.
#[derive(Debug)]
pub(super) enum ApplyError {
    /// The configuration is wrong.
    Problems(Vec<Problem>),
    /// It is right, but this gateway as it runs cannot take it.
    Refused(String, &'static str),
    /// It is published, but something did not follow.
    Incomplete(String),
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApplyError::Problems(problems) if problems.len() == 1 => f.write_str("1 problem in the configuration"),
            ApplyError::Problems(problems) => write!(f, "{} problems in the configuration", problems.len()),
            ApplyError::Refused(why, hint) => write!(f, "{why}; {hint}"),
            ApplyError::Incomplete(why) => f.write_str(why),
        }
    }
}

impl From<ApplyError> for Refusal {
    fn from(error: ApplyError) -> Refusal {
        let text = error.to_string();
        match error {
            ApplyError::Problems(problems) => Refusal {
                error: text,
                hint: None,
                problems,
            },
            ApplyError::Refused(why, hint) => Refusal {
                error: why,
                hint: Some(hint.into()),
                problems: Vec::new(),
            },
            ApplyError::Incomplete(why) => Refusal {
                error: why,
                hint: None,
                problems: Vec::new(),
            },
        }
    }
}

/// Checks a configuration.
pub(super) fn check(text: &str) -> Result<Desired, ApplyError> {
    tombolo_config::parse(text, "tombolo.yaml").map_err(|problems| {
        let problem = |p: tombolo_config::Problem| Problem {
            file: p.file,
            line: p.line,
            column: p.column,
            message: p.message,
            hint: p.hint,
        };
        ApplyError::Problems(problems.into_iter().map(problem).collect())
    })
}

impl Gateway {
    /// Makes a text the configuration: now, and once every worker has it, for the next boot.
    pub(super) async fn put(&mut self, text: String) -> Result<Applied, ApplyError> {
        let desired = Arc::new(check(&text)?);
        if let Some(why) = crate::regions::mismatch(&desired, &self.regions.state.limits()) {
            return Err(ApplyError::Refused(
                why,
                "stop the dataplane and tombolod, then start with this configuration",
            ));
        }
        let (keys, refused_keys) = learn::keys(&desired, &self.paths);
        let mut learned = self.learn(&desired).await?;
        learned.sa_keys = keys;
        learned.negotiated.clone_from(&self.learned.negotiated);
        learned.drained_pools = self.drained_pools();
        let changed = self.make(desired, learned, refused_keys).await?;
        if !changed {
            // Nothing new was published, yet the answer speaks for the ports as they are now.
            self.announce_to_dataplane();
        }
        self.configure_ike().await;
        let active = self.settle().await?;
        crate::files::replace(&self.paths.stored_config(), text.as_bytes(), 0o600)
            .map_err(|error| ApplyError::Incomplete(format!("in use, but not stored for the next boot: {error}")))?;
        self.text = text;
        Ok(Applied {
            active,
            generation: self.publisher.current(),
            warnings: self.warnings(),
        })
    }

    /// Plans again after news from the kernel or a worker; publishes if that changes anything.
    pub(super) async fn replan(&mut self) -> Result<(), ApplyError> {
        self.replan_with(self.learned.negotiated.clone()).await
    }

    /// Puts in force what IKEv2 says shall be, of all tunnels (see [`tombolo_planner::negotiated`]). On an error nothing has changed,
    /// and the same or a newer list is to be given again.
    pub(super) async fn replan_with(&mut self, negotiated: BTreeMap<String, Negotiated>) -> Result<(), ApplyError> {
        let desired = self.desired.clone();
        let mut learned = self.learn(&desired).await?;
        learned.negotiated = negotiated;
        if self.follow_neighbours(&mut learned)? {
            self.set_kernel().await;
            return Ok(());
        }
        learned.sa_keys.clone_from(&self.learned.sa_keys);
        let refused_keys = self.refused_keys.clone();
        self.make(desired, learned, refused_keys).await.map(|_| ())
    }

    /// If nothing but answers of neighbours is new, puts these in force without a plan: the way of most news, whatever the size of
    /// the configuration. False if a plan is needed.
    fn follow_neighbours(&mut self, learned: &mut Learned) -> Result<bool, ApplyError> {
        // Keys and pools change with a configuration only.
        let planned = self.publisher.is_current(self.compiler.sections());
        if !planned || !self.learned.is_same_but_for_neighbours(learned) {
            return Ok(false);
        }
        let changes = tombolo_planner::neighbour_changes(&self.plan.world, learned);
        if !changes.is_empty() {
            let refused = |error: BuildError| ApplyError::Refused(error.to_string(), "nothing was changed");
            self.compiler.change(&changes).map_err(refused)?;
            self.publish()?;
            for change in changes {
                if let Change::Neighbour(index, record) = change {
                    self.plan.world.neighbours[index.usize()] = record;
                }
            }
        }
        self.learned.neighbours = std::mem::take(&mut learned.neighbours);
        Ok(true)
    }

    /// What the outside looks like now, keys left out.
    async fn learn(&mut self, desired: &Desired) -> Result<Learned, ApplyError> {
        let kernel = learn::Kernel::read(&self.netlink)
            .await
            .map_err(|error| ApplyError::Refused(error.to_string(), "the kernel does not answer"))?;
        let neighbours = kernel.neighbours(desired, &self.plan.world);
        self.requested.age(&neighbours, Instant::now());
        self.devices = kernel.devices();
        Ok(Learned {
            links: kernel.links(),
            taps: kernel.taps(&self.plan.world),
            neighbours,
            requested: self.requested.names(),
            sa_keys: Default::default(),
            negotiated: Default::default(),
            capture: self.captures.ports(),
            drained_pools: Default::default(),
        })
    }

    /// Plans, and if the plan can be published, publishes and sets the kernel; true if anything new was published. On an
    /// error nothing has changed.
    async fn make(
        &mut self,
        desired: Arc<Desired>,
        learned: Learned,
        refused_keys: BTreeMap<String, String>,
    ) -> Result<bool, ApplyError> {
        let mut plan = tombolo_planner::plan(&desired, &learned, &self.plan.indices)
            .map_err(|refused| ApplyError::Refused(refused.why, refused.hint))?;
        self.check_rows(&plan)?;
        let built = self.compiler.build(&plan.world);
        let sections = built.map_err(|error| ApplyError::Refused(error.to_string(), "nothing was changed"))?;
        let changed = !self.publisher.is_current(sections);
        if changed {
            self.let_go_of_rows(&plan).await?;
            rows::prepare(self.regions.state, &self.plan.world, &plan)
                .map_err(|why| ApplyError::Refused(why, "remove the tunnel, apply, and add it again"))?;
            // Before the publication, so that a new SA has numbers from its first packet on.
            let notes = sequences::supply(&plan.world, self.regions.state, &self.leases);
            self.publish()?;
            self.refused_keys = refused_keys;
            self.note(notes);
        }
        self.desired = desired;
        self.learned = learned;
        // They are in the tables now.
        plan.world.names = String::new();
        let mut replaced = std::mem::replace(&mut self.plan, plan);
        for sa in &mut replaced.world.sas {
            sa.key.zeroize();
            sa.salt.zeroize();
        }
        self.set_kernel().await;
        Ok(changed)
    }

    /// Makes the kernel what the plan says.
    async fn set_kernel(&mut self) {
        self.failures = self.kernel.apply(&self.plan.kernel, &self.devices).await;
        for failure in &self.failures {
            tracing::warn!("kernel: {failure}");
        }
    }

    /// Waits until no worker can write to the rows of state that new SAs are to have. Those of the current generation are refused by
    /// [`rows::prepare`]; this is about workers that are still busy with an older one.
    async fn let_go_of_rows(&mut self, plan: &Plan) -> Result<(), ApplyError> {
        if !rows::starts_any(plan) {
            return Ok(());
        }
        let deadline = Instant::now() + ANNOUNCED_TIME_MAX;
        while !self.publisher.is_announced(self.publisher.current()) {
            if Instant::now() >= deadline {
                let why = "a worker does not follow the current generation".to_owned();
                return Err(ApplyError::Refused(why, "nothing was changed"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Publishes what the compiler built last.
    fn publish(&mut self) -> Result<(), ApplyError> {
        let sections = self.compiler.sections();
        let names = std::str::from_utf8(sections.get(SectionId::Names)).unwrap_or_default();
        self.carried
            .keep(self.publisher.current() + 1, names)
            .map_err(|error| ApplyError::Refused(error.to_string(), "the runtime directory takes no file"))?;
        let generation = self
            .publisher
            .publish(sections)
            .map_err(|error| ApplyError::Refused(error.to_string(), "nothing was changed"))?;
        tracing::debug!(generation, "published");
        self.announce_to_dataplane();
        Ok(())
    }

    /// Wakes the workers and tells the dataplane's main thread to look at ports and steering again.
    pub(super) fn announce_to_dataplane(&self) {
        let Some(connection) = &self.dataplane.connection else {
            return;
        };
        for wake in &connection.wakes.workers {
            // A full eventfd wakes as well.
            let _ = rustix::io::write(wake, &1_u64.to_ne_bytes());
        }
        if let Err(error) = connection.link.published(self.publisher.current()) {
            tracing::warn!(%error, "the dataplane was not told of a generation");
        }
    }

    /// Waits until every worker uses the current generation and the ports follow it. False when no dataplane runs.
    async fn settle(&mut self) -> Result<bool, ApplyError> {
        let generation = self.publisher.current();
        let deadline = Instant::now() + ANNOUNCED_TIME_MAX;
        let mut applied = false;
        loop {
            let Some(connection) = self.dataplane.connection.clone() else {
                return Ok(false);
            };
            if connection.link.is_dead() {
                return Ok(false);
            }
            applied |= self.take_replies(generation);
            let announced = self.publisher.is_announced(generation);
            if let Some((worker, refused)) = self.publisher.refusal() {
                return Err(ApplyError::Incomplete(format!(
                    "worker {worker} refused generation {refused}"
                )));
            }
            if announced && applied {
                self.publisher.reclaim();
                return Ok(true);
            }
            if Instant::now() >= deadline {
                let who = if announced { "the dataplane's ports" } else { "a worker" };
                return Err(ApplyError::Incomplete(format!(
                    "{who} did not follow generation {generation} in time"
                )));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Reads what the dataplane says; true if it has applied `generation` or a newer one.
    pub(super) fn take_replies(&mut self, generation: u64) -> bool {
        let Some(connection) = self.dataplane.connection.clone() else {
            return false;
        };
        let mut applied = false;
        while let Ok(Some(Reply::Applied {
            generation: done,
            errors,
        })) = connection.link.receive()
        {
            applied |= done >= generation;
            self.port_errors = errors.into_iter().map(|error| (error.port, error.text)).collect();
        }
        applied
    }

    /// Leases ahead, and notes which tunnels have nothing to send with.
    pub(super) fn supply_sequences(&mut self) {
        let notes = sequences::supply(&self.plan.world, self.regions.state, &self.leases);
        self.note(notes);
    }

    fn note(&mut self, mut notes: views::TunnelNotes) {
        for (tunnel, why) in &self.refused_keys {
            notes.insert(tunnel.clone(), why.clone());
        }
        for (tunnel, why) in notes
            .iter()
            .filter(|(tunnel, why)| self.notes.get(*tunnel) != Some(*why))
        {
            tracing::warn!("tunnel {tunnel} is down: {why}");
        }
        let known = |name: &str| self.desired.tunnels.iter().any(|tunnel| tunnel.name.as_str() == name);
        for tunnel in self
            .notes
            .keys()
            .filter(|tunnel| !notes.contains_key(*tunnel) && known(tunnel))
        {
            tracing::info!("tunnel {tunnel} is up");
        }
        self.notes = notes;
    }

    /// What works only in part.
    pub(super) fn warnings(&self) -> Vec<String> {
        let port = |index: &u16| views::port_name(&self.plan.world, *index);
        let ports = self
            .port_errors
            .iter()
            .map(|(index, error)| format!("port {}: {error}", port(index)));
        let tunnels = self.notes.iter().map(|(tunnel, why)| format!("tunnel {tunnel}: {why}"));
        let configured = self.desired.warnings.iter().map(ToString::to_string);
        configured
            .chain(self.plan.warnings.iter().cloned())
            .chain(self.failures.iter().cloned())
            .chain(ports)
            .chain(tunnels)
            .chain(self.ike.endings.iter().cloned())
            .collect()
    }
}

//! IKE in the gateway: every step is stored, then published, then sent. Killed between any two of these, the next `tombolod` goes on with what
//! the peer knows.

use super::Gateway;
use super::ike_settings::{Look, Settings};
use crate::ike::events::Events;
use crate::ike::followed::followed;
use crate::ike::held::{Ends, Held};
use crate::ike::random::Kernel;
use crate::ike::retry::Retry;
use crate::ike::sockets::{Datagram, Sockets};
use crate::ike::{children, clock};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tombolo_ike::endpoint::{Command, Commit, Endpoint, Heard, Limits};
use tombolo_ike::now::Milliseconds;
use tombolo_ike::{News, SaId, What};
use tombolo_secrets::Change;
use tombolo_tables::layout::sa_flag;
use tombolo_tables::sa_counters;

/// How often workers' counters are looked at for signs of life and for volumes.
const TRAFFIC_PAUSE: Duration = Duration::from_millis(200);
/// How often names and addresses are looked at.
const SETTINGS_PAUSE: Duration = Duration::from_secs(5);

/// All of IKE that outlives a step.
pub(super) struct Ike {
    pub(super) endpoint: Endpoint,
    pub(super) sockets: Sockets,
    pub(super) settings: Settings,
    /// Why tunnels have no connection, by name.
    pub(super) refused: BTreeMap<String, String>,
    /// Why child SAs of tunnels cannot be carried, by name.
    uncarried: BTreeMap<String, String>,
    /// Certificates and revocation lists that end soon, in an operator's words.
    pub(super) endings: Vec<String>,
    /// The planner has not taken the newest child SAs yet.
    unpublished: bool,
    /// When it is asked again after it refused.
    pub(super) retry: Retry,
    /// Ends of the tunnels that had a child SA which workers lacked then.
    lacking: BTreeSet<Ends>,
    /// Datagrams that wait for that.
    held: Held,
    /// Troubles as last told: what lasts is not told twenty times a second.
    told: BTreeMap<&'static str, String>,
    events: Events,
    traffic_at: Instant,
    settings_at: Instant,
}

impl Ike {
    pub(super) fn new() -> Ike {
        Ike {
            endpoint: Endpoint::new(Limits::default(), Box::new(Kernel)),
            sockets: Sockets::default(),
            settings: Settings::default(),
            refused: BTreeMap::new(),
            uncarried: BTreeMap::new(),
            endings: Vec::new(),
            unpublished: false,
            retry: Retry::default(),
            lacking: BTreeSet::new(),
            held: Held::default(),
            told: BTreeMap::new(),
            events: Events::default(),
            traffic_at: Instant::now(),
            settings_at: Instant::now(),
        }
    }
}

impl Ike {
    /// Tells of a trouble when it is new; empty = it is over.
    pub(super) fn trouble(&mut self, what: &'static str, text: String) {
        let before = self.told.insert(what, text.clone()).unwrap_or_default();
        match text.is_empty() {
            true if !before.is_empty() => tracing::info!("{what}: it is over"),
            false if before != text => tracing::warn!("{what}: {text}"),
            true | false => {}
        }
    }

    /// What is counted.
    pub(super) fn counters(&self) -> Vec<tombolo_api::IkeCounter> {
        crate::views::ike_counters(&self.endpoint, &self.events, &self.sockets.counts())
    }

    /// Why tunnels are not negotiated, or not carried, by name.
    pub(super) fn reasons(&self) -> BTreeMap<String, String> {
        let reasons = self.uncarried.iter().chain(&self.refused);
        reasons.map(|(name, why)| (name.clone(), why.clone())).collect()
    }
}

impl Gateway {
    /// Takes over what the process before this one stored. Before the first plan.
    pub(super) fn restore_ike(&mut self) {
        let records: Vec<_> = self.secrets.iter().map(|(id, bytes)| (SaId(id), bytes)).collect();
        for error in self.ike.endpoint.restore(clock::now(), records) {
            tracing::warn!("{error}");
            self.secrets.remove(error.0.0);
        }
        let count = self.ike.endpoint.ike_spis().len();
        if count > 0 {
            tracing::info!("took over {count} IKE SAs");
        }
        self.learned.negotiated = children::negotiated(&self.ike.endpoint, &mut self.ike.uncarried);
    }

    /// Datagrams came.
    pub(super) async fn take_ike_datagrams(&mut self, batch: &mut Vec<Datagram>) {
        for datagram in batch.drain(..) {
            self.ike
                .endpoint
                .handle_datagram(clock::now(), datagram.path, &datagram.bytes);
        }
        self.settle_ike().await;
    }

    /// Time passed.
    pub(super) async fn tick_ike(&mut self) {
        let now = clock::now();
        if self.ike.traffic_at.elapsed() >= TRAFFIC_PAUSE {
            self.ike.traffic_at = Instant::now();
            self.tell_ike_of_traffic();
            self.tell_ike_of_moves();
        }
        if self.ike.settings_at.elapsed() >= SETTINGS_PAUSE {
            self.ike.settings_at = Instant::now();
            self.follow_ike_settings(Look::Files);
        } else if self.ike.settings.has_news() {
            self.follow_ike_settings(Look::Names);
        }
        if self.ike.endpoint.poll_timeout().is_some_and(|at| at <= now.monotonic) {
            self.ike.endpoint.handle_timeout(now);
        }
        self.settle_ike().await;
    }

    /// Carries out an operator's command; false if IKE knows no such tunnel.
    pub(super) async fn command_ike(&mut self, tunnel: &str, command: Command) -> bool {
        let known = self.ike.endpoint.command(clock::now(), tunnel, command);
        self.settle_ike().await;
        known
    }

    /// What workers counted for each child SA.
    fn tell_ike_of_traffic(&mut self) {
        let now = clock::now();
        for sa in self.plan.sas.iter().filter(|sa| !sa.child.is_empty()) {
            let counters = sa_counters::sum(self.regions.state, sa.sa);
            let (packets, bytes) = (counters.packets, counters.bytes);
            let endpoint = &mut self.ike.endpoint;
            if sa.inbound {
                let record = self.plan.world.sas.get(sa.sa.usize());
                let last = (counters.last_ms != 0).then_some(Heard {
                    at: Milliseconds(counters.last_ms),
                    is_new: record.is_some_and(|record| record.flags & sa_flag::NO_REPLAY_CHECK == 0),
                });
                endpoint.handle_traffic(now, sa.spi, last, packets, bytes);
            } else {
                endpoint.handle_sealed(now, &sa.tunnel, sa.spi, packets, bytes);
            }
        }
    }

    /// Where workers followed peers to. While the tables are older than what IKE knows, it is they that are behind.
    fn tell_ike_of_moves(&mut self) {
        if self.ike.unpublished {
            return;
        }
        let world = &self.plan.world;
        for sa in self.plan.sas.iter().filter(|sa| sa.inbound && !sa.child.is_empty()) {
            let tunnel = world.sas.get(sa.sa.usize()).map(|record| record.tunnel as usize);
            let Some((at, record)) = tunnel.and_then(|at| Some((at, world.tunnels.get(at)?))) else {
                continue;
            };
            if let Some((address, port)) = followed(self.regions.state, at, record) {
                let remote = SocketAddr::new(address.into(), port);
                self.ike.endpoint.handle_moved(clock::now(), sa.spi, remote);
            }
        }
    }

    /// Stores, publishes, sends.
    pub(super) async fn settle_ike(&mut self) {
        if let Some(commit) = self.ike.endpoint.take_commit()
            && !self.commit_ike(&commit)
        {
            // What is not stored must not be sent. The peer hears nothing, and asks again or gives up.
            self.ike.endpoint.uncommitted(&commit);
            self.ike.endpoint.take_transmits();
            return;
        }
        let waits = self.publish_ike().await;
        let transmits = self.ike.endpoint.take_transmits();
        for transmit in self.ike.held.pass(Instant::now(), &waits, transmits) {
            let sent = match transmit.bytes.as_slice() {
                [0xff] => self.ike.sockets.keep_alive(&transmit.path),
                _ => self.ike.sockets.send(&Datagram {
                    path: transmit.path,
                    bytes: transmit.bytes,
                }),
            };
            if let Err(error) = sent {
                tracing::debug!("IKE to {}: {error}", transmit.path.remote);
            }
        }
        for news in self.ike.endpoint.take_news() {
            self.ike.events.count(&news.what);
            tell(&self.ike.endpoint, &news);
        }
    }

    /// Has workers use the child SAs as they are now. Ends of the tunnels that have one which workers lack.
    async fn publish_ike(&mut self) -> BTreeSet<Ends> {
        if self.ike.endpoint.children_changed() {
            self.ike.unpublished = true;
            self.ike.retry.reset();
        }
        if !self.ike.unpublished {
            return BTreeSet::new();
        }
        if !self.ike.retry.is_due(Instant::now()) {
            return self.ike.lacking.clone();
        }
        self.ike.uncarried.clear();
        let negotiated = children::negotiated(&self.ike.endpoint, &mut self.ike.uncarried);
        let published = self.replan_with(negotiated).await;
        self.ike.unpublished = published.is_err();
        let why = published.err().map(|error| error.to_string());
        let what = "child SAs that wait to be published";
        self.ike.trouble(what, why.clone().unwrap_or_default());
        let uncarried = &mut self.ike.uncarried;
        let Some(why) = why else {
            self.ike.retry.reset();
            self.ike.lacking.clear();
            for tunnel in children::unplanned(&self.learned.negotiated, &self.plan.sas) {
                let why = "the tables lack one of its child SAs; `tombolo status` says why";
                uncarried.entry(tunnel).or_insert_with(|| why.to_owned());
            }
            return BTreeSet::new();
        };
        let negotiated = children::negotiated(&self.ike.endpoint, &mut BTreeMap::new());
        let lacking = children::unpublished(&negotiated, &self.learned.negotiated);
        for (tunnel, _) in &lacking {
            let why = format!("its newest child SA is not in force: {why}");
            uncarried.insert((*tunnel).to_owned(), why);
        }
        self.ike.retry.failed(Instant::now());
        self.ike.lacking = lacking.into_iter().map(|(_, ends)| ends).collect();
        self.ike.lacking.clone()
    }

    fn commit_ike(&mut self, commit: &Commit) -> bool {
        let put = commit.put.iter().map(|record| Change::Put {
            id: record.id.0,
            bytes: &record.bytes,
        });
        let removed = commit.removed.iter().map(|id| Change::Remove { id: id.0 });
        let changes: Vec<Change<'_>> = put.chain(removed).collect();
        let stored = self.secrets.commit(&changes);
        let why = stored.err().map(|error| error.to_string());
        let is_stored = why.is_none();
        self.ike
            .trouble("IKE stands still, its state cannot be stored", why.unwrap_or_default());
        is_stored
    }
}

/// A log line in the operator's words.
fn tell(endpoint: &Endpoint, news: &News) {
    let connection = news.connection.as_deref();
    let who = connection.map_or_else(|| "a stranger".to_owned(), |name| format!("tunnel {name}"));
    let words = |why| endpoint.in_words(connection, why);
    match &news.what {
        What::Established { peer } => tracing::info!("{who}: IKE SA with {peer}"),
        What::IkeRekeyed => tracing::info!("{who}: IKE SA replaced"),
        What::RekeyFailed { why } => tracing::warn!("{who}: the IKE SA cannot be replaced: {}", words(why)),
        What::ChildUp { child } => tracing::info!("{who}: child SA {child} is up"),
        What::ChildRekeyed { child } => tracing::info!("{who}: child SA {child} replaced"),
        What::ChildFailed { child, why } => tracing::warn!("{who}: child SA {child}: {}", words(why)),
        What::Ended { why } => tracing::warn!("{who}: no IKE SA: {}", words(why)),
        What::Moved { path } => tracing::info!("{who}: the peer is at {} now", path.remote),
    }
}

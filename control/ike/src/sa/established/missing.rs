//! Child SAs that there should be and are not: those of the configuration, and beside each one for every worker where the peer takes part in
//! that (RFC 9611).

use super::{Doing, Established};
use crate::connection::{Child, Connection};
use crate::now::Milliseconds;
use crate::sa::IkeSa;
use crate::sa::child::{ChildSa, Workers};
use crate::sa::pending_child::Refusal;
use crate::wire::Notify;
use serde::{Deserialize, Serialize};

/// A responder leaves it so long to the initiator to ask for a child SA that is missing.
const RESPONDER_WAITS_MS: u64 = 10_000;
/// A worker's own that the peer deleted is not asked for again before.
const DELETED_MS: u64 = 10_000;
/// One that it refused it has no use for.
const REFUSED_MS: u64 = 600_000;
/// Child SAs for the same traffic at most, beside the one for all.
const QUEUES_MAX: usize = 64;

/// One that is missing.
pub(super) struct Missing<'a> {
    pub(super) child: &'a Child,
    pub(super) workers: Workers,
    /// When to ask for it.
    pub(super) at: Milliseconds,
}

impl Established {
    /// All that are missing.
    pub(super) fn missing<'a>(&self, sa: &IkeSa, connection: &'a Connection) -> Vec<Missing<'a>> {
        if !sa.initiator && !connection.initiate && !connection.shares() {
            return Vec::new();
        }
        let earliest = if sa.initiator {
            self.since
        } else {
            self.since.after(RESPONDER_WAITS_MS)
        };
        let mut missing = Vec::new();
        for child in &connection.children {
            // The one for all comes first; who waits for the peer to ask for it has none of its own to add.
            let wanted: Vec<Workers> = if self.has(&child.name, Workers::All) {
                self.own_ones(child, connection).collect()
            } else if sa.initiator || connection.initiate {
                vec![Workers::All]
            } else {
                Vec::new()
            };
            let absent = wanted.into_iter().filter(|workers| !self.has(&child.name, *workers));
            missing.extend(absent.map(|workers| Missing {
                child,
                workers,
                at: self.not_before(&child.name, workers).unwrap_or(earliest).max(earliest),
            }));
        }
        missing
    }

    /// Those of single workers.
    fn own_ones(&self, child: &Child, connection: &Connection) -> impl Iterator<Item = Workers> + use<> {
        let shares = self.shares(&child.name) && connection.shares();
        let workers = if shares { connection.per_worker_children } else { 0 };
        (0..workers).map(Workers::Only)
    }

    /// Whether the peer makes further ones for the traffic of this child.
    fn shares(&self, name: &str) -> bool {
        let mut all = self.children.iter().filter(|child| child.workers == Workers::All);
        all.any(|child| child.lives() && child.shares && child.name == name)
    }

    /// Whether there is one, or one is being made.
    fn has(&self, name: &str, workers: Workers) -> bool {
        let lives = |child: &ChildSa| child.lives() && (child.name.as_str(), child.workers) == (name, workers);
        let asked = matches!(
            &self.doing, Some(Doing::CreateChild(pending)) if (pending.name.as_str(), pending.workers) == (name, workers)
        );
        asked || self.children.iter().any(lives) || self.series.iter().any(|series| series.creates(name, workers))
    }

    fn not_before(&self, name: &str, workers: Workers) -> Option<Milliseconds> {
        let mut later = self.later.iter();
        later
            .find(|later| (later.name.as_str(), later.workers) == (name, workers))
            .map(|later| later.at)
    }

    /// The peer deleted a worker's own.
    pub(super) fn deleted_by_peer(&mut self, now: Milliseconds, name: String, workers: Workers) {
        if let Workers::Only(_) = workers {
            self.ask_later(name, workers, now.after(DELETED_MS));
        }
    }

    /// The peer refused a worker's own: the one for all carries its packets.
    pub(super) fn own_one_refused(&mut self, now: Milliseconds, name: String, workers: Workers) {
        self.ask_later(name, workers, now.after(REFUSED_MS));
    }

    pub(super) fn ask_later(&mut self, name: String, workers: Workers, at: Milliseconds) {
        self.later
            .retain(|other| (&other.name, other.workers) != (&name, workers));
        self.later.push(Later { name, workers, at });
    }

    /// Who of us seals with a child SA that the peer asks for: with one more for the same traffic the worker of the number that the peer
    /// gave, or the first that has none.
    ///
    /// # Errors
    /// There are enough.
    pub(super) fn seat(
        &self,
        connection: &Connection,
        name: &str,
        info: Option<&Notify>,
        spi: u32,
    ) -> Result<Workers, Refusal> {
        let Some(info) = info.filter(|_| connection.shares() && self.shares(name)) else {
            return Ok(Workers::All);
        };
        let further = |child: &&ChildSa| child.name == name && child.lives() && child.workers != Workers::All;
        if self.children.iter().filter(further).count() >= QUEUES_MAX.max(connection.per_worker_children.into()) {
            return Err(Refusal::max_queue());
        }
        let hint = <[u8; 4]>::try_from(&info.data[..]).ok().map(u32::from_be_bytes);
        let hint = hint.and_then(|number| u16::try_from(number).ok());
        let free = |worker: &u16| *worker < connection.per_worker_children && !self.has(name, Workers::Only(*worker));
        let seat = hint
            .filter(free)
            .or_else(|| (0..connection.per_worker_children).find(free));
        Ok(seat.map_or(Workers::Spare(spi), Workers::Only))
    }
}

/// A child SA that was refused: not to be asked for before.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Later {
    name: String,
    workers: Workers,
    at: Milliseconds,
}
